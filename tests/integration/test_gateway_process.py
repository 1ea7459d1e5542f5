"""The gateway in a process of its own: the same answers as search, also after a restart of search, and the drain."""

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from fashion.v1 import types_pb2
from tests.support.deployment import container_probe
from tests.support.gateways import KEY, bearer, problem
from tests.support.processes import EXPOSED, Service, Services, free_port, gateway_service, services
from tests.support.running import calling
from tests.support.small_shop import photograph, rows
from tests.support.waiting import eventually

SHIRT = "men-tshirts-blue-0"


_gateway = partial(gateway_service, GATEWAY_TOKEN_KEY=KEY)


def _eventually(holds: Callable[[], bool], why: str) -> None:
    def reached() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return holds()
        return False

    eventually(reached, why)


def _ready(url: str) -> Callable[[], bool]:
    return lambda: httpx.get(f"{url}/readyz", timeout=5).status_code == 200


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, redis_of_the_session: object) -> Iterator[Services]:
    directory = tmp_path_factory.mktemp("services")
    url: str = redis_of_the_session.url  # type: ignore[attr-defined]
    with services(directory, url) as made, calling(made.search.target) as caller:
        caller.upsert(rows())
        yield made


def test_it_answers_what_search_answers_and_survives_its_restart(running: Services, tmp_path: Path) -> None:
    gateway, url = _gateway(tmp_path, running.search.target)
    gateway.start()
    try:
        _eventually(_ready(url), "the gateway is not ready")
        with calling(running.search.target) as caller, httpx.Client(base_url=url, timeout=30) as http:
            expected = [each.product.id for each in caller.find(product_id=SHIRT, top_k=5).products]
            told = http.get(f"/v1/products/{SHIRT}/similar", params={"limit": 5}).json()
            assert [each["product"]["id"] for each in told["products"]] == expected
            content = photograph("Women Dresses", "Red", 12)
            found = caller.find(image=types_pb2.Image(content=content), top_k=5)
            told = http.post("/v1/similar", files={"image": content}, data={"limit": "5"}).json()
            assert [each["product"]["id"] for each in told["products"]] == [each.product.id for each in found.products]
            assert http.get(f"/v1/products/{SHIRT}/image", params={"width": 120}).status_code == 200
            headers = bearer("ada")
            path = "/v1/users/ada/disliked-colours"
            assert http.put(f"{path}/Red", headers=headers).status_code == 200
            assert [each.colour for each in caller.dislike("ada", "Blue").colours] == ["Blue", "Red"]
            problem(http.get("/v1/products/nothing"), 404, "PRODUCT_NOT_FOUND")
            problem(http.get("/v1/products?season=Monsoon"), 400, "FILTER_VALUE_UNKNOWN")
            # The request id goes along to search, and both log it.
            http.get("/v1/products/nothing", headers={"X-Request-ID": "from-the-checkout"})
            _eventually(lambda: "from-the-checkout" in running.search.output(), "search has not heard of the id")
            _eventually(lambda: "from-the-checkout" in gateway.output(), "the gateway has not logged the id")

            running.search.kill()
            _eventually(lambda: http.get("/readyz").status_code == 503, "it still takes itself for ready")
            assert http.get("/healthz").status_code == 200
            refused = http.get(f"/v1/products/{SHIRT}")
            problem(refused, 503, "SEARCH_UNAVAILABLE")
            assert refused.headers["retry-after"] == "1"
            running.search.start()
            running.search.wait_until_serving()
            _eventually(_ready(url), "it has not found search again")
            assert http.get(f"/v1/products/{SHIRT}").status_code == 200
            assert [each["colour"] for each in http.get(path, headers=headers).json()["colours"]] == ["Blue", "Red"]
    finally:
        status = gateway.terminate()
    assert status == 0, gateway.output()
    assert "Traceback" not in gateway.output()


def test_before_it_drains_it_says_so(running: Services, tmp_path: Path) -> None:
    gateway, url = _gateway(tmp_path, running.search.target, SERVER_DRAIN_DELAY_S="5")
    gateway.start()
    assert gateway.process is not None
    _eventually(_ready(url), "the gateway is not ready")
    gateway.process.send_signal(signal.SIGTERM)
    _eventually(lambda: httpx.get(f"{url}/readyz").json() == {"status": "draining"}, "it does not say that it drains")
    # Callers that still come are answered.
    assert httpx.get(f"{url}/v1/products/{SHIRT}", timeout=20).status_code == 200
    assert gateway.process.wait(30) == 0, gateway.output()


def test_without_search_it_starts_and_is_not_ready(tmp_path: Path) -> None:
    admin_port = free_port()
    gateway, url = _gateway(tmp_path, f"127.0.0.1:{free_port()}", SERVER_ADMIN_PORT=str(admin_port))
    gateway.start()
    try:
        _eventually(lambda: httpx.get(f"{url}/healthz").status_code == 200, "it does not live")
        states = {"starting", "unavailable"}

        def unavailable() -> bool:
            answer = httpx.get(f"{url}/readyz", timeout=10)
            assert answer.status_code == 503
            status = answer.json()["status"]
            assert status in states
            return bool(status == "unavailable")

        _eventually(unavailable, "it does not say that search is away")
        assert httpx.get(f"http://127.0.0.1:{admin_port}/healthz").status_code == 200
        assert subprocess.run(container_probe(admin_port), timeout=30, check=False).returncode == 1
    finally:
        assert gateway.terminate() == 0, gateway.output()


@pytest.mark.parametrize(
    ("environment", "status", "word"),
    [
        ({"GATEWAY_TOKEN_KEY": "short-secret"}, 2, "GATEWAY_TOKEN_KEY"),
        ({"GATEWAY_ALLOWED_ORIGINS": "shop.example"}, 2, "GATEWAY_ALLOWED_ORIGINS"),
        ({"GATEWAY_ALLOWED_ORIGINS": "https://shop.example,*"}, 2, "GATEWAY_ALLOWED_ORIGINS"),
        ({"GATEWAY_PORT": "eighty"}, 2, "GATEWAY_PORT"),
        ({"GATEWAY_HOST": "203.0.113.1", **EXPOSED}, 1, "GATEWAY_HOST"),
        ({"GATEWAY_HOST": "203.0.113.1"}, 2, "GATEWAY_HOST"),
    ],
    ids=["short key", "no origin", "star among others", "no number", "another machine's address", "open"],
)
def test_bad_settings_end_it_with_one_line(tmp_path: Path, environment: dict[str, str], status: int, word: str) -> None:
    gateway, _ = _gateway(tmp_path, "localhost:1", **environment)
    gateway.start()
    assert gateway.process is not None
    assert gateway.process.wait(60) == status
    said = [line for line in gateway.output().splitlines() if line.startswith("gateway: ")]
    assert len(said) == 1 and word in said[0], gateway.output()
    assert "short-secret" not in gateway.output()


def test_the_stack_says_it_drains_before_grpc_does(tmp_path: Path) -> None:
    port = free_port()
    stack = Service(
        "services.stack",
        "",
        free_port(),
        {
            "SEARCH_DATA_DIR": str(tmp_path / "data"),
            "EMBEDDER_RUNTIME": "fake",
            "REDIS_URL": "",
            "GATEWAY_PORT": str(port),
            "SERVER_DRAIN_DELAY_S": "5",
        },
        tmp_path / "stack.log",
    )
    url = f"http://127.0.0.1:{port}"
    stack.start()
    assert stack.process is not None
    _eventually(lambda: httpx.get(f"{url}/healthz").status_code == 200, "HTTP is not there")
    stack.wait_until_serving()
    _eventually(_ready(url), "the gateway is not ready")
    with calling(stack.target) as caller:
        caller.upsert(rows())
        stack.process.send_signal(signal.SIGTERM)
        _eventually(
            lambda: httpx.get(f"{url}/readyz").json() == {"status": "draining"}, "it does not say that it drains"
        )
        assert httpx.get(f"{url}/v1/products/{SHIRT}", timeout=20).status_code == 200
        assert caller.index().product_count == 40
    assert stack.process.wait(30) == 0, stack.output()
    assert "Traceback" not in stack.output()
