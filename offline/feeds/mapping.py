"""A shop's own mapping in TOML: which of its columns and words mean what."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from offline.dataset.cells import GENDERS
from offline.feeds.attributes import AttributeKind, AttributeRule, attribute_name
from offline.feeds.categories import PATH_MARK, Category
from offline.feeds.items import Columns, Layout
from offline.feeds.layouts import LAYOUTS
from offline.feeds.values import key, plain_text
from services.contract.attributes import OWN_PREFIX, is_attribute_name
from services.contract.errors import InvalidInput

# Other names of a field, those of `Product` among them.
_FIELD_OF: Final = {
    "color": "colour", "base_colour": "colour", "base_color": "colour", "parent_id": "parent",
    "item_group_id": "parent", "image_url": "image", "image_link": "image", "in_stock": "availability",
    "title": "name", "link": "url",
    "product_type": "category", "sku": "id",
}  # fmt: skip
_CONSTANTS: Final = (
    "gender", "age_group", "currency", "brand", "season", "year", "usage", "colour", "master_category", "sub_category",
    "article_type",
)  # fmt: skip
_TABLES: Final = ("columns", "attributes", "constants", "genders", "colours", "categories", "availability")
_RULE: Final = ("column", "kind", "separator")


@dataclass(frozen=True, slots=True)
class FeedMapping:
    """What a shop says of its own feed.

    Attributes:
        path: the file, for error texts; None where there is none.
        layout: the name of a layout; None where the content tells.
        columns: the shop's columns by field; they stand for those that the layout knows.
        attributes: how the cells of an own attribute are read, by its name; its columns are under "attributes.NAME".
        constants: values by field for products that have none.
        genders: one of `GENDERS` by the shop's word.
        colours: a colour by the shop's word.
        categories: a category by the shop's path.
        availability: whether a product can be bought, by the shop's word.
    """

    path: str | None = None
    layout: str | None = None
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    attributes: Mapping[str, AttributeRule] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    genders: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, Category] = field(default_factory=dict)
    availability: Mapping[str, bool] = field(default_factory=dict)

    def columns_of(self, layout: Layout, header: Sequence[str]) -> Columns:
        """Returns the columns of a source.

        Raises:
            InvalidInput: MAPPING_COLUMN_UNKNOWN, a column is not there; MAPPING_INVALID, a field is not the layout's.
        """
        columns = Columns(header, layout.aliases, self.columns)
        for name, own in self.columns.items():
            if name not in layout.aliases and not name.startswith(OWN_PREFIX):
                raise _unknown(self.path, "field", name, layout.aliases)
            for column in _named_columns(own):
                if columns.place(column) is None:
                    near = difflib.get_close_matches(column, header, n=1, cutoff=0.0)
                    nearest = f'; the nearest is "{near[0]}"' if near else ""
                    raise InvalidInput(
                        f'The mapping {self.path} names the column "{column[:128]}" for {name}, which the source '
                        f"lacks{nearest}.",
                        reason="MAPPING_COLUMN_UNKNOWN",
                        metadata={"column": column[:128], "nearest": near[0] if near else ""},
                    )
        return columns


def _named_columns(columns: Iterable[str]) -> Iterable[str]:
    for column in columns:
        if "{" in column:
            yield from (part.partition("}")[0] for part in column.split("{")[1:])
        else:
            yield column


def category_key(path: str) -> str:
    """Returns what the spellings of one category path have in common."""
    return ">".join(key(part) for part in PATH_MARK.split(plain_text(path)) if part)


def read_mapping(path: Path) -> FeedMapping:
    """Reads a mapping.

    Raises:
        InvalidInput: MAPPING_INVALID, the file is missing, no TOML, or says something that is not understood.
    """
    try:
        document = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise _invalid(path, f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _invalid(path, f"is no TOML: {str(error).rstrip('.')}") from error
    except RecursionError:
        raise _invalid(path, "is nested too deep") from None
    name = str(path)
    layouts = {layout.name for layout in LAYOUTS}
    for entry, value in document.items():
        if entry not in (*_TABLES, "format"):
            raise _unknown(name, "table", entry, (*_TABLES, "format"))
        if entry != "format" and not isinstance(value, dict):
            raise _invalid(path, f"must have [{entry}] as a table")
    layout = document.get("format")
    if layout is not None and layout not in layouts:
        raise _unknown(name, "format", str(layout), layouts)
    return FeedMapping(
        path=name,
        layout=layout,
        columns={
            **{_field(each): _texts(path, each, value) for each, value in document.get("columns", {}).items()},
            **{
                f"{OWN_PREFIX}{each}": _attribute_columns(path, each, value)
                for each, value in document.get("attributes", {}).items()
            },
        },
        attributes={
            each: _attribute_rule(path, each, value)
            for each, value in document.get("attributes", {}).items()
            if isinstance(value, dict)
        },
        constants=_constants(path, document.get("constants", {})),
        genders=_genders(path, document.get("genders", {})),
        colours={word: _text(path, word, value) for word, value in document.get("colours", {}).items()},
        categories={
            category_key(word): _category(path, word, value) for word, value in document.get("categories", {}).items()
        },
        availability=_flags(path, document.get("availability", {})),
    )


def _field(name: str) -> str:
    return _FIELD_OF.get(name, name)


def _attribute_columns(path: Path, name: str, value: Any) -> list[str]:
    if not is_attribute_name(name):
        near = attribute_name(name)
        raise _invalid(
            path,
            f'names the attribute "{name[:64]}"; use a letter, then letters, digits and _ in lower case'
            + (f', such as "{near}"' if near else ""),
        )
    if isinstance(value, dict):
        for entry in value:
            if entry not in _RULE:
                raise _unknown(str(path), f"entry of {name}", entry, _RULE)
        value = value.get("column")
    # An empty list: a column that would be read is not.
    return [] if value == [] else _texts(path, name, value)


def _attribute_rule(path: Path, name: str, table: Mapping[str, Any]) -> AttributeRule:
    kind = table.get("kind", AttributeKind.LABELS.value)
    if kind not in {each.value for each in AttributeKind}:
        raise _unknown(str(path), f"kind of {name}", str(kind), [each.value for each in AttributeKind])
    separator = table.get("separator")
    if separator is not None and not isinstance(separator, str):
        raise _invalid(path, f"must give a text for the separator of {name!r}")
    return AttributeRule(AttributeKind(kind), separator)


def _constants(path: Path, table: Mapping[str, Any]) -> dict[str, str]:
    constants: dict[str, str] = {}
    for name, value in table.items():
        if _field(name) not in _CONSTANTS:
            raise _unknown(str(path), "constant", name, _CONSTANTS)
        constants[_field(name)] = str(value) if isinstance(value, int) else _text(path, name, value)
    gender = constants.get("gender")
    if gender is not None and gender not in GENDERS:
        raise _unknown(str(path), "gender", gender, GENDERS)
    return constants


def _genders(path: Path, table: Mapping[str, Any]) -> dict[str, str]:
    for value in table.values():
        if value not in GENDERS:
            raise _unknown(str(path), "gender", str(value), GENDERS)
    return {key(word): value for word, value in table.items()}


def _flags(path: Path, table: Mapping[str, Any]) -> dict[str, bool]:
    for word, value in table.items():
        if not isinstance(value, bool):
            raise _invalid(path, f"must say true or false for the availability {word!r}")
    return dict(table)


def _category(path: Path, word: str, value: Any) -> Category:
    parts = value if isinstance(value, list) else []
    if not 2 <= len(parts) <= 3 or not all(isinstance(part, str) and part.strip() for part in parts):
        raise _invalid(
            path,
            f"must give the category {word!r} as [master category, subCategory, article type], such as "
            '["Apparel", "Topwear", "Tshirts"]',
        )
    return Category(parts[0] if len(parts) == 3 else None, parts[-2], parts[-1])


def _texts(path: Path, name: str, value: Any) -> list[str]:
    return [_text(path, name, each) for each in (value if isinstance(value, list) else [value])]


def _text(path: Path, name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _invalid(path, f"must give a text for {name!r}")
    return value.strip()


def _invalid(path: Path, fault: str) -> InvalidInput:
    return InvalidInput(f"The mapping {path} {fault}.", reason="MAPPING_INVALID")


def _unknown(path: str | None, kind: str, name: str, known: Iterable[str]) -> InvalidInput:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return InvalidInput(
        f'The mapping {path} names the {kind} "{name[:128]}", which is none; the nearest is "{near[0]}".',
        reason="MAPPING_INVALID",
        metadata={"value": name[:128], "nearest": near[0]},
    )
