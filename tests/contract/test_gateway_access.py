"""Disliked colours: who may read and change them with which token, and who gets a token from the storefront."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.support.gateways import KEY, Shop, bearer, problem, shop
from tests.support.small_shop import rows

OLD_KEY = "the-key-before-that-one-just-as-long"
USER = "/v1/users/ada"
COLOURS = f"{USER}/disliked-colours"
USER_CALLS = (("GET", COLOURS), ("PUT", f"{COLOURS}/Blue"), ("DELETE", f"{COLOURS}/Blue"), ("DELETE", USER))


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("keyed"), token_key=f"{KEY},{OLD_KEY}", token_max_lifetime_s=600) as found:
        found.grpc.upsert(rows())
        yield found


@pytest.fixture(scope="module")
def keyless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("keyless")) as found:
        found.grpc.upsert(rows())
        yield found


def _signed(key: str = KEY, algorithm: str = "HS256", **claims: object) -> dict[str, str]:
    values: dict[str, Any] = {"sub": "ada", "aud": "fashion", "exp": time.time() + 300, **claims}
    token = jwt.encode({name: value for name, value in values.items() if value is not None}, key, algorithm=algorithm)
    return {"Authorization": f"Bearer {token}"}


def test_a_user_dislikes_and_forgets_with_a_token(keyed: Shop) -> None:
    headers = bearer("ada")
    assert keyed.http.get(COLOURS, headers=headers).json() == {"colours": []}
    added = keyed.http.put(f"{COLOURS}/Blue", headers=headers)
    blue = {"colour": "Blue", "exact": False, "covers": ["Blue", "Navy Blue"]}
    assert added.json() == {"colours": [blue]}
    exact = keyed.http.put(f"{COLOURS}/Navy%20Blue", params={"exact": "true"}, headers=headers)
    navy = {"colour": "Navy Blue", "exact": True, "covers": ["Navy Blue"]}
    assert exact.json() == {"colours": [blue, navy]}
    # Search uses the same store.
    found = keyed.grpc.find(product_id="women-dresses-red-0", user_id="ada")
    assert list(found.applied.excluded_colours) == ["Blue", "Navy Blue"]
    assert keyed.http.delete(f"{COLOURS}/Blue", headers=headers).json() == {"colours": [navy]}
    assert keyed.http.delete(f"{COLOURS}/Blue", headers=headers).json() == {"colours": [navy]}
    for answer in (added, exact):
        assert answer.headers["cache-control"] == "private, no-store"
    assert keyed.http.delete(USER, headers=headers).json() == {"existed": True}
    assert keyed.http.delete(USER, headers=headers).json() == {"existed": False}


def test_an_unknown_colour_is_refused_with_the_nearest(keyed: Shop) -> None:
    told = problem(keyed.http.put(f"{COLOURS}/Bleu", headers=bearer("ada")), 400, "COLOUR_UNKNOWN")
    assert "Blue" in told["metadata"]["nearest"]


def test_a_user_with_a_slash_is_one_user(keyed: Shop) -> None:
    headers = bearer("a/b%")
    assert keyed.http.put("/v1/users/a%2Fb%25/disliked-colours/Red", headers=headers).status_code == 200
    assert keyed.http.get("/v1/users/a%2fb%25/disliked-colours", headers=headers).json()["colours"]
    assert keyed.http.delete("/v1/users/a%2Fb%25", headers=headers).json() == {"existed": True}


@pytest.mark.parametrize(("method", "path"), USER_CALLS)
def test_without_a_token_nothing_of_a_user_is_told(keyed: Shop, method: str, path: str) -> None:
    answer = keyed.http.request(method, path)
    problem(answer, 401, "TOKEN_MISSING")
    assert answer.headers["www-authenticate"] == 'Bearer realm="fashion"'


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        (lambda: bearer("bob"), 403, "TOKEN_OF_ANOTHER_USER"),
        (lambda: _signed(key=KEY[:-1] + "x"), 401, "TOKEN_INVALID"),
        (lambda: _signed(exp=time.time() - 60), 401, "TOKEN_EXPIRED"),
        (lambda: _signed(exp=time.time() + 100_000), 401, "TOKEN_INVALID"),
        (lambda: _signed(exp=None), 401, "TOKEN_INVALID"),
        (lambda: _signed(sub=None), 401, "TOKEN_INVALID"),
        (lambda: _signed(sub=""), 401, "TOKEN_INVALID"),
        (lambda: _signed(aud=None), 401, "TOKEN_INVALID"),
        (lambda: _signed(aud="another"), 401, "TOKEN_INVALID"),
        (lambda: _signed(algorithm="HS512"), 401, "TOKEN_INVALID"),
        (lambda: _signed(key="", algorithm="none"), 401, "TOKEN_INVALID"),
        (lambda: {"Authorization": "Bearer"}, 401, "TOKEN_INVALID"),
        (lambda: {"Authorization": "Bearer x.y.z"}, 401, "TOKEN_INVALID"),
        (lambda: {"Authorization": "Basic YWRhOg=="}, 401, "TOKEN_INVALID"),
    ],
    ids=[
        "another user",
        "another key",
        "expired",
        "too long",
        "no end",
        "no user",
        "empty user",
        "no audience",
        "another audience",
        "another algorithm",
        "unsigned",
        "no token",
        "no JWT",
        "no bearer",
    ],
)
def test_a_token_that_does_not_count_is_refused_everywhere(
    keyed: Shop, headers: Callable[[], dict[str, str]], status: int, reason: str
) -> None:
    # Each token is signed when its test runs: one signed when the file was read expires in a long run.
    calls = [*USER_CALLS, ("GET", "/v1/products/men-tshirts-blue-0/similar?user_id=ada")]
    for method, path in calls:
        answer = keyed.http.request(method, path, headers=headers())
        problem(answer, status, reason)
        assert answer.headers["www-authenticate"].startswith('Bearer realm="fashion", error=')


def test_the_key_before_is_still_good_while_keys_change(keyed: Shop) -> None:
    assert keyed.http.get(COLOURS, headers=bearer("ada", OLD_KEY)).status_code == 200
    assert keyed.http.get(COLOURS, headers=_signed(exp=int(time.time()) + 300)).status_code == 200


@pytest.fixture(scope="module", params=["", KEY], ids=["without a key", "with a key"])
def token_free(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("token_free"), token_free=True, token_key=request.param) as found:
        found.grpc.upsert(rows())
        yield found


@pytest.mark.parametrize(("method", "path"), USER_CALLS)
def test_behind_a_bare_proxy_nothing_of_a_user_is_told(keyless: Shop, keyed: Shop, method: str, path: str) -> None:
    # Such a proxy adds no header, and asks by the address of its upstream: nothing tells its callers from local ones.
    for found in (keyless, keyed):
        problem(found.http.request(method, path), 401, "TOKEN_MISSING")
        similar = found.http.get("/v1/products/men-tshirts-blue-0/similar", params={"user_id": "ada"})
        problem(similar, 401, "TOKEN_MISSING")


def test_callers_on_this_machine_need_no_token_where_a_setting_says_so(token_free: Shop) -> None:
    keyless = token_free
    assert keyless.http.put(f"{COLOURS}/Red").status_code == 200
    assert [each["colour"] for each in keyless.http.get(COLOURS).json()["colours"]] == ["Red"]
    similar = keyless.http.get("/v1/products/men-tshirts-blue-0/similar", params={"user_id": "ada"})
    assert similar.json()["applied"]["excluded_colours"] == ["Red"]
    # A token that is sent has to be valid all the same.
    problem(keyless.http.get(COLOURS, headers=bearer("ada", KEY[:-1])), 401, "TOKEN_INVALID")
    assert keyless.http.delete(USER).json() == {"existed": True}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
    ],
    ids=lambda headers: " ".join(headers),
)
def test_a_foreign_page_or_a_proxy_is_not_this_machine(token_free: Shop, headers: dict[str, str]) -> None:
    for method, path in USER_CALLS:
        problem(token_free.http.request(method, path, headers=headers), 401, "TOKEN_MISSING")


def test_the_storefront_gets_tokens_for_its_demo_users(keyless: Shop) -> None:
    for found in (keyless,):
        answer = found.http.get("/storefront/session", params={"user_id": "demo-5f"}, headers={"Origin": found.url})
        told = answer.json()
        assert answer.headers["cache-control"] == "private, no-store"
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert told["user_id"] == "demo-5f" and told["expires_at"].endswith("Z")
        headers = {"Authorization": f"Bearer {told['token']}", "X-Forwarded-For": "203.0.113.9"}
        path = "/v1/users/demo-5f/disliked-colours"
        assert found.http.put(f"{path}/Red", headers=headers).status_code == 200
        assert found.http.get(path, headers=headers).json()["colours"]
        problem(found.http.get(COLOURS, headers=headers), 403, "TOKEN_OF_ANOTHER_USER")
        for user_id, status, reason in (
            ("ada-1234", 403, "NOT_A_DEMO_USER"),
            ("demo--" * 30, 400, "REQUEST_INVALID"),
            ("demo-", 400, "REQUEST_INVALID"),
        ):
            answer = found.http.get("/storefront/session", params={"user_id": user_id})
            problem(answer, status, reason)
        for header in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = found.http.get("/storefront/session", params={"user_id": "demo-5f"}, headers=header)
            problem(answer, 403, "FOREIGN_ORIGIN")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"Host": "evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
    ids=["a proxy", "another name", "a page of another name"],
)
def test_on_loopback_sessions_are_for_this_machine_alone(keyed: Shop, keyless: Shop, headers: dict[str, str]) -> None:
    for found in (keyed, keyless):
        answer = found.http.get("/storefront/session", params={"user_id": "demo-5f"}, headers=headers)
        problem(answer, 403, "SESSIONS_OFF")


@pytest.mark.parametrize("key", ["", KEY])
def test_without_the_storefront_there_is_no_session_and_no_page(tmp_path: Path, key: str) -> None:
    with shop(tmp_path, storefront=False, token_key=key) as found:
        problem(found.http.get("/storefront/session", params={"user_id": "demo-5f"}), 404, "PATH_NOT_FOUND")
        problem(found.http.get("/"), 404, "PATH_NOT_FOUND")
        assert found.http.get("/elements/similar-items.js").status_code == 200


def _own_address() -> str | None:
    """Returns an address of this machine that is not loopback, or None; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


@pytest.mark.parametrize("storefront", [True, False])
def test_off_loopback_and_without_a_key_users_are_off(tmp_path: Path, storefront: bool) -> None:
    with shop(tmp_path, host="0.0.0.0", storefront=storefront) as found:
        # The caller comes by loopback, but the gateway listens on all addresses.
        for method, path in USER_CALLS:
            answer = found.http.request(method, path)
            problem(answer, 401, "TOKEN_MISSING") if storefront else problem(answer, 403, "USER_ENDPOINTS_OFF")
        if storefront:
            told = found.http.get("/storefront/session", params={"user_id": "demo-5f"}).json()
            headers = {"Authorization": f"Bearer {told['token']}"}
            assert found.http.get("/v1/users/demo-5f/disliked-colours", headers=headers).status_code == 200
        address = _own_address()
        if address is not None:
            url = f"http://{address}:{found.url.rpartition(':')[2]}"
            assert httpx.get(f"{url}{COLOURS}", timeout=30).status_code in (401, 403)
            assert httpx.get(f"{url}/readyz", timeout=30).status_code == 200


def test_the_shops_key_signs_no_sessions(keyed: Shop) -> None:
    problem(keyed.http.get("/storefront/session", params={"user_id": "demo-5f"}), 403, "SESSIONS_OFF")


def test_a_gateway_that_others_reach_is_never_free_of_tokens(tmp_path: Path) -> None:
    with shop(tmp_path, host="0.0.0.0", token_free=True) as found:
        for method, path in USER_CALLS:
            problem(found.http.request(method, path), 401, "TOKEN_MISSING")


@pytest.mark.parametrize(
    "host", ["[", "[::1", "a b", "exa[mple", "a/b", "user@host", "", "x" * 300, "host:port", "host:99999"]
)
def test_a_host_that_is_none_is_refused(keyless: Shop, host: str) -> None:
    for path in ("/", "/v1/products", COLOURS, "/storefront/session?user_id=demo-5f", "/healthz"):
        problem(keyless.http.get(path, headers={"Host": host}), 400, "HOST_INVALID")


@pytest.mark.parametrize("origin", ["http://[", "[", "null", "http://", "//", "http://a b"])
def test_an_origin_that_is_none_is_a_foreign_one(keyless: Shop, origin: str) -> None:
    headers = {"Origin": origin}
    problem(keyless.http.get("/storefront/session?user_id=demo-5f", headers=headers), 403, "FOREIGN_ORIGIN")
    assert keyless.http.get("/v1/products", headers=headers).status_code == 200


def test_off_loopback_the_shops_key_signs_no_sessions(tmp_path: Path) -> None:
    with shop(tmp_path, host="0.0.0.0", token_key=KEY) as found:
        problem(found.http.get("/storefront/session", params={"user_id": "demo-5f"}), 403, "SESSIONS_OFF")
        assert found.http.get(COLOURS, headers=bearer("ada")).status_code == 200


def test_only_a_browser_gets_a_page_where_nothing_is(tmp_path: Path) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    with shop(tmp_path) as found:
        answer = found.http.get("/product/x", headers=browser)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        page = found.http.get("/")
        assert answer.text == page.text
        assert answer.headers["content-security-policy"] == page.headers["content-security-policy"]
        problem(found.http.get("/product/x"), 404, "PATH_NOT_FOUND")
        problem(found.http.get("/product/x", headers={"Accept": "application/json"}), 404, "PATH_NOT_FOUND")
        problem(found.http.post("/product/x", headers=browser), 404, "PATH_NOT_FOUND")
        problem(found.http.get("/v1/nothing", headers=browser), 404, "PATH_NOT_FOUND")
        problem(found.http.get("/v1/products/nothing", headers=browser), 404, "PRODUCT_NOT_FOUND")


def test_without_the_storefront_a_browser_gets_a_problem_where_nothing_is(tmp_path: Path) -> None:
    with shop(tmp_path, storefront=False) as found:
        problem(found.http.get("/product/x", headers={"Accept": "text/html"}), 404, "PATH_NOT_FOUND")
