"""Callers that send slowly, read nothing or come in crowds hold up nobody else, and are not waited for."""

import asyncio
import gc
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from fashion.v1 import search_pb2
from services.gateway.connection import BoundedProtocol
from tests.support.certificates import Certificates, Files
from tests.support.gateways import gateway_in_thread, problem
from tests.support.waiting import eventually

PHOTOGRAPH = b"\xff\xd8\xff" + bytes(6_000_000)
UPLOAD = b"POST /v1/similar HTTP/1.1\r\nHost: shop\r\nContent-Type: image/jpeg\r\n"
SLOW_BODY = UPLOAD + b"Content-Length: 1000\r\n\r\n" + PHOTOGRAPH[:3]
READ_PHOTOGRAPH = b"GET /v1/products/x/image HTTP/1.1\r\nHost: shop\r\n\r\n"
# So far as a test can tell, longer than any that it waits for.
NEVER = 600.0


class SearchOfOne:
    """A search with one product, which has a photograph of some megabytes."""

    async def serving(self) -> bool:
        return True

    async def dislikes_known(self) -> bool:
        return True

    async def get_product(self, product_id: str) -> search_pb2.GetProductResponse:
        answer = search_pb2.GetProductResponse()
        answer.product.id = product_id
        return answer

    async def get_photograph(self, product_id: str, index: int = 0) -> search_pb2.GetPhotographResponse:
        return search_pb2.GetPhotographResponse(content=PHOTOGRAPH, media_type="image/jpeg", sha256="0" * 64)


class BusySearch(SearchOfOne):
    """The same, which answers once it is told to."""

    def __init__(self) -> None:
        self.done = threading.Event()

    async def get_product(self, product_id: str) -> search_pb2.GetProductResponse:
        await asyncio.to_thread(self.done.wait, 20)
        return await super().get_product(product_id)


@contextmanager
def running(**limits: Any) -> Iterator[int]:
    timeouts = {"header_timeout_s": NEVER, "progress_timeout_s": NEVER, "upload_timeout_s": NEVER}
    with gateway_in_thread(SearchOfOne(), **{**timeouts, **limits}) as gateway:
        yield gateway.port


@contextmanager
def callers(port: int, count: int, request: bytes, source: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """Connects callers with small buffers, each of which sends something and then waits."""
    with ExitStack() as resources:
        connected = []
        for _ in range(count):
            caller = resources.enter_context(socket.socket())
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.settimeout(20)
            caller.bind((source, 0))
            caller.connect(("127.0.0.1", port))
            caller.sendall(request)
            connected.append(caller)
        yield connected


def status(caller: socket.socket) -> int:
    """Reads the begin of an answer; returns its status, 0 if the connection ends without one."""
    try:
        line = caller.recv(4096).split(b"\r\n")[0].split()
    except ConnectionError:
        return 0
    return int(line[1]) if line else 0


def rest(caller: socket.socket) -> int:
    """Reads until the connection ends; returns the number of bytes."""
    count = 0
    try:
        while part := caller.recv(65_536):
            count += len(part)
    except ConnectionError:
        pass
    return count


def others_are_served(port: int) -> None:
    assert httpx.get(f"http://127.0.0.1:{port}/v1/products/y", timeout=20).json()["id"] == "y"


def test_slow_bodies_leave_room_for_everybody_else() -> None:
    with running(max_concurrent_requests=2, max_uploads_per_address=8) as port, callers(port, 8, SLOW_BODY):
        others_are_served(port)
        with callers(port, 3, SLOW_BODY) as refused:
            assert [status(caller) for caller in refused] == [503] * 3
        # Another address has room of its own.
        with callers(port, 1, SLOW_BODY, source="127.0.0.2") as (other,):
            other.sendall(bytes(997))
            assert status(other) not in (0, 503)


def test_all_addresses_together_have_a_bound_too() -> None:
    with running(max_uploads=4) as port, ExitStack() as resources:
        for number in range(2, 6):
            resources.enter_context(callers(port, 1, SLOW_BODY, source=f"127.0.0.{number}"))
        eventually(lambda: _status_soon(port, SLOW_BODY, source="127.0.0.9") == 503)
        others_are_served(port)


def _status_soon(port: int, request: bytes, source: str = "127.0.0.1") -> int:
    """Returns the status of an answer that comes at once; 0 for none."""
    with callers(port, 1, request, source) as (caller,):
        caller.settimeout(0.5)
        try:
            return status(caller)
        except TimeoutError:
            return 0


def test_a_body_that_does_not_go_on_is_refused() -> None:
    with running(progress_timeout_s=0.3) as port, callers(port, 1, SLOW_BODY) as (caller,):
        assert status(caller) == 408
        assert rest(caller) < 4096


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])
@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: shop\r\nX: "], ids=["nothing", "half a header"])
def test_headers_that_do_not_arrive_are_not_waited_for(begin: bytes, drips: bool) -> None:
    with running(header_timeout_s=0.5) as port, callers(port, 1, begin) as (caller,):
        caller.settimeout(0.05)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                if drips:
                    caller.sendall(b"y" if begin else b"\r\n")
                if caller.recv(100) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("the connection is still open")
        others_are_served(port)


def test_a_second_sentof_a_connection_has_to_arrive_too() -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n"
    with running(header_timeout_s=0.5) as port, callers(port, 1, whole) as (caller,):
        assert status(caller) == 200
        caller.sendall(b"GET /healthz HT")
        assert rest(caller) < 4096


def test_a_caller_that_reads_nothing_is_cut_off_and_one_that_reads_gets_all() -> None:
    # While one is read, there is no room for another: it is given once the idle caller is cut off.
    room = len(PHOTOGRAPH) + 1
    with (
        running(progress_timeout_s=0.5, max_bytes_under_way_per_address=room) as port,
        callers(port, 1, READ_PHOTOGRAPH) as (idle,),
    ):
        assert status(idle) == 200
        eventually(lambda: httpx.get(f"http://127.0.0.1:{port}/v1/products/x/image", timeout=20).content == PHOTOGRAPH)
        assert 0 < rest(idle) < len(PHOTOGRAPH)
        others_are_served(port)


def rest_of_answer(caller: socket.socket) -> int:
    """Reads one answer of a kept connection; returns the size of its body."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += caller.recv(4096)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")).split()[1])
    count = len(body)
    while count < length:
        part = caller.recv(65_536)
        assert part, "the answer is cut off"
        count += len(part)
    return count


@pytest.mark.parametrize("announced", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_requests_that_are_worked_on_are_bounded_whatever_body_they_announce(announced: bytes) -> None:
    search = BusySearch()
    request = ASK.replace(b"\r\n\r\n", b"\r\n" + announced + b"\r\n")
    timeouts = {"header_timeout_s": NEVER, "progress_timeout_s": NEVER, "upload_timeout_s": NEVER}
    with (
        gateway_in_thread(search, max_concurrent_requests=2, **timeouts) as gateway,
        callers(gateway.port, 6, request) as asking,
    ):
        eventually(lambda: len(select.select(asking, [], [], 0)[0]) >= 4)
        refused = select.select(asking, [], [], 0)[0]
        assert [status(caller) for caller in refused] == [503] * 4
        search.done.set()
        assert [status(caller) for caller in asking if caller not in refused] == [200] * 2


def test_answers_that_nobody_reads_are_bounded_in_bytes() -> None:
    limit = 2 * len(PHOTOGRAPH) + 1
    with running(max_bytes_under_way_per_address=limit) as port:
        with callers(port, 2, READ_PHOTOGRAPH) as idle:
            assert [status(caller) for caller in idle] == [200, 200]
            refused = httpx.get(f"http://127.0.0.1:{port}/v1/products/x/image", timeout=20)
            problem(refused, 503, "TOO_MANY_REQUESTS")
            assert refused.headers["retry-after"] == "1"
            others_are_served(port)
            with callers(port, 1, READ_PHOTOGRAPH, source="127.0.0.2") as (other,):
                assert rest_of_answer(other) == len(PHOTOGRAPH)
        eventually(lambda: httpx.get(f"http://127.0.0.1:{port}/v1/products/x/image", timeout=20).content == PHOTOGRAPH)


def test_bodies_that_are_held_are_bounded_in_bytes() -> None:
    half_a_body = UPLOAD + b"Content-Length: 50000\r\n\r\n" + bytes(25_000)
    with running(max_bytes_under_way_per_address=60_000) as port, callers(port, 2, half_a_body):
        eventually(lambda: _status_soon(port, half_a_body) == 503)
        others_are_served(port)


def test_more_connections_than_fit_are_cut_off() -> None:
    with running(max_connections_per_address=4) as port:
        with callers(port, 4, b""), callers(port, 1, READ_PHOTOGRAPH) as (fifth,):
            assert status(fifth) == 0
            with callers(port, 1, READ_PHOTOGRAPH, source="127.0.0.2") as (other,):
                assert status(other) == 200
        eventually(lambda: _serves(port))


ASK = b"GET /v1/products/x HTTP/1.1\r\nHost: shop\r\n\r\n"
# Long enough to count as idle.
A_WHILE = 1.2


def ended(caller: socket.socket) -> bool:
    """Tells whether the server has ended a connection; waits for that."""
    return rest(caller) == 0


def connections() -> list[BoundedProtocol]:
    return [each for each in gc.get_objects() if isinstance(each, BoundedProtocol) and not each.transport.is_closing()]


def test_an_answer_that_is_still_read_makes_no_room() -> None:
    with running(max_connections=1) as port, callers(port, 1, b"") as (reader,):
        eventually(lambda: len(connections()) == 1)
        (connection,) = connections()
        # Otherwise the system takes the end of the answer too.
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        reader.sendall(READ_PHOTOGRAPH)
        received = len(reader.recv(1024))
        while not connection.cycle.response_complete:
            received += len(reader.recv(1024))
        assert connection.transport.get_write_buffer_size()
        time.sleep(A_WHILE)
        with callers(port, 1, ASK) as (refused,):
            assert status(refused) == 0
        while received < len(PHOTOGRAPH):
            part = reader.recv(65_536)
            assert part, "the answer is cut off"
            received += len(part)


def test_half_a_request_that_comes_with_another_has_to_arrive_too() -> None:
    with running(header_timeout_s=0.5) as port, callers(port, 1, ASK + ASK[:20]) as (caller,):
        assert rest_of_answer(caller)
        began = time.monotonic()
        assert ended(caller)
        assert time.monotonic() - began < 10


def test_a_body_that_comes_after_its_answer_leaves_the_connection_idle() -> None:
    head = b"POST /nowhere HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\n"
    with running(max_connections=1, header_timeout_s=1.0) as port, callers(port, 1, head) as (caller,):
        assert rest_of_answer(caller)
        caller.sendall(bytes(10))
        # Longer than a request may take to arrive.
        time.sleep(1.5)
        caller.sendall(ASK)
        assert rest_of_answer(caller)
        time.sleep(A_WHILE)
        with callers(port, 1, ASK) as (another,):
            assert rest_of_answer(another)
        assert ended(caller)


def test_a_body_that_never_comes_after_its_answer_is_not_waited_for() -> None:
    head = b"POST /nowhere HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\n"
    with running(header_timeout_s=0.5) as port, callers(port, 1, head) as (caller,):
        assert rest_of_answer(caller)
        began = time.monotonic()
        assert ended(caller)
        assert time.monotonic() - began < 10


def test_connections_that_are_reset_leave_nothing() -> None:
    def left() -> int:
        gc.collect()
        return sum(isinstance(each, BoundedProtocol) for each in gc.get_objects())

    with running() as port:
        others_are_served(port)
        before = left()
        for _ in range(20):
            with callers(port, 1, ASK) as (caller,):
                assert rest_of_answer(caller)
                # A reset instead of an end.
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        eventually(lambda: left() <= before)


@pytest.mark.parametrize(
    ("limits", "newcomer"),
    [({"max_connections_per_address": 4}, "127.0.0.1"), ({"max_connections": 4}, "127.0.0.2")],
    ids=["of one address", "of all"],
)
def test_the_longest_idle_connection_makes_room_for_another(limits: dict[str, int], newcomer: str) -> None:
    with running(**limits) as port, callers(port, 4, b"") as connected:
        # Two wait for the rest of a request, two are idle.
        connected[0].sendall(ASK[:20])
        connected[1].sendall(ASK[:20])
        for idle in (connected[3], connected[2]):
            idle.sendall(ASK)
            assert rest_of_answer(idle)
        with callers(port, 1, ASK, newcomer) as (refused,):
            # Who was idle for a moment alone is likely to go on.
            assert status(refused) == 0
        time.sleep(A_WHILE)
        with callers(port, 1, ASK, newcomer) as (another,):
            assert rest_of_answer(another)
            assert ended(connected[3])
            with callers(port, 1, ASK, newcomer) as (one_more,):
                assert rest_of_answer(one_more)
                assert ended(connected[2])
                time.sleep(A_WHILE)
                # These two have been idle since.
                with callers(port, 1, ASK[:20], newcomer), callers(port, 1, ASK[:20], newcomer):
                    assert ended(another) and ended(one_more)
                    with callers(port, 1, ASK, newcomer) as (refused,):
                        assert status(refused) == 0
        for waiting in connected[:2]:
            waiting.sendall(ASK[20:])
            assert rest_of_answer(waiting)


def test_an_address_with_too_many_connections_makes_room_by_its_own() -> None:
    with running(max_connections_per_address=2) as port, callers(port, 1, ASK, source="127.0.0.2") as (other,):
        assert rest_of_answer(other)
        with callers(port, 2, ASK) as own:
            assert all(rest_of_answer(caller) for caller in own)
            time.sleep(A_WHILE)
            with callers(port, 1, ASK) as (another,):
                assert rest_of_answer(another)
                assert ended(own[0])
        other.sendall(ASK)
        assert rest_of_answer(other)


def test_a_connection_may_be_idle_for_as_long_as_is_set() -> None:
    with running(keep_alive_s=1) as port, callers(port, 1, ASK) as (caller,):
        for pause_s in (0.2, 0.2):
            assert rest_of_answer(caller)
            time.sleep(pause_s)
            caller.sendall(ASK)
        assert rest_of_answer(caller)
        assert ended(caller)


def _serves(port: int) -> bool:
    try:
        others_are_served(port)
    except httpx.TransportError:
        return False
    return True


@pytest.mark.parametrize("sent", [SLOW_BODY, READ_PHOTOGRAPH, b"GET / HT", b""], ids=["body", "reader", "head", "none"])
def test_a_slow_caller_does_not_hold_up_the_end(sent: bytes) -> None:
    with ExitStack() as resources:
        with running(grace_s=60) as port:
            (caller,) = resources.enter_context(callers(port, 1, sent))
            time.sleep(0.3)
            began = time.monotonic()
        # Much less than the time that is left for work in flight.
        assert time.monotonic() - began < 30
        assert rest(caller) < len(PHOTOGRAPH)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Certificates(tmp_path_factory.mktemp("tls")).issue("localhost", "127.0.0.1")


def _answers_over_tls(port: int, certificate: Files, source: str = "127.0.0.1") -> bool:
    context = ssl.create_default_context(cafile=certificate.ca)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as caller,
        ):
            caller.sendall(ASK)
            return status(caller) == 200
    except OSError:
        return False


# What begins a handshake, and nothing of it.
HALF_A_HANDSHAKE = b"\x16\x03\x01\x02\x00\x01"


@pytest.mark.parametrize("sent", [b"", HALF_A_HANDSHAKE], ids=["nothing", "half"])
def test_connections_count_before_the_end_of_their_handshake(certificate: Files, sent: bytes) -> None:
    with running(tls=certificate, max_connections_per_address=4) as port:
        with callers(port, 4, sent):
            with callers(port, 1, sent) as (fifth,):
                assert ended(fifth)
            assert not _answers_over_tls(port, certificate)
            assert _answers_over_tls(port, certificate, source="127.0.0.2")
        eventually(lambda: _answers_over_tls(port, certificate))


@pytest.mark.parametrize("sent", [b"", HALF_A_HANDSHAKE, b"GET / HTTP/1.1\r\n\r\n"], ids=["nothing", "half", "http"])
def test_a_handshake_that_does_not_end_is_not_waited_for(certificate: Files, sent: bytes) -> None:
    with (
        running(tls=certificate, header_timeout_s=0.3, max_connections=2) as port,
        callers(port, 2, sent) as waiting,
    ):
        assert all(map(ended, waiting))
        assert _answers_over_tls(port, certificate)


def test_an_idle_connection_makes_room_for_a_handshake(certificate: Files) -> None:
    context = ssl.create_default_context(cafile=certificate.ca)
    with (
        running(tls=certificate, max_connections=1) as port,
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as idle,
    ):
        idle.sendall(ASK)
        assert status(idle) == 200
        assert not _answers_over_tls(port, certificate)
        time.sleep(A_WHILE)
        assert _answers_over_tls(port, certificate)


def test_a_handshake_under_way_does_not_hold_up_the_end(certificate: Files) -> None:
    with ExitStack() as resources:
        with running(tls=certificate, grace_s=60) as port:
            (caller,) = resources.enter_context(callers(port, 1, HALF_A_HANDSHAKE))
            time.sleep(0.3)
            began = time.monotonic()
        assert time.monotonic() - began < 30
        assert ended(caller)
