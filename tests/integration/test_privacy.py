"""No log, metric or span of any process holds a user's id, a token, a key or a photograph; none but logs a product."""

import base64
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import grpc
import httpx
import pytest
import redis
from PIL import Image

from fashion.v1 import (
    classifier_pb2,
    classifier_pb2_grpc,
    embedder_pb2,
    embedder_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
    types_pb2,
)
from services.search.preferences import disliked_colours_key
from services.serving.keys import new_secret
from tests.support.access import write_keys
from tests.support.collector import Collector, collector
from tests.support.gateways import bearer
from tests.support.processes import Service, gateway_service, services, wait_until_ready
from tests.support.small_shop import photograph, rows
from tests.support.waiting import eventually

USER = "zq-shopper-Zoë-7741@mail.example"
PRODUCT = "women-dresses-red-0"
UNKNOWN = "product-that-nobody-sells-5512"
TOKEN_KEY = "a-signing-key-that-stands-nowhere-else-0123456789"
# Stands in the EXIF of photographs, and in a file that is none.
IN_PHOTOGRAPH = "Taken by Wilhelmina Unmistakable"
PAGE = {"Accept": "application/openmetrics-text; version=1.0.0"}


def marked(content: bytes) -> bytes:
    """The same photograph as a JPEG with EXIF that nothing else has."""
    exif = Image.Exif()
    exif[0x010E] = IN_PHOTOGRAPH
    output = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").save(output, "JPEG", exif=exif, quality=90)
    assert IN_PHOTOGRAPH.encode() in output.getvalue()
    return output.getvalue()


def forms(text: str) -> set[bytes]:
    """How a text may stand in a log, a metric or a span."""
    plain = text.encode()
    spelled = {text, quote(text), quote(text, safe=""), json.dumps(text)[1:-1], repr(plain)[2:-1], plain.hex()}
    # A base64 of something longer holds these characters, at one of three places.
    inside = {base64.b64encode(b"\0" * shift + plain)[4:-4].decode() for shift in range(3)}
    return {each.encode() for each in spelled | inside}


@dataclass
class Traces:
    """All that four processes left behind."""

    logs: bytes
    metrics: bytes
    spans: bytes
    secrets: dict[str, str]

    def holders(self, text: str) -> set[str]:
        """Names what holds a text, in any form."""
        left = {"logs": self.logs, "metrics": self.metrics, "spans": self.spans}
        return {name for name, content in left.items() if any(form in content for form in forms(text))}


def call(method: "grpc.UnaryUnaryMultiCallable[object, object]", request: object, *metadata: tuple[str, str]) -> str:
    """Makes a call, and returns its code."""
    try:
        method(request, timeout=20, metadata=metadata)
    except grpc.RpcError as error:
        return str(error.code().name)  # type: ignore[attr-defined]
    return "OK"


def visit_over_http(http: httpx.Client, key: str, wrong_key: str, expired: str) -> list[int]:
    """Asks all kinds of questions, right and wrong, about a user."""
    shopper = bearer(USER, TOKEN_KEY)
    as_json, as_form = {"Content-Type": "application/json"}, {"Content-Type": "multipart/form-data; boundary=x"}
    odd = {"user_id": USER, "user": USER, "limit": USER}
    user, shot = quote(USER, safe=""), marked(photograph("Women Dresses", "Red", 12))
    colours = f"/v1/users/{user}/disliked-colours"
    http.put(f"{colours}/Red", headers=shopper).raise_for_status()
    asked = [
        http.get(f"/v1/products/{PRODUCT}/similar", params={"user_id": USER}, headers=shopper),
        http.post("/v1/similar", files={"image": shot}, data={"user_id": USER}, headers=shopper),
        http.post("/v1/similar", content=shot, headers=shopper | {"Content-Type": "image/jpeg"}),
        http.post("/v1/similar", json={"product_id": PRODUCT, "user_id": USER}, headers=shopper),
        http.get(colours, headers=shopper),
        # Refused, each in another place.
        http.get(colours),
        http.get(colours, headers={"Authorization": f"Bearer {expired}"}),
        http.get(colours, headers={"Authorization": f"Bearer {wrong_key}"}),
        http.get("/v1/users/another-shopper/disliked-colours", headers=shopper),
        http.get("/v1/facets", headers={"api-key": wrong_key}),
        http.get(f"/v1/products/{UNKNOWN}/similar", params={"user_id": USER}, headers=shopper),
        http.get(f"/v1/products/{PRODUCT}/similar", params=odd, headers=shopper),
        http.get(f"/v1/users/{user}/nothing", headers={"api-key": key}),
        http.get(f"/{user}?token={expired}&key={key}"),
        http.get("/v1/facets", headers={"api-key": key, "Host": f"{user}/{key}"}),
        http.put(f"{colours}/{quote(USER, safe='')}", headers=shopper),
        http.post("/v1/similar", files={"image": f"no photograph: {IN_PHOTOGRAPH}".encode()}, headers=shopper),
        http.post("/v1/similar", content=f'{{"user_id": "{USER}", ', headers=shopper | as_json),
        http.post("/v1/similar", content=b"--x\r\n" + USER.encode(), headers=shopper | as_form),
        http.request("BREW", f"/v1/users/{user}", headers=shopper),
        http.delete(f"/v1/users/{user}", headers=shopper),
    ]
    return [each.status_code for each in asked]


def visit_over_grpc(running: dict[str, Service], key: str, wrong_key: str, expired: str) -> list[str]:
    """Asks about a user past the gateway, as backends do, and the services behind search."""
    shot, sent, shopper = marked(photograph("Men Tshirts", "Blue", 3)), ("api-key", key), bearer(USER, TOKEN_KEY)
    image, as_shopper = types_pb2.Image(content=shot), ("authorization", shopper["Authorization"])
    torn = types_pb2.Image(content=shot[:400])
    with (
        grpc.insecure_channel(running["search"].target) as to_search,
        grpc.insecure_channel(running["embedder"].target) as to_embedder,
        grpc.insecure_channel(running["classifier"].target) as to_classifier,
    ):
        search = search_pb2_grpc.SearchServiceStub(to_search)
        embedder = embedder_pb2_grpc.EmbedderServiceStub(to_embedder)
        classifier = classifier_pb2_grpc.ClassifierServiceStub(to_classifier)
        find, dislikes = search_pb2.FindSimilarRequest, search_pb2.ListDislikedColoursRequest(user_id=USER)
        raw = to_search.unary_unary("/fashion.v1.SearchService/FindSimilar")
        return [
            call(search.FindSimilar, find(image=image, user_id=USER), sent),
            call(search.FindSimilar, find(product_id=PRODUCT, user_id=USER), as_shopper),
            call(search.FindSimilar, find(product_id=UNKNOWN, user_id=USER), sent),
            call(search.FindSimilar, find(image=torn, user_id=USER), sent),
            call(search.FindSimilar, find(product_id=PRODUCT, user_id=f"{USER} {USER}"), sent),
            call(search.ListDislikedColours, dislikes, ("api-key", wrong_key)),
            call(search.ListDislikedColours, dislikes, ("authorization", f"Bearer {expired}")),
            call(search.ListDislikedColours, dislikes),
            call(raw, b"\xff" + USER.encode() + shot[:100], sent),
            call(embedder.Embed, embedder_pb2.EmbedRequest(image=torn), sent),
            call(embedder.Embed, embedder_pb2.EmbedRequest(image=image), ("api-key", wrong_key)),
            call(classifier.Classify, classifier_pb2.ClassifyRequest(image=image), sent),
            call(classifier.Classify, classifier_pb2.ClassifyRequest(image=torn), sent),
        ]


def operators_pages(everything: list[Service]) -> bytes:
    ports = [re.search(r'"port": (\d+)[^}]*"event": "listening for operators"', each.output()) for each in everything]
    assert all(ports)
    return b"".join(httpx.get(f"http://127.0.0.1:{port[1]}/metrics", headers=PAGE).content for port in ports if port)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory, redis_of_the_session: object) -> Iterator[Traces]:
    directory = tmp_path_factory.mktemp("privacy")
    url: str = redis_of_the_session.url  # type: ignore[attr-defined]
    own_log: Path = redis_of_the_session.directory / "redis.log"  # type: ignore[attr-defined]
    keys = write_keys(directory / "keys.json", shop="admin", services="admin")
    secrets = {
        "key": keys["shop"],
        "key of the services": keys["services"],
        "unknown key": new_secret(),
        "token": bearer(USER, TOKEN_KEY)["Authorization"].split()[1],
        "expired token": bearer(USER, TOKEN_KEY, lifetime_s=-60)["Authorization"].split()[1],
        "key of tokens": TOKEN_KEY,
    }
    with collector() as received:
        everywhere = {
            "SERVER_KEYS_FILE": str(directory / "keys.json"),
            "CLIENT_API_KEY": keys["services"],
            "GATEWAY_TOKEN_KEY": TOKEN_KEY,
            "SERVER_ADMIN_PORT": "0",
            "SERVER_LOG_LEVEL": "debug",
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.grpc_url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        with services(directory, url, everywhere) as running:
            gateway, address = gateway_service(directory, running.search.target, **everywhere)
            gateway.start()
            try:
                wait_until_ready(address)
                everything = [*running.all(), gateway]
                _visit(running.search.target, address, running.all(), url, secrets)
                yield _left(everything, received, secrets, own_log)
            finally:
                assert gateway.terminate() == 0, gateway.output()


def _visit(search: str, gateway: str, three: tuple[Service, ...], redis_url: str, secrets: dict[str, str]) -> None:
    with grpc.insecure_channel(search) as channel:
        upsert = search_pb2_grpc.SearchServiceStub(channel).UpsertProducts
        assert call(upsert, search_pb2.UpsertProductsRequest(rows=rows()), ("api-key", secrets["key"])) == "OK"
    given = secrets["key"], secrets["unknown key"], secrets["expired token"]
    by_name = dict(zip(("embedder", "classifier", "search"), three, strict=True))
    with httpx.Client(base_url=gateway, timeout=30) as http:
        assert visit_over_grpc(by_name, *given) == [
            *("OK", "OK", "NOT_FOUND", "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
            *("UNAUTHENTICATED", "UNAUTHENTICATED", "UNAUTHENTICATED", "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
            *("UNAUTHENTICATED", "OK", "INVALID_ARGUMENT"),
        ]
        assert visit_over_http(http, *given) == [
            *(200, 200, 200, 200, 200),
            *(401, 401, 401, 403, 401, 404, 400, 404, 404, 400, 400, 415, 400, 400, 405, 200),
        ]
        # Redis answers with an error, whose text is logged.
        with redis.Redis.from_url(redis_url) as client:
            client.set(disliked_colours_key(USER), f"not what {USER} dislikes")
            colours = f"/v1/users/{quote(USER, safe='')}/disliked-colours"
            assert http.get(colours, headers=bearer(USER, TOKEN_KEY)).status_code == 503
            client.delete(disliked_colours_key(USER))


def _left(everything: list[Service], received: Collector, secrets: dict[str, str], redis_log: Path) -> Traces:
    # Answers come before their lines and spans.
    for service in everything:
        eventually(lambda service=service: '"call"' in service.output() or '"request"' in service.output())
    eventually(
        lambda: {each.service for each in received.spans()} >= {f"fashion-{each.module[9:]}" for each in everything}
    )
    eventually(lambda: "Redis fails" in everything[2].output(), "search has not logged the failure of Redis")
    logs = "\n".join(each.output() for each in everything).encode() + redis_log.read_bytes()
    spans = b"".join(each.SerializeToString() for each in received.requests)
    return Traces(logs, operators_pages(everything), spans, secrets)


def test_what_may_stand_somewhere_is_found_there(left: Traces) -> None:
    # Otherwise the tests below could not fail.
    assert left.holders(PRODUCT) == {"logs"}
    assert left.holders("FindSimilar") == {"logs", "metrics", "spans"}
    assert left.holders("/v1/users/{user_id}/disliked-colours") == {"logs", "metrics", "spans"}


def test_nothing_names_the_user(left: Traces) -> None:
    assert left.holders(USER) == set()
    assert left.holders(USER.partition("@")[0]) == set()


@pytest.mark.parametrize(
    "name", ["key", "key of the services", "unknown key", "token", "expired token", "key of tokens"]
)
def test_nothing_holds_a_secret(left: Traces, name: str) -> None:
    secret = left.secrets[name]
    assert left.holders(secret) == set()
    # Nor the part of a token that names its user, nor half of a key.
    assert left.holders(secret.rpartition(".")[0] or secret[: len(secret) // 2]) == set()


def test_nothing_holds_a_photograph(left: Traces) -> None:
    assert left.holders(IN_PHOTOGRAPH) == set()


def test_metrics_and_spans_name_no_product(left: Traces) -> None:
    assert left.holders(UNKNOWN) == {"logs"}
