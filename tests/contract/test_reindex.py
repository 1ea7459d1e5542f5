"""A new model without a pause, as operators and callers see it, in one process."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from prometheus_client import REGISTRY

from fashion.v1 import reindex_pb2, search_pb2, types_pb2
from services.contract.errors import DataLoss, FashionError, Overloaded, Unavailable, Upstream
from services.contract.values import Photograph
from services.search.candidates.publisher import CandidatePublisher
from services.search.catalogue.generations import Generations, Status
from services.search.reindex import builder
from services.search.reindex.builder import GenerationBuilder
from services.search.reindex.comparison import Comparison, compare_neighbours
from services.search.writes.beside import BesideWriter
from services.search.writes.generation import EmbeddedPhotographs
from tests.support.reindexing import PREVIOUS, READY, REFUSED, Operator, canaries
from tests.support.running import Caller, calling, refusal, stack_in_thread, stack_settings
from tests.support.small_shop import items, photograph, rows
from tests.support.waiting import eventually

OLD, NEW = "fake-2048-80x60-0", "fake-2048-80x60-1"
SHOT = types_pb2.Image(content=photograph("Women Dresses", "Yellow", 10))
KNOWN = items()[0].id


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def caller(data_dir: Path, redis_url: str) -> Iterator[Caller]:
    settings = stack_settings(data_dir, redis_url=redis_url, candidates_period_s=0.2)
    with stack_in_thread(settings) as stack, calling(stack.target) as connected:
        connected.upsert(rows())
        yield connected


@pytest.fixture
def operator(caller: Caller) -> Operator:
    return Operator(caller.channel)


def models(caller: Caller) -> set[str]:
    """The models that answer: a product, a photograph, the index."""
    product, shot = caller.find(product_id=KNOWN, top_k=5), caller.find(image=SHOT, top_k=4)
    assert len(product.products) == 5 and len(shot.products) == 4
    assert shot.applied.derived_types == ["Women Dresses"]
    stored = caller.search.GetProduct(
        search_pb2.GetProductRequest(product_id=KNOWN, include_embedding=True), timeout=20
    )
    return {
        product.applied.model_version,
        shot.applied.model_version,
        shot.classification.model_version,
        stored.embedding.model_version,
        caller.index().model_version,
    }


def test_a_reindex_switches_where_its_gate_passes_and_goes_back(caller: Caller, operator: Operator) -> None:
    assert models(caller) == {OLD}
    begun = operator.start("fake-1", canaries=canaries())
    assert begun.live.model_version == OLD
    assert begun.other.model_version == NEW
    done = operator.until(PREVIOUS)
    assert (done.live.model_version, done.other.model_version, done.missing_count) == (NEW, OLD, 0)
    assert done.comparison.sample_count == 40 and len(done.comparison.canaries) == 4
    assert models(caller) == {NEW}

    # What comes after the switch is in both.
    new = items()[1].row(id="new", base_colour="Blue")
    assert caller.upsert([new]).results[0].outcome == search_pb2.UPSERT_OUTCOME_CREATED
    caller.search.DeleteProducts(search_pb2.DeleteProductsRequest(product_ids=[items()[2].id]), timeout=20)
    back = operator.rollback()
    assert (back.live.model_version, back.other.model_version) == (OLD, NEW)
    assert models(caller) == {OLD}
    found = {each.product.id for each in caller.find(product_id=items()[1].id, top_k=3).products}
    assert "new" in found
    assert items()[2].id not in {each.product.id for each in caller.find(product_id=KNOWN, top_k=100).products}

    operator.rollback()
    assert models(caller) == {NEW}
    ended = operator.end()
    assert not ended.HasField("other")
    assert models(caller) == {NEW}


def test_the_model_that_was_switched_to_is_served_after_a_start(data_dir: Path, redis_url: str) -> None:
    settings = stack_settings(data_dir, redis_url=redis_url, candidates_period_s=0.2)
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        caller.upsert(rows())
        Operator(caller.channel).start("fake-1", gate=reindex_pb2.Gate(min_overlap=0))
        Operator(caller.channel).until(PREVIOUS)
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        operator = Operator(caller.channel)
        assert models(caller) == {NEW}
        operator.until(PREVIOUS)
        operator.rollback()
        assert models(caller) == {OLD}
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        assert models(caller) == {OLD}


def test_the_deadline_of_the_call_that_begins_it_does_not_end_it(caller: Caller, operator: Operator) -> None:
    operator.start("fake-1", canaries=canaries(), timeout_s=1.5, hold=True)
    time.sleep(1.5)
    operator.until(READY)


def test_a_gate_that_does_not_pass_waits_for_an_operator(caller: Caller, operator: Operator) -> None:
    wrong = reindex_pb2.Canary(name="impossible", product_id=KNOWN, expected_types=["Hats"])
    operator.start("fake-1", canaries=[*canaries(), wrong])
    refused = operator.until(REFUSED)
    assert models(caller) == {OLD}
    comparison = refused.comparison
    assert (comparison.live_count, comparison.next_count, comparison.lost_count) == (40, 40, 0)
    assert comparison.overlap > 0.3 and comparison.next_label_agreement > 0.5
    assert [(each.name, each.live_passed, each.next_passed) for each in comparison.canaries] == [
        *((each.name, True, True) for each in canaries()),
        ("impossible", False, False),
    ]
    assert len(comparison.reasons) == 1 and "impossible" in comparison.reasons[0]
    with pytest.raises(grpc.RpcError) as error:
        operator.switch()
    code, reason, text, _ = refusal(error.value)
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "GATE_NOT_PASSED")
    assert "impossible" in text
    assert operator.switch(force=True).live.model_version == NEW
    assert models(caller) == {NEW}


def test_a_held_one_waits_and_what_is_written_meanwhile_is_in_both(caller: Caller, operator: Operator) -> None:
    operator.start("fake-1", hold=True)
    operator.until(READY)
    assert models(caller) == {OLD}
    caller.upsert([items()[1].row(id="meanwhile")])
    with pytest.raises(grpc.RpcError) as error:
        operator.start("fake-2")
    assert refusal(error.value)[1] == "REINDEX_UNDER_WAY"
    operator.switch()
    assert models(caller) == {NEW}
    assert caller.index().outdated_count == 0
    assert "meanwhile" in {each.product.id for each in caller.find(product_id=items()[1].id, top_k=3).products}


def test_one_that_is_given_up_leaves_nothing_behind(caller: Caller, operator: Operator, data_dir: Path) -> None:
    operator.start("fake-1", hold=True)
    operator.until(READY)
    operator.end()
    assert models(caller) == {OLD}
    assert not [*(data_dir / "generations").iterdir()]
    operator.start("fake-2")
    operator.until(PREVIOUS)
    assert models(caller) == {"fake-2048-80x60-2"}


def measured(name: str) -> dict[tuple[str, ...], float]:
    """What Prometheus reads of a metric, by the values of its labels."""
    families = [each for each in REGISTRY.collect() if each.name == f"fashion_reindex_{name}"]
    return {tuple(sample.labels.values()): sample.value for each in families for sample in each.samples}


def test_prometheus_is_told_how_far_it_is_and_what_the_gate_says(caller: Caller, operator: Operator) -> None:
    assert measured("generation_info") == {(OLD, "live"): 1}
    assert measured("progress_timestamp_seconds") == {(): 0} and measured("gate_passed") == {}
    begun = time.time()
    with pytest.MonkeyPatch.context() as patch:
        # Nothing can be embedded until later.
        patch.setattr(BesideWriter, "fill", unavailable)
        operator.start("fake-1", hold=True)
        eventually(lambda: measured("missing_products") == {(): 40})
        assert measured("generation_info") == {(OLD, "live"): 1, (NEW, "building"): 1}
        assert begun <= measured("progress_timestamp_seconds")[()] <= time.time()
        assert measured("rest_ratio")[()] > 0
    state = operator.until(READY)
    assert measured("missing_products") == {(): 0} and measured("embedded_photographs")[()] > 0
    assert measured("gate_passed") == {(NEW,): 1}
    assert measured("overlap_ratio")[()] == pytest.approx(state.comparison.overlap)
    operator.end()
    operator.start("fake-2", gate=reindex_pb2.Gate(min_overlap=1))
    operator.until(REFUSED)
    assert measured("gate_passed") == {("fake-2048-80x60-2",): 0}


async def unavailable(*_: object) -> None:
    raise Unavailable("The embedder does not answer.", reason="EMBEDDER_UNAVAILABLE")


REFUSALS = {
    "MODEL_ALREADY_LIVE": lambda operator: operator.start("fake-0"),
    "NO_NEXT_MODEL": lambda operator: operator.start(),
    "NO_NEXT_GENERATION": lambda operator: operator.switch(),
    "NO_PREVIOUS_GENERATION": lambda operator: operator.rollback(),
    "NO_OTHER_GENERATION": lambda operator: operator.end(),
    "GATE_INVALID": lambda operator: operator.start("fake-1", gate=reindex_pb2.Gate(min_overlap=2)),
    "CANARY_INVALID": lambda operator: operator.start("fake-1", canaries=[reindex_pb2.Canary(name="x")]),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_what_cannot_be_is_refused_with_a_reason(operator: Operator, reason: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        REFUSALS[reason](operator)
    assert refusal(error.value)[1] == reason


def test_a_photograph_that_is_damaged_keeps_the_gate_shut_and_is_named(
    caller: Caller, operator: Operator, data_dir: Path
) -> None:
    content = items()[0].photograph()
    for path in (data_dir / "photographs").glob("??/*"):
        if path.read_bytes() == content:
            path.write_bytes(b"rotten")
    operator.start("fake-1")
    refused = operator.until(REFUSED)
    assert refused.failed_product_ids == [KNOWN]
    assert refused.comparison.lost_count == 1
    # Sent again, it is whole, and in both.
    caller.upsert([items()[0].row()])
    operator.switch(force=True)
    eventually(lambda: caller.index().outdated_count == 0)


async def by_the_live_model_alone(self: EmbeddedPhotographs, photographs: Sequence[Photograph]) -> None:
    """As where the embedder of the next model takes too long for a write."""
    await self._embed(self._generations.live, photographs)


def test_search_switches_by_itself_once_the_next_model_has_what_was_written_during_the_comparison(
    caller: Caller, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare(*arguments: Any) -> Comparison:
        comparison = compare_neighbours(*arguments)
        late = types_pb2.Image(content=photograph("Men Tshirts", "Red", 12))
        caller.upsert([search_pb2.ProductRow(product=items()[0].product(id="late"), image=late)])
        return comparison

    monkeypatch.setattr(builder, "compare_neighbours", compare)
    monkeypatch.setattr(EmbeddedPhotographs, "embed", by_the_live_model_alone)
    # So that the first look comes after the switch.
    outdated: list[int] = []
    switch = BesideWriter._switch

    def switch_and_look(self: BesideWriter, *arguments: Any) -> int | None:
        version = switch(self, *arguments)
        outdated.append(self._generations.live.index.facts().outdated_count)
        return version

    monkeypatch.setattr(BesideWriter, "_switch", switch_and_look)
    operator.start("fake-1")
    done = operator.until(PREVIOUS)
    assert outdated == [0] and done.comparison.lost_count == 0
    assert models(caller) == {NEW}


def test_what_is_lost_after_the_gate_has_passed_shuts_it_again(
    caller: Caller, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Generations.judge
    values = np.full(2048, 2048**-0.5, dtype=np.float32).tolist()
    own = search_pb2.ProductRow(
        product=items()[0].product(id="own"), embedding=types_pb2.Embedding(values=values, model_version=OLD)
    )

    def judge_then_write(self: Generations, status: Status, comparison: str | None) -> None:
        judge(self, status, comparison)
        if status is Status.READY:
            assert caller.upsert([own]).results[0].outcome == search_pb2.UPSERT_OUTCOME_CREATED

    monkeypatch.setattr(Generations, "judge", judge_then_write)
    operator.start("fake-1")
    refused = operator.until(REFUSED)
    assert refused.comparison.lost_count == 1 and "1 products are found" in refused.comparison.reasons[0]
    assert models(caller) == {OLD}


def test_a_canary_without_an_embedding_of_the_next_model_counts_as_failed(
    caller: Caller, operator: Operator, data_dir: Path
) -> None:
    values = np.full(2048, 2048**-0.5, dtype=np.float32).tolist()
    own = types_pb2.Embedding(values=values, model_version=OLD)
    caller.upsert([search_pb2.ProductRow(product=items()[0].product(id="own"), embedding=own)])
    for path in (data_dir / "photographs").glob("??/*"):
        if path.read_bytes() == items()[0].photograph():
            path.write_bytes(b"rotten")
    gate = reindex_pb2.Gate(max_lost_products=2, min_canary_share=0, max_label_loss=1)
    asked = [
        *(reindex_pb2.Canary(name=each, product_id=each, expected_types=["Men Tshirts"]) for each in ("own", KNOWN)),
        reindex_pb2.Canary(name="rotten", image=types_pb2.Image(content=b"rotten"), expected_types=["Men Tshirts"]),
    ]
    operator.start("fake-1", gate=gate, canaries=asked)
    done = operator.until(PREVIOUS)
    assert [each.next_passed for each in done.comparison.canaries] == [False] * 3
    assert done.comparison.lost_count == 2


def failing_once(patch: pytest.MonkeyPatch, owner: Any, name: str, error: FashionError) -> list[str]:
    """Lets a function fail at its first call; returns the names of its calls."""
    calls: list[str] = []
    work = getattr(owner, name)

    def fail_first(*arguments: Any) -> Any:
        calls.append(name)
        if len(calls) == 1:
            raise error
        return work(*arguments)

    patch.setattr(owner, name, fail_first)
    return calls


FAULTS: dict[str, tuple[Any, FashionError]] = {
    "judge": (Generations, Overloaded("The disk of the catalogue is full.", reason="STORAGE_FULL")),
    "compare_neighbours": (builder, Upstream("Milvus does not answer.", reason="INDEX_UNAVAILABLE")),
    "canaries": (Generations, Unavailable("The disk takes no writes.", reason="STORAGE_UNAVAILABLE")),
    "begin": (CandidatePublisher, Upstream("Milvus does not answer.", reason="INDEX_UNAVAILABLE")),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_passes_is_told_and_then_the_change_goes_on(
    caller: Caller, operator: Operator, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    owner, error = FAULTS[name]
    told: list[str] = []
    pause = GenerationBuilder._pause

    async def note_trouble(self: GenerationBuilder) -> None:
        told.append(self.progress.trouble)
        await pause(self)

    monkeypatch.setattr(GenerationBuilder, "_pause", note_trouble)
    calls = failing_once(monkeypatch, owner, name, error)
    operator.start("fake-1")
    assert operator.until(PREVIOUS).trouble == ""
    assert len(calls) == 2 and told == [error.message]
    assert models(caller) == {NEW}


def test_a_fault_that_does_not_pass_is_told_with_its_text(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_once(monkeypatch, Generations, "judge", DataLoss("The database is damaged.", reason="PRODUCT_DAMAGED"))
    operator.start("fake-1")
    eventually(lambda: "The database is damaged." in operator.state().trouble)
