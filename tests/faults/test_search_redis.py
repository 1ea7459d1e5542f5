"""Redis goes away and comes back: shoppers are still answered, and no acknowledged write is lost."""

import dataclasses
import json
import os
import signal
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fashion.v1 import search_pb2, types_pb2
from services.gateway.settings import GatewaySettings
from services.search.servicer import DISLIKES, SEARCH
from services.stack.embedded_redis import embedded_redis
from tests.support.running import Caller, calling, refusal, stack_in_thread, stack_settings
from tests.support.small_shop import items, photograph, rows
from tests.support.waiting import eventually

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
KNOWN = items()[0].id


def _server_of(directory: Path) -> psutil.Process:
    """Returns the Redis that has files open below a directory; other tests' may run too."""
    servers = [each for each in psutil.Process().children(recursive=True) if each.name() == "valkey-server"]
    (server,) = (
        each for each in servers if any(Path(file.path).is_relative_to(directory) for file in each.open_files())
    )
    return server


def _refused(call: Callable[..., object], request: object) -> None:
    with pytest.raises(grpc.RpcError) as error:
        call(request, timeout=20)
    code, reason, text, _ = refusal(error.value)
    assert (code, reason) == (UNAVAILABLE, "PREFERENCES_UNAVAILABLE")
    assert "Redis" in text


def _is_degraded_but_answers(caller: Caller, *last_known: str) -> None:
    for query in ({"product_id": KNOWN}, {"image": types_pb2.Image(content=photograph("Men Tshirts"))}):
        found = caller.find(**query, user_id="ann", top_k=3)
        assert len(found.products) == 3
        assert found.applied.degraded == [search_pb2.DEGRADED_REASON_PREFERENCES_UNAVAILABLE]
        # What is known to be disliked stays away, from the first query on.
        assert found.applied.excluded_colours == list(last_known)
        assert not {each.product.base_colour for each in found.products} & set(last_known)
        # Nothing is known of this one.
        assert not caller.find(**query, user_id="bob", top_k=3).applied.excluded_colours
        # A query without a user needs no dislikes.
        assert not caller.find(**query, top_k=3).applied.degraded


def _refuses_what_needs_redis(caller: Caller) -> None:
    _refused(
        caller.search.FindSimilar,
        search_pb2.FindSimilarRequest(
            product_id=KNOWN, user_id="ann", preference_policy=search_pb2.PREFERENCE_POLICY_REQUIRED
        ),
    )
    yellow = search_pb2.DislikedColour(colour="Yellow")
    _refused(caller.search.AddDislikedColours, search_pb2.AddDislikedColoursRequest(user_id="ann", colours=[yellow]))
    _refused(
        caller.search.RemoveDislikedColours,
        search_pb2.RemoveDislikedColoursRequest(user_id="ann", colours=["Yellow"]),
    )
    _refused(caller.search.ListDislikedColours, search_pb2.ListDislikedColoursRequest(user_id="ann"))
    _refused(caller.search.ForgetUser, search_pb2.ForgetUserRequest(user_id="ann"))


def test_redis_down_degrades_and_is_found_again_with_all_dislikes(tmp_path: Path) -> None:
    redis_data = tmp_path / "redis"
    with ExitStack() as first:
        url = first.enter_context(embedded_redis(redis_data)).url
        settings = stack_settings(tmp_path / "data", redis_url=url)
        with stack_in_thread(settings) as stack, calling(stack.target) as caller:
            caller.upsert(rows())
            caller.dislike("ann", "Blue")
            first.close()
            _is_degraded_but_answers(caller, "Blue", "Navy Blue")
            _refuses_what_needs_redis(caller)
            # The catalogue needs no Redis.
            (written,) = caller.upsert([items()[0].row(year=2019)]).results
            assert written.outcome == search_pb2.UPSERT_OUTCOME_UPDATED
            with embedded_redis(redis_data) as again:
                assert again.url == url
                found = caller.find(
                    product_id=KNOWN,
                    user_id="ann",
                    top_k=100,
                    preference_policy=search_pb2.PREFERENCE_POLICY_REQUIRED,
                )
                assert found.applied.excluded_colours == ["Blue", "Navy Blue"]
                assert not found.applied.degraded
                assert not {each.product.base_colour for each in found.products} & {"Blue", "Navy Blue"}


def test_a_stack_starts_and_answers_while_redis_is_down(tmp_path: Path) -> None:
    settings = stack_settings(tmp_path / "data", redis_url=f"unix://{tmp_path}/nobody.sock")
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        caller.upsert(rows())
        _is_degraded_but_answers(caller)
        _refuses_what_needs_redis(caller)


def test_a_redis_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    with embedded_redis(tmp_path / "redis") as server:
        settings = stack_settings(tmp_path / "data", redis_url=server.url, preferences_timeout_s=1.0)
        with stack_in_thread(settings) as stack, calling(stack.target) as caller:
            caller.upsert(rows())
            caller.dislike("ann", "Yellow")
            os.kill(server.server_pid, signal.SIGSTOP)
            try:
                _is_degraded_but_answers(caller, "Yellow")
                _refuses_what_needs_redis(caller)
            finally:
                os.kill(server.server_pid, signal.SIGCONT)
            eventually(lambda: not caller.find(product_id=KNOWN, user_id="ann").applied.degraded, timeout_s=10)
            assert caller.find(product_id=KNOWN, user_id="ann").applied.excluded_colours == ["Yellow"]


def test_health_and_readiness_tell_that_dislikes_cannot_be_read(tmp_path: Path) -> None:
    stack_of_all = stack_settings(tmp_path / "data", preferences_timeout_s=1.0)
    settings = dataclasses.replace(stack_of_all, gateway=GatewaySettings(port=0))
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        caller.upsert(rows())
        caller.dislike("ann", "Yellow")
        assert _readiness(stack.url) == {"status": "ok"}
        assert _health(stack.target, DISLIKES) is True
        # A Redis that hangs is not started again.
        server = _server_of(tmp_path)
        server.suspend()
        try:
            eventually(lambda: _health(stack.target, DISLIKES) is False)
            assert _readiness(stack.url) == {"status": "ok", "degraded": ["PREFERENCES_UNAVAILABLE"]}
            # Queries are answered all the same.
            assert _health(stack.target, SEARCH.name) and _health(stack.target, "")
        finally:
            server.resume()
        eventually(lambda: _health(stack.target, DISLIKES) is True)
        assert _readiness(stack.url) == {"status": "ok"}


def test_a_killed_redis_is_back_and_no_disliked_colour_was_shown(tmp_path: Path) -> None:
    with stack_in_thread(stack_settings(tmp_path / "data")) as stack, calling(stack.target) as caller:
        caller.upsert(rows())
        caller.dislike("ann", "Blue")
        server = _server_of(tmp_path)
        server.kill()

        def answered_in_full() -> bool:
            found = caller.find(product_id=KNOWN, user_id="ann", top_k=100)
            assert not {each.product.base_colour for each in found.products} & {"Blue", "Navy Blue"}
            return not found.applied.degraded and not server.is_running()

        eventually(answered_in_full, timeout_s=10)
        caller.dislike("ann", "Yellow")


def _readiness(url: str | None) -> object:
    with urllib.request.urlopen(f"{url}/readyz", timeout=20) as answer:
        return json.load(answer)


def _health(target: str, service: str) -> bool:
    with grpc.insecure_channel(target) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
