"""Conversion of disliked colours."""

from collections.abc import Iterable, Sequence

from fashion.v1 import search_pb2
from services.search.filters.colours import DislikedColour


def disliked_colour_from_proto(message: search_pb2.DislikedColour) -> DislikedColour:
    """Unpacks a disliked colour."""
    return DislikedColour(message.colour, message.exact)


def disliked_colours_to_proto(
    colours: Iterable[DislikedColour], covered: Iterable[Sequence[str]]
) -> list[search_pb2.DislikedColour]:
    """Packs disliked colours, each with the colours that it covers."""
    return [
        search_pb2.DislikedColour(colour=each.colour, exact=each.exact, covered_colours=stands_for)
        for each, stands_for in zip(colours, covered, strict=True)
    ]
