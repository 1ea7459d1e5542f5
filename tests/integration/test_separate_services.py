"""Three processes and a real Redis, as compose runs them: a photograph in, similar products out."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fashion.v1 import search_pb2, types_pb2
from services.clients.candidate_store import candidates_key
from tests.support.processes import Service, free_port, services
from tests.support.running import calling
from tests.support.small_shop import items, photograph, rows
from tests.support.waiting import eventually, found_with_candidates


def logged(service: Service, request_id: str) -> bool:
    """Whether a service has written a whole line of that request."""
    *lines, _ = service.output().split("\n")
    return request_id in {json.loads(line).get("request_id") for line in lines}


def test_a_photograph_finds_its_like_through_three_processes(tmp_path: Path, redis_url: str) -> None:
    with services(tmp_path, redis_url) as running, calling(running.search.target) as caller:
        answer, call = caller.search.UpsertProducts.with_call(
            search_pb2.UpsertProductsRequest(rows=rows()), timeout=60, metadata=(("x-request-id", "ingest-1"),)
        )
        assert {each.outcome for each in answer.results} == {search_pb2.UPSERT_OUTCOME_CREATED}
        assert dict(call.trailing_metadata())["x-request-id"] == "ingest-1"

        shot = types_pb2.Image(content=photograph("Women Dresses", "Yellow", 10))
        found = found_with_candidates(caller, image=shot, top_k=4, user_id="ann")
        assert found.applied.derived_types == ["Women Dresses"]
        assert found.classification.derived_types[0].label == "Women Dresses"
        assert found.classification.sub_categories[0].label == "Dress"
        assert {each.product.id for each in found.products[:2]} == {"women-dresses-yellow-0", "women-dresses-yellow-25"}

        caller.dislike("ann", "Yellow")
        without = caller.find(image=shot, top_k=4, user_id="ann")
        assert without.applied.excluded_colours == ["Yellow"]
        assert len(without.products) == 4
        assert "Yellow" not in {each.product.base_colour for each in without.products}

        with redis.Redis.from_url(redis_url) as client:
            assert client.hgetall("fashion:user:ann:disliked_colours") == {b"Yellow": b"family"}
            assert client.exists(candidates_key(found.applied.model_version))

        # All three log the same request id.
        caller.search.FindSimilar(
            search_pb2.FindSimilarRequest(image=shot), timeout=20, metadata=(("x-request-id", "query-7"),)
        )
        for service in running.all():
            # The answer is sent before its line is logged.
            eventually(partial(logged, service, "query-7"), f"{service.module} has not logged the id")


def test_search_comes_back_from_a_crash_with_all_that_it_acknowledged(tmp_path: Path, redis_url: str) -> None:
    with services(tmp_path, redis_url) as running, calling(running.search.target) as caller:
        written = caller.upsert(rows())
        before = caller.find(product_id=items()[0].id, top_k=5)
        running.search.kill()
        running.search.start()
        running.search.wait_until_serving()
        with calling(running.search.target) as again:
            facts = again.index()
            assert (facts.product_count, facts.index_version) == (len(items()), written.index_version)
            assert again.find(product_id=items()[0].id, top_k=5).products == before.products
            kept = again.search.GetPhotograph(search_pb2.GetPhotographRequest(product_id=items()[0].id), timeout=20)
            assert kept.content == items()[0].photograph()


def test_each_service_drains_on_sigterm(tmp_path: Path, redis_url: str) -> None:
    with services(tmp_path, redis_url) as running:
        for service in reversed(running.all()):
            assert service.terminate() == 0, service.output()


def test_search_waits_for_its_embedder_without_pretending_to_serve(tmp_path: Path, redis_url: str) -> None:
    with services(tmp_path, redis_url) as running:
        running.embedder.kill()
        running.search.terminate()
        running.search.start()
        with calling(running.search.target) as caller:
            health = health_pb2_grpc.HealthStub(caller.channel)
            request = health_pb2.HealthCheckRequest(service="fashion.v1.SearchService")
            answer = health.Check(request, timeout=30, wait_for_ready=True)
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        running.embedder.start()
        running.search.wait_until_serving()


def test_a_data_directory_serves_one_search_at_a_time(tmp_path: Path, redis_url: str) -> None:
    with services(tmp_path, redis_url) as running:
        second = replace(running.search, port=free_port(), process=None)
        second.start()
        assert second.process is not None
        assert second.process.wait(30) == 1
        assert "in use" in second.output()
