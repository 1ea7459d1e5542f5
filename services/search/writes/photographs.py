"""Writes the photographs of products that are known: adds and removes one, and embeds all of another model again."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from services.concurrency.workers import Workers
from services.contract.errors import FashionError
from services.contract.values import Embedding, Photograph
from services.search.catalogue.content import (
    ContentState,
    NewContent,
    SameContent,
    StoredProduct,
    Upsert,
    UpsertOutcome,
    upsert_of,
)
from services.search.catalogue.generations import Embeddings
from services.search.catalogue.products import product_not_found, validate_product_id
from services.search.catalogue.store import Catalogue
from services.search.writes.beside import lacking_photographs
from services.search.writes.contents import check_place, place_of, places_named
from services.search.writes.generation import EmbeddedPhotographs, Generation, WrittenGenerations
from services.search.writes.rows import PhotographReport, checked_content

_log = structlog.stdlib.get_logger(__name__)


class PhotographWriter:
    """A part of `CatalogueWriter`."""

    def __init__(
        self,
        catalogue: Catalogue,
        generations: WrittenGenerations,
        lane: Workers,
        write: Callable[..., tuple[int, Sequence[UpsertOutcome]]],
        written: Callable[[int, Sequence[StoredProduct]], None],
    ) -> None:
        """Takes the parts.

        Args:
            catalogue: the truth.
            generations: what is written to.
            lane: the one thread that writes.
            write: writes products to the catalogue and its index, in the lane.
            written: as of `BesideWriter`.
        """
        self._catalogue = catalogue
        self._generations = generations
        self._lane = lane
        self._write = write
        self._written = written

    async def add(self, product_id: str, content: Photograph | Embedding, index: int | None = None) -> PhotographReport:
        """Adds a photograph to those of a product; one that it has already is not added again.

        Args:
            product_id: of a product that is known.
            content: the photograph, or an embedding as sent, unchecked.
            index: its place, 0 for the first; None for the last, or for where it is already.

        Raises:
            InvalidInput: PRODUCT_ID_INVALID, TOO_MANY_PHOTOGRAPHS, PHOTOGRAPH_INDEX_INVALID, EMBEDDING_INVALID, and as
                `Embedder.embed`.
            ModelMismatch: MODEL_VERSION_MISMATCH.
            NotFound: PRODUCT_NOT_FOUND.
            DataLoss: PRODUCT_DAMAGED.
            Unavailable: EMBEDDER_UNAVAILABLE.
            Overloaded: QUEUE_FULL.
        """
        validate_product_id(product_id, "product_id")
        checked = checked_content(content, self._generations.live.space)
        embedded = EmbeddedPhotographs(self._generations)
        while isinstance(report := await self._lane.run(self._add, product_id, checked, index, embedded), Photograph):
            await embedded.embed([report])
        return report

    async def remove(self, product_id: str, photograph: int | str) -> PhotographReport:
        """Removes one of several photographs of a product, or all of a file; those after it move up.

        Args:
            product_id: of a product that is known.
            photograph: its place, from 0; or the SHA-256 of its file.

        Raises:
            InvalidInput: PRODUCT_ID_INVALID, LAST_PHOTOGRAPH.
            NotFound: PRODUCT_NOT_FOUND, PHOTOGRAPH_NOT_FOUND.
            DataLoss: PRODUCT_DAMAGED.
            Overloaded: QUEUE_FULL.
        """
        validate_product_id(product_id, "product_id")
        return await self._lane.run(self._remove, product_id, photograph)

    async def embed_again(self, product_ids: Sequence[str]) -> int:
        """Embeds products of another model version again, from their stored photographs.

        Args:
            product_ids: a few of those that the live generation lacks; one that was changed or deleted meanwhile is
                skipped.

        Returns:
            The number of products embedded again; failures are logged.

        Raises:
            Unavailable: EMBEDDER_UNAVAILABLE.
            Overloaded: QUEUE_FULL.
        """
        live = self._generations.live
        outdated = await asyncio.to_thread(lacking_photographs, self._catalogue, live, product_ids)
        photographs = [
            (stored, place, each) for stored, many in outdated for place, each in many.items() if each is not None
        ]
        # By product, what cannot be embedded of it.
        failing: dict[str, set[ContentState]] = {}
        for stored, many in outdated:
            if damaged := {stored.contents[place] for place, each in many.items() if each is None}:
                failing[stored.product.id] = damaged
        results = await live.embedder.embed([photograph for _, _, photograph in photographs])
        embedded: dict[str, tuple[StoredProduct, dict[int, NewContent]]] = {}
        for (stored, place, photograph), result in zip(photographs, results, strict=True):
            product_id = stored.product.id
            if isinstance(result, FashionError):
                failing.setdefault(product_id, set()).add(stored.contents[place])
                _log.warning(
                    "photograph cannot be embedded again",
                    product_id=product_id,
                    photograph_index=place,
                    reason=result.reason,
                    why=str(result),
                )
            else:
                embedded.setdefault(product_id, (stored, {}))[1][place] = NewContent(result, photograph)
        return await self._lane.run(self._replace_content, live, product_ids, tuple(embedded.values()), failing)

    # From here on the methods run in the lane.

    def _add(
        self, product_id: str, content: Photograph | Embedding, index: int | None, embedded: EmbeddedPhotographs
    ) -> PhotographReport | Photograph:
        """Adds a photograph, or returns it where it has to be embedded first."""
        live = self._generations.live
        stored = self._known(product_id)
        place = place_of(content, stored)
        check_place(stored, index, adds=place is None)
        current = place is not None and stored.contents[place].model_version == live.model_version
        new: NewContent | SameContent
        if place is not None and current:
            # The file came along again, which mends a damaged one.
            new = SameContent(place, content.content if isinstance(content, Photograph) else None)
        elif isinstance(content, Embedding):
            new = NewContent(content, None)
        else:
            embedding = embedded.of(live.model_version).get(content)
            if embedding is None:
                return content
            if isinstance(embedding, FashionError):
                raise embedding
            new = NewContent(embedding, content)
        others = [SameContent(each) for each in range(len(stored.photographs)) if each != place]
        last = len(others) if place is None else place
        at = last if index is None else index
        return self._replace(stored, [*others[:at], new, *others[at:]], at, embedded.beside())

    def _remove(self, product_id: str, photograph: int | str) -> PhotographReport:
        stored = self._known(product_id)
        places = places_named(photograph, stored)
        kept = [SameContent(each) for each in range(len(stored.photographs)) if each not in places]
        return self._replace(stored, kept, places[0], {})

    def _known(self, product_id: str) -> StoredProduct:
        """Returns a product; raises NotFound or DataLoss."""
        stored = self._catalogue.get(product_id)
        if stored is None:
            raise product_not_found(product_id)
        return stored

    def _replace(
        self,
        stored: StoredProduct,
        contents: Sequence[NewContent | SameContent],
        index: int,
        beside: Mapping[str, Embeddings],
    ) -> PhotographReport:
        index_version, (outcome,) = self._write([upsert_of(stored.product, contents)], beside=beside)
        changed = outcome is not UpsertOutcome.UNCHANGED
        return PhotographReport(self._known(stored.product.id).product, index, changed, index_version)

    def _replace_content(
        self,
        live: Generation,
        product_ids: Sequence[str],
        embedded: Sequence[tuple[StoredProduct, Mapping[int, NewContent]]],
        failing: Mapping[str, set[ContentState]],
    ) -> int:
        if live is not self._generations.live:
            # There was a switch meanwhile, and the other generation has its own way to embed them.
            return 0
        upserts: list[Upsert] = []
        for before, contents in embedded:
            now = self._catalogue.get(before.product.id)
            # A write that came in between is newer than this embedding.
            if now is not None and now.contents == before.contents:
                places = range(len(now.contents))
                upserts.append(upsert_of(now.product, [contents.get(place, SameContent(place)) for place in places]))
        self._write(upserts)
        self._find_late(live, product_ids)
        for product_id in live.lacking & failing.keys():
            now = self._catalogue.some([product_id]).get(product_id)
            # A write that came in between may have brought another photograph.
            if now is not None and not failing[product_id].isdisjoint(now.contents):
                live.failed[product_id] = None
        return len(upserts)

    def _find_late(self, live: Generation, product_ids: Sequence[str]) -> None:
        """Gives the live index what the catalogue has already, as by another product with the same photograph."""
        left = live.lacking.intersection(product_ids)
        stored = [each for each in self._catalogue.some(left).values() if each is not None]
        late = [
            each
            for each in stored
            if not any(map(live.lacks, each.contents))
            or (each.product.id in live.unfound and each.content.model_version == live.model_version)
        ]
        live.forget(left - {each.product.id for each in stored})
        if late:
            self._written(self._catalogue.generations.note([each.product.id for each in late]), late)
