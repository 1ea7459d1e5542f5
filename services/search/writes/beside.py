"""Keeps the generation beside the live one up to date, and makes it the live one."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from services.concurrency.workers import Workers
from services.contract.errors import DataLoss, Overloaded
from services.contract.values import Embedding, Photograph
from services.search.catalogue.content import FLOAT16, ContentState, Part, StoredProduct
from services.search.catalogue.generations import Embeddings
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


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the other generation is behind the live one, between two writes.

    Attributes:
        complete: whether its index follows each write, and nothing is left that it could embed.
        lost: products that are found in the live generation and not in this one.
    """

    complete: bool
    lost: int


class BesideWriter:
    """A part of `CatalogueWriter`: each write goes to the generation beside the live one too."""

    def __init__(
        self,
        catalogue: Catalogue,
        generations: WrittenGenerations,
        lane: Workers,
        written: Callable[[int, Sequence[StoredProduct]], None],
    ) -> None:
        """Takes the parts.

        Args:
            catalogue: the truth.
            generations: what is written to.
            lane: the one thread that writes.
            written: brings the indexes of all generations up to a version of the catalogue, with the products that look
                different since; called in the lane.
        """
        self._catalogue = catalogue
        self._generations = generations
        self._lane = lane
        self._written = written

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

        All products with one of these photographs are found by it at once, also where the generation is live by then.

        Raises:
            Unavailable: EMBEDDER_UNAVAILABLE.
            ModelMismatch: MODEL_VERSION_MISMATCH: its embedder serves another model.
            Overloaded: QUEUE_FULL.
        """
        generation = self._other()
        wanted: dict[Part, Photograph] = {}
        products: dict[Part, dict[str, ContentState]] = {}
        # By product, what cannot be embedded of it.
        failing: dict[str, set[ContentState]] = {}
        lacking = await asyncio.to_thread(lacking_photographs, self._catalogue, generation, product_ids)
        for stored, places in lacking:
            for place, photograph in places.items():
                content = stored.contents[place]
                if content.part is not None and photograph is not None:
                    wanted[content.part] = photograph
                    products.setdefault(content.part, {})[stored.product.id] = content
                else:
                    failing.setdefault(stored.product.id, set()).add(content)
        results = await generation.embedder.embed([*wanted.values()]) if wanted else ()
        embedded = {}
        for part, result in zip(wanted, results, strict=True):
            if isinstance(result, Embedding):
                embedded[part] = result.values.astype(FLOAT16)
            else:
                for product_id, content in products[part].items():
                    failing.setdefault(product_id, set()).add(content)
                _log.warning(
                    "photograph cannot be embedded by the next model",
                    product_ids=sorted(products[part]),
                    reason=result.reason,
                )
        await self._in_lane(self._store, generation, embedded, product_ids, failing)
        return Filled(len(embedded), tuple(sorted(failing)))

    async def lag(self) -> Lag:
        """Returns how far the other generation is behind."""
        return await self._in_lane(self._lag)

    async def switch(self, switched: Callable[[], None], max_lost: int | None = None) -> int | None:
        """Makes the other generation the live one, between two writes; the former one goes on to follow writes.

        What the new one still lacks is embedded afterwards; see `keep_complete`.

        Args:
            switched: called in the writing thread once that is on disk.
            max_lost: only if the other generation is complete, and at most so many products are lost; None for any.

        Returns:
            The index version afterwards; None where it did not switch, as the index does not follow writes, or for what
            `max_lost` asks.

        Raises:
            Overloaded: STORAGE_FULL.
            Unavailable: STORAGE_UNAVAILABLE.
        """
        return await self._in_lane(self._switch, switched, max_lost)

    async def _in_lane(self, work: Callable[..., T], *arguments: object) -> T:
        """Runs work in the thread that writes, after the writes that wait for it."""
        while True:
            try:
                return await self._lane.run(work, *arguments)
            except Overloaded as error:
                # Of the thread, and not of a disk that is full.
                if error.reason != "QUEUE_FULL":
                    raise
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
            rows = self._rows(generations.other, changed)
            generations.other.forget(deleted)
            generations.other.index.apply(rows, deleted, index_version, updated)
            generations.other.on_change(changes)
        except Exception:
            self._not_taken_over()

    def _not_taken_over(self) -> None:
        _log.exception("the other generation did not take over a write; its index is loaded again")
        self._generations.follows = False

    def _set(self, generation: Generation | None) -> None:
        self._generations.other = generation
        self._generations.follows = False
        self._generations.touched.clear()

    def _note_writes(self) -> None:
        self._generations.follows = False
        self._generations.touched.clear()

    def _load(self, generation: Generation, pace: Callable[[], None]) -> None:
        """Loads all products, while writes go on."""
        index_version = self._catalogue.index_version
        ids = self._catalogue.product_ids()
        generation.forget_all()

        def batches() -> Iterator[list[IndexedProduct]]:
            for start in range(0, len(ids), _STEP):
                pace()
                yield self._rows(generation, ids[start : start + _STEP])

        generation.index.load(batches(), index_version)

    def _follow(self, generation: Generation) -> None:
        """Takes over what was written while the index was loaded."""
        if self._generations.other is not generation:
            return
        touched = sorted(self._generations.touched)
        rows = self._rows(generation, touched)
        gone = set(touched) - {row.product.id for row in rows}
        generation.index.apply(rows, gone, self._catalogue.index_version)
        self._generations.touched.clear()
        self._generations.follows = True

    def _store(
        self,
        generation: Generation,
        embedded: Embeddings,
        product_ids: Collection[str],
        failing: Mapping[str, set[ContentState]],
    ) -> None:
        """Stores embeddings that have been made, and gives them to the index, in one step between two writes.

        Args:
            generation: that they are of; the live one, where there was a switch meanwhile.
            embedded: by photograph.
            product_ids: the products that they were made for.
            failing: by product, what cannot be embedded of it.
        """
        generations = self._generations
        if generation not in (generations.live, generations.other):
            # It has been ended.
            return
        showing: tuple[str, ...] = ()
        index_version = None
        if embedded:
            added = self._catalogue.generations.add(generation.model_version, embedded)
            showing, index_version = added.product_ids, added.index_version
        if index_version is not None:
            products = self._catalogue.some(showing).values()
            self._written(index_version, [each for each in products if each is not None])
        elif generation is generations.other:
            self._refresh(generation, showing, product_ids)
        # What was written meanwhile may look different by now.
        for each in self._catalogue.of_model(failing, generation.model_version) if failing else ():
            if not failing[each.product.id].isdisjoint(each.contents):
                generation.failed[each.product.id] = None

    def _refresh(self, other: Generation, changed: Collection[str], product_ids: Collection[str]) -> None:
        """Gives the other index what the catalogue has of products by now, whether they have changed or not."""
        if not self._generations.follows:
            self._generations.touched.update(changed, product_ids)
            return
        lacked = other.lacking.intersection(product_ids)
        try:
            rows = self._rows(other, {*changed, *product_ids})
            other.index.apply(rows, (), self._catalogue.index_version)
            noted = {*changed, *(lacked - other.lacking)}
            other.on_change([Change(row.product, row.product) for row in rows if row.product.id in noted])
        except Exception:
            self._not_taken_over()

    def _rows(self, generation: Generation, product_ids: Collection[str]) -> list[IndexedProduct]:
        """Returns products as an index takes them, and notes which of them lack an embedding."""
        stored = self._catalogue.of_model(product_ids, generation.model_version) if product_ids else []
        return generation.rows(product_ids, stored)

    def _lag(self) -> Lag:
        other, live = self._other(), self._generations.live
        complete = self._generations.follows and not other.to_embed(1)
        return Lag(complete, len(other.unfound - live.unfound))

    def _switch(self, switched: Callable[[], None], max_lost: int | None) -> int | None:
        generations, other = self._generations, self._other()
        if not generations.follows:
            return None
        if max_lost is not None and (not (lag := self._lag()).complete or lag.lost > max_lost):
            return None
        index_version = self._catalogue.generations.switch()
        generations.live, generations.other = other, generations.live
        switched()
        try:
            self._written(index_version, ())
        except Exception:
            # Queries are answered from the other generation by now; the next write brings the version along.
            _log.exception("index did not take over the version of a switch", index_version=index_version)
        return index_version


def lacking_photographs(
    catalogue: Catalogue, generation: Generation, product_ids: Collection[str]
) -> list[tuple[StoredProduct, dict[int, Photograph | None]]]:
    """Returns products of which a generation lacks embeddings, with the photographs to embed by their place.

    None stands for a photograph whose file is damaged, gone or unreadable, which is logged.
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
    except (DataLoss, OSError) as error:
        # A disk that cannot read one file must not keep all others from being embedded.
        _log.error("photograph cannot be embedded again", product_id=product_id, why=str(error))
        return None
    # A write may have replaced it meanwhile.
    return (
        None if file is None or file.sha256 != content.photograph_sha256 else Photograph(file.content, content.region)
    )
