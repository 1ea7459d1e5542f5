"""Which photographs a row of a feed names: the first one, and those after it."""

from collections.abc import Iterator
from dataclasses import dataclass

from offline.dataset.files import PHOTOGRAPH_SUFFIXES, PHOTOGRAPHS_FOLDER
from offline.dataset.report import DroppedError
from offline.feeds import values
from offline.feeds.items import Item
from offline.feeds.photographs import FeedPhotographs
from services.contract.values import MAX_PHOTOGRAPHS


@dataclass(frozen=True, slots=True)
class Pictures:
    """The photographs of a product, by name or URL; `left_out` are those after the eighth."""

    first: str
    further: tuple[str, ...]
    left_out: int


def pictures_of(product_id: str, item: Item, files: FeedPhotographs) -> Pictures:
    """Returns the photographs of a row.

    Args:
        product_id: names the file of a row without a picture.
        item: the row.
        files: those beside the feed.

    Raises:
        DroppedError: there is no first one.
    """
    listed = list(values.url_list(item.first("image")))
    name = listed[0] if listed else ""
    if _is_url(name):
        first = name
    else:
        candidates = (
            [name] if name else [f"{PHOTOGRAPHS_FOLDER}/{product_id}{suffix}" for suffix in PHOTOGRAPH_SUFFIXES]
        )
        places = (place for each in candidates if (place := _located(each, files)) is not None)
        first = next(places, "")
    if not first:
        missing = f"no photograph: there is no file {name[:100]} beside the feed" if name else "no photograph"
        raise DroppedError(product_id, "no photograph", missing)
    further = dict.fromkeys(_further(listed[1:], item, files))
    # Shops list the first one among the others too.
    further.pop(first, None)
    taken = tuple(further)[: MAX_PHOTOGRAPHS - 1]
    return Pictures(first, taken, len(further) - len(taken))


def _further(listed: list[str], item: Item, files: FeedPhotographs) -> Iterator[str]:
    cells = item.values.get("further_images", ())
    for name in (*listed, *(each for cell in cells for each in values.url_list(cell))):
        # A file that is not there is named in the report, where it is read.
        yield name if _is_url(name) else _located(name, files) or name


def _located(name: str, files: FeedPhotographs) -> str | None:
    """Returns the name of a file beside the feed, or in its folder of photographs; None where there is none."""
    return next((each for each in (name, f"{PHOTOGRAPHS_FOLDER}/{name}") if files.holds(each)), None)


def _is_url(name: str) -> bool:
    return name.startswith(("http://", "https://"))
