"""The attributes of the catalogue's products as columns in memory, so that a filter is a few vector operations."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.contract.attributes import BASE_COLOUR, BY_NAME, LABELLED, SEARCHED, Attribute
from services.contract.values import Gender
from services.search.catalogue.products import Product
from services.search.filters import colours, words
from services.search.filters import filter as filters
from services.search.filters.facets import count_currencies
from services.search.filters.filter import (
    NO_YEAR,
    PRICE,
    ColourFilter,
    Filter,
    GenderFilter,
    LabelFilter,
    OwnColumn,
    PriceColumn,
    PriceRange,
)
from services.search.filters.order import Order
from services.search.indexes.base import Eligibility, LeftOut
from services.search.indexes.labels import Labels
from services.search.indexes.own_columns import OwnColumns
from services.search.indexes.sorted_rows import SortedRows

_MIN_CAPACITY = 256
# A filter is evaluated for those alone that have a label which it asks for, where they are fewer than one in so many.
_NARROW: Final = 8
# So many are compared sooner than looked up in a table of all.
_FEW_FAMILIES = 8
# The attributes of `Columns` that hold a value per row in their last axis.
_ARRAYS: Final = ("_codes", "_years", "_price_units", "_price_nanos", "_available", "_searchable")
# In the order of the rows of `Columns._codes`.
_labelled = attrgetter(*(attribute.name for attribute in LABELLED), "currency", "family")
_searched = attrgetter("id", *(attribute.name for attribute in SEARCHED))

ScalarT = TypeVar("ScalarT", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Eligible:
    """Which of some products a search may return.

    Attributes:
        mask: whether it may return each: bool, shape (n,).
        count: how many those are.
        excluded_colours: the colours that the dislikes stand for.
        left_out: how many of those with an embedding it may not return, and why.
    """

    mask: NDArray[np.bool_]
    count: int
    excluded_colours: frozenset[str]
    left_out: LeftOut


class Columns:
    """The products in rows 0..n-1, without gaps; fulfils `filters.AttributeColumns`. Not thread-safe."""

    def __init__(self) -> None:
        self._products: list[Product] = []
        self._texts: list[str] = []
        self._row_of: dict[str, int] = {}
        self._labels: dict[Attribute, Labels[str]] = {attribute: Labels() for attribute in LABELLED}
        self._currencies: Labels[str] = Labels()
        self._families: Labels[str] = Labels()
        # One row per attribute, one for the currencies, and one for the families.
        self._codes = np.empty((len(LABELLED) + 2, _MIN_CAPACITY), dtype=np.int32)
        self._place = {attribute: place for place, attribute in enumerate(LABELLED)}
        self._of_product = (*self._labels.values(), self._currencies, self._families)
        self._years = np.empty(_MIN_CAPACITY, dtype=np.int32)
        self._price_units = np.empty(_MIN_CAPACITY, dtype=np.int64)
        self._price_nanos = np.empty(_MIN_CAPACITY, dtype=np.int32)
        self._own = OwnColumns(_MIN_CAPACITY)
        self._sorted = SortedRows()
        self._available = np.empty(_MIN_CAPACITY, dtype=np.bool_)
        self._searchable = np.empty(_MIN_CAPACITY, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._products)

    def row_of(self, product_id: str) -> int | None:
        """Returns the row of a product, or None if there is none with this id."""
        return self._row_of.get(product_id)

    def product(self, row: int) -> Product:
        """Returns the product of a row."""
        return self._products[row]

    def in_order(self, order: Order) -> NDArray[np.int32]:
        """Returns all rows in an order of lists: int32, shape (n,). Several threads may call it at a time."""
        return self._sorted.of(self._products, order)

    def labels(self, attribute: Attribute) -> Mapping[str, int]:
        """See `filters.AttributeColumns`."""
        return self._labels[attribute].codes

    def label(self, attribute: Attribute, code: int) -> str:
        """Returns the label of a code that products have."""
        return self._labels[attribute].label(code)

    def codes(self, attribute: Attribute) -> NDArray[np.int32]:
        """See `filters.AttributeColumns`."""
        return self._codes[self._place[attribute], : len(self)]

    def years(self) -> NDArray[np.int32]:
        """See `filters.AttributeColumns`."""
        return self._years[: len(self)]

    def texts(self) -> Sequence[str]:
        """See `filters.AttributeColumns`."""
        return self._texts

    def prices(self) -> PriceColumn:
        """See `filters.AttributeColumns`."""
        end = len(self)
        codes = self._codes[-2, :end]
        return PriceColumn(self._currencies.codes, codes, self._price_units[:end], self._price_nanos[:end])

    def own(self, name: str) -> OwnColumn | None:
        """See `filters.AttributeColumns`."""
        return self._own.column(name, len(self))

    def own_names(self) -> Collection[str]:
        """See `filters.AttributeColumns`."""
        return self._own.names()

    @property
    def has_variants(self) -> bool:
        """Whether any two products are of one family."""
        return len(self._families.codes) < len(self)

    def at(self, rows: NDArray[np.int64] | slice) -> filters.AttributeColumns:
        """Returns some rows, for a filter."""
        return _Rows(self, rows)

    def family_code(self, family: str) -> int | None:
        """Returns the code of a family; None if no product is of it."""
        return self._families.codes.get(family)

    def families(self) -> NDArray[np.int32]:
        """Returns the code of each product's family: int32, shape (n,)."""
        return self._codes[-1, : len(self)]

    def of_families(self, codes: Collection[int]) -> NDArray[np.bool_]:
        """Returns whether each code of a family is one of some: bool, shape (codes,), to be indexed by `families`."""
        chosen = np.zeros(self._families.end, dtype=np.bool_)
        chosen[list(codes)] = True
        return chosen

    def available(self) -> NDArray[np.bool_]:
        """Returns whether each product may be in stock: bool, shape (n,)."""
        return self._available[: len(self)]

    def searchable(self) -> NDArray[np.bool_]:
        """Returns whether each product has an embedding to be found by: bool, shape (n,)."""
        return self._searchable[: len(self)]

    def counts(self, attribute: Attribute) -> dict[str, int]:
        """Returns how many products have each label, in alphabetical order."""
        labels = self._labels[attribute]
        return {label: labels.count(code) for label, code in sorted(labels.codes.items())}

    def append(self, product: Product, searchable: bool) -> int:
        """Adds a product with a new id, and returns its row."""
        row = len(self)
        self._fit(row + 1)
        self._row_of[product.id] = row
        self._products.append(product)
        self._texts.append("")
        self._own.write(row, {}, product.attributes)
        self._write(row, product, searchable)
        return row

    def extend(self, products: Sequence[Product], texts: Sequence[str] | None, searchable: NDArray[np.bool_]) -> None:
        """Adds many products with new ids, faster than one by one.

        Args:
            products: n of them, no id twice.
            texts: their searchable texts; None makes them.
            searchable: bool, shape (n,).
        """
        first = len(self)
        end = first + len(products)
        self._fit(end)
        self._row_of.update((product.id, row) for row, product in enumerate(products, start=first))
        self._products.extend(products)
        self._sorted.change(range(first, end))
        self._texts.extend(map(words.searchable, map(_searched, products)) if texts is None else texts)
        for place, labels in enumerate(zip(*map(_labelled, products), strict=True)):
            self._codes[place, first:end] = self._of_product[place].take_all(labels, _text)
        self._years[first:end] = [NO_YEAR if product.year is None else product.year for product in products]
        for row, product in enumerate(products, start=first):
            if product.price is not None:
                self._price_units[row], self._price_nanos[row] = product.price.units, product.price.nanos
            if product.attributes:
                self._own.write(row, {}, product.attributes)
        self._available[first:end] = [product.available for product in products]
        self._searchable[first:end] = searchable

    def replace(self, row: int, product: Product, searchable: bool) -> None:
        """Replaces a product by another with the same id."""
        before = self._products[row]
        if product.attributes is not before.attributes:
            self._own.write(row, before.attributes, product.attributes)
        if _searched(before) != _searched(product):
            self._texts[row] = words.searchable(_searched(product))
        # Prices and stock change all day, and leave most labels as they are.
        for place, (old, new) in enumerate(zip(_labelled(before), _labelled(product), strict=True)):
            if old is not new and old != new:
                labels, code = self._of_product[place], int(self._codes[place, row])
                # Before the old one is given back: a label that stays keeps its code.
                self._codes[place, row] = labels.take(_text(new))
                labels.give(code)
        self._write_values(row, product, searchable)

    def remove(self, rows: Collection[int]) -> list[tuple[int, int]]:
        """Removes rows and closes the gaps with the last ones.

        Returns:
            (new row, old row) of each product that was moved; every old row lies at or after the new length.
        """
        for row in rows:
            self._give(self._codes[:, row].tolist())
            self._own.write(row, self._products[row].attributes, {})
            del self._row_of[self._products[row].id]
        removed = set(rows)
        length = len(self) - len(removed)
        holes = sorted(row for row in removed if row < length)
        movers = [row for row in range(length, len(self)) if row not in removed]
        for hole, mover in zip(holes, movers, strict=True):
            self._products[hole] = self._products[mover]
            self._texts[hole] = self._texts[mover]
            self._row_of[self._products[hole].id] = hole
        for name in _ARRAYS:
            column = getattr(self, name)
            column[..., holes] = column[..., movers]
        self._own.move(holes, movers)
        self._sorted.change(holes)
        del self._products[length:]
        del self._texts[length:]
        self._fit(length)
        return list(zip(holes, movers, strict=True))

    def eligible(self, eligibility: Eligibility, rows: NDArray[np.int64] | slice) -> Eligible:
        """Returns which of some products a search may return, regardless of derived type.

        Args:
            eligibility: what is asked for.
            rows: those to look at, n of them.

        Raises:
            InvalidInput: see `filters.evaluate`.
        """
        return self.without_excluded(self.passing(eligibility, rows), eligibility, rows)

    def eligible_of_all(self, eligibility: Eligibility) -> tuple[NDArray[np.int64] | slice, Eligible]:
        """Returns rows that hold all that a search may return, and which of them these are; see `eligible`."""
        rows = self._narrowed(eligibility.filter)
        eligible = self.eligible(eligibility, rows)
        if isinstance(rows, slice):
            return rows, eligible
        searchable, left_out = self.searchable(), eligible.left_out
        others = int(np.count_nonzero(searchable)) - int(np.count_nonzero(searchable[rows]))
        return rows, replace(eligible, left_out=replace(left_out, by_filter=left_out.by_filter + others))

    def _narrowed(self, filter: Filter) -> NDArray[np.int64] | slice:
        """Returns rows that hold all that pass a filter: those with the rarest labels that it asks for, or all."""
        fewest = len(self) // _NARROW
        rarest: tuple[Attribute, Collection[str]] | None = None
        for name, condition in filter.conditions.items():
            if isinstance(condition, LabelFilter | GenderFilter | ColourFilter) and name in BY_NAME:
                any_of, _ = filters.label_sets(BY_NAME[name], condition, self)
                labels = self._labels[BY_NAME[name]]
                count = sum(labels.count(labels.codes[label]) for label in any_of or () if label in labels.codes)
                if any_of is not None and count < fewest:
                    fewest, rarest = count, (BY_NAME[name], any_of)
        return slice(None) if rarest is None else np.flatnonzero(filters.has_label(self, *rarest))

    def passing(self, eligibility: Eligibility, rows: NDArray[np.int64] | slice) -> Eligible:
        """Returns the same as `eligible`, but for the excluded products and families."""
        some = self.at(rows)
        searchable = self.searchable()[rows]
        # Each count is one more time for other threads to take the interpreter.
        counts = [int(np.count_nonzero(searchable))]
        if eligibility.filter.conditions:
            mask = filters.evaluate(eligibility.filter, some)
            mask &= searchable
            counts.append(int(np.count_nonzero(mask)))
        else:
            mask = searchable.copy()
            counts.append(counts[-1])
        if eligibility.include_out_of_stock:
            counts.append(counts[-1])
        else:
            mask &= self.available()[rows]
            counts.append(int(np.count_nonzero(mask)))
        excluded_colours: frozenset[str] = frozenset()
        if eligibility.disliked_colours:
            excluded_colours = colours.expand(eligibility.disliked_colours, self.labels(BASE_COLOUR).keys())
            mask &= ~filters.has_label(some, BASE_COLOUR, excluded_colours)
            counts.append(int(np.count_nonzero(mask)))
        else:
            counts.append(counts[-1])
        return Eligible(mask, counts[-1], excluded_colours, LeftOut(*(more - less for more, less in pairwise(counts))))

    def without_excluded(
        self, passing: Eligible, eligibility: Eligibility, rows: NDArray[np.int64] | slice
    ) -> Eligible:
        """Returns what `passing` returned for some rows, without the excluded products and families."""
        mask = passing.mask
        excluded = [row for product_id in eligibility.excluded_ids if (row := self.row_of(product_id)) is not None]
        families = [code for name in eligibility.excluded_families if (code := self.family_code(name)) is not None]
        if len(families) > _FEW_FAMILIES:
            mask = mask & ~self.of_families(families)[self.families()[rows]]
        else:
            for code in families:
                mask = mask & (self.families()[rows] != code)
        if excluded and isinstance(rows, slice) and rows == slice(None):
            mask = mask.copy()
            mask[excluded] = False
        elif excluded:
            left = np.ones(len(self), dtype=np.bool_)
            left[excluded] = False
            mask = mask & left[rows]
        if mask is passing.mask:
            return passing
        count = int(np.count_nonzero(mask))
        left_out = replace(passing.left_out, excluded=passing.count - count)
        return replace(passing, mask=mask, count=count, left_out=left_out)

    def other_currencies(self, eligibility: Eligibility, rows: NDArray[np.int64] | slice) -> dict[str, int]:
        """Counts the products that a search leaves out for the currency of their price alone.

        Args:
            eligibility: what is asked for.
            rows: those to look at.

        Returns:
            How many products have each other currency, the most frequent first; empty without a condition on the price.
        """
        condition = eligibility.filter.conditions.get(PRICE)
        if not isinstance(condition, PriceRange):
            return {}
        others = replace(eligibility, filter=eligibility.filter.without(PRICE))
        mask = self.eligible(others, rows).mask
        return count_currencies(self.at(rows).prices(), mask, condition.currency_code)

    def _write(self, row: int, product: Product, searchable: bool) -> None:
        self._texts[row] = words.searchable(_searched(product))
        self._codes[:, row] = [
            labels.take(_text(label)) for labels, label in zip(self._of_product, _labelled(product), strict=True)
        ]
        self._write_values(row, product, searchable)

    def _write_values(self, row: int, product: Product, searchable: bool) -> None:
        self._products[row] = product
        self._sorted.change((row,))
        self._years[row] = NO_YEAR if product.year is None else product.year
        if product.price is not None:
            self._price_units[row], self._price_nanos[row] = product.price.units, product.price.nanos
        self._available[row] = product.available
        self._searchable[row] = searchable

    def _give(self, codes: list[int]) -> None:
        for labels, code in zip(self._of_product, codes, strict=True):
            labels.give(code)

    def _fit(self, length: int) -> None:
        capacity = self._years.shape[0]
        if length > capacity:
            wanted = max(length, capacity + capacity // 2)
        elif length < capacity // 4:
            wanted = max(length, _MIN_CAPACITY)
        else:
            return
        kept = min(length, capacity)
        for name in _ARRAYS:
            setattr(self, name, _resized(getattr(self, name), kept, wanted))
        self._own.resize(kept, wanted)


class _Rows:
    """Some rows of the columns; fulfils `filters.AttributeColumns`."""

    def __init__(self, columns: Columns, rows: NDArray[np.int64] | slice) -> None:
        self._columns = columns
        self._rows = rows

    def __len__(self) -> int:
        return len(range(*self._rows.indices(len(self._columns))) if isinstance(self._rows, slice) else self._rows)

    def labels(self, attribute: Attribute) -> Mapping[str, int]:
        """See `filters.AttributeColumns`."""
        return self._columns.labels(attribute)

    def codes(self, attribute: Attribute) -> NDArray[np.int32]:
        """See `filters.AttributeColumns`."""
        return self._columns.codes(attribute)[self._rows]

    def years(self) -> NDArray[np.int32]:
        """See `filters.AttributeColumns`."""
        return self._columns.years()[self._rows]

    def texts(self) -> Sequence[str]:
        """See `filters.AttributeColumns`."""
        texts = self._columns.texts()
        return texts[self._rows] if isinstance(self._rows, slice) else [texts[row] for row in self._rows.tolist()]

    def prices(self) -> PriceColumn:
        """See `filters.AttributeColumns`."""
        return self._columns.prices().at(self._rows)

    def own(self, name: str) -> OwnColumn | None:
        """See `filters.AttributeColumns`."""
        column = self._columns.own(name)
        return None if column is None else column.at(self._rows)

    def own_names(self) -> Collection[str]:
        """See `filters.AttributeColumns`."""
        return self._columns.own_names()


def _resized(column: NDArray[ScalarT], kept: int, capacity: int) -> NDArray[ScalarT]:
    resized = np.empty((*column.shape[:-1], capacity), dtype=column.dtype)
    resized[..., :kept] = column[..., :kept]
    return resized


def _text(label: Any) -> str | None:
    return label.value if isinstance(label, Gender) else label
