"""The ingest of a data set into the search service: progress bar and report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from google.protobuf.message import Message
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from cli.connection import MAX_CALL_ROWS
from cli.deletions import deletions
from cli.output import counted, plain_table
from fashion.v1 import search_pb2, types_pb2
from offline.dataset.report import DatasetReport, Finding
from offline.dataset.row import Row
from offline.dataset.rows import Dataset
from offline.ingest import (
    BatchOutcome,
    Failure,
    Ingest,
    IngestLimits,
    IngestReport,
    LeftOutPhotograph,
    PhotographedRow,
    Written,
)
from offline.spool import Shelf, Spool, form_of
from services.contract.errors import FashionError
from services.contract.own_attributes import attributes_text
from services.contract.values import Gender
from services.serving.conversion import (
    gender_to_proto,
    own_attributes_from_proto,
    own_attributes_to_proto,
    row_error_from_proto,
)

if TYPE_CHECKING:
    from offline.feeds.photographs import Downloads
    from offline.feeds.sync import SyncPlan
    from services.clients.search import SearchClient

_KAGGLE = "Kaggle"

_OUTCOMES = {
    search_pb2.UPSERT_OUTCOME_CREATED: Written.CREATED,
    search_pb2.UPSERT_OUTCOME_UPDATED: Written.UPDATED,
    search_pb2.UPSERT_OUTCOME_UNCHANGED: Written.UNCHANGED,
}


class SearchWriter:
    """Writes rows with UpsertProducts; keeps what the source of the rows has no column for."""

    def __init__(self, client: "SearchClient", fields: Sequence[str]) -> None:
        """Takes the fields of a row that the source fills, the id among them or not."""
        self._client = client
        self._fields = [field for field in fields if field != "id"]

    async def write(self, rows: Sequence[PhotographedRow]) -> BatchOutcome:
        """Creates or replaces products; see `offline.ingest.Writer`."""
        response = await self._client.upsert_products([product_row(item) for item in rows], self._fields)
        return BatchOutcome(tuple(map(_result, response.results)), response.index_version)


def product_row(item: PhotographedRow) -> search_pb2.ProductRow:
    """Returns a row as the search service takes it; unknown attributes stay absent."""
    return search_pb2.ProductRow(
        product=product_of(item.row),
        image=types_pb2.Image(content=item.photograph),
        further_images=[types_pb2.Image(content=each.content) for each in item.further],
        keep_further_photographs=not item.has_all,
    )


def product_of(row: Row) -> types_pb2.Product:
    """Returns the attributes of a row; unknown ones stay absent."""
    fields = {**asdict(row), "gender": gender_to_proto(Gender(row.gender) if row.gender else None)}
    fields["attributes"] = own_attributes_to_proto(row.attributes or {})
    return types_pb2.Product(**fields)


def _result(result: search_pb2.UpsertResult) -> Written | FashionError:
    metadata = {"photograph_index": str(result.photograph_index)} if result.HasField("photograph_index") else {}
    error = row_error_from_proto(result.status, metadata)
    return _OUTCOMES[result.outcome] if error is None else error


async def run(
    client: "SearchClient",
    dataset: Dataset,
    *,
    rows: Sequence[Row],
    limits: IngestLimits | None = None,
    to: Console,
    keep: Callable[[IngestReport], None] = lambda report: None,
    downloads: "Downloads | None" = None,
) -> IngestReport:
    """Sends rows of a data set under a progress bar.

    Args:
        client: a client of the search service.
        dataset: the data set of the rows.
        rows: the rows to send.
        limits: how much to send at once.
        to: the console for the bar.
        keep: takes the report in the end, also after a failure or an interruption.
        downloads: what downloads the photographs, for the bar.

    Raises:
        FashionError: the server refused a whole batch, or stayed unavailable through all attempts.
    """
    with progress_bar(to) as progress:
        task = progress.add_task("Ingesting", total=len(rows), hint="")

        def on_progress(done: int) -> None:
            progress.update(task, completed=done, hint="" if downloads is None else _downloads_hint(downloads))

        def on_retry(error: FashionError, delay_s: float) -> None:
            progress.update(task, hint=f"{error.reason}: again in {delay_s:.0f} s")

        work = Ingest(
            dataset,
            SearchWriter(client, dataset.fields),
            rows=rows,
            limits=limits,
            on_progress=on_progress,
            on_retry=on_retry,
        )
        try:
            return await work.run()
        finally:
            keep(work.report())


async def catalogue(client: "SearchClient", fields: Sequence[str]) -> Shelf[tuple[object, ...]]:
    """Returns some fields of all products of the catalogue by id, on disk.

    Raises:
        FashionError: the server does not answer.
    """
    products: Shelf[tuple[object, ...]] = Shelf()
    token = ""
    while True:
        page = await client.list_products(None, page_size=MAX_CALL_ROWS, page_token=token)
        for product in page.products:
            products[product.id] = part_of(product, fields)
        token = page.next_page_token
        if not token:
            return products


async def delete(
    client: "SearchClient", product_ids: Sequence[str], report: IngestReport, keep: Callable[[IngestReport], None]
) -> None:
    """Deletes products.

    Args:
        client: a client of the search service.
        product_ids: the products.
        report: the report so far.
        keep: takes the report with those that were deleted, and those that were not; also after a failure or an
            interruption.

    Raises:
        FashionError: the server refused a call, or does not answer.
    """
    deleted, failures = Spool[str](), Spool(form=form_of(Failure))
    try:
        async for response in deletions(client, product_ids):
            for result in response.results:
                if result.status.code == 0:
                    deleted.append(result.product_id)
                else:
                    failures.append(Failure(result.product_id, result.status.reason, result.status.message))
    finally:
        keep(replace(report, deleted=deleted, not_deleted=failures))


def part_of(product: types_pb2.Product, fields: Sequence[str]) -> tuple[object, ...]:
    """Returns some fields of a product, to be compared with those of another."""
    return tuple(_value(product, name) for name in fields)


def _value(product: types_pb2.Product, name: str) -> object:
    if name == "attributes":
        # As text, in which 1 is not true.
        return attributes_text(own_attributes_from_proto(product.attributes))
    if types_pb2.Product.DESCRIPTOR.fields_by_name[name].has_presence and not product.HasField(name):
        return None
    value = getattr(product, name)
    return value.SerializeToString(deterministic=True) if isinstance(value, Message) else value


def _downloads_hint(downloads: "Downloads") -> str:
    counts = downloads.counts
    parts = [f"{counts.done:,} photographs, {counts.received_bytes / 1e6:,.0f} MB"]
    return ", ".join([*parts, f"{counts.failed:,} failed"] if counts.failed else parts)


class _RateColumn(ProgressColumn):
    """Products per second, over the last half minute."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


def progress_bar(to: Console) -> Progress:
    """Returns a bar for products, with their rate; a task needs the field `hint`."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[hint]}", style="yellow"),
        console=to,
        refresh_per_second=5,
    )


def summary(report: IngestReport) -> str:
    """Returns a report in one line."""
    counts = (
        (report.created, "created"),
        (report.updated, "updated"),
        (report.unchanged, "unchanged"),
        (len(report.failures), "refused"),
    )
    what = ", ".join(f"{count:,} {name}" for count, name in counts if count)
    return f"Ingested {report.rows_done:,} products in {_duration(report)}: {what}."


def findings_summary(report: IngestReport) -> str:
    """Returns the faults of the data set in one line."""
    read = report.dataset
    return (
        f"Its table has {read.rows_read:,} rows: {read.rows_repaired:,} repaired, {read.rows_dropped:,} dropped, each "
        "named by `ingest --report FILE`."
    )


def print_report(to: Console, report: IngestReport, *, show: int = 10) -> None:
    """Prints the counts of a report, and the first rows that were left out, with the reasons."""
    read = report.dataset
    left_out, kept = report.photographs_left_out, report.not_deleted
    facts: list[tuple[str, str]] = [
        ("rows read", f"{read.rows_read:,} of {read.path}"),
        ("  repaired", f"{read.rows_repaired:,}"),
        ("  dropped", _with_reasons(read.rows_dropped, read.dropped_reasons)),
        *([("  left out", f"{read.rows_left_out:,} that the shop does not offer")] if read.rows_left_out else []),
        *([("  merged", f"{read.rows_merged:,} that say more of others")] if read.rows_merged else []),
        ("rows chosen", f"{report.rows_chosen:,}"),
        ("  created", f"{report.created:,}"),
        ("  updated", f"{report.updated:,}"),
        ("  unchanged", f"{report.unchanged:,}"),
        ("  refused", _with_reasons(len(report.failures), _counted(report.failures))),
        *([("deleted", f"{len(report.deleted):,} that left the source")] if report.deleted else []),
        *([("not deleted", _with_reasons(len(kept), _counted(kept)))] if kept else []),
        ("photographs", _photographs(report)),
        *([("  further", f"{report.further_photographs:,}")] if report.further_photographs else []),
        *([("  left out", _with_reasons(len(left_out), _counted(left_out)))] if left_out else []),
        ("time", _duration(report)),
    ]
    if not report.complete:
        facts.append(("not sent", f"{report.rows_chosen - report.rows_done:,}"))
    to.print()
    to.print(plain_table([("Ingest", {}), ("", {"no_wrap": False, "overflow": "fold"})], facts))
    _print_findings(to, report, "dropped", "Dropped", show)
    _print_findings(to, report, "left out", "Left out", show)
    _print_findings(to, report, "repaired", "Repaired", show)
    if read.layout != _KAGGLE:
        _print_findings(to, report, "note", "Notes", show)
    if report.failures and show:
        to.print(f"\nRefused (first {min(show, len(report.failures))} of {len(report.failures):,}):")
        for failure in report.failures[:show]:
            place = f"{read.place} {failure.line}, " if failure.line else ""
            to.print(f"  {place}{failure.id}: {failure.message} ({failure.reason})", markup=False, soft_wrap=True)
    if kept and show:
        to.print(f"\nNot deleted (first {min(show, len(kept))} of {len(kept):,}):")
        for each in kept[:show]:
            to.print(f"  {each.id}: {each.message} ({each.reason})", markup=False, soft_wrap=True)
    if left_out and show:
        to.print(f"\nFurther photographs left out (first {min(show, len(left_out))} of {len(left_out):,}):")
        for photograph in left_out[:show]:
            place = f"{read.place} {photograph.line}, " if photograph.line else ""
            what = f"{photograph.id}, {photograph.name}: {photograph.message} ({photograph.reason})"
            to.print(f"  {place}{what}", markup=False, soft_wrap=True)


def _print_findings(to: Console, report: IngestReport, kind: str, heading: str, show: int) -> None:
    if not show:
        return
    first, count = list[Finding](), 0
    for finding in report.dataset.findings:
        if finding.kind == kind:
            count += 1
            if len(first) < show:
                first.append(finding)
    if not first:
        return
    to.print(f"\n{heading} (first {len(first)} of {count:,}):")
    for finding in first:
        name = finding.id or "no id"
        place = f"{report.dataset.place} {finding.line}, {name}: " if finding.line else ""
        to.print(f"  {place}{finding.reason}", markup=False, soft_wrap=True)


def _photographs(report: IngestReport) -> str:
    read, counts = report.dataset, report.photographs
    if not counts:
        return f"{read.photographs:,}, {read.photographs_without_row:,} of them named by no row"
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "0"


def source_line(read: DatasetReport) -> str:
    """Returns what a source is in one line, such as "Shopify, 1,204 rows, 310 products, 912 variants"."""
    counts = [(read.rows_read, "rows"), (read.products, "products"), (read.rows_kept, "variants")]
    if not read.products:
        counts = [(read.rows_read, "rows"), (read.rows_kept, "products")]
    elif read.products == read.rows_kept:
        counts.pop()
    named = ", ".join(counted(count, name) for count, name in counts)
    return f"{read.layout}, {named}" + ("" if read.complete else "; it is cut off")


def reasons_line(read: DatasetReport) -> str:
    """Returns why no row became a product."""
    reasons = {**read.dropped_reasons, **({"left out by the shop": read.rows_left_out} if read.rows_left_out else {})}
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "there is none"


def empty_report(read: DatasetReport) -> IngestReport:
    """Returns the report on a source without a product."""
    return IngestReport(read, 0, 0, 0, 0, (), 0.0, None, complete=True)


def print_changes(to: Console, changes: "SyncPlan", read: DatasetReport, *, show: int = 10) -> None:
    """Prints what an ingest would do, and the first rows that it would leave out."""
    facts = [
        ("create", _with_examples(changes.created, show)),
        ("change", _with_examples(changes.changed, show)),
        ("leave", f"{len(changes.same):,} with the same attributes, unless a photograph changed"),
        ("delete", _with_examples(changes.deleted, show)),
        ("drop", _with_reasons(read.rows_dropped, read.dropped_reasons)),
        ("leave out", f"{read.rows_left_out:,}"),
    ]
    to.print()
    to.print(plain_table([("Would", {}), ("", {"no_wrap": False, "overflow": "fold"})], facts))
    report = empty_report(read)
    for kind, heading in (("dropped", "Dropped"), ("left out", "Left out"), ("repaired", "Repaired")):
        _print_findings(to, report, kind, heading, show)


def _with_examples(ids: Sequence[str], show: int) -> str:
    named = ", ".join(ids[:show]) + (", …" if len(ids) > show else "")
    return f"{len(ids):,}: {named}" if ids and show else f"{len(ids):,}"


def _with_reasons(count: int, reasons: Mapping[str, int]) -> str:
    if not reasons:
        return f"{count:,}"
    return f"{count:,}: " + ", ".join(f"{number:,} {reason}" for reason, number in sorted(reasons.items()))


def _counted(failures: Sequence[Failure | LeftOutPhotograph]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for failure in failures:
        counts[failure.reason] = counts.get(failure.reason, 0) + 1
    return counts


def _duration(report: IngestReport) -> str:
    minutes, seconds = divmod(report.seconds, 60)
    text = f"{int(minutes)} min {seconds:.0f} s" if minutes else f"{seconds:.1f} s"
    if report.seconds and report.rows_done:
        text += f", {report.rows_done / report.seconds:,.0f} rows/s"
    return text
