"""What holds for every request: CORS, ids, compression, limits, deadlines, callers that leave, the drain."""

import asyncio
import gzip
import io
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from fashion.v1 import search_pb2
from services.contract.errors import FashionError, ModelMismatch, Overloaded, Upstream
from services.serving.telemetry import configure_logging
from tests.support.gateways import Shop, gateway_in_thread, problem, shop
from tests.support.processes import free_port, gateway_service
from tests.support.small_shop import photograph, rows
from tests.support.waiting import eventually

ALLOWED, FOREIGN = "https://shop.example", "https://evil.example"
SHIRT = "men-tshirts-blue-0"


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    data_dir = tmp_path_factory.mktemp("shop")
    with shop(data_dir, allowed_origins=f"{ALLOWED}, http://localhost:3000", max_image_bytes=50_000) as found:
        found.grpc.upsert(rows())
        yield found


class HeldSearch:
    """A search whose answers the test controls."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.asked, self.cancelled, self.let_go = threading.Event(), threading.Event(), threading.Event()

    async def serving(self) -> bool:
        return True

    async def dislikes_known(self) -> bool:
        return True

    async def get_product(self, product_id: str) -> search_pb2.GetProductResponse:
        self.asked.set()
        if self.error is not None:
            raise self.error
        try:
            while not self.let_go.is_set():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        answer = search_pb2.GetProductResponse()
        answer.product.id = product_id
        return answer


# --- Other origins


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/products?page_size=1", 200),
        ("/v1/products/nothing", 404),
        ("/v1/products?page_size=-1", 400),
        ("/v1/nothing", 404),
        (f"/v1/products/{SHIRT}/image", 200),
    ],
)
def test_an_allowed_origin_may_read_answers_and_errors_and_no_other_may(
    catalogue: Shop, path: str, status: int
) -> None:
    for origin, allowed in ((ALLOWED, ALLOWED), (FOREIGN, None), ("null", None), (f"{ALLOWED}.evil.example", None)):
        answer = catalogue.http.get(path, headers={"Origin": origin})
        assert answer.status_code == status
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers
    # A cache must not serve the shop's pages an answer that was given without an origin.
    assert "Origin" in catalogue.http.get(path).headers["vary"]


def test_errors_at_the_edge_may_be_read_too(catalogue: Shop) -> None:
    answer = catalogue.http.post(
        "/v1/similar", content=bytes(200_000), headers={"Origin": ALLOWED, "Content-Type": "image/png"}
    )
    problem(answer, 413, "BODY_TOO_LARGE")
    assert answer.headers["access-control-allow-origin"] == ALLOWED


def test_preflights_are_answered_by_the_list(catalogue: Shop) -> None:
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
    path = "/v1/users/ada/disliked-colours/Blue"
    answer = catalogue.http.options(path, headers={"Origin": ALLOWED, **asked})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, ALLOWED)
    assert {"PUT", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert {"Authorization", "Traceparent", "Tracestate"} <= set(allowed)
    refused = catalogue.http.options(path, headers={"Origin": FOREIGN, **asked})
    assert refused.status_code == 403
    session = catalogue.http.options("/storefront/session", headers={"Origin": ALLOWED, **asked})
    for answer in (refused, session):
        assert not any(name.startswith("access-control") for name in answer.headers)


def test_the_element_is_for_any_page(catalogue: Shop) -> None:
    answer = catalogue.http.get("/elements/similar-items.js", headers={"Origin": FOREIGN})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["cache-control"] == "public, max-age=300"
    again = catalogue.http.get("/elements/similar-items.js", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_a_star_allows_every_origin() -> None:
    with gateway_in_thread(None, allowed_origins="*") as gateway:
        answer = httpx.get(f"http://127.0.0.1:{gateway.port}/healthz", headers={"Origin": FOREIGN})
        assert answer.headers["access-control-allow-origin"] == "*"


# --- Headers


def test_a_request_id_is_taken_over_or_made_and_logged(catalogue: Shop) -> None:
    sent = catalogue.http.get("/v1/products/nothing", headers={"X-Request-ID": "checkout-17"})
    assert problem(sent, 404, "PRODUCT_NOT_FOUND")["request_id"] == "checkout-17"
    for bad in ("a b", "x" * 129, "<script>"):
        made = catalogue.http.get("/healthz", headers={"X-Request-ID": bad}).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", made)
    assert re.fullmatch("[0-9a-f]{32}", catalogue.http.get("/healthz").headers["x-request-id"])


def test_a_line_is_logged_that_names_no_user(tmp_path: Path) -> None:
    log = io.StringIO()
    with shop(tmp_path, token_free=True) as found:
        configure_logging("info", "json", stream=log)
        found.http.get("/v1/users/ada-lovelace/disliked-colours", headers={"X-Request-ID": "checkout-18"})
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    line = next(line for line in lines if line["event"] == "request")
    assert (line["request_id"], line["status"], line["method"]) == ("checkout-18", 200, "GET")
    assert line["route"] == "/v1/users/{user_id}/disliked-colours"
    assert "ada-lovelace" not in log.getvalue()


def test_a_line_says_what_was_asked_and_holds_no_user_and_no_token(tmp_path: Path) -> None:
    log = io.StringIO()
    with shop(tmp_path, token_free=True) as found:
        configure_logging("info", "json", stream=log)
        http = found.http
        http.get(
            "/v1/products/a%2Fb/similar?base_colour=Navy%20Blue&base_colour=Red&user_id=ada-lovelace&access_token=s3cret"
        )
        http.get("/v1/products/gone/image?width=240", headers={"Authorization": "Bearer s3cret"})
        http.post("/v1/similar", json={"product_id": "shirt-1", "limit": 3, "user_id": "ada-lovelace"})
        http.post("/v1/similar?limit=4", files={"image": b"x"}, data={"user_id": "ada-lovelace", "region": "0,0,1,1"})
        http.get("/v1/facets?season=Monsoon&page_token=s3cret")
        http.get(f"/v1/products/{'x' * 3000}")
        http.get("/healthz")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    asked = [(line.get("product"), line.get("query")) for line in lines if line["event"] == "request"]
    assert asked == [
        ("a/b", "base_colour=Navy%20Blue&base_colour=Red"),
        ("gone", "width=240"),
        ("shirt-1", "limit=3"),
        (None, "limit=4&region=0,0,1,1"),
        (None, "season=Monsoon"),
        ("x" * 1000, None),
    ]
    assert "ada-lovelace" not in log.getvalue()
    assert "s3cret" not in log.getvalue()


def test_every_answer_is_guarded(catalogue: Shop) -> None:
    for path in ("/v1/products", "/v1/nothing", "/readyz", "/openapi.json", f"/v1/products/{SHIRT}/image"):
        headers = catalogue.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
        assert headers["cache-control"]
        assert "server" not in headers


def test_pages_run_nothing_but_their_own(catalogue: Shop) -> None:
    for path in ("/", "/p/a%2Fb", "/photo", "/inspect", "/map"):
        answer = catalogue.http.get(path)
        if answer.status_code == 404:
            pytest.skip("the storefront's pages are not there")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "unsafe" not in policy and "frame-ancestors 'none'" in policy


def test_nothing_outside_of_the_folders_is_served(catalogue: Shop) -> None:
    for path in ("/assets/../index.html", "/assets/%2e%2e/%2e%2e/app.py", "/assets/..%2f..%2fapp.py", "/assets/%00"):
        raw = catalogue.http.build_request("GET", catalogue.url)
        raw.url = raw.url.copy_with(raw_path=path.encode())
        assert catalogue.http.send(raw).status_code == 404, path


def test_the_map_is_served_where_there_is_one(catalogue: Shop) -> None:
    problem(catalogue.http.get("/map.json"), 404, "PAGE_NOT_FOUND")
    folder = catalogue.data_dir / "map"
    folder.mkdir()
    (folder / "map.json").write_text('{"products": []}')
    answer = catalogue.http.get("/map.json")
    assert answer.json() == {"products": []} and answer.headers["content-type"] == "application/json"
    (folder / "map.json").write_text('{"products": [1]}')
    assert catalogue.http.get("/map.json", headers={"If-None-Match": answer.headers["etag"]}).json() == {
        "products": [1]
    }


def test_long_answers_are_compressed_for_those_who_understand(catalogue: Shop) -> None:
    with catalogue.http.stream("GET", "/v1/products", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip" and "Accept-Encoding" in answer.headers["vary"]
        raw = b"".join(answer.iter_raw())
    plain = catalogue.http.get("/v1/products", headers={"Accept-Encoding": "identity"})
    assert gzip.decompress(raw) == plain.content and len(raw) < len(plain.content) / 4
    image = catalogue.http.get(f"/v1/products/{SHIRT}/image", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in image.headers


def test_other_methods_are_refused_with_those_that_there_are(catalogue: Shop) -> None:
    for path, method, allow in (
        ("/v1/products", "POST", "GET, HEAD"),
        ("/v1/similar", "GET", "POST"),
        ("/v1/users/ada/disliked-colours/Blue", "POST", "DELETE, PUT"),
        ("/v1/users/ada", "TRACE", "DELETE"),
    ):
        answer = catalogue.http.request(method, path)
        problem(answer, 405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"] == allow


# --- Bodies


def test_a_body_that_says_it_is_too_long_is_refused(catalogue: Shop) -> None:
    for kind in (
        {"content": bytes(20_000_000), "headers": {"Content-Type": "image/png"}},
        {"files": {"image": bytes(20_000_000)}},
    ):
        problem(catalogue.http.post("/v1/similar", **kind), 413, "BODY_TOO_LARGE")  # type: ignore[arg-type]


def test_a_body_that_does_not_say_how_long_it_is_is_refused_while_it_comes(catalogue: Shop) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 400_000_000:
            sent += 65_536
            yield bytes(65_536)

    try:
        answer = catalogue.http.post("/v1/similar", content=endless(), headers={"Content-Type": "image/png"})
        problem(answer, 413, "BODY_TOO_LARGE")
    except httpx.WriteError:
        # A sender that never ends is cut off.
        pass
    assert sent < 300_000_000
    assert catalogue.http.get("/readyz").status_code == 200


def test_an_image_within_the_limit_of_the_body_but_too_long_is_refused(catalogue: Shop) -> None:
    problem(catalogue.http.post("/v1/similar", files={"image": bytes(50_001)}), 413, "IMAGE_TOO_LARGE")
    problem(
        catalogue.http.post(
            "/v1/similar",
            content=b'{"product_id": "' + b"x" * 300_000 + b'"}',
            headers={"Content-Type": "application/json"},
        ),
        413,
        "BODY_TOO_LARGE",
    )


def test_a_body_that_does_not_arrive_is_not_waited_for() -> None:
    with (
        gateway_in_thread(HeldSearch(), upload_timeout_s=0.3) as gateway,
        socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as caller,
    ):
        caller.sendall(
            b"POST /v1/similar HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\nabc"
        )
        with caller.makefile("rb") as received:
            # Until the gateway closes the connection.
            answer = received.read()
    assert answer.startswith(b"HTTP/1.1 408 ") and b"UPLOAD_TIMEOUT" in answer


# --- Time and load


def test_search_that_does_not_answer_is_504() -> None:
    search = HeldSearch()
    with gateway_in_thread(search, deadline_s=0.3) as gateway:
        problem(httpx.get(f"http://127.0.0.1:{gateway.port}/v1/products/x", timeout=30), 504, "DEADLINE_EXCEEDED")
        assert search.cancelled.wait(10)


@pytest.mark.parametrize(
    ("error", "status", "reason", "retry"),
    [
        (Overloaded("full", reason="QUEUE_FULL"), 503, "QUEUE_FULL", "1"),
        (Upstream("down", reason="PREFERENCES_UNAVAILABLE"), 503, "PREFERENCES_UNAVAILABLE", "1"),
        (ModelMismatch("other", reason="MODEL_VERSION_MISMATCH"), 409, "MODEL_VERSION_MISMATCH", None),
        (FashionError("secret", reason="SECRET"), 500, "INTERNAL", None),
        (RuntimeError("secret"), 500, "INTERNAL", None),
        (asyncio.CancelledError("secret"), 500, "INTERNAL", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_each_category_has_its_status_and_the_unexpected_tells_nothing(
    error: BaseException, status: int, reason: str, retry: str | None
) -> None:
    with gateway_in_thread(HeldSearch(error), allowed_origins=ALLOWED) as gateway:
        answer = httpx.get(
            f"http://127.0.0.1:{gateway.port}/v1/products/x",
            headers={"Origin": ALLOWED, "X-Request-ID": "r"},
            timeout=30,
        )
    assert problem(answer, status, reason)["request_id"] == "r"
    assert answer.headers.get("retry-after") == retry
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert "secret" not in answer.text


def test_work_is_given_up_once_the_caller_has_gone() -> None:
    search = HeldSearch()
    with gateway_in_thread(search) as gateway:
        caller = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
        caller.sendall(b"GET /v1/products/x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert search.asked.wait(20) and not search.cancelled.is_set()
        caller.close()
        assert search.cancelled.wait(10)


def test_more_requests_than_fit_are_refused_and_probes_are_not() -> None:
    search = HeldSearch()
    with gateway_in_thread(search, max_concurrent_requests=1) as gateway:
        url = f"http://127.0.0.1:{gateway.port}"
        first, answers = _in_background(lambda: httpx.get(f"{url}/v1/products/x", timeout=30))
        assert search.asked.wait(20)
        refused = httpx.get(f"{url}/v1/products/y", timeout=30)
        problem(refused, 503, "TOO_MANY_REQUESTS")
        assert refused.headers["retry-after"] == "1"
        assert httpx.get(f"{url}/readyz", timeout=30).status_code == 200
        search.let_go.set()
        first.join(30)
        assert answers[0].json()["id"] == "x"
        assert httpx.get(f"{url}/v1/products/y", timeout=30).status_code == 200


def test_until_search_is_there_it_lives_but_is_not_ready() -> None:
    with gateway_in_thread(None) as gateway:
        url = f"http://127.0.0.1:{gateway.port}"
        assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
        assert (httpx.get(f"{url}/readyz").status_code, httpx.get(f"{url}/readyz").json()) == (
            503,
            {"status": "starting"},
        )
        problem(httpx.get(f"{url}/v1/products/x"), 503, "INDEX_NOT_READY")


def test_a_drain_says_so_first_and_finishes_what_is_in_flight() -> None:
    search = HeldSearch()
    with gateway_in_thread(search) as gateway:
        url = f"http://127.0.0.1:{gateway.port}"
        first, answers = _in_background(lambda: httpx.get(f"{url}/v1/products/x", timeout=30))
        assert search.asked.wait(20)
        gateway.drain()
        assert httpx.get(f"{url}/readyz").json() == {"status": "draining"}
        threading.Timer(0.5, search.let_go.set).start()
    first.join(30)
    assert (answers[0].status_code, answers[0].json()["id"]) == (200, "x")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz", timeout=5)


def _in_background(call: Callable[[], httpx.Response]) -> tuple[threading.Thread, list[httpx.Response]]:
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    return thread, answers


def test_many_at_once_are_all_answered(catalogue: Shop) -> None:
    content = photograph("Women Dresses", "Red", 12)
    calls = [
        _in_background(
            lambda: httpx.post(f"{catalogue.url}/v1/similar", files={"image": content}, data={"limit": "2"}, timeout=60)
        )
        for _ in range(16)
    ]
    began = time.monotonic()
    for thread, _ in calls:
        thread.join(60)
    assert time.monotonic() - began < 60
    assert {tuple(each["product"]["id"] for each in answers[0].json()["products"]) for _, answers in calls} == {
        ("women-dresses-red-0", "women-dresses-red-25")
    }


@pytest.mark.parametrize("storefront", [True, False])
def test_a_reference_page_shows_the_whole_openapi_document(storefront: bool) -> None:
    with (
        gateway_in_thread(None, storefront=storefront) as gateway,
        httpx.Client(base_url=f"http://127.0.0.1:{gateway.port}", timeout=30) as client,
    ):
        document = client.get("/openapi.json").json()
        answer = client.get("/docs")
        page = answer.text
        styles = client.get("/docs.css")
        again = client.get("/docs", headers={"If-None-Match": answer.headers["etag"]})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert styles.headers["content-type"].startswith("text/css") and again.status_code == 304
    assert "/docs" not in document["paths"]
    # It loads nothing from elsewhere, and runs nothing.
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert all(re.match(r"#|/(?!/)", link) for link in links) and "<script" not in page
    anchors = set(re.findall(r'id="([^"]*)"', page))
    assert {link[1:] for link in links if link.startswith("#")} <= anchors
    for path, operations in document["paths"].items():
        assert f"<code>{path}</code>" in page
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                assert f"<code>{parameter['name']}</code>" in page
    for name, schema in document["components"]["schemas"].items():
        assert f"schema-{name}" in anchors
        for field in schema.get("properties", {}):
            assert f"<code>{field}</code>" in page


def test_whoever_asks_learns_no_address_of_search(tmp_path: Path) -> None:
    port = free_port()
    gateway, url = gateway_service(tmp_path, f"127.0.0.1:{port}")
    gateway.start()
    try:
        eventually(lambda: "listening for HTTP" in gateway.output())
        told = problem(httpx.get(f"{url}/v1/products/x", timeout=30), 503, "SEARCH_UNAVAILABLE")
        assert str(port) not in json.dumps(told) and "127.0.0.1" not in json.dumps(told)
        # The operator does.
        assert f"127.0.0.1:{port}" in gateway.output()
    finally:
        gateway.terminate()
