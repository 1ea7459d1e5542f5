"""The options that narrow down which products are eligible, and the filter that they make."""

from typing import TYPE_CHECKING, Annotated

import typer

from services.contract.errors import InvalidInput
from services.contract.values import Gender

if TYPE_CHECKING:
    from fashion.v1 import search_pb2

PANEL = "Which products are eligible (repeat an option for several values)"


def _values(flag: str, meaning: str, example: str) -> typer.models.OptionInfo:
    option = typer.Option(flag, metavar="VALUE", help=f"{meaning}, such as {example}.", rich_help_panel=PANEL)
    assert isinstance(option, typer.models.OptionInfo)
    return option


Genders = Annotated[
    list[Gender] | None,
    typer.Option(
        "--gender",
        case_sensitive=False,
        metavar="VALUE",
        help="Whom it is made for: Men, Women, Boys, Girls or Unisex.",
        rich_help_panel=PANEL,
    ),
]
MasterCategories = Annotated[list[str] | None, _values("--master-category", "The broadest category", "Apparel")]
SubCategories = Annotated[list[str] | None, _values("--sub-category", "The category below it", "Topwear")]
ArticleTypes = Annotated[list[str] | None, _values("--article-type", "The kind of article", "Tshirts")]
Colours = Annotated[list[str] | None, _values("--colour", "Exactly this main colour", "Blue")]
ColourFamilies = Annotated[
    list[str] | None, _values("--colour-family", "A colour and its relatives (Navy Blue, … too)", "Blue")
]
NotColours = Annotated[list[str] | None, _values("--not-colour", "Not exactly this main colour", "Black")]
NotColourFamilies = Annotated[
    list[str] | None, _values("--not-colour-family", "Neither a colour nor its relatives", "Black")
]
Seasons = Annotated[list[str] | None, _values("--season", "The season", "Summer")]
Usages = Annotated[list[str] | None, _values("--usage", "The occasion", "Casual")]
YearFrom = Annotated[
    int | None, typer.Option("--year-from", metavar="YEAR", help="The first year.", rich_help_panel=PANEL)
]
YearTo = Annotated[int | None, typer.Option("--year-to", metavar="YEAR", help="The last year.", rich_help_panel=PANEL)]


def build_filter(
    *,
    genders: list[Gender] | None,
    master_categories: list[str] | None,
    sub_categories: list[str] | None,
    article_types: list[str] | None,
    colours: list[str] | None,
    colour_families: list[str] | None,
    not_colours: list[str] | None,
    not_colour_families: list[str] | None,
    seasons: list[str] | None,
    usages: list[str] | None,
    year_from: int | None,
    year_to: int | None,
) -> "search_pb2.Filter | None":
    """Makes a filter of the options; None where there are none of them.

    Raises:
        InvalidInput: exact colours and families were both named, which one filter cannot hold.
    """
    from fashion.v1 import search_pb2
    from services.serving.conversion import gender_to_proto

    if (colours or not_colours) and (colour_families or not_colour_families):
        raise InvalidInput(
            "colours are either meant exactly (--colour, --not-colour) or as families (--colour-family, "
            "--not-colour-family), not both at once",
            reason="COLOUR_OPTIONS_MIXED",
        )
    made = search_pb2.Filter()
    if genders:
        made.gender.any_of.extend(gender_to_proto(gender) for gender in genders)
    for condition, values in (
        (made.master_category, master_categories),
        (made.sub_category, sub_categories),
        (made.article_type, article_types),
        (made.season, seasons),
        (made.usage, usages),
    ):
        if values:
            condition.any_of.extend(values)
    if wanted := colours or colour_families:
        made.base_colour.any_of.extend(wanted)
    if unwanted := not_colours or not_colour_families:
        made.base_colour.none_of.extend(unwanted)
    if colour_families or not_colour_families:
        made.base_colour.by_family = True
    if year_from is not None:
        made.year.first = year_from
    if year_to is not None:
        made.year.last = year_to
    return made if made.ByteSize() else None


def describe_filter(chosen: "search_pb2.Filter | None") -> str:
    """A filter in words, such as "baseColour Blue, not gender Men"; empty for none."""
    if chosen is None:
        return ""
    from fashion.v1 import types_pb2

    parts: list[str] = []
    genders = [types_pb2.Gender.Name(number).removeprefix("GENDER_").capitalize() for number in chosen.gender.any_of]
    if genders:
        parts.append(f"gender {' or '.join(genders)}")
    family = " family" if chosen.base_colour.by_family else ""
    for name, condition in (
        ("masterCategory", chosen.master_category),
        ("subCategory", chosen.sub_category),
        ("articleType", chosen.article_type),
        (f"baseColour{family}", chosen.base_colour),
        ("season", chosen.season),
        ("usage", chosen.usage),
    ):
        if condition.any_of:
            parts.append(f"{name} {' or '.join(condition.any_of)}")
        if condition.none_of:
            parts.append(f"{name} not {' nor '.join(condition.none_of)}")
    if chosen.HasField("year"):
        first = str(chosen.year.first) if chosen.year.HasField("first") else "…"
        last = str(chosen.year.last) if chosen.year.HasField("last") else "…"
        parts.append(f"year {first} to {last}")
    return ", ".join(parts)
