"""The services with what compose gives them: TLS, certificates that count as keys, nobody else let in."""

import contextlib
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml

from cli.main import run
from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from services.serving.status import error_info
from tests.support.processes import ROOT, Service, free_port, run_to_end
from tests.support.small_shop import photograph, rows
from tests.support.waiting import eventually

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
NAMES = ("embedder", "classifier", "search", "gateway")


def environment(name: str, folder: Path, ports: Mapping[str, int], redis_url: str) -> dict[str, str]:
    """What compose sets, with the places of this machine."""
    given = {}
    for variable, value in COMPOSE[name]["environment"].items():
        value = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)
        for mount in COMPOSE[name].get("volumes", ()):
            volume, place = mount.split(":")[:2]
            value = value.replace(place, str(folder / volume.removeprefix("tls-")))
        for service, port in ports.items():
            if value.startswith(f"dns:///{service}:"):
                value = f"127.0.0.1:{port}"
        if variable == "REDIS_URL":
            given[variable] = redis_url
        elif not variable.startswith("REDIS_"):
            # The Redis of the tests knows no users; that of compose has tests of its own.
            given[variable] = value
    # As in its image.
    return {**given, "SERVER_HOST": "0.0.0.0", "SERVER_QUERY_DEADLINE_S": "20"}


def test_the_step_before_the_others_gives_each_service_its_files_and_nothing_else(tmp_path: Path) -> None:
    source, target = tmp_path / "from", tmp_path / "to"
    assert run(["certificates", "create", str(source)]) == 0
    (*shell, script) = COMPOSE["certificates"]["command"]
    mounts = {each.split(":")[1]: each.split(":")[0] for each in COMPOSE["certificates"]["volumes"] if ":" in each}
    for place in mounts:
        (target / place.removeprefix("/to/")).mkdir(parents=True)
    owner = source.stat()
    script = re.sub(r"\b\d+:\d+\b", f"{owner.st_uid}:{owner.st_gid}", script.replace("$$", "$"))
    script = script.replace("/from/", f"{source}/").replace("/to/", f"{target}/")
    for _ in range(2):
        subprocess.run([*shell, script], check=True)
    files = {str(file.relative_to(target)): file for file in target.rglob("*") if file.is_file()}
    tls = {f"{name}/{file}" for name in (*NAMES, "redis") for file in ("tls.crt", "tls.key", "ca.crt")}
    assert files.keys() == {*tls, "keys/keys.json", "redis-password/password"}
    # The container's user and group read them, and nobody else.
    assert all(file.stat().st_mode & 0o777 == 0o440 for file in files.values())
    # Each container mounts the volume that was filled for it.
    for name in NAMES:
        assert f"tls-{name}" == mounts[f"/to/{name}"]
        assert COMPOSE[name]["depends_on"]["certificates"] == {"condition": "service_completed_successfully"}


@contextlib.contextmanager
def secured(directory: Path, redis_url: str) -> Iterator[tuple[dict[str, Service], Path, int]]:
    folder = directory / "certificates"
    assert run(["certificates", "create", str(folder)]) == 0
    ports = {name: free_port() for name in NAMES}
    own = {
        "embedder": {"EMBEDDER_RUNTIME": "fake"},
        "classifier": {"CLASSIFIER_BUNDLE": "imagenet", "CLASSIFIER_FOLLOW_PERIOD_S": "0.1"},
        "search": {"SEARCH_DATA_DIR": str(directory / "data")},
        "gateway": {"GATEWAY_PORT": str(ports["gateway"])},
    }
    services = {}
    try:
        for name in NAMES:
            variables = {**environment(name, folder, ports, redis_url), **own[name]}
            service = Service(f"services.{name}", "", ports[name], variables, directory / f"{name}.log")
            service.start()
            services[name] = service
        yield services, folder, ports["gateway"]
    finally:
        for service in services.values():
            if service.process is not None and service.process.poll() is None:
                service.kill()


def test_what_compose_runs_answers_those_with_a_certificate_and_nobody_else(tmp_path: Path, redis_url: str) -> None:
    with secured(tmp_path, redis_url) as (services, folder, http_port):

        def channel(name: str, target: str = "search") -> grpc.Channel:
            place = folder / name
            files = [(place / file).read_bytes() for file in ("ca.crt", "tls.key", "tls.crt")]
            return grpc.secure_channel(services[target].target, grpc.ssl_channel_credentials(*files))

        url = f"http://127.0.0.1:{http_port}"

        def ready() -> bool:
            for service in services.values():
                assert service.process is not None and service.process.poll() is None, service.output()
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{url}/readyz").status_code == 200
            return False

        eventually(ready, timeout_s=90)
        image = types_pb2.Image(content=photograph("Women Dresses", "Red", 3))
        with channel("client") as opened:
            search = search_pb2_grpc.SearchServiceStub(opened)
            search.UpsertProducts(search_pb2.UpsertProductsRequest(rows=rows()), timeout=60)
            found = search.FindSimilar(search_pb2.FindSimilarRequest(image=image, top_k=3), timeout=20)
        # Embedder and classifier were asked, over TLS too.
        assert len(found.products) == 3 and found.classification.model_version
        assert search_pb2.DEGRADED_REASON_CLASSIFIER_UNAVAILABLE not in found.applied.degraded
        similar = httpx.get(f"{url}/v1/products/women-dresses-red-0/similar", timeout=20)
        assert similar.status_code == 200 and similar.json()["products"]
        # The page that everybody may read writes nothing; a service that only asks writes nothing either.
        assert httpx.delete(f"{url}/v1/users/ada").status_code == 401
        with channel("embedder") as opened, pytest.raises(grpc.RpcError) as caught:
            search_pb2_grpc.SearchServiceStub(opened).GetIndex(search_pb2.GetIndexRequest(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with channel("classifier") as opened, pytest.raises(grpc.RpcError) as caught:
            search_pb2_grpc.SearchServiceStub(opened).DeleteProducts(search_pb2.DeleteProductsRequest(), timeout=10)
        info = error_info(caught.value.trailing_metadata())
        assert info is not None and info.reason == "SCOPE_MISSING"
        for name in ("embedder", "classifier", "search"):
            with grpc.insecure_channel(services[name].target) as opened, pytest.raises(grpc.RpcError):
                search_pb2_grpc.SearchServiceStub(opened).GetIndex(search_pb2.GetIndexRequest(), timeout=10)
        assert [service.terminate() for service in services.values()] == [0] * 4


@pytest.mark.parametrize("name", NAMES)
def test_a_service_on_all_addresses_does_not_start_by_itself(tmp_path: Path, name: str) -> None:
    status, output = run_to_end(
        f"services.{name}", SERVER_HOST="0.0.0.0", GATEWAY_PORT="0", SEARCH_DATA_DIR=str(tmp_path)
    )
    assert status == 2
    (line,) = [line for line in output.splitlines() if line.startswith(f"{name}: ")]
    assert "SERVER_ALLOW_PLAINTEXT=true" in line and "SERVER_ALLOW_WITHOUT_KEYS=true" in line
