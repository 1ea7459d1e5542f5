"""Photographs by URL: limits, repeated attempts, a cache that asks whether anything changed, addresses refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from offline.feeds import photographs
from offline.feeds.photographs import DownloadLimits, Downloads
from services.contract.errors import FashionError, Overloaded, Upstream
from tests.support.photograph_server import PhotographServer, photograph_server
from tests.support.waiting import eventually

LIMITS = DownloadLimits(private=True, timeout_s=2.0, first_delay_s=0.01, max_delay_s=0.05)


@pytest.fixture
def server() -> Iterator[PhotographServer]:
    with photograph_server() as running:
        yield running


def downloads(cache: Path, limits: DownloadLimits = LIMITS) -> Downloads:
    return Downloads(cache, "feed", limits)


@pytest.mark.parametrize(("path", "attempts"), [("flaky", 2), ("busy", 3), ("hop", 1), ("plain", 1)])
def test_what_fails_for_the_moment_is_asked_for_again(
    server: PhotographServer, tmp_path: Path, path: str, attempts: int
) -> None:
    with downloads(tmp_path) as some:
        assert some.read(f"{server.url}/{path}.png").startswith(b"\x89PNG")
        assert (some.counts.downloaded, some.counts.failed) == (1, 0)
    assert server.requests[f"/{path}.png"] == attempts


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("missing", "The server answers 404"),
        ("page", "is an HTML page"),
        ("large", "more than 10,485,760 bytes"),
        ("slow", "no whole answer within 2 s"),
        ("loop", "more than 5 redirects"),
    ],
)
def test_what_is_no_photograph_is_named(server: PhotographServer, tmp_path: Path, path: str, said: str) -> None:
    with downloads(tmp_path) as some:
        with pytest.raises(FashionError) as refused:
            some.read(f"{server.url}/{path}.png")
        assert said in refused.value.message and some.counts.failed == 1
    assert not list(tmp_path.glob("??/*.image"))


@pytest.mark.parametrize("error", [RuntimeError("odd"), AssertionError(), Overloaded("Full.", reason="FULL")])
def test_an_error_that_nobody_expects_is_named_and_takes_no_place(
    server: PhotographServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(photographs, "_MAX_BEGUN", 1)
    with downloads(tmp_path) as some:
        fetched = some._fetched

        async def fails(url: str) -> tuple[Path, bool]:
            if "odd" in url:
                raise error
            return await fetched(url)

        some._fetched = fails  # type: ignore[method-assign]
        some.begin(f"{server.url}/{name}.png" for name in ("odd", "plain1", "plain2"))
        eventually(lambda: some.counts.downloaded == 2)
        with pytest.raises(Upstream) as refused:
            some.read(f"{server.url}/odd.png")
        named = error.reason if isinstance(error, FashionError) else "PHOTOGRAPH_NOT_DOWNLOADED"
        assert refused.value.reason == named and some.counts.failed == 1
        if not isinstance(error, FashionError):
            assert f"{server.url}/odd.png: {type(error).__name__}" in refused.value.message


def test_an_outcome_that_cannot_be_noted_takes_no_place(
    server: PhotographServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(dict[str, object]):
        def __setitem__(self, url: str, outcome: object) -> None:
            if "plain1" in url:
                raise Overloaded("The disk is full.", reason="TEMPORARY_FILES_FULL")
            super().__setitem__(url, outcome)

    monkeypatch.setattr(photographs, "_MAX_BEGUN", 1)
    with downloads(tmp_path) as some:
        some._ended = Full()  # type: ignore[assignment]
        some.begin(f"{server.url}/plain{number}.png" for number in (1, 2, 3))
        eventually(lambda: some.counts.downloaded == 3)
        assert some.read(f"{server.url}/plain1.png").startswith(b"\x89PNG")


def test_a_later_run_downloads_what_changed(server: PhotographServer, tmp_path: Path) -> None:
    url = f"{server.url}/plain.png"
    for tag, downloaded, unchanged in (('"1"', 1, 0), ('"1"', 0, 1), ('"2"', 1, 0)):
        server.tag = tag
        with downloads(tmp_path) as some:
            some.read(url)
            assert (some.counts.downloaded, some.counts.unchanged) == (downloaded, unchanged)
            some.finish()
    assert server.unchanged == 1


def test_an_interrupted_run_does_not_ask_again_for_what_it_has(server: PhotographServer, tmp_path: Path) -> None:
    for _ in range(2):
        with downloads(tmp_path) as some:
            some.read(f"{server.url}/plain.png")
    assert server.requests["/plain.png"] == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/x.png",
        "http://localhost:9/x.png",
        "http://[::1]:9/x.png",
        "http://[::ffff:127.0.0.1]:9/x.png",
        "http://10.0.0.1/x.png",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0:9/x.png",
        "http://2130706433:9/x.png",
    ],
)
def test_private_addresses_are_refused(tmp_path: Path, url: str) -> None:
    with downloads(tmp_path, DownloadLimits(attempts=1)) as some, pytest.raises(FashionError) as refused:
        some.read(url)
    assert refused.value.reason == "PHOTOGRAPH_ADDRESS_PRIVATE"


def test_a_redirect_to_a_private_address_is_refused(server: PhotographServer, tmp_path: Path) -> None:
    allowed = DownloadLimits(attempts=1)
    with downloads(tmp_path, allowed) as some:
        # Only the first hop is let through, as if it were public.
        first = some._request
        hops: list[str] = []

        async def request(target: object, headers: dict[str, str]) -> object:
            hops.append(str(target))
            if len(hops) == 1:
                assert some._client is not None
                return some._client.build_request("GET", str(target))
            return await first(target, headers)  # type: ignore[arg-type]

        some._request = request  # type: ignore[method-assign,assignment]
        with pytest.raises(FashionError) as refused:
            some.read(f"{server.url}/hop.png")
    assert refused.value.reason == "PHOTOGRAPH_ADDRESS_PRIVATE"
    assert server.requests["/plain.png"] == 0 and len(hops) == 2
