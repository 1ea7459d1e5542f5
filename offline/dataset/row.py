"""One product as a shop's data describe it, the columns of its fields, and its form in a spool."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from offline.spool import Form
from services.contract.own_attributes import Flag, OwnAttributes
from services.search.catalogue.products import Price

# Field of a row -> its column in `styles.csv`.
_COLUMN_OF = {
    "id": "id",
    "gender": "gender",
    "master_category": "masterCategory",
    "sub_category": "subCategory",
    "article_type": "articleType",
    "base_colour": "baseColour",
    "season": "season",
    "year": "year",
    "usage": "usage",
    "name": "productDisplayName",
}
COLUMNS = tuple(_COLUMN_OF.values())
# Columns that Kaggle's data set does not have, each named as its field.
OPTIONAL_COLUMNS = ("brand", "url", "image_url", "price", "in_stock", "parent_id", "attributes")


def column_of(columns: Collection[str]) -> dict[str, str]:
    """Returns the fields of a row that a table with these columns fills, each with its column."""
    return _COLUMN_OF | {column: column for column in OPTIONAL_COLUMNS if column in columns}


@dataclass(frozen=True, slots=True)
class Row:
    """A product as the data set describes it; None for what the data set leaves out."""

    id: str
    gender: str | None
    master_category: str | None
    sub_category: str
    article_type: str
    base_colour: str | None
    season: str | None
    year: int | None
    usage: str | None
    name: str | None
    brand: str | None = None
    url: str | None = None
    image_url: str | None = None
    price: Price | None = None
    in_stock: bool | None = None
    parent_id: str | None = None
    attributes: OwnAttributes | None = None

    @property
    def derived_type(self) -> str:
        """Gender and article type, such as "Men Tshirts"; the article type alone where the gender is unknown."""
        return f"{self.gender} {self.article_type}" if self.gender else self.article_type


# The names of its values.
FIELDS = tuple(Row.__dataclass_fields__)


def _plain_row(row: Row) -> tuple[Any, ...]:
    values = {name: getattr(row, name) for name in FIELDS}
    if row.price is not None:
        values["price"] = (row.price.currency_code, row.price.units, row.price.nanos)
    if row.attributes is not None:
        values["attributes"] = {
            name: value.value if isinstance(value, Flag) else value for name, value in row.attributes.items()
        }
    return tuple(values.values())


def _row_made(values: Sequence[Any]) -> Row:
    fields = dict(zip(FIELDS, values, strict=True))
    if fields["price"] is not None:
        fields["price"] = Price(*fields["price"])
    if fields["attributes"] is not None:
        fields["attributes"] = {
            name: Flag(value) if isinstance(value, bool) else value for name, value in fields["attributes"].items()
        }
    return Row(**fields)


ROW_FORM = Form(_plain_row, _row_made)
