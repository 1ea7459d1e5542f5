"""Filters and facets of prices and own attributes, against an evaluation in plain Python."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contract.errors import InvalidInput
from services.contract.own_attributes import Flag
from services.contract.values import Gender
from services.search.catalogue.products import Price, Product
from services.search.filters.facets import (
    MAX_OWN_LABELS,
    Facets,
    NumberFacetRange,
    OwnFacet,
    PriceFacetRange,
    count_facets,
    other_currencies,
)
from services.search.filters.filter import (
    Condition,
    Filter,
    FlagFilter,
    LabelFilter,
    NumberRange,
    PriceRange,
    evaluate,
)
from services.search.filters.ranges import MAX_RANGES
from services.search.indexes.base import Eligibility
from services.search.indexes.columns import Columns

IDS = tuple(f"p{number}" for number in range(14))
NAMES = ("material", "weight", "vegan")
LABELS = ("Cotton", "Wool", "38")
NUMBERS = (-1.5, 0.0, 0.3, 1e9)
AMOUNTS = ((0, 0), (9, 990_000_000), (9, 990_000_001), (2**62, 1))

# Several kinds under each name, few values, and many products without any.
values = st.one_of(
    st.lists(st.sampled_from(LABELS), min_size=1, max_size=3, unique=True).map(tuple),
    st.sampled_from(NUMBERS),
    st.sampled_from(list(Flag)),
)
prices = st.none() | st.builds(
    lambda currency, amount: Price(currency, *amount), st.sampled_from(("EUR", "USD")), st.sampled_from(AMOUNTS)
)
products = st.builds(
    lambda product_id, attributes, price, season: Product(
        id=product_id,
        gender=Gender.MEN,
        sub_category="Topwear",
        article_type="Tshirts",
        season=season,
        attributes=attributes,
        price=price,
    ),
    st.sampled_from(IDS),
    st.dictionaries(st.sampled_from(NAMES), values, max_size=3),
    prices,
    st.sampled_from((None, "Summer")),
)
writes = st.lists(
    st.tuples(
        st.lists(products, max_size=14, unique_by=lambda each: each.id),
        st.sets(st.sampled_from(IDS), max_size=6),
    ),
    min_size=1,
    max_size=3,
)
few_labels = st.lists(st.sampled_from((*LABELS, *LABELS, "Unknown")), max_size=2, unique=True).map(tuple)
bounds = st.none() | st.sampled_from(NUMBERS)
own_conditions = st.one_of(
    st.builds(LabelFilter, few_labels, few_labels),
    st.builds(NumberRange, bounds, bounds),
    st.builds(FlagFilter, st.booleans()),
)
amounts = st.none() | st.sampled_from(AMOUNTS).map(lambda amount: Price("EUR", *amount))
filters = st.builds(
    lambda own, price, season: Filter(
        **{f"attributes.{name}": condition for name, condition in own.items()}, price=price, season=season
    ),
    st.dictionaries(st.sampled_from((*NAMES, *NAMES, "unknown")), own_conditions, max_size=2),
    st.none() | st.builds(PriceRange, st.sampled_from(("EUR", "GBP")), amounts, amounts),
    st.none() | st.just(LabelFilter(any_of=("Summer",))),
)


def _amount(price: Price) -> tuple[int, int]:
    return price.units, price.nanos


def _meets(product: Product, name: str, condition: Condition) -> bool:
    value: Any = product.attributes.get(name.removeprefix("attributes."))
    match condition:
        case PriceRange(currency, low, high):
            price = product.price
            return (
                price is not None
                and price.currency_code == currency
                and (low is None or _amount(price) >= _amount(low))
                and (high is None or _amount(price) <= _amount(high))
            )
        case NumberRange(low, high):
            return isinstance(value, float) and (low is None or value >= low) and (high is None or value <= high)
        case FlagFilter(flag):
            return isinstance(value, Flag) and value.value is flag
        case LabelFilter(any_of, none_of):
            if name == "season":
                value = () if product.season is None else (product.season,)
            labels = set(value) if isinstance(value, tuple) else set()
            return (not any_of or bool(labels & {*any_of})) and not labels & {*none_of}
    raise AssertionError(condition)


def _is_sound(filter: Filter, known: Sequence[Product]) -> bool:
    """Tells whether a filter names only what products have, and no range that ends before it begins."""
    kinds = {LabelFilter: tuple, NumberRange: float, FlagFilter: Flag}
    for name, condition in filter.conditions.items():
        if isinstance(condition, PriceRange | NumberRange):
            low, high = condition.min, condition.max
            if low is not None and high is not None:
                ends = (_amount(low), _amount(high)) if isinstance(low, Price) else (low, high)  # type: ignore[arg-type]
                if ends[0] > ends[1]:
                    return False
        if name == "season" and not any(product.season for product in known):
            return False
        if name.startswith("attributes."):
            present = [product.attributes.get(name.removeprefix("attributes.")) for product in known]
            own = [value for value in present if isinstance(value, kinds[type(condition)])]  # type: ignore[index]
            if not own:
                return False
            if isinstance(condition, LabelFilter):
                labels = {label for value in own for label in value}  # type: ignore[union-attr]
                if not {*condition.any_of, *condition.none_of} <= labels:
                    return False
    return True


def _passing(filter: Filter, known: Iterable[Product], without: str = "") -> list[Product]:
    return [
        product
        for product in known
        if all(_meets(product, name, each) for name, each in filter.conditions.items() if name != without)
    ]


def _columns(steps: Iterable[tuple[Sequence[Product], set[str]]]) -> tuple[Columns, list[Product]]:
    """Writes products one step after another; returns the columns, and what they must hold, in their order."""
    columns, expected = Columns(), dict[str, Product]()
    for upserts, deletes in steps:
        rows = [row for name in deletes if (row := columns.row_of(name)) is not None]
        columns.remove(rows)
        for name in deletes:
            expected.pop(name, None)
        for product in upserts:
            row = columns.row_of(product.id)
            if row is None:
                columns.append(product, searchable=True)
            else:
                columns.replace(row, product, searchable=True)
            expected[product.id] = product
    return columns, [expected[columns.product(row).id] for row in range(len(columns))]


@settings(max_examples=400)
@given(writes, filters)
def test_a_filter_lets_through_what_a_plain_evaluation_does(
    steps: list[tuple[list[Product], set[str]]], filter: Filter
) -> None:
    columns, known = _columns(steps)
    if not _is_sound(filter, known):
        with pytest.raises(InvalidInput):
            evaluate(filter, columns)
        return
    passing = {product.id for product in _passing(filter, known)}
    mask = evaluate(filter, columns)
    assert {columns.product(row).id for row in np.flatnonzero(mask).tolist()} == passing
    some = np.arange(len(columns), dtype=np.int64)[::2]
    searched = columns.eligible(Eligibility(filter=filter, include_out_of_stock=True), some).mask
    assert searched.tolist() == mask[::2].tolist()
    price = filter.conditions.get("price")
    others = Counter(
        product.price.currency_code
        for product in _passing(filter, known, "price")
        if isinstance(price, PriceRange) and product.price and product.price.currency_code != price.currency_code
    )
    assert other_currencies(filter, columns) == others
    assert columns.other_currencies(Eligibility(filter=filter, include_out_of_stock=True), slice(None)) == others


@settings(max_examples=300)
@given(writes, filters)
def test_facets_count_what_a_plain_evaluation_does(steps: list[tuple[list[Product], set[str]]], filter: Filter) -> None:
    columns, known = _columns(steps)
    if not _is_sound(filter, known):
        return
    facets = count_facets(filter, columns)
    assert facets.total_count == len(_passing(filter, known))
    names = {name for product in known for name in product.attributes}
    counted = {facet.name: facet for facet in facets.own}
    assert counted.keys() <= names
    assert list(counted) == sorted(counted, key=lambda name: (-counted[name].count, name))
    for name in names:
        passing = _passing(filter, known, f"attributes.{name}")
        found = [product.attributes[name] for product in passing if name in product.attributes]
        if not found:
            assert name not in counted
            continue
        facet = counted[name]
        assert facet.count == len(found)
        labels = Counter(label for value in found if isinstance(value, tuple) for label in value)
        assert [(each.value, each.count) for each in facet.labels] == sorted(
            labels.items(), key=lambda each: (-each[1], each[0])
        )
        assert facet.label_count == len(labels)
        flags = Counter(value for value in found if isinstance(value, Flag))
        told = {} if facet.flag is None else {Flag.YES: facet.flag.yes_count, Flag.NO: facet.flag.no_count}
        assert told == (flags if not flags else {flag: flags[flag] for flag in Flag})
        _check_numbers(facet, [value for value in found if isinstance(value, float)])
    _check_prices(facets, _passing(filter, known, "price"), filter.conditions.get("price"))


def _check_numbers(facet: OwnFacet, numbers: list[float]) -> None:
    if not numbers:
        assert facet.number is None
        return
    assert facet.number is not None
    assert (facet.number.min, facet.number.max, facet.number.count) == (min(numbers), max(numbers), len(numbers))
    _check_ranges(
        facet.number.ranges,
        numbers,
        lambda number, each: (each.min is None or number >= each.min) and (each.max is None or number <= each.max),
    )


def _check_prices(facets: Facets, passing: Sequence[Product], condition: Condition | None) -> None:
    currencies = Counter(product.price.currency_code for product in passing if product.price)
    if isinstance(condition, PriceRange):
        currency = condition.currency_code
    else:
        ordered = sorted(currencies.items(), key=lambda each: (-each[1], each[0]))
        if not ordered:
            assert facets.price is None
            return
        currency = ordered[0][0]
    facet = facets.price
    assert facet is not None
    assert facet.currency_code == currency
    assert facet.other_currencies == {name: count for name, count in currencies.items() if name != currency}
    mine = [product.price for product in passing if product.price and product.price.currency_code == currency]
    assert facet.count == len(mine)
    if not mine:
        assert (facet.min, facet.max, facet.ranges) == (None, None, ())
        return
    assert (facet.min, facet.max) == (min(mine, key=_amount), max(mine, key=_amount))
    _check_ranges(
        facet.ranges,
        mine,
        lambda price, each: (
            (each.min is None or _amount(price) >= _amount(each.min))
            and (each.max is None or _amount(price) <= _amount(each.max))
        ),
    )


def _check_ranges(
    ranges: Sequence[NumberFacetRange] | Sequence[PriceFacetRange], found: list[Any], holds: Callable[[Any, Any], bool]
) -> None:
    """Every value lies in exactly one range, and the counts say so; there are several ranges, or none."""
    assert len(ranges) != 1 and len(ranges) <= MAX_RANGES
    if len(set(found)) == 1:
        assert not ranges
    if ranges:
        for value in found:
            assert sum(holds(value, each) for each in ranges) == 1
        for each in ranges:
            assert each.count == sum(holds(value, each) for value in found) > 0


def _with(**attributes: object) -> Product:
    return Product(
        id=str(id(attributes)),
        gender=Gender.MEN,
        sub_category="Topwear",
        article_type="Tshirts",
        **attributes,  # type: ignore[arg-type]
    )


def _of(each: Iterable[Product]) -> Columns:
    named = [dataclasses.replace(product, id=str(number)) for number, product in enumerate(each)]
    return _columns([(named, set())])[0]


@pytest.mark.parametrize(
    ("cents", "expected"),
    [
        ((500, 999, 1999, 2499, 4999, 9900), ["..9.99", "10.00..19.99", "20.00..24.99", "25.00..49.99", "50.00.."]),
        ((500, 600, 700, 800, 900), ["..5.00", "6.00..7.00", "8.00.."]),
        ((500, 500, 500, 900), ["..5.00", "6.00.."]),
        ((1999,), []),
    ],
)
def test_ranges_of_prices_are_round_and_leave_no_gap(cents: tuple[int, ...], expected: list[str]) -> None:
    columns = _of(_with(price=Price("EUR", each // 100, each % 100 * 10_000_000)) for each in cents)
    facet = count_facets(Filter(), columns).price
    assert facet is not None

    def text(price: Price | None) -> str:
        return "" if price is None else f"{Decimal(price.units) + Decimal(price.nanos) / 10**9:.2f}"

    assert [f"{text(each.min)}..{text(each.max)}" for each in facet.ranges] == expected


def test_only_the_most_frequent_labels_are_listed_and_all_are_counted() -> None:
    columns = _of(_with(attributes={"ean": (f"{number:03}",)}) for number in (*range(150), 149))
    (facet,) = count_facets(Filter(), columns).own
    assert [each.value for each in facet.labels] == ["149", *(f"{number:03}" for number in range(MAX_OWN_LABELS - 1))]
    assert (facet.label_count, facet.count) == (150, 151)


@pytest.mark.parametrize(
    ("condition", "reason", "text"),
    [
        ({"attributes.materiel": LabelFilter(any_of=("Cotton",))}, "FILTER_VALUE_UNKNOWN", '"material"'),
        ({"attributes.material": LabelFilter(any_of=("Coton",))}, "FILTER_VALUE_UNKNOWN", '"Cotton"'),
        ({"attributes.material": LabelFilter(none_of=("Coton",))}, "FILTER_VALUE_UNKNOWN", '"Cotton"'),
        ({"attributes.material": NumberRange(1, 2)}, "ATTRIBUTE_KIND_MISMATCH", "labels"),
        ({"attributes.heel_mm": LabelFilter(any_of=("40",))}, "ATTRIBUTE_KIND_MISMATCH", "range of numbers"),
        ({"attributes.heel_mm": FlagFilter(flag=True)}, "ATTRIBUTE_KIND_MISMATCH", "range of numbers"),
        ({"attributes.organic": NumberRange(0, 1)}, "ATTRIBUTE_KIND_MISMATCH", "yes or no"),
        ({"attributes.heel_mm": NumberRange(2, 1)}, "NUMBER_RANGE_INVALID", "heel_mm"),
        ({"attributes.heel_mm": NumberRange(float("nan"), None)}, "NUMBER_RANGE_INVALID", "heel_mm"),
        ({"price": PriceRange("EUR", Price("EUR", 2), Price("EUR", 1))}, "PRICE_RANGE_INVALID", "lowest"),
        ({"price": PriceRange("euro")}, "PRICE_INVALID", "capital letters"),
        ({"price": PriceRange("EUR", Price("EUR", -1))}, "PRICE_INVALID", "price.min.units"),
        ({"price": PriceRange("EUR", None, Price("EUR", 1, -1))}, "PRICE_INVALID", "price.max.nanos"),
        ({"attributes.material": LabelFilter(any_of=("Cotton",) * 101)}, "TOO_MANY_FILTER_VALUES", "101"),
        ({f"attributes.a{n}": FlagFilter(flag=True) for n in range(21)}, "TOO_MANY_FILTER_VALUES", "21"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(condition: dict[str, Condition], reason: str, text: str) -> None:
    columns = _of([_with(attributes={"material": ("Cotton",), "heel_mm": 40.0, "organic": Flag.YES})])
    with pytest.raises(InvalidInput, match=text) as error:
        evaluate(Filter(**condition), columns)
    assert error.value.reason == reason


def test_a_currency_that_no_product_has_leaves_nothing_and_says_which_there_are() -> None:
    columns = _of([_with(price=Price("USD", 1)), _with(price=Price("USD", 2)), _with()])
    filter = Filter(price=PriceRange("EUR"))
    assert not evaluate(filter, columns).any()
    assert other_currencies(filter, columns) == {"USD": 2}


def test_a_large_catalogue_shrinks_to_a_small_one_and_keeps_its_values() -> None:
    many = [_with(attributes={"size": (str(number % 7),), "weight": float(number)}) for number in range(3000)]
    named = [dataclasses.replace(product, id=str(number)) for number, product in enumerate(many)]
    columns, _ = _columns([(named, set()), ([], {str(number) for number in range(2990)})])
    facets = count_facets(Filter(), columns)
    assert {facet.name: facet.count for facet in facets.own} == {"size": 10, "weight": 10}
    assert facets.own[1].number is not None and facets.own[1].number.min == 2990
    columns.remove(range(10))
    assert columns.own_names() == frozenset()
