"""How the rates of two servers are found, and what the sender in C tells of them."""

import asyncio
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from offline.benchmark.h2load import GRPC_HEADERS, Requests, grpc_body, is_installed, offer
from offline.benchmark.load import LoadPoint
from offline.benchmark.mosec_peer import Offer, is_in_time, some, sustained_rates
from offline.benchmark.page import page, target_rows
from offline.benchmark.processes import running_echo

needs_h2load = pytest.mark.skipif(not is_installed(), reason="h2load is not installed (nghttp2-client)")


def point(rate: float, p99_ms: float = 20.0, answered: float = 1.0, refused: float = 0.0) -> LoadPoint:
    return LoadPoint(rate, rate * answered, refused, 10.0, p99_ms, p99_ms)


def server(limit: float, late_at: tuple[int, ...] = ()) -> Offer:
    calls = 0

    def ask(rate: float, seconds: float, seed: int) -> LoadPoint:
        nonlocal calls
        calls += 1
        return point(rate, 60.0 if rate > limit or calls in late_at else 20.0)

    return ask


def test_each_server_goes_on_until_it_is_late_twice_in_a_row() -> None:
    asked: list[str] = []
    offers = {"a": server(100.0), "b": server(50.0, late_at=(2,))}
    in_turn = {name: lambda *args, name=name: (asked.append(name), offers[name](*args))[1] for name in offers}  # type: ignore[misc]
    best, points = sustained_rates(in_turn, {"a": 40.0, "b": 30.0}, 1.25, 1.0, 0, lambda text: None)  # type: ignore[arg-type]
    assert best == {"a": 40.0 * 1.25**4, "b": 30.0 * 1.25**2}
    assert [len(points[name]) for name in ("a", "b")] == [7, 5]
    assert asked[:10] == ["a", "b"] * 5


def test_in_time_is_who_answers_all_soon_and_keeps_up() -> None:
    assert is_in_time(point(50.0))
    assert not any(map(is_in_time, (point(50.0, 51.0), point(50.0, answered=0.9), point(50.0, refused=0.01))))


def test_the_photographs_of_a_measurement_are_spread_over_all() -> None:
    contents = [bytes([number]) for number in range(200)]
    chosen = some(contents)
    assert len(chosen) == 64 and chosen[0] == contents[0] and chosen[-1] > contents[180]


@contextmanager
def answering(status: int, delay_s: float) -> Iterator[str]:
    """Runs a server of HTTP/1.1 that reads a body, waits, and answers."""
    loop, begun = asyncio.new_event_loop(), threading.Event()
    address: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(int(line[15:]) for line in head.lower().splitlines() if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            await asyncio.sleep(delay_s)
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % status)

    async def serve() -> None:
        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        address.append(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/inference")
        begun.set()

    def run() -> None:
        loop.create_task(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert begun.wait(20)
    yield address[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)


@needs_h2load
def test_the_sender_measures_what_a_server_takes(tmp_path: Path) -> None:
    with answering(200, 0.08) as url:
        measured = offer(Requests(url, [b"a", b"bc", b"d"], http2=False), 20.0, 1.0, 1, tmp_path)
    assert measured.refused == 0.0 and 80 <= measured.p50_ms < 400
    assert measured.answered <= 20.0


@needs_h2load
def test_a_server_that_makes_requests_wait_does_not_keep_up(tmp_path: Path) -> None:
    with answering(200, 0.08) as url:
        measured = offer(Requests(url, [b"a"], http2=False), 40.0, 1.0, 1, tmp_path)
    # Some 40 in a second take three.
    assert measured.answered < 25


@needs_h2load
def test_answers_that_are_none_count_as_refused(tmp_path: Path) -> None:
    with answering(429, 0.0) as url:
        assert offer(Requests(url, [b"a"], http2=False), 20.0, 1.0, 1, tmp_path).refused == 1.0


@needs_h2load
def test_the_sender_speaks_grpc(tmp_path: Path) -> None:
    with running_echo(100) as echo:
        requests = Requests(f"http://{echo.target}/fashion.benchmark.Echo/Echo", [grpc_body(b"x" * 5000)], GRPC_HEADERS)
        measured = offer(requests, 20.0, 1.0, 1, tmp_path)
    assert measured.refused == 0.0 and measured.p50_ms < 1000


def test_a_message_has_its_length_before_it() -> None:
    assert grpc_body(b"abc") == b"\0" + struct.pack(">I", 3) + b"abc"


MACHINE = {"processor": "X", "processors": 2, "flags": ["avx2"], "load": 0.1}
LAYOUT = {"stages": 1, "processes": 2, "threads": 1, "batch": 8, "wait_ms": 1, "sustained": 100.0}


def test_the_page_shows_both_servers_or_who_is_missing() -> None:
    figures = {
        "machine": MACHINE,
        "products": 100,
        "layouts": [LAYOUT],
        "layout": LAYOUT,
        "rounds": [{"sustained": {"ours": 60.0, "mosec": 120.0}}],
        "medians": {"ours": 60.0, "mosec": 120.0},
        "ratio": {"median": 0.5, "low": 0.5, "high": 0.5},
        "seconds": 3.0,
        "type_products": 1500,
        "missing": {},
    }
    shown = page({"mosec": figures}, "fashion bench all DATASET")
    assert "| 1 | 60 | 120 |" in shown and "missed" in shown
    missing = {"machine": MACHINE, "products": 100, "missing": {"mosec": "pip install …"}}
    assert "Not measured: mosec (pip install …)." in page({"mosec": missing}, "fashion bench all DATASET")
    assert target_rows({"mosec": missing}) == []
