"""The rows in the orders of lists: as sorting all products gives them, whatever was written, and without doing so."""

from random import Random

import numpy as np
import pytest

from services.contract.values import Gender
from services.search.catalogue.products import Price, Product
from services.search.filters.filter import Filter
from services.search.filters.order import Order, place_of
from services.search.indexes import columnar, sorted_rows
from services.search.indexes.columns import Columns
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.parts import IndexedProduct

_SIZE = 8


def _product(product_id: str, dice: Random) -> Product:
    return Product(
        id=product_id,
        gender=Gender.MEN,
        sub_category="Topwear",
        article_type="Shirts",
        name=dice.choice((None, "Blue", "Red", "Green")),
        year=dice.choice((None, 2010, 2011)),
        price=dice.choice((None, Price("EUR", 5), Price("EUR", 5, 1), Price("USD", 3))),
    )


@pytest.mark.parametrize("run", [3, 4096])
@pytest.mark.parametrize("max_changed", [1, 8])
def test_the_rows_are_in_order_after_any_writes(monkeypatch: pytest.MonkeyPatch, run: int, max_changed: int) -> None:
    monkeypatch.setattr(sorted_rows, "_RUN", run)
    monkeypatch.setattr(sorted_rows, "_MAX_CHANGED", max_changed)
    dice, columns, count = Random(1), Columns(), 0
    for _ in range(400):
        match dice.randrange(5):
            case 0:
                columns.append(_product(f"p{(count := count + 1)}", dice), True)
            case 1:
                some = [_product(f"p{(count := count + 1)}", dice) for _ in range(dice.randrange(6))]
                columns.extend(some, None, np.ones(len(some), dtype=np.bool_))
            case 2 if len(columns):
                columns.remove(dice.sample(range(len(columns)), dice.randrange(min(5, 1 + len(columns)))))
            case 3 if len(columns):
                row = dice.randrange(len(columns))
                columns.replace(row, _product(columns.product(row).id, dice), True)
        order = dice.choice((*Order, None))
        if order is not None:
            places = [place_of(columns.product(row), order) for row in columns.in_order(order).tolist()]
            assert len(places) == len(columns)
            assert places == sorted(places)


def _index(count: int) -> FaissIndex:
    index, dice, vector = FaissIndex(_SIZE), Random(1), np.full(_SIZE, _SIZE**-0.5, dtype=np.float16)
    index.load([[IndexedProduct(_product(f"p{number:05}", dice), vector) for number in range(count)]], 1)
    return index


@pytest.mark.parametrize("order", Order)
def test_a_page_does_not_look_at_all_products(monkeypatch: pytest.MonkeyPatch, order: Order) -> None:
    index = _index(2000)
    first = index.page(Filter(), None, 50, order)
    looks = 0

    def counted(product: Product, order: Order) -> object:
        nonlocal looks
        looks += 1
        return place_of(product, order)

    for module in (columnar, sorted_rows):
        monkeypatch.setattr(module, "place_of", counted)
    second = index.page(Filter(), place_of(first.products[-1], order), 50, order)
    assert len(second.products) == 50 and second.more
    assert looks < 30
    # A write makes no difference but for what it has changed.
    index.apply((), (), 2, [_product("p00007", Random(2))])
    index.page(Filter(), place_of(first.products[-1], order), 50, order)
    assert looks < 100
