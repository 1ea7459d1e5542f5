"""Accepts connections for which there is a place, altogether and per address, before their TLS handshake already."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from services.concurrency.bounds import Bound

_log = structlog.stdlib.get_logger(__name__)

# A connection that was idle for less makes no room: its caller is likely to send the next request.
_IDLE_S: Final = 1.0
# Pause where the system has no more file descriptors or memory for connections.
_PAUSE_S: Final = 1.0


class IdleConnection(Protocol):
    """A connection between two requests.

    Attributes:
        place: the one that it holds.
    """

    place: "Place"

    def is_read(self) -> bool:
        """Tells whether its caller has read the last answer."""

    def cut_off(self) -> None:
        """Ends it."""


class Place:
    """What a connection holds from its beginning to its end.

    Attributes:
        address: of the caller.
    """

    def __init__(self, bound: Bound, address: str) -> None:
        self.address = address
        self._bound: Bound | None = bound

    def give_back(self) -> None:
        """Gives it back; called again, it does nothing."""
        bound, self._bound = self._bound, None
        if bound is not None:
            bound.give_back(self.address)


class Places:
    """The places of connections.

    Attributes:
        idle: the connections between two requests, the longest idle one first, and since when, in seconds of the loop.
    """

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self.idle: dict[IdleConnection, float] = {}

    def take(self, address: str) -> Place | None:
        """Takes a place for a caller; None where there is none.

        The longest idle connection makes room: one of the same address, where that has too many.
        """
        while (crowded := not self._bound.has_room(address)) or not self._bound.has_room(None):
            idle = self._longest_idle(address if crowded else None)
            if idle is None:
                break
            del self.idle[idle]
            idle.cut_off()
            idle.place.give_back()
        return Place(self._bound, address) if self._bound.take(address) else None

    def _longest_idle(self, address: str | None) -> IdleConnection | None:
        """Returns the connection that may make room first, of one address or of any; None if there is none."""
        until = asyncio.get_running_loop().time() - _IDLE_S
        for idle, since in self.idle.items():
            if since > until:
                break
            if address in (None, idle.place.address) and idle.is_read():
                return idle
        return None


class Listener:
    """Accepts connections of a listening socket, and begins them.

    It does what a server of asyncio does, whose connections count after their handshake alone.
    """

    def __init__(
        self,
        listening: socket.socket,
        places: Places,
        protocol: Callable[[Place], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        handshake_timeout_s: float,
    ) -> None:
        """Begins to accept, on the running event loop.

        Args:
            listening: closed by its owner.
            places: those that connections take.
            protocol: makes what speaks on a connection, and gives its place back at its end.
            tls: None for connections without TLS.
            handshake_timeout_s: maximum time of a handshake, in seconds.
        """
        self._listening, self._places, self._protocol = listening, places, protocol
        self._tls, self._handshake_timeout_s = tls, None if tls is None else handshake_timeout_s
        self._beginning: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        """Accepts no more, and ends handshakes under way."""
        for task in (self._accepting, *self._beginning):
            task.cancel()

    async def wait_closed(self) -> None:
        """Waits until it has done both."""
        await asyncio.wait((self._accepting, *self._beginning))

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, (address, *_) = await loop.sock_accept(self._listening)
            except ConnectionAbortedError:
                continue
            except OSError as error:
                _log.error("no connection can be accepted for now", error=error.strerror)
                await asyncio.sleep(_PAUSE_S)
                continue
            place = self._places.take(address)
            if place is None:
                connection.close()
            else:
                beginning = asyncio.create_task(self._begin(connection, place))
                self._beginning.add(beginning)
                beginning.add_done_callback(self._beginning.discard)
            # Many at once hold up nobody else.
            await asyncio.sleep(0)

    async def _begin(self, connection: socket.socket, place: Place) -> None:
        try:
            connection.setblocking(False)
            # Otherwise the last part of an answer may wait for the caller's acknowledgement of the first.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._protocol(place),
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake_timeout_s,
            )
        except OSError as error:
            place.give_back()
            # There is none where a caller just looks whether the port is open.
            if reason := str(error):
                _log.info("connection cut off", why="its TLS handshake fails", address=place.address, error=reason)
        except BaseException:
            place.give_back()
            raise
