"""Keeps the generation beside the live one up to date, and makes it the live one."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from services.concurrency.workers import Workers
from services.contract.errors import DataLoss, Overloaded
from services.contract.values import Embedding, Photograph
from services.search.catalogue.content import FLOAT16, ContentState, Part, StoredProduct
from services.search.catalogue.products import Product
from services.search.catalogue.store import Catalogue
from services.search.indexes.base import IndexedProduct
from services.search.writes.generation import Change, Generation, WrittenGenerations

_log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# Products of one step of loading an index.
_STEP: Final = 200
_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Filled:
    """What a call of `BesideWriter.fill` did: photographs embedded, and those that cannot be, by product."""

    embedded: int
    failed: tuple[str, ...]


class BesideWriter:
    """A part of `CatalogueWriter`: each write goes to the generation beside the live one too."""

    def __init__(self, catalogue: Catalogue, generations: WrittenGenerations, lane: Workers) -> None:
        """Takes the catalogue, what is written to, and the one thread that writes."""
        self._catalogue = catalogue
        self._generations = generations
        self._lane = lane

    async def begin(self, generation: Generation) -> None:
        """Lets writes have their photographs embedded by another generation too."""
        await self._in_lane(self._set, generation)

    async def end(self) -> None:
        """Ends that."""
        await self._in_lane(self._set, None)

    async def load(self, pace: Callable[[], None] = lambda: None) -> None:
        """Fills the index of the other generation; from then on it follows each write.

        Args:
            pace: called in a thread now and then; it may sleep, so that queries hardly notice.
        """
        generation = self._other()
        await self._in_lane(self._note_writes)
        await asyncio.to_thread(self._load, generation, pace)
        await self._in_lane(self._follow, generation)

    async def fill(self, product_ids: Collection[str]) -> Filled:
        """Embeds photographs of products for the other generation; those that it has are passed over.

        Raises:
            Unavailable: EMBEDDER_UNAVAILABLE.
            ModelMismatch: MODEL_VERSION_MISMATCH: its embedder serves another model.
            Overloaded: QUEUE_FULL.
        """
        generation = self._other()
        wanted: dict[Part, Photograph] = {}
        products: dict[Part, str] = {}
        failed: set[str] = set()
        lacking = await asyncio.to_thread(lacking_photographs, self._catalogue, generation, product_ids)
        for stored, places in lacking:
            for place, photograph in places.items():
                part = stored.contents[place].part
                if part is not None and photograph is not None:
                    wanted[part] = photograph
                    products[part] = stored.product.id
                else:
                    failed.add(stored.product.id)
        results = await generation.embedder.embed([*wanted.values()]) if wanted else ()
        embedded = {}
        for part, result in zip(wanted, results, strict=True):
            if isinstance(result, Embedding):
                embedded[part] = result.values.astype(FLOAT16)
            else:
                failed.add(products[part])
                _log.warning(
                    "photograph cannot be embedded by the next model", product_id=products[part], reason=result.reason
                )
        if embedded:
            await asyncio.to_thread(self._catalogue.generations.add, generation.model_version, embedded)
            await self._in_lane(self._refresh, product_ids)
        return Filled(len(embedded), tuple(sorted(failed)))

    async def switch(self, switched: Callable[[], None]) -> int:
        """Makes the other generation the live one, between two writes; the former one goes on to follow writes.

        Args:
            switched: called in the writing thread once that is on disk.

        Returns:
            The index version afterwards.
        """
        return await self._in_lane(self._switch, switched)

    async def _in_lane(self, work: Callable[..., T], *arguments: object) -> T:
        """Runs work in the thread that writes, after the writes that wait for it."""
        while True:
            try:
                return await self._lane.run(work, *arguments)
            except Overloaded:
                await asyncio.sleep(_PAUSE_S)

    def _other(self) -> Generation:
        assert self._generations.other is not None, "There is no other generation."
        return self._generations.other

    # From here on the methods run in the lane, but for `_load`.

    def take_over(
        self,
        index_version: int,
        changed: Sequence[str],
        updated: Sequence[Product],
        deleted: Collection[str],
        changes: Sequence[Change],
    ) -> None:
        """Brings the other generation up to a version of the catalogue; it never fails a write.

        Args:
            index_version: of the catalogue.
            changed: the ids of products that were created or look different.
            updated: products of which attributes alone changed.
            deleted: ids of products that were deleted.
            changes: of all these, what listeners go by.
        """
        generations = self._generations
        if generations.other is None:
            return
        if not generations.follows:
            generations.touched.update(changed, (each.id for each in updated), deleted)
            return
        try:
            rows = self._rows(changed)
            generations.other.index.apply(rows, deleted, index_version, updated)
            generations.other.on_change(changes)
        except Exception:
            _log.exception("the other generation did not take over a write; its index is loaded again")
            generations.follows = False

    def _set(self, generation: Generation | None) -> None:
        self._generations.other = generation
        self._generations.follows = False
        self._generations.touched.clear()
        self._generations.lacking.clear()

    def _note_writes(self) -> None:
        self._generations.follows = False
        self._generations.touched.clear()

    def _load(self, generation: Generation, pace: Callable[[], None]) -> None:
        """Loads all products, while writes go on."""
        index_version = self._catalogue.index_version
        ids = self._catalogue.product_ids()

        def batches() -> Iterator[list[IndexedProduct]]:
            for start in range(0, len(ids), _STEP):
                pace()
                stored = self._catalogue.of_model(ids[start : start + _STEP], generation.model_version)
                yield [generation.indexed(each) for each in stored]

        generation.index.load(batches(), index_version)

    def _follow(self, generation: Generation) -> None:
        """Takes over what was written while the index was loaded."""
        if self._generations.other is not generation:
            return
        touched = sorted(self._generations.touched)
        rows = self._rows(touched)
        gone = set(touched) - {row.product.id for row in rows}
        generation.index.apply(rows, gone, self._catalogue.index_version)
        self._generations.touched.clear()
        self._generations.follows = True

    def _refresh(self, product_ids: Collection[str]) -> None:
        """Gives the index embeddings that have been made."""
        other = self._generations.other
        if other is None:
            return
        if not self._generations.follows:
            self._generations.touched.update(product_ids)
            return
        rows = self._rows(product_ids)
        other.index.apply(rows, (), self._catalogue.index_version)
        other.on_change([Change(row.product, row.product) for row in rows])

    def _rows(self, product_ids: Collection[str]) -> list[IndexedProduct]:
        """Returns products as the other index takes them, and notes which of them lack an embedding."""
        generation = self._other()
        stored = self._catalogue.of_model(product_ids, generation.model_version) if product_ids else []
        self._generations.lacking.difference_update(product_ids)
        self._generations.lacking.update(
            each.product.id for each in stored if any(map(generation.lacks, each.contents))
        )
        return [generation.indexed(each) for each in stored]

    def _switch(self, switched: Callable[[], None]) -> int:
        generations, other = self._generations, self._other()
        index_version = self._catalogue.generations.switch()
        generations.live, generations.other = other, generations.live
        switched()
        generations.lacking.clear()
        for each in (generations.live, generations.other):
            each.index.apply((), (), index_version)
        return index_version


def lacking_photographs(
    catalogue: Catalogue, generation: Generation, product_ids: Collection[str]
) -> list[tuple[StoredProduct, dict[int, Photograph | None]]]:
    """Returns products of which a generation lacks embeddings, with the photographs to embed by their place.

    None stands for a photograph whose file is damaged or gone, which is logged.
    """
    lacking: list[tuple[StoredProduct, dict[int, Photograph | None]]] = []
    for stored in catalogue.of_model(product_ids, generation.model_version):
        places = {
            place: _photograph(catalogue, stored.product.id, place, content)
            for place, content in enumerate(stored.contents)
            if generation.lacks(content)
        }
        if places:
            lacking.append((stored, places))
    return lacking


def _photograph(catalogue: Catalogue, product_id: str, place: int, content: ContentState) -> Photograph | None:
    try:
        file = catalogue.photograph(product_id, place)
    except DataLoss as error:
        _log.error("photograph cannot be embedded again", product_id=product_id, why=error.message)
        return None
    # A write may have replaced it meanwhile.
    return (
        None if file is None or file.sha256 != content.photograph_sha256 else Photograph(file.content, content.region)
    )
