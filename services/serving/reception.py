"""Waits for the message of each call, in bounds: callers who send none hold up nobody else.

gRPC itself would receive a message before it asks who calls, and wait for it without end.
"""

import asyncio
import inspect
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Final, cast

import grpc
from google.protobuf.message import DecodeError
from prometheus_client import Counter

from services.concurrency import memory
from services.contract.errors import DeadlineExceeded, FashionError, InvalidInput, Overloaded
from services.serving.layer import Context, Handler, Layer
from services.serving.status import code_of

# How often is looked for calls that wait long.
_LOOK_S: Final = 0.5
# Freed memory is given back to the system once this share of the messages that there is memory for have ended.
_SHARE_GIVEN_BACK: Final = 0.25
_LATE: Final = Counter("fashion_grpc_late_messages", "Calls whose message did not arrive in time.")


class Reception:
    """Receives messages: at most so many calls wait for theirs at once, each for at most so long.

    Where more wait, the one that has waited longest is refused. A caller who sends at once is never that one.

    gRPC does not tell how much of a message has arrived, and holds that until the rest does. So of calls that have
    waited for more than a moment, only as many may go on as there is memory for, were each message of the largest size.
    Of those that have ended, the C library would keep the memory for itself.
    """

    def __init__(self, *, max_waiting: int, max_slow: int, timeout_s: float) -> None:
        """Takes how many calls may wait, how many of them for longer than a second, and the longest wait in seconds."""
        self._max_waiting, self._max_slow, self._timeout_s = max_waiting, max_slow, timeout_s
        # How often a look has found each of them waiting, in the order of their arrival.
        self._waiting: dict[asyncio.Timeout, int] = {}
        # Calls that have waited long and have ended since memory was given back.
        self._ended = 0
        self._giving_back = False
        self._looking: asyncio.TimerHandle | None = None

    async def receive(self, context: Context) -> bytes:
        """Returns the message of a call.

        Raises:
            DeadlineExceeded: it does not arrive in time.
            Overloaded: QUEUE_FULL; it has not arrived, and too many others wait.
            InvalidInput: REQUEST_MALFORMED; the call ends without one.
        """
        refused = False
        try:
            async with asyncio.timeout(self._timeout_s) as timer:
                self._waiting[timer] = 0
                if self._looking is None:
                    self._looking = asyncio.get_running_loop().call_later(_LOOK_S, self._look)
                try:
                    if len(self._waiting) > self._max_waiting:
                        self._refuse_longest()
                    content = await cast(Any, context).read()
                finally:
                    looks = self._waiting.pop(timer, None)
                    refused = looks is None
                    self._ended += looks is None or looks > 1
        except TimeoutError:
            _LATE.inc()
            if refused:
                raise Overloaded(
                    "Too many calls wait for their messages, this one for the longest time; try again a little later.",
                    reason="QUEUE_FULL",
                ) from None
            raise DeadlineExceeded(
                "The message of the call has not arrived in time; send it whole.", reason="DEADLINE_EXCEEDED"
            ) from None
        if content is grpc.aio.EOF:
            raise InvalidInput("The call has no message; send one.", reason="REQUEST_MALFORMED")
        return cast(bytes, content)

    def _look(self) -> None:
        """Refuses calls that wait long, where there are too many of them.

        A call waits long if it was there at two looks: one that the loop itself has kept waiting has been read between.
        """
        slow = 0
        for timer, looks in self._waiting.items():
            self._waiting[timer] = looks + 1
            slow += looks > 0
        for _ in range(slow - self._max_slow):
            self._refuse_longest()
        loop = asyncio.get_running_loop()
        if self._giving_back:
            loop.run_in_executor(None, memory.give_back)
        # At the next look, since gRPC frees what it holds of a call a little after its end.
        self._giving_back = self._ended >= max(1.0, _SHARE_GIVEN_BACK * self._max_slow)
        if self._giving_back:
            self._ended = 0
        waits = self._waiting or self._giving_back
        self._looking = loop.call_later(_LOOK_S, self._look) if waits else None

    def _refuse_longest(self) -> None:
        longest = next(iter(self._waiting))
        del self._waiting[longest]
        longest.reschedule(asyncio.get_running_loop().time())


def _forget_frames(error: BaseException) -> None:
    """Frees what the frames of an error hold, with the request of the call.

    gRPC keeps the error of a call with the call, and its frames keep the call. Only a full collection of garbage would
    free that, and such are rare here.
    """
    left = [error]
    while left:
        known = left.pop()
        left += [each for each in (known.__cause__, known.__context__) if each is not None and each.__traceback__]
        known.__traceback__ = None


def parsed(deserialize: Callable[[bytes], Any] | None, content: bytes) -> Any:
    """Returns the message that bytes are.

    Raises:
        InvalidInput: REQUEST_MALFORMED.
    """
    if deserialize is None:
        return content
    try:
        return deserialize(content)
    except DecodeError as error:
        raise InvalidInput(
            "The request is not a message of the type that this method takes.", reason="REQUEST_MALFORMED"
        ) from error


class Receiving(Layer):
    """Begins calls before their message is there; the outermost layer.

    Unary methods are called with None for the request: `Access` receives it, once it knows who calls.
    """

    def __init__(self, reception: Reception) -> None:
        self._reception = reception

    def surround_unary(self, method: str, handler: Handler) -> Handler:
        """Surrounds a method."""
        behaviour = cast(Any, handler.unary_unary)

        async def begun(messages: object, context: Context) -> Any:
            try:
                return await behaviour(None, context)
            except BaseException as error:
                _forget_frames(error)
                raise

        return grpc.stream_unary_rpc_method_handler(cast(Any, begun), None, handler.response_serializer)

    def surround_stream(self, method: str, handler: Handler) -> Handler:
        """Surrounds a stream of responses; one of requests receives by itself."""
        if handler.request_streaming:
            return handler
        behaviour, deserialize = cast(Any, handler.unary_stream), handler.request_deserializer

        async def begun(messages: object, context: Context) -> None:
            try:
                request = parsed(deserialize, await self._reception.receive(context))
            except FashionError as error:
                await context.abort(code_of(error), error.message)
            responses = behaviour(request, context)
            if not inspect.isasyncgen(responses):
                # It writes by itself, as health does.
                await responses
                return
            async with aclosing(responses):
                async for response in responses:
                    await context.write(response)

        return grpc.stream_stream_rpc_method_handler(cast(Any, begun), None, handler.response_serializer)
