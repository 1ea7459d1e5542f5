"""The ASGI application of the gateway: routes, error answers and middleware."""

import importlib.metadata
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp

from services.concurrency.bounds import Bound
from services.contract.errors import FashionError, InvalidInput, NotFound
from services.gateway.access.access import Access
from services.gateway.backend import Backend
from services.gateway.middleware.cors import Cors
from services.gateway.middleware.guard import Guarded
from services.gateway.middleware.request import FORM_OVERHEAD_BYTES, Edge, EdgeLimits
from services.gateway.routes.pages import NotFoundPage, is_page_request, pages_router, reference_router
from services.gateway.routes.photographs import photographs_router
from services.gateway.routes.products import products_router
from services.gateway.routes.similar import similar_router
from services.gateway.routes.users import sessions_router, users_router
from services.gateway.schema import answers, openapi
from services.gateway.schema.problems import InvalidRequest, MethodNotAllowed, invalid_request, problem_response
from services.gateway.settings import GatewaySettings
from services.gateway.thumbnails import Thumbnails
from services.serving.guard import Guard

_log = structlog.stdlib.get_logger(__name__)

_DESCRIPTION: Final = """Similar products for checkout pages, over HTTP and JSON.

Every error is a problem document (RFC 9457); its `reason` is stable, and the same as over gRPC. Every answer carries
`X-Request-ID`, the caller's own where it sent a usable one. Answers that depend on no user may be cached."""
_COMPRESSED_FROM_BYTES: Final = 1024
# The spans of FastAPI hold paths and queries, which name users and products; those of the middleware do not.
_NO_TELEMETRY: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def gateway_app(
    settings: GatewaySettings,
    backend: Backend,
    access: Access,
    guard: Guard,
    thumbnails: Thumbnails,
    map_file: Path | None,
) -> ASGIApp:
    """Makes the ASGI application.

    Args:
        settings: settings of the gateway.
        backend: search, ready or not.
        access: decides who may act for users.
        guard: knows who may call what.
        thumbnails: photographs of products; its owner closes it.
        map_file: file of the map of the catalogue, or None.
    """
    app = routed_app(settings, backend, access, thumbnails, map_file, keys_needed=guard.keys_needed)
    compressed = GZipMiddleware(app, minimum_size=_COMPRESSED_FROM_BYTES, compresslevel=5)
    edge = Edge(
        Guarded(compressed, app.routes, guard, public_read=settings.public_read),
        EdgeLimits(
            max_body_bytes=settings.max_image_bytes + FORM_OVERHEAD_BYTES,
            max_concurrent=settings.max_concurrent_requests,
            progress_timeout_s=settings.progress_timeout_s,
            uploads=Bound("uploads", total=settings.max_uploads, per_holder=settings.max_uploads_per_address),
            held_bytes=Bound(
                "bytes under way",
                total=settings.max_bytes_under_way,
                per_holder=settings.max_bytes_under_way_per_address,
            ),
        ),
    )
    return Cors(edge, settings.origins())


def routed_app(
    settings: GatewaySettings,
    backend: Backend,
    access: Access,
    thumbnails: Thumbnails,
    map_file: Path | None,
    *,
    keys_needed: bool,
) -> FastAPI:
    """Makes the routes alone, without what surrounds them; see `gateway_app`."""
    app = FastAPI(
        title="Fashion recommender",
        version=_version(),
        summary="Visual recommendation for fashion shops",
        description=_DESCRIPTION,
        openapi_url="/openapi.json" if settings.reference else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    app.include_router(similar_router(backend, access, settings))
    app.include_router(products_router(backend, access, settings))
    app.include_router(photographs_router(backend, thumbnails, access, settings))
    app.include_router(users_router(backend, access))
    if settings.storefront:
        app.include_router(sessions_router(access))
    app.include_router(_probes(backend))
    if settings.reference:
        app.include_router(reference_router(app))
    app.include_router(pages_router(storefront=settings.storefront, map_file=map_file))
    app.openapi = lambda: openapi.document(  # type: ignore[method-assign]
        app, keys_needed=keys_needed, public_read=settings.public_read
    )
    _answer_errors(app, NotFoundPage() if settings.storefront else None)
    return app


def _probes(backend: Backend) -> APIRouter:
    router = APIRouter(tags=["probes"])

    @router.get(
        "/healthz",
        summary="Whether the process lives",
        response_model=answers.Health,
        response_model_exclude_defaults=True,
    )
    async def healthz() -> answers.Health:
        """Answers as long as the process does."""
        return answers.Health(status="ok")

    @router.get(
        "/readyz",
        summary="Whether requests can be answered",
        response_model=answers.Health,
        response_model_exclude_defaults=True,
        responses={503: {"model": answers.Health, "description": "Starting, draining, or search does not answer."}},
    )
    async def readyz(response: Response) -> answers.Health:
        """Tells balancers whether to send requests here."""
        health = await backend.health()
        response.status_code = 200 if health.status == "ok" else 503
        return health

    return router


def _answer_errors(app: FastAPI, not_found: NotFoundPage | None) -> None:
    async def problem(request: Request, error: Exception) -> Response:
        request_id: str = request.state.request_id
        match error:
            case RequestValidationError():
                error = invalid_request(error.errors())
            case HTTPException(status_code=404):
                if not_found is not None and is_page_request(request):
                    return await not_found.answer()
                error = NotFound("There is nothing at this path.", reason="PATH_NOT_FOUND")
            case HTTPException(status_code=405):
                allow = _allowed_methods(app, request)
                error = MethodNotAllowed(
                    f"This path has the methods {allow} only.", reason="METHOD_NOT_ALLOWED", metadata={"allow": allow}
                )
            case HTTPException(status_code=400):
                error = InvalidInput(str(error.detail), reason="BODY_MALFORMED")
        if isinstance(error, FashionError):
            if isinstance(error, InvalidRequest):
                request.state.invalid = error.parameters
            # Not its text, which may quote what was sent.
            _log.debug("request refused", reason=error.reason)
        return problem_response(error, request_id)

    for kind in (FashionError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, problem)


def _allowed_methods(app: FastAPI, request: Request) -> str:
    """Lists the methods of a path; with GET there is HEAD."""
    methods = {
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in app.routes)
    }
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _version() -> str:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("fashion-recommender")
    return "0"
