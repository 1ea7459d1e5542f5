"""An answer of FindSimilar for people: as a table, and as a section of a contact sheet."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from cli.output import MAX_WIDTH, id_column, plain_table
from fashion.v1 import search_pb2, types_pb2
from services.contract.errors import NotFound
from services.contract.values import Box

if TYPE_CHECKING:
    from cli.contact_sheet import Mark, Section
    from services.clients.search import SearchClient

# Calls for photographs of a contact sheet at once.
_PHOTOGRAPHS_AT_ONCE = 8

_DEGRADED = {
    search_pb2.DEGRADED_REASON_PREFERENCES_UNAVAILABLE: "the user's dislikes could not be read and were not applied",
    search_pb2.DEGRADED_REASON_CLASSIFIER_UNAVAILABLE: (
        "the classifier did not answer: the whole inventory was searched"
    ),
    search_pb2.DEGRADED_REASON_PREDICTED_TYPE_NOT_IN_CATALOGUE: (
        "the catalogue has no product of the predicted type: the whole inventory was searched"
    ),
    search_pb2.DEGRADED_REASON_UNSURE: (
        "it is doubtful what the photograph shows: the two likeliest types were searched (choose one with --type)"
    ),
}


def print_products(
    to: Console,
    products: Sequence[search_pb2.SimilarProduct],
    *,
    marks: "dict[str, Mark] | None" = None,
) -> None:
    """Prints products with rank, id, name, derived type, colour and similarity, and their marks."""
    marks = marks or {}
    # Where lines have no end, as in a pipe, nothing is cut.
    limits = (38, 22, 16) if to.width <= MAX_WIDTH else (None, None, None)
    columns: list[tuple[str, dict[str, object]]] = [
        ("#", {"justify": "right"}),
        ("id", id_column([similar.product.id for similar in products])),
        ("name", {"ratio": None, "max_width": limits[0], "min_width": 16}),
        ("derived type", {"max_width": limits[1]}),
        ("colour", {"max_width": limits[2]}),
        ("similarity", {"justify": "right"}),
    ]
    if any(similar.HasField("rank_score") for similar in products):
        columns.append(("rank", {"justify": "right"}))
    if any(similar.variant_count for similar in products):
        columns.append(("variants", {"max_width": limits[2]}))
    headings = {heading for heading, _ in columns}
    if marks:
        columns.append(("", {"min_width": 6}))
    rows: list[list[str | Text]] = []
    for rank, similar in enumerate(products, start=1):
        product = similar.product
        mark = marks.get(product.id)
        row: list[str | Text] = [
            str(rank),
            product.id,
            product.name or "–",
            product.derived_type,
            product.base_colour or "–",
            f"{similar.similarity:.3f}",
        ]
        if "rank" in headings:
            row.append(f"{similar.rank_score:.3f}")
        if "variants" in headings:
            row.append(describe_variants(similar))
        if marks:
            row.append(Text(mark or "", style="green" if mark == "new" else "yellow"))
        rows.append(row)
    to.print(plain_table(columns, rows))


def print_answer(
    to: Console,
    response: search_pb2.FindSimilarResponse,
    *,
    marks: "dict[str, Mark] | None" = None,
    classification: bool = True,
) -> None:
    """Prints the classification of a photograph, the products, and the scope of the search.

    Args:
        to: the console.
        response: the answer.
        marks: words beside products, by id.
        classification: whether to print the classification.
    """
    if classification and response.HasField("classification"):
        to.print(Text(describe_classification(response.classification)))
    if response.products:
        to.print()
        print_products(to, response.products, marks=marks)
        to.print()
    else:
        remedy = "lower the similarity" if response.applied.below_min_similarity else "widen the filter or the scope"
        to.print(f"No product is eligible: {remedy}.")
    to.print(Text(describe_applied(response), style="dim"))
    for reason in response.applied.degraded:
        to.print(Text(f"Note: {_DEGRADED.get(reason, search_pb2.DegradedReason.Name(reason))}.", style="yellow"))


def describe_variants(similar: search_pb2.SimilarProduct) -> str:
    """Returns the other variants of a product in a few words: "4 (Red, Green)"."""
    if not similar.variant_count:
        return "–"
    own = similar.product.base_colour
    colours = dict.fromkeys(each.base_colour for each in similar.variants if each.base_colour not in ("", own))
    return f"{similar.variant_count} ({', '.join(colours)})" if colours else str(similar.variant_count)


def describe_classification(classification: types_pb2.Classification) -> str:
    """Returns the classification of a photograph in one line."""
    parts: list[str] = []
    if classification.sub_categories:
        first = classification.sub_categories[0]
        probability = f" ({first.probability:.0%})" if first.HasField("probability") else " (by candidates alone)"
        parts.append(f"subCategory {first.label}{probability}")
    if classification.derived_types:
        best = classification.derived_types[0]
        then = "".join(f", then {other.label} {_likeliness(other)}" for other in classification.derived_types[1:2])
        parts.append(f"derived type {best.label} ({_likeliness(best)}{then})")
    return "Predicted: " + (" · ".join(parts) or "nothing")


def _likeliness(prediction: types_pb2.DerivedTypePrediction) -> str:
    if prediction.HasField("probability"):
        return f"{prediction.probability:.0%}"
    return f"{prediction.similarity:.2f}"


def describe_applied(response: search_pb2.FindSimilarResponse) -> str:
    """Returns the scope of a search and its exclusions in one line."""
    applied = response.applied
    if applied.rungs:
        where = ", ".join(applied.rungs[-1].labels) or rung_name(applied.rungs[-1].rung)
    elif applied.scope == search_pb2.SEARCH_SCOPE_INVENTORY or not applied.derived_types:
        where = "the whole inventory"
    else:
        where = ", ".join(applied.derived_types)
    parts = [f"{len(response.products)} of {applied.eligible_count:,} eligible products in {where}"]
    if len(applied.rungs) > 1:
        steps = (f"{each.returned_count} of {', '.join(each.labels)}" for each in applied.rungs if each.returned_count)
        parts.append(f"widened: {', then '.join(steps)}")
    if applied.excluded_colours:
        parts.append(f"left out as disliked: {', '.join(applied.excluded_colours)}")
    if len(response.products) < applied.counts.requested_count:
        parts += describe_left_out(applied.counts)
    return " · ".join([*parts, *describe_currencies(applied.other_currencies)])


def rung_name(rung: search_pb2.SearchRung) -> str:
    """Returns the name of a rung as JSON has it, such as "article_type"."""
    return search_pb2.SearchRung.Name(rung).removeprefix("SEARCH_RUNG_").lower()


def describe_left_out(counts: search_pb2.ResultCounts) -> list[str]:
    """Says what became of the products that were searched and are not in the answer; nothing where that is none."""
    shown = [
        f"{count:,} {what}"
        for count, what in (
            (counts.filtered_count, "by the filter"),
            (counts.out_of_stock_count, "out of stock"),
            (counts.disliked_count, "disliked"),
            (counts.excluded_count, "excluded"),
            (counts.variant_count, "variants of others"),
            (counts.dissimilar_count, "not similar enough"),
        )
        if count
    ]
    return [f"left out of {counts.searched_count:,}: {', '.join(shown)}"] if shown else []


def describe_currencies(counts: Iterable[search_pb2.CurrencyCount]) -> list[str]:
    """Says how many products a range of prices left out for their currency alone; nothing where none were."""
    shown = ", ".join(f"{each.product_count:,} in {each.currency_code}" for each in counts)
    return [f"left out for their currency: {shown}"] if shown else []


def describe_product(product: types_pb2.Product) -> str:
    """Returns a product in one line: id, and name, derived type and colour where they are known."""
    parts = [product.id, product.name, product.derived_type, product.base_colour]
    return " · ".join(part for part in parts if part)


async def contact_section(
    client: "SearchClient",
    response: search_pb2.FindSimilarResponse,
    *,
    heading: str,
    note: str,
    query_picture: bytes | None,
    query_caption: Sequence[str],
    region: Box | None = None,
    marks: "dict[str, Mark] | None" = None,
) -> "Section":
    """Fetches the photographs of an answer, and returns it as a section of a contact sheet."""
    # Drawing takes long to import.
    from cli.contact_sheet import Section, Tile

    # Of several photographs the one that is similar.
    pictures = await photographs(client, {each.product.id: each.photograph_index for each in response.products})
    marks = marks or {}
    tiles = tuple(
        Tile(
            picture=pictures[similar.product.id],
            caption=(
                f"{similar.similarity:.3f} · {similar.product.base_colour or 'no colour known'}",
                similar.product.name or similar.product.id,
            ),
            mark=marks.get(similar.product.id),
        )
        for similar in response.products
    )
    caption = list(query_caption)
    if response.HasField("classification"):
        recognised = response.classification
        caption += [f"predicted subCategory: {first.label}" for first in recognised.sub_categories[:1]]
        caption += [f"predicted type: {best.label}" for best in recognised.derived_types[:1]]
    return Section(heading, note, Tile(query_picture, tuple(caption), region=region), tiles)


async def photographs(client: "SearchClient", indexes: Mapping[str, int]) -> dict[str, bytes | None]:
    """Returns a photograph of each product, by its index from 0; None for one that was written as an embedding."""
    turn = asyncio.Semaphore(_PHOTOGRAPHS_AT_ONCE)

    async def photograph(product_id: str, index: int) -> bytes | None:
        async with turn:
            try:
                return (await client.get_photograph(product_id, index)).content
            except NotFound:
                return None

    contents = await asyncio.gather(*(photograph(*each) for each in indexes.items()))
    return dict(zip(indexes, contents, strict=True))
