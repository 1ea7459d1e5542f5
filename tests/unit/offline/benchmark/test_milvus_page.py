"""The figures of Milvus on the page of performance."""

from typing import Any

from offline.benchmark import milvus_page

MACHINE = {"load": 0.4}


def test_the_rates_of_several_processes_are_shown_by_scope() -> None:
    rate = {"scope": "whole inventory", "per_second": 20.0, "p50_ms": 50.0, "p99_ms": 90.0, "load": 3.4}
    figures: dict[str, Any] = {
        "machine": MACHINE,
        "products": 40_000,
        "cores": 2,
        "first_load_s": 60.0,
        "load_again_s": 8.0,
        "write_ms": {"whole_1": 210.0, "whole_100": 400.0, "attributes_1": 220.0, "attributes_100": 500.0},
        "visible_ms": {"p50": 400.0, "slowest": 900.0},
        "consistency_ms": {"bounded": 8.0, "strong": 200.0},
        "rates": [rate | {"index": "milvus", "processes": 2}, rate | {"index": "faiss", "processes": 1}],
    }
    lines = milvus_page.rates(figures, ())
    rows = [line for line in lines if "whole inventory" in line]
    assert rows == [
        "| faiss, whole inventory | 1 | 20.0 | 50.0 | 90.0 | 3 |",
        "| milvus, whole inventory | 2 | 20.0 | 50.0 | 90.0 | 3 |",
    ]
    assert "shows it 400 ms later (at most 900 ms)" in "\n".join(lines)


def test_index_types_are_beside_one_another() -> None:
    cell = {"partitions": "by type", "filled": 1.0, "recall": 1.0, "p50_ms": 12.0}
    figures = {
        "machine": MACHINE,
        "rows": 40_000,
        "load_at_end": 3.0,
        "cells": [
            cell | {"index": "FLAT", "share": 0.005},
            cell | {"index": "HNSW 64", "share": 0.005, "filled": 0.98, "recall": 0.951},
        ],
    }
    lines = milvus_page.indexes(figures, ())
    assert "| 0.5% | 100% · 100.0% · 12.0 | 98% · 95.1% · 12.0 |" in lines
