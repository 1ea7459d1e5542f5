"""The spans of the current trace. Without traces, each is an empty context and nothing of OpenTelemetry is imported."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol, TypeAlias

# Ends a span with a status code of gRPC and the reason of an error, "" for none.
CallEnd: TypeAlias = Callable[[str, str], None]
# Ends a span with the pattern of the route, "" for none, and the status.
RequestEnd: TypeAlias = Callable[[str, int], None]


class Tracer(Protocol):
    """Opens spans, each of which is the current one for as long as its context lasts.

    No span holds what a caller sent, such as an id, a photograph, a query or a text of an error.
    """

    def step(self, name: str) -> AbstractContextManager[object]:
        """Opens a span for work inside the process, where a trace is under way."""
        ...

    def stored(self, operation: str, address: str, port: int | None) -> AbstractContextManager[object]:
        """Opens a span for a command of Redis, where a trace is under way."""
        ...

    def request(self, method: str, scheme: str, headers: Mapping[str, str]) -> AbstractContextManager[RequestEnd]:
        """Opens the span of an HTTP request, in the trace that its headers name."""
        ...

    def served(self, method: str, metadata: Mapping[str, str]) -> AbstractContextManager[CallEnd]:
        """Opens the span of a call that this process answers, in the trace that the call's metadata name.

        Args:
            method: full name, such as "fashion.v1.SearchService/FindSimilar".
            metadata: that came with the call.
        """
        ...

    def called(
        self, method: str, address: str, port: int | None
    ) -> AbstractContextManager[tuple[Mapping[str, str], CallEnd]]:
        """Opens the span of a call of another service; yields the metadata that lead its trace on, too."""
        ...

    def ids(self) -> tuple[str, str] | None:
        """Returns the ids of the current trace and span, in hexadecimal digits; None outside of any."""
        ...


_NOTHING: Final[AbstractContextManager[None]] = nullcontext()

_tracer: Tracer | None = None


def use(tracer: Tracer | None) -> None:
    """Opens the spans of this process with a tracer from now on; with None, there are none."""
    global _tracer
    _tracer = tracer


def tracer() -> Tracer | None:
    """Returns what opens spans; None while traces are off."""
    return _tracer


def step(name: str) -> AbstractContextManager[object]:
    """Opens a span for a step, such as "embedder.decode", where a trace is under way."""
    return _NOTHING if _tracer is None else _tracer.step(name)


def ids() -> tuple[str, str] | None:
    """Returns the ids of the current trace and span, in hexadecimal digits; None outside of any."""
    return None if _tracer is None else _tracer.ids()
