"""A disk that is full or takes no writes, and a clock that jumps: a clear refusal, nothing damaged, and it goes on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from prometheus_client import REGISTRY

from services.search.catalogue.store import Catalogue
from services.search.settings import SearchSettings
from tests.support.running import Caller, calling, refusal, stack_in_thread, stack_settings
from tests.support.small_shop import items, rows


def _refused(caller: Caller) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        caller.upsert(rows())
    code, reason, _, _ = refusal(error.value)
    return code, reason


def _counted(reason: str) -> float:
    return REGISTRY.get_sample_value("fashion_catalogue_refusals_total", {"reason": reason}) or 0.0


@pytest.mark.parametrize(
    ("trouble", "relief", "code", "reason"),
    [
        # What SQLite itself answers on a full disk, and on one that takes no writes.
        ("max_page_count = 1", "max_page_count = 1000000", grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL"),
        ("query_only = ON", "query_only = OFF", grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE"),
    ],
    ids=["full", "read-only"],
)
def test_a_disk_without_room_refuses_writes_answers_queries_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, relief: str, code: grpc.StatusCode, reason: str
) -> None:
    catalogues: list[Catalogue] = []
    original = SearchSettings.open_catalogue

    def open_catalogue(self: SearchSettings) -> Catalogue:
        catalogues.append(original(self))
        return catalogues[-1]

    monkeypatch.setattr(SearchSettings, "open_catalogue", open_catalogue)
    first = items()[:3]
    with stack_in_thread(stack_settings(tmp_path)) as stack, calling(stack.target) as caller:
        caller.upsert(rows(first))
        before = caller.index()
        catalogues[0]._writer.execute(f"PRAGMA {trouble}")
        counted = _counted(reason)
        assert _refused(caller) == _refused(caller) == (code, reason)
        assert _counted(reason) == counted + 2
        # Shoppers notice nothing, and no part of the write is there.
        assert len(caller.find(product_id=first[0].id).products) == 2
        assert caller.index().index_version == before.index_version
        assert len(list((tmp_path / "photographs").glob("??/*"))) == 3
        # Nobody has to do anything once there is room.
        catalogues[0]._writer.execute(f"PRAGMA {relief}")
        assert not any(each.status.code for each in caller.upsert(rows()).results)
        assert len(caller.find(product_id=first[0].id, top_k=100).products) == len(items()) - 1
    with stack_in_thread(stack_settings(tmp_path)) as stack, calling(stack.target) as caller:
        assert caller.index().product_count == len(items())


def test_a_clock_that_jumps_takes_nothing_that_is_shown(tmp_path: Path) -> None:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    with stack_in_thread(stack_settings(tmp_path)) as stack, calling(stack.target) as caller:
        caller.upsert(rows())
    times = [day]
    versions = []
    with Catalogue(tmp_path, lambda: times[0]) as catalogue:
        stored = [catalogue.get(each.id) for each in items()]
        for jump in (timedelta(0), timedelta(days=4000), -timedelta(days=4000), timedelta(days=1)):
            times[0] = day + jump
            known = catalogue.get(items()[0].id)
            assert known is not None
            versions.append(
                catalogue.update([(known.product, replace(known.product, in_stock=not known.product.in_stock))])
            )
            versions.append(catalogue.write((), [items()[-1 - len(versions) // 2].id]).index_version)
        # Versions count writes, not time.
        assert versions == list(range(versions[0], versions[0] + 8))
        left = [each for each in stored if each is not None and catalogue.get(each.product.id) is not None]
        assert len(left) == len(items()) - 4
        assert all(catalogue.photograph(each.product.id) is not None for each in left)
