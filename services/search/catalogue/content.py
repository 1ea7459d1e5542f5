"""What a product looks like, as the catalogue keeps it: its photographs' embeddings, and where each comes from."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.errors import DataLoss, InvalidInput
from services.contract.values import Box, Embedding, Photograph
from services.search.catalogue.products import Product

# Little-endian on every machine, so that a data directory can move between machines.
FLOAT16: Final = np.dtype("<f2")


class UpsertOutcome(Enum):
    """The outcome of writing a row."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


# The SHA-256 of a photograph, and the part of it that is embedded; None for the whole.
Part = tuple[str, Box | None]


@dataclass(frozen=True, slots=True)
class ContentState:
    """The origin of a stored embedding, which decides whether a photograph must be embedded again.

    Attributes:
        model_version: the model of the embedding.
        photograph_sha256: the photograph; None if it came as an embedding.
        region: the part of the photograph that was embedded; None for the whole.
    """

    model_version: str
    photograph_sha256: str | None
    region: Box | None

    @classmethod
    def of(cls, photograph: Photograph, model_version: str) -> "ContentState":
        """Returns that of an embedding that a model makes of a photograph."""
        return cls(model_version, hashlib.sha256(photograph.content).hexdigest(), photograph.region)

    @property
    def part(self) -> Part | None:
        """What any model can embed again; None if it came as an embedding."""
        return None if self.photograph_sha256 is None else (self.photograph_sha256, self.region)


@dataclass(frozen=True, slots=True)
class NewContent:
    """A new photograph of a product.

    Attributes:
        embedding: of any model; stored as float16.
        photograph: that was embedded, which is stored too; None for a shop that sends embeddings.
    """

    embedding: Embedding
    photograph: Photograph | None


@dataclass(frozen=True, slots=True)
class SameContent:
    """One of the stored photographs of a product, which stays.

    Attributes:
        place: of the stored one, from 0.
        photograph: as it was sent again, whose file is mended if it is damaged; None if it was not sent.
    """

    place: int
    photograph: bytes | None = None


@dataclass(frozen=True, slots=True)
class Upsert:
    """A product to be written.

    Attributes:
        product: its attributes.
        content: its first photograph; None keeps all that are stored.
        further: the photographs after the first, in their order.
    """

    product: Product
    content: NewContent | SameContent | None
    further: tuple[NewContent | SameContent, ...] = ()

    @property
    def contents(self) -> tuple[NewContent | SameContent, ...]:
        """All its photographs; none to keep those that are stored."""
        return () if self.content is None else (self.content, *self.further)

    @property
    def new_photographs(self) -> list[bytes]:
        """The photographs that have to be stored."""
        return [
            each.photograph.content
            for each in self.contents
            if isinstance(each, NewContent) and each.photograph is not None
        ]

    @property
    def sent_photographs(self) -> list[bytes]:
        """All photographs that came along, stored ones too."""
        same = [each.photograph for each in self.contents if isinstance(each, SameContent)]
        return [*self.new_photographs, *(each for each in same if each is not None)]


def upsert_of(product: Product, contents: Sequence[NewContent | SameContent]) -> Upsert:
    """Returns a product to be written with all its photographs; none keeps those that are stored."""
    return Upsert(product, contents[0], tuple(contents[1:])) if contents else Upsert(product, None)


@dataclass(frozen=True, slots=True, eq=False)
class StoredEmbedding:
    """An embedding: float16, shape (dimension,), L2 norm 1, of the model that `content` names."""

    embedding: NDArray[np.float16]
    content: ContentState

    def is_same(self, other: "StoredEmbedding") -> bool:
        """Returns whether another one is of the same origin and value."""
        return self.content == other.content and (
            self.embedding is other.embedding or np.array_equal(self.embedding, other.embedding)
        )


@dataclass(frozen=True, slots=True, eq=False)
class StoredProduct:
    """A product with its photographs.

    Attributes:
        product: its attributes.
        embedding: of its first photograph: float16, shape (dimension,), L2 norm 1, of the model that `content` names.
        content: where that comes from.
        further: its photographs after the first, in their order.
    """

    product: Product
    embedding: NDArray[np.float16]
    content: ContentState
    further: tuple[StoredEmbedding, ...] = ()

    @property
    def photographs(self) -> tuple[StoredEmbedding, ...]:
        """All its photographs, in their order."""
        return (StoredEmbedding(self.embedding, self.content), *self.further)

    @property
    def sha256s(self) -> list[str]:
        """The files that it refers to."""
        return [each.content.photograph_sha256 for each in self.photographs if each.content.photograph_sha256]

    @property
    def contents(self) -> tuple[ContentState, ...]:
        """Where the embeddings of its photographs come from, in their order."""
        return (self.content, *(each.content for each in self.further))


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of a write.

    Attributes:
        outcomes: one per upsert, in their order.
        changed: the products that were created or look different, as they are stored now.
        updated: the products of which attributes alone changed, as they are stored now.
        deleted: the ids of products that existed and were deleted.
        index_version: after the write; as before if nothing changed.
    """

    outcomes: tuple[UpsertOutcome, ...]
    changed: tuple[StoredProduct, ...]
    updated: tuple[Product, ...]
    deleted: tuple[str, ...]
    index_version: int


def merged(upsert: Upsert, before: StoredProduct | None) -> StoredProduct:
    """Returns the product to be stored: its new attributes, and the stored photographs unless there are others.

    Raises:
        InvalidInput: PHOTOGRAPH_MISSING: the product is new and has none.
        IndexError: a photograph that is to stay is not stored.
    """
    if upsert.content is None:
        if before is None:
            raise photograph_missing(upsert.product.id)
        photographs = before.photographs
    else:
        stored = () if before is None else before.photographs
        photographs = tuple(_stored_embedding(each, stored) for each in upsert.contents)
    first, *further = photographs
    product = dataclasses.replace(
        upsert.product,
        photograph_absent=first.content.photograph_sha256 is None,
        photograph_count=len(photographs),
    )
    return StoredProduct(product, first.embedding, first.content, tuple(further))


def _stored_embedding(content: NewContent | SameContent, stored: Sequence[StoredEmbedding]) -> StoredEmbedding:
    if isinstance(content, SameContent):
        return stored[content.place]
    embedding = content.embedding.values.astype(FLOAT16)
    if content.photograph is None:
        return StoredEmbedding(embedding, ContentState(content.embedding.model_version, None, None))
    state = ContentState.of(content.photograph, content.embedding.model_version)
    # Embedded in another batch, the same photograph may differ in its last bits, which is no change.
    return next((each for each in stored if each.content == state), StoredEmbedding(embedding, state))


def outcome(before: StoredProduct | None, after: StoredProduct) -> UpsertOutcome:
    """Returns what writing a product would do."""
    if before is None:
        return UpsertOutcome.CREATED
    same = before.product == after.product and looks_the_same(before, after)
    return UpsertOutcome.UNCHANGED if same else UpsertOutcome.UPDATED


def looks_the_same(before: StoredProduct | None, after: StoredProduct) -> bool:
    """Returns whether a product has the same photographs, in the same order, as before."""
    return (
        before is not None
        and len(before.further) == len(after.further)
        and all(old.is_same(new) for old, new in zip(before.photographs, after.photographs, strict=True))
    )


def photograph_missing(product_id: str) -> InvalidInput:
    """Returns the error for a new product without content."""
    return InvalidInput(
        f'The product "{product_id}" is new: send a photograph or an embedding with it.',
        reason="PHOTOGRAPH_MISSING",
        metadata={"field": "content"},
    )


def product_damaged(product_id: str) -> DataLoss:
    """Returns the error for a product whose stored row is damaged."""
    return DataLoss(
        f'The stored product "{product_id}" is damaged; send it again, with its photograph or embedding.',
        reason="PRODUCT_DAMAGED",
        metadata={"product_id": product_id},
    )
