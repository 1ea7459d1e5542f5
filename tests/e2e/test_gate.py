"""The gate of a reindex, with the shipped model beside models that differ from it."""

from pathlib import Path

import pytest

from fashion.v1 import reindex_pb2, reindex_pb2_grpc, types_pb2
from offline.benchmark.altered_bundles import ALTERATIONS, altered_bundle
from offline.benchmark.drawn_shop import drawn_rows
from offline.benchmark.gate import outcome
from offline.drawn import held_out_photographs
from tests.support.running import calling, stack_in_thread, stack_settings

PRODUCTS, TYPES = 48, ("Handbags", "Shirts", "Sports Shoes", "Watches")
ROUNDED, NOISED = "weights rounded to 8 bits", "noise in the last stage"


@pytest.mark.timeout(300)
def test_the_gate_tells_a_model_as_good_as_before_from_broken_ones(tmp_path: Path) -> None:
    canaries = [
        reindex_pb2.Canary(
            name=each.name,
            image=types_pb2.Image(content=each.photograph),
            expected_types=[each.spec.article_type],
        )
        for each in held_out_photographs()
        if each.spec.article_type in TYPES
    ]
    settings = stack_settings(tmp_path / "data", runtime="openvino")
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        caller.upsert(drawn_rows(31, PRODUCTS, article_types=TYPES))
        operator = reindex_pb2_grpc.ReindexServiceStub(caller.channel)
        outcomes = {}
        for name in (ROUNDED, NOISED):
            folder = tmp_path / name.replace(" ", "-")
            altered_bundle(Path("models/fashion-resnet50"), folder, ALTERATIONS[name])
            outcomes[name] = outcome(operator, folder, canaries)
    good, broken = outcomes[ROUNDED], outcomes[NOISED]
    assert good["passed"], good
    assert good["overlap"] > 0.8
    assert not broken["passed"] and broken["overlap"] < good["overlap"], broken
    assert "own type" in " ".join(broken["reasons"]), broken
