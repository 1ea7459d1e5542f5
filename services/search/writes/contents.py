"""Which photographs of a product are stored already, which are new, and which have to be embedded before a write."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.contract.errors import FashionError, InvalidInput, NotFound
from services.contract.values import MAX_PHOTOGRAPHS, Embedding, Photograph
from services.search.catalogue.content import (
    FLOAT16,
    ContentState,
    NewContent,
    SameContent,
    StoredEmbedding,
    StoredProduct,
)
from services.search.writes.rows import Planned, of_photograph, too_many_photographs


@dataclass(frozen=True, slots=True)
class ToEmbed:
    """Photographs without an embedding yet."""

    photographs: Sequence[Photograph]


def resolved(
    row: Planned,
    stored: Sequence[StoredEmbedding],
    embeddings: Mapping[Photograph, Embedding | FashionError],
    model_version: str,
) -> tuple[NewContent | SameContent, ...] | ToEmbed | FashionError:
    """Returns what to write for the photographs of a product.

    Args:
        row: the photographs as sent.
        stored: those that the catalogue has.
        embeddings: those computed for this write, by photograph.
        model_version: the model that is served.

    Returns:
        One content per photograph; or those that have to be embedded first; or the error of the first bad one.
    """
    result: list[NewContent | SameContent] = []
    missing: list[Photograph] = []
    states = [each.content for each in stored]
    for index, content in row.contents.items():
        if isinstance(content, Embedding):
            result.append(NewContent(content, None))
            continue
        if stored and (state := ContentState.of(content, model_version)) in states:
            result.append(SameContent(states.index(state), content.content))
            continue
        embedding = embeddings.get(content)
        if isinstance(embedding, FashionError):
            return of_photograph(embedding, index)
        if embedding is None:
            missing.append(content)
        else:
            result.append(NewContent(embedding, content))
    if missing:
        return ToEmbed(missing)
    if result and row.keeps_further:
        # Nothing is kept beside itself.
        sent = {place for content in row.contents.values() for place in _places(content, stored)}
        result += (SameContent(place) for place in range(1, len(stored)) if place not in sent)
    return tuple(result[:MAX_PHOTOGRAPHS])


def place_of(content: Photograph | Embedding, stored: StoredProduct) -> int | None:
    """Returns where a product has this very photograph or embedding already, counted from 0; None if nowhere."""
    return next(_places(content, stored.photographs), None)


def _places(content: Photograph | Embedding, stored: Sequence[StoredEmbedding]) -> Iterator[int]:
    """Yields where this very photograph, embedded by whatever model, or this very embedding is stored."""
    if isinstance(content, Embedding):
        values = content.values.astype(FLOAT16)
        for place, each in enumerate(stored):
            if each.content.photograph_sha256 is None and np.array_equal(each.embedding, values):
                yield place
    else:
        part = ContentState.of(content, "").part
        yield from (place for place, each in enumerate(stored) if each.content.part == part)


def check_place(stored: StoredProduct, index: int | None, *, adds: bool) -> None:
    """Checks that a photograph can have a place in a product.

    Args:
        stored: the product.
        index: the place; None for any.
        adds: whether the product gets one more.

    Raises:
        InvalidInput: TOO_MANY_PHOTOGRAPHS, PHOTOGRAPH_INDEX_INVALID.
    """
    count = len(stored.photographs) + adds
    if count > MAX_PHOTOGRAPHS:
        raise too_many_photographs(stored.product.id, count)
    if index is not None and not 0 <= index < count:
        raise InvalidInput(
            f'The product "{stored.product.id}" would have {count} photographs, so index must be 0 to {count - 1}, not '
            f"{index}.",
            reason="PHOTOGRAPH_INDEX_INVALID",
            metadata={"field": "index"},
        )


def places_named(photograph: int | str, stored: StoredProduct) -> tuple[int, ...]:
    """Returns the places of photographs that are to be removed, in ascending order; at least one.

    Args:
        photograph: the place of one, from 0; or the SHA-256 of a file, which names all photographs of it, so that none
            is left for a second call.
        stored: the product.

    Raises:
        NotFound: PHOTOGRAPH_NOT_FOUND.
        InvalidInput: LAST_PHOTOGRAPH: it would have none left.
    """
    sha256s = [each.photograph_sha256 for each in stored.contents]
    if isinstance(photograph, str):
        places = tuple(place for place, sha256 in enumerate(sha256s) if sha256 == photograph)
    else:
        places = (photograph,) if 0 <= photograph < len(sha256s) else ()
    product_id = stored.product.id
    if not places:
        raise photograph_not_found(product_id, photograph)
    if len(places) == len(sha256s):
        raise InvalidInput(
            f'The product "{product_id}" would have no photograph left: add another one first, or delete the product.',
            reason="LAST_PHOTOGRAPH",
            metadata={"product_id": product_id},
        )
    return places


def photograph_not_found(product_id: str, photograph: int | str) -> NotFound:
    """Returns the error for a photograph that a product does not have."""
    which = f"photograph {photograph}, counted from 0" if isinstance(photograph, int) else "such photograph"
    return NotFound(
        f'The product "{product_id}" has no {which}.',
        reason="PHOTOGRAPH_NOT_FOUND",
        metadata={"product_id": product_id},
    )
