"""The stack as a process: it starts, refuses what it must, drains, and leaves no Redis behind however it ends."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from services.embedder.settings import EmbedderSettings
from services.search.catalogue.store import CatalogueUnusable
from services.serving.run import ServeError
from services.stack.embedded_redis import RedisStartError
from services.stack.startup import RunningStack, running_stack, serve_stack
from tests.support.processes import ROOT, Service, free_port
from tests.support.running import calling, stack_in_thread, stack_settings
from tests.support.small_shop import items, rows


def _stack(directory: Path, **environment: str) -> Service:
    settings = {"SEARCH_DATA_DIR": str(directory / "data"), "EMBEDDER_RUNTIME": "fake", **environment}
    # Its overall health is SERVING when all three services are.
    return Service("services.stack", "", free_port(), settings, directory / "stack.log")


def _redis_servers(directory: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(directory) in " ".join(process.cmdline()):
                found.append(process)
    return [process for process in found if process.pid != os.getpid()]


def _none_left(directory: Path) -> None:
    end = time.monotonic() + 30
    while left := _redis_servers(directory):
        assert time.monotonic() < end, left


def test_sigterm_drains_and_ends_redis(tmp_path: Path) -> None:
    stack = _stack(tmp_path)
    stack.start()
    stack.wait_until_serving()
    with calling(stack.target) as caller:
        caller.upsert(rows())
        assert _redis_servers(tmp_path / "data")
    assert stack.terminate() == 0, stack.output()
    _none_left(tmp_path / "data")
    assert "Traceback" not in stack.output()


def test_a_stack_that_is_killed_leaves_no_redis_and_loses_nothing(tmp_path: Path) -> None:
    stack = _stack(tmp_path)
    stack.start()
    stack.wait_until_serving()
    with calling(stack.target) as caller:
        caller.upsert(rows())
        caller.dislike("ann", "Red")
    stack.kill()
    _none_left(tmp_path / "data")
    stack.start()
    stack.wait_until_serving()
    try:
        with calling(stack.target) as caller:
            assert caller.index().product_count == len(items())
            assert caller.find(product_id=items()[0].id, user_id="ann").applied.excluded_colours == ["Red"]
    finally:
        assert stack.terminate() == 0


def test_a_signal_while_it_starts_ends_it_cleanly(tmp_path: Path) -> None:
    stack = _stack(tmp_path)
    stack.start()
    end = time.monotonic() + 30
    while "listening" not in stack.output():
        assert time.monotonic() < end
    assert stack.terminate() == 0, stack.output()
    _none_left(tmp_path / "data")


@pytest.mark.parametrize(
    ("environment", "status", "words"),
    [
        ({"SEARCH_THREADS": "none"}, 2, ["SEARCH_THREADS", "none"]),
        ({"REDIS_URL": "http://localhost"}, 2, ["REDIS_URL", "redis://"]),
        ({"EMBEDDER_RUNTIME": "tensorflow", "EMBEDDER_BUNDLE": "no/such/bundle"}, 1, ["no/such/bundle"]),
        ({"SEARCH_DATA_DIR": "/proc/nowhere"}, 1, ["/proc/nowhere"]),
    ],
    ids=["no number", "no Redis", "no bundle", "no directory"],
)
def test_a_stack_that_cannot_start_says_why_in_one_line(
    tmp_path: Path, environment: dict[str, str], status: int, words: list[str]
) -> None:
    stack = _stack(tmp_path, SERVER_LOG_LEVEL="error", **environment)
    stack.start()
    assert stack.process is not None
    assert stack.process.wait(60) == status
    said = [line for line in stack.output().splitlines() if line.startswith("stack: ")]
    assert len(said) == 1, stack.output()
    assert all(word in said[0] for word in words), said
    assert "Traceback" not in stack.output()


def test_a_data_directory_in_use_is_refused_clearly(tmp_path: Path) -> None:
    with stack_in_thread(stack_settings(tmp_path)) as first:
        with (
            pytest.raises((CatalogueUnusable, RedisStartError), match="in use"),
            stack_in_thread(stack_settings(tmp_path)),
        ):
            pass
        # The first one goes on undisturbed.
        with calling(first.target) as caller:
            assert caller.index().product_count == 0


async def test_a_port_that_is_taken_is_refused_clearly(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = stack_settings(tmp_path)
        port = taken.getsockname()[1]
        settings = type(settings)(
            settings.server.model_copy(update={"port": port}), settings.embedder, settings.classifier, settings.search
        )
        with pytest.raises(ServeError, match=str(port)):
            async with running_stack(settings):
                pass
    _none_left(tmp_path)


async def test_what_runs_beside_the_stack_begins_when_all_is_serving_and_ends_with_it(tmp_path: Path) -> None:
    seen: list[int] = []
    cancelled = asyncio.Event()

    async def beside(stack: RunningStack) -> None:
        def count() -> int:
            with calling(stack.target) as caller:
                return caller.index().product_count

        seen.append(await asyncio.to_thread(count))
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await serve_stack(stack_settings(tmp_path), on_ready=beside)
    assert seen == [0]
    assert cancelled.is_set()


async def test_an_error_beside_the_stack_ends_it_and_is_raised(tmp_path: Path) -> None:
    async def beside(stack: RunningStack) -> None:
        raise LookupError("no demo catalogue")

    with pytest.raises(LookupError, match="no demo catalogue"):
        await serve_stack(stack_settings(tmp_path), on_ready=beside)
    _none_left(tmp_path)


async def test_a_model_that_cannot_be_loaded_leaves_nothing_running(tmp_path: Path) -> None:
    settings = stack_settings(tmp_path / "data")
    missing = EmbedderSettings(runtime="tensorflow", bundle=str(tmp_path / "no-bundle"))
    settings = type(settings)(settings.server, missing, settings.classifier, settings.search)
    with pytest.raises(Exception, match="no-bundle"):
        async with running_stack(settings):
            pass
    _none_left(tmp_path / "data")


def test_the_data_directory_comes_from_the_environment_and_is_made(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "down"
    code = (
        "from services.stack.startup import StackSettings; "
        "settings = StackSettings.load(port=0); "
        "print(settings.search.data_dir, settings.server.port)"
    )
    environment = {**os.environ, "SEARCH_DATA_DIR": str(directory), "SERVER_PORT": "7"}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert said.split() == [str(directory), "0"]
