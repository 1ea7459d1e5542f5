"""Writing a data set into a catalogue: batches in flight, retries, and a report that names every row left out."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Protocol

from offline.dataset.rows import Dataset, DatasetReport, Row
from services.contract.errors import DeadlineExceeded, FashionError, Overloaded, Unavailable

# A row's attributes are at most about 2 KiB of text, its limits being 128 characters a label and 512 a name.
_ROW_OVERHEAD_BYTES = 8 << 10
_TEMPORARY = (Overloaded, Unavailable, DeadlineExceeded)


class Written(Enum):
    """What the catalogue did with a row."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class PhotographedRow:
    """A row and its encoded photograph."""

    row: Row
    photograph: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that did not become a product; `reason` is for programs, `message` for people."""

    id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What became of a batch.

    Attributes:
        rows: one result a row, in their order.
        index_version: of the catalogue after the write.
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
class IngestLimits:
    """How much is sent at once.

    Attributes:
        batch_rows: rows a call carries at most; the server takes 500.
        batch_bytes: bytes a call carries at most; the server takes messages of 32 MiB.
        in_flight: calls at the same time, so that the server never waits for the next rows.
        attempts: how often a batch is sent while the server is overloaded or away.
        first_delay_s: the pause before the second attempt; doubles with each.
        longest_delay_s: no pause is longer.
    """

    batch_rows: int = 64
    batch_bytes: int = 24 << 20
    in_flight: int = 3
    attempts: int = 8
    first_delay_s: float = 0.5
    longest_delay_s: float = 15.0


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did.

    Attributes:
        dataset: what was read, with each row that was repaired or dropped.
        rows_chosen: rows that were to be sent, after limits and exclusions.
        created: products that are new.
        updated: products that changed.
        unchanged: products that are as they were; nothing was embedded for them.
        failures: rows that were sent or were to be sent, and did not become products.
        seconds: the whole duration, reading included.
        index_version: of the catalogue after the last write; None where nothing was written.
        complete: whether every chosen row was dealt with.
    """

    dataset: DatasetReport
    rows_chosen: int
    created: int
    updated: int
    unchanged: int
    failures: tuple[Failure, ...]
    seconds: float
    index_version: int | None
    complete: bool

    @property
    def rows_done(self) -> int:
        """Rows that were dealt with, the failed ones included."""
        return self.created + self.updated + self.unchanged + len(self.failures)

    def to_json(self) -> str:
        """The whole report as JSON, keys as the attributes."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)


class Ingest:
    """One run over a data set. Its report can be asked for at any time, also after an interruption."""

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
            dataset: where rows and photographs come from; stays open until the run has ended.
            writer: where they go.
            rows: those to send; all of the data set where None.
            limits: how much is sent at once.
            on_progress: told the number of rows dealt with so far.
            on_retry: told why a batch is sent again, and after which pause.
            sleep: waits, in seconds.
            clock: the time, in seconds.
        """
        self._dataset = dataset
        self._writer = writer
        self._rows = tuple(dataset.rows if rows is None else rows)
        self._limits = limits or IngestLimits()
        self._on_progress = on_progress
        self._on_retry = on_retry
        self._sleep = sleep
        self._clock = clock
        self._counts = dict.fromkeys(Written, 0)
        self._failures: list[Failure] = []
        self._index_version: int | None = None
        self._seconds = 0.0
        self._complete = False
        self._reading = asyncio.Lock()

    async def run(self) -> IngestReport:
        """Sends all rows.

        Raises:
            FashionError: the catalogue refused a whole batch, or stayed away after all attempts; `report` says how
                far the run came.
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
        """What was done so far."""
        return IngestReport(
            dataset=self._dataset.report,
            rows_chosen=len(self._rows),
            created=self._counts[Written.CREATED],
            updated=self._counts[Written.UPDATED],
            unchanged=self._counts[Written.UNCHANGED],
            failures=tuple(self._failures),
            seconds=round(self._seconds, 2),
            index_version=self._index_version,
            complete=self._complete,
        )

    def _read(self) -> Iterator[PhotographedRow | Failure]:
        for row in self._rows:
            try:
                content = self._dataset.photograph(row.id)
            except FashionError as error:
                yield Failure(row.id, error.reason, error.message)
                continue
            if len(content) + _ROW_OVERHEAD_BYTES > self._limits.batch_bytes:
                message = f"the photograph has {len(content)} bytes: more than a message can carry"
                yield Failure(row.id, "IMAGE_TOO_LARGE", message)
                continue
            yield PhotographedRow(row, content)

    async def _work(self, batches: Iterator[Sequence[PhotographedRow | Failure]]) -> None:
        while True:
            async with self._reading:
                batch = await asyncio.to_thread(next, batches, None)
            if batch is None:
                return
            self._failures += [item for item in batch if isinstance(item, Failure)]
            rows = [item for item in batch if isinstance(item, PhotographedRow)]
            if rows:
                await self._write(rows)
            self._on_progress(self.report().rows_done)

    async def _write(self, rows: Sequence[PhotographedRow]) -> None:
        """Sends rows until each is settled, those alone again that the server had no time for."""
        for attempt in range(1, self._limits.attempts + 1):
            last = attempt == self._limits.attempts
            try:
                outcome = await self._writer.write(rows)
            except _TEMPORARY as error:
                if last:
                    raise
                await self._pause(attempt, error)
                continue
            self._index_version = max(self._index_version or 0, outcome.index_version)
            waiting: list[PhotographedRow] = []
            reason: FashionError | None = None
            for item, result in zip(rows, outcome.rows, strict=True):
                if isinstance(result, Written):
                    self._counts[result] += 1
                elif isinstance(result, _TEMPORARY) and not last:
                    waiting.append(item)
                    reason = result
                else:
                    self._failures.append(Failure(item.row.id, result.reason, result.message))
            if reason is None:
                return
            rows = waiting
            await self._pause(attempt, reason)

    async def _pause(self, attempt: int, error: FashionError) -> None:
        delay_s = min(self._limits.first_delay_s * 2 ** (attempt - 1), self._limits.longest_delay_s)
        # Spread, so that several calls turned away together do not come back together.
        delay_s *= random.uniform(0.75, 1.25)
        self._on_retry(error, delay_s)
        await self._sleep(delay_s)


def batched(
    items: Iterable[PhotographedRow | Failure], max_rows: int, max_bytes: int
) -> Iterator[tuple[PhotographedRow | Failure, ...]]:
    """Groups rows in their order so that each group fits into one call; lazily, one group at a time."""
    batch: list[PhotographedRow | Failure] = []
    size = 0
    for item in items:
        added = len(item.photograph) + _ROW_OVERHEAD_BYTES if isinstance(item, PhotographedRow) else 0
        if batch and (len(batch) == max_rows or size + added > max_bytes):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(item)
        size += added
    if batch:
        yield tuple(batch)
