"""Servers as processes: how long they take to start, and how much memory they hold."""

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.contract.errors import NotReady

# Otherwise a channel that was refused tries again after one second, then after 1.6 more, and starts seem so long.
_EAGER = [(f"grpc.{name}_reconnect_backoff_ms", 100) for name in ("initial", "min", "max")]
# Of its own: several processes of tests are seeded alike.
_RANDOM = random.SystemRandom()
_PORTS = (20_000, 32_000)
_GIVEN: set[int] = set()
# A server rests that takes at most this share of a processor for this long: one without calls takes 0.007 of it.
_RESTING_SHARE: Final = 0.02
_RESTING_S: Final = 3.0
_OURS = ("SERVER_", "CLIENT_", "EMBEDDER_", "CLASSIFIER_", "SEARCH_", "REDIS_", "GATEWAY_", "OTEL_")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server.

    Attributes:
        target: its address, "host:port".
        pid: its process id.
        start_s: seconds from its start to SERVING.
    """

    target: str
    pid: int
    start_s: float

    def resident_mib(self) -> float:
        """Returns its resident memory in MiB; only on Linux."""
        return self._memory_mib("VmRSS")

    def peak_mib(self) -> float:
        """Returns the most memory that it held since its start or `reset_peak`, in MiB; only on Linux."""
        return self._memory_mib("VmHWM")

    def reset_peak(self) -> None:
        """Lets `peak_mib` begin anew; only on Linux."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _memory_mib(self, name: str) -> float:
        return memory_mib(self.pid, name)

    def processor_s(self) -> float:
        """Returns the processor time that it has taken, in seconds; only on Linux."""
        return _processor_s(_process_facts(self.pid))

    def all_processor_s(self) -> float:
        """Returns the processor time of it and of the processes that it has started, in seconds; only on Linux."""
        return sum(_processor_s(facts) for facts in _with_started(self.pid).values())

    async def rested(self, timeout_s: float = 180.0) -> bool:
        """Waits until it does no work of its own any more, such as checking all rows after its start; only on Linux.

        Args:
            timeout_s: how long to wait at most, in seconds.

        Returns:
            Whether it rests.
        """
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            before, began = self.all_processor_s(), time.monotonic()
            await asyncio.sleep(_RESTING_S)
            if self.all_processor_s() - before <= _RESTING_SHARE * (time.monotonic() - began):
                return True
        return False


def all_resident_mib(pid: int) -> float:
    """Returns the resident memory of a process and of those that it has started, in MiB; only on Linux."""
    held_mib = memory_mib(pid, "VmRSS")
    for each in _with_started(pid).keys() - {pid}:
        # One that has ended holds none.
        with contextlib.suppress(OSError, NotReady):
            held_mib += memory_mib(each, "VmRSS")
    return held_mib


def peak_mib(pid: int) -> float:
    """Returns the most memory that a process has held, in MiB; only on Linux."""
    return memory_mib(pid, "VmHWM")


def memory_mib(pid: int, name: str) -> float:
    """Returns a figure of the memory of a process, such as "VmRSS" for what is resident, in MiB; only on Linux.

    Raises:
        NotReady: PROCESS_GONE; it has ended.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise NotReady(f"The process {pid} has no resident memory: it has ended.", reason="PROCESS_GONE")


def _with_started(pid: int) -> dict[int, list[str]]:
    """Returns the facts of a process and of those that it has started, by their ids."""
    running = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            # A process may end while its facts are read.
            with contextlib.suppress(OSError):
                running[int(folder.name)] = _process_facts(int(folder.name))
    ours = {pid}
    while started := {each for each, facts in running.items() if int(facts[1]) in ours} - ours:
        ours |= started
    return {each: running[each] for each in ours}


def _process_facts(pid: int) -> list[str]:
    """Returns what Linux tells about a process, from its state on."""
    # The name, in brackets, may hold spaces.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _processor_s(facts: list[str]) -> float:
    return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Returns a free port; not one of those that a system gives to whoever asks for any, before it is used.

    A process gets each once: it may ask for several before it uses them.
    """
    while True:
        port = _RANDOM.randrange(*_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _GIVEN:
                _GIVEN.add(port)
                return port


def start_process(
    module: str, port: int, environment: Mapping[str, str], log: Path, folder: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Starts a server of the product, and does not wait; see `running`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    settings = {
        **inherited,
        "SERVER_PORT": str(port),
        "GATEWAY_PORT": "0",
        **environment,
    }
    with log.open("ab") as output:
        return subprocess.Popen([sys.executable, "-m", module], env=settings, stdout=output, stderr=output, cwd=folder)


@contextlib.contextmanager
def running(
    module: str,
    environment: Mapping[str, str],
    log: Path,
    service: str = "",
    timeout_s: float = 300.0,
    folder: Path | None = None,
) -> Iterator[ServerProcess]:
    """Runs a server of the product within a context.

    Args:
        module: its module, such as "services.stack".
        environment: its settings; those of this process do not count.
        log: the file for its output.
        service: the service to wait for; "" for the whole server.
        timeout_s: the time until SERVING at most, in seconds.
        folder: where another version of the product lies; None for this one.

    Raises:
        NotReady: the server ended, or did not serve in time.
    """
    port = free_port()
    began = time.monotonic()
    process = start_process(module, port, environment, log, folder)
    try:
        wait_until_serving(process, f"127.0.0.1:{port}", service, began + timeout_s, log)
        yield ServerProcess(f"127.0.0.1:{port}", process.pid, time.monotonic() - began)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(60)


@contextlib.contextmanager
def running_echo(answer_bytes: int) -> Iterator[ServerProcess]:
    """Runs the bare echo server."""
    port, began = free_port(), time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "offline.benchmark.echo", str(port), str(answer_bytes)])
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
        yield ServerProcess(f"127.0.0.1:{port}", process.pid, time.monotonic() - began)
    finally:
        process.kill()
        process.wait(20)


def wait_until_serving(process: "subprocess.Popen[bytes]", target: str, service: str, until: float, log: Path) -> None:
    """Waits until a service says SERVING.

    Args:
        process: its process.
        target: its address.
        service: its full name; "" for the whole server.
        until: the end of the wait, as a time of `time.monotonic()`.
        log: the file of its output, for the error.

    Raises:
        NotReady: the process ended, or did not serve in time.
    """
    with grpc.insecure_channel(target, options=_EAGER) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < until:
            if process.poll() is not None:
                raise NotReady(
                    f'The server ended at once. Its log {log} ends with "{end_of_log(log)}".', reason="SERVER_ENDED"
                )
            with contextlib.suppress(grpc.RpcError):
                answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=1.0)  # type: ignore[attr-defined]
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            time.sleep(0.02)
    raise NotReady(
        f'The server did not serve in time. Its log {log} ends with "{end_of_log(log)}".', reason="SERVER_NOT_READY"
    )


def end_of_log(log: Path) -> str:
    """Returns the last line of a log, whose folder may be gone when somebody looks for it; "" where it has none."""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    return next((line.strip()[:500] for line in reversed(lines) if line.strip()), "")
