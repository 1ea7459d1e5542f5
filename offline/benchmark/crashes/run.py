"""Kills a stack again and again, and compares every product, photograph and dislike with what was acknowledged."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.crashes.power_cut import cut_power
from offline.benchmark.crashes.victim import POINTS, Order, arm
from offline.benchmark.crashes.writer import State, describe
from offline.benchmark.processes import free_port
from services.contract.errors import NotReady
from services.search.indexes.snapshot_file import FILE

VICTIM: Final = (sys.executable, "-m", "offline.benchmark.crashes.victim")
# A moment: while it is written to, and while it starts. Two damage the snapshot of the index beside that.
MOMENTS: Final = ("at random", "while it starts", "snapshot cut", "snapshot flipped")
_START_S: Final = 60.0
# How long a point may take to be reached; afterwards the stack is killed wherever it is.
_POINT_S: Final = 4.0
_MAX_PASSAGE: Final = 6
# Bytes that are flipped together.
_SECTOR: Final = 512
# Of a similarity, between what is stored in float16 and the norm of 1 that callers get.
_SIMILARITY_WITHIN: Final = 1e-4
_WRITTEN: Final = "snapshot of the index written"
_USED: Final = "snapshot of the index used"
_NOT_USED: Final = "snapshot of the index is not used"
_DIMENSION: Final = 2048

Say = Callable[[str], None]


class Lost(Exception):
    """A stack does not have what it acknowledged, or has what it must not have."""


@dataclass(slots=True)
class Kills:
    """What was done, and what came of it.

    Attributes:
        kills: how many, by moment or point.
        reached: how many points were reached.
        power_cuts: how many kills took what was not synchronised.
        acknowledged: writes that were acknowledged.
        under_way: writes that were not, and are there whole.
        not_there: writes that were not, and are not there at all.
        compared: products compared.
        restored: starts from a snapshot of the index.
        refused: snapshots that were damaged on purpose, and refused.
        lost: what is wrong, a line each.
    """

    kills: Counter[str] = field(default_factory=Counter)
    reached: int = 0
    power_cuts: int = 0
    acknowledged: int = 0
    under_way: int = 0
    not_there: int = 0
    compared: int = 0
    restored: int = 0
    refused: int = 0
    lost: list[str] = field(default_factory=list)


def kill_repeatedly(
    kills: int,
    seed: int,
    say: Say = lambda text: None,
    *,
    moments: Sequence[str] = (*MOMENTS, *POINTS),
    victim: Sequence[str] = VICTIM,
) -> Mapping[str, Any]:
    """Kills a stack of its own, each time beside writes, until something is lost.

    Args:
        kills: how often.
        seed: of all that is random.
        say: takes a line now and then.
        moments: when it is killed, by turns: of `MOMENTS` and `POINTS`. Every other kill is a power cut.
        victim: the command of `victim`.

    Returns:
        The figures; `lost` is empty where nothing was.
    """
    began = time.monotonic()
    with TemporaryDirectory() as folder, _victim(victim, Path(folder)) as fork:
        harness = _Harness(Path(folder), fork, Random(seed))
        for number in range(kills):
            try:
                harness.cycle(moments[number % len(moments)], power_cut=bool(number // len(moments) % 2 == number % 2))
            except Lost as lost:
                harness.kills.lost.append(f"kill {number + 1}, {moments[number % len(moments)]}: {lost}")
                break
            if (number + 1) % 50 == 0:
                say(f"{number + 1:,} kills, {time.monotonic() - began:.0f} s")
    figures = harness.kills
    return {
        "kills": figures.kills.total(),
        "moments": dict(figures.kills),
        "points_reached": figures.reached,
        "power_cuts": figures.power_cuts,
        "acknowledged": figures.acknowledged,
        "under_way_and_whole": figures.under_way,
        "under_way_and_not_there": figures.not_there,
        "compared": figures.compared,
        "starts_from_a_snapshot": figures.restored,
        "damaged_snapshots_refused": figures.refused,
        "lost": figures.lost,
        "seed": seed,
        "seconds": round(time.monotonic() - began),
    }


@contextmanager
def _victim(command: Sequence[str], folder: Path) -> Iterator[Callable[[Order], int]]:
    """Runs what forks stacks; yields a function that has an order carried out, and returns the process id."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SERVER_", "EMBEDDER_", "CLASSIFIER_", "SEARCH_", "REDIS_", "GATEWAY_"))
    }
    environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "GRPC_ENABLE_FORK_SUPPORT": "0"}
    with (folder / "victim.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
    assert process.stdin is not None and process.stdout is not None
    pids: list[int] = []

    def fork(order: Order) -> int:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(order.line())
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise NotReady(f"The victim ended: {(folder / 'victim.log').read_text()}", reason="SERVER_ENDED")
        pids.append(int(answer))
        return pids[-1]

    try:
        yield fork
    finally:
        for pid in pids:
            _kill(pid)
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


class _Harness:
    """A data directory, the stack on it, and what it must hold."""

    def __init__(self, folder: Path, fork: Callable[[Order], int], random: Random) -> None:
        self.kills = Kills()
        self._folder, self._fork, self._random = folder, fork, random
        self._data = folder / "data"
        self._journal = folder / "files.jsonl"
        self._journal.touch()
        self._armed = folder / "armed"
        self._running: tuple[int, int] | None = None
        self._state: State = {}
        # Writes that were under way at a kill: what each makes of the state, all of it or nothing.
        self._under_way: list[State] = []
        self._version = 0
        # Whether a snapshot must be there, and where the log of the present start begins.
        self._snapshot = False
        self._log_start = 0

    def cycle(self, moment: str, *, power_cut: bool) -> None:
        """Starts, writes, kills, starts again and compares.

        Raises:
            Lost: something is not as it must be.
        """
        self.kills.kills[moment] += 1
        at_point = moment in POINTS
        # Between two snapshots lies about half a second.
        passage = self._random.randint(1, 2 if moment.startswith("snapshot") else _MAX_PASSAGE)
        port, pid = self._running or self._served()
        arm(self._armed, moment if at_point else "", passage)
        log = self._folder / f"writes-{self.kills.kills.total()}.jsonl"
        writing = {"log": str(log), "target": f"127.0.0.1:{port}", "seed": self._random.randrange(2**31)}
        writer = self._fork(Order(str(self._folder / "writer.log"), writer={**writing, "state": self._state}))
        if at_point:
            self.kills.reached += _ends_within(pid, _POINT_S)
        else:
            # On a busy machine the first write takes its time.
            until = time.monotonic() + _POINT_S
            while not (log.exists() and log.stat().st_size) and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(self._random.uniform(0.05, 0.6))
        _kill(pid)
        if not _ends_within(writer, 30):
            raise Lost("the writer did not end")
        self._read(log)
        arm(self._armed, "", 0)
        self._snapshot |= _WRITTEN in self._stack_log()
        if moment == "while it starts":
            _, pid = self._start()
            time.sleep(self._random.uniform(0, 0.6))
            _kill(pid)
            self._snapshot |= _WRITTEN in self._stack_log()
        if power_cut:
            self.kills.power_cuts += 1
            cut_power(self._data, self._journal)
        damaged = moment.startswith("snapshot ") and not at_point and self._damage(moment)
        self._running = self._served()
        self._check_snapshot(damaged)
        self._compare(self._running[0])

    def _damage(self, moment: str) -> bool:
        """Cuts off a part of the snapshot, or flips bits of a sector; returns whether there is one."""
        path = self._data / FILE
        if not path.is_file():
            return False
        content = bytearray(path.read_bytes())
        place = self._random.randrange(len(content))
        if moment == "snapshot cut":
            del content[place:]
        else:
            content[place : place + _SECTOR] = self._random.randbytes(len(content[place : place + _SECTOR]))
        path.write_bytes(content)
        return True

    def _check_snapshot(self, damaged: bool) -> None:
        """Holds the start to the snapshot that is there.

        Raises:
            Lost: it was not used, or was used although it is damaged.
        """
        log = self._stack_log()
        used = _USED in log
        if damaged and (used or _NOT_USED not in log):
            raise Lost("a damaged snapshot of the index was used")
        if self._snapshot and not damaged and not used:
            raise Lost(f"the snapshot of the index that was written was not used: {log[-1500:]}")
        self.kills.restored += used
        self.kills.refused += damaged
        self._snapshot = used

    def _stack_log(self) -> str:
        """Returns what the stack has logged since it was started last."""
        log = self._folder / "stack.log"
        return log.read_bytes()[self._log_start :].decode(errors="replace") if log.exists() else ""

    def _served(self) -> tuple[int, int]:
        port, pid = self._start()
        self._wait(port, pid)
        return port, pid

    def _start(self) -> tuple[int, int]:
        port = free_port()
        environment = {
            "SEARCH_DATA_DIR": str(self._data),
            "SEARCH_SNAPSHOT_MIN_CHANGES": "1",
            "SEARCH_SNAPSHOT_CHANGED_SHARE": "0.001",
            "SEARCH_SNAPSHOT_PAUSE_S": "0.05",
            "EMBEDDER_RUNTIME": "fake",
            "GATEWAY_ENABLED": "false",
            "SERVER_HOST": "127.0.0.1",
            "SERVER_PORT": str(port),
            "SERVER_QUERY_DEADLINE_S": "20",
        }
        log = self._folder / "stack.log"
        self._log_start = log.stat().st_size if log.exists() else 0
        return port, self._fork(Order(str(log), environment, str(self._armed), str(self._journal)))

    def _wait(self, port: int, pid: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            until = time.monotonic() + _START_S
            while time.monotonic() < until and _lives(pid):
                with suppress(grpc.RpcError):
                    answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                time.sleep(0.01)
        tail = (self._folder / "stack.log").read_text()[-1500:]
        raise Lost(f"the stack does not start again: {tail}")

    def _read(self, log: Path) -> None:
        """Takes over what was acknowledged, and what was under way."""
        begun: dict[int, State] = {}
        for line in log.read_text().splitlines() if log.exists() else ():
            event = json.loads(line)
            match event["event"]:
                case "begun":
                    begun[event["worker"]] = event["after"]
                case "acknowledged":
                    self._state.update(begun.pop(event["worker"]))
                    self._version = max(self._version, event["index_version"])
                    self.kills.acknowledged += 1
                case "refused":
                    raise Lost(f"a write was refused: {event['reason']}")
                case "lost" if event["code"] not in {"UNAVAILABLE", "CANCELLED", "UNKNOWN"}:
                    raise Lost(f"a write ended with {event['code']}: {event['text']}")
        self._under_way = [*begun.values()]

    def _compare(self, port: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = search_pb2_grpc.SearchServiceStub(channel)
            there = self._products(stub)
            for name in {*self._state}.union(*self._under_way):
                if name.startswith("user "):
                    request = search_pb2.ListDislikedColoursRequest(user_id=name.removeprefix("user "))
                    colours = stub.ListDislikedColours(request, timeout=20).colours
                    there[name] = {each.colour: each.exact for each in colours} or None
            self._settle(there)
            self._search(stub, there)
        self._photographs()

    def _products(self, stub: Any) -> State:
        page = stub.ListProducts(search_pb2.ListProductsRequest(page_size=500), timeout=20)
        there: State = {}
        for product in page.products:
            self.kills.compared += 1
            photograph, embedding = "", ""
            if product.photograph_absent:
                found = stub.GetProduct(
                    search_pb2.GetProductRequest(product_id=product.id, include_embedding=True), timeout=20
                )
                values = np.array(found.embedding.values, dtype=np.float32)
                embedding = hashlib.sha256(values.astype("<f2").tobytes()).hexdigest()
            else:
                try:
                    content = stub.GetPhotograph(
                        search_pb2.GetPhotographRequest(product_id=product.id), timeout=20
                    ).content
                except grpc.RpcError as error:
                    status: Any = error
                    raise Lost(f"the photograph of {product.id}: {status.code().name}, {status.details()}") from None
                photograph = hashlib.sha256(content).hexdigest()
            there[f"product {product.id}"] = {
                "product": describe(product),
                "photograph": photograph,
                "embedding": embedding,
            }
        return there

    def _settle(self, there: State) -> None:
        """Holds what is there to what must be, and takes over what became of writes that were under way.

        Raises:
            Lost: they differ.
        """
        for after in self._under_way:
            found = [there.get(name) == value for name, value in after.items()]
            before = [there.get(name) == self._state.get(name) for name in after]
            if all(found):
                self._state.update(after)
                self.kills.under_way += 1
            elif all(before):
                self.kills.not_there += 1
            else:
                raise Lost(f"a write that was under way is there in part: {sorted(after)}")
        self._under_way = []
        for name in sorted({*there, *self._state}):
            if there.get(name) != self._state.get(name):
                raise Lost(f"{name} is {_brief(there.get(name))}, not {_brief(self._state.get(name))}")

    def _search(self, stub: Any, there: State) -> None:
        """Holds the index to the catalogue."""
        index = stub.GetIndex(search_pb2.GetIndexRequest(), timeout=20)
        if index.index_version < self._version:
            raise Lost(f"the version went back from {self._version} to {index.index_version}")
        self._version = index.index_version
        query = types_pb2.Embedding(values=[_DIMENSION**-0.5] * _DIMENSION, model_version=index.model_version)
        answer = stub.FindSimilar(
            search_pb2.FindSimilarRequest(
                embedding=query,
                top_k=100,
                scope=search_pb2.SEARCH_SCOPE_INVENTORY,
                include_out_of_stock=True,
                collapse=search_pb2.COLLAPSE_NONE,
            ),
            timeout=20,
        )
        found = sorted(each.product.id for each in answer.products)
        expected = sorted(
            name.removeprefix("product ") for name, value in there.items() if value and name.startswith("product ")
        )
        if found != expected:
            raise Lost(f"found are {found}, not {expected}")
        for each in answer.products:
            request = search_pb2.GetProductRequest(product_id=each.product.id, include_embedding=True)
            similarity = float(np.dot(query.values, stub.GetProduct(request, timeout=20).embedding.values))
            if abs(similarity - each.similarity) > _SIMILARITY_WITHIN:
                raise Lost(f"the similarity of {each.product.id} is {each.similarity}, not {similarity}")

    def _photographs(self) -> None:
        """Looks for photographs that belong to nobody."""
        with sqlite3.connect(f"file:{self._data / 'catalogue.sqlite3'}?mode=ro", uri=True) as database:
            owned = {
                row[0]
                for row in database.execute(
                    "SELECT photograph_sha256 FROM products UNION SELECT sha256 FROM removed_photographs"
                )
            }
        folder = self._data / "photographs"
        stray = [
            path.parent.name + path.name for path in folder.glob("??/*") if path.parent.name + path.name not in owned
        ]
        stray += [path.name for path in (folder / "incoming").iterdir()]
        if stray:
            raise Lost(f"photographs that belong to nobody: {stray}")


def _brief(value: Any) -> str:
    return "not there" if value is None else str(value)[:200]


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _ends_within(pid, 20)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _ends_within(pid: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while _lives(pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True
