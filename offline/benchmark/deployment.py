"""The services as processes of their own, as compose runs them: restarted on their ports, and measured."""

import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from offline.benchmark.processes import end_of_log, free_port, memory_mib, start_process, wait_until_serving
from offline.benchmark.proxy import Proxy, proxies
from services.contract.errors import NotReady
from services.stack.embedded_redis import EmbeddedRedis, embedded_redis

# Settings under which a busy machine does not look like a fault.
PATIENT: Final = {
    "SERVER_QUERY_DEADLINE_S": "30",
    "GATEWAY_DEADLINE_S": "30",
    "SEARCH_EMBEDDER_TIMEOUT_S": "30",
    "SEARCH_CLASSIFIER_TIMEOUT_S": "30",
    "SEARCH_PREFERENCES_TIMEOUT_S": "30",
}
_START_S: Final = 300.0
_STOP_S: Final = 60.0
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds; only on Linux.

    Attributes:
        resident_mib: memory, in MiB.
        threads: their number.
        files: open files, sockets included.
    """

    resident_mib: float
    threads: int
    files: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Returns what a process holds now.

        Raises:
            NotReady: PROCESS_GONE; it has ended.
        """
        resident_mib = memory_mib(pid, "VmRSS")
        threads, files = (sum(1 for _ in Path(f"/proc/{pid}/{folder}").iterdir()) for folder in ("task", "fd"))
        return cls(resident_mib, threads, files)


class Part:
    """One service, which can be stopped and started again on its port.

    Attributes:
        name: such as "embedder".
        target: its address, "host:port".
    """

    def __init__(self, name: str, service: str, environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._service = service
        self._port = free_port()
        self.target = f"127.0.0.1:{self._port}"
        self._environment, self._log = dict(environment), log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of its process."""
        if self._process is None:
            raise NotReady(f"The {self.name} has not been started.", reason="PROCESS_GONE")
        return self._process.pid

    def start(self) -> None:
        """Starts it, and waits until it serves.

        Raises:
            NotReady: it ended, or does not serve in time.
        """
        port = str(self._port)
        environment = {**self._environment, **({"GATEWAY_PORT": port} if self._service == "gateway" else {})}
        self._process = start_process(f"services.{self._service}", self._port, environment, self._log)
        until = time.monotonic() + _START_S
        if self._service != "gateway":
            wait_until_serving(self._process, self.target, "", until, self._log)
            return
        while time.monotonic() < until and self._process.poll() is None:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://{self.target}/readyz", timeout=5).status_code == 200:
                    return
            time.sleep(_POLL_S)
        raise NotReady(
            f'The gateway does not serve. Its log {self._log} ends with "{end_of_log(self._log)}".',
            reason="SERVER_NOT_READY",
        )

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ends it, and waits until it has ended."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_S)


@dataclass(frozen=True, slots=True)
class Deployment:
    """All services, and a Redis.

    Attributes:
        embedders: at least one.
        classifier: the only one.
        search: the only one.
        gateways: at least one.
        redis: the server of Redis.
        proxies: of "redis", "embedder" (the first), "classifier" and "search"; none where there are none.
    """

    embedders: tuple[Part, ...]
    classifier: Part
    search: Part
    gateways: tuple[Part, ...]
    redis: EmbeddedRedis
    proxies: Mapping[str, Proxy]

    def parts(self) -> tuple[Part, ...]:
        """Lists the services, in the order in which they need one another."""
        return (*self.embedders, self.classifier, self.search, *self.gateways)

    def usage(self) -> dict[str, Usage]:
        """Returns what each process holds now, Redis included."""
        usage = {part.name: Usage.of(part.pid) for part in self.parts()}
        return usage | {"redis": Usage.of(self.redis.server_pid)}

    @property
    def url(self) -> str:
        """The URL of the first gateway."""
        return f"http://{self.gateways[0].target}"


@contextmanager
def deployed(
    folder: Path,
    *,
    embedders: int = 1,
    gateways: int = 1,
    environment: Mapping[str, str] | None = None,
    search: Mapping[str, str] | None = None,
    behind_proxies: bool = False,
) -> Iterator[Deployment]:
    """Runs all services within a context.

    Args:
        folder: for their logs and data.
        embedders: how many there are.
        gateways: how many there are.
        environment: settings of all.
        search: settings of search.
        behind_proxies: whether search and the gateways reach what they ask through proxies, which can do harm.

    Raises:
        NotReady: one of them does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    everywhere = {"SERVER_LOG_LEVEL": "warning", **(environment or {})}
    with ExitStack() as stack:
        redis = stack.enter_context(embedded_redis(folder / "redis"))
        between: dict[str, Proxy] = {}

        def reached(name: str, to: str) -> str:
            """Returns where others reach something."""
            if behind_proxies:
                (between[name],) = stack.enter_context(proxies(to))
                return between[name].target
            return to

        redis_url = f"redis://{reached('redis', urlsplit(redis.url).path)}" if behind_proxies else redis.url

        def part(service: str, number: int, own: Mapping[str, str]) -> Part:
            name = service if number == 1 else f"{service} {number}"
            given = {"REDIS_URL": redis_url, **everywhere, **own}
            return Part(name, service, given, folder / f"{name.replace(' ', '-')}.log")

        embedder_parts = tuple(part("embedder", number + 1, {}) for number in range(embedders))
        first, *others = [each.target for each in embedder_parts]
        embedder_target = "ipv4:" + ",".join((reached("embedder", first), *others))
        # The classifier asks the embedder as it starts alone.
        classifier = part("classifier", 1, {"CLASSIFIER_EMBEDDER_TARGET": first})
        targets = {
            "SEARCH_EMBEDDER_TARGET": embedder_target,
            "SEARCH_CLASSIFIER_TARGET": reached("classifier", classifier.target),
        }
        search_part = part("search", 1, {"SEARCH_DATA_DIR": str(folder / "data"), **targets, **(search or {})})
        asking = {"GATEWAY_SEARCH_TARGET": reached("search", search_part.target), "GATEWAY_TOKEN_FREE": "true"}
        gateway_parts = tuple(part("gateway", number + 1, asking) for number in range(gateways))
        deployment = Deployment(embedder_parts, classifier, search_part, gateway_parts, redis, between)
        try:
            for each in deployment.parts():
                each.start()
            yield deployment
        finally:
            for each in reversed(deployment.parts()):
                each.stop()
