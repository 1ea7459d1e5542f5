"""Follows photograph queries through the services: when each step began and how long it took, as the answer tells."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import numpy as np

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2

# Nobody's colours, but Redis is asked as for any shopper.
_USER = "benchmark"
_PREFIX = "SEARCH_STEP_"


@dataclass(frozen=True, slots=True)
class TracedStep:
    """A step on the way of a query.

    Attributes:
        step: its name, such as "embed".
        start_ms: when it began, since search took the request up, in ms.
        ms: how long it took, in ms.
    """

    step: str
    start_ms: float
    ms: float


@dataclass(frozen=True, slots=True)
class Trace:
    """The medians of some queries.

    Attributes:
        calls: how many.
        caller_ms: from the call to the answer, as the caller sees it.
        search_ms: as search sees it; the rest is transport, and packing and unpacking.
        steps: in the order in which they begin; some overlap.
    """

    calls: int
    caller_ms: float
    search_ms: float
    steps: tuple[TracedStep, ...]


def trace_photographs(channel: grpc.Channel, contents: Sequence[bytes], calls: int) -> Trace:
    """Asks with photographs, one after another, each of which is to explain itself.

    Args:
        channel: to the search service.
        contents: files of photographs.
        calls: how many count, after a few that warm up.
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
    """Takes answers together, step by step.

    Args:
        answers: at least one; each with the time that its caller waited, in ms.
    """
    starts: dict[int, list[float]] = {}
    lengths: dict[int, list[float]] = {}
    for _, answer in answers:
        for timing in answer.explanation.timings:
            starts.setdefault(timing.step, []).append(timing.start_offset.ToMicroseconds() / 1000)
            lengths.setdefault(timing.step, []).append(timing.duration.ToMicroseconds() / 1000)
    total = float(np.median(lengths.pop(search_pb2.SEARCH_STEP_TOTAL)))
    steps = [
        TracedStep(_name(step), float(np.median(starts[step])), float(np.median(found)))
        for step, found in lengths.items()
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
