"""The ingest of a data set into a catalogue: batches in flight, retries, a report that names every row left out."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from offline.dataset.report import DatasetReport
from offline.dataset.row import Row
from offline.dataset.rows import Dataset
from offline.report.document import document_parts
from offline.spool import Spool, form_of
from services.contract.errors import DeadlineExceeded, FashionError, Overloaded, Unavailable, Upstream

# Room for the attributes of a row: at most about 2 KiB, 128 characters per label and 512 per name.
_ROW_OVERHEAD_BYTES = 8 << 10
_TEMPORARY = (Overloaded, Unavailable, DeadlineExceeded)


class Written(Enum):
    """The effect of a row on the catalogue."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class FurtherPhotograph:
    """A photograph after the first: its file or URL, and what it holds."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class PhotographedRow:
    """A row and its encoded photographs.

    Attributes:
        row: the attributes.
        photograph: the first one.
        further: those after it, in their order.
        has_all: whether these are all that the source has; those that the catalogue has beyond them go.
    """

    row: Row
    photograph: bytes
    further: tuple[FurtherPhotograph, ...] = ()
    has_all: bool = True

    @property
    def size(self) -> int:
        """Its bytes in a call."""
        return len(self.photograph) + sum(len(each.content) for each in self.further) + _ROW_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that did not become a product, or a product that was not deleted.

    Attributes:
        id: the product.
        reason: why, for programs.
        message: why, for people.
        line: its place in the source; 0 for none.
    """

    id: str
    reason: str
    message: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class LeftOutPhotograph:
    """A further photograph that did not come in, while its product did; `name` is its file or URL."""

    id: str
    name: str
    reason: str
    message: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """The outcome of a batch.

    Attributes:
        rows: one result per row, in their order. An error about one of several photographs has its index
            in its metadata, as `photograph_index`.
        index_version: the version of the index after the write.
    """

    rows: tuple[Written | FashionError, ...]
    index_version: int


class Writer(Protocol):
    """Writes rows into a catalogue, such as the search service."""

    async def write(self, rows: Sequence[PhotographedRow]) -> BatchOutcome:
        """Creates or replaces products.

        Raises:
            FashionError: no row was written.
        """
        ...


@dataclass(frozen=True, slots=True)
class _PendingRow:
    """A row without an outcome, and those of its photographs that the server has refused so far."""

    item: PhotographedRow
    refused: tuple[LeftOutPhotograph, ...] = ()


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """How much an ingest sends at once, and how often.

    Attributes:
        batch_rows: rows per call at most, and photographs, unless one row has more; the server takes 500.
        batch_bytes: bytes per call at most; the server takes messages of 32 MiB.
        in_flight: calls at once, so that the server never waits for rows.
        attempts: attempts per batch while the server is overloaded or unavailable.
        first_delay_s: the pause before the second attempt; it doubles with each attempt.
        max_delay_s: the longest pause.
    """

    batch_rows: int = 64
    batch_bytes: int = 24 << 20
    in_flight: int = 3
    attempts: int = 8
    first_delay_s: float = 0.5
    max_delay_s: float = 15.0


@dataclass(frozen=True, slots=True)
class IngestReport:
    """The outcome of an ingest.

    Attributes:
        dataset: the report on the data set, with each row that was repaired or dropped.
        rows_chosen: rows to send, after limits and exclusions.
        created: products that are new.
        updated: products that changed.
        unchanged: products that were the same already; the server embedded nothing for them.
        failures: chosen rows that did not become products.
        seconds: the whole duration, with reading.
        index_version: the version of the index after the last write; None without a write.
        complete: whether every chosen row has an outcome.
        deleted: ids of products that left the feed, where the catalogue was brought to it.
        not_deleted: products that left the feed, and that the server did not delete.
        photographs: how many photographs were downloaded, unchanged and failed; empty where none has a URL.
        further_photographs: how many came in beside the first ones of products, new or known.
        photographs_left_out: further photographs that did not come in, while their products did.
    """

    dataset: DatasetReport
    rows_chosen: int
    created: int
    updated: int
    unchanged: int
    failures: Sequence[Failure]
    seconds: float
    index_version: int | None
    complete: bool
    deleted: Sequence[str] = ()
    not_deleted: Sequence[Failure] = ()
    photographs: Mapping[str, int] = field(default_factory=dict)
    further_photographs: int = 0
    photographs_left_out: Sequence[LeftOutPhotograph] = ()

    @property
    def rows_done(self) -> int:
        """Rows that have an outcome, with the failed ones."""
        return self.created + self.updated + self.unchanged + len(self.failures)

    def to_json(self) -> str:
        """Returns the report as JSON, with the attributes as keys."""
        return "".join(document_parts(self))


class Ingest:
    """One run over a data set; `report` works at any time, also after an interruption."""

    def __init__(
        self,
        dataset: Dataset,
        writer: Writer,
        *,
        rows: Sequence[Row] | None = None,
        limits: IngestLimits | None = None,
        on_progress: Callable[[int], None] = lambda done: None,
        on_retry: Callable[[FashionError, float], None] = lambda error, delay_s: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares a run.

        Args:
            dataset: the rows and photographs; it has to stay open until the run ends.
            writer: writes them into the catalogue.
            rows: the rows to send; None for all.
            limits: how much to send at once.
            on_progress: takes the number of rows with an outcome so far.
            on_retry: takes the reason for a retry and the pause before it, in seconds.
            sleep: waits, in seconds.
            clock: returns the time, in seconds.
        """
        self._dataset = dataset
        self._writer = writer
        self._rows = dataset.rows if rows is None else rows
        self._limits = limits or IngestLimits()
        self._on_progress = on_progress
        self._on_retry = on_retry
        self._sleep = sleep
        self._clock = clock
        self._counts = dict.fromkeys(Written, 0)
        self._failures = Spool(form=form_of(Failure))
        self._left_out = Spool(form=form_of(LeftOutPhotograph))
        self._further = 0
        self._index_version: int | None = None
        self._seconds = 0.0
        self._complete = False
        self._reading = asyncio.Lock()

    async def run(self) -> IngestReport:
        """Sends all rows.

        Raises:
            FashionError: the catalogue refused a whole batch, or stayed unavailable through all attempts; `report`
                says how far the run came.
        """
        started = self._clock()
        batches = batched(self._read(), self._limits.batch_rows, self._limits.batch_bytes)
        workers = [asyncio.ensure_future(self._work(batches)) for _ in range(self._limits.in_flight)]
        try:
            await asyncio.gather(*workers)
            self._complete = True
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            self._seconds = self._clock() - started
        return self.report()

    def report(self) -> IngestReport:
        """Returns the report on what happened so far."""
        return IngestReport(
            dataset=self._dataset.report,
            rows_chosen=len(self._rows),
            created=self._counts[Written.CREATED],
            updated=self._counts[Written.UPDATED],
            unchanged=self._counts[Written.UNCHANGED],
            failures=self._failures,
            seconds=round(self._seconds, 2),
            index_version=self._index_version,
            complete=self._complete,
            further_photographs=self._further,
            photographs_left_out=self._left_out,
        )

    def _read(self) -> Iterator[PhotographedRow | Failure]:
        for row in self._rows:
            try:
                content = self._dataset.photograph(row.id)
            except FashionError as error:
                yield self._failure(row, error.reason, error.message)
                continue
            except Exception as error:
                # No photograph ends the run of the others, whatever is odd about it.
                message = f"The photograph cannot be read: {type(error).__name__}: {error}."
                yield self._failure(row, "DATASET_FILE_UNREADABLE", message)
                continue
            if len(content) + _ROW_OVERHEAD_BYTES > self._limits.batch_bytes:
                message = f"The photograph has {len(content):,} bytes, more than a message can carry."
                yield self._failure(row, "IMAGE_TOO_LARGE", message)
                continue
            yield self._with_further(PhotographedRow(row, content, has_all=self._dataset.has_further))

    def _with_further(self, item: PhotographedRow) -> PhotographedRow:
        """Reads the further photographs of a row; none of them keeps the product out."""
        has_all = item.has_all
        known = {item.photograph}
        for name in self._dataset.further_names(item.row.id):
            try:
                content = self._dataset.read(name)
            except (Upstream, *_TEMPORARY) as error:
                # It may be there tomorrow: what the catalogue has of it stays.
                has_all = False
                self._leave_out(item.row, name, error.reason, error.message)
                continue
            except FashionError as error:
                self._leave_out(item.row, name, error.reason, error.message)
                continue
            except Exception as error:
                message = f"The photograph cannot be read: {type(error).__name__}: {error}."
                self._leave_out(item.row, name, "DATASET_FILE_UNREADABLE", message)
                continue
            if content in known:
                continue
            known.add(content)
            more = replace(item, further=(*item.further, FurtherPhotograph(name, content)))
            if more.size > self._limits.batch_bytes:
                message = f"With its {len(content):,} bytes the product has more than a message can carry."
                self._leave_out(item.row, name, "IMAGE_TOO_LARGE", message)
                continue
            item = more
        return replace(item, has_all=has_all)

    def _leave_out(self, row: Row, name: str, reason: str, message: str) -> None:
        self._left_out.append(self._left_out_photograph(row, name, reason, message))

    def _left_out_photograph(self, row: Row, name: str, reason: str, message: str) -> LeftOutPhotograph:
        return LeftOutPhotograph(row.id, name, reason, message, self._dataset.line_of(row.id))

    def _failure(self, row: Row, reason: str, message: str) -> Failure:
        return Failure(row.id, reason, message, self._dataset.line_of(row.id))

    async def _work(self, batches: Iterator[Sequence[PhotographedRow | Failure]]) -> None:
        while True:
            async with self._reading:
                batch = await asyncio.to_thread(next, batches, None)
            if batch is None:
                return
            rows = []
            for item in batch:
                if isinstance(item, Failure):
                    self._failures.append(item)
                else:
                    rows.append(item)
            if rows:
                await self._write(rows)
            self._on_progress(self.report().rows_done)

    async def _write(self, rows: Sequence[PhotographedRow]) -> None:
        """Sends rows until each has an outcome; repeats only those that have none yet.

        What failed for the moment is sent again after a pause. A row that is refused for a further photograph is sent
        again without it.
        """
        pending = [_PendingRow(item) for item in rows]
        attempt = 1
        while pending:
            last = attempt == self._limits.attempts
            reason: FashionError | None = None
            try:
                outcome = await self._writer.write([each.item for each in pending])
            except _TEMPORARY as error:
                if last:
                    raise
                reason = error
            else:
                self._index_version = max(self._index_version or 0, outcome.index_version)
                sent, pending = pending, []
                for each, result in zip(sent, outcome.rows, strict=True):
                    if isinstance(result, Written):
                        self._counts[result] += 1
                        self._further += len(each.item.further)
                        for photograph in each.refused:
                            self._left_out.append(photograph)
                    elif isinstance(result, _TEMPORARY) and not last:
                        pending.append(each)
                        reason = result
                    elif (without := self._without(each, result)) is not None:
                        pending.append(without)
                    else:
                        self._failures.append(self._failure(each.item.row, result.reason, result.message))
            if reason is not None:
                await self._pause(attempt, reason)
                attempt += 1

    def _without(self, pending: _PendingRow, error: FashionError) -> _PendingRow | None:
        """Returns a row without the further photograph that an error is about; None where it is about another thing."""
        item = pending.item
        index = int(error.metadata.get("photograph_index", 0)) - 1
        if isinstance(error, _TEMPORARY) or not 0 <= index < len(item.further):
            return None
        refused = self._left_out_photograph(item.row, item.further[index].name, error.reason, error.message)
        rest = replace(item, further=item.further[:index] + item.further[index + 1 :])
        return _PendingRow(rest, (*pending.refused, refused))

    async def _pause(self, attempt: int, error: FashionError) -> None:
        delay_s = min(self._limits.first_delay_s * 2 ** (attempt - 1), self._limits.max_delay_s)
        # Spread, so that calls that were refused together do not return together.
        delay_s *= random.uniform(0.75, 1.25)
        self._on_retry(error, delay_s)
        await self._sleep(delay_s)


def batched(
    items: Iterable[PhotographedRow | Failure], max_rows: int, max_bytes: int
) -> Iterator[tuple[PhotographedRow | Failure, ...]]:
    """Groups rows in their order so that each group fits into one call; lazily, group by group."""
    batch: list[PhotographedRow | Failure] = []
    size = photographs = 0
    for item in items:
        added, more = (item.size, 1 + len(item.further)) if isinstance(item, PhotographedRow) else (0, 1)
        if batch and (photographs + more > max_rows or size + added > max_bytes):
            yield tuple(batch)
            batch, size, photographs = [], 0, 0
        batch.append(item)
        size += added
        photographs += more
    if batch:
        yield tuple(batch)
