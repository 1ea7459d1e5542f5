"""Embedder and classifier crash and come back: calls that need them say so, all others are answered."""

import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import redis

from fashion.v1 import search_pb2, types_pb2
from services.clients.candidate_store import candidates_key
from tests.support.processes import Service, Services, services
from tests.support.running import Caller, calling, refusal
from tests.support.small_shop import items, photograph, rows
from tests.support.waiting import eventually

KNOWN = items()[0].id
SHOT = types_pb2.Image(content=photograph("Men Tshirts", "Red"))


@pytest.fixture
def running(tmp_path: Path, redis_url: str) -> Iterator[Services]:
    with services(tmp_path, redis_url, SEARCH_CLASSIFIER_TIMEOUT_S="2") as started:
        yield started


@pytest.fixture
def caller(running: Services) -> Iterator[Caller]:
    with calling(running.search.target) as connected:
        connected.upsert(rows())
        eventually(lambda: connected.find(image=SHOT).classification.candidates_version != "")
        yield connected


def _restarted(service: Service) -> None:
    service.start()
    service.wait_until_serving()


def test_without_classifier_a_photograph_searches_the_inventory_and_says_so(running: Services, caller: Caller) -> None:
    running.classifier.kill()
    found = caller.find(image=SHOT, top_k=3)
    assert found.products[0].product.id == "men-tshirts-red-0"
    assert found.applied.scope == search_pb2.SEARCH_SCOPE_INVENTORY
    assert found.applied.degraded == [search_pb2.DEGRADED_REASON_CLASSIFIER_UNAVAILABLE]
    assert not found.applied.derived_types
    assert not found.HasField("classification")

    # Nothing is missing if the predicted type does not decide where to search.
    for request in (
        {"product_id": KNOWN},
        {"image": SHOT, "scope": search_pb2.SEARCH_SCOPE_INVENTORY},
        {"image": SHOT, "scope": search_pb2.SEARCH_SCOPE_DERIVED_TYPES, "derived_types": ["Men Tshirts"]},
    ):
        assert not caller.find(**request).applied.degraded

    # Widening the search shows no disliked colour either.
    caller.dislike("ann", "Red")
    widened = caller.find(image=SHOT, user_id="ann", top_k=100)
    assert widened.applied.degraded == [search_pb2.DEGRADED_REASON_CLASSIFIER_UNAVAILABLE]
    assert "Red" not in {each.product.base_colour for each in widened.products}

    _restarted(running.classifier)
    eventually(lambda: not caller.find(image=SHOT).applied.degraded)
    assert caller.find(image=SHOT).applied.scope == search_pb2.SEARCH_SCOPE_PREDICTED_TYPE


def test_without_embedder_a_photograph_is_unavailable_and_a_product_is_not(running: Services, caller: Caller) -> None:
    before = caller.index()
    running.embedder.kill()
    with pytest.raises(grpc.RpcError) as error:
        caller.find(image=SHOT)
    assert refusal(error.value)[:2] == (grpc.StatusCode.UNAVAILABLE, "EMBEDDER_UNAVAILABLE")
    # Callers learn no address.
    assert str(running.embedder.port) not in str(error.value.details())
    assert len(caller.find(product_id=KNOWN, top_k=5).products) == 5

    # An upsert that needs the embedder writes no row; one that does not need it is written.
    with pytest.raises(grpc.RpcError) as error:
        new = search_pb2.ProductRow(product=items()[0].product(id="new"), image=SHOT)
        caller.upsert([items()[0].row(year=2020), new])
    assert refusal(error.value)[:2] == (grpc.StatusCode.UNAVAILABLE, "EMBEDDER_UNAVAILABLE")
    assert caller.index().index_version == before.index_version
    (written,) = caller.upsert([items()[0].row(year=2020)]).results
    assert written.outcome == search_pb2.UPSERT_OUTCOME_UPDATED

    _restarted(running.embedder)

    def answered() -> bool:
        try:
            return len(caller.find(image=SHOT).products) > 0
        except grpc.RpcError as error:
            assert refusal(error)[:2] == (grpc.StatusCode.UNAVAILABLE, "EMBEDDER_UNAVAILABLE")
            return False

    eventually(answered)


def test_candidates_that_redis_has_lost_are_published_again(running: Services, caller: Caller, redis_url: str) -> None:
    version = caller.index().model_version
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        eventually(lambda: client.exists(candidates_key(version)) == 1)
        assert client.hget(candidates_key(version), "version").decode() == caller.index().candidates_version


def test_a_classifier_that_hangs_holds_nobody_up(running: Services, caller: Caller) -> None:
    assert running.classifier.process is not None
    running.classifier.process.send_signal(signal.SIGSTOP)
    try:
        found = caller.find(image=SHOT, top_k=3)
        assert len(found.products) == 3
        assert found.applied.degraded == [search_pb2.DEGRADED_REASON_CLASSIFIER_UNAVAILABLE]
    finally:
        running.classifier.process.send_signal(signal.SIGCONT)
    eventually(lambda: not caller.find(image=SHOT).applied.degraded)
