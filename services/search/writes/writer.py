"""Writes the catalogue, one write after another: to disk, then into the index, then it is acknowledged."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import structlog

from services.concurrency.workers import Workers
from services.contract.attributes import MAX_ATTRIBUTE_NAMES, OWN_PREFIX
from services.contract.errors import FashionError, InvalidInput, Overloaded
from services.contract.values import Photograph
from services.search.catalogue.content import (
    StoredProduct,
    Upsert,
    UpsertOutcome,
    photograph_missing,
    product_damaged,
    upsert_of,
)
from services.search.catalogue.generations import Embeddings
from services.search.catalogue.products import Product, product_not_found, validate_product_id, with_fields, with_values
from services.search.catalogue.store import Catalogue
from services.search.indexes.base import Index, IndexedProduct
from services.search.writes.beside import BesideWriter
from services.search.writes.contents import ToEmbed, resolved
from services.search.writes.generation import (
    Change,
    EmbeddedPhotographs,
    Generation,
    WrittenGenerations,
    kind_of,
)
from services.search.writes.photographs import PhotographWriter
from services.search.writes.rows import DeleteReport, Planned, UpdateRow, UpsertReport, UpsertRow, checked_rows

_log = structlog.stdlib.get_logger(__name__)

# A write starts over if another one changed its products while photographs were being embedded. A write that loses this
# many races has a rival that keeps writing the same products.
_MAX_ATTEMPTS = 8


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
    """The only writer of a catalogue and of its indexes.

    Attributes:
        generations: what is written to.
        beside: keeps the next or the previous generation up to date.
        photographs: writes the photographs of products that are known.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        live: Generation,
        *,
        limits: WriteLimits,
        restore: Callable[[WrittenGenerations], bool] = lambda _: False,
    ) -> None:
        """Takes the parts; `load` fills the index.

        Args:
            catalogue: the truth.
            live: the generation that is answered from.
            limits: of writes.
            restore: fills the live index from a snapshot; returns whether it did.
        """
        self._catalogue = catalogue
        self.generations = WrittenGenerations(live)
        self._limits = limits
        self._restore = restore
        # One thread, so that each write is done in one piece, even if its caller has gone meanwhile.
        self._lane = Workers("catalogue-writer", threads=1, max_pending=self._limits.max_pending)
        self.beside = BesideWriter(catalogue, self.generations, self._lane, self._take_over)
        self.photographs = PhotographWriter(catalogue, self.generations, self._lane, self._write, self._take_over)

    async def load(self) -> tuple[str, ...]:
        """Fills the index from a snapshot, or else from the catalogue.

        Returns:
            The products of another model version that have a photograph, in no particular order: they can be embedded
            again.
        """
        return await self._lane.run(self._begin)

    async def upsert_products(self, rows: Sequence[UpsertRow], fields: Collection[str] | None = None) -> UpsertReport:
        """Creates or replaces products; a bad row fails alone.

        Args:
            rows: of several rows with the same id, all but the first are refused.
            fields: the fields of `Product` that are replaced in a product that is known; None for all.

        Raises:
            InvalidInput: BATCH_EMPTY, BATCH_TOO_LARGE.
            Unavailable: EMBEDDER_UNAVAILABLE; no row was written.
            ModelMismatch: MODEL_VERSION_MISMATCH; the embedder serves another model. No row was written.
            Overloaded: QUEUE_FULL, WRITE_CONFLICT; no row was written.
        """
        self._check_size(len(rows))
        planned = checked_rows(rows, self.generations.live.space)
        embedded = EmbeddedPhotographs(self.generations)
        for _ in range(_MAX_ATTEMPTS):
            outcome = await self._lane.run(self._commit, planned, embedded, fields)
            if isinstance(outcome, UpsertReport):
                return outcome
            await embedded.embed(outcome.photographs)
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

    def _begin(self) -> tuple[str, ...]:
        live = self.generations.live
        if self._restore(self.generations):
            live.lacking.update(self._catalogue.generations.missing(live.model_version, limit=-1))
        else:
            self._load()
        return tuple(live.lacking)

    def _load(self) -> None:
        live = self.generations.live
        live.forget_all()

        def batch(stored: Sequence[StoredProduct]) -> list[IndexedProduct]:
            return live.rows([each.product.id for each in stored], stored)

        batches = (batch(stored) for stored in self._catalogue.by_derived_type())
        live.index.load(batches, self._catalogue.index_version)

    def _commit(
        self,
        rows: Sequence[Planned | FashionError],
        embedded: EmbeddedPhotographs,
        fields: Collection[str] | None,
    ) -> UpsertReport | ToEmbed:
        known = self._catalogue.some([row.product.id for row in rows if isinstance(row, Planned)])
        results: list[UpsertOutcome | FashionError | None] = []
        upserts: list[Upsert] = []
        # Variants of a product often come with the same photographs.
        missing: dict[Photograph, None] = {}
        model_version = self.generations.live.model_version
        embeddings = embedded.of(model_version)
        names = self._index.attribute_names()
        for row in rows:
            if not isinstance(row, Planned):
                results.append(row)
                continue
            before = known.get(row.product.id)
            stored = () if before is None else before.photographs
            if not row.contents and not stored:
                results.append(photograph_missing(row.product.id))
                continue
            contents = resolved(row, stored, embeddings, model_version)
            if isinstance(contents, ToEmbed):
                missing.update(dict.fromkeys(contents.photographs))
                continue
            if isinstance(contents, FashionError):
                results.append(contents)
                continue
            try:
                product = self._merged(row.product, fields)
                names = _with_names_of(product, names)
            except InvalidInput as error:
                results.append(error)
                continue
            results.append(None)
            upserts.append(upsert_of(product, contents))
        if missing:
            return ToEmbed((*missing,))
        index_version, outcomes = self._write(upserts, beside=embedded.beside())
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

    @property
    def _index(self) -> Index:
        return self.generations.live.index

    def _write(
        self,
        upserts: Sequence[Upsert],
        deletes: set[str] | frozenset[str] = frozenset(),
        beside: Mapping[str, Embeddings] = MappingProxyType({}),
    ) -> tuple[int, Sequence[UpsertOutcome]]:
        result = self._catalogue.write(upserts, deletes, beside)
        for generation in (self.generations.live, self.generations.other):
            if generation is not None:
                # A photograph that was damaged may have been sent again, which alone changes nothing of the product.
                generation.try_again(upsert.product.id for upsert in upserts)
        if result.changed or result.updated or result.deleted:
            updated = [(before, each) for each in result.updated if (before := self._index.product(each.id))]
            self._take_over(result.index_version, result.changed, updated, result.deleted)
        return result.index_version, result.outcomes

    def _take_over(
        self,
        index_version: int,
        changed: Sequence[StoredProduct],
        updated: Sequence[tuple[Product, Product]] = (),
        deleted: Collection[str] = (),
    ) -> None:
        """Brings the indexes up to a version of the catalogue, and tells who follows them."""
        live = self.generations.live
        product = live.index.product
        changes = [
            *(Change(product(each.product.id), each.product) for each in changed),
            *(Change(before, after) for before, after in updated if kind_of(before) != kind_of(after)),
            *(Change(product(product_id), None) for product_id in deleted),
        ]
        try:
            live.forget(deleted)
            rows = live.rows([each.product.id for each in changed], changed)
            live.index.apply(rows, deleted, index_version, [after for _, after in updated])
        except Exception:
            # The write is on disk, so it must be found: rather load the index again than leave it behind.
            _log.exception("index did not take over a write; it is loaded again", index_version=index_version)
            self._load()
        if changes:
            live.on_change(changes)
        self.beside.take_over(
            index_version, [each.product.id for each in changed], [after for _, after in updated], deleted, changes
        )


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
