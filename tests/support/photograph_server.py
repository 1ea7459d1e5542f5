"""An HTTP server of photographs on loopback that fails now and then, as shops' servers do."""

import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.small_shop import photograph


class PhotographServer:
    """Serves photographs; what a path names decides how.

    A path with "flaky" fails once with 500, one with "busy" twice with 429; "missing" is 404, "page" HTML, "large" says
    that it has 100 MB, "slow" never ends, "broken" is cut off, "hop" leads on to "/plain.png", "loop" to itself.

    Attributes:
        url: its address, without a slash at its end.
        requests: how often each path was asked for.
        unchanged: how many answers were 304.
        tag: what names the version of all photographs.
        pictures: what is served at a path; a drawn picture where there is none.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.unchanged = 0
        self.tag = '"1"'
        self.pictures: dict[str, bytes] = {}
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def start(self) -> None:
        """Begins to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Ends serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: PhotographServer

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        owner, path = self.owner, self.path
        owner.requests[path] += 1
        times = owner.requests[path]
        if "flaky" in path and times == 1:
            self._answer(500)
        elif "busy" in path and times <= 2:
            self._answer(429, b"", ("Retry-After", "0"))
        elif "missing" in path:
            self._answer(404)
        elif "page" in path:
            self._answer(200, b"<html>Not here</html>", ("Content-Type", "text/html; charset=utf-8"))
        elif "large" in path:
            self.send_response(200)
            self.send_header("Content-Length", "100000000")
            self.end_headers()
        elif "slow" in path:
            self._trickle()
        elif "hop" in path or "loop" in path:
            self._answer(302, b"", ("Location", path if "loop" in path else "/plain.png"))
        elif path in owner.pictures:
            self._photograph(owner.pictures[path], f'"{zlib.crc32(owner.pictures[path])}"')
        else:
            shade = len(path) % 25 + (0 if owner.tag == '"1"' else 1)
            self._photograph(photograph("Men Tshirts", "Blue", shade), owner.tag)

    def _photograph(self, content: bytes, tag: str) -> None:
        if self.headers.get("If-None-Match") == tag:
            self.owner.unchanged += 1
            self._answer(304)
        else:
            self._answer(200, content[:60] if "broken" in self.path else content, ("ETag", tag))

    def _answer(self, status: int, content: bytes = b"", *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _trickle(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            # The client has had enough.
            self.close_connection = True


@contextmanager
def photograph_server() -> Iterator[PhotographServer]:
    """Serves photographs for as long as the context lasts."""
    server = PhotographServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
