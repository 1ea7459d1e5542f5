"""Photographs a second in time: ours beside mosec with the same network, decoding and FAISS, by one sender."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fashion.v1 import search_pb2, types_pb2
from offline.benchmark.h2load import GRPC_HEADERS, Requests, grpc_body, offer
from offline.benchmark.load import LIMIT_MS, LoadPoint
from offline.benchmark.mosec_layout import EMBEDDINGS, LAYOUT, Layout
from offline.benchmark.processes import ServerProcess, end_of_log, free_port
from services.contract.errors import NotReady

OURS: Final = "ours"
MOSEC: Final = "mosec"
_TOP_K: Final = 10
# Photographs of a measurement, each sent over a connection of its own.
_BODIES: Final = 64
# Each rate is so many times the one before; a coarser step finds where to begin.
_STEP: Final = 1.15
_COARSE_STEP: Final = 1.3
_FIRST_RATE: Final = 30.0
# Rounds begin at this share of the rate that was found before.
_BEGIN: Final = 0.6
# A server that does not answer so large a share of what is offered holds the sender up: HTTP/1.1 waits for answers.
_MIN_ANSWERED: Final = 0.95
_WARM_UP_S: Final = 3.0
_START_S: Final = 120.0
_REFUSED: Final = re.compile(
    r'^fashion_grpc_calls_total\{code="(?!OK")\w+",method="[^"]*/FindSimilar"\} (\S+)', re.MULTILINE
)

Offer = Callable[[float, float, int], LoadPoint]


def layouts(processors: int) -> tuple[Layout, ...]:
    """Returns the ways to lay mosec out on some processors; the best of them counts."""
    return (
        Layout(stages=1, processes=processors, threads=1, batch=1, wait_ms=1),
        Layout(stages=1, processes=processors, threads=1, batch=8, wait_ms=1),
        Layout(stages=1, processes=1, threads=processors, batch=8, wait_ms=1),
        Layout(stages=2, processes=1, threads=processors, batch=8, wait_ms=1),
    )


@contextmanager
def running_mosec(layout: Layout, embeddings: NDArray[np.float32], folder: Path) -> Iterator[ServerProcess]:
    """Runs a server of mosec.

    Raises:
        NotReady: it ended, or did not answer in time.
    """
    port, began = free_port(), time.monotonic()
    np.save(folder / "embeddings.npy", embeddings)
    environment = {
        **os.environ,
        LAYOUT: json.dumps(asdict(layout)),
        EMBEDDINGS: str(folder / "embeddings.npy"),
        "OMP_WAIT_POLICY": "PASSIVE",
        "OPENBLAS_NUM_THREADS": "1",
    }
    log = folder / "mosec.log"
    command = [sys.executable, "-m", "offline.benchmark.mosec_server", "--address", "127.0.0.1", "--port", f"{port}"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, "--path", str(folder / f"mosec-{port}"), "--log-level", "warning"],
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}/metrics", log)
        yield ServerProcess(f"127.0.0.1:{port}", process.pid, time.monotonic() - began)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise NotReady(
                f'The server of mosec ended at once. Its log {log} ends with "{end_of_log(log)}".',
                reason="SERVER_ENDED",
            )
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise NotReady(
        f'The server of mosec did not answer in time. Its log {log} ends with "{end_of_log(log)}".',
        reason="SERVER_NOT_READY",
    )


def to_mosec(server: ServerProcess, contents: Sequence[bytes], folder: Path) -> Offer:
    """Returns what offers photographs to mosec."""
    requests = Requests(f"http://{server.target}/inference", some(contents), http2=False)
    return lambda rate, seconds, seed: offer(requests, rate, seconds, seed, folder)


def to_ours(server: ServerProcess, admin_port: int, contents: Sequence[bytes], folder: Path) -> Offer:
    """Returns what offers photographs to the stack; refused calls, which h2load does not tell, count as failed."""
    messages = (
        search_pb2.FindSimilarRequest(image=types_pb2.Image(content=content), top_k=_TOP_K)
        for content in some(contents)
    )
    bodies = [grpc_body(message.SerializeToString()) for message in messages]
    requests = Requests(f"http://{server.target}/fashion.v1.SearchService/FindSimilar", bodies, GRPC_HEADERS)

    def asked(rate: float, seconds: float, seed: int) -> LoadPoint:
        before = _refused(admin_port)
        point = offer(requests, rate, seconds, seed, folder)
        refused = (_refused(admin_port) - before) / max(1.0, rate * seconds)
        return LoadPoint(rate, point.answered, point.refused + refused, point.p50_ms, point.p99_ms, point.p999_ms)

    return asked


def some(contents: Sequence[bytes]) -> list[bytes]:
    """Returns the photographs that a measurement sends, evenly from all."""
    return list(contents[:: max(1, len(contents) // _BODIES)])[:_BODIES]


def _refused(admin_port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=20) as answer:
        return sum(map(float, _REFUSED.findall(answer.read().decode())))


def is_in_time(point: LoadPoint) -> bool:
    """Tells whether a server answered all that was offered, and 99 of 100 within `LIMIT_MS`."""
    keeps_up = point.answered >= _MIN_ANSWERED * point.offered
    return keeps_up and point.p99_ms <= LIMIT_MS and point.refused == 0.0


def sustained_rates(
    offers: Mapping[str, Offer],
    firsts: Mapping[str, float],
    step: float,
    seconds: float,
    seed: int,
    say: Callable[[str], None],
) -> tuple[dict[str, float], dict[str, list[LoadPoint]]]:
    """Raises the rates of several servers in turn, each until it was late at two rates, one after the other.

    Args:
        offers: what offers photographs to a server, by its name.
        firsts: the lowest rate of each, in photographs a second.
        step: each rate divided by the one before.
        seconds: the duration at each rate.
        seed: of the arrivals.
        say: shows each figure.

    Returns:
        The highest rate at which each was in time; 0 for none. All points.
    """
    points: dict[str, list[LoadPoint]] = {name: [] for name in offers}
    best, late, rates = dict.fromkeys(offers, 0.0), dict.fromkeys(offers, 0), dict(firsts)
    while late:
        for name in list(late):
            point = offers[name](rates[name], seconds, seed)
            points[name].append(point)
            say(f"  {name}, {point.offered:.0f} a second: p99 {point.p99_ms:.0f} ms, {point.answered:.0f} answered")
            if is_in_time(point):
                best[name], late[name] = point.offered, 0
            else:
                late[name] += 1
            rates[name] *= step
            if late[name] == 2:
                del late[name]
    return best, points


def compare(
    ours: tuple[ServerProcess, int],
    contents: Sequence[bytes],
    embeddings: NDArray[np.float32],
    processors: int,
    rounds: int,
    seconds: float,
    folder: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Finds the best layout of mosec, then compares it with ours, in turn.

    Args:
        ours: the stack, and its port for operators.
        contents: files of photographs.
        embeddings: float32, shape (n, dimension), which mosec searches.
        processors: those of the machine.
        rounds: how often both are measured.
        seconds: the duration at each rate.
        folder: for files.
        say: shows each figure.
    """
    tried = []
    for layout in layouts(processors):
        with running_mosec(layout, embeddings, folder) as server:
            ask = to_mosec(server, contents, folder)
            ask(_FIRST_RATE, _WARM_UP_S, 0)
            say(f"  {layout}")
            best, _ = sustained_rates({MOSEC: ask}, {MOSEC: _FIRST_RATE}, _COARSE_STEP, seconds, 0, say)
        tried.append({**asdict(layout), "sustained": best[MOSEC]})
    chosen = int(np.argmax([each["sustained"] for each in tried]))
    with running_mosec(layouts(processors)[chosen], embeddings, folder) as server:
        offers = {OURS: to_ours(*ours, contents, folder), MOSEC: to_mosec(server, contents, folder)}
        for ask in offers.values():
            ask(_FIRST_RATE, _WARM_UP_S, 0)
        own, _ = sustained_rates({OURS: offers[OURS]}, {OURS: _FIRST_RATE}, _COARSE_STEP, seconds, 0, say)
        found = {**own, MOSEC: tried[chosen]["sustained"]}
        firsts = {name: max(_FIRST_RATE, _BEGIN * rate) for name, rate in found.items()}
        measured: list[dict[str, Any]] = []
        for number in range(rounds):
            say(f"  round {number + 1}")
            names = list(offers) if number % 2 == 0 else list(offers)[::-1]
            in_turn = {name: offers[name] for name in names}
            best, points = sustained_rates(in_turn, firsts, _STEP, seconds, number + 1, say)
            measured.append({"sustained": best, "points": {name: [asdict(p) for p in points[name]] for name in points}})
    ratios = [each["sustained"][OURS] / each["sustained"][MOSEC] for each in measured if each["sustained"][MOSEC]]
    return {
        "layouts": tried,
        "layout": tried[chosen],
        "rounds": measured,
        "medians": {name: float(np.median([each["sustained"][name] for each in measured])) for name in (OURS, MOSEC)},
        "ratio": ({"median": float(np.median(ratios)), "low": min(ratios), "high": max(ratios)} if ratios else None),
    }
