"""Who may call what, by enumeration: every method of the descriptors and every route, with every kind of credential."""

import contextlib
import dataclasses
import importlib
import pkgutil
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from pydantic import SecretStr

import fashion.v1
from services.contract.scopes import ROUTES, RPCS, Rule, Scope
from services.gateway.access.access import Access
from services.gateway.app import routed_app
from services.gateway.backend import Backend
from services.gateway.thumbnails import Thumbnails
from services.serving.keys import Key, Keys, now
from services.serving.status import error_info
from services.stack.startup import RunningStack
from tests.support.access import key, write_keys
from tests.support.certificates import Certificates, Files
from tests.support.gateways import KEY, bearer, gateway_settings
from tests.support.running import stack_in_thread, stack_settings

ROOT = Path(__file__).parents[2]
HOSTS = ("localhost", "127.0.0.1")
HOUR = timedelta(hours=1)


def _methods() -> dict[str, MethodDescriptor]:
    """Every method that a server has: of all files of the package, of health and of reflection."""
    names = [each.name for each in pkgutil.iter_modules(fashion.v1.__path__) if each.name.endswith("_pb2")]
    files = [importlib.import_module(f"fashion.v1.{name}") for name in names]
    return {
        f"{service.full_name}/{method.name}": method
        for file in (*files, health_pb2, reflection_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


METHODS = _methods()
OPEN_RPCS = {name: Rule(None) for name in METHODS if name.startswith("grpc.health.")}


@dataclass(frozen=True)
class Credential:
    """What a caller brings.

    Attributes:
        certificate: name of the certificate; "" for none.
        refusal: why the caller is refused wherever a scope is needed; "no connection" before anything else.
        headers: names and values; `{key}` stands for the key of that name.
        scope: of the key or certificate.
        shopper: whether it is a shopper's token.
        server_name: the name that the caller expects of the server.
    """

    certificate: str = "unknown"
    refusal: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    scope: Scope | None = None
    shopper: bool = False
    server_name: str = "localhost"

    def expected(self, rule: Rule) -> str:
        """What becomes of a call: "let in", or the reason of the refusal."""
        if self.refusal == "no connection":
            return self.refusal
        if rule.scope is None:
            return "let in"
        if self.refusal:
            return self.refusal
        if self.shopper:
            return "let in" if rule.shopper else "SCOPE_MISSING"
        return "let in" if self.scope is not None and self.scope >= rule.scope else "SCOPE_MISSING"


def _by_key(name: str, refusal: str = "", scope: Scope | None = None) -> dict[str, Credential]:
    return {
        f"{name} key": Credential(refusal=refusal, scope=scope, headers={"api-key": f"{{{name}}}"}),
        f"{name} key, as bearer": Credential(
            refusal=refusal, scope=scope, headers={"authorization": f"Bearer {{{name}}}"}
        ),
    }


CREDENTIALS: dict[str, Credential] = {
    "no certificate": Credential("", "no connection", {"api-key": "{admin}"}),
    "expired certificate": Credential("expired", "no connection", {"api-key": "{admin}"}),
    "certificate of another authority": Credential("stranger", "no connection", {"api-key": "{admin}"}),
    "server of another name": Credential("admin", "no connection", server_name="embedder"),
    "certificate without a key": Credential("unknown", "KEY_MISSING"),
    "certificate that was revoked": Credential("revoked", "KEY_MISSING"),
    "certificate whose key has expired": Credential("ended", "KEY_EXPIRED"),
    "certificate that reads": Credential("read", scope=Scope.READ),
    "certificate that writes": Credential("write", scope=Scope.WRITE),
    "certificate of an administrator": Credential("admin", scope=Scope.ADMIN),
    # A key goes before the certificate.
    "certificate of an administrator, wrong key": Credential("admin", "KEY_INVALID", {"api-key": "{wrong}"}),
    **_by_key("wrong", "KEY_INVALID"),
    **_by_key("revoked", "KEY_INVALID"),
    **_by_key("expired", "KEY_EXPIRED"),
    **_by_key("read", scope=Scope.READ),
    **_by_key("write", scope=Scope.WRITE),
    **_by_key("admin", scope=Scope.ADMIN),
    "another kind of authorization": Credential(refusal="TOKEN_INVALID", headers={"authorization": "Basic eDp5"}),
    "token that is none": Credential(refusal="TOKEN_INVALID", headers={"authorization": "Bearer x.y.z"}),
    "token of the shopper": Credential(shopper=True, headers={"authorization": bearer("ada")["Authorization"]}),
}


@dataclass
class Guarded:
    """A stack that asks for certificates and keys on both ports."""

    stack: RunningStack
    certificates: dict[str, Files]
    keys: dict[str, str]

    def sent(self, credential: Credential) -> dict[str, str]:
        """The headers that a caller sends."""
        return {name: value.format(**self.keys) for name, value in credential.headers.items()}

    def channel(self, credential: Credential) -> grpc.Channel:
        own = self.certificates.get(credential.certificate)
        pair = (None, None) if own is None else (own.key.read_bytes(), own.certificate.read_bytes())
        ca = self.certificates["server"].ca.read_bytes()
        return grpc.secure_channel(
            self.stack.target,
            grpc.ssl_channel_credentials(ca, *pair),
            options=[("grpc.ssl_target_name_override", credential.server_name)],
        )

    def http(self, credential: Credential) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.certificates["server"].ca))
        if (own := self.certificates.get(credential.certificate)) is not None:
            context.load_cert_chain(own.certificate, own.key)
        return httpx.Client(base_url=self.stack.url or "", verify=context, timeout=20)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    own, strangers = Certificates(folder / "own"), Certificates(folder / "strangers")
    certificates = {"server": own.issue("search", *HOSTS), "stranger": strangers.issue("admin", server=False)}
    for name in ("unknown", "revoked", "ended", "read", "write", "admin"):
        certificates[name] = own.issue(name, server=False)
    certificates["expired"] = own.issue("admin", server=False, ends=-HOUR, file="expired")
    file = folder / "keys.json"
    secrets = write_keys(file, read="read", write="write", admin="admin")

    def entry(name: str, scope: str, **given: object) -> Key:
        return key(scope, "", id=f"certificate-{name}", sha256=None, certificate=name, **given)

    by_certificate = (
        *(entry(scope, scope) for scope in ("read", "write", "admin")),
        entry("revoked", "admin", revoked=now() - HOUR),
        entry("ended", "admin", expires=now() - HOUR),
    )
    file.write_text(Keys(keys=(*Keys.read(file).keys, *by_certificate)).document())
    settings = stack_settings(folder / "data")
    server = settings.server.model_copy(
        update={**certificates["server"].server(mutual=True), "keys_file": file, "token_key": SecretStr(KEY)}
    )
    gateway = gateway_settings(token_key=KEY, tls_client_ca_file=certificates["server"].ca)
    with stack_in_thread(dataclasses.replace(settings, server=server, gateway=gateway)) as stack:
        yield Guarded(stack, certificates, {**secrets, "wrong": "fashion_" + "x" * 43})


def outcome_of_call(channel: grpc.Channel, name: str, headers: dict[str, str]) -> str:
    """Calls a method with an empty message; returns what became of it."""
    method = METHODS[name]
    request = message_factory.GetMessageClass(method.input_type)()
    kind = ("stream_" if method.client_streaming else "unary_") + ("stream" if method.server_streaming else "unary")
    send: Callable[..., Any] = getattr(channel, kind)(
        f"/{name}", request_serializer=lambda message: message.SerializeToString(), response_deserializer=bytes
    )
    try:
        answer = send(
            iter([request]) if method.client_streaming else request, metadata=tuple(headers.items()), timeout=20
        )
        if method.server_streaming:
            next(answer, None)
            answer.cancel()
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return "no connection"
        info = error_info(error.trailing_metadata())
        assert info is not None, error
        if error.code() in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
            return str(info.reason)
        # An empty message is at most refused for what it lacks; the fake encoder finds no garments, and there is no
        # other generation.
        allowed = {
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.UNIMPLEMENTED,
            grpc.StatusCode.FAILED_PRECONDITION,
        }
        assert error.code() in allowed, error
    return "let in"


def outcome_of_request(http: httpx.Client, method: str, path: str, credential: Credential, sent: dict[str, str]) -> str:
    """Makes a request; returns what became of it."""
    for name, value in (("product_id", "1"), ("user_id", "ada"), ("colour", "Blue"), ("name:path", "x")):
        path = path.replace(f"{{{name}}}", value)
    try:
        # The name that the caller expects, as gRPC's option says it.
        answer = http.request(method, path, headers=sent, extensions={"sni_hostname": credential.server_name})
    except httpx.TransportError:
        return "no connection"
    return str(answer.json()["reason"]) if answer.status_code in {401, 403} else "let in"


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_each_method_lets_in_whom_its_scope_allows_and_nobody_else(guarded: Guarded, kind: str) -> None:
    credential, rules = CREDENTIALS[kind], {**RPCS, **OPEN_RPCS}
    with guarded.channel(credential) as channel:
        outcomes = {name: outcome_of_call(channel, name, guarded.sent(credential)) for name in METHODS}
    assert outcomes == {name: credential.expected(rules[name]) for name in METHODS}


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_each_route_lets_in_whom_its_scope_allows_and_nobody_else(guarded: Guarded, kind: str) -> None:
    credential = CREDENTIALS[kind]
    with guarded.http(credential) as http:
        sent = guarded.sent(credential)
        outcomes = {route: outcome_of_request(http, *route, credential, sent) for route in ROUTES}
    assert outcomes == {route: credential.expected(rule) for route, rule in ROUTES.items()}


def test_every_method_has_a_scope_and_every_scope_a_method() -> None:
    assert RPCS.keys() | OPEN_RPCS.keys() == METHODS.keys()


def _routes(routes: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for route in routes:
        if hasattr(route, "original_router"):
            yield from _routes(route.original_router.routes)
        else:
            yield from ((method, route.path) for method in route.methods)


def test_every_route_has_a_scope_and_every_scope_a_route(tmp_path: Path) -> None:
    settings = gateway_settings()
    with contextlib.closing(Thumbnails(None, None, 0)) as thumbnails:  # type: ignore[arg-type]
        access = Access.of(settings, "127.0.0.1")
        app = routed_app(settings, Backend(1.0), access, thumbnails, tmp_path / "map.json", keys_needed=True)
    # Files too, which the OpenAPI document leaves out.
    assert {each for each in _routes(app.routes) if each[0] != "HEAD"} == ROUTES.keys()


def test_the_document_says_of_each_operation_who_may(guarded: Guarded) -> None:
    with guarded.http(CREDENTIALS["certificate of an administrator"]) as http:
        document = http.get("/openapi.json").json()
    assert document["components"]["securitySchemes"].keys() == {"key", "userToken"}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            rule = ROUTES[method.upper(), path]
            assert operation.get("x-scope") == (rule.scope and rule.scope.name.lower())
            assert ({"userToken": []} in operation["security"]) is rule.shopper
            assert ({"key": []} in operation["security"]) is (rule.scope is not None)
            refusals = {"401", "403", "429"} & operation["responses"].keys()
            assert rule.scope is None or refusals == {"401", "403", "429"}, path


def test_the_page_says_how_large_the_matrix_is() -> None:
    page = " ".join((ROOT / "SECURITY.md").read_text().split())
    cells = len(CREDENTIALS) * (len(METHODS) + len(ROUTES))
    assert f"{len(METHODS)} methods and {len(ROUTES)} routes, each with {len(CREDENTIALS)} credentials" in page
    assert f"{cells:,} cells" in page
