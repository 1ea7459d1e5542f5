"""`fashion search`: products similar to a product or a photograph."""

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import filters
from cli.connection import DEFAULT_SERVER, AsJson, Server, with_client
from cli.files import read_file, unwritable
from cli.labels import filter_labels, in_any_case
from services.contract.errors import InvalidInput
from services.contract.values import Box, Subject

if TYPE_CHECKING:
    from fashion.v1 import search_pb2
    from services.clients.search import SearchClient

app = typer.Typer(rich_markup_mode="rich", add_completion=False)

# Also suffixes that the server refuses: it says why better than that there is no such product.
_PHOTOGRAPHS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif", ".gif", ".bmp", ".tif", ".tiff")
)
_QUERY = "The query: a product or a photograph"
_STEER = "Who asks, and where to search"


class Scope(Enum):
    """Where to search; AUTO means the whole inventory for a product, the predicted derived type for a photograph."""

    AUTO = "auto"
    PREDICTED_TYPE = "predicted-type"
    INVENTORY = "inventory"


@app.command(
    epilog=(
        "Examples:\n\n"
        "fashion search 1001 --colour blue\n\n"
        "fashion search out/demo/yellow-shirt.jpg --user anna --top-k 5 --contact-sheet out.png\n\n"
        "Letter case does not count in labels; --color is another spelling of --colour.\n\n"
        "--json prints fashion.v1.FindSimilarResponse (protos/fashion/v1/search.proto) with the field names of that "
        "file: products, each with product and similarity; applied; classification, for a photograph. It is proto3 "
        "JSON, but 64-bit integers are numbers.\n\n"
        "Exit codes: 0 done, also without any eligible product · 1 unexpected · 2 bad usage or input, such as an "
        "unknown colour · 3 no such product · 4 server unavailable, overloaded or too slow: try again"
    )
)
@filters.filter_options("chosen")
def search(
    *,
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY",
            show_default=False,
            help="A photograph, if it is a file or named as one (shirt.jpg, ./shirt), else the id of a product.",
        ),
    ] = None,
    product_id: Annotated[
        str | None,
        typer.Option("--product-id", metavar="ID", help="Search for products like this one.", rich_help_panel=_QUERY),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(
            "--image",
            metavar="FILE",
            help="Search for products like this photograph: JPEG, PNG, WebP or AVIF.",
            rich_help_panel=_QUERY,
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            metavar="L,T,R,B",
            help="Use only this part of the photograph, tight around the garment: left, top, right, bottom, each from "
            "0 to 1.",
            rich_help_panel=_QUERY,
        ),
    ] = None,
    subject: Annotated[
        Subject | None,
        typer.Option(
            "--subject",
            metavar="whole|auto",
            help="Without --region: use the whole photograph, or (auto, the default) the largest garment in it.",
            rich_help_panel=_QUERY,
        ),
    ] = None,
    chosen: "search_pb2.Filter | None",
    include_out_of_stock: Annotated[
        bool,
        typer.Option("--include-out-of-stock", help="Show products out of stock too.", rich_help_panel=filters.PANEL),
    ] = False,
    variants: Annotated[
        bool,
        typer.Option(
            "--variants", help="Show each variant of a product, such as its sizes.", rich_help_panel=filters.PANEL
        ),
    ] = False,
    designs: Annotated[
        bool,
        typer.Option(
            "--designs",
            help="Group products by name and looks where no parent is known.",
            rich_help_panel=filters.PANEL,
        ),
    ] = False,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="USER", help="Leave out the colours that this user dislikes.", rich_help_panel=_STEER
        ),
    ] = None,
    require_preferences: Annotated[
        bool,
        typer.Option(
            "--require-preferences",
            help="Fail where the user's dislikes cannot be read, instead of answering without them.",
            rich_help_panel=_STEER,
        ),
    ] = False,
    liked: Annotated[
        list[str] | None,
        typer.Option("--liked", metavar="ID", help="Lean towards this product too.", rich_help_panel=_STEER),
    ] = None,
    disliked: Annotated[
        list[str] | None,
        typer.Option("--disliked", metavar="ID", help="Lean away from this product.", rich_help_panel=_STEER),
    ] = None,
    scope: Annotated[
        Scope,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            case_sensitive=False,
            help="predicted-type, inventory or auto: the inventory for a product, the predicted type for a photograph.",
            rich_help_panel=_STEER,
        ),
    ] = Scope.AUTO,
    derived_type: Annotated[
        list[str] | None,
        typer.Option(
            "--derived-type",
            metavar="TYPE",
            help='Search only this derived type, such as "Men Tshirts".',
            rich_help_panel=_STEER,
        ),
    ] = None,
    min_similarity: Annotated[
        float | None,
        typer.Option("--min-similarity", metavar="S", help="Leave out products less similar than this, -1 to 1."),
    ] = None,
    boost: Annotated[
        list[str] | None,
        typer.Option(
            "--boost",
            metavar="RULE",
            help='Move products up or down: a factor of 0.5 to 2 and a filter, such as "1.2 season=Summer".',
        ),
    ] = None,
    diversity: Annotated[
        float,
        typer.Option("--diversity", metavar="D", help="How much the products should differ from one another, 0 to 1."),
    ] = 0.0,
    top_k: Annotated[int, typer.Option("--top-k", "-k", metavar="N", help="Number of products, 1 to 100.")] = 10,
    contact_sheet: Annotated[
        Path | None,
        typer.Option("--contact-sheet", metavar="PNG", dir_okay=False, help="Draw the answer as a picture too."),
    ] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Find products similar to a product or a photograph, the most similar first."""
    from fashion.v1 import search_pb2

    if query is not None:
        if product_id is not None or image is not None:
            raise InvalidInput("Name one query: QUERY, --product-id or --image.", reason="QUERY_MISSING")
        product_id, image = (None, Path(query)) if _names_a_file(query) else (query, None)
    request = search_pb2.FindSimilarRequest(
        liked_product_ids=liked or [],
        disliked_product_ids=disliked or [],
        user_id=user or "",
        filter=chosen,
        top_k=top_k,
        include_out_of_stock=include_out_of_stock,
        min_similarity=min_similarity,
        diversity=diversity,
    )
    if boost:
        from services.gateway.conversion import boost_to_proto

        request.boosts.extend(map(boost_to_proto, boost))
    if variants and designs:
        raise InvalidInput(
            "The options --variants and --designs exclude each other: leave one of them out.", reason="COLLAPSE_INVALID"
        )
    if variants or designs:
        request.collapse = search_pb2.COLLAPSE_NONE if variants else search_pb2.COLLAPSE_DESIGNS
    if require_preferences:
        request.preference_policy = search_pb2.PREFERENCE_POLICY_REQUIRED
    _set_query(request, product_id, image, region)
    _set_subject(request, subject)
    _set_scope(request, scope, derived_type)

    async def work(client: "SearchClient") -> None:
        labels = [*filter_labels(request.filter), request.derived_types]
        response = await in_any_case(lambda: client.find_similar(request), labels)
        await _show(client, request, response, image=image, as_json=as_json, contact_sheet=contact_sheet)

    with_client(server, work)


def _names_a_file(query: str) -> bool:
    path = Path(query)
    return path.suffix.lower() in _PHOTOGRAPHS or os.sep in query or path.is_file()


def parse_region(text: str) -> Box:
    """Parses "left,top,right,bottom"; the server checks the values.

    Raises:
        InvalidInput: the text is not four numbers.
    """
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        raise InvalidInput(
            f"The region {text!r} is not four numbers left,top,right,bottom, such as 0.1,0,0.9,0.5.",
            reason="REGION_INVALID",
        ) from None
    return Box(left, top, right, bottom)


def _set_query(
    request: "search_pb2.FindSimilarRequest", product_id: str | None, image: Path | None, region: str | None
) -> None:
    if (product_id is None) == (image is None):
        raise InvalidInput("Name a photograph or the id of a product.", reason="QUERY_MISSING")
    if product_id is not None:
        if region is not None:
            raise InvalidInput("The option --region needs a photograph.", reason="REGION_INVALID")
        request.product_id = product_id
    if image is not None:
        request.image.content = read_file(image)
        if region is not None:
            box = parse_region(region)
            request.image.region.left, request.image.region.top = box.left, box.top
            request.image.region.right, request.image.region.bottom = box.right, box.bottom


def _set_subject(request: "search_pb2.FindSimilarRequest", subject: Subject | None) -> None:
    from fashion.v1 import types_pb2

    if subject is None:
        return
    if request.WhichOneof("query") != "image":
        raise InvalidInput("The option --subject needs --image.", reason="SUBJECT_INVALID")
    auto = subject is Subject.AUTO
    request.image.subject = types_pb2.SUBJECT_AUTO if auto else types_pb2.SUBJECT_WHOLE


def _set_scope(request: "search_pb2.FindSimilarRequest", scope: Scope, derived_types: list[str] | None) -> None:
    from fashion.v1 import search_pb2

    if derived_types:
        if scope is not Scope.AUTO:
            raise InvalidInput(
                "The options --derived-type and --scope exclude each other: leave one of them out.",
                reason="SCOPE_INVALID",
            )
        request.scope = search_pb2.SEARCH_SCOPE_DERIVED_TYPES
        request.derived_types.extend(derived_types)
    elif scope is Scope.PREDICTED_TYPE:
        request.scope = search_pb2.SEARCH_SCOPE_PREDICTED_TYPE
    elif scope is Scope.INVENTORY:
        request.scope = search_pb2.SEARCH_SCOPE_INVENTORY


async def _show(
    client: "SearchClient",
    request: "search_pb2.FindSimilarRequest",
    response: "search_pb2.FindSimilarResponse",
    *,
    image: Path | None,
    as_json: bool,
    contact_sheet: Path | None,
) -> None:
    from cli import answers, output

    to = output.console(uncut=True)
    if as_json:
        output.print_json(output.message_document(response))
    if image is not None:
        caption = [image.name]
        picture: bytes | None = request.image.content
        title = f"Similar to {image.name}"
    elif as_json and contact_sheet is None:
        return
    else:
        product = (await client.get_product(request.product_id)).product
        caption = [product.id, product.name, product.derived_type, product.base_colour]
        picture = None
        if contact_sheet is not None:
            picture = (await answers.photographs(client, {product.id: 0}))[product.id]
        title = f"Similar to {answers.describe_product(product)}"
    narrowed = filters.describe_filter(request.filter if request.HasField("filter") else None)
    if not as_json:
        to.print(title, style="bold", markup=False, no_wrap=True, overflow="ellipsis")
        if narrowed:
            to.print(f"Filter: {narrowed}", markup=False)
        answers.print_answer(to, response)
    if contact_sheet is not None:
        from cli.contact_sheet import write_contact_sheet

        region = request.image.region if request.image.HasField("region") else None
        section = await answers.contact_section(
            client,
            response,
            heading=title,
            note=" · ".join(part for part in (answers.describe_applied(response), narrowed) if part),
            query_picture=picture,
            query_caption=[line for line in caption if line],
            region=Box(region.left, region.top, region.right, region.bottom) if region is not None else None,
        )
        try:
            write_contact_sheet(contact_sheet, "Similar products", [section])
        except OSError as error:
            raise unwritable(contact_sheet, error) from None
        output.errors().print(f"Contact sheet: {contact_sheet}", markup=False, soft_wrap=True)
