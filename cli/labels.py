"""Labels as people type them: without regard to letter case, which the server is strict about."""

from collections.abc import Awaitable, Callable, Iterator, MutableSequence, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from services.contract.errors import InvalidInput

if TYPE_CHECKING:
    from fashion.v1 import search_pb2

T = TypeVar("T")

_REASONS: Final = ("FILTER_VALUE_UNKNOWN", "DERIVED_TYPE_UNKNOWN", "COLOUR_UNKNOWN")
# Conditions of a filter that hold no labels of the catalogue.
_WITHOUT_LABELS: Final = frozenset({"gender", "year", "price", "words"})


async def in_any_case(call: Callable[[], Awaitable[T]], labels: Sequence[MutableSequence[str]]) -> T:
    """Makes a call, and again where the server knows a label that it refuses in another letter case.

    Args:
        call: makes the call with `labels` as they are then.
        labels: lists of labels, which are respelled in place.

    Raises:
        FashionError: what the call raises, a label that is spelled unlike all known ones included.
    """
    while True:
        try:
            return await call()
        except InvalidInput as error:
            if error.reason not in _REASONS or not _respell(labels, error):
                raise


def filter_labels(condition: "search_pb2.Filter") -> Iterator[MutableSequence[str]]:
    """Yields the lists of labels in a filter."""
    for field, part in condition.ListFields():
        if field.name == "attributes":
            named = [part[name] for name in sorted(part)]
            parts = [each.labels for each in named if each.HasField("labels")]
        else:
            parts = [] if field.name in _WITHOUT_LABELS else [part]
        for each in parts:
            yield from (each.any_of, each.none_of)


def request_labels(request: "search_pb2.FindSimilarRequest") -> list[MutableSequence[str]]:
    """Returns the lists of labels in a request: of its filter, of its boosts, and its derived types."""
    conditions = [request.filter, *(each.condition for each in request.boosts)]
    return [*(labels for each in conditions for labels in filter_labels(each)), request.derived_types]


def _respell(labels: Sequence[MutableSequence[str]], error: InvalidInput) -> bool:
    """Replaces the label that was refused by the known one that differs in case alone; tells whether there is one."""
    value, nearest = error.metadata.get("value", ""), error.metadata.get("nearest", "")
    respelled = False
    for values in labels:
        for at, label in enumerate(values):
            # The error names the beginning of a long label. The label that differs in case alone is the nearest.
            known, rest = nearest[: len(label)], nearest[len(label) :]
            same = label.casefold() == known.casefold() and (not rest or rest.startswith(", "))
            if same and label.startswith(value) and label != known:
                values[at] = known
                respelled = True
    return respelled
