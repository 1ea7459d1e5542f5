"""A collection of Milvus belongs to one catalogue, which takes it along into its backups."""

import shutil
from pathlib import Path

import pytest

from offline.backup import back_up, restore
from services.contract.errors import FailedPrecondition
from services.stack.settings import StackSettings
from tests.support.running import calling, stack_in_thread, stack_settings
from tests.support.small_shop import rows

pytest.importorskip("milvus_lite", reason="Milvus Lite is not installed (the extra bench has it).")


def test_another_catalogue_is_refused_and_a_restored_one_goes_on(tmp_path: Path) -> None:
    uri, backup = str(tmp_path / "index.db"), tmp_path / "backup.zip"
    sent = rows()[:6]

    def settings(name: str, **search: object) -> StackSettings:
        return stack_settings(tmp_path / name, index="milvus", milvus_uri=uri, **search)

    with stack_in_thread(settings("first")) as running, calling(running.target) as caller:
        caller.upsert(sent)
        back_up(tmp_path / "first", backup)
    with (
        pytest.raises(FailedPrecondition, match="belongs to another catalogue; set SEARCH_MILVUS_COLLECTION") as error,
        stack_in_thread(settings("second")),
    ):
        pass
    assert error.value.reason == "INDEX_FOREIGN"
    with stack_in_thread(settings("second", milvus_collection="second")) as running, calling(running.target) as caller:
        assert caller.index().product_count == 0

    shutil.rmtree(tmp_path / "first")
    restore(backup, tmp_path / "restored")
    with stack_in_thread(settings("restored")) as running, calling(running.target) as caller:
        assert len(caller.find(product_id=sent[0].product.id, top_k=3).products) == 3
