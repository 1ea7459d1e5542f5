"""A writer and a replica on a real Milvus server: as one search, and while Milvus is gone."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc
import pytest

from fashion.v1 import search_pb2, types_pb2
from tests.support.milvus_server import NoMilvusServer, milvus_server, reachable
from tests.support.processes import Service, Services, free_port, services
from tests.support.running import Caller, calling, refusal
from tests.support.small_shop import items, photograph, rows
from tests.support.waiting import eventually

# The first time, the server is installed.
pytestmark = pytest.mark.timeout(900)
_RECOVERY_S = 10.0


@pytest.fixture
def milvus(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "milvus"
    folder.mkdir()
    try:
        with milvus_server(folder) as server:
            yield server
    except NoMilvusServer as error:
        pytest.skip(f"No Milvus server can run here: {error}")


def test_a_replica_answers_as_the_writer_and_both_get_over_a_milvus_that_was_gone(
    tmp_path: Path, redis_url: str, milvus: Path
) -> None:
    port = free_port()
    chosen = {"SEARCH_INDEX": "milvus", "SEARCH_MILVUS_URI": f"http://127.0.0.1:{port}"}
    first = items()[0].id

    def similar(caller: Caller) -> list[search_pb2.SimilarProduct]:
        return list(caller.find(product_id=first, top_k=5).products)

    with (
        ExitStack() as way,
        services_on(milvus, port, way, tmp_path, redis_url, chosen) as (running, replica),
        calling(running.search.target) as writer,
        calling(replica.target) as reader,
    ):
        written = reader.upsert(rows())
        assert {each.outcome for each in written.results} == {search_pb2.UPSERT_OUTCOME_CREATED}
        eventually(lambda: _count(reader) == len(items()), "the replica has not taken the write over")
        assert similar(reader) == similar(writer)
        assert len(similar(reader)) == 5
        shot = types_pb2.Image(content=photograph("Women Dresses", "Yellow", 10))
        assert reader.find(image=shot, top_k=3).products == writer.find(image=shot, top_k=3).products
        kept = reader.search.GetPhotograph(search_pb2.GetPhotographRequest(product_id=first), timeout=20)
        assert kept.content == items()[0].photograph()
        assert reader.index() == writer.index()

        before = similar(reader)
        way.close()
        # What was written in the last 15 s is answered without Milvus.
        for caller in (writer, reader):
            eventually(partial(_refuses, caller, first), "a search is answered without Milvus", timeout_s=40)
            assert _count(caller) == len(items())
        deleted = reader.search.DeleteProducts(
            search_pb2.DeleteProductsRequest(product_ids=[before[0].product.id]), timeout=60
        )
        assert deleted.index_version > written.index_version

        way.enter_context(reachable(milvus, port))
        back = time.monotonic()
        for caller in (writer, reader):
            eventually(partial(_answers, caller, first), "Milvus is back, and nothing is found")
        eventually(lambda: _count(reader) == len(items()) - 1, "the replica has not taken the deletion over")
        assert time.monotonic() - back < _RECOVERY_S
        assert similar(reader)[:4] == before[1:]
        assert similar(reader) == similar(writer)


@contextmanager
def services_on(
    milvus: Path, port: int, way: ExitStack, folder: Path, redis_url: str, chosen: dict[str, str]
) -> Iterator[tuple[Services, Service]]:
    """Runs the services and a replica of search, which reach Milvus as long as `way` is open."""
    way.enter_context(reachable(milvus, port))
    with services(folder, redis_url, **chosen) as running:
        environment = dict(running.search.environment) | {"SEARCH_WRITER_TARGET": running.search.target}
        environment["SEARCH_DATA_DIR"] = "/nowhere"
        replica = replace(
            running.search, port=free_port(), process=None, environment=environment, log=folder / "replica.log"
        )
        replica.start()
        try:
            replica.wait_until_serving()
            yield running, replica
        finally:
            replica.terminate()


def _count(caller: Caller) -> int:
    request = search_pb2.ListProductsRequest(page_size=1)
    return caller.search.ListProducts(request, timeout=20).total_size


def _answers(caller: Caller, product_id: str) -> bool:
    try:
        return len(caller.find(product_id=product_id, top_k=5).products) == 5
    except grpc.RpcError:
        return False


def _refuses(caller: Caller, product_id: str) -> bool:
    begun = time.monotonic()
    try:
        caller.find(product_id=product_id, top_k=5)
    except grpc.RpcError as error:
        code, reason, _, _ = refusal(error)
        assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "INDEX_UNAVAILABLE")
        assert time.monotonic() - begun < 10
        return True
    return False
