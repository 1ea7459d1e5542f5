"""Who may call what: the one table of scopes, for every RPC and every HTTP route."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final


class Scope(IntEnum):
    """What a key allows; each allows what those before it do."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may make a call.

    Attributes:
        scope: lowest scope of a key or certificate; None where everybody may.
        shopper: whether a shopper's token suffices too, for that shopper alone.
        public: whether the operator may open the HTTP route to everybody (GATEWAY_PUBLIC_READ).
    """

    scope: Scope | None
    shopper: bool = False
    public: bool = False


_OPEN: Final = Rule(None)
_READ: Final = Rule(Scope.READ)
_WRITE: Final = Rule(Scope.WRITE)
# Changes what every shopper sees.
_ADMIN: Final = Rule(Scope.ADMIN)
_SHOPPER_READS: Final = Rule(Scope.READ, shopper=True)
_SHOPPER_WRITES: Final = Rule(Scope.WRITE, shopper=True)
# Nobody can bring back what it erases.
_SHOPPER_ERASES: Final = Rule(Scope.ADMIN, shopper=True)
_PUBLIC: Final = Rule(Scope.READ, shopper=True, public=True)

# By full name; grpc.health.v1 is open to everybody.
RPCS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "fashion.v1.EmbedderService/Embed": _READ,
        "fashion.v1.EmbedderService/BatchEmbed": _READ,
        "fashion.v1.EmbedderService/DetectGarments": _READ,
        "fashion.v1.EmbedderService/GetModel": _READ,
        "fashion.v1.ClassifierService/Classify": _READ,
        "fashion.v1.ClassifierService/GetTaxonomy": _READ,
        "fashion.v1.SearchService/FindSimilar": _SHOPPER_READS,
        "fashion.v1.SearchService/BatchFindSimilar": _READ,
        "fashion.v1.SearchService/DetectGarments": _SHOPPER_READS,
        "fashion.v1.SearchService/UpsertProducts": _WRITE,
        "fashion.v1.SearchService/UpdateProducts": _WRITE,
        "fashion.v1.SearchService/DeleteProducts": _WRITE,
        "fashion.v1.SearchService/AddPhotograph": _WRITE,
        "fashion.v1.SearchService/RemovePhotograph": _WRITE,
        "fashion.v1.SearchService/GetProduct": _SHOPPER_READS,
        "fashion.v1.SearchService/GetPhotograph": _SHOPPER_READS,
        "fashion.v1.SearchService/ListProducts": _SHOPPER_READS,
        "fashion.v1.SearchService/ListFacets": _SHOPPER_READS,
        "fashion.v1.SearchService/AddDislikedColours": _SHOPPER_WRITES,
        "fashion.v1.SearchService/RemoveDislikedColours": _SHOPPER_WRITES,
        "fashion.v1.SearchService/ListDislikedColours": _SHOPPER_READS,
        "fashion.v1.SearchService/ForgetUser": _SHOPPER_ERASES,
        "fashion.v1.SearchService/GetIndex": _READ,
        "fashion.v1.ReindexService/StartReindex": _ADMIN,
        "fashion.v1.ReindexService/GetReindex": _READ,
        "fashion.v1.ReindexService/SwitchGeneration": _ADMIN,
        "fashion.v1.ReindexService/RollbackGeneration": _ADMIN,
        "fashion.v1.ReindexService/EndReindex": _ADMIN,
        # What the protos say, and no data.
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _READ,
    }
)

# By method and pattern of the path.
ROUTES: Final[Mapping[tuple[str, str], Rule]] = MappingProxyType(
    {
        ("GET", "/v1/products/{product_id}/similar"): _PUBLIC,
        ("POST", "/v1/similar"): _PUBLIC,
        ("POST", "/v1/garments"): _PUBLIC,
        ("GET", "/v1/products"): _PUBLIC,
        ("GET", "/v1/products/{product_id}"): _PUBLIC,
        ("PATCH", "/v1/products/{product_id}"): _WRITE,
        ("POST", "/v1/products:batchUpdate"): _WRITE,
        ("GET", "/v1/products/{product_id}/image"): _PUBLIC,
        ("GET", "/v1/products/{product_id}/photographs/{photograph}"): _PUBLIC,
        ("POST", "/v1/products/{product_id}/photographs"): _WRITE,
        ("DELETE", "/v1/products/{product_id}/photographs/{photograph}"): _WRITE,
        ("GET", "/v1/facets"): _PUBLIC,
        ("GET", "/v1/index"): _PUBLIC,
        ("GET", "/map.json"): _PUBLIC,
        ("GET", "/v1/users/{user_id}/disliked-colours"): _SHOPPER_READS,
        ("PUT", "/v1/users/{user_id}/disliked-colours/{colour}"): _SHOPPER_WRITES,
        ("DELETE", "/v1/users/{user_id}/disliked-colours/{colour}"): _SHOPPER_WRITES,
        ("DELETE", "/v1/users/{user_id}"): _SHOPPER_ERASES,
        # Signs for the storefront's demo users alone.
        ("GET", "/storefront/session"): _OPEN,
        ("GET", "/healthz"): _OPEN,
        ("GET", "/readyz"): _OPEN,
        # Files without data of the shop.
        ("GET", "/openapi.json"): _OPEN,
        ("GET", "/docs"): _OPEN,
        ("GET", "/docs.css"): _OPEN,
        ("GET", "/elements/similar-items.js"): _OPEN,
        ("GET", "/elements/similar-items-{version}.js"): _OPEN,
        ("GET", "/elements/manifest.json"): _OPEN,
        ("GET", "/elements/custom-elements.json"): _OPEN,
        ("GET", "/"): _OPEN,
        ("GET", "/p/{product_id}"): _OPEN,
        ("GET", "/photo"): _OPEN,
        ("GET", "/inspect"): _OPEN,
        ("GET", "/map"): _OPEN,
        ("GET", "/assets/{name:path}"): _OPEN,
        ("GET", "/icons/{name:path}"): _OPEN,
        ("GET", "/manifest.webmanifest"): _OPEN,
        ("GET", "/favicon.ico"): _OPEN,
    }
)
