"""Whoever may write, each call that may have written leaves a line, however it ends."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.types import Message, Receive, Scope, Send

from services.contract.errors import QuotaExceeded
from services.gateway.middleware.guard import Guarded
from services.serving import guard
from services.serving.guard import Caller, Guard


class OpenGuard:
    """Lets everybody in, with keys."""

    keys_needed = True

    def caller(self, *_: object) -> Caller:
        return Caller()

    def check(self, *_: object, **__: object) -> None:
        pass

    def count(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "error", "line"),
    [
        (200, None, ("write", "200")),
        (404, None, ("write", "404")),
        (None, asyncio.CancelledError(), ("write", "CANCELLED")),
        (200, asyncio.CancelledError(), ("write", "CANCELLED")),
        (None, RuntimeError("after the write"), ("write", "500")),
        (403, None, ("refusal", "403")),
        (None, QuotaExceeded("Too many.", reason="QUOTA_EXCEEDED"), ("refusal", "QUOTA_EXCEEDED")),
    ],
)
async def test_a_write_leaves_a_line_however_it_ends(
    monkeypatch: pytest.MonkeyPatch, status: int | None, error: BaseException | None, line: tuple[str, str]
) -> None:
    lines: list[tuple[str, str]] = []

    def note(event: str, **fields: Any) -> None:
        lines.append((event, fields.get("outcome") or fields["reason"]))

    monkeypatch.setattr(guard, "_audit", SimpleNamespace(info=note, warning=note))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if status is not None:
            await send({"type": "http.response.start", "status": status, "headers": []})
        if error is not None:
            raise error

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        pass

    scope = {"type": "http", "method": "POST", "path": "/v1/products:batchUpdate", "headers": [], "state": {}}
    guarded = Guarded(app, [], cast(Guard, OpenGuard()), public_read=False)
    if error is None:
        await guarded(scope, receive, send)
    else:
        with pytest.raises(type(error)):
            await guarded(scope, receive, send)
    assert lines == [line]
