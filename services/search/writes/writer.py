"""Writes the catalogue, one write after another: to disk, then into the index, then it is acknowledged."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Protocol

import structlog

from services.concurrency.workers import Workers
from services.contract.attributes import MAX_ATTRIBUTE_NAMES, OWN_PREFIX
from services.contract.embedding import checked_embedding
from services.contract.errors import DataLoss, FashionError, InvalidInput, Overloaded
from services.contract.protocols import EmbeddingSpace
from services.contract.values import Embedding, Photograph
from services.search.catalogue.products import Product, product_not_found, validate_product_id, with_fields, with_values
from services.search.catalogue.store import (
    Catalogue,
    NewContent,
    StoredProduct,
    Upsert,
    UpsertOutcome,
    photograph_missing,
    product_damaged,
)
from services.search.indexes.base import Index, IndexedProduct
from services.search.writes.photograph_embedder import WriteEmbedder

_log = structlog.stdlib.get_logger(__name__)

# A write starts over if another one changed its products while photographs were being embedded. A write that loses this
# many races has a rival that keeps writing the same products.
_MAX_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class UpsertRow:
    """A row to be written.

    Attributes:
        product_id: as sent.
        product: the attributes, or the error in them.
        content: a photograph, or an embedding as sent, unchecked; None keeps the stored one.
    """

    product_id: str
    product: Product | InvalidInput
    content: Photograph | Embedding | None


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
class Change:
    """A product before and after a write; None before it was created and after it was deleted.

    A write that changes neither what a product looks like nor its kind, such as one of its price, is none.
    """

    before: Product | None
    after: Product | None


class ChangeListener(Protocol):
    """Called in the writing thread after every write that changed something; it must be quick and thread-safe."""

    def __call__(self, changes: Sequence[Change]) -> None:
        """Takes note of the changes of one write."""
        ...


@dataclass(frozen=True, slots=True)
class WriteLimits:
    """The limits of writes.

    Attributes:
        batch_rows: maximum number of rows or ids per write.
        max_pending: maximum number of writes under way or waiting.
    """

    batch_rows: int
    max_pending: int


class CatalogueWriter:
    """The only writer of a catalogue and of its index."""

    def __init__(
        self,
        catalogue: Catalogue,
        index: Index,
        space: EmbeddingSpace,
        embedder: WriteEmbedder,
        *,
        limits: WriteLimits,
        on_change: ChangeListener = lambda changes: None,
    ) -> None:
        """Takes the parts; `load` fills the index.

        Args:
            catalogue: the truth.
            index: derived from the catalogue.
            space: the model that is served.
            embedder: for photographs.
            limits: of writes.
            on_change: called after each write that changed something.
        """
        self._catalogue = catalogue
        self._index = index
        self._space = space
        self._embedder = embedder
        self._limits = limits
        self._on_change = on_change
        # One thread, so that each write is done in one piece, even if its caller has gone meanwhile.
        self._lane = Workers("catalogue-writer", threads=1, max_pending=self._limits.max_pending)

    async def load(self) -> tuple[str, ...]:
        """Fills the index from the catalogue.

        Returns:
            The products of another model version that have a photograph, in no particular order: they can be embedded
            again.
        """
        return await self._lane.run(self._load)

    async def upsert_products(self, rows: Sequence[UpsertRow], fields: Collection[str] | None = None) -> UpsertReport:
        """Creates or replaces products; a bad row fails alone.

        Args:
            rows: of several rows with the same id, all but the first are refused.
            fields: the fields of `Product` that are replaced in a product that is known; None for all.

        Raises:
            InvalidInput: BATCH_EMPTY, BATCH_TOO_LARGE.
            Unavailable: EMBEDDER_UNAVAILABLE; no row was written.
            Overloaded: QUEUE_FULL, WRITE_CONFLICT; no row was written.
        """
        self._check_size(len(rows))
        planned = _checked(rows, self._space)
        embeddings: dict[int, Embedding | FashionError] = {}
        for _ in range(_MAX_ATTEMPTS):
            outcome = await self._lane.run(self._commit, planned, embeddings, fields)
            if isinstance(outcome, UpsertReport):
                return outcome
            embedded = await self._embedder.embed([photograph for _, photograph in outcome.missing])
            embeddings.update(zip((row for row, _ in outcome.missing), embedded, strict=True))
        raise Overloaded(
            "Other writes keep changing the same products; try again a little later.", reason="WRITE_CONFLICT"
        )

    async def update_products(self, rows: Sequence[UpdateRow]) -> UpsertReport:
        """Changes some fields of known products, and nothing of what they look like; a bad row fails alone.

        Args:
            rows: in the order in which they count.

        Raises:
            InvalidInput: BATCH_EMPTY, BATCH_TOO_LARGE.
            Overloaded: QUEUE_FULL; nothing was changed.
        """
        self._check_size(len(rows))
        return await self._lane.run(self._update, rows)

    async def delete_products(self, product_ids: Sequence[str]) -> DeleteReport:
        """Deletes products and their photographs; an id may be named twice.

        Raises:
            InvalidInput: BATCH_EMPTY, BATCH_TOO_LARGE.
            Overloaded: QUEUE_FULL; nothing was deleted.
        """
        self._check_size(len(product_ids))
        return await self._lane.run(self._delete, product_ids)

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
        results = await self._embedder.embed([photograph for _, photograph in outdated])
        embedded: list[tuple[StoredProduct, NewContent]] = []
        for (stored, photograph), result in zip(outdated, results, strict=True):
            if isinstance(result, FashionError):
                _log.warning(
                    "product cannot be embedded again",
                    product_id=stored.product.id,
                    reason=result.reason,
                    why=str(result),
                )
            else:
                embedded.append((stored, NewContent(result, photograph)))
        return await self._lane.run(self._replace_content, embedded) if embedded else 0

    def close(self) -> None:
        """Waits for the write under way, then ends the thread."""
        self._lane.close()

    def _check_size(self, size: int) -> None:
        if size == 0:
            raise InvalidInput("The batch is empty.", reason="BATCH_EMPTY")
        if size > self._limits.batch_rows:
            raise InvalidInput(
                f"The batch has {size} rows; at most {self._limits.batch_rows} are allowed.",
                reason="BATCH_TOO_LARGE",
                metadata={"max_rows": str(self._limits.batch_rows)},
            )

    # From here on the methods run in the lane.

    def _load(self) -> tuple[str, ...]:
        outdated: list[str] = []

        def batch(stored: Sequence[StoredProduct]) -> list[IndexedProduct]:
            for each in stored:
                content = each.content
                if content.model_version != self._space.model_version and content.photograph_sha256 is not None:
                    outdated.append(each.product.id)
            return [self._indexed(each) for each in stored]

        batches = (batch(stored) for stored in self._catalogue.by_derived_type())
        self._index.load(batches, self._catalogue.index_version)
        return tuple(outdated)

    def _commit(
        self,
        rows: Sequence["_Row"],
        embeddings: Mapping[int, Embedding | FashionError],
        fields: Collection[str] | None,
    ) -> "UpsertReport | _Missing":
        states = self._catalogue.states([row.product.id for row in rows if isinstance(row, _Planned)])
        results: list[UpsertOutcome | FashionError | None] = []
        upserts: list[Upsert] = []
        missing: list[tuple[int, Photograph]] = []
        names = self._index.attribute_names()
        for number, row in enumerate(rows):
            if not isinstance(row, _Planned):
                results.append(row)
                continue
            state = states.get(row.product.id)
            content: NewContent | None = None
            stored_again: bytes | None = None
            if row.content is None:
                if state is None:
                    results.append(photograph_missing(row.product.id))
                    continue
            elif isinstance(row.content, Embedding):
                content = NewContent(row.content, None)
            elif state is not None and state.is_of(row.content, self._space.model_version):
                stored_again = row.content.content
            else:
                embedding = embeddings.get(number)
                if embedding is None:
                    missing.append((number, row.content))
                    continue
                if isinstance(embedding, FashionError):
                    results.append(embedding)
                    continue
                content = NewContent(embedding, row.content)
            try:
                product = self._merged(row.product, fields)
                names = _with_names_of(product, names)
            except InvalidInput as error:
                results.append(error)
                continue
            results.append(None)
            upserts.append(Upsert(product, content, stored_again))
        if missing:
            return _Missing(tuple(missing))
        index_version, outcomes = self._write(upserts)
        done = iter(outcomes)
        return UpsertReport(tuple(next(done) if each is None else each for each in results), index_version)

    def _merged(self, sent: Product, fields: Collection[str] | None) -> Product:
        """Returns a product as sent, with those fields of the known one that are not replaced.

        Raises:
            InvalidInput: TOO_MANY_ATTRIBUTES.
        """
        known = None if fields is None else self._index.product(sent.id)
        return sent if fields is None or known is None else with_fields(known, sent, fields)

    def _update(self, rows: Sequence[UpdateRow]) -> UpsertReport:
        results: list[UpsertOutcome | FashionError] = []
        before: dict[str, Product] = {}
        after: dict[str, Product] = {}
        names = self._index.attribute_names()
        stored = self._index.products([row.product_id for row in rows])
        for row in rows:
            if isinstance(row.values, InvalidInput):
                results.append(row.values)
                continue
            known = after.get(row.product_id) or stored.get(row.product_id)
            if known is None:
                damaged = row.product_id in self._catalogue.damaged
                results.append(product_damaged(row.product_id) if damaged else product_not_found(row.product_id))
                continue
            try:
                product = with_values(known, row.values)
                if product.attributes is not known.attributes:
                    names = _with_names_of(product, names)
            except InvalidInput as error:
                results.append(error)
                continue
            before.setdefault(product.id, known)
            after[product.id] = product
            results.append(UpsertOutcome.UNCHANGED if product == known else UpsertOutcome.UPDATED)
        changes = [(before[product.id], product) for product in after.values() if product != before[product.id]]
        index_version = self._catalogue.update(changes)
        if changes:
            self._take_over(index_version, (), changes, ())
        return UpsertReport(tuple(results), index_version)

    def _delete(self, product_ids: Sequence[str]) -> DeleteReport:
        results: list[FashionError | None] = []
        wanted: set[str] = set()
        for product_id in product_ids:
            try:
                validate_product_id(product_id, "product_id")
            except InvalidInput as error:
                results.append(error)
                continue
            known = self._index.product(product_id) is not None or product_id in self._catalogue.damaged
            results.append(None if known else product_not_found(product_id))
            if known:
                wanted.add(product_id)
        index_version, _ = self._write((), wanted)
        return DeleteReport(tuple(results), index_version)

    def _outdated(self, product_ids: Sequence[str]) -> list[tuple[StoredProduct, Photograph]]:
        outdated: list[tuple[StoredProduct, Photograph]] = []
        for product_id in product_ids:
            try:
                stored = self._catalogue.get(product_id)
                if stored is None or stored.content.model_version == self._space.model_version:
                    continue
                photograph = self._catalogue.photograph(product_id)
            except DataLoss as error:
                _log.error("product cannot be embedded again", product_id=product_id, why=error.message)
                continue
            if photograph is not None:
                outdated.append((stored, Photograph(photograph.content, stored.content.region)))
        return outdated

    def _replace_content(self, embedded: Sequence[tuple[StoredProduct, NewContent]]) -> int:
        upserts: list[Upsert] = []
        for before, content in embedded:
            now = self._catalogue.get(before.product.id)
            # A write that came in between is newer than this embedding.
            if now is not None and now.content == before.content:
                upserts.append(Upsert(now.product, content))
        self._write(upserts)
        return len(upserts)

    def _write(
        self, upserts: Sequence[Upsert], deletes: set[str] | frozenset[str] = frozenset()
    ) -> tuple[int, Sequence[UpsertOutcome]]:
        result = self._catalogue.write(upserts, deletes)
        if result.changed or result.updated or result.deleted:
            updated = [(before, each) for each in result.updated if (before := self._index.product(each.id))]
            self._take_over(result.index_version, result.changed, updated, result.deleted)
        return result.index_version, result.outcomes

    def _take_over(
        self,
        index_version: int,
        changed: Sequence[StoredProduct],
        updated: Sequence[tuple[Product, Product]],
        deleted: Collection[str],
    ) -> None:
        """Brings the index up to a version of the catalogue, and tells who follows it."""
        product = self._index.product
        changes = [
            *(Change(product(each.product.id), each.product) for each in changed),
            *(Change(before, after) for before, after in updated if _kind(before) != _kind(after)),
            *(Change(product(product_id), None) for product_id in deleted),
        ]
        try:
            self._index.apply(
                [self._indexed(each) for each in changed], deleted, index_version, [after for _, after in updated]
            )
        except Exception:
            # The write is on disk, so it must be found: rather load the index again than leave it behind.
            _log.exception("index did not take over a write; it is loaded again", index_version=index_version)
            self._load()
        if changes:
            self._on_change(changes)

    def _indexed(self, stored: StoredProduct) -> IndexedProduct:
        current = stored.content.model_version == self._space.model_version
        return IndexedProduct(stored.product, stored.embedding if current else None)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A row that may be written; its embedding, if it has one, is checked."""

    product: Product
    content: Photograph | Embedding | None


@dataclass(frozen=True, slots=True)
class _Missing:
    """The rows whose photographs have to be embedded before anything is written."""

    missing: tuple[tuple[int, Photograph], ...]


_Row = _Planned | FashionError


def _checked(rows: Sequence[UpsertRow], space: EmbeddingSpace) -> tuple[_Row, ...]:
    first: dict[str, int] = {}
    checked: list[_Row] = []
    for number, row in enumerate(rows):
        before = first.setdefault(row.product_id, number)
        if isinstance(row.product, InvalidInput):
            checked.append(row.product)
        elif before != number:
            checked.append(_duplicate(row.product_id, before))
        elif isinstance(row.content, Embedding):
            try:
                embedding = checked_embedding(row.content.values, row.content.model_version, expected=space)
            except FashionError as error:
                checked.append(error)
            else:
                checked.append(_Planned(row.product, embedding))
        else:
            checked.append(_Planned(row.product, row.content))
    return tuple(checked)


def _with_names_of(product: Product, names: frozenset[str]) -> frozenset[str]:
    """Returns the names of the catalogue's own attributes, with those of a product.

    Raises:
        InvalidInput: TOO_MANY_ATTRIBUTES: the product brings a name too many.
    """
    new = product.attributes.keys() - names
    if len(names) + len(new) <= MAX_ATTRIBUTE_NAMES or not new:
        return names | new
    raise InvalidInput(
        f'The catalogue has {len(names)} names of own attributes, and at most {MAX_ATTRIBUTE_NAMES} fit; "{min(new)}" '
        "would be one more. Send the values under fewer names.",
        reason="TOO_MANY_ATTRIBUTES",
        metadata={"field": f"{OWN_PREFIX}{min(new)}", "max_names": str(MAX_ATTRIBUTE_NAMES)},
    )


# What of a product candidates and the measure of doubt go by, besides what it looks like.
_kind: Final = attrgetter("gender", "article_type", "sub_category", "parent_id")


def _duplicate(product_id: str, first: int) -> InvalidInput:
    return InvalidInput(
        f'The batch has the id "{product_id}" in row {first} already; only that row was taken.',
        reason="PRODUCT_ID_DUPLICATE",
        metadata={"field": "id", "first_row": str(first)},
    )
