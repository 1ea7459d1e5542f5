"""The ways to ask, written anew from the documents: requests out of the domain's values, and answers in one form."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

import grpc

from fashion.v1 import search_pb2, types_pb2
from services.contract.own_attributes import AttributeValue, Flag
from services.contract.values import Embedding, Gender
from services.search.catalogue.products import Price, Product
from services.search.filters.filter import (
    ColourFilter,
    Condition,
    Filter,
    FlagFilter,
    GenderFilter,
    LabelFilter,
    NumberRange,
    PriceRange,
    Words,
    YearRange,
)
from services.search.indexes.base import Collapse
from services.search.query.request import Scope, SimilarRequest
from services.serving.status import error_info

_TIMEOUT_S: Final = 60.0
_SCOPES: Final = {
    None: (search_pb2.SEARCH_SCOPE_UNSPECIFIED, None),
    Scope.PREDICTED_TYPE: (search_pb2.SEARCH_SCOPE_PREDICTED_TYPE, "predicted_type"),
    Scope.INVENTORY: (search_pb2.SEARCH_SCOPE_INVENTORY, "inventory"),
    Scope.DERIVED_TYPES: (search_pb2.SEARCH_SCOPE_DERIVED_TYPES, "derived_types"),
}
_COLLAPSES: Final = {
    Collapse.NONE: (search_pb2.COLLAPSE_NONE, "none"),
    Collapse.VARIANTS: (search_pb2.COLLAPSE_VARIANTS, "variants"),
    Collapse.DESIGNS: (search_pb2.COLLAPSE_DESIGNS, "designs"),
}
_RUNGS: Final = ("derived_type", "article_type", "sub_category", "master_category")
_COUNTS: Final = ("filtered", "out_of_stock", "disliked", "excluded", "variant")


@dataclass(frozen=True, slots=True)
class AnsweredHit:
    """A product of an answer; `facts` are those of its attributes that a write may change, None where it has none."""

    product_id: str
    similarity: float
    rank_score: float | None
    rung: int | None
    variants: tuple[str, ...] | None
    variant_count: int | None
    facts: tuple[object, ...] | None


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back.

    Attributes:
        hits: in their order.
        eligible_count: as said.
        excluded_colours: as said.
        derived_types: as said.
        left_out: by filter, out of stock, disliked, excluded, variants, as said.
        sums: requested, searched, dissimilar, surplus and returned, as said.
        other_currencies: as said.
        index_version: as said.
        rungs: the labels and the number of products of each rung that was searched, as said.
    """

    hits: tuple[AnsweredHit, ...]
    eligible_count: int
    excluded_colours: tuple[str, ...]
    derived_types: tuple[str, ...]
    left_out: tuple[int, ...]
    sums: tuple[int, int, int, int, int]
    other_currencies: Mapping[str, int]
    index_version: int
    rungs: tuple[tuple[frozenset[str], int], ...]


class Refused(Exception):
    """The request was refused; `reason` says why."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason


# A request with its answer.
Asked = tuple[SimilarRequest, Answered | Refused]


class Way(Protocol):
    """A way to ask."""

    way_name: str
    plain: bool
    """Whether it takes only what HTTP can say."""

    def ask(self, request: SimilarRequest) -> Sequence[Asked]:
        """Asks; returns the answer, and with it those to the same request for other products.

        Raises:
            Refused: the request was refused.
        """
        ...


class GrpcPath:
    """FindSimilar."""

    way_name = "FindSimilar"
    plain = False

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def ask(self, request: SimilarRequest) -> Sequence[Asked]:
        """See `Way`."""
        response = call(self._stub.FindSimilar, request_to_proto(request))
        hits = tuple(
            AnsweredHit(
                each.product.id,
                each.similarity,
                each.rank_score if each.HasField("rank_score") else None,
                each.rung - 1 if each.rung else None,
                tuple(variant.product_id for variant in each.variants),
                each.variant_count,
                facts_of_proto(each.product),
            )
            for each in response.products
        )
        return [(request, _answered(response.applied, hits))]


class BatchPath:
    """BatchFindSimilar for a product and others, as `fashion export similar` asks."""

    way_name = "BatchFindSimilar"
    plain = False

    def __init__(self, stub: Any, companions: Callable[[], Sequence[str]]) -> None:
        """Takes whom to ask, and what returns the products that are asked for beside that of a request."""
        self._stub = stub
        self._companions = companions

    def ask(self, request: SimilarRequest) -> Sequence[Asked]:
        """See `Way`; a query by embedding goes by another way."""
        if not isinstance(request.query, str):
            return GrpcPath(self._stub).ask(request)
        options = request_to_proto(request)
        options.ClearField("query")
        ids = [*self._companions(), request.query]
        response = call(
            self._stub.BatchFindSimilar, search_pb2.BatchFindSimilarRequest(product_ids=ids, options=options)
        )
        return [
            (replace(request, query=product_id), self._list(answer))
            for product_id, answer in zip(ids, response.lists, strict=True)
        ]

    @staticmethod
    def _list(answer: search_pb2.SimilarList) -> Answered | Refused:
        if answer.status.code:
            return Refused(answer.status.reason, answer.status.message)
        hits = tuple(
            AnsweredHit(
                each.product_id,
                each.similarity,
                each.rank_score if each.HasField("rank_score") else None,
                each.rung - 1 if each.rung else None,
                None,
                None,
                None,
            )
            for each in answer.products
        )
        return _answered(answer.applied, hits)


class HttpPath:
    """The gateway: by turns a query string, and a JSON body."""

    way_name = "HTTP"
    plain = True

    def __init__(self, url: str) -> None:
        self._url = url
        self._by_body = False

    def ask(self, request: SimilarRequest) -> Sequence[Asked]:
        """See `Way`."""
        self._by_body = not self._by_body
        parameters = request_to_query(request)
        product_id = str(request.query)
        if self._by_body:
            body = json.dumps({**parameters, "product_id": product_id}).encode()
            url, headers = f"{self._url}/v1/similar", {"content-type": "application/json"}
        else:
            texts = {
                name: str(value).lower() if isinstance(value, bool) else value for name, value in parameters.items()
            }
            body, headers = None, {}
            url = f"{self._url}/v1/products/{quote(product_id, safe='')}/similar?{urlencode(texts, doseq=True)}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=_TIMEOUT_S) as response:
                document = json.load(response)
        except urllib.error.HTTPError as error:
            problem = json.load(error)
            raise Refused(problem.get("reason", str(error.code)), problem.get("detail", "")) from None
        applied = document["applied"]
        counts = applied["counts"]
        answer = Answered(
            tuple(
                AnsweredHit(
                    each["product"]["id"],
                    each["similarity"],
                    each["rank_score"],
                    None if each["rung"] is None else _RUNGS.index(each["rung"]),
                    tuple(variant["id"] for variant in each["variants"]),
                    each["variant_count"],
                    _facts_of_json(each["product"]),
                )
                for each in document["products"]
            ),
            applied["eligible_count"],
            tuple(applied["excluded_colours"]),
            tuple(applied["derived_types"]),
            tuple(counts[f"{name}_count"] for name in _COUNTS),
            _sums(lambda name: counts[name]),
            {each["currency"]: each["count"] for each in applied["other_currencies"]},
            applied["index_version"],
            tuple((frozenset(each["labels"]), each["returned_count"]) for each in applied["rungs"]),
        )
        return [(request, answer)]


def _answered(applied: search_pb2.AppliedSearch, hits: tuple[AnsweredHit, ...]) -> Answered:
    return Answered(
        hits,
        applied.eligible_count,
        tuple(applied.excluded_colours),
        tuple(applied.derived_types),
        tuple(getattr(applied.counts, f"{name}_count") for name in _COUNTS),
        _sums(lambda name: getattr(applied.counts, name)),
        {each.currency_code: each.product_count for each in applied.other_currencies},
        applied.index_version,
        tuple((frozenset(each.labels), each.returned_count) for each in applied.rungs),
    )


def _sums(read: Any) -> tuple[int, int, int, int, int]:
    requested, searched, dissimilar, surplus, returned = (
        int(read(f"{name}_count")) for name in ("requested", "searched", "dissimilar", "surplus", "returned")
    )
    return requested, searched, dissimilar, surplus, returned


def call(rpc: Any, request: Any) -> Any:
    """Calls an RPC.

    Raises:
        Refused: with the reason of its status.
    """
    try:
        return rpc(request, timeout=_TIMEOUT_S)
    except grpc.RpcError as error:
        status: Any = error
        info = error_info(status.trailing_metadata())
        raise Refused(str(status.code()) if info is None else info.reason, str(status.details())) from None


def request_to_proto(request: SimilarRequest) -> search_pb2.FindSimilarRequest:
    """Packs a request."""
    message = search_pb2.FindSimilarRequest(
        liked_product_ids=request.liked_ids,
        disliked_product_ids=request.disliked_ids,
        user_id=request.user_id,
        filter=filter_to_proto(request.eligibility.filter),
        top_k=request.top_k,
        scope=_SCOPES[request.scope][0],
        derived_types=request.derived_types,
        include_out_of_stock=request.eligibility.include_out_of_stock,
        excluded_product_ids=request.eligibility.excluded_ids,
        collapse=_COLLAPSES[request.eligibility.collapse][0],
        min_similarity=request.min_similarity,
        boosts=[
            search_pb2.Boost(condition=filter_to_proto(each.condition), factor=each.factor) for each in request.boosts
        ],
        diversity=request.diversity,
        widen=request.widen,
    )
    if isinstance(request.query, str):
        message.product_id = request.query
    elif isinstance(request.query, Embedding):
        message.embedding.values.extend(request.query.values.tolist())
        message.embedding.model_version = request.query.model_version
    return message


def filter_to_proto(filter: Filter) -> search_pb2.Filter:
    """Packs a filter."""
    message = search_pb2.Filter()
    for name, condition in filter.conditions.items():
        if name.startswith("attributes."):
            part: Any = message.attributes[name.removeprefix("attributes.")]
            if isinstance(condition, FlagFilter):
                part.flag = condition.flag
                continue
            part = part.number if isinstance(condition, NumberRange) else part.labels
        elif isinstance(condition, Words):
            message.words = condition.text
            continue
        else:
            part = getattr(message, name)
        part.SetInParent()
        _fill(part, condition)
    return message


def _fill(part: Any, condition: Condition) -> None:
    match condition:
        case GenderFilter(any_of, none_of):
            part.any_of.extend(types_pb2.Gender.Value(f"GENDER_{each.name}") for each in any_of)
            part.none_of.extend(types_pb2.Gender.Value(f"GENDER_{each.name}") for each in none_of)
        case ColourFilter(any_of, none_of, by_family):
            part.any_of.extend(any_of)
            part.none_of.extend(none_of)
            part.by_family = by_family
        case LabelFilter(any_of, none_of):
            part.any_of.extend(any_of)
            part.none_of.extend(none_of)
        case PriceRange(currency_code, low, high):
            part.currency_code = currency_code
            for end, price in (("min", low), ("max", high)):
                if price is not None:
                    getattr(part, end).CopyFrom(search_pb2.Amount(units=price.units, nanos=price.nanos))
        case YearRange(low, high):
            _fill_ends(part, {"first": low, "last": high})
        case NumberRange(low, high):
            _fill_ends(part, {"min": low, "max": high})


def _fill_ends(part: Any, ends: Mapping[str, float | None]) -> None:
    for name, value in ends.items():
        if value is not None:
            setattr(part, name, value)


def request_to_query(request: SimilarRequest) -> dict[str, Any]:
    """Packs a request that HTTP can say, as the parameters of a query; lists are repeated ones."""
    parameters: dict[str, Any] = {
        "limit": request.top_k,
        "user_id": request.user_id,
        "liked": list(request.liked_ids),
        "disliked": list(request.disliked_ids),
        "excluded": list(request.eligibility.excluded_ids),
        "scope": _SCOPES[request.scope][1],
        "derived_type": list(request.derived_types),
        "include_out_of_stock": request.eligibility.include_out_of_stock,
        "collapse": _COLLAPSES[request.eligibility.collapse][1],
        "min_similarity": request.min_similarity,
        "boost": [f"{each.factor:g} {urlencode(_filter_query(each.condition), doseq=True)}" for each in request.boosts],
        "diversity": request.diversity,
        "widen": request.widen,
        **_filter_query(request.eligibility.filter),
    }
    return {name: value for name, value in parameters.items() if value not in (None, "", [])}


def _filter_query(filter: Filter) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for name, condition in filter.conditions.items():
        own = name.removeprefix("attributes.")
        match condition:
            case Words(text):
                parameters["words"] = text
            case YearRange(low, high):
                parameters |= {end: year for end, year in (("year_first", low), ("year_last", high)) if year}
            case PriceRange(currency_code, low, high):
                parameters["price"] = f"{_amount(low)}..{_amount(high)} {currency_code}"
            case GenderFilter(any_of):
                parameters["gender"] = [each.value for each in any_of]
            case ColourFilter(any_of, none_of, by_family):
                parameters |= {"base_colour": list(any_of), "excluded_colour": list(none_of)}
                parameters["colour_by_family"] = str(by_family).lower()
            case LabelFilter(any_of, none_of) if own != name:
                parameters.setdefault("attribute", []).extend(f'{own}:"{each}"' for each in any_of)
                parameters.setdefault("excluded_attribute", []).extend(f'{own}:"{each}"' for each in none_of)
            case LabelFilter(any_of):
                parameters[name] = list(any_of)
            case NumberRange(low, high):
                ends = ("" if end is None else f"{end:g}" for end in (low, high))
                parameters.setdefault("attribute", []).append(f"{own}:{'..'.join(ends)}")
            case FlagFilter(flag):
                parameters.setdefault("attribute", []).append(f"{own}:{str(flag).lower()}")
    return parameters


def _amount(price: Price | None) -> str:
    return "" if price is None else f"{price.units}.{price.nanos:09}".rstrip("0").rstrip(".")


def product_to_proto(product: Product) -> types_pb2.Product:
    """Packs a product."""
    message = types_pb2.Product(id=product.id)
    for field in message.DESCRIPTOR.fields:
        value = getattr(product, field.name, None)
        match value:
            case Gender():
                message.gender = getattr(types_pb2, f"GENDER_{value.name}")
            case Price(currency_code, units, nanos):
                message.price.CopyFrom(types_pb2.Price(currency_code=currency_code, units=units, nanos=nanos))
            case str() | int() if field.name not in {"derived_type", "photograph_absent"}:
                setattr(message, field.name, value)
    for name, own in product.attributes.items():
        message.attributes[name].CopyFrom(_own_to_proto(own))
    return message


def _own_to_proto(value: AttributeValue) -> types_pb2.AttributeValue:
    match value:
        case Flag():
            return types_pb2.AttributeValue(flag=value.value)
        case float():
            return types_pb2.AttributeValue(number=value)
        case _:
            return types_pb2.AttributeValue(labels=types_pb2.Labels(values=value))


def facts_of(product: Product) -> tuple[object, ...]:
    """Returns what answers say of a product."""
    price = None if product.price is None else (product.price.currency_code, _price(product.price))
    return (product.derived_type, product.base_colour, product.brand, product.year, product.in_stock, price)


def facts_of_proto(message: types_pb2.Product) -> tuple[object, ...]:
    """Returns the same of a message."""
    present = {field.name: value for field, value in message.ListFields()}
    price = (message.price.currency_code, _price(message.price)) if "price" in present else None
    names = ("derived_type", "base_colour", "brand", "year", "in_stock")
    return (*map(present.get, names), price)


def _facts_of_json(document: Mapping[str, Any]) -> tuple[object, ...]:
    price = document["price"]
    names = ("derived_type", "base_colour", "brand", "year", "in_stock")
    return (*(document[name] for name in names), None if price is None else (price["currency"], float(price["amount"])))


def _price(price: Price | types_pb2.Price) -> float:
    return price.units + price.nanos / 1e9
