"""The options that narrow down which products are eligible, and the filter that they make."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.options import Command, shared_options
from services.contract.attributes import FILTERED, Kind
from services.contract.errors import InvalidInput
from services.contract.values import Gender

if TYPE_CHECKING:
    from fashion.v1 import search_pb2, types_pb2

PANEL: Final = "Only these products (repeat an option for several values)"


# Option -> its meaning and an example.
_LABELS: Final = {each.name: (each.description, each.example) for each in FILTERED if each.kind is Kind.LABEL}
_COLOURS: Final = {
    "colour": ("Exactly this main colour", "Blue"),
    "colour_family": ("This colour or a relative (for Blue also Navy Blue)", "Blue"),
    "not_colour": ("Not exactly this main colour", "Black"),
    "not_colour_family": ("Neither this colour nor a relative", "Black"),
}


def filter_options(parameter: str) -> Callable[[Command], Command]:
    """Gives a command the options of a filter; they arrive in `parameter` as a fashion.v1.Filter, or None."""
    return shared_options(parameter, build_filter, list(options()))


def options() -> Iterator[inspect.Parameter]:
    """Yields the options, each with the default None."""
    genders = typer.Option(
        "--gender",
        case_sensitive=False,
        metavar="VALUE",
        help="Whom it is made for: Men, Women, Boys, Girls or Unisex.",
        rich_help_panel=PANEL,
    )
    yield _option("gender", Annotated[list[Gender] | None, genders])
    for name, (meaning, example) in (_LABELS | _COLOURS).items():
        text = f"{meaning}, such as {example}."
        values = typer.Option(_flag(name), metavar="VALUE", help=text, rich_help_panel=PANEL)
        yield _option(name, Annotated[list[str] | None, values])
    for name, text in (
        ("attribute", "An own attribute: material:Cotton, heel_mm:40..80 or organic:true."),
        ("not_attribute", "A label of an own attribute to leave out, such as material:Wool."),
    ):
        own = typer.Option(_flag(name), metavar="NAME:VALUE", help=text, rich_help_panel=PANEL)
        yield _option(name, Annotated[list[str] | None, own])
    price = typer.Option(
        "--price",
        metavar="RANGE",
        help="Prices in one currency, such as '10..49.99 EUR' or '..20 EUR'.",
        rich_help_panel=PANEL,
    )
    yield _option("price", Annotated[str | None, price])
    words = typer.Option(
        "--words",
        metavar="TEXT",
        help="Words of its texts or id, such as 'blue t-shirt'.",
        rich_help_panel=PANEL,
    )
    yield _option("words", Annotated[str | None, words])
    for name, text in (("year_from", "The first year."), ("year_to", "The last year.")):
        year = typer.Option(_flag(name), metavar="YEAR", help=text, rich_help_panel=PANEL)
        yield _option(name, Annotated[int | None, year])


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _option(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def build_filter(
    *,
    gender: list[Gender] | None = None,
    colour: list[str] | None = None,
    colour_family: list[str] | None = None,
    not_colour: list[str] | None = None,
    not_colour_family: list[str] | None = None,
    year_from: int | None = None,
    year_to: int | None = None,
    attribute: list[str] | None = None,
    not_attribute: list[str] | None = None,
    price: str | None = None,
    words: str | None = None,
    **labels: list[str] | None,
) -> "search_pb2.Filter | None":
    """Makes a filter of the options' values; None where no option was given.

    Args:
        gender: genders to keep.
        colour: colours to keep, exactly.
        colour_family: colours to keep with their families.
        not_colour: colours to leave out, exactly.
        not_colour_family: colours to leave out with their families.
        year_from: the first year.
        year_to: the last year.
        attribute: conditions on own attributes, as `attribute_filters` reads them.
        not_attribute: labels of own attributes to leave out.
        price: a range of prices, as `price_range` reads it.
        words: words that each must begin a word of the product's texts.
        labels: labels to keep, by attribute.

    Raises:
        InvalidInput: COLOUR_OPTIONS_MIXED: one filter cannot hold exact colours and families; PRICE_RANGE_INVALID,
            ATTRIBUTE_FILTER_INVALID: a condition cannot be read.
    """
    from fashion.v1 import search_pb2
    from services.serving.filter_texts import attribute_filters, price_range

    if (colour or not_colour) and (colour_family or not_colour_family):
        raise InvalidInput(
            "Exact colours and colour families exclude each other: use either --colour and --not-colour, "
            "or --colour-family and --not-colour-family.",
            reason="COLOUR_OPTIONS_MIXED",
        )
    condition = search_pb2.Filter()
    if gender:
        from services.serving.conversion import gender_to_proto

        condition.gender.any_of.extend(gender_to_proto(each) for each in gender)
    for name, values in labels.items():
        if values:
            getattr(condition, name).any_of.extend(values)
    if wanted := colour or colour_family:
        condition.base_colour.any_of.extend(wanted)
    if unwanted := not_colour or not_colour_family:
        condition.base_colour.none_of.extend(unwanted)
    if colour_family or not_colour_family:
        condition.base_colour.by_family = True
    if year_from is not None:
        condition.year.first = year_from
    if year_to is not None:
        condition.year.last = year_to
    for name, part in attribute_filters(attribute or (), not_attribute or ()).items():
        condition.attributes[name].CopyFrom(part)
    if price is not None:
        condition.price.CopyFrom(price_range(price))
    condition.words = words or ""
    return condition if condition.ByteSize() else None


def describe_filter(condition: "search_pb2.Filter | None") -> str:
    """Returns a filter in words, such as "baseColour Blue, gender not Men"; empty for none."""
    from services.serving.filter_texts import attribute_texts, price_text

    if condition is None:
        return ""
    parts: list[str] = []
    for field, part in condition.ListFields():
        name = field.camelcase_name
        if field.name == "words":
            parts.append(f'words "{part}"')
            continue
        if field.name == "price":
            parts.append(f"{name} {price_text(part, part.currency_code)}")
            continue
        if field.name == "attributes":
            parts += (f"{own} {text}" for own in sorted(part) for text in attribute_texts(part[own]))
            continue
        if field.name == "year":
            first = str(part.first) if part.HasField("first") else "…"
            last = str(part.last) if part.HasField("last") else "…"
            parts.append(f"{name} {first} to {last}")
            continue
        if field.name == "base_colour" and part.by_family:
            name += " family"
        wanted, unwanted = part.any_of, part.none_of
        if field.name == "gender":
            wanted, unwanted = _gender_names(wanted), _gender_names(unwanted)
        if wanted:
            parts.append(f"{name} {' or '.join(wanted)}")
        if unwanted:
            parts.append(f"{name} not {' nor '.join(unwanted)}")
    return ", ".join(parts)


def _gender_names(numbers: "Sequence[types_pb2.Gender]") -> list[str]:
    from fashion.v1 import types_pb2

    return [types_pb2.Gender.Name(number).removeprefix("GENDER_").capitalize() for number in numbers]
