"""The steps of photograph queries: when each began and how long it took, from the explanations of the answers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import numpy as np

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2

# A user without dislikes, whom Redis is asked for as for any other.
_USER = "benchmark"
_PREFIX = "SEARCH_STEP_"


@dataclass(frozen=True, slots=True)
class TracedStep:
    """A step of a query.

    Attributes:
        step: its name, such as "embed".
        start_ms: its start, in ms since search got the request.
        ms: its duration, in ms.
    """

    step: str
    start_ms: float
    ms: float


@dataclass(frozen=True, slots=True)
class Trace:
    """The medians of several queries.

    Attributes:
        calls: the number of queries.
        caller_ms: the time from call to answer for the caller.
        search_ms: the time within search; the rest is transport, packing and unpacking.
        steps: the steps by start; some overlap.
    """

    calls: int
    caller_ms: float
    search_ms: float
    steps: tuple[TracedStep, ...]


def trace_photographs(channel: grpc.Channel, contents: Sequence[bytes], calls: int) -> Trace:
    """Searches with photographs, one after another, and has each answer explained.

    Args:
        channel: a channel to the search service.
        contents: files of photographs.
        calls: the number of calls that count, after a warm-up.
    """
    stub = search_pb2_grpc.SearchServiceStub(channel)
    answers: list[tuple[float, search_pb2.FindSimilarResponse]] = []
    warm_up = min(calls, 10)
    for at in range(warm_up + calls):
        image = types_pb2.Image(content=contents[at % len(contents)])
        request = search_pb2.FindSimilarRequest(image=image, user_id=_USER, top_k=10, explain=True)
        began = time.perf_counter()
        answer = stub.FindSimilar(request, timeout=20)
        answers.append(((time.perf_counter() - began) * 1000, answer))
    return medians(answers[warm_up:])


def medians(answers: Sequence[tuple[float, search_pb2.FindSimilarResponse]]) -> Trace:
    """Returns the medians over answers, per step.

    Args:
        answers: at least one answer, each with the time for the caller, in ms.
    """
    starts: dict[int, list[float]] = {}
    lengths: dict[int, list[float]] = {}
    for _, answer in answers:
        for timing in answer.explanation.timings:
            starts.setdefault(timing.step, []).append(timing.start_offset.ToMicroseconds() / 1000)
            lengths.setdefault(timing.step, []).append(timing.duration.ToMicroseconds() / 1000)
    total = float(np.median(lengths.pop(search_pb2.SEARCH_STEP_TOTAL)))
    steps = [
        TracedStep(_name(step), float(np.median(starts[step])), float(np.median(durations)))
        for step, durations in lengths.items()
    ]
    return Trace(
        calls=len(answers),
        caller_ms=float(np.median([ms for ms, _ in answers])),
        search_ms=total,
        steps=tuple(sorted(steps, key=lambda step: step.start_ms)),
    )


def _name(step: int) -> str:
    return (
        search_pb2.SearchStep.Name(search_pb2.SearchStep.ValueType(step))
        .removeprefix(_PREFIX)
        .replace("_", " ")
        .lower()
    )
