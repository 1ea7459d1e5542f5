"""`fashion search`: products similar to a product or a photograph."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import filters
from cli.connection import DEFAULT_SERVER, AsJson, Server, with_client
from cli.files import read_file, unwritable
from cli.labels import in_any_case, request_labels
from cli.similar_options import similar_options
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
@similar_options("request", top_k=10)
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
    request: "search_pb2.FindSimilarRequest",
    contact_sheet: Annotated[
        Path | None,
        typer.Option("--contact-sheet", metavar="PNG", dir_okay=False, help="Draw the answer as a picture too."),
    ] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Find products similar to a product or a photograph, the most similar first."""
    if query is not None:
        if product_id is not None or image is not None:
            raise InvalidInput("Name one query: QUERY, --product-id or --image.", reason="QUERY_MISSING")
        product_id, image = (None, Path(query)) if _names_a_file(query) else (query, None)
    _set_query(request, product_id, image, region)
    _set_subject(request, subject)

    async def work(client: "SearchClient") -> None:
        response = await in_any_case(lambda: client.find_similar(request), request_labels(request))
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
