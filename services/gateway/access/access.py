"""Decides whose dislikes a caller may see and change, and who gets a token of the storefront."""

import ipaddress
import secrets
from typing import Final, Self
from urllib.parse import urlsplit

from starlette.requests import Request

from services.gateway.access.tokens import Tokens
from services.gateway.schema.problems import Forbidden, Unauthenticated
from services.gateway.settings import GatewaySettings, is_loopback

DEMO_PREFIX: Final = "demo-"

# A proxy beside the gateway makes everybody look like a caller on this machine.
_PROXY_HEADERS: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_LOCAL_NAMES: Final = {"localhost", "127.0.0.1", "::1"}


class Access:
    """Who may do what on behalf of a user."""

    def __init__(self, tokens: Tokens | None, *, token_free_on_loopback: bool, sessions: bool, local: bool) -> None:
        """Takes what was decided at the start.

        Args:
            tokens: None where no token counts.
            token_free_on_loopback: whether callers on this very machine need none.
            sessions: whether the storefront signs tokens for its demo users.
            local: whether it does so for callers on this very machine alone.
        """
        self._tokens = tokens
        self._token_free_on_loopback = token_free_on_loopback
        self._sessions = sessions
        self._sessions_local = local

    @classmethod
    def of(cls, settings: GatewaySettings, host: str) -> Self:
        """Decides by the settings and by the address that is listened on."""
        keys = settings.keys()
        loopback = is_loopback(host)
        own_key = not keys and settings.storefront
        # A key of this process's own signs for demo users alone, and dies with it.
        signing = keys or ((secrets.token_urlsafe(48),) if own_key else ())
        return cls(
            Tokens(signing, settings.token_max_lifetime_s) if signing else None,
            token_free_on_loopback=loopback and not keys,
            sessions=settings.storefront and (loopback or own_key),
            # What listens on loopback is asked by a page of another name only where that name was made to point here.
            local=loopback,
        )

    def require(self, request: Request, user_id: str) -> None:
        """Lets a caller pass who may act for a user.

        Raises:
            Unauthenticated: TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED.
            Forbidden: TOKEN_OF_ANOTHER_USER; USER_ENDPOINTS_OFF: there is no key that a token could be signed with.
        """
        authorization = request.headers.get("authorization")
        if authorization is None and self._token_free_on_loopback and _is_local(request):
            return
        if self._tokens is None:
            raise Forbidden("This gateway has no key for users' tokens.", reason="USER_ENDPOINTS_OFF")
        if authorization is None:
            raise Unauthenticated("Send the user's token: Authorization: Bearer …", reason="TOKEN_MISSING")
        scheme, _, token = authorization.partition(" ")
        if scheme.casefold() != "bearer" or not token.strip():
            raise Unauthenticated("The header should be: Authorization: Bearer …", reason="TOKEN_INVALID")
        if self._tokens.user_of(token.strip()) != user_id:
            raise Forbidden("The token is another user's.", reason="TOKEN_OF_ANOTHER_USER")

    def session(self, request: Request, user_id: str) -> tuple[str, float]:
        """Signs a token for a demo user of the storefront; returns it and when it ends, in seconds since 1970.

        Raises:
            Forbidden: SESSIONS_OFF, FOREIGN_ORIGIN, NOT_A_DEMO_USER.
        """
        if not _is_same_origin(request):
            raise Forbidden("Only the storefront's own pages get its tokens.", reason="FOREIGN_ORIGIN")
        if self._tokens is None or not self._sessions or (self._sessions_local and not _is_local(request)):
            raise Forbidden("This gateway signs no tokens for this caller.", reason="SESSIONS_OFF")
        if not user_id.startswith(DEMO_PREFIX) or user_id == DEMO_PREFIX:
            raise Forbidden(f'Tokens are signed for users "{DEMO_PREFIX}…" alone.', reason="NOT_A_DEMO_USER")
        return self._tokens.sign(user_id)


def _is_local(request: Request) -> bool:
    """Tells whether a request comes from this machine, by no proxy, and from no page of another origin."""
    client = request.client
    if client is None or any(header in request.headers for header in _PROXY_HEADERS):
        return False
    try:
        address = ipaddress.ip_address(client.host)
    except ValueError:
        return False
    # The name is looked at because a foreign page can have its own name point at this machine.
    name = urlsplit(f"//{request.headers.get('host', '')}").hostname
    return address.is_loopback and name in _LOCAL_NAMES and _is_same_origin(request)


def _is_same_origin(request: Request) -> bool:
    if request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")
