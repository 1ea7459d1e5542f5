"""A proxy between services that can be slow, or lose everything without a sign, as networks do."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

_CHUNK: Final = 65_536


class Proxy:
    """Forwards connections on a loop of its own.

    Attributes:
        target: where it listens, "host:port".
    """

    def __init__(self, to: str, loop: asyncio.AbstractEventLoop) -> None:
        self._to, self._loop = to, loop
        self._delay_s = 0.0
        self._connected = asyncio.Event()
        self._connected.set()
        self._connections: set[asyncio.Task[None]] = set()
        self.target = ""

    def slow(self, delay_s: float) -> None:
        """Delays whatever is sent from now on, in both directions, by some seconds; 0 for not at all."""
        self._delay_s = delay_s

    def part(self) -> None:
        """Loses everything from now on; connections stay open and lead nowhere, also after `join`."""
        self._loop.call_soon_threadsafe(self._connected.clear)

    def join(self) -> None:
        """Lets new connections pass again. Those from before stay dead, as the worst of networks leaves them."""
        self._loop.call_soon_threadsafe(self._connected.set)

    async def listen(self) -> asyncio.Server:
        """Begins to listen."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.target = "{}:{}".format(*server.sockets[0].getsockname()[:2])
        return server

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._connected.wait()
            host, _, port = self._to.rpartition(":")
            connecting: Coroutine[Any, Any, Any] = (
                asyncio.open_connection(host, int(port)) if host else asyncio.open_unix_connection(self._to)
            )
            other_reader, other_writer = await connecting
            try:
                await asyncio.gather(self._forward(reader, other_writer), self._forward(other_reader, writer))
            finally:
                other_writer.close()
        except (OSError, asyncio.CancelledError):
            # It ends with the connection, or with the proxy.
            pass
        finally:
            writer.close()
            self._connections.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while content := await reader.read(_CHUNK):
            if not self._connected.is_set():
                # Until the caller gives this connection up.
                while await reader.read(_CHUNK):
                    pass
                break
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            writer.write(content)
            await writer.drain()
        writer.close()

    async def close(self) -> None:
        """Ends all connections."""
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


@contextmanager
def proxies(*to: str) -> Iterator[tuple[Proxy, ...]]:
    """Runs proxies in a thread for as long as the context lasts.

    Args:
        to: where each leads: "host:port", or the path of a Unix socket.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxies")
    thread.start()

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(20)

    async def begin(one: Proxy) -> asyncio.Server:
        return await one.listen()

    made = tuple(Proxy(each, loop) for each in to)
    servers = [run(begin(one)) for one in made]
    try:
        yield made
    finally:
        for server in servers:
            loop.call_soon_threadsafe(server.close)
        for one in made:
            with suppress(Exception):
                run(one.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
