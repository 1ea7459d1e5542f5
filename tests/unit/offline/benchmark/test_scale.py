"""A growing shop: each index is measured once, what cannot be is named, and the page shows both."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offline.benchmark import scale, scale_page
from offline.benchmark.page import target_rows
from offline.benchmark.scale import ScaleOptions, measure_size
from offline.benchmark.selectivity import OURS
from tests.unit.offline.benchmark.test_selectivity import small_inventory

OPTIONS = ScaleOptions(queries=20, rounds=1, seconds=1, memory_gib=0.0003, build_minutes=5, seed=0)


def _here(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    return measure(*arguments)


def _measure(folder: Path, sizes: dict[str, Any], count: int) -> list[str]:
    told: list[str] = []
    known = sizes.setdefault(str(count), {"products": count, "indexes": {}, "missing": {}, "load": 0.5})
    smaller = [each for each in sizes.values() if each["products"] < count]
    measure_size(small_inventory(folder, count), folder, OPTIONS, known, smaller, lambda: None, told.append)
    return told


def test_each_index_is_measured_once_and_others_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "_apart", _here)
    sizes: dict[str, Any] = {}
    assert len(_measure(tmp_path, sizes, 3000)) == 4
    known = sizes["3000"]
    assert known["indexes"].keys() == {OURS, "FAISS IVF"}
    assert known["missing"].keys() == {"hnswlib", "Milvus Lite"}
    ours = known["indexes"][OURS]
    assert min(ours[name] for name in ("build_s", "start_s", "resident_gib", "upserts_a_second")) > 0
    assert [cell["recall"] for cell in ours["cells"].values()] == [1.0] * 8
    assert ours["cells"]["whole inventory"]["eligible"] == 3000
    assert ours["cells"]["largest derived type"]["eligible"] < 1000
    assert 0 < ours["cells"]["largest derived type, 10 % let through"]["eligible"] < 200
    # A run that was ended goes on with what it lacks.
    del known["indexes"]["FAISS IVF"]
    again = json.loads(json.dumps(ours))
    assert len(_measure(tmp_path, sizes, 3000)) == 2
    assert known["indexes"][OURS] == again
    assert not _measure(tmp_path, sizes, 3000)
    # Ten times as many would take ten times as long and more.
    known["indexes"]["FAISS IVF"]["build_s"] = 400.0
    assert scale._foreseen_s("FAISS IVF", 30_000, [known]) == pytest.approx(4800)
    text = "\n".join(scale_page.section({"sizes": sizes}, []))
    assert "hnswlib was not measured there: it needs about" in text
    assert text.count("\n| whole inventory") == 5 and "| 3,000 |" in text


def test_an_index_has_a_process_of_its_own(tmp_path: Path) -> None:
    figures = scale._apart(scale._build, small_inventory(tmp_path, 500).light(), tmp_path)
    assert figures["build_s"] > 0 and figures["snapshot_gib"] > 0


def test_targets_compare_a_million_with_forty_thousand() -> None:
    def ours(p99: float, recall: float) -> dict[str, Any]:
        cells = {name: {"recall": recall, "p99_ms": p99 * times} for times, name in ((1, "whole inventory"), (2, "x"))}
        return {"cells": cells, "resident_gib": 5.5, "start_s": 18.0}

    small, large = ours(2.0, 1.0), ours(5.0, 0.994)
    large["cells"]["x"]["p99_ms"] = 14.0
    sizes = {"40000": {"indexes": {OURS: small}}, "1000000": {"indexes": {OURS: large}}}
    rows = {row[0].removeprefix("a million products: "): row for row in target_rows({"scale": {"sizes": sizes}})}
    assert [rows[name][4] for name in ("resident memory", "start of the index")] == ["reached"] * 2
    assert rows["p99 / that of 40,000, whole inventory"][2:5:2] == ("2.50", "reached")
    assert rows["p99 / that of 40,000, worst kind of query"][2:5:2] == ("3.50", "missed")
    assert rows["lowest recall@10 of any selectivity"][4] == "reached"
    assert target_rows({"scale": {"sizes": {"40000": sizes["40000"]}}}) == []
