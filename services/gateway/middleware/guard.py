"""Checks who calls, before anything of a request's body is read."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Match, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.contract.errors import Forbidden, QuotaExceeded, Unauthenticated
from services.contract.scopes import ROUTES, Rule
from services.contract.scopes import Scope as KeyScope
from services.serving.guard import API_KEY_HEADER, Caller, Guard, audit_refusal, audit_write
from services.serving.quotas import Cost

# A route that the table of scopes lacks is for administrators alone.
_ADMIN_ALONE: Final = Rule(KeyScope.ADMIN)


def _patterns() -> Mapping[str, Sequence[tuple[re.Pattern[str], str]]]:
    """Returns the patterns of each method's paths; a path without parameters comes before one that has them."""
    patterns: dict[str, list[tuple[re.Pattern[str], str]]] = defaultdict(list)
    for method, path in sorted(ROUTES, key=lambda route: route[1].count("{")):
        patterns[method].append((compile_path(path)[0], path))
    return patterns


_PATTERNS: Final = _patterns()


class Guarded:
    """Refuses callers who may not call, and remembers in the request's state who calls."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute], guard: Guard, *, public_read: bool) -> None:
        """Takes the application.

        Args:
            app: what answers.
            routes: its routes.
            guard: knows who may call.
            public_read: whether everybody may call the routes that the table of scopes names as public.
        """
        self._app = app
        self._routes = routes
        self._guard = guard
        self._public_read = public_read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        path = self._path(scope) if scope["type"] == "http" and self._guard.keys_needed else None
        if path is None:
            await self._app(scope, receive, send)
            return
        call, rule = f"{scope['method']} {path}", ROUTES.get((scope["method"], path), _ADMIN_ALONE)
        caller, status, rows, refused, outcome = Caller(), 0, 0, "", "CANCELLED"

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        def count_rows(count: int) -> None:
            nonlocal rows, refused
            rows = count
            try:
                self._guard.count(caller, Cost(requests=0, rows=count))
            except QuotaExceeded as error:
                refused = error.reason
                raise

        headers = Headers(scope=scope)
        try:
            if rule.scope is not None:
                caller = self._guard.caller(
                    headers.get("authorization"), headers.get(API_KEY_HEADER), scope["state"].get("certificate", ())
                )
                self._guard.check(caller, rule, public=self._public_read)
                self._guard.count(caller, _cost(scope["method"], headers))
            scope["state"]["caller"] = caller
            # Known once the body has arrived.
            scope["state"]["count_rows"] = count_rows
            await self._app(scope, receive, noted)
            outcome = str(status)
        except (Unauthenticated, Forbidden, QuotaExceeded) as error:
            refused = error.reason
            raise
        except Exception:
            outcome = "500"
            raise
        finally:
            # A write goes on without its caller, and may be done before something fails.
            if refused or outcome in {"401", "403"}:
                audit_refusal(caller, call, refused or outcome)
            else:
                audit_write(caller, call, rule, outcome, rows)

    def _path(self, scope: Scope) -> str | None:
        """Returns the pattern of the route, "" for one without a rule; None where there is none to be guarded."""
        for pattern, path in _PATTERNS.get(scope["method"], ()):
            if pattern.match(scope["path"]):
                return path
        return "" if any(route.matches(scope)[0] is Match.FULL for route in self._routes) else None


def _cost(method: str, headers: Headers) -> Cost:
    photograph = method == "POST" and not headers.get("content-type", "").startswith("application/json")
    return Cost(photographs=int(photograph))
