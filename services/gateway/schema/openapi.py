"""Completes the OpenAPI document: problem documents, tokens, and bodies of several types."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from services.contract.scopes import ROUTES, Rule, Scope
from services.gateway.schema.answers import Problem
from services.gateway.schema.parameters import PhotographParameters, SimilarBody
from services.gateway.schema.problems import KINDS, MEDIA_TYPE
from services.gateway.schema.product_changes import BatchUpdate, ProductChange

_REF: Final = "#/components/schemas/{model}"
TOKEN_SCHEME: Final = "userToken"
KEY_SCHEME: Final = "key"

_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": "How to authenticate (RFC 6750)."},
    403: {"WWW-Authenticate": "How to authenticate (RFC 6750)."},
    405: {"Allow": "The methods that the path has."},
    429: {"Retry-After": "When to ask again, in seconds."},
    503: {"Retry-After": "When to ask again, in seconds."},
}
# Any request may fail with these.
_ALWAYS: Final = (400, 500, 503, 504)
# And with these, where the gateway asks for keys.
_REFUSALS: Final = (401, 403, 429)
_TITLES: Final = {500: "Internal error", **{kind.status: kind.title for kind in KINDS.values()}}
_TITLES[409] = "Made by another model"
_TITLES[503] = "Too much to do, still starting, or a part is down"


def problems(*statuses: int, reasons: str = "") -> dict[int | str, dict[str, Any]]:
    """Describes the failures of an operation, with those of any request. `reasons` lists the operation's own."""
    described: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*_ALWAYS, *statuses}):
        text = _TITLES[status] + (f". Reasons: {reasons}" if reasons and status == 400 else "")
        described[status] = {
            "description": text,
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model=Problem.__name__)}}},
        }
        if status in _HEADERS:
            described[status]["headers"] = {
                name: {"description": about, "schema": {"type": "string"}} for name, about in _HEADERS[status].items()
            }
    return described


def similar_bodies() -> dict[str, Any]:
    """Describes the bodies of `POST /v1/similar`."""
    bodies = photograph_bodies(PhotographParameters)
    bodies["requestBody"]["content"]["application/json"] = {
        "schema": {"$ref": _REF.format(model=SimilarBody.__name__)},
        "example": {"product_id": "10014", "limit": 5, "liked": ["10133"], "base_colour": ["Blue"]},
    }
    return bodies


def photograph_bodies(parameters: type[BaseModel]) -> dict[str, Any]:
    """Describes the bodies of an operation on a photograph: a form with parameters, or the photograph alone."""
    properties = {
        "image": {
            "type": "string",
            "format": "binary",
            "description": "A JPEG, PNG, WebP or AVIF photograph, 10 MiB at most.",
        }
    }
    form = {
        "type": "object",
        "required": ["image"],
        "properties": {**properties, **_form_fields(parameters)},
        "additionalProperties": False,
    }
    bodies = picture_bodies()
    content = bodies["requestBody"]["content"]
    bodies["requestBody"]["content"] = {"multipart/form-data": {"schema": form}, **content}
    return bodies


def picture_bodies() -> dict[str, Any]:
    """Describes the body of an operation that takes a photograph and nothing else."""
    picture = {"schema": {"type": "string", "format": "binary"}}
    media_types = ("image/jpeg", "image/png", "image/webp", "image/avif")
    return {"requestBody": {"required": True, "content": dict.fromkeys(media_types, picture)}}


def document(app: FastAPI, *, keys_needed: bool = False, public_read: bool = False) -> dict[str, Any]:
    """Returns the OpenAPI document of an application; builds it once.

    Args:
        app: the application.
        keys_needed: whether callers need keys.
        public_read: whether everybody may call the routes that the table of scopes names as public.
    """
    if app.openapi_schema:
        return app.openapi_schema
    made = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
    )
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    # An invalid request gets a problem document, not FastAPI's own kind of error.
    for own in ("HTTPValidationError", "ValidationError"):
        schemas.pop(own, None)
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            rule = ROUTES.get((method.upper(), path), Rule(Scope.ADMIN))
            operation["security"] = _ways(rule, path, keys_needed=keys_needed, public_read=public_read)
            if keys_needed and rule.scope is not None:
                operation["x-scope"] = rule.scope.name.lower()
                for status, description in problems(*_REFUSALS).items():
                    operation["responses"].setdefault(str(status), description)
            operation["responses"].pop("422", None)
            for parameter in operation.get("parameters", ()):
                _without_null_default(parameter["schema"])
    for model in (Problem, SimilarBody, ProductChange, BatchUpdate):
        _add(schemas, model)
    schemes = made["components"]["securitySchemes"] = {
        KEY_SCHEME: {
            "type": "apiKey",
            "in": "header",
            "name": "Api-Key",
            "description": (
                "A key of the operator (docs/operating.md), where the gateway asks for keys. `Authorization: Bearer` "
                "takes it too. `x-scope` of an operation is the scope that it needs."
            ),
        },
        TOKEN_SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": (
                "A token for one user, signed by the shop's backend: HS256, `sub` the user's id, `aud` \"fashion\", "
                "`exp` at most an hour away (docs/http.md)."
            ),
        },
    }
    if not keys_needed:
        del schemes[KEY_SCHEME]
    app.openapi_schema = made
    return made


def _ways(rule: Rule, path: str, *, keys_needed: bool, public_read: bool) -> list[dict[str, list[str]]]:
    """Lists the ways to call an operation, {} for the one without anything; none where nothing is looked at."""
    if rule.scope is None:
        return []
    ways: list[dict[str, list[str]]] = [{KEY_SCHEME: []}] if keys_needed else []
    if rule.shopper:
        ways.append({TOKEN_SCHEME: []})
    if (rule.public and public_read) if keys_needed else "{user_id}" not in path:
        ways.insert(0, {})
    return ways


def _form_fields(parameters: type[BaseModel]) -> dict[str, Any]:
    schema = parameters.model_json_schema(ref_template=_REF)
    fields = schema["properties"]
    for field in fields.values():
        _without_null_default(field)
    return dict(fields)


def _add(schemas: dict[str, Any], model: type[BaseModel]) -> None:
    schema = model.model_json_schema(ref_template=_REF)
    for name, definition in schema.pop("$defs", {}).items():
        schemas.setdefault(name, definition)
    for field in schema["properties"].values():
        _without_null_default(field)
    schemas[model.__name__] = schema


def _without_null_default(schema: dict[str, Any]) -> None:
    # An absent parameter is left out; null cannot be sent.
    if schema.get("default", "") is None:
        del schema["default"]
