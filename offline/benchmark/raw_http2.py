"""The few frames of HTTP/2 that a hostile caller needs and that no gRPC library sends; for servers of our own."""

import asyncio
import struct
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GO_AWAY, _WINDOW = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x8
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_INITIAL_WINDOW_SIZE: Final = 0x4
_CANCEL: Final = 0x8
# How much the other side may be sent before it allows more (RFC 9113, 6.9.2), and of one frame.
_FIRST_WINDOW: Final = 65_535
_FRAME_BYTES: Final = 16_384


class RawConnection:
    """A connection that does as it likes; it reads frames and forgets them.

    Attributes:
        closed: set once the server has closed it, or asked for its end.
        ended: the streams of calls that the server has ended.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._stream = -1
        self.closed = asyncio.Event()
        self.ended: set[int] = set()
        self._initial = _FIRST_WINDOW
        # What may still be sent: of the connection under 0, and of each stream.
        self._allowed: defaultdict[int, int] = defaultdict(lambda: self._initial)
        self._allowed[0] = _FIRST_WINDOW
        self._more = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, target: str, *, window: int = 65_535) -> "RawConnection":
        """Connects to "host:port".

        Args:
            target: of a server without TLS.
            window: how many bytes of an answer the server may send before this side allows more, which it never does.
        """
        host, _, port = target.rpartition(":")
        connection = cls(*await asyncio.open_connection(host, int(port)))
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, window)
        connection._writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, settings))
        await connection.flush()
        return connection

    def call(self, method: str, message: bytes | None, *, promised: int = 0) -> int:
        """Begins a call, and returns its stream; without a message the server waits for one.

        Args:
            method: such as "/fashion.v1.SearchService/GetIndex".
            message: serialised; None to send none.
            promised: further bytes that the message is said to have, and that never come.
        """
        self._stream += 2
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": method,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        self._writer.write(_frame(_HEADERS, _END_HEADERS, self._stream, _headers(headers)))
        if message is not None:
            content = struct.pack(">BI", 0, len(message) + promised) + message
            for at in range(0, len(content), _FRAME_BYTES):
                part = content[at : at + _FRAME_BYTES]
                last = at + _FRAME_BYTES >= len(content) and not promised
                self._writer.write(_frame(_DATA, _END_STREAM if last else 0, self._stream, part))
                self._count(self._stream, -len(part))
        return self._stream

    def _count(self, stream: int, size: int) -> None:
        self._allowed[stream] += size
        self._allowed[0] += size

    async def go_on(self, stream: int, size: int, timeout_s: float) -> int:
        """Sends further bytes of a message, as fast as the server allows.

        Returns:
            How many; fewer where the server ends the call or the connection, or the time is over.
        """
        left = size
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(timeout_s):
                while left and not self.closed.is_set() and stream not in self.ended:
                    part = min(left, _FRAME_BYTES, self._allowed[stream], self._allowed[0])
                    if part <= 0:
                        self._more.clear()
                        await self._more.wait()
                        continue
                    self._writer.write(_frame(_DATA, 0, stream, bytes(part)))
                    self._count(stream, -part)
                    left -= part
                    await self.flush()
        return size - left

    def cancel(self, stream: int) -> None:
        """Cancels a call."""
        self._writer.write(_frame(_RESET, 0, stream, struct.pack(">I", _CANCEL)))

    def ping(self, count: int) -> None:
        """Sends some pings."""
        self._writer.write(_frame(_PING, 0, 0, bytes(8)) * count)

    async def flush(self) -> None:
        """Waits until what was written is on its way.

        Raises:
            ConnectionError: the server has closed the connection.
        """
        await self._writer.drain()

    async def close(self) -> None:
        """Closes the connection."""
        self._reading.cancel()
        self._writer.close()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(9)
                length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
                content = await self._reader.readexactly(length)
                if kind == _SETTINGS and not flags & _ACK:
                    self._writer.write(_frame(_SETTINGS, _ACK, 0, b""))
                    self._take_settings(content)
                if kind == _WINDOW:
                    self._allowed[int.from_bytes(head[5:], "big")] += int.from_bytes(content, "big")
                if kind == _RESET or (kind == _HEADERS and flags & _END_STREAM):
                    self.ended.add(int.from_bytes(head[5:], "big"))
                if kind == _GO_AWAY:
                    self.closed.set()
                self._more.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed.set()
            self._more.set()

    def _take_settings(self, content: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", content):
            if name == _INITIAL_WINDOW_SIZE:
                for stream in self._allowed.keys() - {0}:
                    self._allowed[stream] += value - self._initial
                self._initial = value


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + content


def _headers(headers: Mapping[str, str]) -> bytes:
    """Returns a header block without compression; names and values have at most 126 characters."""
    return b"".join(
        b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
        for name, value in headers.items()
    )
