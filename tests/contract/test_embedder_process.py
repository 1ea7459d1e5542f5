"""`python -m services.embedder`: starts alone, and says in one line why it cannot."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


async def run(**environment: str) -> tuple[int, str]:
    """Runs the embedder until it ends by itself; returns its exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.embedder",
        cwd=ROOT,
        env={**os.environ, "SERVER_PORT": "0", "EMBEDDER_RUNTIME": "fake", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EMBEDDER_THREADS", "none"),
        ("EMBEDDER_RUNTIME", "torch"),
        ("SERVER_PORT", "70000"),
        ("SERVER_LOG_LEVEL", "loud"),
    ],
)
async def test_bad_settings_are_one_line_with_the_variable_and_exit_code_2(variable: str, value: str) -> None:
    code, output = await run(**{variable: value})

    [line] = output.splitlines()
    assert code == 2
    assert line.startswith(f"embedder: {variable}: ")
    assert value in line


async def test_a_missing_bundle_is_told_without_a_traceback(tmp_path: Path) -> None:
    missing = tmp_path / "no-such-bundle"
    code, output = await run(EMBEDDER_RUNTIME="tensorflow", EMBEDDER_BUNDLE=str(missing))

    assert code == 1
    assert "Traceback" not in output
    [line] = [line for line in output.splitlines() if not line.startswith("{")]
    assert line.startswith("embedder: cannot start: ")
    assert str(missing) in line


async def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = str(listening.getsockname()[1])

        code, output = await run(SERVER_PORT=port)

    assert code == 1
    assert "Traceback" not in output
    [line] = [line for line in output.splitlines() if line.startswith("embedder: ")]
    assert f"127.0.0.1:{port}" in line


async def test_the_fake_runtime_imports_no_tensorflow() -> None:
    script = (
        "import sys; from services.embedder import __main__;"
        "from services.embedder.runtimes.select import load_encoder;"
        "from services.embedder.settings import EmbedderSettings;"
        "load_encoder(EmbedderSettings(runtime='fake').encoder()); sys.exit('tensorflow' in sys.modules)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, cwd=ROOT)
    async with asyncio.timeout(60):
        assert await process.wait() == 0
