"""What filters of every selectivity cost a search, as it plans, in each of its two ways, and in other indexes."""

import gc
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from offline.benchmark import filtered_peers as peers
from offline.report.markdown import page_text
from services.contract.errors import InvalidInput
from services.search.catalogue.products import Product
from services.search.catalogue.store import DATABASE_FILE, Catalogue
from services.search.filters.filter import Filter, LabelFilter
from services.search.indexes.base import Eligibility, IndexedProduct
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.faiss_settings import APPROXIMATE_FROM, FaissSettings
from services.search.indexes.snapshot_file import SnapshotFile

TOP_K: Final = 10
SELECTIVITIES: Final = (0.0001, 0.001, 0.01, 0.1, 1.0)
_ATTRIBUTES: Final = ("brand", "season", "usage")
# What the parts of a filter let through, so that together they let through a selectivity: each its own labels below.
_SHARES: Final = tuple(sorted({round(share ** (1 / parts), 9) for share in SELECTIVITIES for parts in range(1, 4)}))
# Bandwidth of the smoothed bootstrap, as a share of the spread within a derived type.
_BANDWIDTH: Final = 0.3
_LEAST_QUERIES: Final = 20
# Ours, as it plans.
OURS: Final = "ours"
# The way that compares all, and how many products are compared so at most where embeddings are on the disk.
SCAN: Final = "scan alone"
_SCANNED: Final = 20_000
# The model that snapshots are said to be of.
MODEL: Final = "0123456789abcdef"
_ROWS: Final = 20_000

Way = Callable[[NDArray[np.float32], "Part"], NDArray[np.int64]]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The products that searches may return, by a filter.

    Attributes:
        selectivity: the share of products that the filter is meant to let through.
        labels: by attribute, those that it lets through.
        mask: whether each product passes: bool, shape (n,).
        derived_type: the one that is searched; None for the whole inventory.
    """

    selectivity: float
    labels: Mapping[str, tuple[str, ...]]
    mask: NDArray[np.bool_]
    derived_type: str | None = None

    @property
    def eligibility(self) -> Eligibility:
        """The same, as our index takes it."""
        labels = Filter(**{name: LabelFilter(any_of=labels) for name, labels in self.labels.items()})
        return Eligibility(None if self.derived_type is None else frozenset({self.derived_type}), labels)


# Of each derived type a product, and the embeddings of all: float16, shape (dimension,); None for none.
StoredTypes = Sequence[tuple[Product, Sequence[NDArray[np.float16] | None]]]


def stored_types(data: Path) -> StoredTypes:
    """Reads the catalogue of a data directory.

    Raises:
        InvalidInput: CATALOGUE_MISSING; it has none.
    """
    if not (data / DATABASE_FILE).is_file():
        raise InvalidInput(
            f"There is no catalogue in {data}: run `fashion bench ingest DATASET` first, or name its folder by --work.",
            reason="CATALOGUE_MISSING",
        )
    with Catalogue(data) as catalogue:
        return [(rows[0].product, [each.embedding for each in rows]) for rows in catalogue.by_derived_type()]


class Inventory:
    """Products by derived type: those of a catalogue, or more of their like."""

    def __init__(self, types: Sequence[tuple[Product, NDArray[np.float16]]], count: int, seed: int, file: Path) -> None:
        """Takes the real ones, and writes all to a file.

        Args:
            types: of each derived type a product, and the embeddings of all: float16, shape (m, dimension).
            count: number of products. Above the real number, embeddings are drawn by a smoothed bootstrap: a random one
                of the type, moved by a share of the difference of two others, which keeps the spread of the type.
            seed: of all that is random.
            file: gets the embeddings, so that they take no memory. One of the right size is what an earlier run drew.
        """
        sizes = np.array([len(rows) for _, rows in types])
        self._types = types
        self._sizes = np.diff(np.round(np.concatenate([[0.0], np.cumsum(sizes)]) * count / sizes.sum()).astype(int))
        self._seed = seed
        self.count = count
        self.dimension = int(types[0][1].shape[1])
        random = np.random.default_rng(seed)
        self._labels = np.searchsorted(np.array(_SHARES), random.random((len(_ATTRIBUTES), count))).astype(np.int8)
        # A filter may name every label.
        self._labels[:, : len(_SHARES)] = np.arange(len(_SHARES))
        self._file = file
        if file.is_file() and file.stat().st_size == 2 * count * self.dimension:
            return
        random = np.random.default_rng(seed + 1)
        unfinished = file.with_suffix(".unfinished")
        with unfinished.open("wb") as opened:
            for (_, rows), size in zip(types, self._sizes.tolist(), strict=True):
                for start in range(0, size, _ROWS):
                    real = count == sizes.sum()
                    part = rows[start : start + _ROWS] if real else _of_like(rows, min(_ROWS, size - start), random)
                    part.tofile(opened)
        unfinished.replace(file)

    @classmethod
    def of(cls, types: StoredTypes, count: int | None, seed: int, folder: Path) -> "Inventory":
        """Returns products like those of a catalogue, as many as it has by default; see `__init__`."""
        stacked = [(kind, [each for each in rows if each is not None]) for kind, rows in types]
        real = [(kind, np.stack(rows)) for kind, rows in stacked if rows]
        return cls(real, count or sum(len(rows) for _, rows in real), seed, folder / "embeddings")

    def parts(self) -> Iterator[Part]:
        """Yields one to three filters of each selectivity."""
        for selectivity in SELECTIVITIES:
            for count in range(1, 1 + len(_ATTRIBUTES)):
                yield self.part(selectivity, count)

    def part(self, selectivity: float, count: int, within: int | None = None) -> Part:
        """Returns a filter.

        Args:
            selectivity: one of `SELECTIVITIES`.
            count: number of its conditions; 0 for no filter.
            within: number of the derived type that is searched; None for the whole inventory.
        """
        below = _SHARES.index(round(selectivity ** (1 / count), 9)) + 1 if count else 0
        labels = tuple(map(str, range(below)))
        mask = np.logical_and.reduce(self._labels[:count] < below, axis=0) if count else np.ones(self.count, np.bool_)
        if within is not None:
            end = int(self._sizes[: within + 1].sum())
            mask[: end - self._sizes[within]] = mask[end:] = False
        kind = None if within is None else self._types[within][0].derived_type
        return Part(selectivity, dict.fromkeys(_ATTRIBUTES[:count], labels), mask, kind)

    @property
    def largest(self) -> int:
        """The number of the derived type that has most products."""
        return int(np.argmax(self._sizes))

    def light(self) -> "Inventory":
        """Returns the same products, for another process: no others of their like can be drawn from it."""
        light = copy(self)
        light._types = [(kind, rows[:1]) for kind, rows in self._types]
        return light

    def embeddings(self) -> Iterator[NDArray[np.float16]]:
        """Yields the embeddings in parts, each of one derived type: float16, shape (m, dimension), L2 norm 1."""
        with self._file.open("rb") as opened:
            for size in self._sizes.tolist():
                for start in range(0, size, _ROWS):
                    rows = np.fromfile(opened, np.float16, min(_ROWS, size - start) * self.dimension)
                    yield rows.reshape(-1, self.dimension)

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns the embeddings of some products: float32, shape (m, dimension)."""
        everything = np.memmap(self._file, np.float16, "r", shape=(self.count, self.dimension))
        return np.asarray(everything[numbers], dtype=np.float32)

    def queries(self, count: int, within: int | None = None) -> NDArray[np.float32]:
        """Returns embeddings of their like that are none of them: float32, shape (count, dimension), L2 norm 1.

        Args:
            count: how many.
            within: number of the derived type that all are of; None for types as the products have them.
        """
        random = np.random.default_rng(self._seed + 2)
        chosen = random.choice(len(self._types), count, p=self._sizes / self.count)
        if within is not None:
            chosen[:] = within
        rows = [_of_like(self._types[each][1], 1, random)[0] for each in chosen.tolist()]
        vectors = np.stack(rows).astype(np.float32)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def products(self) -> Iterator[list[IndexedProduct]]:
        """Yields the products, by derived type, in parts; their ids are their numbers."""
        kinds = (kind for (kind, _), size in zip(self._types, self._sizes.tolist(), strict=True) for _ in range(size))
        number = 0
        for rows in self.embeddings():
            batch = []
            for embedding in rows:
                brand, season, usage = map(str, self._labels[:, number].tolist())
                kind = next(kinds)
                # As in a shop, each has a name and an address of its own, which take memory.
                name, url = f"{kind.name or kind.article_type} {number}", f"https://shop.example/products/{number}"
                product = replace(kind, id=str(number), brand=brand, season=season, usage=usage, name=name, url=url)
                batch.append(IndexedProduct(product, embedding))
                number += 1
            yield batch

    def nearest(self, queries: NDArray[np.float32], parts: Sequence[Part]) -> list[list[NDArray[np.float32]]]:
        """Returns, for each part and query, the similarities of the nearest products by comparing all: at most 10."""
        best = [[np.empty(0, dtype=np.float32) for _ in queries] for _ in parts]
        start = 0
        for rows in self.embeddings():
            similarities = queries @ rows.astype(np.float32).T
            for part, found in zip(parts, best, strict=True):
                passing = similarities[:, part.mask[start : start + len(rows)]]
                for at, row in enumerate(passing):
                    both = np.concatenate([found[at], row])
                    found[at] = np.sort(np.partition(both, -TOP_K)[-TOP_K:] if len(both) > TOP_K else both)[::-1]
            start += len(rows)
        return best


def _of_like(rows: NDArray[np.float16], count: int, random: np.random.Generator) -> NDArray[np.float16]:
    """Draws embeddings by a smoothed bootstrap with the spread of some rows; see `Inventory`."""
    one, two, three = (rows[random.integers(len(rows), size=count)].astype(np.float32) for _ in range(3))
    middle = rows[: 20 * _LEAST_QUERIES].astype(np.float32).mean(axis=0)
    drawn = middle + (one - middle + _BANDWIDTH * (two - three)) / np.sqrt(1 + 2 * _BANDWIDTH**2)
    unit: NDArray[np.float16] = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)
    return unit


def selectivity_figures(
    inventory: Inventory,
    folder: Path,
    *,
    queries: int,
    rounds: int,
    seconds: float,
    memory_gib: float,
    say: Say,
    ours_alone: bool = False,
) -> dict[str, Any]:
    """Measures searches for ten products under one to three filters of each selectivity.

    Args:
        inventory: the products.
        folder: for what Milvus Lite keeps.
        queries: number of queries at most.
        rounds: how often each is asked; the median counts.
        seconds: time for a filter in one index, from which on no further query is asked, once 20 were.
        memory_gib: an index that needs more is left out.
        say: reports progress.
        ours_alone: whether other indexes are left out.

    Returns:
        By filter: how many products are eligible, and by way recall, p50 and p99 in ms, and the number of queries; and
        the ways that could not be measured, with the reason.
    """
    asked, parts = inventory.queries(queries), list(inventory.parts())
    right = inventory.nearest(asked, parts)
    say("compared all")
    cells: list[dict[str, Any]] = [
        {
            "selectivity": part.selectivity,
            "filters": len(part.labels),
            "eligible": int(np.count_nonzero(part.mask)),
            "ways": {},
        }
        for part in parts
    ]
    missing: dict[str, str] = {}
    size_gib = inventory.count * inventory.dimension / 2**30
    for name, (bytes_a_float, make) in makers(inventory, folder).items():
        if bytes_a_float * size_gib > memory_gib:
            missing[name] = f"it needs about {bytes_a_float * size_gib:.0f} GiB of memory"
            continue
        if ours_alone and name != OURS:
            missing[name] = "it was left out"
            continue
        began = time.monotonic()
        try:
            ways = make()
        except ImportError as error:
            missing[name] = f"{error}; {peers.INSTALL}"
            continue
        say(f"{name}: built in {time.monotonic() - began:.0f} s")
        for part, cell, nearest in zip(parts, cells, right, strict=True):
            # What is on the disk takes seconds to scan, which no plan does.
            short = inventory.count < APPROXIMATE_FROM or cell["eligible"] <= _SCANNED
            some = {way: each for way, each in ways.items() if short or way != SCAN}
            cell["ways"] |= measured(some, part, asked, nearest, inventory, rounds, seconds)
            told = ", ".join(f"{way} {each['p50_ms']:.2f} ms" for way, each in cell["ways"].items() if way in ways)
            say(f"{part.selectivity:.2%} by {len(part.labels)}: {told}")
        del ways
        gc.collect()
    return {"inventory": inventory.count, "cells": cells, "missing": missing}


def makers(inventory: Inventory, folder: Path) -> dict[str, tuple[float, Callable[[], dict[str, Way]]]]:
    """Returns, by name, how many bytes of memory an index takes per float of an embedding, and what builds it."""
    return {
        OURS: (3.2, lambda: _ours(inventory, folder)),
        "FAISS IVF": (2.0, lambda: peers.faiss_ivf(inventory.embeddings(), inventory.count)),
        "hnswlib": (4.2, lambda: peers.hnswlib_index(inventory.embeddings(), inventory.count)),
        "Milvus Lite": (8.0, lambda: peers.milvus_lite(inventory.products(), inventory.dimension, folder)),
    }


def restore(index: FaissIndex, folder: Path) -> bool:
    """Fills an index from its snapshot in a folder, as `scale` leaves it there; returns whether there is one."""
    with SnapshotFile(folder, MODEL, index).open() as snapshot:
        if snapshot is not None:
            index.restore(snapshot.reduction, snapshot.parts, snapshot.index_version)
        return snapshot is not None


def _ours(inventory: Inventory, folder: Path) -> dict[str, Way]:
    """Returns our index as it plans, always comparing all that is eligible, and always asking the reduced index."""
    planned = FaissSettings()
    index = FaissIndex(inventory.dimension, planned)
    if not restore(index, folder):
        index.load(inventory.products(), 1)

    def way(settings: FaissSettings) -> Way:
        def search(query: NDArray[np.float32], part: Part) -> NDArray[np.int64]:
            # One index for all, as two would take twice the memory.
            index.settings = settings
            hits = index.search(query, TOP_K, part.eligibility).hits
            return np.array([int(hit.product.id) for hit in hits], dtype=np.int64)

        return search

    return {
        OURS: way(planned),
        SCAN: way(replace(planned, exact_limit=inventory.count + 1, exact_on_disk=inventory.count + 1)),
        "index alone": way(replace(planned, exact_limit=1, products_per_exact=2 * inventory.count, exact_on_disk=1)),
    }


def measured(
    ways: Mapping[str, Way],
    part: Part,
    queries: NDArray[np.float32],
    nearest: Sequence[NDArray[np.float32]],
    inventory: Inventory,
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """Asks each query in each way by turns."""
    medians: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[NDArray[np.int64]]] = {name: [] for name in ways}
    began = time.monotonic()
    for query in queries:
        if len(next(iter(found.values()))) >= _LEAST_QUERIES and time.monotonic() - began > seconds:
            break
        times: dict[str, list[float]] = {name: [] for name in ways}
        answers: dict[str, NDArray[np.int64]] = {}
        for turn in range(rounds):
            # Another way goes first each time, as the next finds its rows in the cache.
            names = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
            for name in names:
                way = ways[name]
                # Milvus Lite works in a process of its own.
                clock = time.perf_counter if name == "Milvus Lite" else time.thread_time
                start = clock()
                answers[name] = way(query, part)
                times[name].append((clock() - start) * 1000)
        for name in ways:
            medians[name].append(float(np.median(times[name])))
            found[name].append(answers[name])
    recalls = _recalls(found, part, queries, nearest, inventory)
    return {
        name: {
            "recall": recalls[name],
            "p50_ms": float(np.median(medians[name])),
            "p99_ms": float(np.quantile(medians[name], 0.99)),
            "queries": len(medians[name]),
        }
        for name in ways
    }


def _recalls(
    found: Mapping[str, Sequence[NDArray[np.int64]]],
    part: Part,
    queries: NDArray[np.float32],
    nearest: Sequence[NDArray[np.float32]],
    inventory: Inventory,
) -> dict[str, float]:
    """Returns, by way, the share of the right products that were found; of equally similar ones any is right."""
    wanted: NDArray[np.int64] = np.unique(np.concatenate([each for lists in found.values() for each in lists]))
    vectors = inventory.rows(wanted)
    recalls: dict[str, float] = {}
    for name, lists in found.items():
        shares = []
        for query, ids, right in zip(queries, lists, nearest, strict=False):
            if len(right):
                places = np.searchsorted(wanted, ids[part.mask[ids]])
                hits = int(np.count_nonzero(vectors[places] @ query >= right[-1] - 1e-5))
                shares.append(min(hits, len(right)) / len(right))
        recalls[name] = float(np.mean(shares)) if shares else 1.0
    return recalls


def selectivity_page(folder: Path, command: str) -> str:
    """Returns a page of Markdown with a table for each number of products that has figures in a folder."""
    parts = ["# Filters of every selectivity", "", _INTRODUCTION.format(command=command), ""]
    for file in sorted(folder.glob("selectivity-*.json"), key=lambda file: int(file.stem.rpartition("-")[2])):
        figures = json.loads(file.read_text())
        machine = figures["machine"]
        parts += [
            f"## {figures['inventory']:,} products",
            "",
            f"{machine['processors']} cores of {machine['processor']}, load {machine['load']:.1f} at the start.",
            "",
            *_table(figures),
            "",
            *not_measured(figures["missing"]),
            *([figures["note"], ""] if "note" in figures else []),
        ]
    return page_text(parts)


def not_measured(missing: Mapping[str, str]) -> list[str]:
    """Returns the lines of a page that say, by name, why other indexes were not measured."""
    return [*(f"{name} was not measured there: {why}." for name, why in missing.items()), ""] if missing else []


_INTRODUCTION: Final = """\
A search compares all eligible products (a scan), or lets the reduced index choose what to compare. It plans by
how many are eligible. `planned` is what it does; `better` is the faster of scan and index, each forced, for the median
query. A cell has recall · p50 / p99. Ten results each; recall is the share of the right ten, or of all that are
eligible.

```sh
{command}
```

Times are over the queries, in ms of processor time of one thread, filter included, each the median of its rounds; our
three ways ran by turns. The filters are one to three conditions on labels, independent of looks and of one
another. FAISS IVF (float16, 32 probes) and hnswlib (M 16, ef 100) know no attributes: they get a mask of what passes,
whose making is not counted. hnswlib asks Python about each product that it visits. Milvus Lite has its AUTOINDEX, in a
process of its own, so that its times are by the clock. Above the size of the data set, embeddings are drawn from the
real ones by a smoothed bootstrap within each derived type. Queries are drawn so too, and are none of the products."""
_OTHERS: Final = ("FAISS IVF", "hnswlib", "Milvus Lite")


def _table(figures: Mapping[str, Any]) -> Iterator[str]:
    others = [name for name in _OTHERS if name not in figures["missing"]]
    yield f"| let through | filters | eligible | planned | better | planned / better | {' | '.join(others)} |"
    yield f"|{' ---: |' * (6 + len(others))}"
    for cell in figures["cells"]:
        ways = cell["ways"]
        better = _better(ways)
        columns = [
            f"{cell['selectivity'] * 100:g} %",
            str(cell["filters"]),
            f"{cell['eligible']:,}",
            cell_text(ways[OURS]),
            f"{better.split()[0]} {cell_text(ways[better])}",
            f"{ways[OURS]['p50_ms'] / ways[better]['p50_ms']:.2f}",
            *(cell_text(ways[name]) for name in others),
        ]
        yield f"| {' | '.join(columns)} |"


def _better(ways: Mapping[str, Mapping[str, float]]) -> str:
    return SCAN if SCAN in ways and ways[SCAN]["p50_ms"] <= ways["index alone"]["p50_ms"] else "index alone"


def cell_text(way: Mapping[str, float]) -> str:
    """Returns recall and times of a way."""
    return f"{way['recall']:.1%} · {way['p50_ms']:.2f} / {way['p99_ms']:.2f}"
