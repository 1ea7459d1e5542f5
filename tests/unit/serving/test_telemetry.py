"""Request ids and log lines."""

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from services.serving.request_id import accepted_request_id, current_request_id, request_id_bound
from services.serving.telemetry import LogFormat, configure_logging
from tests.support.processes import ROOT
from tests.support.running import logged_to


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    """Logs JSON to nowhere for the time of a test."""
    with logged_to(io.StringIO()):
        yield


@pytest.mark.parametrize("sent", ["a", "order-7/retry:2", "A.B_c+d=e@f", "x" * 128])
def test_usable_ids_are_kept(sent: str) -> None:
    assert accepted_request_id(sent) == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "two words", "new\nline", 'quote"', "ä", b"bytes", "a\n"])
def test_others_are_replaced(sent: str | bytes | None) -> None:
    made = accepted_request_id(sent)

    assert made != sent
    assert accepted_request_id(made) == made
    assert accepted_request_id(sent) != made


async def test_calls_at_the_same_time_keep_their_own() -> None:
    async def call(request_id: str) -> str | None:
        with request_id_bound(request_id):
            await asyncio.sleep(0)
            return current_request_id()

    assert await asyncio.gather(call("a"), call("b")) == ["a", "b"]
    assert current_request_id() is None


def test_json_lines_carry_the_id_and_the_traceback() -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream=stream)

    with request_id_bound("r-1"):
        try:
            raise ValueError("broken")
        except ValueError:
            structlog.stdlib.get_logger("services.somewhere").exception("failed", product_id="17")
    logging.getLogger("somebody.elses").warning("careful: %s", "hot")
    logging.getLogger("somebody.elses").info("chatter")
    structlog.stdlib.get_logger("services.somewhere").debug("detail")

    ours, theirs = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (ours["event"], ours["request_id"], ours["product_id"]) == ("failed", "r-1", "17")
    assert "ValueError: broken" in ours["exception"]
    assert (theirs["event"], theirs["level"]) == ("careful: hot", "warning")
    assert (ours["severity"], theirs["severity"]) == ("ERROR", "WARNING")
    # Without traces, there are no ids of them.
    assert "trace_id" not in ours and "span_id" not in ours


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_values(log_format: LogFormat) -> None:
    stream = io.StringIO()
    configure_logging("info", log_format, stream=stream)

    def fails(user_id: str) -> None:
        raise ValueError("broken")

    for log in (structlog.stdlib.get_logger("services.somewhere"), logging.getLogger("somebody.elses")):
        try:
            fails("-".join(("ada", "lovelace")))
        except ValueError:
            log.exception("failed")

    assert stream.getvalue().count("ValueError: broken") == 2
    assert "ada-lovelace" not in stream.getvalue()


def test_people_get_lines_without_json() -> None:
    stream = io.StringIO()
    configure_logging("debug", "console", stream=stream)

    structlog.stdlib.get_logger("services.somewhere").debug("listening", port=1)

    assert "listening" in stream.getvalue()
    assert "port=1" in stream.getvalue()
    assert "severity" not in stream.getvalue()


def test_a_log_file_and_whatever_else_the_process_writes_is_rotated(tmp_path: Path) -> None:
    program = """
import os, pathlib, sys, structlog
from services.serving.telemetry import RotatingOutput, configure_logging

configure_logging("info", "json", handler=RotatingOutput(pathlib.Path(sys.argv[1]), 20_000, 3))
log = structlog.stdlib.get_logger("services.somewhere")
for number in range(1000):
    log.info("call", number=number)
print("printed", flush=True)
os.write(2, b"last words")
"""
    path = tmp_path / "stack.log"
    with path.open("ab") as output:
        subprocess.run([sys.executable, "-c", program, str(path)], stdout=output, stderr=output, check=True, cwd=ROOT)
    files = [path, tmp_path / "stack.log.1", tmp_path / "stack.log.2"]
    assert sorted(tmp_path.iterdir()) == files
    assert all(each.stat().st_size <= 20_000 for each in files)
    *events, printed, words = path.read_text().splitlines()
    assert json.loads(events[-1])["number"] == 999
    assert (printed, words) == ("printed", "last words")
