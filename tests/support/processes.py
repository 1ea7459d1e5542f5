"""Runs services as processes of their own, as compose does, and ends them one way or another."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from offline.benchmark.processes import free_port as free_port
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
_OURS = ("SERVER_", "CLIENT_", "EMBEDDER_", "CLASSIFIER_", "SEARCH_", "REDIS_", "GATEWAY_", "OTEL_")
# What lets other machines in.
EXPOSED = {"SERVER_ALLOW_PLAINTEXT": "true", "SERVER_ALLOW_WITHOUT_KEYS": "true"}


def run_to_end(module: str, **environment: str) -> tuple[int, str]:
    """Runs a module that is to end by itself; returns its exit status and its output."""
    with tempfile.TemporaryFile() as log:
        status = subprocess.call(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env={**os.environ, "SERVER_PORT": "0", **environment},
            stdout=log,
            stderr=log,
            timeout=60,
        )
        log.seek(0)
        return status, log.read().decode()


def imported(arguments: list[str], code: int) -> set[str]:
    """Runs a command in a process of its own; returns the modules that it has imported."""
    script = (
        "import sys; from cli.main import run; code = run(sys.argv[1:]); "
        "print('imported', *sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("imported")]
    return set(line.split()[1:])


@dataclass
class Service:
    """A service that can be started, stopped, killed and started again on the same port."""

    module: str
    grpc_name: str
    port: int
    environment: Mapping[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the process and does not wait."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module],
                cwd=ROOT,
                env={
                    **inherited,
                    "SERVER_PORT": str(self.port),
                    "GATEWAY_PORT": "0",
                    "OMP_WAIT_POLICY": "PASSIVE",
                    **self.environment,
                },
                stdout=log,
                stderr=log,
            )

    def wait_until_serving(self, timeout_s: float = 60) -> None:
        """Waits until its health says SERVING."""
        with grpc.insecure_channel(self.target) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(service=self.grpc_name), timeout=timeout_s, wait_for_ready=True
            )
            for answer in watch:
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
        raise AssertionError(f"{self.module} ended: {self.log.read_text()}")

    def kill(self) -> None:
        """Kills it, as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)

    def terminate(self) -> int:
        """Asks it to drain; returns its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def output(self) -> str:
        """Returns all that it logged."""
        return self.log.read_text()


@dataclass
class Services:
    """Three services as processes of their own."""

    embedder: Service
    classifier: Service
    search: Service

    def all(self) -> tuple[Service, ...]:
        """Lists them, in the order in which they need one another."""
        return self.embedder, self.classifier, self.search


def gateway_service(directory: Path, search_target: str, **environment: str) -> tuple[Service, str]:
    """Returns a gateway that has not been started, and its URL."""
    port = free_port()
    settings = {"GATEWAY_PORT": str(port), "GATEWAY_SEARCH_TARGET": search_target, "GATEWAY_DEADLINE_S": "20"}
    gateway = Service("services.gateway", "", port, settings | environment, directory / "gateway.log")
    return gateway, f"http://127.0.0.1:{port}"


def wait_until_ready(url: str) -> None:
    """Waits until a gateway says that it is ready."""
    eventually(partial(_is_ready, url), "the gateway is not ready")


def _is_ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    return False


@contextlib.contextmanager
def services(
    directory: Path, redis_url: str, everywhere: Mapping[str, str] = MappingProxyType({}), **search: str
) -> Iterator[Services]:
    """Runs embedder (with the fake encoder), classifier and search, all SERVING, for as long as the context lasts.

    Args:
        directory: of their logs, and of search's data.
        redis_url: their Redis.
        everywhere: variables of all three.
        search: variables of search.
    """
    embedder_port, classifier_port, search_port = free_port(), free_port(), free_port()
    shared = {
        "REDIS_URL": redis_url,
        "SERVER_QUERY_DEADLINE_S": "20",
        "SERVER_GRACE_S": "5",
        **everywhere,
    }
    embedder_target = f"127.0.0.1:{embedder_port}"
    made = Services(
        Service(
            "services.embedder",
            "fashion.v1.EmbedderService",
            embedder_port,
            {"EMBEDDER_RUNTIME": "fake", **shared},
            directory / "embedder.log",
        ),
        Service(
            "services.classifier",
            "fashion.v1.ClassifierService",
            classifier_port,
            {
                "CLASSIFIER_BUNDLE": "imagenet",
                **shared,
                "CLASSIFIER_EMBEDDER_TARGET": embedder_target,
                "CLASSIFIER_FOLLOW_PERIOD_S": "0.1",
            },
            directory / "classifier.log",
        ),
        Service(
            "services.search",
            "fashion.v1.SearchService",
            search_port,
            {
                **shared,
                "SEARCH_DATA_DIR": str(directory / "data"),
                "SEARCH_EMBEDDER_TARGET": embedder_target,
                "SEARCH_CLASSIFIER_TARGET": f"127.0.0.1:{classifier_port}",
                # A busy machine is no fault of theirs.
                **{f"SEARCH_{name}_TIMEOUT_S": "10" for name in ("EMBEDDER", "CLASSIFIER", "PREFERENCES")},
                "SEARCH_CANDIDATES_PAUSE_S": "0.1",
                "SEARCH_CANDIDATES_PERIOD_S": "0.2",
                **search,
            },
            directory / "search.log",
        ),
    )
    try:
        for service in made.all():
            service.start()
        for service in made.all():
            service.wait_until_serving()
        yield made
    finally:
        for service in made.all():
            if service.process is not None and service.process.poll() is None:
                service.kill()
