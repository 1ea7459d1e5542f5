"""A sender in C, h2load of nghttp2, which takes little of the machine that it shares with what it measures."""

import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from offline.benchmark.load import LoadPoint, arrivals

INSTALL: Final = "apt-get install nghttp2-client"
GRPC_HEADERS: Final = {"content-type": "application/grpc", "te": "trailers"}
# More streams than ever wait, so that the sender never does.
_STREAMS: Final = 1000
_PATIENCE_S: Final = 30.0
# The first request of a connection waits for settings and acknowledgements: it is sent before, and not counted.
_FIRST_S: Final = 1.0
_APART_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Requests:
    """What is sent to a server over HTTP/2.

    Attributes:
        url: its address with the path.
        bodies: what is sent, over a connection each.
        headers: those of each request.
        http2: whether it is asked over HTTP/2; else over HTTP/1.1.
    """

    url: str
    bodies: Sequence[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    http2: bool = True


def grpc_body(message: bytes) -> bytes:
    """Returns the body of a call of gRPC with one message."""
    return struct.pack(">?I", False, len(message)) + message


def is_installed() -> bool:
    """Tells whether h2load is there."""
    return shutil.which("h2load") is not None


def offer(requests: Requests, rate: float, seconds: float, seed: int, folder: Path) -> LoadPoint:
    """Sends requests at the times of a Poisson process, a connection for each body, each at its own times.

    Times count from when a request is sent, since the timer of h2load falls behind by up to 1 ms a request. A
    connection of HTTP/2 does not wait for answers; one of HTTP/1.1 does, so there should be many. What is answered
    after the end of the plan tells of such waits: it lowers what is answered a second.

    Args:
        requests: what is sent.
        rate: mean requests a second of all connections together.
        seconds: the duration.
        seed: of the arrivals.
        folder: takes the files of h2load.
    """
    random = np.random.default_rng(seed)
    plans = [arrivals(rate / len(requests.bodies), seconds, random) for _ in requests.bodies]
    senders = [_started(requests, number, plan, folder) for number, plan in enumerate(plans)]
    times: list[float] = []
    lasted = 0.0
    for number, sender in enumerate(senders):
        sender.wait(timeout=seconds + _FIRST_S + _PATIENCE_S)
        log = (folder / f"answers-{number}").read_text().splitlines()
        # They are in the order of answers. The first request is not counted, but tells when the sender began.
        answers = sorted((int(at) / 1e6, int(status), int(spent) / 1e6) for at, status, spent in map(str.split, log))
        began = answers[0][0] + _FIRST_S - number * _APART_S if answers else 0.0
        lasted = max((lasted, *(at + spent - began for at, _, spent in answers[1:])))
        times += [spent * 1000 for _, status, spent in answers[1:] if status == 200]
    if not times:
        return LoadPoint(rate, 0.0, 1.0, float("inf"), float("inf"), float("inf"))
    sent = sum(map(len, plans))
    # Of the offered rate, as chance sends more or fewer.
    answered = rate * len(times) / sent * min(1.0, seconds / lasted)
    p50, p99, p999 = np.percentile(times, [50, 99, 99.9])
    return LoadPoint(rate, answered, 1 - len(times) / sent, float(p50), float(p99), float(p999))


def _started(requests: Requests, number: int, plan: NDArray[np.float64], folder: Path) -> "subprocess.Popen[bytes]":
    script, data, log = (folder / f"{name}-{number}" for name in ("arrivals", "body", "answers"))
    planned = [number * _APART_S, *(plan + _FIRST_S).tolist()]
    script.write_text("".join(f"{at * 1000:.3f}\t{requests.url}\n" for at in planned))
    data.write_bytes(requests.bodies[number])
    log.write_bytes(b"")
    headers = [each for name, value in requests.headers.items() for each in ("-H", f"{name}: {value}")]
    protocol = ["-m", f"{_STREAMS}"] if requests.http2 else ["--h1"]
    return subprocess.Popen(
        [
            "h2load",
            f"--timing-script-file={script}",
            "-c1",
            "-t1",
            *protocol,
            "-d",
            f"{data}",
            f"--log-file={log}",
            *headers,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
