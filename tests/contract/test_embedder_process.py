"""`python -m services.embedder`: starts alone; if it cannot, it says why in one line."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, run_to_end


def run(**environment: str) -> tuple[int, str]:
    return run_to_end("services.embedder", **{"EMBEDDER_RUNTIME": "fake", **environment})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EMBEDDER_THREADS", "none"),
        ("EMBEDDER_RUNTIME", "torch"),
        ("SERVER_PORT", "70000"),
        ("SERVER_LOG_LEVEL", "loud"),
    ],
)
def test_bad_settings_are_one_line_with_the_variable_and_exit_code_2(variable: str, value: str) -> None:
    code, output = run(**{variable: value})

    [line] = output.splitlines()
    assert code == 2
    assert line.startswith(f"embedder: {variable}: ")
    assert value in line


def test_a_missing_bundle_is_told_without_a_traceback(tmp_path: Path) -> None:
    missing = tmp_path / "no-such-bundle"
    code, output = run(EMBEDDER_RUNTIME="tensorflow", EMBEDDER_BUNDLE=str(missing))

    assert code == 1
    assert "Traceback" not in output
    [line] = [line for line in output.splitlines() if not line.startswith("{")]
    assert line.startswith("embedder: cannot start: ")
    assert str(missing) in line


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = str(listening.getsockname()[1])

        code, output = run(SERVER_PORT=port)

    assert code == 1
    assert "Traceback" not in output
    [line] = [line for line in output.splitlines() if line.startswith("embedder: ")]
    assert f"Port {port} of 127.0.0.1 is taken" in line and "SERVER_PORT" in line


def test_the_fake_runtime_imports_no_tensorflow() -> None:
    script = (
        "import sys; from services.embedder import __main__;"
        "from services.embedder.runtimes.select import load_encoder;"
        "from services.embedder.settings import EmbedderSettings;"
        "load_encoder(EmbedderSettings(runtime='fake').encoder()); sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.call([sys.executable, "-c", script], cwd=ROOT, timeout=60) == 0
