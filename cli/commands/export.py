"""`fashion export`: writes lists of similar products, or the whole catalogue, to files."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connection import DEFAULT_SERVER, AsJson, Server, connected
from cli.files import unwritable
from cli.similar_options import similar_options
from offline.similar_lists import ListFormat, SimilarList

if TYPE_CHECKING:
    from fashion.v1 import search_pb2, types_pb2

app = typer.Typer(
    help="Write lists of similar products, or the whole catalogue, to files.",
    epilog="Example: fashion export similar similar.csv --top 20",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
)

# Products per call: a call of more would wait longer for its last, one of fewer would be slower per product.
_BATCH = 250

InFlight = Annotated[int, typer.Option("--in-flight", metavar="N", min=1, max=64, help="Calls at once.")]


@app.command(
    epilog=(
        "Examples:\n\nfashion export similar similar.csv --top 20\n\n"
        "fashion export similar similar.parquet --format parquet\n\n"
        'fashion export similar shirts.csv --designs --diversity 0.3 --boost "1.2 season=Summer" --price "..50 EUR"\n\n'
        "It takes the options of `fashion search`, which apply to every product's list.\n\n"
        "CSV and Parquet have the columns product_id, rank, similar_product_id and similarity. JSON Lines have one "
        'object per product: {"product_id", "similar": [{"product_id", "similarity"}]}. With --boost there is '
        "rank_score too, by which they are in order; with --widen the rung, such as article_type.\n\n"
        "FILE appears only once it is whole; what stood there before stays until then.\n\n"
        '--json prints {"file", "products", "rows", "left_out", "seconds", "changed_meanwhile"}.'
    )
)
@similar_options("request", top_k=20)
def similar(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="The file to write.")],
    form: Annotated[
        ListFormat | None,
        typer.Option("--format", case_sensitive=False, help="The format. Default: by the suffix of FILE, else csv."),
    ] = None,
    request: "search_pb2.FindSimilarRequest",
    in_flight: InFlight = 2,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Write the most similar products of each product: what `fashion search --product-id` answers."""
    import time

    from cli import exports, output
    from cli.ingestion import progress_bar
    from offline.similar_lists import open_lists

    suffixes = {f".{each.value}": each for each in ListFormat}
    form = form or suffixes.get(file.suffix.lower(), ListFormat.CSV)
    started = time.monotonic()
    products = rows = 0
    left_out: list[str] = []
    versions: list[int] = []

    async def work() -> None:
        nonlocal products, rows
        async with connected(server) as client:
            index = await client.get_index()
            versions.append(index.index_version)
            await exports.respell_labels(client, request)

            async def some(product_ids: list[str]) -> list[SimilarList | None]:
                return await exports.similar_lists(client, product_ids, request)

            with (
                open_lists(file, form, exports.further_columns(request)) as write,
                progress_bar(output.errors()) as progress,
            ):
                task = progress.add_task("Exporting", total=index.product_count, hint="")
                batches = exports.id_batches(client, _BATCH)
                async for ids, lists in exports.in_turn(some, batches, in_flight):
                    left_out.extend(each for each, its_list in zip(ids, lists, strict=True) if its_list is None)
                    answered = [each for each in lists if each is not None]
                    write(answered)
                    products += len(answered)
                    rows += sum(len(each.hits) for each in answered)
                    progress.advance(task, len(ids))
            versions.append((await client.get_index()).index_version)

    try:
        asyncio.run(work())
    except OSError as error:
        raise unwritable(file, error) from None
    seconds, changed = time.monotonic() - started, versions[0] != versions[1]
    if as_json:
        output.print_json(
            {
                "file": str(file),
                "products": products,
                "rows": rows,
                "left_out": left_out,
                "seconds": round(seconds, 3),
                "changed_meanwhile": changed,
            }
        )
        return
    text = f"{rows:,} similar products of {products:,} products in {seconds:.1f} s: {file}"
    output.console().print(text, markup=False, soft_wrap=True)
    if left_out:
        text = f"{len(left_out):,} products are left out, deleted meanwhile or of another model: {_some(left_out)}"
        output.errors().print(text, markup=False, soft_wrap=True)
    if changed:
        output.errors().print("The catalogue changed meanwhile: lists of some products are older than others.")


@app.command(
    epilog=(
        "Examples:\n\nfashion export catalogue backup/\n\nfashion ingest backup/\n\n"
        "FOLDER gets styles.csv, with all attributes, and images/ID.jpg, .png, .webp or .avif, further photographs as "
        "further/ID/1.jpg: the layout that `fashion ingest` takes. Repeat the command to go on after an interruption: "
        "photographs that are there "
        "already are kept if they are the same. A folder with files that no export has written is refused without "
        "--yes.\n\n"
        '--json prints {"folder", "products", "photographs", "left_out"}.'
    )
)
def catalogue(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", file_okay=False, help="The folder to write.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Write into a folder that holds other files, over those of the same name.")
    ] = False,
    in_flight: InFlight = 4,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Write all products and their photographs, in the layout that `fashion ingest` takes."""
    from cli import exports, output
    from cli.ingestion import progress_bar
    from offline.catalogue_files import CatalogueFiles

    async def work() -> "CatalogueFiles":
        async with connected(server) as client:
            index = await client.get_index()
            with CatalogueFiles(folder, foreign=yes) as files, progress_bar(output.errors()) as progress:
                task = progress.add_task("Exporting", total=index.product_count, hint="")

                async def one(product: "types_pb2.Product") -> None:
                    photographs = await exports.photographs(client, product)
                    if photographs:
                        await asyncio.to_thread(files.write_photographs, product.id, photographs)
                    else:
                        files.note(product.id, "it has no photograph")
                    progress.advance(task)

                async for page in exports.pages(client):
                    progress.update(task, total=page.total_size)
                    for product in page.products:
                        files.write_product(exports.product_cells(product))
                    await exports.map_in_order(one, page.products, in_flight)
            return files

    try:
        files = asyncio.run(work())
    except OSError as error:
        raise unwritable(folder, error) from None
    if as_json:
        output.print_json(
            {
                "folder": str(folder),
                "products": files.products,
                "photographs": files.photographs,
                "left_out": [{"product_id": each, "why": why} for each, why in files.notes.items()],
            }
        )
        return
    text = f"{files.products:,} products and {files.photographs:,} photographs: {folder}"
    output.console().print(text, markup=False, soft_wrap=True)
    if files.notes:
        text = f"{len(files.notes):,} products will not come in again by `fashion ingest`:"
        output.errors().print(text, style="yellow")
        for product_id, why in list(files.notes.items())[:10]:
            output.errors().print(f"  {product_id}: {why}.", markup=False, soft_wrap=True)


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:10]) + (", …" if len(ids) > 10 else "")
