"""Request ids and log lines."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from services.serving.request_id import accepted_request_id, current_request_id, request_id_bound
from services.serving.telemetry import configure_logging


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for ours in ("services", "cli", "offline"):
        logging.getLogger(ours).setLevel(logging.NOTSET)
    structlog.reset_defaults()


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


def test_people_get_lines_without_json() -> None:
    stream = io.StringIO()
    configure_logging("debug", "console", stream=stream)

    structlog.stdlib.get_logger("services.somewhere").debug("listening", port=1)

    assert "listening" in stream.getvalue()
    assert "port=1" in stream.getvalue()
