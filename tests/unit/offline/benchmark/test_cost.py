"""The benchmark of processor time: whose time counts, and what it is compared with."""

import subprocess
import sys

import grpc
import pytest

from offline.benchmark.cost import CostPoint, Costs, measure_loads, send_bytes
from offline.benchmark.processes import ServerProcess, running_echo

# A process that works in a child of its own, says so, and waits.
_PARENT = """
import subprocess, sys
child = "import time\\nwhile time.process_time() < 0.4: pass\\nprint(1, flush=True)\\ninput()"
process = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE)
input()
"""


def test_the_time_of_processes_that_a_server_has_started_counts() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        server = ServerProcess("", process.pid, 0.0)
        assert server.all_processor_s() >= server.processor_s() + 0.25
        process.communicate(b"\n")


async def test_a_server_that_works_on_after_its_start_is_waited_for() -> None:
    work = "import time\nwhile time.process_time() < 2.0: pass\ninput()"
    with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE) as process:
        server = ServerProcess("", process.pid, 0.0)
        assert not await server.rested(0.1)
        assert await server.rested(60.0)
        assert server.all_processor_s() >= 1.9
        process.communicate(b"\n")


def point(load: str, processor_ms: float, batch: float) -> CostPoint:
    return CostPoint(load, 10.0, 0, processor_ms, 0.5, 1.0, 2.0, batch)


def test_a_photograph_is_compared_with_inference_in_batches_as_large_and_a_product_with_its_search() -> None:
    costs = Costs(
        stack={
            "photograph": [point("one caller", 12.0, 1.0), point("saturation", 9.0, 3.7)],
            "product": [point("one caller", 6.0, 0.0), point("saturation", 5.0, 0.0)],
        },
        echo={kind: [point("", 1.0, 0.0), point("", 0.5, 0.0)] for kind in ("photograph", "product")},
    )
    assert costs.batches == [1, 4]
    floors = {"photograph": {"decoding": 0.5, "inference": {1: 5.0, 4: 3.0}, "FAISS": 0.5}, "product": {"FAISS": 2.0}}

    loads = costs.figures(floors)["loads"]

    assert [each["floor_ms"] for each in loads["photograph"].values()] == [7.0, 4.5]
    assert [each["floor_ms"] for each in loads["product"].values()] == [3.0, 2.5]
    assert loads["photograph"]["saturation"]["ratio"] == pytest.approx(2.0)


async def test_each_load_of_a_real_server_is_measured() -> None:
    with running_echo(100) as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            points = await measure_loads(server, None, send_bytes(channel, [b"photograph"]), 0.3, rate=200.0)

    assert [each.load for each in points] == [
        "one caller",
        "20% of saturation",
        "50% of saturation",
        "80% of saturation",
        "saturation",
    ]
    assert all(each.failed == 0 and each.answered > 0 and each.batch == 0 for each in points)
