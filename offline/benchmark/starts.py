"""How long a start takes: from a snapshot of the index or without, warm or cold, after an orderly stop or a kill."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.processes import ServerProcess, running
from services.stack.embedded_redis import redis_url_or_embedded

WITH: Final = "from the snapshot"
AFTER_KILL: Final = "from the snapshot, killed while it was written to"
WITHOUT: Final = "without a snapshot"
COLD: Final = ", cold"
_STACK, _SEARCH = "services.stack", "services.search"
_WITHOUT_INDEX: Final = ("services.embedder", "services.classifier")
_PROCESSES: Final = (_STACK, _SEARCH, *_WITHOUT_INDEX, "services.gateway")
_CHANGES: Final = 1000
_BATCH: Final = 500
_OFF: Final = {"SEARCH_SNAPSHOT": "false"}


def measure_starts(data: Path, product_ids: Sequence[str], rounds: int) -> dict[str, Any]:
    """Starts the stack, and services as processes of their own, in each way by turns.

    Args:
        data: the data directory; a copy of it is written to.
        product_ids: products whose stock is changed before a kill.
        rounds: how often.

    Returns:
        Seconds, one value a round. By module and way: from the start of a process to SERVING, what of it the index
        takes where there is one, and the time of processors. By module: the imports.
    """
    figures: dict[str, dict[str, list[float]]] = {"imports": {}, "starts": {}, "index": {}, "processors": {}}
    with ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        copy = Path(shutil.copytree(data, folder / "data", ignore=shutil.ignore_patterns("redis", "*.lock")))
        settings = resources.enter_context(_others(folder))
        log = folder / "log"

        def start(module: str, way: str, environment: Mapping[str, str], *, kill: bool = False) -> None:
            log.write_text("")
            with running(module, {**settings, **environment, "SEARCH_DATA_DIR": str(copy)}, log) as server:
                if kill:
                    _write(server, product_ids)
                    os.kill(server.pid, signal.SIGKILL)
                    return
                processor_s = server.processor_s()
            name = f"{module}, {way}" if way else module
            measured = {"starts": server.start_s, "processors": processor_s}
            if module not in _WITHOUT_INDEX:
                measured["index"] = _index_s(log)
            for kind, seconds in measured.items():
                figures[kind].setdefault(name, []).append(seconds)

        # The first start brings the copy up to date, and its stop leaves a snapshot.
        start(_STACK, "first", {})
        for values in figures.values():
            values.clear()
        for _ in range(rounds):
            for module in _PROCESSES:
                figures["imports"].setdefault(module, []).append(_import_s(module))
            for module in _WITHOUT_INDEX:
                start(module, "", {})
            for module in (_STACK, _SEARCH):
                start(module, WITHOUT, _OFF)
                start(module, WITH, {})
                start(module, "", {}, kill=True)
                start(module, AFTER_KILL, {})
            for way, environment in ((WITHOUT, _OFF), (WITH, {})):
                forget(copy)
                start(_STACK, way + COLD, environment)
    return {**figures, "changes": _CHANGES}


def forget(data: Path) -> None:
    """Lets the system forget the files of a data directory, so that the next start reads them from the disk."""
    os.sync()
    for path in data.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


@contextmanager
def _others(folder: Path) -> Iterator[dict[str, str]]:
    """Runs what search as a process of its own asks; yields its settings."""
    with ExitStack() as stack:
        redis = stack.enter_context(redis_url_or_embedded("", folder / "redis"))
        embedder = stack.enter_context(running("services.embedder", {}, folder / "embedder.log"))
        shared = {"REDIS_URL": redis, "CLASSIFIER_EMBEDDER_TARGET": embedder.target}
        classifier = stack.enter_context(running("services.classifier", shared, folder / "classifier.log"))
        yield {
            **shared,
            "SEARCH_EMBEDDER_TARGET": embedder.target,
            "SEARCH_CLASSIFIER_TARGET": classifier.target,
        }


def _write(server: ServerProcess, product_ids: Sequence[str]) -> None:
    """Changes the stock of products, so that the next start has something to read again."""
    ids = random.Random(server.pid).sample(list(product_ids), min(_CHANGES, len(product_ids)))
    in_stock = server.pid % 2 == 0
    with grpc.insecure_channel(server.target) as channel:
        stub: Any = search_pb2_grpc.SearchServiceStub(channel)
        for begin in range(0, len(ids), _BATCH):
            request = search_pb2.UpdateProductsRequest(update_mask=FieldMask(paths=["in_stock", "season"]))
            for product_id in ids[begin : begin + _BATCH]:
                product = types_pb2.Product(id=product_id, in_stock=in_stock, season=f"Season {server.pid}")
                request.updates.add(product=product)
            stub.UpdateProducts(request, timeout=60)


def _index_s(log: Path) -> float:
    """Returns how long the index took, as the log says."""
    events = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return next(float(event["seconds"]) for event in events if event["event"] == "index loaded")


def _import_s(module: str) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import {module}.__main__"], check=True)
    return time.monotonic() - began
