"""Decides which callers may act for which users, and who gets a token of the storefront."""

import ipaddress
import secrets
from typing import Final, Self
from urllib.parse import urlsplit

import structlog
from starlette.requests import Request

from services.contract.errors import Forbidden, Unauthenticated
from services.gateway.settings import GatewaySettings
from services.serving.guard import Caller, of_another_user
from services.serving.loopback import is_loopback
from services.serving.tokens import Tokens

_log = structlog.stdlib.get_logger(__name__)

DEMO_PREFIX: Final = "demo-"

# Behind a proxy on this machine every caller has a local address.
_PROXY_HEADERS: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_LOCAL_NAMES: Final = {"localhost", "127.0.0.1", "::1"}


class Access:
    """Decides who may act for a user.

    Attributes:
        tokens: signs and checks tokens; None if no token is valid.
    """

    def __init__(self, tokens: Tokens | None, *, token_free_on_loopback: bool, sessions: bool, local: bool) -> None:
        """Takes the rules.

        Args:
            tokens: signs and checks tokens; None if no token is valid.
            token_free_on_loopback: whether callers on this machine need no token.
            sessions: whether the storefront signs tokens for its demo users.
            local: whether it signs them only for callers on this machine.
        """
        self.tokens = tokens
        self._token_free_on_loopback = token_free_on_loopback
        self._sessions = sessions
        self._sessions_local = local

    @classmethod
    def of(cls, settings: GatewaySettings, host: str) -> Self:
        """Derives the rules from the settings and the address of the gateway."""
        keys = settings.keys()
        loopback = is_loopback(host)
        own_key = not keys and settings.storefront
        token_free = settings.token_free and loopback
        if token_free:
            _log.warning("callers on this machine act for every user without a token", variable="GATEWAY_TOKEN_FREE")
        elif settings.token_free:
            _log.warning("tokens are needed, since others reach this gateway", host=host, variable="GATEWAY_TOKEN_FREE")
        # A random key, which signs for demo users only.
        signing = keys or ((secrets.token_urlsafe(48),) if own_key else ())
        return cls(
            Tokens(signing, settings.token_max_lifetime_s) if signing else None,
            token_free_on_loopback=token_free,
            # A shop's key signs no tokens for strangers: behind a proxy, everybody seems to be on this machine.
            sessions=own_key,
            # On loopback, a foreign host name means DNS rebinding.
            local=loopback,
        )

    def require(self, request: Request, user_id: str) -> None:
        """Checks that a caller may act for a user.

        Raises:
            Unauthenticated: TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED.
            Forbidden: TOKEN_OF_ANOTHER_USER; USER_ENDPOINTS_OFF if there is no key for tokens.
        """
        # Where callers need keys, it is known who calls. Without a key it may be a page that everybody may read.
        caller: Caller | None = getattr(request.state, "caller", None)
        if caller is not None and caller.certain:
            if caller.user_id not in {None, user_id}:
                raise of_another_user()
            return
        authorization = request.headers.get("authorization")
        if authorization is None and self._token_free_on_loopback and _is_local(request):
            return
        if self.tokens is None:
            raise Forbidden(
                "The endpoints of users are off, because this gateway has no key for tokens; set GATEWAY_TOKEN_KEY.",
                reason="USER_ENDPOINTS_OFF",
            )
        if authorization is None:
            raise Unauthenticated(
                "The request has no token; send the header Authorization: Bearer <token>.", reason="TOKEN_MISSING"
            )
        scheme, _, token = authorization.partition(" ")
        if scheme.casefold() != "bearer" or not token.strip():
            raise Unauthenticated(
                "The header Authorization is not valid; send Authorization: Bearer <token>.", reason="TOKEN_INVALID"
            )
        if self.tokens.user_of(token.strip()) != user_id:
            raise of_another_user()

    def require_local(self, request: Request) -> None:
        """Checks that a caller may change products: only from this machine, and through no proxy.

        Raises:
            Forbidden: WRITES_ARE_LOCAL.
        """
        caller: Caller | None = getattr(request.state, "caller", None)
        # Where callers need keys, the guard has let through only those that may write.
        if (caller is None or caller.key is None) and not _is_local(request):
            raise Forbidden(
                "Over HTTP, products are changed only from the gateway's own machine, without a proxy; "
                "from elsewhere call search over gRPC.",
                reason="WRITES_ARE_LOCAL",
            )

    def count_rows(self, request: Request, count: int) -> None:
        """Counts the rows of a request against the quota of its key; where callers need none, does nothing.

        Raises:
            QuotaExceeded: QUOTA_EXCEEDED.
        """
        if (counting := getattr(request.state, "count_rows", None)) is not None:
            counting(count)

    def session(self, request: Request, user_id: str) -> tuple[str, float]:
        """Signs a token for a demo user of the storefront; returns it and its expiry, in seconds since 1970.

        Raises:
            Forbidden: SESSIONS_OFF, FOREIGN_ORIGIN, NOT_A_DEMO_USER.
        """
        if not _is_same_origin(request):
            raise Forbidden("Only the storefront's own pages can get its tokens.", reason="FOREIGN_ORIGIN")
        if self.tokens is None or not self._sessions or (self._sessions_local and not _is_local(request)):
            raise Forbidden("This gateway signs no tokens for this caller.", reason="SESSIONS_OFF")
        if not user_id.startswith(DEMO_PREFIX) or user_id == DEMO_PREFIX:
            raise Forbidden(
                f'The storefront signs tokens only for users whose id begins with "{DEMO_PREFIX}".',
                reason="NOT_A_DEMO_USER",
            )
        return self.tokens.sign(user_id)


def _is_local(request: Request) -> bool:
    """Tells whether a request comes from this machine, without a proxy, and not from a page of another origin."""
    client = request.client
    if client is None or any(header in request.headers for header in _PROXY_HEADERS):
        return False
    try:
        address = ipaddress.ip_address(client.host)
        # The name matters, because a foreign page can point its own name at this machine (DNS rebinding).
        name = urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        return False
    return address.is_loopback and name in _LOCAL_NAMES and _is_same_origin(request)


def _is_same_origin(request: Request) -> bool:
    if request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        return False
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")
