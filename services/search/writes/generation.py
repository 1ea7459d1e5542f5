"""What a write goes to: the live generation, and the next or the previous one beside it."""

import asyncio
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, Protocol

import structlog

from services.contract.errors import FashionError
from services.contract.protocols import EmbeddingSpace
from services.contract.values import Embedding, Photograph
from services.search.catalogue.content import FLOAT16, ContentState, StoredProduct
from services.search.catalogue.generations import Embeddings
from services.search.catalogue.products import Product
from services.search.indexes.base import Index, IndexedProduct
from services.search.writes.photograph_embedder import WriteEmbedder

_log = structlog.stdlib.get_logger(__name__)

# How much longer a write waits for the embedder of the other generation than for its own, in seconds.
_BESIDE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Change:
    """A product before and after a write; None before it was created and after it was deleted.

    A write that changes neither what a product looks like nor its kind, such as one of its price, is none.
    """

    before: Product | None
    after: Product | None


# What of a product candidates and the measure of doubt go by, besides what it looks like.
kind_of: Final = attrgetter("gender", "article_type", "sub_category", "parent_id")


class ChangeListener(Protocol):
    """Called in the writing thread after every write that changed something; it must be quick and thread-safe."""

    def __call__(self, changes: Sequence[Change]) -> None:
        """Takes note of the changes of one write."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """A model, and what is derived from the catalogue by its embeddings.

    Attributes:
        space: the model.
        index: has the products with its embeddings.
        embedder: for photographs of writes.
        on_change: called after each write that changed something.
        lacking: ids of the products in the index of which an embedding is still to be made.
        unfound: ids of the products in the index that no search finds, as their first photograph has no embedding.
        failed: of the products that lack an embedding, those with a photograph that the model cannot embed; the keys.
            A write of such a product lets it be tried again.
    """

    space: EmbeddingSpace
    index: Index
    embedder: WriteEmbedder
    on_change: ChangeListener = lambda changes: None
    lacking: set[str] = field(default_factory=set)
    unfound: set[str] = field(default_factory=set)
    failed: dict[str, None] = field(default_factory=dict)

    @property
    def model_version(self) -> str:
        """The version of the model."""
        return self.space.model_version

    def indexed(self, stored: StoredProduct) -> IndexedProduct:
        """Returns a product as the index takes it; embeddings of other models are left out."""
        first, *further = (
            each.embedding if each.content.model_version == self.model_version else None for each in stored.photographs
        )
        return IndexedProduct(stored.product, first, tuple(further) if first is not None else ())

    def lacks(self, content: ContentState) -> bool:
        """Returns whether a photograph has no embedding of this model, and could have one."""
        return content.model_version != self.model_version and content.photograph_sha256 is not None

    def rows(self, product_ids: Collection[str], stored: Sequence[StoredProduct]) -> list[IndexedProduct]:
        """Returns products as the index takes them, and notes what they lack.

        Args:
            product_ids: of all of them, and of others that are gone.
            stored: the products.
        """
        rows = [self.indexed(each) for each in stored]
        lacking = {each.product.id for each in stored if any(map(self.lacks, each.contents))}
        self.forget([each for each in product_ids if each not in lacking])
        self.lacking.update(lacking)
        self.unfound.difference_update(product_ids)
        self.unfound.update(row.product.id for row in rows if row.embedding is None)
        return rows

    def forget(self, product_ids: Collection[str]) -> None:
        """Notes that products lack nothing, or are gone."""
        self.lacking.difference_update(product_ids)
        self.unfound.difference_update(product_ids)
        self.try_again(product_ids)

    def forget_all(self) -> None:
        """Forgets what products lack, before all are loaded; what cannot be embedded stays noted."""
        self.lacking.clear()
        self.unfound.clear()

    def try_again(self, product_ids: Iterable[str]) -> None:
        """Lets photographs of products be tried again that could not be embedded."""
        for product_id in product_ids:
            self.failed.pop(product_id, None)

    def to_embed(self, limit: int = 10_000) -> list[str]:
        """Returns products of which an embedding is to be made and can be, in the order of their ids.

        It takes a moment where many are lacking, and may be called in any thread.

        Args:
            limit: how many at most.
        """
        lacking, failed = self.lacking.copy(), self.failed.copy()
        return sorted(itertools.islice((each for each in lacking if each not in failed), limit))


@dataclass(slots=True)
class WrittenGenerations:
    """The generations that every write goes to.

    Attributes:
        live: is answered from.
        other: the next or the previous one.
        follows: whether the index of the other one takes part in writes.
        touched: products that were written while it did not, since it was asked for.
    """

    live: Generation
    other: Generation | None = None
    follows: bool = False
    touched: set[str] = field(default_factory=set)


class EmbeddedPhotographs:
    """The photographs of one write, as each generation has embedded them."""

    def __init__(self, generations: WrittenGenerations) -> None:
        self._generations = generations
        self._results: dict[str, dict[Photograph, Embedding | FashionError]] = {}

    def of(self, model_version: str) -> Mapping[Photograph, Embedding | FashionError]:
        """Returns what a model made of each photograph so far."""
        return self._results.get(model_version, {})

    def beside(self) -> dict[str, Embeddings]:
        """Returns the embeddings by all models, as the catalogue takes them."""
        return (
            {
                version: {
                    part: result.values.astype(FLOAT16)
                    for photograph, result in results.items()
                    if isinstance(result, Embedding) and (part := ContentState.of(photograph, version).part)
                }
                for version, results in self._results.items()
            }
            if len(self._results) > 1
            else {}
        )

    async def embed(self, photographs: Sequence[Photograph]) -> None:
        """Has photographs embedded, by the live generation and by the other one.

        The other one must not hold up a write: what it does not embed now, it embeds later.

        Raises:
            Unavailable: EMBEDDER_UNAVAILABLE, of the live one.
            ModelMismatch: MODEL_VERSION_MISMATCH, of the live one.
            Overloaded: QUEUE_FULL.
            DeadlineExceeded: the deadline passed before all were embedded.
        """
        live, other = self._generations.live, self._generations.other
        beside = asyncio.create_task(self._embed(other, photographs)) if other is not None else None
        try:
            await self._embed(live, photographs)
            if beside is not None:
                await asyncio.wait({beside}, timeout=_BESIDE_S)
        finally:
            if beside is not None:
                beside.cancel()
                (error,) = await asyncio.gather(beside, return_exceptions=True)
                if error is not None:
                    _log.info("the other generation embeds photographs of a write later", why=str(error))

    async def _embed(self, generation: Generation, photographs: Sequence[Photograph]) -> None:
        embedded = self._results.setdefault(generation.model_version, {})
        left = iter(photographs)
        # Group by group, so that what there is counts where the rest takes too long.
        async for results in generation.embedder.embed_groups(photographs):
            embedded.update(zip(itertools.islice(left, len(results)), results, strict=True))
