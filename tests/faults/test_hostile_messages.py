"""Mutated messages of every RPC are answered exactly, and the next good request as before."""

import grpc
import pytest

from fashion.v1 import search_pb2
from offline.benchmark import messages
from offline.benchmark.hostile_messages import HostileMessages, methods
from services.contract.scopes import RPCS

FAKE = {"EMBEDDER_RUNTIME": "fake", "CLASSIFIER_BUNDLE": "imagenet"}


def test_two_thousand_mutated_messages_are_answered_exactly() -> None:
    figures = messages.messages(2000, 0, attack_s=0, environment=FAKE)
    assert figures["problems"] == []
    assert figures["messages"] == 2000
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND"} <= set(figures["codes"])


@pytest.mark.parametrize(
    ("readable", "code", "reason", "right"),
    [
        (True, "OK", "", True),
        (True, "NOT_FOUND", "PRODUCT_NOT_FOUND", True),
        (False, "INVALID_ARGUMENT", "REQUEST_MALFORMED", True),
        (False, "OK", "", False),
        (False, "INVALID_ARGUMENT", "TOP_K_OUT_OF_RANGE", False),
        (True, "INVALID_ARGUMENT", "REQUEST_MALFORMED", False),
        (True, "INVALID_ARGUMENT", "", False),
        (True, "INTERNAL", "INTERNAL", False),
        (True, "UNAVAILABLE", "EMBEDDER_UNAVAILABLE", False),
        (True, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", False),
    ],
)
def test_what_is_no_exact_answer_is_found(readable: bool, code: str, reason: str, right: bool) -> None:
    assert messages.exact(readable, grpc.StatusCode[code], reason) is right


def test_every_rpc_is_in_it_by_itself() -> None:
    assert {path.lstrip("/") for path in methods() if path.startswith("/fashion.")} == {
        name for name in RPCS if name.startswith("fashion.")
    }


def test_messages_are_the_same_from_the_same_seed_and_reach_deep() -> None:
    first, second = (HostileMessages(7, ["Blue"], [b"x" * 100]) for _ in range(2))
    kind = search_pb2.FindSimilarRequest
    made = [first.request(kind) for _ in range(200)]
    assert made == [second.request(kind) for _ in range(200)]
    assert len(set(made)) > 190
