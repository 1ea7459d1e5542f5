"""Keeps a snapshot of the index between starts: fills the index from it, and writes it anew in the background."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from services.concurrency import memory
from services.search.catalogue.database import UNREADABLE
from services.search.catalogue.products import Product
from services.search.catalogue.store import Catalogue
from services.search.catalogue.write_log import changed_since, mark_of
from services.search.indexes.base import Index, IndexedProduct
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.parts import Part, SnapshotInterrupted
from services.search.indexes.snapshot_file import Snapshot, SnapshotFile, SnapshotUnusable
from services.search.writes.generation import Change, Generation, WrittenGenerations, kind_of

# At an orderly stop, fewer changes are worth a snapshot than while products are served.
_SHARE_AT_STOP: Final = 0.2
# No stop waits longer than about this for a snapshot, in seconds; the next start reads more again.
_MAX_STOP_S: Final = 5.0
# Writing takes at most this share of the time.
_MAX_SHARE_OF_TIME: Final = 0.05
# The first look whether a snapshot is due, after the start; and the pause after each block, for queries beside it.
_FIRST_S: Final = 2.0
_BLOCK_PAUSE_S: Final = 0.01
# The pause after some rows that are checked: a catalogue of 40,000 products takes half a minute.
_CHECK_PAUSE_S: Final = 0.05
# Products that are read again at once.
_REPLAYED: Final = 500
# Where more than this share of the products have changed, and so many, all are read from the catalogue.
_MAX_REPLAYED_SHARE: Final = 0.5
_FEW_REPLAYED: Final = 500

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    """When a snapshot is written.

    Attributes:
        min_changes: never for fewer changed products. Smaller catalogues are read as fast without a snapshot.
        changed_share: once this share of the products has changed.
        pause_s: minimum time between two snapshots, in seconds. It is longer if writing them would take more than 5 %
            of the time.
    """

    min_changes: int
    changed_share: float
    pause_s: float


@dataclass(frozen=True, slots=True)
class Restored:
    """What a start from a snapshot has read again.

    Attributes:
        index_version: of the snapshot.
        written: the products that were written since, as they were in the snapshot and as they are now.
        alike: ids of those of them that look as they did, and are of the same kind.
    """

    index_version: int
    written: Sequence[Change]
    alike: frozenset[str]

    def since(self, index_version: int) -> Sequence[Change]:
        """Returns what may have changed since a version of the catalogue, the snapshot's or a later one."""
        # What looked as in the snapshot may have looked otherwise at the later version.
        alike = self.alike if index_version == self.index_version else frozenset()
        return [each for each in self.written if each.after is None or each.after.id not in alike]


class SnapshotKeeper:
    """Keeps a snapshot of the live index, which with the log of writes gives the index of the present state."""

    def __init__(
        self,
        catalogue: Catalogue,
        directory: Path,
        settings: SnapshotSettings,
        on_written: Callable[[int], object] = lambda index_version: None,
    ) -> None:
        """Takes the catalogue, its data directory, and what is called with the version of each snapshot."""
        self.restored: Restored | None = None
        self._on_written = on_written
        self._catalogue = catalogue
        self._directory = directory
        self._settings = settings
        self._generations: WrittenGenerations | None = None
        # The model of the snapshot that is there, and how long it took to write.
        self._written: str | None = None
        self._seconds = 0.0
        self._writing = threading.Lock()
        self._interrupted = threading.Event()

    @property
    def _index(self) -> FaissIndex:
        """The index of the live generation, of which alone there is a snapshot."""
        assert self._generations is not None
        index = self._generations.live.index
        assert isinstance(index, FaissIndex)
        return index

    @property
    def _file(self) -> SnapshotFile:
        assert self._generations is not None
        # Taken once, since a switch may come between.
        live = self._generations.live
        assert isinstance(live.index, FaissIndex)
        return SnapshotFile(self._directory, live.model_version, live.index)

    def restore(self, generations: WrittenGenerations) -> bool:
        """Fills the live index from the snapshot, and with what has changed since; no write may run meanwhile.

        Args:
            generations: whose live one is kept from now on.

        Returns:
            Whether it did; a snapshot that cannot be used is removed, with a warning.
        """
        began = time.monotonic()
        self._generations = generations
        file = self._file
        file.tidy()
        try:
            with file.open() as snapshot:
                if snapshot is None:
                    return False
                changed = self._changed_since(snapshot)
                held: dict[str, int] = {}
                self._index.restore(snapshot.reduction, _noted(snapshot.parts, held), snapshot.index_version)
                self._catalogue.left_out(snapshot.damaged - changed)
            generations.live.forget_all()
            behind = self._behind(generations.live, held)
            restored = self._read_again(generations.live, sorted(changed | behind), snapshot.index_version)
            self._check_count()
        except (SnapshotUnusable, *UNREADABLE) as error:
            _log.warning("snapshot of the index is not used; the index is built from the catalogue", why=str(error))
            file.discard()
            return False
        except Exception:
            # A fault of this program must not keep the shop closed.
            _log.exception("snapshot of the index is not used; the index is built from the catalogue")
            file.discard()
            return False
        self._catalogue.forget_writes(snapshot.index_version)
        self._written = generations.live.model_version
        self.restored = restored
        _log.info(
            "snapshot of the index used",
            index_version=snapshot.index_version,
            read_again=len(changed | behind),
            seconds=round(time.monotonic() - began, 2),
        )
        return True

    def _changed_since(self, snapshot: Snapshot) -> frozenset[str]:
        with self._catalogue.reading() as read:
            changed = changed_since(read, snapshot.index_version, snapshot.mark)
        if changed is None:
            raise SnapshotUnusable(f"it is of version {snapshot.index_version}, which this catalogue does not know")
        if len(changed) > max(_FEW_REPLAYED, _MAX_REPLAYED_SHARE * len(self._catalogue)):
            raise SnapshotUnusable(f"{len(changed)} products have changed since")
        return changed

    def _behind(self, live: Generation, held: Mapping[str, int]) -> frozenset[str]:
        """Returns the products of which the catalogue has more embeddings than the index, and notes what others lack.

        Former versions stored embeddings without a line in the log of writes.

        Args:
            live: the generation of the index.
            held: how many embeddings the index has of products that have more photographs.
        """
        behind: set[str] = set()
        ids = iter(sorted(held))
        while some := [*itertools.islice(ids, _REPLAYED)]:
            stored = [each for each in self._catalogue.some(some).values() if each is not None]
            for row in live.rows(some, stored):
                if sum(each is not None for each in (row.embedding, *row.further)) > held[row.product.id]:
                    behind.add(row.product.id)
        return frozenset(behind)

    def _read_again(self, live: Generation, product_ids: Iterable[str], index_version: int) -> Restored:
        """Gives the index what the catalogue now has of some products; returns how they have changed."""
        written: list[Change] = []
        alike: set[str] = set()
        now = self._catalogue.index_version
        ids = iter(product_ids)
        while some := [*itertools.islice(ids, _REPLAYED)]:
            products = self._catalogue.some(some)
            upserts = live.rows(some, [each for each in products.values() if each is not None])
            sound = {each.product.id: each.product for each in upserts}
            before = live.index.products(some)
            written += [Change(before.get(each), sound.get(each)) for each in some]
            alike |= {each.product.id for each in upserts if _is_alike(live.index, before.get(each.product.id), each)}
            live.index.apply(upserts, [each for each in some if each not in sound], now)
        return Restored(index_version, written, frozenset(alike))

    def _check_count(self) -> None:
        """Holds the number of products to the catalogue's.

        Raises:
            SnapshotUnusable: they differ.
        """
        left_out = self._catalogue.damaged - self._index.products(self._catalogue.damaged).keys()
        count, wanted = self._index.facts().product_count + len(left_out), len(self._catalogue)
        if count != wanted:
            raise SnapshotUnusable(f"it leads to {count} products instead of {wanted}")

    async def run(self) -> None:
        """Writes a snapshot whenever one is due, until it is cancelled; checks the catalogue after a start from one."""
        if self._written:
            await asyncio.to_thread(self._check)
        pause_s = min(_FIRST_S, self._settings.pause_s)
        while True:
            await asyncio.sleep(pause_s)
            began = time.monotonic()
            # In a thread, because it waits for a write to the index.
            if await asyncio.to_thread(self.due):
                await asyncio.to_thread(self._keep, _BLOCK_PAUSE_S)
            pause_s = max(self._settings.pause_s, (time.monotonic() - began) / _MAX_SHARE_OF_TIME)

    def due(self, share: float = 1.0) -> bool:
        """Returns whether enough has changed; with a share, whether that much of it has."""
        products = self._index.facts().product_count
        written = self._generations is not None and self._generations.live.model_version == self._written
        changes = self._catalogue.logged if written else products
        return changes >= max(share * self._settings.changed_share * products, self._settings.min_changes)

    def stop(self) -> None:
        """Writes the last snapshot, if it is worth it and does not take long; interrupts what runs in the background.

        To be called once no write is under way.
        """
        self._interrupted.set()
        with self._writing:
            self._interrupted.clear()
        if self._seconds <= _MAX_STOP_S and self.due(_SHARE_AT_STOP):
            self._keep(0.0)

    def _check(self) -> None:
        with self._writing:
            self._catalogue.check(lambda: self._interrupted.wait(_CHECK_PAUSE_S))

    def _keep(self, pause_s: float) -> None:
        def pause() -> None:
            if self._interrupted.wait(pause_s):
                raise SnapshotInterrupted

        def mark(index_version: int) -> str | None:
            with self._catalogue.reading() as read:
                return mark_of(read, index_version)

        began = time.monotonic()
        with self._writing:
            file = self._file
            index_version = file.write(mark, self._catalogue.damaged, pause)
        if index_version is not None:
            self._seconds = time.monotonic() - began
            self._catalogue.forget_writes(index_version)
            self._written = file.model_version
            self._on_written(index_version)
            # Of the copies of its blocks.
            memory.give_back()


def _noted(parts: Iterable[Part], held: dict[str, int]) -> Iterator[Part]:
    """Passes parts on, and notes of each product with fewer embeddings than photographs how many it has."""
    for part in parts:
        counts = part.searchable.astype(np.int64)
        if part.further is not None:
            counts += np.bincount(part.further.places, minlength=len(counts))
        for product, count in zip(part.products, counts.tolist(), strict=True):
            if count < product.photograph_count:
                held[product.id] = count
        yield part


def _is_alike(index: Index, before: Product | None, after: IndexedProduct) -> bool:
    """Tells whether a product of an index looks as it did, and is of the same kind."""
    if before is None or kind_of(before) != kind_of(after.product):
        return False
    embedding = index.embedding(before.id)
    if embedding is None or after.embedding is None:
        return embedding is after.embedding
    return np.array_equal(embedding, after.embedding)
