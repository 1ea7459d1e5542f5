"""Connections of the HTTP server: bounded in the time that they may do nothing."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.gateway.listener import Place, Places
from services.serving.tls import certificate_names

_log = structlog.stdlib.get_logger(__name__)

# How long a caller that neither sends nor reads may hold up the end of the server.
_LINGER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The limits of connections.

    Attributes:
        places: those that connections hold.
        header_timeout_s: maximum time for the headers of a request to arrive, in seconds.
        progress_timeout_s: maximum time in which a caller reads nothing of an answer, in seconds.
    """

    places: Places
    header_timeout_s: float
    progress_timeout_s: float


class BoundedProtocol(H11Protocol):
    """A connection within limits; one that exceeds them is cut off.

    Attributes:
        place: the one that it holds.
    """

    def __init__(self, limits: ConnectionLimits, place: Place, **given: Any) -> None:
        super().__init__(**given)
        self.place = place
        self._limits = limits
        self._header_timer: asyncio.TimerHandle | None = None
        self._progress_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins, after the handshake where there is one."""
        super().connection_made(transport)
        # Each request gets a copy of it.
        self.app_state = {**self.app_state, "certificate": certificate_names(transport.get_extra_info("peercert"))}
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Makes room for another one."""
        self._limits.places.idle.pop(self, None)
        self.place.give_back()
        for timer in (self._header_timer, self._progress_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        # Uvicorn leaves its timer where the caller has reset the connection, and with it all that the connection holds.
        self._unset_keepalive_if_required()

    def is_read(self) -> bool:
        """Tells whether its caller has read the last answer."""
        return not self.transport.get_write_buffer_size()

    def cut_off(self) -> None:
        """Ends it."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Handles what came, and watches that headers are soon complete."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Goes on with the next request, if some of it is here already, and watches that the rest soon is."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Watches that the caller goes on to read."""
        super().pause_writing()
        if self._progress_timer is None:
            self._progress_timer = self._cut_off_after(self._limits.progress_timeout_s, "it does not read the answer")

    def resume_writing(self) -> None:
        """Sees that the caller reads."""
        super().resume_writing()
        if self._progress_timer is not None:
            self._progress_timer.cancel()
            self._progress_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """Closes an idle connection, also if its caller has left an answer unread."""
        super().timeout_keep_alive_handler()
        self._cut_off_after(_LINGER_S)

    def shutdown(self) -> None:
        """Ends the connection after the request in flight; does not wait for a caller that sends or reads slowly."""
        super().shutdown()
        self.loop.call_later(_LINGER_S, self._end_idle)

    def _end_idle(self) -> None:
        working = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        if not working or self.flow.write_paused:
            self.transport.abort()

    def _watch(self) -> None:
        """Gives the next request its time to begin, or what is left of a request its time to arrive."""
        if self.transport.is_closing():
            return
        between = self.conn.our_state is self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        idle = between and self.cycle is not None
        under_way = self.cycle is not None and not self.cycle.response_complete
        if not idle and not under_way:
            if self._header_timer is None:
                self._header_timer = self._cut_off_after(self._limits.header_timeout_s, "its request does not arrive")
        elif self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
        if not idle:
            self._limits.places.idle.pop(self, None)
            return
        self._limits.places.idle.setdefault(self, self.loop.time())
        if self.timeout_keep_alive_task is None:
            # The rest of a body has come after the answer.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _cut_off_after(self, seconds: float, why: str = "") -> asyncio.TimerHandle:
        def cut_off() -> None:
            if why:
                _log.info("connection cut off", why=why, address=self.place.address)
            self.cut_off()

        return self.loop.call_later(seconds, cut_off)
