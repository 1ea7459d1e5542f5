"""A data directory of version 0.1.0 opens with today's stack, and nothing in it is lost."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict

from fashion.v1 import search_pb2, types_pb2
from services.contract.values import Box
from services.embedder.settings import EmbedderSettings
from services.search.catalogue.store import Catalogue
from services.stack.settings import StackSettings
from tests.support.running import Caller, calling, stack_in_thread, stack_settings
from tests.support.small_shop import items
from tests.support.waiting import eventually

FIXTURE = Path(__file__).parents[1] / "fixtures" / "data-dir-v1"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_text(encoding="utf-8"))
NEVER_SEEN = (FIXTURE / "never-seen.jpg").read_bytes()
# Came as an embedding: another model has nothing to embed again.
EMBEDDED_ID = "embedded/only"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE / "data", tmp_path / "data"))


@pytest.fixture
def settings(data_dir: Path) -> StackSettings:
    return dataclasses.replace(stack_settings(data_dir), embedder=EmbedderSettings())


@pytest.fixture
def caller(settings: StackSettings) -> Iterator[Caller]:
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        yield caller


def products(caller: Caller) -> dict[str, Any]:
    listed = caller.search.ListProducts(search_pb2.ListProductsRequest(page_size=500), timeout=20).products
    return {each.id: MessageToDict(each, preserving_proto_field_name=True) for each in listed}


def photograph_sha256(caller: Caller, product_id: str) -> str:
    request = search_pb2.GetPhotographRequest(product_id=product_id)
    return hashlib.sha256(caller.search.GetPhotograph(request, timeout=20).content).hexdigest()


def disliked_colours(caller: Caller, user_id: str) -> list[list[object]]:
    request = search_pb2.ListDislikedColoursRequest(user_id=user_id)
    return [[each.colour, each.exact] for each in caller.search.ListDislikedColours(request, timeout=20).colours]


def assert_nothing_lost(caller: Caller) -> None:
    # Later than the directory: which photographs are kept is said with each product.
    expected = {each: {**fields, "photograph_count": 1} for each, fields in EXPECTED["products"].items()}
    expected[EMBEDDED_ID]["photograph_absent"] = True
    assert products(caller) == expected
    sha256s = EXPECTED["photographs_sha256"]
    assert {each: photograph_sha256(caller, each) for each in sha256s} == sha256s
    users = EXPECTED["disliked_colours"]
    assert {each: disliked_colours(caller, each) for each in users} == users


def test_the_catalogue_holds_what_was_written(data_dir: Path) -> None:
    with closing(Catalogue(data_dir)) as catalogue:
        assert len(catalogue) == len(EXPECTED["products"])
        assert catalogue.index_version == EXPECTED["index_version"]
        for product_id, sha256 in EXPECTED["embeddings_float16_sha256"].items():
            stored = catalogue.get(product_id)
            assert stored is not None, product_id
            assert hashlib.sha256(stored.embedding.astype("<f2").tobytes()).hexdigest() == sha256, product_id
            assert stored.content.model_version == EXPECTED["model_version"]
            assert stored.content.photograph_sha256 == EXPECTED["photographs_sha256"].get(product_id)
        cut = catalogue.get("10006")
        assert cut is not None
        assert cut.content.region == Box(*np.array([0.1, 0.05, 0.9, 0.95], dtype=np.float32).tolist())


def test_the_model_that_wrote_it_answers_as_it_did(caller: Caller) -> None:
    index = caller.index()
    if index.model_version != EXPECTED["model_version"]:
        pytest.skip(f"the shipped model is {index.model_version} now: it has other embeddings, and another order")
    assert_nothing_lost(caller)
    # Nothing was written or embedded again.
    assert (index.index_version, index.outdated_count) == (EXPECTED["index_version"], 0)
    assert index.update_time.ToJsonString() == EXPECTED["update_time"]
    for query, expected in EXPECTED["similar"].items():
        product_id, _, user_id = query.partition(" for ")
        found = caller.find(product_id=product_id, user_id=user_id, top_k=10).products
        assert [each.product.id for each in found] == [product_id for product_id, _ in expected], query
        assert [each.similarity for each in found] == pytest.approx(
            [similarity for _, similarity in expected], abs=1e-3
        )


def test_it_is_written_to_and_opened_again(settings: StackSettings) -> None:
    new = items()[0]
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        before = caller.index().index_version
        assert before >= EXPECTED["index_version"]
        assert caller.upsert([new.row()]).results[0].outcome == search_pb2.UPSERT_OUTCOME_CREATED
        deleted = search_pb2.DeleteProductsRequest(product_ids=["10001"])
        assert caller.search.DeleteProducts(deleted, timeout=20).results[0].status.code == 0
        caller.dislike("eve", "Green")
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        assert caller.index().index_version >= before + 2
        assert set(products(caller)) == {*EXPECTED["products"], new.id} - {"10001"}
        # Its photograph was shared.
        assert photograph_sha256(caller, "10001-again") == EXPECTED["photographs_sha256"]["10001"]
        assert disliked_colours(caller, "eve") == [["Green", False]]
        assert disliked_colours(caller, "ada") == EXPECTED["disliked_colours"]["ada"]
        # A later model than the directory's embeds again in the background, all but what came without a photograph.
        eventually(lambda: caller.index().outdated_count <= 1)
        # It shows a shirt, and ada dislikes blue.
        answer = caller.find(image=types_pb2.Image(content=NEVER_SEEN), user_id="ada", scope="SEARCH_SCOPE_INVENTORY")
        assert len(answer.products) == 10
        assert not {each.product.base_colour for each in answer.products} & {"Blue", "Navy Blue", "Maroon"}


def test_a_later_model_embeds_the_photographs_again(data_dir: Path) -> None:
    with stack_in_thread(stack_settings(data_dir)) as stack, calling(stack.target) as caller:
        assert caller.index().model_version != EXPECTED["model_version"]
        eventually(lambda: caller.index().outdated_count == 1)
        assert_nothing_lost(caller)
        answer = caller.find(product_id="10001", scope="SEARCH_SCOPE_INVENTORY", include_out_of_stock=True, top_k=100)
        variants = {each for each, fields in EXPECTED["products"].items() if fields.get("parent_id") == "10001"}
        assert {each.product.id for each in answer.products} == (
            set(EXPECTED["products"]) - variants - {"10001", EMBEDDED_ID}
        )
        assert answer.products[0].product.id == "10001-again"
