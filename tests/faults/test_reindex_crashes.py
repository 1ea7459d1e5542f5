"""A stack that is killed at any point of a change of the model has one model or the other, whole, and goes on."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from offline.benchmark.crashes.run import VICTIM
from offline.benchmark.crashes.victim import Order, arm
from tests.support.processes import free_port
from tests.support.reindexing import PREVIOUS, Operator
from tests.support.running import Caller, calling
from tests.support.small_shop import items, rows
from tests.support.waiting import eventually

OLD, NEW = "fake-2048-80x60-0", "fake-2048-80x60-1"


class Stacks:
    """Starts stacks on one data directory, which kill themselves where they are told to."""

    def __init__(self, folder: Path, fork: Callable[[Order], int]) -> None:
        self._folder, self._fork = folder, fork
        self._armed = folder / "armed"
        self._armed.write_text("0 ")
        (folder / "files.jsonl").touch()

    def start(self) -> tuple[str, int]:
        """Starts one; returns its target and its process id, once it serves."""
        port = free_port()
        environment = {
            "SEARCH_DATA_DIR": str(self._folder / "data"),
            "EMBEDDER_RUNTIME": "fake",
            "GATEWAY_ENABLED": "false",
            "SERVER_HOST": "127.0.0.1",
            "SERVER_PORT": str(port),
            "SERVER_QUERY_DEADLINE_S": "20",
            "SEARCH_CANDIDATES_PERIOD_S": "0.2",
        }
        log, journal = str(self._folder / "stack.log"), str(self._folder / "files.jsonl")
        pid = self._fork(Order(log, environment, str(self._armed), journal))
        target = f"127.0.0.1:{port}"
        with grpc.insecure_channel(target) as channel:
            request = health_pb2.HealthCheckRequest(service="fashion.v1.SearchService")
            watch = health_pb2_grpc.HealthStub(channel).Watch(request, timeout=60, wait_for_ready=True)
            for answer in watch:
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return target, pid
        raise AssertionError((self._folder / "stack.log").read_text())

    def arm(self, point: str) -> None:
        """Lets the stack kill itself when it passes a point next."""
        arm(self._armed, point, 1)

    def disarm(self) -> None:
        """Lets it live."""
        arm(self._armed, "", 0)


@contextmanager
def stacks(folder: Path) -> Iterator[Stacks]:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "GRPC_ENABLE_FORK_SUPPORT": "0"}
    pids: list[int] = []
    with (folder / "victim.log").open("ab") as log:
        process = subprocess.Popen(
            VICTIM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
    assert process.stdin is not None and process.stdout is not None

    def fork(order: Order) -> int:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(order.line())
        process.stdin.flush()
        pids.append(int(process.stdout.readline()))
        return pids[-1]

    try:
        yield Stacks(folder, fork)
    finally:
        for pid in pids:
            if lives(pid):
                os.kill(pid, 9)
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        # It may end while that is read.
        return False


def assert_whole(caller: Caller, model: str) -> None:
    """Each product is found by its own photograph, and every answer is of one model."""
    index = caller.index()
    assert (index.model_version, index.product_count, index.outdated_count) == (model, 40, 0)
    for item in items()[::5]:
        found = caller.find(product_id=item.id, top_k=39, include_out_of_stock=True)
        assert found.applied.model_version == model
        assert len(found.products) == 39
        shot = caller.find(image={"content": item.photograph()}, top_k=1, scope="SEARCH_SCOPE_INVENTORY")
        assert (shot.products[0].product.id, shot.applied.model_version) == (item.id, model)
        assert shot.products[0].similarity > 0.999


# The point, and the model that is live after the kill.
POINTS = {
    "before commit of begin": OLD,
    "after commit of add": OLD,
    "after commit of judge": OLD,
    "before commit of switch": OLD,
    "after commit of switch": NEW,
}


@pytest.mark.skipif(sys.platform != "linux", reason="It looks into /proc.")
def test_a_kill_at_any_point_leaves_one_model_whole_and_the_change_goes_on(tmp_path: Path) -> None:
    with stacks(tmp_path) as made:
        target, pid = made.start()
        with calling(target) as caller:
            caller.upsert(rows())
        former, wanted = OLD, NEW
        took_s: list[float] = []
        for point, after in POINTS.items():
            made.arm(point)
            with calling(target) as caller:
                try:
                    Operator(caller.channel).start("fake-1" if wanted == NEW else "fake-0")
                except grpc.RpcError as error:
                    # It is killed before it can answer.
                    assert error.code() is grpc.StatusCode.UNAVAILABLE, error
            eventually(lambda pid=pid: not lives(pid), f"It has not passed {point!r}.")
            made.disarm()
            live = {OLD: former, NEW: wanted}[after]
            target, pid = made.start()
            with calling(target) as caller:
                operator = Operator(caller.channel)
                if point == "before commit of begin":
                    # Nothing has begun.
                    assert_whole(caller, live)
                    assert not operator.state().HasField("other")
                    continue
                if live == wanted:
                    assert operator.state().live.model_version == wanted
                operator.until(PREVIOUS)
                assert_whole(caller, wanted)
                took_s += [operator.timed_rollback()]
                assert_whole(caller, former)
                took_s += [operator.timed_rollback()]
                operator.end()
                assert_whole(caller, wanted)
            former, wanted = wanted, former
        # Not each of them: the machine may have been busy with something else.
        assert median(took_s) < 1, took_s


@pytest.mark.skipif(sys.platform != "linux", reason="It looks into /proc.")
def test_a_kill_while_it_is_ended_loses_no_embedding(tmp_path: Path) -> None:
    with stacks(tmp_path) as made:
        target, pid = made.start()
        with calling(target) as caller:
            caller.upsert(rows())
        for number, point in enumerate(("after commit of drop_other", "before commit of tidy"), 1):
            with calling(target) as caller:
                operator = Operator(caller.channel)
                operator.start(f"fake-{number}")
                operator.until(PREVIOUS)
                made.arm(point)
                try:
                    operator.end()
                except grpc.RpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE, error
            eventually(lambda pid=pid: not lives(pid), f"It has not passed {point!r}.")
            made.disarm()
            target, pid = made.start()
            with calling(target) as caller:
                assert_whole(caller, f"fake-2048-80x60-{number}")
                assert not Operator(caller.channel).state().HasField("other")
