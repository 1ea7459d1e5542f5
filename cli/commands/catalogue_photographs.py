"""`fashion catalogue add-photograph` and `remove-photograph`: the photographs of a product, one at a time."""

from pathlib import Path
from typing import Annotated

import typer

from cli.connection import DEFAULT_SERVER, AsJson, Server, with_client
from cli.files import read_file


def add_photograph(
    product_id: Annotated[str, typer.Argument(metavar="ID", help="The product.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The photograph: JPEG, PNG, WebP or AVIF.")],
    index: Annotated[
        int | None,
        typer.Option("--index", metavar="N", min=0, help="Its place, 0 for the first. Default: the last."),
    ] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Add a photograph to a product, which may have 8; one that it has already is not added again."""
    from cli import output
    from fashion.v1 import search_pb2, types_pb2

    image = types_pb2.Image(content=read_file(file))
    answer = with_client(server, lambda client: client.add_photograph(product_id, image, index))
    if as_json:
        output.print_json(output.message_document(answer))
        return
    known = answer.outcome == search_pb2.UPSERT_OUTCOME_UNCHANGED
    output.console().print(
        f"Photograph {answer.index} of {product_id}{' was there already' if known else ''}; it has "
        f"{answer.product.photograph_count}.",
        markup=False,
        soft_wrap=True,
    )


def remove_photograph(
    product_id: Annotated[str, typer.Argument(metavar="ID", help="The product.")],
    index: Annotated[int, typer.Argument(metavar="N", min=0, help="Which of its photographs, counted from 0.")],
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Remove one of several photographs of a product; those after it move up."""
    from cli import output

    answer = with_client(server, lambda client: client.remove_photograph(product_id, index))
    if as_json:
        output.print_json(output.message_document(answer))
        return
    count = answer.product.photograph_count
    output.console().print(f"Removed. {product_id} has {count} left.", markup=False, soft_wrap=True)
