"""Runs gateways for tests: beside a real stack, or with a search that the test controls."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from services.gateway.server import Gateway, running_gateway
from services.gateway.settings import GatewaySettings
from services.serving.settings import ServerSettings
from services.serving.tokens import Tokens
from tests.support.certificates import Files
from tests.support.running import Caller, calling, in_thread, stack_in_thread, stack_settings

KEY = "a-key-of-the-shop-that-is-long-enough-for-every-algorithm-there-is-of-this-kind"


@dataclass(frozen=True)
class Shop:
    """A stack with its gateway, and callers of both."""

    http: httpx.Client
    grpc: Caller
    url: str
    data_dir: Path


def gateway_settings(**given: object) -> GatewaySettings:
    """Returns settings with a free port and long timeouts, whatever the environment says."""
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "deadline_s": 20.0,
        "token_key": "",
        "allowed_origins": "",
        "storefront": True,
        "map": None,
        **given,
    }
    return GatewaySettings(**{**values, "token_key": SecretStr(values["token_key"])})


@contextmanager
def shop(data_dir: Path, *, redis_url: str = "", runtime: str = "fake", **gateway: object) -> Iterator[Shop]:
    """Runs a stack with a gateway for as long as the context lasts."""
    stack = stack_settings(data_dir, redis_url=redis_url, runtime=runtime)
    settings = dataclasses.replace(stack, gateway=gateway_settings(**gateway))
    with stack_in_thread(settings) as running, calling(running.target) as caller:
        assert running.url is not None
        with httpx.Client(base_url=running.url, timeout=30) as client:
            yield Shop(client, caller, running.url, data_dir)


def bearer(user_id: str, key: str = KEY, lifetime_s: float = 600) -> dict[str, str]:
    """The header of a caller who acts for a user."""
    return {"Authorization": f"Bearer {Tokens([key], lifetime_s).sign(user_id)[0]}"}


@contextmanager
def gateway_in_thread(
    search: object, *, grace_s: float = 5.0, tls: Files | None = None, **given: object
) -> Iterator[Gateway]:
    """Runs a gateway alone on an event loop of its own; `search` None leaves it starting."""
    settings = gateway_settings(**given)
    own: dict[str, Any] = {} if tls is None else tls.server(mutual=False)
    server = ServerSettings(host="127.0.0.1", grace_s=grace_s, **own)
    with in_thread(running_gateway(settings, server)) as gateway:
        if search is not None:
            gateway.ready(search)  # type: ignore[arg-type]
        yield gateway


def problem(answer: httpx.Response, status: int, reason: str) -> dict[str, Any]:
    """Checks that an answer is this problem, and returns it."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told: dict[str, Any] = answer.json()
    assert (answer.status_code, told["status"], told["reason"]) == (status, status, reason), told
    assert told.keys() == {"type", "title", "status", "detail", "reason", "metadata", "request_id"}
    assert told["type"].startswith("urn:fashion:problem:") and told["title"] and told["detail"]
    assert told["request_id"] == answer.headers["x-request-id"]
    return told
