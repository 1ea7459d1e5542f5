"""Readers and writers at the same time: every answer is of one snapshot, and in the end all answers agree."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fashion.v1 import search_pb2, types_pb2
from tests.support.running import Caller, calling, stack_in_thread, stack_settings
from tests.support.small_shop import Item, items, photograph, rows

WRITERS, READERS, ROUNDS = 3, 3, 12


def _write(target: str, number: int) -> dict[str, bool]:
    """Creates, changes and deletes products of this writer's own; returns those that are left."""
    dice = random.Random(number)
    left: dict[str, bool] = {}
    with calling(target) as caller:
        for _ in range(ROUNDS):
            chosen = [Item(f"w{number}-{place}", "Men Tshirts", "Red", place) for place in dice.sample(range(12), 4)]
            if dice.random() < 0.3:
                request = search_pb2.DeleteProductsRequest(product_ids=[item.id for item in chosen])
                caller.search.DeleteProducts(request, timeout=60)
                left.update((item.id, False) for item in chosen)
                continue
            written = caller.upsert([item.row(year=dice.randrange(2000, 2020)) for item in chosen])
            assert not any(each.status.code for each in written.results)
            left.update((item.id, True) for item in chosen)
            # The next reader finds what was acknowledged.
            assert caller.index().index_version >= written.index_version
            found = caller.find(product_id=chosen[0].id, top_k=100)
            assert found.applied.index_version >= written.index_version
            assert {item.id for item in chosen[1:]} <= {each.product.id for each in found.products}
    return left


def _read(target: str, stop: threading.Event) -> int:
    versions = [0]
    with calling(target) as caller:
        caller.dislike("ann", "Blue")
        while not stop.is_set():
            _one_read(caller, versions)
    assert versions == sorted(versions)
    return len(versions)


def _one_read(caller: Caller, versions: list[int]) -> None:
    image = types_pb2.Image(content=photograph("Men Tshirts", "Red", 3))
    for request in ({"product_id": items()[0].id}, {"image": image}):
        found = caller.find(**request, user_id="ann", top_k=100)
        assert len(found.products) == min(100, found.applied.eligible_count)
        assert not {each.product.base_colour for each in found.products} & {"Blue", "Navy Blue"}
        assert not found.applied.degraded
        versions.append(found.applied.index_version)


def test_readers_and_writers_never_disagree(tmp_path: Path) -> None:
    settings = stack_settings(tmp_path, candidates_changed_share=0.05)
    stop = threading.Event()
    with stack_in_thread(settings) as stack, calling(stack.target) as caller, ThreadPoolExecutor() as threads:
        caller.upsert(rows())
        readers = [threads.submit(_read, stack.target, stop) for _ in range(READERS)]
        try:
            writers = [threads.submit(_write, stack.target, number) for number in range(WRITERS)]
            left = {name: there for writer in writers for name, there in writer.result(90).items()}
        finally:
            stop.set()
        assert all(reader.result(60) > 1 for reader in readers)
        expected = sorted([item.id for item in items()] + [name for name, there in left.items() if there])
        page = caller.search.ListProducts(search_pb2.ListProductsRequest(page_size=500), timeout=20)
        assert [each.id for each in page.products] == expected
        facts = caller.index()
    with stack_in_thread(settings) as stack, calling(stack.target) as caller:
        assert caller.index().derived_types == facts.derived_types
        assert caller.index().index_version == facts.index_version
