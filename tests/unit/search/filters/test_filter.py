"""Filters over columns: labels, families, years, and values that nobody has."""

import pytest

from services.contract.errors import InvalidInput
from services.contract.values import Gender
from services.search.catalogue.products import Product
from services.search.filters.filter import ColourFilter, Filter, GenderFilter, LabelFilter, YearRange, evaluate
from services.search.indexes.columns import Columns


def columns(*products: Product) -> Columns:
    made = Columns()
    for product in products:
        made.append(product, searchable=True)
    return made


def product(product_id: str, gender: Gender = Gender.MEN, **attributes: object) -> Product:
    return Product(id=product_id, gender=gender, sub_category="Topwear", article_type="Shirts", **attributes)  # type: ignore[arg-type]


CATALOGUE = columns(
    product("a", base_colour="Blue", brand="Harbour", season="Summer", year=2011),
    product("b", base_colour="Navy Blue", brand="Velora", season="Winter", year=2012),
    product("c", base_colour="Red", year=2013),
    product("d", Gender.WOMEN, season="Summer"),
)


def passing(filter: Filter) -> str:
    mask = evaluate(filter, CATALOGUE).tolist()
    return "".join(name for name, passes in zip("abcd", mask, strict=True) if passes)


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (Filter(), "abcd"),
        (Filter(season=LabelFilter()), "abcd"),
        (Filter(season=LabelFilter(any_of=("Summer",))), "ad"),
        (Filter(season=LabelFilter(none_of=("Summer",))), "bc"),
        (Filter(season=LabelFilter(any_of=("Summer", "Winter"), none_of=("Winter",))), "ad"),
        (Filter(season=LabelFilter(any_of=("Summer",), none_of=("Summer",))), ""),
        (Filter(brand=LabelFilter(any_of=("Harbour",))), "a"),
        (Filter(brand=LabelFilter(none_of=("Harbour",))), "bcd"),
        (Filter(brand=LabelFilter(any_of=("Harbour", "Velora")), season=LabelFilter(any_of=("Winter",))), "b"),
        (Filter(base_colour=ColourFilter(any_of=("Blue",))), "a"),
        (Filter(base_colour=ColourFilter(any_of=("Blue",), by_family=True)), "ab"),
        (Filter(base_colour=ColourFilter(any_of=("Navy Blue",), by_family=True)), "b"),
        (Filter(base_colour=ColourFilter(none_of=("Blue",))), "bcd"),
        (Filter(base_colour=ColourFilter(none_of=("Blue",), by_family=True)), "cd"),
        (Filter(base_colour=ColourFilter(any_of=("Teal",))), ""),
        (Filter(base_colour=ColourFilter(any_of=("Green",), by_family=True)), ""),
        (Filter(gender=GenderFilter(any_of=(Gender.WOMEN, Gender.BOYS))), "d"),
        (Filter(gender=GenderFilter(none_of=(Gender.WOMEN,))), "abc"),
        (Filter(gender=GenderFilter(any_of=(Gender.GIRLS,))), ""),
        (Filter(year=YearRange()), "abc"),
        (Filter(year=YearRange(first=2012)), "bc"),
        (Filter(year=YearRange(last=2012)), "ab"),
        (Filter(year=YearRange(2012, 2012)), "b"),
        (Filter(year=YearRange(-5, 9999)), "abc"),
        (Filter(season=LabelFilter(any_of=("Summer",)), base_colour=ColourFilter(any_of=("Blue",))), "a"),
    ],
)
def test_lets_through(filter: Filter, expected: str) -> None:
    assert passing(filter) == expected


@pytest.mark.parametrize(
    ("filter", "attribute", "value", "nearest"),
    [
        (Filter(season=LabelFilter(any_of=("summer",))), "season", "summer", "Summer, Winter"),
        (Filter(season=LabelFilter(none_of=("Wintr",))), "season", "Wintr", "Winter, Summer"),
        (Filter(brand=LabelFilter(any_of=("harbour",))), "brand", "harbour", "Harbour, Velora"),
        (Filter(usage=LabelFilter(any_of=("Casual",))), "usage", "Casual", ""),
        (Filter(article_type=LabelFilter(any_of=("Tshirts",))), "article_type", "Tshirts", "Shirts"),
    ],
)
def test_a_value_that_nobody_has_is_refused(filter: Filter, attribute: str, value: str, nearest: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        passing(filter)
    assert refused.value.reason == "FILTER_VALUE_UNKNOWN"
    assert refused.value.metadata == {"attribute": attribute, "value": value, "nearest": nearest}
    assert attribute in refused.value.message
    assert value in refused.value.message


@pytest.mark.parametrize("by_family", [False, True])
def test_a_colour_of_neither_catalogue_nor_table_is_refused(by_family: bool) -> None:
    with pytest.raises(InvalidInput, match=r'base_colour "Bleu".*"Blue"') as refused:
        passing(Filter(base_colour=ColourFilter(any_of=("Bleu",), by_family=by_family)))
    assert refused.value.reason == "FILTER_VALUE_UNKNOWN"


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(InvalidInput, match="2011, is before the first, 2012") as refused:
        passing(Filter(year=YearRange(2012, 2011)))
    assert refused.value.reason == "YEAR_RANGE_INVALID"


def test_more_values_than_a_filter_may_hold_are_refused() -> None:
    assert passing(Filter(season=LabelFilter(any_of=("Summer",) * 100))) == "ad"
    with pytest.raises(InvalidInput, match=r"season\.none_of holds 101") as refused:
        passing(Filter(season=LabelFilter(none_of=("Summer",) * 101)))
    assert refused.value.reason == "TOO_MANY_FILTER_VALUES"


def test_a_label_that_the_last_product_gave_up_is_unknown_again() -> None:
    catalogue = columns(product("a", season="Spring"), product("b", season="Fall"))
    row = catalogue.row_of("a")
    assert row is not None
    catalogue.replace(row, product("a", season="Monsoon"), searchable=True)
    assert evaluate(Filter(season=LabelFilter(any_of=("Monsoon",))), catalogue).tolist() == [True, False]
    with pytest.raises(InvalidInput, match="Spring"):
        evaluate(Filter(season=LabelFilter(any_of=("Spring",))), catalogue)


def test_columns_shrink_and_grow_without_mixing_products_up() -> None:
    catalogue = columns(*(product(f"p{i}", year=1900 + i % 300, base_colour=f"c{i}") for i in range(2000)))
    for first in range(0, 1900, 100):
        rows = [catalogue.row_of(f"p{i}") for i in range(first, first + 100)]
        catalogue.remove([row for row in rows if row is not None])
    for i in range(3000, 4000):
        catalogue.append(product(f"p{i}", year=1900 + i % 300, base_colour=f"c{i}"), searchable=True)
    assert len(catalogue) == 1100
    for i in (1900, 1999, 3000, 3999):
        row = catalogue.row_of(f"p{i}")
        assert row is not None
        assert catalogue.product(row).id == f"p{i}"
        assert catalogue.years()[row] == 1900 + i % 300
        mask = evaluate(Filter(base_colour=ColourFilter(any_of=(f"c{i}",))), catalogue)
        assert mask.nonzero()[0].tolist() == [row]
