"""A writer and a replica on a real Milvus server: as one search, and while Milvus hangs, is slow and is gone."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc
import pytest

from fashion.v1 import search_pb2, types_pb2
from offline.benchmark.proxy import Proxy, proxies
from services.search.indexes.milvus.reader import STALENESS_S
from tests.support.milvus_server import reachable
from tests.support.processes import Service, Services, free_port, services
from tests.support.running import Caller, calling, refusal
from tests.support.small_shop import items, photograph, rows
from tests.support.waiting import eventually

# The first time, the server is installed.
pytestmark = pytest.mark.timeout(900)
_RECOVERY_S = 10.0
_SLOW_S = 3.0
# A search may ask for rows and for embeddings.
_WAIT_S = 4.0
_AT_ONCE_S = 0.5


def test_a_replica_answers_as_the_writer_and_both_get_over_a_milvus_that_hangs_is_slow_or_gone(
    tmp_path: Path, redis_url: str, milvus_of_the_session: Path
) -> None:
    port = free_port()
    chosen = {
        "SEARCH_INDEX": "milvus",
        "SEARCH_MILVUS_URI": f"http://127.0.0.1:{port}",
        "SEARCH_MILVUS_COLLECTION": "faults",
        # Five searches wait for so long before others are refused at once.
        "SEARCH_MILVUS_TIMEOUT_S": "1",
    }
    first = items()[0].id

    def similar(caller: Caller) -> list[search_pb2.SimilarProduct]:
        return list(caller.find(product_id=first, top_k=5).products)

    with (
        proxies(str(milvus_of_the_session)) as (proxy,),
        ExitStack() as way,
        services_on(proxy, port, way, tmp_path, redis_url, chosen) as (running, replica),
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

        # What was written in the last 15 s is answered without Milvus.
        time.sleep(STALENESS_S)
        for begin, end in ((proxy.part, proxy.join), (partial(proxy.slow, _SLOW_S), partial(proxy.slow, 0.0))):
            begin()
            for caller in (writer, reader):
                assert _refused_within(caller, first) < _WAIT_S
                eventually(partial(_refused_at_once, caller, first), "searches go on waiting", timeout_s=30)
                assert _count(caller) == len(items())
            end()
            back = time.monotonic()
            for caller in (writer, reader):
                eventually(partial(_answers, caller, first), "Milvus answers again, and nothing is found")
            assert time.monotonic() - back < _RECOVERY_S

        before = similar(reader)
        way.close()
        for caller in (writer, reader):
            assert _refused_within(caller, first) < _WAIT_S
            assert _count(caller) == len(items())
        deleted = reader.search.DeleteProducts(
            search_pb2.DeleteProductsRequest(product_ids=[before[0].product.id]), timeout=60
        )
        assert deleted.index_version > written.index_version

        way.enter_context(reachable(proxy.target, port))
        back = time.monotonic()
        for caller in (writer, reader):
            eventually(partial(_answers, caller, first), "Milvus is back, and nothing is found")
        eventually(lambda: _count(reader) == len(items()) - 1, "the replica has not taken the deletion over")
        assert time.monotonic() - back < _RECOVERY_S
        assert similar(reader)[:4] == before[1:]
        assert similar(reader) == similar(writer)


@contextmanager
def services_on(
    proxy: Proxy, port: int, way: ExitStack, folder: Path, redis_url: str, chosen: dict[str, str]
) -> Iterator[tuple[Services, Service]]:
    """Runs the services and a replica of search, which reach Milvus as long as `way` is open."""
    way.enter_context(reachable(proxy.target, port))
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


def _refused_within(caller: Caller, product_id: str) -> float:
    """Asks, and returns after how many seconds the answer was that Milvus does not answer."""
    begun = time.monotonic()
    with pytest.raises(grpc.RpcError) as error:
        caller.find(product_id=product_id, top_k=5)
    code, reason, _, _ = refusal(error.value)
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "INDEX_UNAVAILABLE")
    return time.monotonic() - begun


def _refused_at_once(caller: Caller, product_id: str) -> bool:
    return _refused_within(caller, product_id) < _AT_ONCE_S
