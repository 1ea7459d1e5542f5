"""Hostile callers of gRPC: each gets an exact answer, nobody else notices, and the memory stays within a cap."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc
import numpy as np
from google.protobuf.message import DecodeError, Message

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.drawn_shop import drawn_rows
from offline.benchmark.hostile_messages import HostileMessages, methods
from offline.benchmark.machine import Machine
from offline.benchmark.processes import ServerProcess, running
from offline.benchmark.raw_http2 import RawConnection
from services.contract.scopes import RPCS, Scope
from services.serving.status import error_info

Say = Callable[[str], None]

MAX_GROWTH_MIB: Final = 256.0
MAX_RATIO: Final = 2.0
# What `SERVER_MAX_UNFINISHED_BYTES` is by default, and an eighth for the C library.
MAX_HELD_MIB: Final = 576.0
_PRODUCTS: Final = 120
_IN_FLIGHT: Final = 16
_TIMEOUT_S: Final = 20.0
_NEIGHBOUR_A_SECOND: Final = 25.0
_ROUNDS: Final = 5
_BURST_S: Final = 1.5
_OVERSIZE_BYTES: Final = 33 * 1024 * 1024
# Messages that are sent but for their last byte, how large each is, and how many of them a connection has.
_HALF_SENT: Final = (4, 8, 16, 32, 64)
_HALF_SENT_BYTES: Final = 31 * 1024 * 1024
_PER_CONNECTION: Final = 4
# Time to send them, and afterwards until those that are too many have been refused.
_SENDING_S: Final = 20.0
_REFUSED_S: Final = 3.0
_FIND: Final = "/fashion.v1.SearchService/FindSimilar"
_LIST: Final = "/fashion.v1.SearchService/ListProducts"
_WATCH: Final = "/grpc.health.v1.Health/Watch"
# What a caller is told who sent what cannot be, by the categories of docs/errors.md.
_REFUSALS: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


def messages(
    count: int,
    seed: int,
    say: Say = lambda text: None,
    *,
    attack_s: float = 6.0,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Sends mutated messages to a stack of its own, then attacks it while somebody asks it as ever.

    Args:
        count: mutated messages.
        seed: of all that is random.
        say: takes a line now and then.
        attack_s: length of each span of an attack, and of each without; 0 for no attacks.
        environment: further settings of the stack.

    Returns:
        The figures; `problems` is empty where all held.
    """
    with TemporaryDirectory() as folder:
        settings = {
            "SEARCH_DATA_DIR": str(Path(folder) / "data"),
            "GATEWAY_ENABLED": "false",
            "SERVER_LOG_LEVEL": "error",
            # A busy machine must not look like a fault.
            "SERVER_QUERY_DEADLINE_S": "20",
            "SEARCH_PREFERENCES_TIMEOUT_S": "20",
            **(environment or {}),
        }
        with running("services.stack", settings, Path(folder) / "stack.log") as stack:
            return asyncio.run(_Hostile(stack, seed, say).run(count, attack_s))


class _Hostile:
    def __init__(self, stack: ServerProcess, seed: int, say: Say) -> None:
        self._stack, self._say = stack, say
        self._rows = drawn_rows(seed, _PRODUCTS, width=120)
        products = [row.product for row in self._rows]
        words = [
            text for each in products for text in (each.id, each.base_colour, each.article_type, each.sub_category)
        ]
        self._contents = [row.image.content for row in self._rows]
        self._messages = HostileMessages(seed, words, self._contents)
        self._random = np.random.default_rng(seed)
        self.codes: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def run(self, count: int, attack_s: float) -> dict[str, Any]:
        began, machine = time.monotonic(), Machine.this()
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        async with grpc.aio.insecure_channel(self._stack.target, options=options) as channel:
            self._channel, self._stub = channel, search_pb2_grpc.SearchServiceStub(channel)
            await self._fill()
            before, before_mib = await self._good_answers(), self._stack.resident_mib()
            self._stack.reset_peak()
            reading = [path for path in methods() if RPCS[path.lstrip("/")].scope is Scope.READ]
            await self._send(reading, count * 3 // 4)
            if await self._good_answers() != before:
                self.wrong.append("A good request is answered otherwise than before.")
            attacks = await self._attacks(attack_s) if attack_s else {}
            if await self._good_answers() != before:
                self.wrong.append("A good request is answered otherwise than before the attacks.")
            # At last what may change the catalogue.
            await self._send([path for path in methods() if path not in reading], count - count * 3 // 4)
            await self._stub.GetIndex(search_pb2.GetIndexRequest(), timeout=_TIMEOUT_S)
        grown = self._stack.peak_mib() - before_mib
        resident = self._stack.resident_mib()
        half_sent = [await self._half_sent(calls, resident) for calls in _HALF_SENT] if attack_s else []
        slower = {name: each["ratio"] for name, each in attacks.items() if each["ratio"] > MAX_RATIO}
        problems = [*self.wrong[:20]]
        problems += [f"{name}: p99 of somebody else is {ratio:.1f} times as high." for name, ratio in slower.items()]
        if grown > MAX_GROWTH_MIB:
            problems.append(f"The memory has grown by {grown:.0f} MiB, more than {MAX_GROWTH_MIB:.0f}.")
        problems += [
            f"{each['calls']} half-sent messages hold {each['held_mib']:.0f} MiB, more than {MAX_HELD_MIB:.0f}."
            for each in half_sent
            if each["held_mib"] > MAX_HELD_MIB
        ]
        return {
            "load_at_begin": machine.load,
            "messages": self.codes.total(),
            "codes": dict(self.codes.most_common()),
            "wrong": len(self.wrong),
            "resident_mib": round(before_mib),
            "peak_growth_mib": round(grown),
            "attacks": attacks,
            "half_sent": half_sent,
            "problems": problems,
            "seconds": round(time.monotonic() - began),
        }

    def _raw(self, path: str) -> Any:
        """Returns an RPC that takes and answers bytes."""
        return self._channel.unary_unary(path)

    async def _fill(self) -> None:
        await self._stub.UpsertProducts(search_pb2.UpsertProductsRequest(rows=self._rows), timeout=60)
        # Candidates are published beside; an answer names their version.
        version = ""
        while not version:
            version = (await self._stub.GetIndex(search_pb2.GetIndexRequest(), timeout=_TIMEOUT_S)).candidates_version
            await asyncio.sleep(0.2)
        await asyncio.sleep(1)

    async def _good_answers(self) -> list[bytes]:
        image = types_pb2.Image(content=self._contents[0])
        requests = [search_pb2.FindSimilarRequest(image=image), search_pb2.FindSimilarRequest(product_id="p1")]
        answers = [await self._stub.FindSimilar(request, timeout=_TIMEOUT_S) for request in requests]
        return [answer.SerializeToString(deterministic=True) for answer in answers]

    async def _send(self, paths: Sequence[str], count: int) -> None:
        """Sends mutated messages, some at once, and judges each answer."""
        kinds, left = methods(), iter(range(count))

        async def send() -> None:
            for number in left:
                path = paths[number % len(paths)]
                content = self._messages.request(kinds[path])
                await self._judge(path, kinds[path], content)
                if number and number % 10_000 == 0:
                    self._say(f"{number:,} messages, {len(self.wrong)} wrong")

        await asyncio.gather(*(send() for _ in range(_IN_FLIGHT)))

    async def _judge(self, path: str, kind: type[Message], content: bytes) -> None:
        readable = True
        try:
            kind.FromString(content)
        except DecodeError:
            readable = False
        reason, code = "", grpc.StatusCode.OK
        try:
            await self._raw(path)(content, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            info = error_info(error.trailing_metadata() or ())
            reason = "" if info is None else info.reason
        self.codes[code.name] += 1
        if not exact(readable, code, reason):
            self.wrong.append(f"{path}: {code.name} {reason} for {content[:60].hex()} ({len(content)} bytes)")

    async def _attacks(self, attack_s: float) -> dict[str, dict[str, float]]:
        """Returns for each attack the p99 of somebody else, alone and meanwhile, in ms, medians of several rounds."""
        figures = {}
        for name, attack in {
            "mutated messages": self._mutated,
            "oversize messages": self._oversize,
            "answers that nobody reads": self._slow_readers,
            "pings": self._pings,
            "2,000 idle streams": self._idle_streams,
            "200 messages that do not end": self._half_messages,
            "calls cancelled at each stage": self._cancelled,
        }.items():
            alone, meanwhile = [], []
            for _ in range(_ROUNDS):
                alone.append(await self._neighbour(attack_s))
                async with attack():
                    # What it begins with is a burst that anybody may send.
                    await asyncio.sleep(_BURST_S)
                    meanwhile.append(await self._neighbour(attack_s))
                await asyncio.sleep(attack_s / 6)
            ratio = float(np.median([during / before for during, before in zip(meanwhile, alone, strict=True)]))
            figures[name] = {
                "alone_p99_ms": round(float(np.median(alone)), 1),
                "meanwhile_p99_ms": round(float(np.median(meanwhile)), 1),
                "ratio": round(ratio, 2),
            }
            self._say(f"{name}: {figures[name]}")
        return figures

    async def _neighbour(self, seconds: float) -> float:
        """Asks as a well-behaved caller, and returns the 99th percentile of the times, in ms."""
        times: list[float] = []
        async with grpc.aio.insecure_channel(
            self._stack.target, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as own:
            stub = search_pb2_grpc.SearchServiceStub(own)
            began = time.monotonic()

            async def ask(number: int) -> None:
                at = time.monotonic()
                request = search_pb2.FindSimilarRequest(product_id=f"p{number % _PRODUCTS}")
                try:
                    await stub.FindSimilar(request, timeout=_TIMEOUT_S)
                    times.append((time.monotonic() - at) * 1000)
                except grpc.aio.AioRpcError as error:
                    self.wrong.append(f"Somebody else gets {error.code().name}: {error.details()}")

            asked = []
            for number in range(int(seconds * _NEIGHBOUR_A_SECOND)):
                await asyncio.sleep(max(0.0, began + number / _NEIGHBOUR_A_SECOND - time.monotonic()))
                asked.append(asyncio.create_task(ask(number)))
            await asyncio.gather(*asked)
        return float(np.percentile(times, 99)) if times else float("inf")

    @asynccontextmanager
    async def _repeated(self, rate: float, act: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Does something so many times a second for as long as the context lasts."""

        async def repeat() -> None:
            acts: set[asyncio.Task[None]] = set()
            try:
                while True:
                    task = asyncio.ensure_future(act())
                    acts.add(task)
                    task.add_done_callback(acts.discard)
                    await asyncio.sleep(1 / rate)
            finally:
                for task in acts:
                    task.cancel()
                await asyncio.gather(*acts, return_exceptions=True)

        task = asyncio.create_task(repeat())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _mutated(self) -> Any:
        kinds = {path: kind for path, kind in methods().items() if RPCS[path.lstrip("/")].scope is Scope.READ}
        paths = list(kinds)

        async def act() -> None:
            path = paths[int(self._random.integers(len(paths)))]
            await self._judge(path, kinds[path], self._messages.request(kinds[path]))

        return self._repeated(40, act)

    @asynccontextmanager
    async def _oversize(self) -> AsyncIterator[None]:
        """Announces messages above the limit; the server has to end each call, whatever comes of it."""
        async with self._connections(4) as connections:
            number = 0

            async def act() -> None:
                nonlocal number
                connection = connections[number % 4]
                number += 1
                stream = connection.call(_FIND, bytes(32_768), promised=_OVERSIZE_BYTES)
                await connection.flush()
                await asyncio.sleep(2)
                if stream not in connection.ended:
                    self.wrong.append("A message above the limit is waited for.")

            async with self._repeated(20, act):
                yield

    def _cancelled(self) -> Any:
        request = search_pb2.FindSimilarRequest(image=types_pb2.Image(content=self._contents[0]))

        async def act() -> None:
            call = self._stub.FindSimilar(request, timeout=_TIMEOUT_S)
            await asyncio.sleep(float(self._random.uniform(0, 0.02)))
            call.cancel()
            with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                await call

        return self._repeated(20, act)

    @asynccontextmanager
    async def _connections(self, count: int, **options: int) -> AsyncIterator[list[RawConnection]]:
        async with AsyncExitStack() as stack:
            connections = []
            for _ in range(count):
                connections.append(await RawConnection.open(self._stack.target, **options))
                stack.push_async_callback(connections[-1].close)
            yield connections

    @asynccontextmanager
    async def _slow_readers(self) -> AsyncIterator[None]:
        content = search_pb2.ListProductsRequest(page_size=100).SerializeToString()
        async with self._connections(8, window=0) as connections:
            for connection in connections:
                for _ in range(16):
                    connection.call(_LIST, content)
                    await connection.flush()
                    await asyncio.sleep(0.005)
            yield

    @asynccontextmanager
    async def _pings(self) -> AsyncIterator[None]:
        async def flood() -> None:
            while True:
                connection = await RawConnection.open(self._stack.target)
                try:
                    while not connection.closed.is_set():
                        connection.ping(20)
                        await connection.flush()
                        await asyncio.sleep(0.02)
                except ConnectionError:
                    pass
                finally:
                    await connection.close()
                await asyncio.sleep(0.02)

        task = asyncio.create_task(flood())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @asynccontextmanager
    async def _idle_streams(self) -> AsyncIterator[None]:
        """Half of them are calls whose message never comes, half watch health."""
        async with self._connections(20) as connections:
            for number in range(2000):
                connection = connections[number % len(connections)]
                connection.call(_FIND, None) if number % 2 else connection.call(_WATCH, b"")
                if number % 50 == 0:
                    await connection.flush()
                    await asyncio.sleep(0.005)
            yield

    @asynccontextmanager
    async def _half_messages(self) -> AsyncIterator[None]:
        part = bytes(60_000)
        async with self._connections(10) as connections:
            for number in range(200):
                connections[number % 10].call(_FIND, part, promised=30 * 1024 * 1024)
            for connection in connections:
                with suppress(TimeoutError, ConnectionError):
                    async with asyncio.timeout(2):
                        await connection.flush()
            yield

    async def _half_sent(self, calls: int, before_mib: float) -> dict[str, float]:
        """Sends messages but for their last byte.

        Args:
            calls: how many.
            before_mib: the memory of the server before any.

        Returns:
            What was sent, how long that took, how many were refused, and how much more memory than before the server
            had at its peak, once too many were refused, and after the end of all.
        """
        self._stack.reset_peak()
        async with self._connections(-(-calls // _PER_CONNECTION)) as connections:
            begun = [
                (connection, connection.call(_FIND, b"", promised=_HALF_SENT_BYTES))
                for connection in (connections[number // _PER_CONNECTION] for number in range(calls))
            ]
            began = time.monotonic()
            sent = await asyncio.gather(
                *(connection.go_on(stream, _HALF_SENT_BYTES - 1, _SENDING_S) for connection, stream in begun)
            )
            sending_s = time.monotonic() - began
            await asyncio.sleep(_REFUSED_S)
            held_mib = self._stack.resident_mib() - before_mib
            refused = sum(stream in connection.ended for connection, stream in begun)
        await asyncio.sleep(_REFUSED_S)
        figures = {
            "calls": calls,
            "sent_mib": round(sum(sent) / 2**20),
            "sending_s": round(sending_s, 1),
            "refused": refused,
            "peak_mib": round(self._stack.peak_mib() - before_mib),
            "held_mib": round(held_mib),
            "left_mib": round(self._stack.resident_mib() - before_mib),
        }
        self._say(f"half-sent messages: {figures}")
        return figures


def exact(readable: bool, code: grpc.StatusCode, reason: str) -> bool:
    """Tells whether an answer is what the documents say.

    Args:
        readable: whether what was sent is a message of the method's type.
        code: of the answer.
        reason: of its ErrorInfo; "" without one.
    """
    if not readable:
        return (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    return code is grpc.StatusCode.OK or (code in _REFUSALS and reason not in ("", "REQUEST_MALFORMED"))
