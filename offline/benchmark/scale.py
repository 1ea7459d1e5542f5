"""How the index behaves as a shop grows: build, memory, start, searches and updates, beside other indexes."""

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from offline.benchmark import filtered_peers as peers
from offline.benchmark.processes import all_resident_mib, peak_mib
from offline.benchmark.selectivity import (
    MODEL,
    OURS,
    SELECTIVITIES,
    TOP_K,
    Inventory,
    Part,
    Way,
    makers,
    measured,
    restore,
)
from services.search.indexes.base import IndexedProduct
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.snapshot_file import FILE, SnapshotFile

SIZES: Final = (40_000, 100_000, 300_000, 1_000_000)
# What the build of our index has taken, beside the snapshot that it left.
BUILT: Final = "built.json"
INVENTORY: Final = "whole inventory"
_LARGEST_TYPE: Final = "largest derived type"
_WITHIN_TYPE: Final = (0.1, 0.01)
# A build that compares products takes a little longer per product the more there are.
_GROWTH: Final = 1.2
# Products per write, and how many writes are timed.
_WRITTEN: Final = 500
_WRITES: Final = 10

Figures = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ScaleOptions:
    """What is measured.

    Attributes:
        queries: number of queries of each kind at most.
        rounds: how often each is asked; the median counts.
        seconds: time for a kind of query, from which on no further one is asked, once 20 were.
        memory_gib: an index that needs more is left out.
        build_minutes: one that is expected to take longer to build is left out.
        seed: of all that is random.
    """

    queries: int
    rounds: int
    seconds: float
    memory_gib: float
    build_minutes: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A kind of query.

    Attributes:
        part: what is eligible.
        queries: float32, shape (n, dimension).
        nearest: the similarities of the right products of each.
    """

    part: Part
    queries: NDArray[np.float32]
    nearest: Sequence[NDArray[np.float32]]

    @property
    def name(self) -> str:
        """Its name, the same at every size."""
        where = INVENTORY if self.part.derived_type is None else _LARGEST_TYPE
        return f"{where}, {self.part.selectivity * 100:g} % let through" if self.part.labels else where


def measure_size(
    inventory: Inventory,
    folder: Path,
    options: ScaleOptions,
    known: Figures,
    smaller: Sequence[Mapping[str, Any]],
    keep: Callable[[], None],
    say: Say,
) -> None:
    """Measures each index over some products, in a process of its own.

    Args:
        inventory: the products.
        folder: for what indexes keep on the disk.
        options: what is measured.
        known: the figures of this size; gets those that it lacks.
        smaller: the figures of smaller sizes, by which the time of a build is foreseen.
        keep: called after each index.
        say: reports progress.
    """
    size_gib = inventory.count * inventory.dimension / 2**30
    names: list[str] = []
    for name, (bytes_a_float, _) in makers(inventory, folder).items():
        minutes = _foreseen_s(name, inventory.count, smaller) / 60
        if name in known["indexes"]:
            continue
        known["missing"].pop(name, None)
        if bytes_a_float * size_gib > options.memory_gib:
            known["missing"][name] = f"it needs about {bytes_a_float * size_gib:.1f} GiB of memory"
        elif minutes > options.build_minutes:
            known["missing"][name] = f"it would take about {minutes:.0f} minutes to build"
        else:
            names.append(name)
    keep()
    if not names:
        return
    began = time.monotonic()
    kinds = searches(inventory, options.queries)
    say(f"{inventory.count:,} products: compared all in {time.monotonic() - began:.0f} s")
    light = inventory.light()
    for name in names:
        try:
            if name == OURS:
                if not (built := folder / BUILT).is_file():
                    built.write_text(json.dumps(_apart(_build, light, folder)))
                    say(f"{inventory.count:,} products, ours: built, {built.read_text()}")
                figures = json.loads(built.read_text()) | _apart(_serve, light, folder, kinds, options)
            else:
                figures = _apart(_measure_peer, name, light, folder, kinds, options)
        except ImportError as error:
            known["missing"][name] = f"{error}; {peers.INSTALL}"
            continue
        known["indexes"][name] = figures
        keep()
        say(f"{inventory.count:,} products, {name}: {summary(figures)}")


def searches(inventory: Inventory, count: int) -> list[Asked]:
    """Returns the kinds of queries about some products, with what is right."""
    result: list[Asked] = []
    for within, shares in ((None, SELECTIVITIES[-2::-1]), (inventory.largest, _WITHIN_TYPE)):
        queries = inventory.queries(count, within)
        parts = [inventory.part(1.0, 0, within), *(inventory.part(share, 1, within) for share in shares)]
        nearest = inventory.nearest(queries, parts)
        result += [Asked(part, queries, right) for part, right in zip(parts, nearest, strict=True)]
    return result


def summary(figures: Mapping[str, Any]) -> str:
    """Returns the figures of an index in one line."""
    times = ", ".join(
        f"{name}: {each['p50_ms']:.1f} / {each['p99_ms']:.1f} ms" for name, each in figures["cells"].items()
    )
    return f"built in {figures['build_s']:.0f} s, {figures['resident_gib']:.2f} GiB; {times}"


def _foreseen_s(name: str, count: int, smaller: Sequence[Mapping[str, Any]]) -> float:
    """Returns about how long a build takes, by that of the largest smaller size, in seconds."""
    built = [(size["products"], size["indexes"][name]["build_s"]) for size in smaller if name in size["indexes"]]
    if not built:
        return 0.0
    products, seconds = max(built)
    return float(_GROWTH * seconds * count / products)


def _apart(measure: Callable[..., Figures], *arguments: Any) -> Figures:
    """Measures in a new process, so that memory is that of one index."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, *arguments).result()


def _build(inventory: Inventory, folder: Path) -> Figures:
    """Builds our index, and keeps a snapshot of it."""
    index = FaissIndex(inventory.dimension)
    began = time.monotonic()
    index.load(inventory.products(), 1)
    built = time.monotonic()
    peak = peak_mib(os.getpid())
    if SnapshotFile(folder, MODEL, index).write(lambda version: str(version), ()) is None:
        raise OSError(f"The snapshot could not be written to {folder}: see the log.")
    return {
        "build_s": built - began,
        "build_peak_gib": peak / 1024,
        "snapshot_write_s": time.monotonic() - built,
        "snapshot_gib": (folder / FILE).stat().st_size / 2**30,
    }


def _serve(inventory: Inventory, folder: Path, kinds: Sequence[Asked], options: ScaleOptions) -> Figures:
    """Starts our index from its snapshot, searches and writes."""
    # As every service does first: it collects garbage less often.
    from services.serving import quick_start

    index = FaissIndex(inventory.dimension)
    began, processor = time.monotonic(), time.process_time()
    assert restore(index, folder), "It was written before."
    start = {"start_s": time.monotonic() - began, "start_processor_s": time.process_time() - processor}
    quick_start.imported()
    quick_start.serving()

    def search(query: NDArray[np.float32], part: Part) -> NDArray[np.int64]:
        hits = index.search(query, TOP_K, part.eligibility).hits
        return np.array([int(hit.product.id) for hit in hits], dtype=np.int64)

    return start | _asked(OURS, search, inventory, kinds, options) | _updates(index, inventory, options.seed)


def _measure_peer(
    name: str, inventory: Inventory, folder: Path, kinds: Sequence[Asked], options: ScaleOptions
) -> Figures:
    began = time.monotonic()
    way = makers(inventory, folder)[name][1]()[name]
    figures = {"build_s": time.monotonic() - began, "build_peak_gib": peak_mib(os.getpid()) / 1024}
    return figures | _asked(name, way, inventory, kinds, options)


def _asked(name: str, way: Way, inventory: Inventory, kinds: Sequence[Asked], options: ScaleOptions) -> Figures:
    """Asks each kind of query, and returns their figures with the memory that is held afterwards."""
    cells: Figures = {}
    for kind in kinds:
        figures = measured(
            {name: way}, kind.part, kind.queries, kind.nearest, inventory, options.rounds, options.seconds
        )
        cells[kind.name] = {"eligible": int(np.count_nonzero(kind.part.mask)), **figures[name]}
    return {"cells": cells, "resident_gib": all_resident_mib(os.getpid()) / 1024}


def _updates(index: FaissIndex, inventory: Inventory, seed: int) -> Figures:
    """Returns how many products a second get another embedding, and how many other attributes alone."""
    random = np.random.default_rng(seed)
    rates: dict[str, list[float]] = {"upserts_a_second": [], "updates_a_second": []}
    for version in range(2, 2 + _WRITES):
        numbers = random.choice(inventory.count, min(_WRITTEN, inventory.count), replace=False)
        products = index.products(map(str, numbers.tolist()))
        embeddings = inventory.rows(np.roll(numbers, 1)).astype(np.float16)
        upserts = [
            IndexedProduct(products[str(number)], embedding)
            for number, embedding in zip(numbers.tolist(), embeddings, strict=True)
        ]
        updates = [replace(each, year=version) for each in products.values()]
        began = time.monotonic()
        index.apply(upserts, (), version)
        between = time.monotonic()
        index.apply((), (), version, updates)
        rates["upserts_a_second"].append(len(numbers) / (between - began))
        rates["updates_a_second"].append(len(numbers) / (time.monotonic() - between))
    return {name: float(np.median(each)) for name, each in rates.items()}
