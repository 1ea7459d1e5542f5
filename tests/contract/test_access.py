"""Who may call what, by enumeration: every method of the protos and every route, with every kind of key."""

import asyncio
import contextlib
import dataclasses
import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from pydantic import SecretStr

from fashion.v1 import classifier_pb2, embedder_pb2, search_pb2
from services.clients.search import SearchClient
from services.contract.scopes import ROUTES, RPCS, Scope
from services.gateway.server import running_gateway
from services.gateway.settings import GatewaySettings
from services.serving.keys import Keys
from services.serving.settings import ServerSettings
from services.serving.status import error_info, retry_delay_s
from tests.support.access import key, write_keys
from tests.support.gateways import KEY, bearer, gateway_settings, problem
from tests.support.running import calling, logged_to, refusal, stack_in_thread, stack_settings
from tests.support.small_shop import rows
from tests.support.waiting import eventually

METHODS = [
    method
    for file in (embedder_pb2, classifier_pb2, search_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
NAMES = [f"{method.containing_service.full_name}/{method.name}" for method in METHODS]
SCOPES = {"read": Scope.READ, "write": Scope.WRITE, "admin": Scope.ADMIN}
REFUSED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


@dataclass
class Locked:
    """A stack whose callers need keys."""

    target: str
    channel: grpc.Channel
    http: httpx.Client
    file: Path
    secrets: dict[str, str]

    def call(self, name: str, metadata: dict[str, str], **fields: object) -> tuple[grpc.StatusCode, str]:
        """Calls a method by its name; returns the status and the reason."""
        method = METHODS[NAMES.index(name)]
        send = self.channel.unary_unary(
            f"/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=bytes,
        )
        request = message_factory.GetMessageClass(method.input_type)(**fields)
        try:
            send(request, metadata=tuple(metadata.items()), timeout=20)
        except grpc.RpcError as error:
            info = error_info(error.trailing_metadata())
            return error.code(), info.reason if info else ""
        return grpc.StatusCode.OK, ""


@contextlib.contextmanager
def locked_stack(directory: Path, **gateway: object) -> Iterator[Locked]:
    file = directory / "keys.json"
    secrets = write_keys(file, **{scope: scope for scope in SCOPES})
    settings = stack_settings(directory / "data")
    server = settings.server.model_copy(update={"keys_file": file, "token_key": SecretStr(KEY)})
    settings = dataclasses.replace(settings, server=server, gateway=gateway_settings(token_key=KEY, **gateway))
    with (
        stack_in_thread(settings) as stack,
        calling(stack.target) as caller,
        httpx.Client(base_url=stack.url or "", timeout=30) as http,
    ):
        caller.search.UpsertProducts(
            search_pb2.UpsertProductsRequest(rows=rows()), metadata=(("api-key", secrets["write"]),), timeout=60
        )
        yield Locked(stack.target, caller.channel, http, file, secrets)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    with locked_stack(tmp_path_factory.mktemp("locked")) as stack:
        yield stack


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    with locked_stack(tmp_path_factory.mktemp("public"), public_read=True) as stack:
        yield stack


def operations(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(method.upper(), path) for path, each in document["paths"].items() for method in each]


def spelt(path: str) -> str:
    """Fills in the parameters of a path."""
    for name, value in (
        ("product_id", "men-tshirts-blue-0"),
        ("user_id", "ada"),
        ("colour", "Blue"),
        ("name:path", "x"),
    ):
        path = path.replace(f"{{{name}}}", value)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_shopper_acts_over_grpc_for_themselves_alone(locked: Locked, name: str) -> None:
    token = {"authorization": bearer("ada")["Authorization"]}
    denied = grpc.StatusCode.PERMISSION_DENIED
    if not RPCS[name].shopper:
        assert locked.call(name, token) == (denied, "SCOPE_MISSING")
        return
    assert locked.call(name, token)[0] not in REFUSED
    if "user_id" in METHODS[NAMES.index(name)].input_type.fields_by_name:
        assert locked.call(name, token, user_id="ada")[0] not in REFUSED
        assert locked.call(name, token, user_id="bob") == (denied, "TOKEN_OF_ANOTHER_USER")
        # With a key beside it, the token still says who the shopper is.
        both = {**token, "api-key": locked.secrets["admin"]}
        assert locked.call(name, both, user_id="bob") == (denied, "TOKEN_OF_ANOTHER_USER")


def test_health_needs_no_key_and_reflection_does(locked: Locked) -> None:
    health = health_pb2_grpc.HealthStub(locked.channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    watch = health_pb2_grpc.HealthStub(locked.channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
    assert next(iter(watch)).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()

    def services(*metadata: tuple[str, str]) -> list[str]:
        call = reflection_pb2_grpc.ServerReflectionStub(locked.channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), metadata=metadata, timeout=20
        )
        return [service.name for answer in call for service in answer.list_services_response.service]

    assert "fashion.v1.SearchService" in services(("api-key", locked.secrets["read"]))
    with pytest.raises(grpc.RpcError) as caught:
        services()
    assert refusal(caught.value)[:2] == (grpc.StatusCode.UNAUTHENTICATED, "KEY_MISSING")


def test_reading_is_open_to_browsers_where_the_operator_says_so_and_users_never_are(public: Locked) -> None:
    for (method, path), rule in ROUTES.items():
        answer = public.http.request(method, spelt(path))
        if rule.scope is None or rule.public:
            assert answer.status_code not in {401}, path
        else:
            problem(answer, 401, "KEY_MISSING")
    similar = "/v1/products/men-tshirts-blue-0/similar"
    assert public.http.get(similar).status_code == 200
    problem(public.http.get(f"{similar}?user_id=ada"), 401, "TOKEN_MISSING")
    assert public.http.get(f"{similar}?user_id=ada", headers=bearer("ada")).status_code == 200
    problem(public.http.get(f"{similar}?user_id=bob", headers=bearer("ada")), 403, "TOKEN_OF_ANOTHER_USER")
    assert public.http.get(f"{similar}?user_id=bob", headers={"Api-Key": public.secrets["read"]}).status_code == 200


def test_a_key_that_may_write_changes_products_over_http_from_elsewhere_too(locked: Locked) -> None:
    # As behind a proxy.
    elsewhere = {"X-Forwarded-For": "203.0.113.7", "Content-Type": "application/merge-patch+json"}
    where, body = "/v1/products/women-dresses-red-0", b'{"in_stock": true}'
    answer = locked.http.patch(where, content=body, headers={**elsewhere, "Api-Key": locked.secrets["write"]})
    assert answer.status_code == 200, answer.text
    answer = locked.http.patch(where, content=body, headers={**elsewhere, "Api-Key": locked.secrets["read"]})
    problem(answer, 403, "SCOPE_MISSING")


def test_a_key_that_is_made_or_revoked_counts_within_seconds(tmp_path: Path) -> None:
    with locked_stack(tmp_path) as locked:
        name = "fashion.v1.SearchService/GetIndex"
        entries = Keys.read(locked.file).keys
        both = (*entries, key("read", "fashion_second", id="second"))
        locked.file.write_text(Keys(keys=both).document())
        eventually(lambda: locked.call(name, {"api-key": "fashion_second"})[0] is grpc.StatusCode.OK)
        # The first still counts while callers change over.
        assert locked.call(name, {"api-key": locked.secrets["read"]})[0] is grpc.StatusCode.OK
        # A file that is half written changes nothing.
        locked.file.write_text('{"keys": [')
        time.sleep(1.2)
        assert locked.call(name, {"api-key": "fashion_second"})[0] is grpc.StatusCode.OK
        locked.file.write_text(Keys(keys=both[-1:]).document())
        eventually(lambda: locked.call(name, {"api-key": locked.secrets["read"]})[0] in REFUSED)
        assert locked.call(name, {"api-key": "fashion_second"})[0] is grpc.StatusCode.OK


def test_quotas_refuse_with_the_time_to_come_back(tmp_path: Path) -> None:
    with locked_stack(tmp_path) as locked:
        some = (key("write", "fashion_few", id="few", requests_per_s=0.1, rows_per_s=1.0),)
        locked.file.write_text(Keys(keys=some).document())
        name, few = "fashion.v1.SearchService/GetIndex", {"api-key": "fashion_few"}
        eventually(lambda: locked.call(name, few)[0] is grpc.StatusCode.OK)
        send = locked.channel.unary_unary(f"/{name}")
        with pytest.raises(grpc.RpcError) as caught:
            send(b"", metadata=tuple(few.items()), timeout=20)
        assert refusal(caught.value)[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
        assert 0 < (retry_delay_s(caught.value.trailing_metadata()) or 0) <= 10
        # The gateway counts by itself, and reads the file by itself: a key that it does not know yet uses nothing up.
        eventually(lambda: locked.http.get("/v1/products", headers=few).status_code == 200)
        answer = locked.http.get("/v1/products", headers=few)
        problem(answer, 429, "QUOTA_EXCEEDED")
        assert 1 <= int(answer.headers["retry-after"]) <= 10


def test_writes_and_refusals_are_audited_and_no_secret_is_logged(tmp_path: Path) -> None:
    stream = io.StringIO()
    with locked_stack(tmp_path) as locked, logged_to(stream, "debug"):
        write = {"api-key": locked.secrets["write"]}
        deleted = {"product_ids": ["men-tshirts-blue-0"]}
        assert locked.call("fashion.v1.SearchService/DeleteProducts", write, **deleted)[0] is grpc.StatusCode.OK
        locked.call("fashion.v1.SearchService/ForgetUser", write, user_id="ada-lovelace")
        locked.call("fashion.v1.SearchService/GetIndex", write)
        locked.http.put("/v1/users/ada-lovelace/disliked-colours/Blue", headers=bearer("ada-lovelace"))
        locked.http.delete("/v1/users/ada-lovelace", headers={"Api-Key": locked.secrets["read"]})
        locked.call("fashion.v1.SearchService/GetIndex", {"api-key": "fashion_guessed"})
        secrets = (*locked.secrets.values(), bearer("ada-lovelace")["Authorization"], "fashion_guessed")
        # A line may follow its answer.
        eventually(lambda: len(_audited(stream)) == 5)
    audit = _audited(stream)
    assert [(line["event"], line["caller"], line["call"], line.get("outcome") or line["reason"]) for line in audit] == [
        ("write", "write/write", "fashion.v1.SearchService/DeleteProducts", "OK"),
        ("refusal", "write/write", "fashion.v1.SearchService/ForgetUser", "SCOPE_MISSING"),
        ("write", "a shopper", "PUT /v1/users/{user_id}/disliked-colours/{colour}", "200"),
        ("refusal", "read/read", "DELETE /v1/users/{user_id}", "SCOPE_MISSING"),
        ("refusal", "nobody", "fashion.v1.SearchService/GetIndex", "KEY_INVALID"),
    ]
    assert all(line["request_id"] for line in audit)
    assert not [secret for secret in (*secrets, "ada-lovelace") if secret in stream.getvalue()]


def _audited(stream: io.StringIO) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, stream.getvalue().splitlines()) if line["logger"] == "services.audit"]


def test_what_production_turns_off(tmp_path: Path) -> None:
    settings = stack_settings(tmp_path)
    server = ServerSettings(host="127.0.0.1", port=0, profile="production")
    assert (server.reflection, ServerSettings(profile="production", reflection=True).reflection) == (False, True)
    gateway = GatewaySettings(host="127.0.0.1", port=0, SERVER_PROFILE="production")
    settings = dataclasses.replace(settings, server=server, gateway=gateway)
    with stack_in_thread(settings) as stack, httpx.Client(base_url=stack.url or "", timeout=30) as http:
        assert stack.storefront_url is None
        for path in ("/", "/inspect", "/photo", "/map", "/docs", "/docs.css", "/openapi.json", "/storefront/session"):
            problem(http.get(path), 404, "PATH_NOT_FOUND")
        for path in ("/v1/facets", "/elements/similar-items.js", "/healthz"):
            assert http.get(path).status_code == 200, path
        with calling(stack.target) as caller, pytest.raises(grpc.RpcError) as caught:
            stub = reflection_pb2_grpc.ServerReflectionStub(caller.channel)
            next(
                stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=20)
            )
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_setting_of_its_own_keeps_what_production_turns_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_PROFILE", "production")
    off = GatewaySettings()
    assert (off.storefront, off.reference, ServerSettings().reflection) == (False, False, False)
    for name in ("GATEWAY_STOREFRONT", "GATEWAY_REFERENCE", "SERVER_REFLECTION"):
        monkeypatch.setenv(name, "true")
    on = GatewaySettings()
    assert (on.storefront, on.reference, ServerSettings().reflection) == (True, True, True)
    monkeypatch.setenv("SERVER_PROFILE", "produktion")
    with pytest.raises(ValueError, match="production"):
        ServerSettings()


def _refused(stream: io.StringIO) -> list[str]:
    return [line["reason"] for line in _audited(stream) if line["event"] == "refusal"]


def test_rows_of_changes_over_http_count_too(tmp_path: Path) -> None:
    with locked_stack(tmp_path) as locked:
        some = (key("write", "fashion_few", id="few", rows_per_s=2.0),)
        locked.file.write_text(Keys(keys=some).document())
        headers = {"Api-Key": "fashion_few", "X-Forwarded-For": "203.0.113.7"}
        eventually(lambda: locked.http.get("/v1/facets", headers=headers).status_code == 200)
        updates = {"updates": [{"id": row.product.id, "in_stock": True} for row in rows()[:8]]}
        assert locked.http.post("/v1/products:batchUpdate", json=updates, headers=headers).status_code == 200
        # The batch was let through, and the next ones wait until it is paid.
        stream = io.StringIO()
        with logged_to(stream, "debug"):
            answer = locked.http.post("/v1/products:batchUpdate", json=updates, headers=headers)
            problem(answer, 429, "QUOTA_EXCEEDED")
            assert 1 <= int(answer.headers["retry-after"]) <= 4
            patch = {"Content-Type": "application/merge-patch+json", **headers}
            where = f"/v1/products/{rows()[0].product.id}"
            problem(locked.http.patch(where, content=b'{"in_stock": true}', headers=patch), 429, "QUOTA_EXCEEDED")
            # A line may follow its answer.
            eventually(lambda: _refused(stream) == ["QUOTA_EXCEEDED"] * 2)
        # Reading is no row.
        assert locked.http.get("/v1/facets", headers=headers).status_code == 200


def test_a_write_leaves_one_line_where_nobody_needs_a_key(tmp_path: Path) -> None:
    stream = io.StringIO()
    with (
        stack_in_thread(stack_settings(tmp_path)) as stack,
        calling(stack.target) as caller,
        logged_to(stream, "debug"),
    ):
        caller.search.DeleteProducts(search_pb2.DeleteProductsRequest(product_ids=["1"]), timeout=20)
        # The answer leaves before the lines are written; an audit line would come before that of the call.
        eventually(lambda: '"event": "call"' in stream.getvalue())
    lines = [line for line in map(json.loads, stream.getvalue().splitlines()) if "DeleteProducts" in str(line)]
    assert [line["event"] for line in lines] == ["call"]


async def test_a_quota_of_the_gateway_at_search_is_429_with_the_time_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked_stack(tmp_path) as locked:
        entries = (
            key("admin", "fashion_gateway", id="gateway", requests_per_s=0.1),
            key("read", "fashion_other", id="other"),
        )
        locked.file.write_text(Keys(keys=entries).document())
        other = {"api-key": "fashion_other"}
        index = "fashion.v1.SearchService/GetIndex"
        await asyncio.to_thread(eventually, lambda: locked.call(index, other)[0] is grpc.StatusCode.OK)
        monkeypatch.setenv("CLIENT_API_KEY", "fashion_gateway")
        server = ServerSettings(host="127.0.0.1", port=0, grace_s=5.0)
        async with (
            SearchClient.connect(locked.target) as search,
            running_gateway(gateway_settings(), server) as gateway,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", timeout=20) as http,
        ):
            gateway.ready(search)
            assert (await http.get("/v1/facets")).status_code == 200
            answer = await http.get("/v1/facets")
        problem(answer, 429, "QUOTA_EXCEEDED")
        assert 1 <= int(answer.headers["retry-after"]) <= 10
