"""Designs follow every write, look again only at what it has touched, and keep no write waiting for all of them."""

import threading
from collections.abc import Hashable
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from services.search.catalogue.products import Product
from services.search.filters.designs import design_name
from services.search.indexes import designs
from services.search.indexes.base import Collapse, Eligibility, IndexedProduct
from services.search.indexes.columns import Columns
from services.search.indexes.designs import Designs
from services.search.indexes.faiss import FaissIndex
from tests.conformance.materials import embedding, near, product, query_vector
from tests.support.waiting import eventually

COUNT = 600


class Shop:
    """Products in columns, whose designs are asked for; counts the embeddings that are read for them."""

    def __init__(self) -> None:
        self.columns = Columns()
        self.designs = Designs()
        self.read = 0
        self._vectors: dict[str, NDArray[np.float16]] = {}

    def put(self, each: Product, vector: NDArray[np.float16] | None) -> None:
        """Creates or replaces a product; without a vector it is not searchable."""
        self.designs.change((each.id,))
        row = self.columns.row_of(each.id)
        if row is None:
            self.columns.append(each, vector is not None)
        else:
            self.columns.replace(row, each, vector is not None)
        if vector is not None:
            self._vectors[each.id] = vector

    def delete(self, product_id: str) -> None:
        """Deletes a product, if it is there."""
        row = self.columns.row_of(product_id)
        if row is not None:
            self.designs.change((product_id,))
            self.columns.remove([row])

    def embeddings(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Returns those of rows."""
        self.read += len(rows)
        return np.stack([self._vectors[self.columns.product(int(row)).id] for row in rows])


def test_what_is_known_is_what_would_be_found_anew_after_any_writes() -> None:
    dice, shop, derived = Random(3), Shop(), set()
    ids = [f"p{number}" for number in range(12)]
    for _ in range(400):
        for product_id in dice.sample(ids, 2):
            if dice.random() < 0.2:
                shop.delete(product_id)
                continue
            its = product(
                product_id,
                name=dice.choice(["Zebra", "Red Zebra", "Élan Tee", "Élan Blue Tee", None]),
                base_colour=dice.choice(["Red", "Blue", "White"]),
                # A product that is a parent is not alone any more.
                parent_id=dice.choice(ids) if dice.random() < 0.2 else None,
            )
            shop.put(its, near(dice.randrange(2), dice.randrange(100)) if dice.random() < 0.9 else None)
        known = shop.designs.groups(shop.columns, shop.embeddings)
        anew = Designs().groups(shop.columns, shop.embeddings)
        assert known.codes.tolist() == anew.codes.tolist()
        assert known.derived.tolist() == anew.derived.tolist()
        derived.add(int(known.derived.sum()))
    assert {0, 1, 2} <= derived


def test_a_write_has_only_products_of_its_names_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[str] = []
    looked_at: list[int] = []
    product_of = Columns.product

    def counted(each: Product) -> Hashable | None:
        named.append(each.id)
        return design_name(each)

    def looked(columns: Columns, row: int) -> Product:
        looked_at.append(row)
        return product_of(columns, row)

    monkeypatch.setattr(designs, "design_name", counted)
    monkeypatch.setattr(Columns, "product", looked)
    shop = Shop()
    for number in range(COUNT):
        colour = ("Red", "Blue", "White")[number % 3]
        its = product(f"{number:04}", name=f"{colour} Model{number // 3}", base_colour=colour)
        shop.put(its, embedding(number // 3))
    assert shop.designs.groups(shop.columns, shop.embeddings).derived.sum() == COUNT // 3
    assert (len(named), shop.read) == (COUNT, COUNT)
    named.clear()
    looked_at.clear()
    shop.read = 0
    shop.put(product("0000", name="Green Model1", base_colour="Green"), embedding(1))
    groups = shop.designs.groups(shop.columns, shop.embeddings)
    # Model0 has two products left, and Model1 four.
    assert (named, shop.read) == (["0000"], 6)
    assert set(looked_at) == set(range(6))
    assert groups.codes[0] == groups.codes[3]
    assert shop.designs.groups(shop.columns, shop.embeddings) is groups


def test_a_write_need_not_wait_until_all_designs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    index = FaissIndex(embedding(0).shape[0])
    index.load([[IndexedProduct(product(f"{n:04}", name=f"Model {n}"), embedding(n)) for n in range(COUNT)]], 1)
    writer = threading.Thread(target=lambda: index.apply([IndexedProduct(product("new"), embedding(1))], (), 2))

    def meanwhile(each: Product) -> Hashable | None:
        if not writer.ident:
            writer.start()
            eventually(lambda: index._lock._writers_waiting > 0, "the write does not wait")
        return design_name(each)

    monkeypatch.setattr(designs, "design_name", meanwhile)
    answer = index.search(query_vector(0), 5, Eligibility(collapse=Collapse.DESIGNS))
    writer.join()
    # The search has let it through, and answers by it.
    assert answer.index_version == 2
