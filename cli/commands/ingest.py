"""`fashion ingest`: puts a shop's catalogue into the search service, with a progress bar and a report."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connection import DEFAULT_SERVER, AsJson, Server, connected
from cli.files import write_file, write_parts
from services.contract.errors import FashionError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from offline.dataset.row import Row
    from offline.dataset.rows import Dataset
    from offline.feeds.mapping import FeedMapping
    from offline.feeds.photographs import Downloads
    from offline.feeds.sync import SyncPlan
    from offline.ingest import IngestLimits, IngestReport

app = typer.Typer(rich_markup_mode="rich", add_completion=False)

_REPORTS = (".json", ".html")


@app.command(
    epilog=(
        "Examples:\n\nfashion ingest fashion-product-images-small.zip\n\n"
        "fashion ingest feed.xml --sync --report report.html\n\n"
        "fashion ingest products_export.csv --suggest-mapping shop.toml\n\n"
        "fashion ingest products_export.csv --mapping shop.toml\n\n"
        "SOURCE is a feed of Google Merchant (XML, TSV, CSV), a product CSV of Shopify or WooCommerce, a table in CSV, "
        "JSON Lines or Parquet, a folder with one of them, or a folder or zip in Kaggle's layout (styles.csv and "
        "images/ID.jpg); docs/feeds.md shows each. Photographs are files beside it, or URLs that it downloads. "
        "You can repeat it at any time: it embeds only new or changed photographs, and keeps what the source has no "
        "column for. Only --sync deletes products.\n\n"
        "Exit codes: 0 done; the report names each row that was dropped or refused · 1 no row became a product · 2 bad "
        "input · 4 the server stayed unavailable: repeat the command to go on · 130 interrupted: repeat it too"
    )
)
def ingest(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The catalogue: a file, a folder or a zip.")],
    layout: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Read it as google, shopify, woocommerce, table or kaggle. Default: the content tells.",
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            "--mapping", metavar="FILE", dir_okay=False, help="What the shop's columns and words mean (TOML)."
        ),
    ] = None,
    suggest_mapping: Annotated[
        Path | None,
        typer.Option(
            "--suggest-mapping", metavar="FILE", dir_okay=False, help="Write a draft of a mapping, and ingest nothing."
        ),
    ] = None,
    gender: Annotated[
        str | None,
        typer.Option("--gender", help="For products that name none: Men, Women, Boys, Girls or Unisex."),
    ] = None,
    currency: Annotated[
        str | None, typer.Option("--currency", metavar="CODE", help="For prices that name none, such as EUR.")
    ] = None,
    sync: Annotated[bool, typer.Option("--sync", help="Also delete products that the source no longer has.")] = False,
    max_deleted: Annotated[
        float,
        typer.Option(
            "--max-deleted", metavar="SHARE", min=0, max=1, help="Refuse to delete a larger share of the catalogue."
        ),
    ] = 0.2,
    yes: Annotated[bool, typer.Option("--yes", help="Delete as many as left the source.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen, and change nothing.")] = False,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            "--report", metavar="FILE", dir_okay=False, help="Write the report: .json, or .html as a page. Repeatable."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Take only the first N products.")
    ] = None,
    batch_rows: Annotated[
        int, typer.Option("--batch-rows", metavar="N", min=1, max=500, help="Rows per call at most.")
    ] = 64,
    in_flight: Annotated[int, typer.Option("--in-flight", metavar="N", min=1, max=16, help="Calls at once.")] = 3,
    downloads_at_once: Annotated[
        int, typer.Option("--downloads", metavar="N", min=1, max=64, help="Downloads of photographs at once.")
    ] = 8,
    photograph_timeout: Annotated[
        float, typer.Option("--download-timeout", metavar="SECONDS", min=1, help="Time for one photograph at most.")
    ] = 30.0,
    private: Annotated[
        bool,
        typer.Option("--allow-private-addresses", help="Download from private and loopback addresses too."),
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--photograph-cache",
            metavar="FOLDER",
            file_okay=False,
            help="Where downloads are kept. Default: ~/.cache/fashion/photographs",
        ),
    ] = None,
    show: Annotated[
        int, typer.Option("--show", metavar="N", min=0, help="Number of dropped and refused rows to print.")
    ] = 10,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Put a shop's catalogue into the search service, and name every row that is left out."""
    from cli import ingestion, output
    from offline.feeds.photographs import DownloadLimits, Downloads, default_cache
    from offline.ingest import IngestLimits

    reports = report or []
    for each in reports:
        if each.suffix.lower() not in _REPORTS:
            raise InvalidInput(
                f"The report {each} has an unknown suffix: use one of {', '.join(_REPORTS)}.", reason="FILE_UNKNOWN"
            )
    if sync and limit is not None:
        raise InvalidInput(
            "--sync deletes what the source lacks, so it cannot go with --limit. Leave one of them out.",
            reason="OPTIONS_MIXED",
        )
    own = _mapping(mapping, gender, currency)
    if suggest_mapping is not None:
        _suggest(source, layout, own, suggest_mapping)
        return
    dataset, downloads = _opened(
        source,
        layout,
        own,
        lambda: Downloads(
            cache or default_cache(),
            str(source.resolve()),
            DownloadLimits(at_once=downloads_at_once, timeout_s=photograph_timeout, private=private),
        ),
    )
    with dataset:
        rows = dataset.rows if limit is None else dataset.rows[:limit]
        read = dataset.report
        if not as_json:
            output.errors().print(ingestion.source_line(read), markup=False, soft_wrap=True)
        if not rows:
            if reports:
                _write_reports(reports, ingestion.empty_report(read), dataset)
            raise InvalidInput(
                f"No row of {source} can become a product: {ingestion.reasons_line(read)}.", reason="DATASET_EMPTY"
            )
        run = _Run(dataset, rows, downloads, IngestLimits(batch_rows=batch_rows, in_flight=in_flight))
        if dry_run:
            changes = asyncio.run(run.changes(server, sync=sync))
            if as_json:
                output.print_document(changes)
            else:
                ingestion.print_changes(output.console(), changes, read, show=show)
            return
        try:
            asyncio.run(run.work(server, max_deleted if sync else None, yes=yes))
        except (FashionError, KeyboardInterrupt):
            if run.report is not None:
                _finish(run.report, reports, dataset, as_json, show)
                output.errors().print("Not finished. Repeat the command to go on.", style="yellow")
            raise
        assert run.report is not None
        _finish(run.report, reports, dataset, as_json, show)
        if run.report.rows_done == len(run.report.failures):
            raise typer.Exit(output.EXIT_ERROR)


@dataclass
class _Run:
    """One ingest: rows, then what left the source."""

    dataset: "Dataset"
    rows: "Sequence[Row]"
    downloads: "Downloads | None"
    limits: "IngestLimits"
    report: "IngestReport | None" = None

    async def work(self, server: str, max_deleted: float | None, *, yes: bool) -> None:
        """Sends the rows; with `max_deleted`, deletes what the source lacks, at most this share of the catalogue."""
        from cli import ingestion, output
        from offline.feeds import sync

        async with connected(server) as client:
            # Fails at once where no server is there, rather than after all retries.
            await client.get_index()
            left: Sequence[str] = ()
            if max_deleted is not None:
                known = await ingestion.catalogue(client, ())
                left = sync.missing_from(self.dataset, known)
                if not yes:
                    sync.require_few(self.dataset, len(left), len(known), max_deleted)
            if self.downloads is not None:
                names = (
                    name
                    for row in self.rows
                    for name in (self.dataset.photograph_name(row.id), *self.dataset.further_names(row.id))
                )
                self.downloads.begin(name for name in names if name.startswith(("http://", "https://")))
            await ingestion.run(
                client,
                self.dataset,
                rows=self.rows,
                limits=self.limits,
                to=output.errors(),
                keep=self._keep,
                downloads=self.downloads,
            )
            assert self.report is not None
            if left:
                await ingestion.delete(client, left, self.report, self._keep)
            if self.downloads is not None:
                self.downloads.finish()

    async def changes(self, server: str, *, sync: bool) -> "SyncPlan":
        """Compares the source with the catalogue."""
        from cli import ingestion
        from offline.feeds.sync import plan

        async with connected(server) as client:
            known = await ingestion.catalogue(client, self.dataset.fields)
        offered = ((row.id, ingestion.part_of(ingestion.product_of(row), self.dataset.fields)) for row in self.rows)
        changes = plan(self.dataset, known, offered)
        return changes if sync else replace(changes, deleted=())

    def _keep(self, report: "IngestReport") -> None:
        if self.downloads is not None:
            counts = self.downloads.counts
            found = {"downloaded": counts.downloaded, "unchanged": counts.unchanged, "failed": counts.failed}
            report = replace(report, photographs=found)
        self.report = report


def _mapping(file: Path | None, gender: str | None, currency: str | None) -> "FeedMapping":
    from offline.dataset.cells import GENDERS
    from offline.feeds.mapping import FeedMapping, read_mapping

    own = FeedMapping() if file is None else read_mapping(file)
    given: dict[str, str] = {}
    if gender is not None:
        chosen = next((each for each in GENDERS if each.casefold() == gender.casefold()), None)
        if chosen is None:
            raise InvalidInput(
                f'The gender "{gender}" is unknown: use one of {", ".join(GENDERS)}.', reason="OPTION_INVALID"
            )
        given["gender"] = chosen
    if currency is not None:
        if not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
            raise InvalidInput(
                f'The currency "{currency}" is no code of three letters, such as EUR.', reason="OPTION_INVALID"
            )
        given["currency"] = currency.upper()
    return replace(own, constants={**own.constants, **given})


def _suggest(source: Path, layout: str | None, own: "FeedMapping", file: Path) -> None:
    from cli import output
    from offline.feeds.draft import draft
    from offline.feeds.feed import KAGGLE, find_source, read_feed

    if layout == KAGGLE:
        raise InvalidInput(
            "Kaggle's layout has no mapping. Leave out --format or --suggest-mapping.", reason="OPTIONS_MIXED"
        )
    feed = read_feed(find_source(source), own, _checked(layout))
    if file.exists():
        raise InvalidInput(f"{file} is there already. Name another file, or remove it.", reason="FILE_UNWRITABLE")
    write_file(file, draft(feed))
    output.errors().print(feed.summary, markup=False, soft_wrap=True)
    output.console().print(
        f"Mapping: {file}. Look through it, then: fashion ingest {source} --mapping {file}",
        markup=False,
        soft_wrap=True,
    )


def _checked(layout: str | None) -> str | None:
    from offline.feeds.feed import FORMATS

    if layout is not None and layout not in FORMATS:
        raise InvalidInput(
            f'The format "{layout}" is unknown: use one of {", ".join(FORMATS)}.', reason="OPTION_INVALID"
        )
    return layout


def _opened(
    source: Path, layout: str | None, own: "FeedMapping", begin: "Callable[[], Downloads]"
) -> "tuple[Dataset, Downloads | None]":
    from offline.dataset.rows import open_dataset
    from offline.feeds.feed import KAGGLE, find_source, is_kaggle, read_feed
    from offline.feeds.products import feed_dataset

    layout = _checked(layout) or own.layout
    if layout == KAGGLE or (layout is None and (not source.exists() or is_kaggle(source))):
        return open_dataset(source), None
    feed = read_feed(find_source(source), own, layout)
    downloads = begin() if feed.has_urls else None
    try:
        return feed_dataset(feed, own, downloads), downloads
    except BaseException:
        if downloads is not None:
            downloads.close()
        raise


def _finish(done: "IngestReport", reports: list[Path], dataset: "Dataset", as_json: bool, show: int) -> None:
    from cli import ingestion, output

    _write_reports(reports, done, dataset)
    if as_json:
        output.print_document(done)
    else:
        ingestion.print_report(output.console(), done, show=show)
    for file in reports:
        output.errors().print(f"Report: {file}", markup=False, soft_wrap=True)


def _write_reports(reports: list[Path], done: "IngestReport", dataset: "Dataset") -> None:
    from offline.feeds.page import report_page
    from offline.report.document import document_parts

    for file in reports:
        is_page = file.suffix.lower() == ".html"
        write_parts(file, report_page(done, dataset.photograph) if is_page else chain(document_parts(done), "\n"))
