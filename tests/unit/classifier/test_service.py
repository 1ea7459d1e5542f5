"""The local classifier: refusals, candidates replaced during a call, a bounded queue."""

import asyncio
import threading

import numpy as np
import pytest

from services.classifier import service as local
from services.classifier.heads import LabelHead
from services.classifier.recognition import ClassifierModel
from services.classifier.service import LocalClassifier
from services.concurrency import deadline
from services.contract.errors import DeadlineExceeded, InvalidInput, ModelMismatch, Overloaded
from services.contract.values import CandidateSet, Classification, ClassificationMethod, Embedding, parse_derived_type
from services.search.candidates.clusters import Candidate, candidate_set

_MODEL = ClassifierModel(
    "v1",
    4,
    LabelHead(("Topwear",), np.eye(1, 4, dtype=np.float32), 10.0),
    LabelHead(("Men Tshirts",), np.eye(1, 4, dtype=np.float32), 10.0),
    (parse_derived_type("Men Tshirts"),),
)
_EMBEDDING = Embedding(np.array([1.0, 0, 0, 0], np.float32), "v1")


def _candidates(*labels: str, model_version: str = "v1", dimension: int = 4) -> CandidateSet:
    row = np.eye(1, dimension)[0]
    return candidate_set(
        model_version, dimension, (Candidate("Topwear", *parse_derived_type(label), label, row) for label in labels)
    )


@pytest.fixture
def classifier(request: pytest.FixtureRequest) -> LocalClassifier:
    found = LocalClassifier(_MODEL, threads=1, max_pending=2)
    request.addfinalizer(found.close)
    return found


async def test_candidates_are_used_as_they_come_and_go(classifier: LocalClassifier) -> None:
    first = await classifier.classify(_EMBEDDING, 5)
    assert (first.method, first.candidates_version) == (ClassificationMethod.MODEL_LABELS, "")
    candidates = _candidates("Men Shirts", "Women Tops")
    classifier.use(candidates)
    second = await classifier.classify(_EMBEDDING, 5)
    assert [prediction.label for prediction in second.derived_types] == ["Men Shirts", "Women Tops"]
    assert second.candidates_version == classifier.candidates_version == candidates.version
    assert classifier.get_taxonomy().candidates_version == candidates.version
    for nothing in (None, _candidates()):
        classifier.use(candidates)
        classifier.use(nothing)
        assert (await classifier.classify(_EMBEDDING, 5)).method is ClassificationMethod.MODEL_LABELS
        assert classifier.candidates_version == ""


@pytest.mark.parametrize(
    "unfit", [_candidates("Men Shirts", model_version="v2"), _candidates("Men Shirts", dimension=5)]
)
async def test_unfit_candidates_are_refused_and_those_before_stay(
    classifier: LocalClassifier, unfit: CandidateSet
) -> None:
    fit = _candidates("Men Shirts")
    classifier.use(fit)
    with pytest.raises(ValueError, match="candidates"):
        classifier.use(unfit)
    assert classifier.candidates_version == fit.version


@pytest.mark.parametrize("top_k", [-1, 0, 101])
async def test_top_k_out_of_range_is_refused(classifier: LocalClassifier, top_k: int) -> None:
    with pytest.raises(InvalidInput, match=f"top_k is {top_k}") as raised:
        await classifier.classify(_EMBEDDING, top_k)
    assert raised.value.reason == "TOP_K_OUT_OF_RANGE"


async def test_another_models_embedding_is_refused(classifier: LocalClassifier) -> None:
    with pytest.raises(ModelMismatch):
        await classifier.classify(Embedding(_EMBEDDING.values, "v2"), 5)


class _Held:
    """A computation that waits until it is released."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.count = 0

    def __call__(self, *arguments: object) -> list[Classification]:
        self.count += 1
        self.begun.release()
        assert self.go.wait(20)
        return [Classification((), (), ClassificationMethod.MODEL_LABELS, "v1", "")]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> _Held:
    found = _Held()
    monkeypatch.setattr(local, "classify_batch", found)
    return found


async def test_more_than_may_wait_are_refused_at_once(classifier: LocalClassifier, held: _Held) -> None:
    calls = [asyncio.create_task(classifier.classify(_EMBEDDING, 1)) for _ in range(2)]
    assert await asyncio.to_thread(held.begun.acquire, timeout=20)
    with pytest.raises(Overloaded) as raised:
        await classifier.classify(_EMBEDDING, 1)
    assert raised.value.reason == "QUEUE_FULL"
    held.go.set()
    assert len(await asyncio.gather(*calls)) == 2
    await classifier.classify(_EMBEDDING, 1)


async def test_work_that_no_one_waits_for_is_dropped(classifier: LocalClassifier, held: _Held) -> None:
    first = asyncio.create_task(classifier.classify(_EMBEDDING, 1))
    assert await asyncio.to_thread(held.begun.acquire, timeout=20)
    with deadline.at_most(-1):
        late = asyncio.create_task(classifier.classify(_EMBEDDING, 1))
    await asyncio.sleep(0)
    held.go.set()
    with pytest.raises(DeadlineExceeded):
        await late
    await first
    assert held.count == 1


async def test_a_caller_that_leaves_frees_its_place(classifier: LocalClassifier, held: _Held) -> None:
    first = asyncio.create_task(classifier.classify(_EMBEDDING, 1))
    assert await asyncio.to_thread(held.begun.acquire, timeout=20)
    for _ in range(5):
        second = asyncio.create_task(classifier.classify(_EMBEDDING, 1))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        # A callback of the event loop frees the place.
        await asyncio.sleep(0)
    held.go.set()
    await first
    assert held.count == 1
