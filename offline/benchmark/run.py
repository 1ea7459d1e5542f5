"""The benchmarks on one catalogue; each part writes its figures as it ends."""

import asyncio
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import faiss
import grpc
import numpy as np
from numpy.typing import NDArray

from offline.benchmark import h2load, mosec_peer, peers
from offline.benchmark.cost import floor_ms, measure_costs, processor_ms
from offline.benchmark.export import measure_export
from offline.benchmark.inventory import inventory_figures
from offline.benchmark.latency import (
    Photographs,
    floor,
    floor_steps,
    measure_latency,
    photograph_query,
    product_query,
    separate_services,
)
from offline.benchmark.load import LIMIT_MS, LoadPoint, offer, sustained
from offline.benchmark.machine import Machine
from offline.benchmark.overload import overload
from offline.benchmark.processes import free_port, running
from offline.benchmark.starts import measure_starts
from offline.benchmark.subject import WHOLE_WITHOUT_HEADS, measure_subject
from offline.benchmark.timing import Series, interleaved, ratio
from offline.benchmark.trace import Trace, trace_photographs
from offline.benchmark.updates import measure_updates, summary, without_photographs
from offline.dataset.rows import open_dataset
from offline.evaluate.served import unit
from services.bundle.reader import GARMENT_HEADS_FILE, load_bundle
from services.concurrency.processor import available_processors
from services.contract.errors import InvalidInput
from services.embedder.encoder import Encoder
from services.embedder.runtimes.select import load_encoder
from services.embedder.settings import EmbedderSettings
from services.search.catalogue.store import DATABASE_FILE, Catalogue
from services.search.indexes.base import Eligibility, IndexedProduct
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.faiss_settings import FaissSettings
from services.vision import prepare

_PHOTOGRAPHS: Final = 200
_BATCH: Final = 32
_INVENTORY_QUERIES: Final = 40

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure.

    Attributes:
        dataset: a folder or zip in Kaggle's layout, whose products become the catalogue.
        folder: the folder for figures, one JSON file per part.
        work: the folder that keeps the catalogue between runs.
        products: the number of products at most; None for all.
        rounds: the number of rounds.
        calls: the calls of each workload per round.
        load_s: seconds at each offered rate.
    """

    dataset: Path
    folder: Path
    work: Path
    products: int | None = None
    rounds: int = 7
    calls: int = 25
    load_s: float = 8.0


class Benchmarks:
    """The parts of the benchmark, on one catalogue."""

    def __init__(self, options: BenchOptions, say: Say) -> None:
        """Reads the photographs of the queries.

        Raises:
            InvalidInput: the data set cannot be used.
        """
        self._options, self._say = options, say
        options.folder.mkdir(parents=True, exist_ok=True)
        options.work.mkdir(parents=True, exist_ok=True)
        self._data = options.work / "data"
        self._settings = EmbedderSettings()
        with open_dataset(options.dataset) as dataset:
            rows = dataset.rows[: options.products] if options.products else dataset.rows
            if len(rows) < _BATCH:
                raise InvalidInput(
                    f"{options.dataset} has too few products: a benchmark needs at least {_BATCH}.",
                    reason="DATASET_TOO_SMALL",
                )
            chosen = np.linspace(0, len(rows) - 1, min(_PHOTOGRAPHS, len(rows))).astype(int)
            self._queries = Photographs(
                tuple(dataset.photograph(rows[at].id) for at in chosen), tuple(rows[at].id for at in chosen)
            )
            self._product_ids = [row.id for row in rows]
            self._count = len(rows)

    def run(self, part: str) -> dict[str, Any]:
        """Runs one part, writes its figures, and returns them."""
        machine = Machine.this()
        if machine.busy:
            self._say(f"Something else is running (load {machine.load:.1f}), so that the figures will be off.")
        self._say(f"{part} …")
        figures = {"machine": asdict(machine), "products": self._count, **getattr(self, f"_{part}")()}
        (self._options.folder / f"{part}.json").write_text(json.dumps(figures, indent=1) + "\n")
        return figures

    def _encoder(self, **changes: Any) -> Encoder:
        return load_encoder(self._settings.model_copy(update=changes).encoder())

    def _pixels(self, encoder: Encoder) -> NDArray[np.uint8]:
        return np.stack([prepare(content, encoder.frame) for content in self._queries.contents])

    def _batch_rate(self, encoder: Encoder, rounds: int) -> float:
        pixels = self._pixels(encoder)[:_BATCH]
        series = interleaved({"batch": lambda: encoder.encode(pixels)}, rounds, 5)["batch"]
        return len(pixels) * 1000 / series.median

    def _floor(self) -> dict[str, Any]:
        """Measures decoding, inference and FAISS in this process, without services and catalogue."""
        encoder, options = self._encoder(), self._options
        stand_in = self._stand_in(encoder)
        pixels = self._pixels(encoder)[:_BATCH]
        series = interleaved(
            {
                "all three": floor(encoder, self._queries.contents, stand_in),
                **floor_steps(encoder, self._queries.contents, stand_in),
                "batch": lambda: encoder.encode(pixels),
            },
            options.rounds,
            options.calls,
        )
        batch = series.pop("batch")
        return {
            "runtime": encoder.model.runtime,
            "precision": encoder.model.precision,
            "medians_ms": _medians(series),
            "spread_ms": {name: [min(one.rounds), max(one.rounds)] for name, one in series.items()},
            "type_products": len(stand_in),
            "batch": _BATCH,
            "batched_a_second": len(pixels) * 1000 / batch.median,
        }

    def _ingest(self) -> dict[str, Any]:
        """Measures an ingest end to end, beside the bare embedder before and after."""
        if (self._data / DATABASE_FILE).exists():
            raise InvalidInput(
                f"{self._data} holds a catalogue already: remove it to ingest again.", reason="DATA_EXISTS"
            )
        encoder = self._encoder()
        before = self._batch_rate(encoder, self._options.rounds)
        with running("services.stack", {"SEARCH_DATA_DIR": str(self._data)}, self._options.work / "stack.log") as stack:
            limit = ["--limit", str(self._options.products)] if self._options.products else []
            command = [
                sys.executable,
                "-m",
                "cli",
                "ingest",
                str(self._options.dataset),
                "--server",
                stack.target,
                *limit,
            ]
            began = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            spent = time.monotonic() - began
        after = self._batch_rate(encoder, self._options.rounds)
        rate, bare = self._count / spent, (before + after) / 2
        return {"rows_a_second": rate, "seconds": spent, "bare_a_second": bare, "ratio": rate / bare}

    def _start(self) -> dict[str, Any]:
        """Measures the time from start to SERVING, and the memory then and after queries."""
        measured = measure_starts(self._catalogue(), self._product_ids, self._options.rounds)
        memory, after = [], []
        for _ in range(min(3, self._options.rounds)):
            with self._stack() as stack:
                memory.append(stack.resident_mib())
                with grpc.insecure_channel(stack.target) as channel:
                    for query in (
                        photograph_query(channel, self._queries.contents),
                        product_query(channel, self._queries.product_ids),
                    ):
                        for _ in range(100):
                            query()
                after.append(stack.resident_mib())
        return {
            **measured,
            "resident_mib": float(np.median(memory)),
            "resident_after_queries_mib": float(np.median(after)),
        }

    def _export(self) -> dict[str, Any]:
        """Measures the export of the similar products of all products."""
        with self._stack() as stack:
            return measure_export(stack, self._queries.product_ids, self._options.work / "similar.csv")

    def _latency(self) -> dict[str, Any]:
        options, encoder = self._options, self._encoder()
        figures: dict[str, Any] = {"runtime": encoder.model.runtime, "precision": encoder.model.precision}
        with self._stack() as stack:
            whole = self._measured(encoder, stack.target, "one process")
            traces = {"one process": asdict(self._trace(stack.target))}
        with tempfile.TemporaryDirectory() as folder, separate_services(self._data, Path(folder)) as search:
            apart = self._measured(encoder, search.target, "three processes")
            traces["three processes"] = asdict(self._trace(search.target))
        figures["one process"] = _medians(whole)
        figures["three processes"] = _medians(apart)
        figures["ratios"] = {
            "one process, photograph / (floor + 1 echo)": asdict(
                ratio(whole["one process, photograph"], (whole["floor"], 1), (whole["echo"], 1))
            ),
            "three processes, photograph / (floor + 3 echoes)": asdict(
                ratio(apart["three processes, photograph"], (apart["floor"], 1), (apart["echo"], 3))
            ),
        }
        steps = interleaved(floor_steps(encoder, self._queries.contents, self._stand_in(encoder)), options.rounds, 25)
        ours = whole["one process, photograph"].median
        rest = ours - whole["echo"].median - sum(one.median for one in steps.values())
        figures["waterfall"] = {
            **_medians(steps),
            "bare gRPC": whole["echo"].median,
            "all else: classifier, conversion, threads taking turns": rest,
            "together": ours,
        }
        figures["traces"] = traces
        figures["rounds"], figures["calls"] = options.rounds, options.calls
        return figures

    def _cost(self) -> dict[str, Any]:
        """Measures the processor time of queries in all processes of the stack, under each load, beside its floor."""
        # Two threads of one inference wait for each other, so that one costs least.
        options, encoder, admin_port = self._options, self._encoder(threads=1), free_port()
        with self._stack(SERVER_ADMIN_PORT=str(admin_port)) as stack:
            costs = asyncio.run(measure_costs(stack, admin_port, self._queries, options.load_s, self._say))
        inventory = self._inventory_batches()
        index = FaissIndex(encoder.model.dimension, FaissSettings())
        index.load(inventory, 1)
        stand_in = faiss.IndexFlatIP(encoder.model.dimension)
        stand_in.add(self._stand_in(encoder))
        ids, products = set(self._queries.product_ids), [each for batch in inventory for each in batch]
        chosen = [each.embedding for each in products if each.product.id in ids and each.embedding is not None]
        asked = unit(np.stack(chosen))
        floors = {
            "photograph": floor_ms(encoder, self._queries.contents, stand_in, costs.batches),
            "product": {"FAISS": processor_ms(lambda at: index.search(asked[at], 10, Eligibility()), len(asked))},
        }
        return costs.figures(floors)

    def _load(self) -> dict[str, Any]:
        encoder = self._encoder()
        offline = self._batch_rate(encoder, self._options.rounds)
        points: list[LoadPoint] = []
        with self._stack() as stack:
            # A warm-up, as the first call of each thread is slower.
            asyncio.run(
                offer(stack.target, self._queries.contents, 0.2 * offline, min(2.0, self._options.load_s), seed=99)
            )
            for share in (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9):
                point = asyncio.run(
                    offer(stack.target, self._queries.contents, share * offline, self._options.load_s, seed=len(points))
                )
                points.append(point)
                self._say(f"  {point.offered:.0f}/s offered: p99 {point.p99_ms:.1f} ms")
                if point.p99_ms > LIMIT_MS:
                    break
            flooded = asyncio.run(overload(stack.target, self._queries.contents))
            self._say(f"  {flooded.sent} at once: {flooded.refused} refused, {flooded.hinted} with a time to try again")
        rate = sustained(points)
        return {
            "offline_a_second": offline,
            "sustained_a_second": rate,
            "ratio": rate / offline,
            "points": [asdict(point) for point in points],
            "overload": {**asdict(flooded), "hinted_share": flooded.hinted_share},
        }

    def _updates(self) -> dict[str, Any]:
        """Measures changes of prices and stock while queries run."""
        with without_photographs(self._catalogue()) as data, self._stack(data) as stack:
            rounds = asyncio.run(measure_updates(stack, self._queries, self._options.rounds, self._options.load_s))
        return dict(summary(rounds))

    def _precision(self) -> dict[str, Any]:
        """Measures the served precision beside float32 in the same runtime."""
        exact, served = self._encoder(precision="float32"), self._encoder()
        name = served.model.precision
        pixels = self._pixels(exact)
        one, batch = pixels[:1], pixels[:_BATCH]
        series = interleaved(
            {
                "float32, batch": lambda: exact.encode(batch),
                f"{name}, batch": lambda: served.encode(batch),
                "float32, one": lambda: exact.encode(one),
                f"{name}, one": lambda: served.encode(one),
            },
            self._options.rounds,
            5,
        )
        cosines = (exact.encode(pixels) * served.encode(pixels)).sum(axis=1)
        return {
            "precision": name,
            "medians_ms": _medians(series),
            "batch": _BATCH,
            "throughput": asdict(ratio(series["float32, batch"], (series[f"{name}, batch"], 1))),
            "one": asdict(ratio(series["float32, one"], (series[f"{name}, one"], 1))),
            "cosine_min": float(cosines.min()),
        }

    def _subject(self) -> dict[str, Any]:
        """Measures the processor time of looking for the garment, per photograph and on one thread."""
        options = self._settings.model_copy(update={"threads": 1}).encoder()
        bundle = load_bundle(Path(options.bundle))
        files = {name: facts for name, facts in bundle.description["files"].items() if name != GARMENT_HEADS_FILE}
        series = measure_subject(
            load_encoder(options, bundle),
            load_encoder(options, replace(bundle, description={**bundle.description, "files": files})),
            self._queries.contents,
            self._options.rounds,
        )
        of_all = series[WHOLE_WITHOUT_HEADS]
        return {
            "photographs": len(self._queries.contents),
            "processor_ms": _medians(series),
            "ratios": {name: asdict(ratio(series[name], (of_all, 1))) for name in ("whole", "auto")},
        }

    def _inventory(self) -> dict[str, Any]:
        """Measures searches of the whole catalogue, for its products and for the photographs of the data set."""
        batches = self._inventory_batches()
        products = [each for batch in batches for each in batch]
        chosen = np.linspace(0, len(products) - 1, min(_INVENTORY_QUERIES, len(products))).astype(int)
        encoder = self._encoder()
        queries = {
            "product": unit(np.stack([products[at].embedding for at in chosen])),
            "photograph": encoder.encode(self._pixels(encoder)[:: max(1, len(self._queries.contents) // len(chosen))]),
        }
        return {"inventory": len(products), "queries": inventory_figures(batches, queries, self._options.rounds)}

    def _inventory_batches(self) -> list[list[IndexedProduct]]:
        """Returns the catalogue's products by derived type, as an index loads them."""
        with Catalogue(self._catalogue()) as catalogue:
            return [
                [IndexedProduct(row.product, row.embedding) for row in rows if row.embedding is not None]
                for rows in catalogue.by_derived_type()
            ]

    def _peers(self) -> dict[str, Any]:
        embeddings = self._embeddings()
        bundle = load_bundle(Path(self._settings.bundle))
        missing: dict[str, str] = {}
        workloads: dict[str, Callable[[], object]] = {}
        with ExitStack() as resources:
            folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
            stack = resources.enter_context(self._stack())
            channel = resources.enter_context(grpc.insecure_channel(stack.target))
            workloads["ours, photograph"] = photograph_query(channel, self._queries.contents)
            workloads["ours, product"] = product_query(channel, self._queries.product_ids)
            contents, threads = self._queries.contents, available_processors()
            others: dict[str, Callable[[], dict[str, Callable[[], object]]]] = {
                "the report's method": lambda: peers.report_method(contents, embeddings),
                "ONNX Runtime + hnswlib": lambda: peers.onnx_method(bundle, contents, embeddings, threads),
                "Milvus Lite": lambda: peers.milvus_method(embeddings, folder),
            }
            for name, make in others.items():
                self._say(f"  {name}")
                try:
                    workloads |= make()
                except ImportError as error:
                    missing[name] = f"{error}; {peers.INSTALL}"
            series = interleaved(workloads, max(5, self._options.rounds), 5)
            recall = self._recall(channel, embeddings)
        ratios = {
            name: asdict(ratio(times, (series["ours, photograph" if "photograph" in name else "ours, product"], 1)))
            for name, times in series.items()
            if not name.startswith("ours")
        }
        return {"medians_ms": _medians(series), "ratios": ratios, "recall_at_10": recall, "missing": missing}

    def _mosec(self) -> dict[str, Any]:
        """Finds the rates that ours and mosec sustain, in turn."""
        missing = {
            name: how
            for name, there, how in (
                (mosec_peer.MOSEC, importlib.util.find_spec("mosec") is not None, peers.INSTALL),
                ("h2load", h2load.is_installed(), h2load.INSTALL),
            )
            if not there
        }
        if missing:
            return {"missing": missing}
        options, admin_port = self._options, free_port()
        embeddings = self._stand_in(self._encoder())
        with (
            tempfile.TemporaryDirectory() as folder,
            self._stack(SERVER_ADMIN_PORT=str(admin_port)) as stack,
        ):
            figures = mosec_peer.compare(
                (stack, admin_port),
                self._queries.contents,
                embeddings,
                available_processors(),
                max(5, options.rounds),
                options.load_s,
                Path(folder),
                self._say,
            )
        return {**figures, "seconds": options.load_s, "type_products": len(embeddings), "missing": {}}

    def _recall(self, channel: grpc.Channel, embeddings: NDArray[np.float32]) -> float:
        """Returns the share of our ten results for a product that are among its exact ten neighbours."""
        ids = self._ids
        row_of = {product_id: row for row, product_id in enumerate(ids)}
        shares = []
        for product_id in self._queries.product_ids:
            answer: Any = product_query(channel, (product_id,))()
            similar = embeddings @ embeddings[row_of[product_id]]
            similar[row_of[product_id]] = -2.0
            tenth = np.partition(similar, -10)[-10] - 1e-5
            shares.append(np.mean([similar[row_of[hit.product.id]] >= tenth for hit in answer.products]))
        return float(np.mean(shares))

    def _embeddings(self) -> NDArray[np.float32]:
        """Returns the catalogue's embeddings: float32, shape (n, dimension)."""
        with Catalogue(self._data) as catalogue:
            pairs = [
                (row.product.id, row.embedding)
                for rows in catalogue.by_derived_type()
                for row in rows
                if row.embedding is not None
            ]
        self._ids = [product_id for product_id, _ in pairs]
        return np.stack([embedding.astype(np.float32) for _, embedding in pairs])

    def _catalogue(self) -> Path:
        if not self._data.exists():
            raise InvalidInput(
                "There is no catalogue yet: run `fashion bench ingest` first.", reason="CATALOGUE_MISSING"
            )
        return self._data

    def _stack(self, data: Path | None = None, **settings: str) -> Any:
        settings = {"SEARCH_DATA_DIR": str(data or self._catalogue()), **settings}
        return running("services.stack", settings, self._options.work / "stack.log")

    def _measured(self, encoder: Encoder, target: str, name: str) -> dict[str, Series]:
        stand_in = self._stand_in(encoder)
        return measure_latency(
            encoder, self._queries, stand_in, target, self._options.rounds, self._options.calls, name
        )

    def _trace(self, target: str) -> Trace:
        with grpc.insecure_channel(target) as channel:
            return trace_photographs(channel, self._queries.contents, self._options.rounds * self._options.calls)

    def _stand_in(self, encoder: Encoder) -> NDArray[np.float32]:
        """Returns random embeddings, as many as a large derived type has; the values do not matter for the time."""
        rows = np.random.default_rng(0).normal(size=(1500, encoder.model.dimension)).astype(np.float32)
        embeddings: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return embeddings


def _medians(series: Mapping[str, Series]) -> dict[str, float]:
    return {name: one.median for name, one in series.items()}
