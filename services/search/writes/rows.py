"""What is written, and what becomes of it: rows, reports, and the checks that need no catalogue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.contract.embedding import checked_embedding
from services.contract.errors import FashionError, InvalidInput
from services.contract.protocols import EmbeddingSpace
from services.contract.values import MAX_PHOTOGRAPHS, Embedding, Photograph
from services.search.catalogue.content import UpsertOutcome
from services.search.catalogue.products import Product


@dataclass(frozen=True, slots=True)
class UpsertRow:
    """A row to be written.

    Attributes:
        product_id: as sent.
        product: the attributes, or the error in them.
        content: a photograph, or an embedding as sent, unchecked; None keeps the stored ones.
        further: the photographs after the first, of the same kinds.
        keeps_further: whether those that are stored after the first stay too, after these.
    """

    product_id: str
    product: Product | InvalidInput
    content: Photograph | Embedding | None
    further: tuple[Photograph | Embedding, ...] = ()
    keeps_further: bool = False


@dataclass(frozen=True, slots=True)
class UpsertReport:
    """The result of an upsert, or of an update.

    Attributes:
        results: one outcome or error per row, in their order.
        index_version: after the write.
    """

    results: tuple[UpsertOutcome | FashionError, ...]
    index_version: int


@dataclass(frozen=True, slots=True)
class UpdateRow:
    """Some fields of a product.

    Attributes:
        product_id: as sent.
        values: the new values as `validate_values` returns them, or the error in them.
    """

    product_id: str
    values: Mapping[str, Any] | InvalidInput


@dataclass(frozen=True, slots=True)
class DeleteReport:
    """The result of a delete: per id an error, or None if it was deleted; and the index version after it."""

    results: tuple[FashionError | None, ...]
    index_version: int


@dataclass(frozen=True, slots=True)
class PhotographReport:
    """The result of adding or removing a photograph.

    Attributes:
        product: as it is stored now.
        index: the place of the photograph; the former one of the first, if any were removed.
        changed: whether anything was written.
        index_version: after the write.
    """

    product: Product
    index: int
    changed: bool
    index_version: int


@dataclass(frozen=True, slots=True)
class Planned:
    """A row that may be written.

    Attributes:
        product: the attributes.
        contents: its different photographs by their place in the row, the first one first; none keeps the stored ones.
        keeps_further: as in `UpsertRow`.
    """

    product: Product
    contents: Mapping[int, Photograph | Embedding]
    keeps_further: bool


def checked_rows(rows: Sequence[UpsertRow], space: EmbeddingSpace) -> tuple[Planned | FashionError, ...]:
    """Returns what may be written of each row, or what is wrong with it."""
    first: dict[str, int] = {}
    checked: list[Planned | FashionError] = []
    for number, row in enumerate(rows):
        before = first.setdefault(row.product_id, number)
        if isinstance(row.product, InvalidInput):
            checked.append(row.product)
        elif before != number:
            checked.append(_duplicate(row.product_id, before))
        else:
            try:
                checked.append(Planned(row.product, _checked_contents(row, space), row.keeps_further))
            except FashionError as error:
                checked.append(error)
    return tuple(checked)


def _checked_contents(row: UpsertRow, space: EmbeddingSpace) -> dict[int, Photograph | Embedding]:
    if row.content is None:
        if row.further:
            raise InvalidInput(
                f'The product "{row.product_id}" comes with further photographs but without a first one: send all of '
                "them, or add one with AddPhotograph.",
                reason="PHOTOGRAPH_MISSING",
                metadata={"field": "content"},
            )
        return {}
    contents: dict[int, Photograph | Embedding] = {}
    for index, content in enumerate((row.content, *row.further)):
        try:
            checked = checked_content(content, space)
        except FashionError as error:
            raise of_photograph(error, index) from error
        # One that comes twice counts once, since shops often list the first one among the further ones too.
        if not any(is_same(checked, each) for each in contents.values()):
            contents[index] = checked
    if len(contents) > MAX_PHOTOGRAPHS:
        raise too_many_photographs(row.product_id, len(contents))
    return contents


def checked_content(content: Photograph | Embedding, space: EmbeddingSpace) -> Photograph | Embedding:
    """Returns a photograph as it is, and an embedding normalised.

    Raises:
        ModelMismatch: MODEL_VERSION_MISMATCH.
        InvalidInput: EMBEDDING_INVALID.
    """
    if isinstance(content, Embedding):
        return checked_embedding(content.values, content.model_version, expected=space)
    return content


def is_same(one: Photograph | Embedding, other: Photograph | Embedding) -> bool:
    """Returns whether two are the same part of the same photograph, or equal embeddings."""
    if isinstance(one, Photograph) and isinstance(other, Photograph):
        return one.region == other.region and one.content == other.content
    if isinstance(one, Embedding) and isinstance(other, Embedding):
        return np.array_equal(one.values, other.values)
    return False


def of_photograph(error: FashionError, index: int) -> FashionError:
    """Returns an error that also says which of a row's photographs it is about."""
    where = f"Photograph {index + 1} of the product: " if index else ""
    metadata = {**error.metadata, "photograph_index": str(index)}
    return type(error)(f"{where}{error.message}", reason=error.reason, metadata=metadata)


def too_many_photographs(product_id: str, count: int) -> InvalidInput:
    """Returns the error for more photographs than a product can have."""
    return InvalidInput(
        f'The product "{product_id}" would have {count} photographs; at most {MAX_PHOTOGRAPHS} are allowed. '
        "Leave some out, or remove one first.",
        reason="TOO_MANY_PHOTOGRAPHS",
        metadata={"max_photographs": str(MAX_PHOTOGRAPHS)},
    )


def _duplicate(product_id: str, first: int) -> InvalidInput:
    return InvalidInput(
        f'The batch has the id "{product_id}" in row {first} already; only that row was taken.',
        reason="PRODUCT_ID_DUPLICATE",
        metadata={"field": "id", "first_row": str(first)},
    )
