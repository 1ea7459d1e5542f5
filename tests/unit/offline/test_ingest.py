"""Ingest: batches, retries, interruption, and a report that leaves nothing out."""

import asyncio
import csv
import io
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from offline.dataset.row import COLUMNS
from offline.dataset.rows import Dataset, open_dataset
from offline.ingest import (
    BatchOutcome,
    Failure,
    Ingest,
    IngestLimits,
    PhotographedRow,
    Written,
    batched,
)
from services.contract.errors import DeadlineExceeded, FashionError, InvalidInput, NotFound, Overloaded, Upstream


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten good rows, one without a type, one without a photograph."""
    (tmp_path / "images").mkdir()
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    for number in range(10):
        writer.writerow(
            (number, "Men", "Apparel", "Topwear", "Tshirts", "Blue", "Summer", 2016, "Casual", f"n {number}")
        )
        (tmp_path / "images" / f"{number}.jpg").write_bytes(bytes([number]) * 1000)
    writer.writerow((90, "Men", "Apparel", "Topwear", "", "Blue", "Summer", 2016, "Casual", "x"))
    writer.writerow((91, "Men", "Apparel", "Topwear", "Tshirts", "Blue", "Summer", 2016, "Casual", "x"))
    (tmp_path / "styles.csv").write_text(table.getvalue(), encoding="utf-8")
    return tmp_path


class Catalogue:
    """A catalogue in memory that knows what is new and changed, and fails on demand."""

    def __init__(self, answer: Callable[[int, str], FashionError | None] = lambda call, product_id: None) -> None:
        self.known: dict[str, PhotographedRow] = {}
        self.calls: list[list[str]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.whole_batch_errors: list[FashionError] = []
        self._answer = answer

    async def write(self, rows: Sequence[PhotographedRow]) -> BatchOutcome:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            self.calls.append([item.row.id for item in rows])
            if self.whole_batch_errors:
                raise self.whole_batch_errors.pop(0)
            return BatchOutcome(tuple(self._one(item) for item in rows), index_version=len(self.calls))
        finally:
            self.at_once -= 1

    def _one(self, item: PhotographedRow) -> Written | FashionError:
        if (error := self._answer(len(self.calls), item.row.id)) is not None:
            return error
        before = self.known.get(item.row.id)
        self.known[item.row.id] = item
        if before is None:
            return Written.CREATED
        return Written.UNCHANGED if before == item else Written.UPDATED


LIMITS = IngestLimits(batch_rows=3, in_flight=2, attempts=4)


async def no_wait(delay_s: float) -> None:
    await asyncio.sleep(0)


def prepared(dataset: Dataset, catalogue: Catalogue, limits: IngestLimits = LIMITS, **options: object) -> Ingest:
    return Ingest(dataset, catalogue, limits=limits, sleep=no_wait, clock=itertools.count().__next__, **options)  # type: ignore[arg-type]


async def test_photographs_are_read_as_they_are_sent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    ahead: list[int] = []
    with open_dataset(folder) as dataset:
        photograph = dataset.photograph
        monkeypatch.setattr(dataset, "photograph", lambda name: read.append(name) or photograph(name))

        class Slow(Catalogue):
            """Tells how many photographs have been read beyond those that were sent before."""

            async def write(self, rows: Sequence[PhotographedRow]) -> BatchOutcome:
                await asyncio.sleep(0.02)
                ahead.append(len(read) - len(self.known))
                return await super().write(rows)

        await Ingest(dataset, Slow(), limits=IngestLimits(batch_rows=1, in_flight=2)).run()
    # Those of the calls under way, and of the next batch.
    assert len(read) == 10 and max(ahead) <= 4


async def test_every_row_is_sent_once_in_bounded_batches_a_few_at_a_time(folder: Path) -> None:
    catalogue, counts = Catalogue(), []
    with open_dataset(folder) as dataset:
        report = await prepared(dataset, catalogue, on_progress=counts.append).run()
    assert sorted(itertools.chain(*catalogue.calls)) == [str(number) for number in range(10)]
    assert max(len(call) for call in catalogue.calls) == 3
    assert catalogue.most_at_once <= 2
    assert counts == sorted(counts) and counts[-1] == 10
    assert (report.created, report.updated, report.unchanged, report.failures) == (10, 0, 0, ())
    assert report.complete and report.rows_done == report.rows_chosen == 10


async def test_the_server_never_waits_for_the_next_batch(folder: Path) -> None:
    catalogue, together = Catalogue(), asyncio.Barrier(2)
    original = catalogue.write

    async def only_with_another(rows: Sequence[PhotographedRow]) -> BatchOutcome:
        async with asyncio.timeout(30):
            await together.wait()
        return await original(rows)

    catalogue.write = only_with_another  # type: ignore[method-assign]
    with open_dataset(folder) as dataset:
        report = await prepared(dataset, catalogue).run()
    assert report.created == 10


async def test_a_second_run_changes_nothing_and_a_third_only_what_changed(folder: Path) -> None:
    catalogue = Catalogue()
    with open_dataset(folder) as dataset:
        await prepared(dataset, catalogue).run()
        again = await prepared(dataset, catalogue).run()
    assert (again.created, again.updated, again.unchanged) == (0, 0, 10)
    (folder / "images" / "4.jpg").write_bytes(b"another photograph")
    with open_dataset(folder) as dataset:
        changed = await prepared(dataset, catalogue).run()
    assert (changed.created, changed.updated, changed.unchanged) == (0, 1, 9)


async def test_the_report_names_rows_dropped_and_refused(folder: Path) -> None:
    broken = InvalidInput("The image is truncated.", reason="IMAGE_UNREADABLE")
    catalogue = Catalogue(lambda call, product_id: broken if product_id == "7" else None)
    with open_dataset(folder) as dataset:
        report = await prepared(dataset, catalogue).run()
    assert report.failures == (Failure("7", "IMAGE_UNREADABLE", "The image is truncated."),)
    document = json.loads(report.to_json())
    assert {(finding["id"], finding["kind"]) for finding in document["dataset"]["findings"]} == {
        ("90", "dropped"),
        ("91", "dropped"),
    }
    assert document["dataset"]["rows_read"] == 12
    assert (document["created"], document["complete"]) == (9, True)
    assert document["failures"] == [
        {"id": "7", "reason": "IMAGE_UNREADABLE", "message": "The image is truncated.", "line": 9}
    ]


async def test_a_photograph_that_cannot_be_read_fails_alone(folder: Path) -> None:
    catalogue = Catalogue()
    with open_dataset(folder) as dataset:
        (folder / "images" / "3.jpg").unlink()
        report = await prepared(dataset, catalogue).run()
    assert [failure.id for failure in report.failures] == ["3"]
    assert report.created == 9 and report.complete


async def test_a_photograph_larger_than_a_message_is_named_and_not_sent(folder: Path) -> None:
    (folder / "images" / "3.jpg").write_bytes(bytes(40_000))
    catalogue = Catalogue()
    with open_dataset(folder) as dataset:
        report = await prepared(dataset, catalogue, replace(LIMITS, batch_bytes=20_000)).run()
    assert [(failure.id, failure.reason) for failure in report.failures] == [("3", "IMAGE_TOO_LARGE")]
    assert report.created == 9


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("full", reason="QUEUE_FULL"),
        Upstream("away", reason="EMBEDDER_UNAVAILABLE"),
        DeadlineExceeded("late", reason="DEADLINE_EXCEEDED"),
    ],
)
async def test_a_batch_turned_away_for_now_is_sent_again(folder: Path, error: FashionError) -> None:
    catalogue = Catalogue()
    catalogue.whole_batch_errors = [error, error]
    retries: list[tuple[str, float]] = []
    with open_dataset(folder) as dataset:
        report = await prepared(
            dataset, catalogue, on_retry=lambda why, delay_s: retries.append((why.reason, delay_s))
        ).run()
    assert report.created == 10 and not report.failures
    assert [reason for reason, _ in retries] == [error.reason] * 2
    assert all(0 < delay_s <= LIMITS.max_delay_s * 1.25 for _, delay_s in retries)


async def test_rows_turned_away_for_now_alone_are_sent_again(folder: Path) -> None:
    full = Overloaded("full", reason="QUEUE_FULL")
    seen: set[str] = set()

    def first_time(call: int, product_id: str) -> FashionError | None:
        if product_id in ("1", "2") and product_id not in seen:
            seen.add(product_id)
            return full
        return None

    catalogue = Catalogue(first_time)
    with open_dataset(folder) as dataset:
        report = await prepared(dataset, catalogue).run()
    assert ["1", "2"] in catalogue.calls
    assert sum("0" in call for call in catalogue.calls) == 1
    assert report.created == 10 and not report.failures


async def test_a_row_turned_away_to_the_last_is_named(folder: Path) -> None:
    full = Overloaded("full", reason="QUEUE_FULL")
    catalogue = Catalogue(lambda call, product_id: full if product_id == "5" else None)
    with open_dataset(folder) as dataset:
        report = await prepared(dataset, catalogue).run()
    assert [(failure.id, failure.reason) for failure in report.failures] == [("5", "QUEUE_FULL")]
    assert sum("5" in call for call in catalogue.calls) == LIMITS.attempts


async def test_a_server_that_stays_away_ends_the_run_with_a_report_of_what_was_done(folder: Path) -> None:
    catalogue = Catalogue()
    with open_dataset(folder) as dataset:
        run = prepared(dataset, catalogue, replace(LIMITS, in_flight=1))
        original = catalogue.write

        async def dies(rows: Sequence[PhotographedRow]) -> BatchOutcome:
            if len(catalogue.calls) >= 2:
                raise Upstream("away", reason="SEARCH_UNAVAILABLE")
            return await original(rows)

        catalogue.write = dies  # type: ignore[method-assign]
        with pytest.raises(Upstream):
            await run.run()
    assert run.report().created == 6
    assert not run.report().complete


async def test_a_refusal_of_the_whole_batch_is_not_repeated(folder: Path) -> None:
    catalogue = Catalogue()
    catalogue.whole_batch_errors = [NotFound("gone", reason="GONE")]
    with open_dataset(folder) as dataset, pytest.raises(NotFound):
        await prepared(dataset, catalogue, replace(LIMITS, in_flight=1)).run()
    assert len(catalogue.calls) == 1


async def test_an_interrupted_run_can_be_reported_and_leaves_no_call_behind(folder: Path) -> None:
    catalogue, third = Catalogue(), asyncio.Event()
    original = catalogue.write

    async def hangs_on_the_third(rows: Sequence[PhotographedRow]) -> BatchOutcome:
        if len(catalogue.calls) == 2:
            third.set()
            await asyncio.Event().wait()
        return await original(rows)

    catalogue.write = hangs_on_the_third  # type: ignore[method-assign]
    with open_dataset(folder) as dataset:
        run = prepared(dataset, catalogue, replace(LIMITS, in_flight=1))
        task = asyncio.create_task(run.run())
        await third.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    report = run.report()
    assert (report.created, report.complete) == (6, False)
    assert len(asyncio.all_tasks()) == 1


async def test_only_the_chosen_rows_are_sent(folder: Path) -> None:
    catalogue = Catalogue()
    with open_dataset(folder) as dataset:
        report = await prepared(dataset, catalogue, rows=dataset.rows[:4]).run()
    assert sorted(catalogue.known) == ["0", "1", "2", "3"]
    assert report.rows_chosen == 4


@pytest.mark.parametrize(("max_rows", "max_bytes"), [(1, 10**9), (3, 10**9), (500, 30_000), (7, 25_000)])
def test_batches_keep_order_and_stay_within_limits(folder: Path, max_rows: int, max_bytes: int) -> None:
    with open_dataset(folder) as dataset:
        items = [PhotographedRow(row, bytes(1000 * (at % 4))) for at, row in enumerate(dataset.rows)]
    items[2:2] = [Failure("x", "R", "m")]  # type: ignore[list-item]
    groups = list(batched(items, max_rows, max_bytes))
    assert list(itertools.chain(*groups)) == items
    for group in groups:
        assert 0 < len(group) <= max_rows
        size = sum(len(item.photograph) for item in group if isinstance(item, PhotographedRow))
        assert size <= max_bytes


async def test_an_unexpected_error_of_one_photograph_is_its_rows_failure(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = Catalogue()
    with open_dataset(folder) as dataset:
        read = dataset.photograph

        def photograph(product_id: str) -> bytes:
            if product_id == "3":
                raise RuntimeError("odd")
            return read(product_id)

        monkeypatch.setattr(dataset, "photograph", photograph)
        report = await Ingest(dataset, catalogue, limits=LIMITS).run()
    assert (report.created, report.complete) == (9, True)
    (failure,) = report.failures
    assert (failure.id, failure.reason) == ("3", "DATASET_FILE_UNREADABLE")
    assert "odd" in failure.message
