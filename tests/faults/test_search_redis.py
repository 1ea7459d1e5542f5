"""Redis goes away and comes back: shoppers are still answered, and no acknowledged write is lost."""

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from fashion.v1 import search_pb2, types_pb2
from services.stack.embedded_redis import embedded_redis
from tests.support.running import Caller, calling, refusal, stack_in_thread, stack_settings
from tests.support.small_shop import items, photograph, rows

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
KNOWN = items()[0].id


def _refused(call: Callable[..., object], request: object) -> None:
    with pytest.raises(grpc.RpcError) as error:
        call(request, timeout=20)
    code, reason, text, _ = refusal(error.value)
    assert (code, reason) == (UNAVAILABLE, "PREFERENCES_UNAVAILABLE")
    assert "Redis" in text


def _is_degraded_but_answers(caller: Caller) -> None:
    for query in ({"product_id": KNOWN}, {"image": types_pb2.Image(content=photograph("Men Tshirts"))}):
        found = caller.find(**query, user_id="ann", top_k=3)
        assert len(found.products) == 3
        assert found.applied.degraded == [search_pb2.DEGRADED_REASON_PREFERENCES_UNAVAILABLE]
        assert not found.applied.excluded_colours
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
            _is_degraded_but_answers(caller)
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
        settings = stack_settings(tmp_path / "data", redis_url=server.url)
        with stack_in_thread(settings) as stack, calling(stack.target) as caller:
            caller.upsert(rows())
            caller.dislike("ann", "Yellow")
            os.kill(server.server_pid, signal.SIGSTOP)
            try:
                _is_degraded_but_answers(caller)
                _refuses_what_needs_redis(caller)
            finally:
                os.kill(server.server_pid, signal.SIGCONT)
            found = caller.find(product_id=KNOWN, user_id="ann")
            assert found.applied.excluded_colours == ["Yellow"]
            assert not found.applied.degraded
