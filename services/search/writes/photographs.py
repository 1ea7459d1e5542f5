"""Writes the photographs of products that are known: adds and removes one, and embeds all of another model again."""

from collections.abc import Callable, Mapping, Sequence

import structlog

from services.concurrency.workers import Workers
from services.contract.errors import DataLoss, FashionError
from services.contract.protocols import EmbeddingSpace
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
from services.search.catalogue.products import product_not_found, validate_product_id
from services.search.catalogue.store import Catalogue
from services.search.writes.contents import check_place, place_named, place_of
from services.search.writes.photograph_embedder import WriteEmbedder
from services.search.writes.rows import PhotographReport, checked_content

_log = structlog.stdlib.get_logger(__name__)


class PhotographWriter:
    """A part of `CatalogueWriter`."""

    def __init__(
        self,
        catalogue: Catalogue,
        space: EmbeddingSpace,
        embedder: WriteEmbedder,
        lane: Workers,
        write: Callable[[Sequence[Upsert]], tuple[int, Sequence[UpsertOutcome]]],
    ) -> None:
        """Takes the parts.

        Args:
            catalogue: the truth.
            space: the model that is served.
            embedder: for photographs.
            lane: the one thread that writes.
            write: writes products to the catalogue and its index, in the lane.
        """
        self._catalogue = catalogue
        self._space = space
        self._embedder = embedder
        self._lane = lane
        self._write = write

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
        checked = checked_content(content, self._space)
        report = await self._lane.run(self._add, product_id, checked, index, None)
        if isinstance(report, PhotographReport):
            return report
        (embedding,) = await self._embedder.embed([report])
        if isinstance(embedding, FashionError):
            raise embedding
        report = await self._lane.run(self._add, product_id, checked, index, embedding)
        assert isinstance(report, PhotographReport), "It has its embedding."
        return report

    async def remove(self, product_id: str, photograph: int | str) -> PhotographReport:
        """Removes one of several photographs of a product; those after it move up.

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
            product_ids: a few of those that `load` returned; one that was changed or deleted meanwhile is skipped.

        Returns:
            The number of products embedded again; failures are logged.

        Raises:
            Unavailable: EMBEDDER_UNAVAILABLE.
            Overloaded: QUEUE_FULL.
        """
        outdated = await self._lane.run(self._outdated, product_ids)
        photographs = [(stored, place, each) for stored, many in outdated for place, each in many.items()]
        results = await self._embedder.embed([photograph for _, _, photograph in photographs])
        embedded: dict[str, tuple[StoredProduct, dict[int, NewContent]]] = {}
        for (stored, place, photograph), result in zip(photographs, results, strict=True):
            product_id = stored.product.id
            if isinstance(result, FashionError):
                _log.warning(
                    "photograph cannot be embedded again",
                    product_id=product_id,
                    photograph_index=place,
                    reason=result.reason,
                    why=str(result),
                )
            else:
                embedded.setdefault(product_id, (stored, {}))[1][place] = NewContent(result, photograph)
        return await self._lane.run(self._replace_content, tuple(embedded.values())) if embedded else 0

    def is_outdated(self, content: ContentState) -> bool:
        """Returns whether a photograph is to be embedded again: it is of another model, and has a file."""
        return content.model_version != self._space.model_version and content.photograph_sha256 is not None

    # From here on the methods run in the lane.

    def _add(
        self, product_id: str, content: Photograph | Embedding, index: int | None, embedding: Embedding | None
    ) -> PhotographReport | Photograph:
        """Adds a photograph, or returns it where it has to be embedded first."""
        stored = self._known(product_id)
        place = place_of(content, stored)
        check_place(stored, index, adds=place is None)
        current = place is not None and stored.contents[place].model_version == self._space.model_version
        new: NewContent | SameContent
        if place is not None and current:
            # The file came along again, which mends a damaged one.
            new = SameContent(place, content.content if isinstance(content, Photograph) else None)
        elif isinstance(content, Embedding):
            new = NewContent(content, None)
        elif embedding is None:
            return content
        else:
            new = NewContent(embedding, content)
        others = [SameContent(each) for each in range(len(stored.photographs)) if each != place]
        last = len(others) if place is None else place
        at = last if index is None else index
        return self._replace(stored, [*others[:at], new, *others[at:]], at)

    def _remove(self, product_id: str, photograph: int | str) -> PhotographReport:
        stored = self._known(product_id)
        place = place_named(photograph, stored)
        kept = [SameContent(each) for each in range(len(stored.photographs)) if each != place]
        return self._replace(stored, kept, place)

    def _known(self, product_id: str) -> StoredProduct:
        """Returns a product; raises NotFound or DataLoss."""
        stored = self._catalogue.get(product_id)
        if stored is None:
            raise product_not_found(product_id)
        return stored

    def _replace(
        self, stored: StoredProduct, contents: Sequence[NewContent | SameContent], index: int
    ) -> PhotographReport:
        index_version, (outcome,) = self._write([upsert_of(stored.product, contents)])
        changed = outcome is not UpsertOutcome.UNCHANGED
        return PhotographReport(self._known(stored.product.id).product, index, changed, index_version)

    def _outdated(self, product_ids: Sequence[str]) -> list[tuple[StoredProduct, dict[int, Photograph]]]:
        outdated: list[tuple[StoredProduct, dict[int, Photograph]]] = []
        for product_id in product_ids:
            photographs: dict[int, Photograph] = {}
            try:
                stored = self._catalogue.get(product_id)
            except DataLoss as error:
                _log.error("product cannot be embedded again", product_id=product_id, why=error.message)
                continue
            for place, content in enumerate(stored.contents if stored is not None else ()):
                if not self.is_outdated(content):
                    continue
                try:
                    file = self._catalogue.photograph(product_id, place)
                except DataLoss as error:
                    _log.error("photograph cannot be embedded again", product_id=product_id, why=error.message)
                    continue
                if file is not None:
                    photographs[place] = Photograph(file.content, content.region)
            if stored is not None and photographs:
                outdated.append((stored, photographs))
        return outdated

    def _replace_content(self, embedded: Sequence[tuple[StoredProduct, Mapping[int, NewContent]]]) -> int:
        upserts: list[Upsert] = []
        for before, contents in embedded:
            now = self._catalogue.get(before.product.id)
            # A write that came in between is newer than this embedding.
            if now is not None and now.contents == before.contents:
                places = range(len(now.contents))
                upserts.append(upsert_of(now.product, [contents.get(place, SameContent(place)) for place in places]))
        self._write(upserts)
        return len(upserts)
