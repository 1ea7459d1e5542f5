"""Short answers that go on beyond their derived type, over gRPC, HTTP, in batches and in files."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from cli.main import run
from fashion.v1 import search_pb2, types_pb2
from tests.support.gateways import Shop, problem, shop
from tests.support.running import refusal
from tests.support.small_shop import photograph

# Article type, gender, subCategory and master category of three products each.
KINDS = (
    ("Tshirts", types_pb2.GENDER_MEN, "Topwear", "Apparel"),
    ("Tshirts", types_pb2.GENDER_WOMEN, "Topwear", "Apparel"),
    ("Shirts", types_pb2.GENDER_WOMEN, "Topwear", "Apparel"),
    ("Jeans", types_pb2.GENDER_MEN, "Bottomwear", "Apparel"),
    ("Watches", types_pb2.GENDER_MEN, "Watches", "Accessories"),
)
LABELS = (["Men Tshirts"], ["Tshirts"], ["Topwear"], ["Apparel"])
NAMES = ("derived_type", "article_type", "sub_category", "master_category")
SHADES = (("Red", 0), ("Red", 20), ("Yellow", 0))


def _rows() -> list[search_pb2.ProductRow]:
    return [
        search_pb2.ProductRow(
            product=types_pb2.Product(
                id=f"{kind}-{number}",
                article_type=article_type,
                gender=gender,
                sub_category=sub_category,
                master_category=master_category,
                base_colour=colour,
            ),
            image=types_pb2.Image(content=photograph("Men Tshirts", colour, shade + kind)),
        )
        for kind, (article_type, gender, sub_category, master_category) in enumerate(KINDS)
        for number, (colour, shade) in enumerate(SHADES)
    ]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop"), token_free=True) as found:
        written = found.grpc.upsert(_rows())
        assert not any(each.status.code for each in written.results)
        found.grpc.dislike("ada", "Yellow")
        yield found


def _check(answer: search_pb2.FindSimilarResponse, top_k: int) -> None:
    """Holds an answer to what a ladder promises, whatever it found."""
    applied, counts = answer.applied, answer.applied.counts
    assert [each.rung for each in answer.products] == sorted(each.rung for each in answer.products)
    by_rung = Counter(each.rung for each in answer.products)
    assert [(each.rung, each.returned_count) for each in applied.rungs] == [
        (rung, by_rung[rung]) for rung in range(1, len(applied.rungs) + 1)
    ]
    # Whatever is below the last rung could not fill the answer.
    assert len(answer.products) == top_k or len(applied.rungs) == 4
    assert sum(each.returned_count for each in applied.rungs[:-1]) < top_k
    left_out = counts.filtered_count + counts.out_of_stock_count + counts.disliked_count + counts.excluded_count
    assert counts.searched_count == left_out + counts.variant_count + counts.dissimilar_count + (
        counts.surplus_count + counts.returned_count
    )
    assert (counts.returned_count, counts.requested_count) == (len(answer.products), top_k)


@pytest.mark.parametrize(
    ("top_k", "rungs", "searched"), [(1, 1, 3), (2, 1, 3), (3, 2, 6), (6, 3, 9), (9, 4, 12), (50, 4, 12)]
)
def test_an_answer_goes_on_to_the_rung_that_fills_it(found: Shop, top_k: int, rungs: int, searched: int) -> None:
    answer = found.grpc.find(product_id="0-0", top_k=top_k, widen=True)
    _check(answer, top_k)
    assert [list(each.labels) for each in answer.applied.rungs] == list(LABELS[:rungs])
    assert answer.applied.counts.searched_count == searched
    assert answer.applied.scope == search_pb2.SEARCH_SCOPE_PREDICTED_TYPE
    # The other shirt first, then women's, then what is worn above, and never a watch.
    kinds = [int(each.product.id[0]) for each in answer.products]
    assert kinds == sorted(kinds) and 4 not in kinds


def test_filter_dislikes_and_similarity_hold_on_every_rung(found: Shop) -> None:
    reds = search_pb2.Filter(base_colour=search_pb2.ColourFilter(any_of=["Red", "Yellow"]))
    answer = found.grpc.find(product_id="0-0", top_k=20, widen=True, user_id="ada", filter=reds)
    _check(answer, 20)
    assert {each.product.base_colour for each in answer.products} == {"Red"}
    assert (len(answer.products), answer.applied.counts.disliked_count) == (7, 4)
    everything = found.grpc.find(product_id="0-0", top_k=20, widen=True)
    least = sorted(each.similarity for each in everything.products)[3]
    answer = found.grpc.find(product_id="0-0", top_k=20, widen=True, min_similarity=least)
    _check(answer, 20)
    assert [each.product.id for each in answer.products] == [
        each.product.id for each in everything.products if each.similarity >= least
    ]


def test_it_is_off_by_default_and_contradicts_the_inventory(found: Shop) -> None:
    answer = found.grpc.find(product_id="0-0", scope=search_pb2.SEARCH_SCOPE_PREDICTED_TYPE)
    assert len(answer.products) == 2 and not answer.applied.rungs and not answer.products[0].rung
    with pytest.raises(grpc.RpcError) as refused:
        found.grpc.find(product_id="0-0", scope=search_pb2.SEARCH_SCOPE_INVENTORY, widen=True)
    _, reason, _, metadata = refusal(refused.value)
    assert (reason, metadata["field"]) == ("SCOPE_INVALID", "widen")
    answer = found.http.get("/v1/products/0-0/similar?widen=true&scope=inventory")
    assert problem(answer, 400, "SCOPE_INVALID")["metadata"]["field"] == "widen"


def test_named_types_and_photographs_climb_too(found: Shop) -> None:
    named = {"scope": search_pb2.SEARCH_SCOPE_DERIVED_TYPES, "derived_types": ["Men Jeans"]}
    answer = found.grpc.find(product_id="0-0", top_k=4, widen=True, **named)
    _check(answer, 4)
    assert [list(each.labels) for each in answer.applied.rungs] == [
        ["Men Jeans"],
        ["Jeans"],
        ["Bottomwear"],
        ["Apparel"],
    ]
    image = types_pb2.Image(content=photograph("Men Tshirts", "Red", 1))
    answer = found.grpc.find(image=image, top_k=8, widen=True)
    _check(answer, 8)
    assert len(answer.applied.rungs) > 1


def test_http_batches_and_files_say_the_same(found: Shop, tmp_path: Path) -> None:
    answer = found.grpc.find(product_id="0-0", top_k=7, widen=True)
    expected = [(each.product.id, NAMES[each.rung - 1]) for each in answer.products]
    query = found.http.get("/v1/products/0-0/similar?widen=true&limit=7").json()
    body = found.http.post("/v1/similar", json={"product_id": "0-0", "limit": 7, "widen": True}).json()
    assert query == body
    assert [(each["product"]["id"], each["rung"]) for each in query["products"]] == expected
    assert query["applied"]["rungs"] == [
        {"rung": NAMES[each.rung - 1], "labels": list(each.labels), "returned_count": each.returned_count}
        for each in answer.applied.rungs
    ]
    options: dict[str, Any] = {"top_k": 7, "widen": True}
    lists = found.grpc.search.BatchFindSimilar(
        search_pb2.BatchFindSimilarRequest(
            product_ids=["0-0", "4-1"], options=search_pb2.FindSimilarRequest(**options)
        ),
        timeout=60,
    ).lists
    assert [(each.product_id, NAMES[each.rung - 1]) for each in lists[0].products] == expected
    assert lists[0].applied.rungs == answer.applied.rungs
    assert len(lists[1].applied.rungs) == 4 and len(lists[1].products) == 2
    file = tmp_path / "similar.csv"
    assert run(["export", "similar", str(file), "--top", "7", "--widen", "--server", found.grpc.target]) == 0
    with file.open() as opened:
        rows = [row for row in csv.DictReader(opened) if row["product_id"] == "0-0"]
    assert [(row["similar_product_id"], row["rung"]) for row in rows] == expected
