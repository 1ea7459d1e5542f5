"""The steps of operating.md for a new model, with processes: two embedders and two classifiers beside each other."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from fashion.v1 import search_pb2, types_pb2
from tests.support.milvus_server import reachable
from tests.support.processes import Service, Services, free_port, services
from tests.support.reindexing import BUILDING, PREVIOUS, Operator, canaries
from tests.support.running import Caller, calling, refusal
from tests.support.small_shop import items, photograph, rows
from tests.support.waiting import eventually

OLD, NEW = "fake-2048-80x60-0", "fake-2048-80x60-1"
SHOT = types_pb2.Image(content=photograph("Women Dresses", "Yellow", 10))
KNOWN = items()[0].id


@contextmanager
def two_models(directory: Path, redis_url: str, **search: str) -> Iterator[tuple[Services, Service, Service]]:
    """Runs embedder, classifier and search, and names a second embedder and classifier, which do not run yet."""
    ports = free_port(), free_port()
    targets = {
        "SEARCH_NEXT_EMBEDDER_TARGET": f"127.0.0.1:{ports[0]}",
        "SEARCH_NEXT_CLASSIFIER_TARGET": f"127.0.0.1:{ports[1]}",
    }
    with services(directory, redis_url, **targets, **search) as running:
        embedder = Service(
            "services.embedder",
            running.embedder.grpc_name,
            ports[0],
            {**running.embedder.environment, "EMBEDDER_BUNDLE": "fake-1"},
            directory / "embedder-next.log",
        )
        classifier = Service(
            "services.classifier",
            running.classifier.grpc_name,
            ports[1],
            {**running.classifier.environment, "CLASSIFIER_EMBEDDER_TARGET": embedder.target},
            directory / "classifier-next.log",
        )
        try:
            yield running, embedder, classifier
        finally:
            for service in (embedder, classifier):
                if service.process is not None and service.process.poll() is None:
                    service.kill()


class Shoppers:
    """Asks for a product and for a photograph, again and again, and counts which model answers."""

    def __init__(self, target: str) -> None:
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        # Answers that say that no classifier answered in time, as is documented while one restarts.
        self.unclassified = 0
        self._target = target
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Shoppers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)

    def _ask(self) -> None:
        with calling(self._target) as caller:
            while not self._ended.is_set():
                try:
                    product, shot = caller.find(product_id=KNOWN, top_k=5), caller.find(image=SHOT, top_k=4)
                except grpc.RpcError as error:
                    self.wrong.append(f"{error.code().name}: {error.details()}")
                    continue
                for answer, count in ((product, 5), (shot, 4)):
                    self.answers[answer.applied.model_version] += 1
                    if len(answer.products) != count:
                        self.wrong.append(f"{len(answer.products)} products of {answer.applied.model_version}")
                if search_pb2.DEGRADED_REASON_CLASSIFIER_UNAVAILABLE in shot.applied.degraded:
                    self.unclassified += 1
                    continue
                # An answer is of one model, whole: the classification and the similarities.
                if shot.classification.model_version != shot.applied.model_version:
                    self.wrong.append(f"{shot.classification.model_version} in {shot.applied.model_version}")
                if {each.product.article_type for each in shot.products} != {"Dresses"}:
                    self.wrong.append(f"{shot.applied.derived_types} of {shot.applied.model_version}")


def served(caller: Caller) -> str:
    return caller.find(image=SHOT, top_k=4).applied.model_version


def test_the_steps_of_operating_lead_to_a_new_model_without_a_pause(tmp_path: Path, redis_url: str) -> None:
    with two_models(tmp_path, redis_url) as (running, next_embedder, next_classifier):
        with calling(running.search.target) as caller:
            operator = Operator(caller.channel)
            caller.upsert(rows())
            with pytest.raises(grpc.RpcError) as error:
                operator.start()
            assert refusal(error.value)[1] == "NO_NEXT_MODEL"
            with pytest.raises(grpc.RpcError) as error:
                operator.start("models/fashion-resnet50")
            assert refusal(error.value)[1] == "BUNDLE_NOT_ALLOWED"

            # 1. The second pair.
            for service in (next_embedder, next_classifier):
                service.start()
            for service in (next_embedder, next_classifier):
                service.wait_until_serving()
            with Shoppers(running.search.target) as shoppers:
                eventually(lambda: shoppers.answers[OLD] > 20)
                # 2. The reindex, which switches by itself.
                operator.start(canaries=canaries())
                operator.until(PREVIOUS)
                eventually(lambda: shoppers.answers[NEW] > 20)
                # 3. Back, and forth again.
                back_s = operator.timed_rollback()
                assert served(caller) == OLD
                forth_s = operator.timed_rollback()
                # Not both: the machine may have been busy with something else.
                assert min(back_s, forth_s) < 1, (back_s, forth_s)
                # 4. The first pair gets the next bundle. Search asks the second one meanwhile.
                with pytest.raises(grpc.RpcError) as error:
                    operator.end()
                assert refusal(error.value)[1] == "MODEL_NOT_SETTLED"
                assert running.embedder.terminate() == 0 and running.classifier.terminate() == 0
                running.embedder.environment = {**running.embedder.environment, "EMBEDDER_BUNDLE": "fake-1"}
                for service in (running.embedder, running.classifier):
                    service.start()
                    service.wait_until_serving()
                # 5. The end, and the second pair goes.
                assert not operator.end().HasField("other")
                before = shoppers.answers[NEW]
                assert next_classifier.terminate() == 0 and next_embedder.terminate() == 0
                eventually(lambda: shoppers.answers[NEW] > before + 20)
                assert served(caller) == NEW
            assert not shoppers.wrong, Counter(shoppers.wrong)
            # A classifier that restarts is missed by few: the other one is asked. A restart takes much of the time.
            assert shoppers.unclassified <= max(5, shoppers.answers.total() // 10)
            assert shoppers.answers[NEW] > 5
            assert set(shoppers.answers) == {OLD, NEW}

        running.search.kill()
        running.search.start()
        running.search.wait_until_serving()
        with calling(running.search.target) as again:
            assert served(again) == NEW
            assert (again.index().product_count, again.index().outdated_count) == (40, 0)


# The first time, the server is installed.
@pytest.mark.timeout(900)
def test_a_replica_takes_the_steps_too(tmp_path: Path, redis_url: str, milvus_of_the_session: Path) -> None:
    with (
        reachable(milvus_of_the_session) as uri,
        two_models(
            tmp_path,
            redis_url,
            SEARCH_INDEX="milvus",
            SEARCH_MILVUS_URI=uri,
            SEARCH_MILVUS_COLLECTION="steps",
            SEARCH_CANDIDATES_PERIOD_S="0.5",
        ) as (running, next_embedder, next_classifier),
    ):
        writes_to = {"SEARCH_WRITER_TARGET": running.search.target, "SEARCH_DATA_DIR": "/nowhere"}
        replica = replace(
            running.search,
            port=free_port(),
            process=None,
            environment={**running.search.environment, **writes_to},
            log=tmp_path / "replica.log",
        )
        with calling(running.search.target) as caller:
            caller.upsert(rows())
            operator = Operator(caller.channel)
            for service in (next_embedder, next_classifier, replica):
                service.start()
            try:
                for service in (next_embedder, next_classifier, replica):
                    service.wait_until_serving()
                with Shoppers(replica.target) as shoppers:
                    eventually(lambda: shoppers.answers[OLD] > 10)
                    operator.start(canaries=canaries())
                    operator.until(PREVIOUS)
                    # The embedder of every day still serves the former model.
                    eventually(lambda: shoppers.answers[NEW] > 10)
                assert not shoppers.wrong, Counter(shoppers.wrong)
                assert replica.terminate() == 0
                replica.start()
                replica.wait_until_serving()
                with calling(replica.target) as again:
                    assert served(again) == NEW
            finally:
                replica.kill()


def test_a_kill_while_it_is_built_costs_nothing_that_was_embedded(tmp_path: Path, redis_url: str) -> None:
    slow = {"SEARCH_REINDEX_GROUP": "1"}
    with two_models(tmp_path, redis_url, **slow) as (running, next_embedder, next_classifier):
        for service in (next_embedder, next_classifier):
            service.start()
        for service in (next_embedder, next_classifier):
            service.wait_until_serving()
        with calling(running.search.target) as caller:
            operator = Operator(caller.channel)
            caller.upsert(rows())
            operator.start(hold=True)
            eventually(lambda: operator.state().embedded_count >= 5 or operator.state().other.status != BUILDING)
        running.search.kill()
        running.search.start()
        running.search.wait_until_serving()
        with calling(running.search.target) as caller:
            operator = Operator(caller.channel)
            assert served(caller) == OLD
            assert operator.state().other.model_version == NEW
            eventually(lambda: operator.state().other.loaded)
            assert operator.state().embedded_count <= 35, "What was embedded before the kill is not embedded again."
            caller.search.DeleteProducts(search_pb2.DeleteProductsRequest(product_ids=[items()[3].id]), timeout=20)
            eventually(lambda: operator.state().comparison.sample_count > 0)
            operator.switch(force=True)
            assert served(caller) == NEW
            assert (caller.index().product_count, caller.index().outdated_count) == (39, 0)


def test_an_embedder_of_another_model_is_refused_and_both_models_are_named(tmp_path: Path, redis_url: str) -> None:
    with two_models(tmp_path, redis_url) as (running, next_embedder, _), calling(running.search.target) as caller:
        caller.upsert(rows())
        next_embedder.start()
        next_embedder.wait_until_serving()
        # The first one is given another bundle while search is running, and no other serves the live model.
        running.embedder.terminate()
        running.embedder.environment = {**running.embedder.environment, "EMBEDDER_BUNDLE": "fake-2"}
        running.embedder.start()
        running.embedder.wait_until_serving()

        def refused() -> tuple[grpc.StatusCode, str]:
            with pytest.raises(grpc.RpcError) as error:
                caller.find(image=SHOT)
            code, reason, text, _ = refusal(error.value)
            return (code, reason) if OLD in text and "fake-2048-80x60-2" in text else (code, text)

        eventually(lambda: refused() == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_VERSION_MISMATCH"))
        assert len(caller.find(product_id=KNOWN, top_k=5).products) == 5
