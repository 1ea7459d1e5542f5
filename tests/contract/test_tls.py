"""TLS on every port: who is let in, who is refused, and certificates that change under calls."""

import asyncio
import contextlib
import dataclasses
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import httpx
import pytest
from structlog.testing import capture_logs

from cli.main import run
from fashion.v1 import search_pb2, search_pb2_grpc
from services.clients.probe import probe
from services.clients.search import SERVICE_NAME, SearchClient
from services.contract.errors import Upstream
from services.serving.settings import ServerSettings, SettingsError
from services.serving.tls import grpc_credentials, http_context
from services.stack.startup import RunningStack
from tests.support.certificates import HOUR, Certificates, Files
from tests.support.gateways import gateway_settings
from tests.support.running import stack_in_thread, stack_settings
from tests.support.small_shop import rows
from tests.support.waiting import eventually

HOSTS = ("localhost", "127.0.0.1")
PAST = timedelta(hours=-1)
# A little longer than the time between two looks at the files.
CHECK_S = 1.1


@dataclass
class Mutual:
    """A stack that asks its callers for certificates, on both ports."""

    stack: RunningStack
    certificates: Certificates
    strangers: Certificates
    server: Files
    caller: Files

    def channel(self, caller: Files | None, *, ca: Path | None = None) -> grpc.Channel:
        """Opens a channel as a caller that trusts an authority."""
        own = (None, None) if caller is None else (caller.key.read_bytes(), caller.certificate.read_bytes())
        trusted = (ca or self.server.ca).read_bytes()
        return grpc.secure_channel(self.stack.target, grpc.ssl_channel_credentials(trusted, *own))

    def http(self, caller: Files | None, *, ca: Path | None = None) -> httpx.Client:
        """Opens an HTTP client likewise."""
        context = ssl.create_default_context(cafile=str(ca or self.server.ca))
        if caller is not None:
            context.load_cert_chain(caller.certificate, caller.key)
        return httpx.Client(base_url=self.stack.url or "", verify=context, timeout=20)


@contextlib.contextmanager
def mutual_stack(directory: Path, **server_settings: object) -> Iterator[Mutual]:
    certificates, strangers = Certificates(directory / "own"), Certificates(directory / "strangers")
    server = certificates.issue("search", *HOSTS)
    settings = stack_settings(directory / "data")
    settings = dataclasses.replace(
        settings,
        server=settings.server.model_copy(update={**server.server(mutual=True), **server_settings}),
        gateway=gateway_settings(tls_client_ca_file=server.ca),
    )
    caller = certificates.issue("shop", server=False)
    with stack_in_thread(settings) as stack:
        yield Mutual(stack, certificates, strangers, server, caller)


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mutual]:
    with mutual_stack(tmp_path_factory.mktemp("mutual")) as running:
        with running.channel(running.caller) as channel:
            _search(channel).UpsertProducts(search_pb2.UpsertProductsRequest(rows=rows()), timeout=60)
        yield running


def _search(channel: grpc.Channel) -> search_pb2_grpc.SearchServiceStub:
    return search_pb2_grpc.SearchServiceStub(channel)


def index(channel: grpc.Channel) -> int:
    return int(_search(channel).GetIndex(search_pb2.GetIndexRequest(), timeout=10).product_count)


# Who calls, and whether a caller like that is let in.
CALLERS: dict[str, Callable[[Mutual], Files | None]] = {
    "none": lambda running: None,
    "expired": lambda running: running.certificates.issue("shop", server=False, ends=PAST, file="expired"),
    "wrong CA": lambda running: running.strangers.issue("shop", server=False),
}


def test_a_caller_with_a_certificate_is_let_in_on_both_ports(mutual: Mutual) -> None:
    assert mutual.stack.url is not None and mutual.stack.url.startswith("https://")
    with mutual.channel(mutual.caller) as channel:
        assert index(channel) == len(rows())
    with mutual.http(mutual.caller) as http:
        assert http.get("/v1/products").status_code == 200


@pytest.mark.parametrize("kind", CALLERS)
def test_a_caller_without_a_good_certificate_gets_no_connection(mutual: Mutual, kind: str) -> None:
    caller = CALLERS[kind](mutual)
    with mutual.channel(caller) as channel, pytest.raises(grpc.RpcError) as caught:
        index(channel)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    with mutual.http(caller) as http, pytest.raises(httpx.TransportError):
        http.get("/healthz")


def test_a_caller_that_speaks_no_tls_gets_no_answer(mutual: Mutual) -> None:
    with grpc.insecure_channel(mutual.stack.target) as channel, pytest.raises(grpc.RpcError) as caught:
        index(channel)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(httpx.TransportError):
        httpx.get((mutual.stack.url or "").replace("https", "http") + "/healthz")


def test_callers_refuse_a_server_of_another_authority_or_of_another_name(mutual: Mutual, tmp_path: Path) -> None:
    foreign = mutual.strangers.issue("search", *HOSTS).ca
    with mutual.channel(mutual.caller, ca=foreign) as channel, pytest.raises(grpc.RpcError):
        index(channel)
    with mutual.http(mutual.caller, ca=foreign) as http, pytest.raises(httpx.ConnectError):
        http.get("/healthz")
    misnamed = Certificates(tmp_path / "misnamed")
    settings = stack_settings(tmp_path / "data")
    own = misnamed.issue("another.example")
    server = settings.server.model_copy(update=own.server(mutual=False))
    with stack_in_thread(dataclasses.replace(settings, server=server, gateway=gateway_settings())) as stack:
        running = Mutual(stack, misnamed, misnamed, own, own)
        with running.channel(None) as channel, pytest.raises(grpc.RpcError):
            index(channel)
        with running.http(None) as http, pytest.raises(httpx.ConnectError):
            http.get("/healthz")


async def test_the_products_own_channels_prove_who_calls_and_check_who_answers(
    mutual: Mutual, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def count() -> int:
        async with SearchClient.connect(mutual.stack.target) as client:
            return (await client.get_index()).product_count

    for name, value in mutual.caller.client().items():
        monkeypatch.setenv(name, value)
    assert await count() == len(rows())
    assert await probe(mutual.stack.target, SERVICE_NAME) == "SERVING"
    monkeypatch.setenv("CLIENT_TLS_SERVER_NAME", "search")
    assert await count() == len(rows())
    monkeypatch.setenv("CLIENT_TLS_SERVER_NAME", "embedder")
    with pytest.raises(Upstream, match="does not accept the other's certificate"):
        await count()
    monkeypatch.delenv("CLIENT_TLS_SERVER_NAME")
    for caller in (make(mutual) for make in CALLERS.values()):
        for name, value in (mutual.caller if caller is None else caller).client().items():
            if caller is None and name != "CLIENT_TLS_CA_FILE":
                monkeypatch.delenv(name)
            else:
                monkeypatch.setenv(name, value)
        with pytest.raises(Upstream):
            await count()


def test_the_command_line_asks_over_tls_on_both_ports(
    mutual: Mutual, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["doctor", "--server", mutual.stack.target, "--gateway", mutual.stack.url or "", "--json"]
    for name, value in mutual.caller.client().items():
        monkeypatch.setenv(name, value)
    assert run(command) == 0
    findings = json.loads(capsys.readouterr().out)
    # The certificates of this test last an hour.
    ending = [each["state"] for each in findings if each["what"].startswith("The certificate of")]
    assert ending == ["look", "look"] and all(each["state"] != "ill" for each in findings)
    monkeypatch.setenv("CLIENT_TLS_CA_FILE", str(mutual.strangers.issue("search", *HOSTS).ca))
    assert run(command) == 1


def doctor(
    mutual: Mutual, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **client: Path | str
) -> list[str]:
    """Returns what the doctor finds ill, of search and of the gateway; it never says when a certificate ends."""
    for name in mutual.caller.client():
        monkeypatch.delenv(name, raising=False)
    for name, value in client.items():
        monkeypatch.setenv(f"CLIENT_TLS_{name.upper()}", str(value))
    assert run(["doctor", "--server", mutual.stack.target, "--gateway", mutual.stack.url or "", "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert [each["state"] for each in findings] == ["ill", "ill"] and all(each["advice"] for each in findings)
    return [each["what"] for each in findings]


def test_the_doctor_says_what_hinders_a_connection_over_tls(
    mutual: Mutual, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(**client: Path | str) -> list[str]:
        return doctor(mutual, monkeypatch, capsys, **client)

    search, gateway = told()
    assert "speaks TLS, and CLIENT_TLS_CA_FILE is not set" in search
    assert "another authority than this system trusts" in gateway
    ca = mutual.server.ca
    for each in told(ca_file=ca):
        assert "wants a certificate of its callers" in each
    foreign = mutual.strangers.issue("search", *HOSTS)
    for kind in ("expired", "wrong CA"):
        caller = CALLERS[kind](mutual)
        assert caller is not None
        for each in told(ca_file=ca, certificate_file=caller.certificate, key_file=caller.key):
            assert "does not accept the certificate" in each
    for each in told(ca_file=foreign.ca, certificate_file=foreign.certificate, key_file=foreign.key):
        assert "another authority than CLIENT_TLS_CA_FILE trusts" in each


@pytest.mark.parametrize(
    ("host", "ends", "said"),
    [("another.example", HOUR, "has other names"), ("localhost", PAST, "has ended")],
    ids=["another name", "expired"],
)
def test_the_doctor_says_what_is_wrong_with_a_certificate(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    host: str,
    ends: timedelta,
    said: str,
) -> None:
    certificates = Certificates(tmp_path / "own")
    server = certificates.issue(host, "127.0.0.1" if ends is PAST else host, ends=ends)
    settings = stack_settings(tmp_path / "data")
    settings = dataclasses.replace(
        settings,
        server=settings.server.model_copy(update=server.server(mutual=False)),
        gateway=gateway_settings(),
    )
    with stack_in_thread(settings) as stack:
        running = Mutual(stack, certificates, certificates, server, server)
        for each in doctor(running, monkeypatch, capsys, ca_file=server.ca):
            assert said in each


@pytest.mark.parametrize("lacking", ["CLIENT_TLS_CA_FILE", "CLIENT_TLS_CERTIFICATE_FILE"])
def test_a_stack_that_its_own_command_could_not_reach_is_not_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lacking: str
) -> None:
    own = Certificates(tmp_path / "own").issue("search", *HOSTS)
    for name, value in {**own.variables(), "SERVER_PORT": "50777", "GATEWAY_PORT": "8777"}.items():
        if name != lacking and (lacking, name) != ("CLIENT_TLS_CERTIFICATE_FILE", "CLIENT_TLS_KEY_FILE"):
            monkeypatch.setenv(name, value)
    if lacking == "CLIENT_TLS_CA_FILE":
        monkeypatch.delenv("CLIENT_TLS_CERTIFICATE_FILE")
        monkeypatch.delenv("CLIENT_TLS_KEY_FILE")
    assert run(["serve", "--detach", "--data-dir", str(tmp_path / "data")]) == 2
    said = capsys.readouterr().err
    assert lacking in said and "SETTINGS_INVALID" in said


@contextlib.asynccontextmanager
async def calling_on_and_on(target: str) -> AsyncIterator[list[int]]:
    """Calls again and again over one client; every call has to succeed."""
    counts: list[int] = []
    ended = asyncio.Event()

    async def call() -> None:
        async with SearchClient.connect(target) as client:
            while not ended.is_set():
                counts.append((await client.get_index()).product_count)
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        group.create_task(call())
        yield counts
        ended.set()


async def _calls_go_on(counts: list[int], more: int) -> None:
    """Waits until so many further calls have been answered."""
    wanted = len(counts) + more
    await asyncio.to_thread(eventually, lambda: len(counts) >= wanted, "the calls do not go on")


async def _client_has_looked(counts: list[int]) -> None:
    """Waits until the client has looked at its files, as it does with a call a second after it last did."""
    await asyncio.sleep(CHECK_S)
    # The first may have begun before.
    await _calls_go_on(counts, 2)


def _refuses(running: Mutual, caller: Files) -> bool:
    with running.channel(caller) as channel:
        try:
            index(channel)
        except grpc.RpcError:
            return True
    return False


def _refuses_http(running: Mutual, caller: Files) -> bool:
    with running.http(caller) as http:
        try:
            return http.get("/healthz").status_code != 200
        except httpx.TransportError:
            return True


async def test_every_certificate_and_both_authorities_change_without_a_failed_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Connections are renewed all the time, so that both sides use what they have read last.
    with mutual_stack(tmp_path, max_connection_age_s=1.0) as running:
        former = running.caller
        for name, value in former.client().items():
            monkeypatch.setenv(name, value)
        failed: list[Exception] = []
        ended = threading.Event()
        # It reads no file that is being written.
        trusted = tmp_path / "trusted.crt"
        trusted.write_bytes(running.server.ca.read_bytes())

        def browse() -> None:
            # One connection for each request: the new certificates are used at once.
            while not ended.is_set():
                try:
                    own = running.certificates.issue("shop", file="browser", server=False)
                    with running.http(own, ca=trusted) as http:
                        assert http.get("/v1/facets").status_code == 200
                except Exception as error:
                    failed.append(error)
                time.sleep(0.05)

        browsing = threading.Thread(target=browse)
        browsing.start()
        async with calling_on_and_on(running.stack.target) as counts:
            before = await asyncio.to_thread(_shown, running.stack)
            # Both authorities are trusted while certificates change; then the former one is dropped.
            old, new = running.certificates.authority, Certificates(tmp_path / "new").authority
            both = old.own().certificate + new.own().certificate
            running.server.ca.write_bytes(both)
            newcomer = Certificates(tmp_path / "newcomer", new).issue("shop", server=False)
            for refuses in (_refuses, _refuses_http):
                await asyncio.to_thread(
                    eventually, lambda refuses=refuses: not refuses(running, newcomer), "the new authority is not read"
                )
            await _client_has_looked(counts)
            ended.set()
            await asyncio.to_thread(browsing.join)
            saved = {file: file.read_bytes() for file in (former.certificate, former.key)}
            running.certificates.authority = new
            for name in ("search", "shop"):
                running.certificates.issue(name, *(HOSTS if name == "search" else ()), server=name == "search")

            def all_new() -> bool:
                return all(new != old for new, old in zip(_shown(running.stack), before, strict=True))

            await asyncio.to_thread(eventually, all_new, "a port shows its former certificate")
            await _client_has_looked(counts)
            running.server.ca.write_bytes(new.own().certificate)
            # A caller whom the former authority has signed for is a stranger from then on.
            stale = Files(tmp_path / "stale.crt", tmp_path / "stale.key", running.server.ca)
            for file, copy in zip(saved, (stale.certificate, stale.key), strict=True):
                copy.write_bytes(saved[file])
            for refuses in (_refuses, _refuses_http):
                await asyncio.to_thread(
                    eventually, lambda refuses=refuses: refuses(running, stale), "the former authority still counts"
                )
            await _client_has_looked(counts)
            await _calls_go_on(counts, 50)
        assert failed == []
        with running.http(running.caller) as http:
            assert http.get("/v1/facets").status_code == 200
        # Half of a pair changes nothing.
        running.server.key.write_bytes(running.caller.key.read_bytes())
        await asyncio.sleep(CHECK_S)
        for _ in range(2):
            assert not await asyncio.to_thread(_refuses, running, running.caller)


def _shown(stack: RunningStack) -> list[str]:
    """Returns the certificate that each port shows."""
    shown = []
    for address in (stack.target, (stack.url or "").removeprefix("https://")):
        host, _, port = address.rpartition(":")
        shown.append(ssl.get_server_certificate((host, int(port))))
    return shown


def test_a_certificate_that_has_ended_is_warned_of_when_it_is_read(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    for ends, level in ((HOUR, []), (PAST, ["warning"])):
        own = certificates.issue("search", ends=ends)
        with capture_logs() as logs:
            grpc_credentials(ServerSettings(**own.server(mutual=False)))
        assert [each["log_level"] for each in logs if "a certificate has ended" in each["event"]] == level


def test_files_that_are_bad_end_the_start_with_the_names_of_the_variables(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    own, other = certificates.issue("search"), certificates.issue("other")
    absent = tmp_path / "absent.crt"
    for pair in (
        {"tls_certificate_file": own.certificate, "tls_key_file": other.key},
        {"tls_certificate_file": own.key, "tls_key_file": own.key},
        {"tls_certificate_file": absent, "tls_key_file": own.key},
        {**own.server(mutual=False), "tls_client_ca_file": own.key},
    ):
        with pytest.raises(SettingsError, match="SERVER_TLS_CERTIFICATE_FILE"):
            grpc_credentials(ServerSettings(**pair))
    with pytest.raises(SettingsError, match="GATEWAY_TLS_CLIENT_CA_FILE"):
        http_context(ServerSettings(), own.ca)
    for alone in ("tls_certificate_file", "tls_key_file", "tls_client_ca_file"):
        with pytest.raises(ValueError, match="SERVER_TLS_CERTIFICATE_FILE"):
            ServerSettings(**{alone: own.certificate})
