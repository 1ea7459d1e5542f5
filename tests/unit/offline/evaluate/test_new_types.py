"""Derived types that a network never learned from, by hand on a few products."""

import numpy as np
import pytest

from offline.evaluate.new_types import measure_new_types, new_types
from offline.evaluate.products import ProductTable
from offline.evaluate.served import LocalService
from offline.evaluate.tables import new_types_table
from services.classifier.heads import LabelHead
from services.classifier.recognition import ClassifierModel
from services.contract.errors import InvalidInput
from services.contract.values import parse_derived_type
from services.search.indexes.faiss import FaissIndex
from tests.support.evaluated_shop import product, table

KINDS = ("Men Jeans", "Men Shirts", "Men Ties")


def a_table(prefix: str, each: int) -> ProductTable:
    """So many products of each kind, all of one kind on one axis."""
    products = [product(f"{prefix}{at}{kind[4:]}", kind) for kind in KINDS for at in range(each)]
    axes = np.eye(3).repeat(each, axis=0)
    return table(products, axes.tolist())


def service(head: LabelHead) -> LocalService:
    nothing = LabelHead((), np.zeros((0, 8), np.float32), 1.0)
    kinds = tuple(parse_derived_type(label) for label in head.labels)
    return LocalService(a_table("c", 10), ClassifierModel("v1", 8, nothing, head, kinds), FaissIndex(8), threads=1)


def measured(head: LabelHead, known: set[str], learned: bool):
    queries = a_table("q", 2)
    return measure_new_types(
        queries, service(head), {"Men Ties"}, known, learned=learned, model=("m", "v1"), advance=lambda steps: None
    )


def test_candidates_and_search_find_what_the_head_cannot_name() -> None:
    head = LabelHead(KINDS[:2], np.eye(2, 8, dtype=np.float32), 20.0)
    row = measured(head, set(KINDS[:2]), learned=False)
    assert (row.new, row.new_top_10, row.new_precision) == (1.0, 1.0, 1.0)
    assert (row.others, row.others_top_10, row.taken_for_new) == (1.0, 1.0, 0.0)
    assert not row.head_knows


def test_a_head_that_names_them_wrong_is_counted_against_both() -> None:
    # Shirts are taken for ties, and ties for shirts.
    head = LabelHead(KINDS, np.eye(3, 8, dtype=np.float32)[[0, 2, 1]], 20.0)
    row = measured(head, set(KINDS), learned=True)
    assert (row.new, row.others, row.taken_for_new) == (0.0, 0.5, 0.5)
    assert row.new_top_10 == 1.0
    document = {"rows": [{"model": "m", "model_version": "v1", "learned": True, "head_knows": True}]}
    document["rows"][0] |= {name: getattr(row, name) for name in ("new", "new_top_10", "new_precision")}
    document["rows"][0] |= {name: getattr(row, name) for name in ("others", "others_top_10", "taken_for_new")}
    table = new_types_table(document)
    ((name, *figures),) = table.rows
    assert name == "m v1: knows them"
    assert len(figures) == len(table.heading) - 1
    assert figures[:2] == ["0.0", "100.0"]


def test_new_are_the_types_that_one_head_alone_knows() -> None:
    assert new_types(KINDS, KINDS[:2], (*KINDS, "Men Socks")) == {"Men Ties"}
    for without in (KINDS, ()):
        with pytest.raises(InvalidInput, match="--leave-out"):
            new_types(KINDS, without, KINDS)
