"""The port for operators: metrics that count what happened, probes, and nothing of a user."""

import asyncio
import dataclasses
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed

from services.serving.admin import running_admin
from services.serving.run import ServeError
from services.serving.settings import ServerSettings, SettingsError, read_settings
from tests.support.certificates import Certificates
from tests.support.deployment import container_probe
from tests.support.embedders import embed, embedder_running, picture
from tests.support.gateways import bearer, gateway_settings
from tests.support.processes import free_port
from tests.support.running import Caller, calling, stack_in_thread, stack_settings
from tests.support.small_shop import rows

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


@dataclass
class Watched:
    """A stack with a port for operators."""

    http: httpx.Client
    grpc: Caller
    url: str


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    port = free_port()
    settings = stack_settings(tmp_path_factory.mktemp("watched"))
    settings = dataclasses.replace(
        settings, server=settings.server.model_copy(update={"admin_port": port}), gateway=gateway_settings()
    )
    with (
        stack_in_thread(settings) as stack,
        calling(stack.target) as grpc,
        httpx.Client(base_url=stack.url or "") as http,
    ):
        grpc.upsert(rows())
        yield Watched(http, grpc, f"http://127.0.0.1:{port}")


def samples(url: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = httpx.get(f"{url}/metrics").text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parsed(text)
        for sample in family.samples
    }


def value(url: str, name: str, **labels: str) -> float:
    return samples(url).get((name, frozenset(labels.items())), 0.0)


def test_calls_and_requests_are_counted_with_their_outcome(watched: Watched) -> None:
    url = watched.url
    find = "/fashion.v1.SearchService/FindSimilar"
    before = samples(url)
    watched.grpc.find(product_id="women-dresses-red-0")
    watched.http.get("/v1/products/women-dresses-red-0/similar")
    watched.http.get("/v1/products/nobody/similar")
    watched.http.request("BREW", "/nowhere")
    after = samples(url)

    def grown(name: str, **labels: str) -> float:
        key = name, frozenset(labels.items())
        return after.get(key, 0.0) - before.get(key, 0.0)

    assert grown("fashion_grpc_calls_total", method=find, code="OK") == 1
    assert grown("fashion_grpc_call_seconds_count", method=find) == 1
    routes = {dict(labels)["route"] for name, labels in after if name == "fashion_http_requests_total"}
    (similar,) = [each for each in routes if each.endswith("/similar") and "product" in each]
    assert grown("fashion_http_requests_total", method="GET", route=similar, status="200") == 1
    assert grown("fashion_http_requests_total", method="GET", route=similar, status="404") == 1
    # A stranger makes up neither methods nor paths in the metrics.
    assert "BREW" not in str(after.keys()) and "nowhere" not in str(after.keys())
    assert grown("fashion_search_queries_total", scope="inventory") == 2
    assert value(url, "fashion_index_products") == len(rows())


def test_exemplars_lead_to_the_log_and_long_ids_break_nothing(watched: Watched) -> None:
    url = watched.url
    for request_id in ("order-4711", "x" * 128):
        answer = watched.http.get("/v1/products/women-dresses-red-0/similar", headers={"X-Request-ID": request_id})
        assert answer.status_code == 200 and answer.headers["x-request-id"] == request_id
    text = httpx.get(f"{url}/metrics", headers=OPENMETRICS).text
    assert 'request_id="order-4711"' in text and "x" * 128 not in text
    assert any(family.name == "fashion_http_request_seconds" for family in parsed_openmetrics(text))


def test_no_metric_names_a_user_a_product_or_a_token(watched: Watched) -> None:
    url = watched.url
    headers = bearer("ada-lovelace")
    watched.http.put("/v1/users/ada-lovelace/disliked-colours/Blue", headers=headers)
    watched.http.get("/v1/products/men-tshirts-blue-0/similar?user_id=ada-lovelace", headers=headers)
    watched.grpc.find(product_id="men-tshirts-blue-0", user_id="ada-lovelace")
    text = httpx.get(f"{url}/metrics", headers=OPENMETRICS).text
    for secret in ("ada-lovelace", "men-tshirts-blue-0", headers["Authorization"].split()[1]):
        assert secret not in text


def test_every_metric_is_documented_and_every_documented_one_is_there(watched: Watched) -> None:
    url = watched.url
    families = list(parsed(httpx.get(f"{url}/metrics").text))
    there = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in families
        if family.name.startswith("fashion_") and not family.name.endswith("_created")
    }
    documented = re.findall(r"^\| `(fashion_\w+)` \|([^|]*)\|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert there == {name for name, _ in documented}
    for name, labels in documented:
        (family,) = [each for each in families if each.name == name.removesuffix("_total")]
        seen = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert seen <= {label.strip() for label in labels.split(",")}


def test_the_room_of_the_catalogue_is_told(watched: Watched) -> None:
    assert value(watched.url, "fashion_data_free_bytes") > 0
    told = samples(watched.url)
    # Even before the first, so that an alert sees it grow.
    for reason in ("STORAGE_FULL", "STORAGE_UNAVAILABLE"):
        assert ("fashion_catalogue_refusals_total", frozenset({("reason", reason)})) in told


def test_a_second_index_in_the_process_leaves_each_metric_once(watched: Watched, tmp_path: Path) -> None:
    with stack_in_thread(stack_settings(tmp_path / "second")):
        names = [family.name for family in parsed(httpx.get(f"{watched.url}/metrics").text)]
    assert sorted(names) == sorted(set(names))
    assert value(watched.url, "fashion_index_products") == len(rows())


async def probed(port: int | None) -> int:
    """Runs the probe of the containers, and returns its status."""
    assert port is not None
    return await (await asyncio.create_subprocess_exec(*container_probe(port))).wait()


async def test_the_probe_follows_the_health_of_the_process() -> None:
    async with embedder_running(admin_port=0) as embedder, httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{embedder.server.admin_port}"
        assert (await http.get(f"{url}/healthz")).status_code == 200
        assert (await http.get(f"{url}/readyz")).status_code == 200
        assert await probed(embedder.server.admin_port) == 0
        await embedder.stub.Embed(embed(picture()))
        await embedder.server._health.drain()
        assert (await http.get(f"{url}/readyz")).status_code == 503
        assert await probed(embedder.server.admin_port) == 1
        assert (await http.get(f"{url}/healthz")).status_code == 200
        assert (await http.get(f"{url}/elsewhere")).status_code == 404


async def test_a_taken_port_is_told_with_the_variable_that_helps() -> None:
    async def ready() -> bool:
        return True

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = ServerSettings(admin_port=taken.getsockname()[1])
        with pytest.raises(ServeError, match="SERVER_ADMIN_PORT"):
            async with running_admin(settings, ready):
                pass
        port = free_port()
        with pytest.raises(ServeError, match="SERVER_ADMIN_PORT"):
            async with embedder_running(admin_port=settings.admin_port, port=port):
                pass
    # Nothing of a server that could not start listens on.
    with socket.socket() as caller:
        assert caller.connect_ex(("127.0.0.1", port)) != 0


async def test_it_speaks_tls_with_a_certificate_that_may_change(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    files = certificates.issue("search", "127.0.0.1")
    trust = ssl.create_default_context(cafile=files.ca)
    settings = {**files.server(mutual=False), "admin_port": 0, "admin_tls": True}
    async with embedder_running(**settings) as embedder:
        port = embedder.server.admin_port

        async def end() -> tuple[str, float]:
            """Returns when the certificate ends, as it is shown and as the metric says."""
            url = f"https://127.0.0.1:{port}/metrics"
            async with httpx.AsyncClient(verify=trust) as http, http.stream("GET", url) as answer:
                assert answer.status_code == 200
                shown = answer.extensions["network_stream"].get_extra_info("ssl_object").getpeercert()["notAfter"]
                text = (await answer.aread()).decode()
            (line,) = re.findall(r'fashion_certificate_expiry_timestamp_seconds\{use="server"\} (\S+)', text)
            return shown, float(line)

        shown, metric = await end()
        assert metric == ssl.cert_time_to_seconds(shown)
        certificates.issue("search", "127.0.0.1", ends=timedelta(days=30))
        async with asyncio.timeout(20):
            while (renewed := await end())[0] == shown:
                await asyncio.sleep(0.1)
        assert renewed[1] == ssl.cert_time_to_seconds(renewed[0]) > metric
        with pytest.raises(httpx.HTTPError):
            async with httpx.AsyncClient() as http:
                await http.get(f"http://127.0.0.1:{port}/metrics")


async def test_files_are_looked_at_when_metrics_are_read_though_nobody_calls(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    files = certificates.issue("search", "127.0.0.1")
    keys = tmp_path / "keys.json"
    keys.write_text('{"keys": []}')
    async with embedder_running(**files.server(mutual=False), admin_port=0, keys_file=keys) as embedder:
        url = f"http://127.0.0.1:{embedder.server.admin_port}"

        async def told(name: str, use: str, expected: Callable[[float], bool]) -> None:
            async with asyncio.timeout(20):
                while not expected(await asyncio.to_thread(value, url, name, use=use)):
                    await asyncio.sleep(0.2)

        end = await asyncio.to_thread(value, url, "fashion_certificate_expiry_timestamp_seconds", use="server")
        certificates.issue("search", "127.0.0.1", ends=timedelta(days=30))
        await told("fashion_certificate_expiry_timestamp_seconds", "server", lambda now: now > end)
        for file, use in ((files.key, "server"), (keys, "keys")):
            good = file.read_text()
            file.write_text("bad")
            await told("fashion_reload_failed", use, lambda now: now == 1)
            file.write_text(good)
            await told("fashion_reload_failed", use, lambda now: now == 0)


@pytest.mark.parametrize("allowed", [False, True])
async def test_other_machines_reach_it_without_tls_only_where_that_is_allowed(allowed: bool) -> None:
    async def ready() -> bool:
        return True

    settings = ServerSettings(admin_port=0, admin_host="0.0.0.0", admin_allow_plaintext=allowed)
    if allowed:
        async with running_admin(settings, ready) as port:
            assert port
        return
    with pytest.raises(SettingsError, match=r"SERVER_ADMIN_TLS=true.+SERVER_ADMIN_ALLOW_PLAINTEXT=true"):
        async with running_admin(settings, ready):
            pass


def test_tls_needs_a_certificate() -> None:
    with pytest.raises(SettingsError, match="SERVER_TLS_CERTIFICATE_FILE"):
        read_settings(ServerSettings, admin_tls=True)
