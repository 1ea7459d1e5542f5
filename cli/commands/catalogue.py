"""`fashion catalogue`: counts, lists, shows, maps, changes and deletes the products of the catalogue."""

from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import filters
from cli.commands.catalogue_photographs import add_photograph, remove_photograph
from cli.commands.serve import DEFAULT_DATA_DIR, DataDir
from cli.connection import DEFAULT_SERVER, MAX_CALL_ROWS, AsJson, Server, with_client
from cli.files import unwritable, write_file
from cli.labels import filter_labels, in_any_case
from services.contract.errors import FashionError, InvalidInput, NotFound

if TYPE_CHECKING:
    from cli.updates import Outcome
    from fashion.v1 import search_pb2, types_pb2
    from services.clients.search import SearchClient

app = typer.Typer(
    help="Look into the catalogue, draw a map of it, change or delete products.",
    epilog="Example: fashion catalogue stats",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
)

app.command(
    "add-photograph",
    epilog=(
        "Examples:\n\nfashion catalogue add-photograph 1001 back.jpg\n\n"
        "fashion catalogue add-photograph 1001 front.jpg --index 0\n\n"
        "--json prints fashion.v1.AddPhotographResponse. Exit code 3: there is no such product."
    ),
)(add_photograph)
app.command(
    "remove-photograph",
    epilog=(
        "Example: fashion catalogue remove-photograph 1001 1\n\n"
        "--json prints fashion.v1.RemovePhotographResponse. Exit code 3: there is no such product or photograph."
    ),
)(remove_photograph)

_MAX_TYPES_SHOWN = 20
_MAX_FAILURES_SHOWN = 20


class ListOrder(Enum):
    """What a list of products goes by."""

    ID = "id"
    NAME = "name"
    PRICE = "price"
    PRICE_DESCENDING = "price-descending"
    NEWEST = "newest"


_PICTURES = (".png", ".svg", ".pdf")


class ColourBy(Enum):
    """The attribute that colours a map."""

    GENDER = "gender"
    ARTICLE_TYPE = "article_type"
    SUB_CATEGORY = "sub_category"
    BASE_COLOUR = "base_colour"
    DERIVED_TYPE = "derived_type"


@app.command(
    epilog=(
        "Example: fashion catalogue stats\n\n"
        "--json prints fashion.v1.GetIndexResponse (protos/fashion/v1/search.proto)."
    )
)
def stats(
    all_types: Annotated[bool, typer.Option("--all", help="List every derived type.")] = False,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Count the products by type, and show how fresh the index is."""
    from cli import output
    from services.search.filters.colours import without_family

    async def both(
        client: "SearchClient",
    ) -> "tuple[search_pb2.GetIndexResponse, search_pb2.ListFacetsResponse]":
        return await client.get_index(), await client.list_facets()

    index, facets = with_client(server, both)
    if as_json:
        output.print_json(output.message_document(index))
        return
    updated = f"{index.update_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC" if index.HasField("update_time") else "never"
    facts = [
        ("products", f"{index.product_count:,}"),
        ("available", f"{index.available_count:,}"),
        ("derived types", f"{len(index.derived_types):,}"),
        ("last write", updated),
        ("index version", str(index.index_version)),
        ("model version", index.model_version),
        ("candidates version", index.candidates_version or "none yet"),
    ]
    if index.approximate:
        facts.append(("whole inventory", "searched approximately; derived types exactly"))
    if index.outdated_count:
        facts.append(("of another model", f"{index.outdated_count:,}; ingest them again to find them"))
    # Colours alone have a family.
    colours = [value.value for facet in facets.facets for value in facet.values if value.colour_family]
    if strange := without_family(colours):
        facts.append(("colours of no family", f"{', '.join(strange)}; dislikes of a family do not cover them"))
    to = output.console()
    to.print(output.plain_table([("Catalogue", {"style": "dim"}), ("", {"overflow": "fold", "no_wrap": False})], facts))
    if not index.derived_types:
        to.print("\nThe catalogue is empty. Fill it with: fashion ingest PATH")
        return
    largest = sorted(index.derived_types, key=lambda each: (-each.product_count, each.label))
    shown = largest if all_types else largest[:_MAX_TYPES_SHOWN]
    to.print()
    to.print(
        output.plain_table(
            [("derived type", {}), ("products", {"justify": "right"})],
            [(each.label, f"{each.product_count:,}") for each in shown],
        )
    )
    if len(shown) < len(largest):
        to.print(f"… and {len(largest) - len(shown)} more: --all lists them", style="dim")


@app.command(
    "list",
    epilog=(
        "Examples:\n\nfashion catalogue list --article-type Tshirts --colour Blue --limit 20\n\n"
        "fashion catalogue list --words 'blue t-shirt' --order newest\n\n"
        '--json prints {"products", "total_size", "other_currencies"}; a product is a fashion.v1.Product '
        "(protos/fashion/v1/types.proto)."
    ),
)
@filters.filter_options("chosen")
def list_products(
    *,
    chosen: "search_pb2.Filter | None",
    order: Annotated[
        ListOrder, typer.Option("--order", case_sensitive=False, help="What to go by; unknown values come last.")
    ] = ListOrder.ID,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Number of products to list at most.")] = 50,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List products, by id where no other order is named."""
    from cli import output
    from cli.answers import describe_currencies

    products, last = with_client(server, lambda client: _first_products(client, chosen, order, limit))
    if as_json:
        documents = [output.message_document(product) for product in products]
        others = {each.currency_code: each.product_count for each in last.other_currencies}
        output.print_json({"products": documents, "total_size": last.total_size, "other_currencies": others})
        return
    to = output.console(uncut=True)
    rows = [(product.id, product.name or "–", product.derived_type, product.base_colour or "–") for product in products]
    ids = output.id_column([product.id for product in products])
    columns: list[tuple[str, dict[str, object]]] = [("id", ids), ("name", {}), ("derived type", {}), ("colour", {})]
    if rows:
        to.print(output.plain_table(columns, rows))
    parts = [f"{len(products):,} of {last.total_size:,} products", *describe_currencies(last.other_currencies)]
    to.print(" · ".join(parts), style="dim")


@app.command(
    epilog=(
        "Examples:\n\nfashion catalogue get 1001\n\nfashion catalogue get 1001 --photograph 1001.jpg\n\n"
        "--json prints fashion.v1.Product (protos/fashion/v1/types.proto).\n\nExit code 3: there is no such product."
    )
)
def get(
    product_id: Annotated[str, typer.Argument(metavar="ID", help="The product.")],
    photograph: Annotated[
        Path | None,
        typer.Option("--photograph", metavar="FILE", dir_okay=False, help="Write its photograph to this file too."),
    ] = None,
    index: Annotated[
        int, typer.Option("--index", metavar="N", min=0, help="Which of its photographs, counted from 0.")
    ] = 0,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Show one product; --photograph writes its photograph to a file."""
    from cli import output
    from services.serving.filter_texts import amount_text

    async def work(client: "SearchClient") -> "types_pb2.Product":
        product = (await client.get_product(product_id)).product
        if photograph is not None:
            write_file(photograph, (await client.get_photograph(product_id, index)).content)
        return product

    product = with_client(server, work)
    document = output.message_document(product)
    if as_json:
        output.print_json(document)
    else:
        # An empty one is left out below.
        gender = document["gender"].removeprefix("GENDER_").capitalize()
        document["gender"] = gender if product.gender else ""
        if "price" in document:
            document["price"] = f"{amount_text(product.price)} {product.price.currency_code}"
        del document["attributes"]
        facts = [(name, str(value)) for name, value in document.items() if value not in ("", None, {})]
        facts += attribute_facts(product.attributes)
        output.console().print(
            output.plain_table([("Product", {"style": "dim"}), ("", {"overflow": "fold", "no_wrap": False})], facts)
        )
    if photograph is not None:
        output.errors().print(f"Photograph: {photograph}", markup=False, soft_wrap=True)


def attribute_facts(attributes: "Mapping[str, types_pb2.AttributeValue]") -> list[tuple[str, str]]:
    """Returns the shop's own attributes by name, each value as text."""
    from services.serving.filter_texts import number_text

    facts: list[tuple[str, str]] = []
    for name, value in sorted(attributes.items()):
        match value.WhichOneof("kind"):
            case "number":
                facts.append((name, number_text(value.number)))
            case "flag":
                facts.append((name, "yes" if value.flag else "no"))
            case _:
                facts.append((name, ", ".join(value.labels.values)))
    return facts


@app.command(
    epilog=(
        "Examples:\n\nfashion catalogue update prices.csv\n\nfashion catalogue update changes.jsonl --json\n\n"
        "prices.csv: a first line such as id,price,in_stock, then 10014,19.99 EUR,yes. An empty cell changes nothing. "
        "Colours, genders and yes or no may be in the words that feeds take. "
        'changes.jsonl: a line such as {"id": "10014", "price": {"amount": "19.99", "currency": "EUR"}, '
        '"season": null}; null forgets.\n\n'
        '--json prints {"updated", "unchanged", "failed", "not_sent", "index_version"}: a failure has line, '
        "product_id, reason, message.\n\nExit code 3: a product was not there, 2: a row was wrong; the other rows are "
        "taken."
    )
)
def update(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, or JSON Lines (.jsonl).", dir_okay=False)],
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Change prices, stock and other fields of products, without their photographs."""
    from cli import output
    from cli.updates import Outcome, read_changes, send_changes

    rows = read_changes(source)
    outcome = Outcome()
    try:
        with_client(server, lambda client: send_changes(client, rows, outcome))
    except (FashionError, KeyboardInterrupt):
        if outcome.index_version is not None:
            _print_outcome(outcome, as_json)
            output.errors().print("Not finished. Repeat the command to go on.", style="yellow")
        raise
    _print_outcome(outcome, as_json)
    if failures := outcome.failures:
        category = NotFound if all(each.reason == "PRODUCT_NOT_FOUND" for each in failures) else InvalidInput
        raise category(f"{len(failures):,} of {len(rows):,} rows were not taken.", reason=failures[0].reason)


def _print_outcome(outcome: "Outcome", as_json: bool) -> None:
    from cli import output

    failures = outcome.failures
    if as_json:
        document = {"updated": outcome.updated, "unchanged": outcome.unchanged, "failed": [asdict(f) for f in failures]}
        output.print_json({**document, "not_sent": outcome.not_sent, "index_version": outcome.index_version})
        return
    counts = f"updated {outcome.updated:,} · unchanged {outcome.unchanged:,} · failed {len(failures):,}"
    counts += f" · not sent {outcome.not_sent:,}" if outcome.not_sent else ""
    output.console().print(counts, highlight=False)
    for each in failures[:_MAX_FAILURES_SHOWN]:
        text = f"line {each.line}: {each.product_id}: {each.reason}: {each.message}"
        output.errors().print(text, markup=False, soft_wrap=True)


@app.command(
    epilog=(
        "Example: fashion catalogue delete 1001 1002\n\n"
        '--json prints {"deleted", "failed", "not_sent", "index_version"}: a failure has product_id, reason, '
        "message.\n\n"
        "Exit code 3: at least one product was not there; the others are deleted."
    )
)
def delete(
    product_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The products.")],
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Delete products and their photographs."""
    from cli import output
    from cli.deletions import deletions
    from services.serving.status import category_of

    responses: list[search_pb2.DeleteProductsResponse] = []

    async def work(client: "SearchClient") -> None:
        async for response in deletions(client, product_ids):
            responses.append(response)

    try:
        with_client(server, work)
    except (FashionError, KeyboardInterrupt):
        if responses:
            _print_deleted(product_ids, responses, as_json)
            output.errors().print("Not finished. Repeat the command for the others.", style="yellow")
        raise
    _print_deleted(product_ids, responses, as_json)
    failed = [result for response in responses for result in response.results if result.status.code != 0]
    if failed:
        first = failed[0].status
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        category = category_of(failed[0].status.code) or FashionError
        raise category(f"{failed[0].product_id}: {first.message}{more}", reason=first.reason)


def _print_deleted(product_ids: list[str], responses: "list[search_pb2.DeleteProductsResponse]", as_json: bool) -> None:
    from cli import output

    results = [result for response in responses for result in response.results]
    deleted = [result.product_id for result in results if result.status.code == 0]
    failed = [result for result in results if result.status.code != 0]
    if as_json:
        output.print_json(
            {
                "deleted": deleted,
                "failed": [
                    {
                        "product_id": result.product_id,
                        "reason": result.status.reason,
                        "message": result.status.message,
                    }
                    for result in failed
                ],
                "not_sent": len(product_ids) - len(results),
                "index_version": responses[-1].index_version,
            }
        )
    elif deleted:
        output.console().print(f"Deleted {output.counted(len(deleted), 'products')}.")


@app.command(
    "map",
    epilog=(
        "Examples:\n\nfashion catalogue map\n\nfashion catalogue map --output map.png --colour-by base_colour\n\n"
        "It reads the data directory of a stack on this machine, running or not, and takes about a minute for 5,000 "
        "products. It needs the extra `train`.\n\n"
        '--json prints {"file", "picture", "products", "catalogue_size", "model_version"}.\n\n'
        "Exit code 3: there is no catalogue, or it is empty."
    ),
)
def make_map(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    products: Annotated[
        int,
        typer.Option(
            "--products",
            metavar="N",
            min=1,
            max=5000,
            help="Number of random products at most; each type gets its share.",
        ),
    ] = 5000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the choice of products and of their places.")] = 1,
    picture: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", dir_okay=False, help="Draw the map too, as .png, .svg or .pdf."),
    ] = None,
    colour_by: Annotated[
        ColourBy,
        typer.Option(
            "--colour-by",
            case_sensitive=False,
            metavar="ATTRIBUTE",
            help=f"Colour the drawing by {', '.join(each.value for each in ColourBy)}.",
        ),
    ] = ColourBy.SUB_CATEGORY,
    as_json: AsJson = False,
) -> None:
    """Place similar products together on a map, for the page /map of the storefront."""
    from cli import output
    from offline.catalogue_map.layout import MAP_FILE, draw_sample, lay_out, write_document
    from services.search.catalogue.database import CatalogueUnusable

    if picture is not None and picture.suffix.lower() not in _PICTURES:
        raise InvalidInput(
            f"The picture {picture} has an unknown suffix: use one of {', '.join(_PICTURES)}.", reason="FILE_UNKNOWN"
        )
    with output.errors().status("Reading the catalogue …") as status:
        try:
            sample = draw_sample(data_dir, products, seed)
        except CatalogueUnusable as error:
            raise NotFound(str(error), reason="CATALOGUE_UNUSABLE") from error
        laid_out = lay_out(sample, seed, lambda stage: status.update(f"Computing {stage} …"))
        file = data_dir / MAP_FILE
        try:
            write_document(laid_out.document(), file)
            if picture is not None:
                from offline.catalogue_map.plot import draw_map

                status.update(f"Drawing {picture.name} …")
                draw_map(laid_out, colour_by.value, picture)
        except OSError as error:
            raise unwritable(file, error) from None
    count = len(sample.products)
    if as_json:
        output.print_json(
            {
                "file": str(file),
                "picture": None if picture is None else str(picture),
                "products": count,
                "catalogue_size": sample.catalogue_size,
                "model_version": sample.model_version,
            }
        )
        return
    to = output.console()
    to.print(f"{count:,} of {sample.catalogue_size:,} products: {file}", markup=False, soft_wrap=True)
    if picture is not None:
        to.print(f"Picture: {picture}", markup=False, soft_wrap=True)


async def _first_products(
    client: "SearchClient", chosen: "search_pb2.Filter | None", order: ListOrder, limit: int
) -> "tuple[list[types_pb2.Product], search_pb2.ListProductsResponse]":
    from fashion.v1 import search_pb2

    wanted: search_pb2.ProductOrder = getattr(search_pb2, f"PRODUCT_ORDER_{order.name}")
    products: list[types_pb2.Product] = []
    labels = list(filter_labels(chosen)) if chosen is not None else []
    token = ""
    while True:
        size = min(MAX_CALL_ROWS, limit - len(products))
        page = await in_any_case(
            lambda: client.list_products(chosen, order=wanted, page_size=size, page_token=token),  # noqa: B023
            labels,
        )
        products += page.products
        token = page.next_page_token
        if not token or len(products) >= limit:
            return products, page
