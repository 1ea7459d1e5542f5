import asyncio
from typing import Any, cast

import pytest

from services.concurrency import memory
from services.serving.reception import Reception

LOOK_S = 0.5


class Sender:
    """The context of a call whose message comes after some seconds."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s

    async def read(self) -> bytes:
        arrived = asyncio.Event()
        asyncio.get_running_loop().call_later(self._after_s, arrived.set)
        await arrived.wait()
        return b"whole"


@pytest.mark.parametrize(("looks", "given_back"), [(1, 0), (3, 1)])
async def test_memory_is_given_back_for_messages_that_were_there_at_two_looks(
    looks: int, given_back: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[None] = []
    monkeypatch.setattr(memory, "give_back", lambda: given.append(None))
    reception = Reception(max_waiting=4, max_slow=4, timeout_s=30)
    # The sender's clock starts a little after that of the looks.
    assert await reception.receive(cast(Any, Sender(looks * LOOK_S))) == b"whole"
    await asyncio.sleep(3 * LOOK_S)
    assert len(given) == given_back
