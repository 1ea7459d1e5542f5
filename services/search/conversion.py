"""Conversion between messages of fashion.v1.SearchService and the values of the domain."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from fashion.v1 import search_pb2, types_pb2
from services.contract.attributes import ATTRIBUTES, OWN_PREFIX, STORED, Kind, is_attribute_name
from services.contract.errors import FashionError, InvalidInput
from services.contract.values import Embedding, Gender, Photograph, Subject
from services.search.candidates.doubt import SHARES, Doubt
from services.search.catalogue.products import Price, Product, validate_product, validate_product_id, validate_values
from services.search.catalogue.store import UpsertOutcome
from services.search.filters.colours import DislikedColour
from services.search.filters.facets import Facets, OwnFacet, PriceFacet
from services.search.filters.filter import (
    ColourFilter,
    Condition,
    Filter,
    FlagFilter,
    GenderFilter,
    LabelFilter,
    NumberRange,
    OwnCondition,
    PriceRange,
    Words,
    YearRange,
    unknown_value,
)
from services.search.filters.order import Order
from services.search.filters.ranking import Boost
from services.search.indexes.base import Collapse, Eligibility, Hit, Variant
from services.search.query.explanation import Explanation, Step
from services.search.query.find_similar import Degraded, SimilarAnswer
from services.search.query.request import DEFAULT_TOP_K, PreferencePolicy, Scope, SimilarRequest
from services.search.service import CatalogueFacts
from services.search.writes.writer import DeleteReport, UpdateRow, UpsertReport, UpsertRow
from services.serving import conversion

_SCOPES: Final = MappingProxyType(
    {
        search_pb2.SEARCH_SCOPE_UNSPECIFIED: None,
        search_pb2.SEARCH_SCOPE_PREDICTED_TYPE: Scope.PREDICTED_TYPE,
        search_pb2.SEARCH_SCOPE_INVENTORY: Scope.INVENTORY,
        search_pb2.SEARCH_SCOPE_DERIVED_TYPES: Scope.DERIVED_TYPES,
    }
)
_SCOPES_TO_PROTO: Final = MappingProxyType({scope: value for value, scope in _SCOPES.items() if scope is not None})

_POLICIES: Final = MappingProxyType(
    {
        search_pb2.PREFERENCE_POLICY_UNSPECIFIED: PreferencePolicy.BEST_EFFORT,
        search_pb2.PREFERENCE_POLICY_BEST_EFFORT: PreferencePolicy.BEST_EFFORT,
        search_pb2.PREFERENCE_POLICY_REQUIRED: PreferencePolicy.REQUIRED,
    }
)
_COLLAPSES: Final = MappingProxyType(
    {
        search_pb2.COLLAPSE_UNSPECIFIED: Collapse.VARIANTS,
        search_pb2.COLLAPSE_NONE: Collapse.NONE,
        search_pb2.COLLAPSE_VARIANTS: Collapse.VARIANTS,
        search_pb2.COLLAPSE_DESIGNS: Collapse.DESIGNS,
    }
)
_ORDERS: Final = MappingProxyType(
    {
        search_pb2.PRODUCT_ORDER_UNSPECIFIED: Order.ID,
        **{search_pb2.ProductOrder.Value(f"PRODUCT_ORDER_{order.name}"): order for order in Order},
    }
)
_DEGRADED_TO_PROTO: Final = MappingProxyType(
    {
        Degraded.PREFERENCES_UNAVAILABLE: search_pb2.DEGRADED_REASON_PREFERENCES_UNAVAILABLE,
        Degraded.CLASSIFIER_UNAVAILABLE: search_pb2.DEGRADED_REASON_CLASSIFIER_UNAVAILABLE,
        Degraded.PREDICTED_TYPE_NOT_IN_CATALOGUE: search_pb2.DEGRADED_REASON_PREDICTED_TYPE_NOT_IN_CATALOGUE,
        Degraded.UNSURE: search_pb2.DEGRADED_REASON_UNSURE,
    }
)
# The fields that have the same name and value in a product and in its message.
_PLAIN_FIELDS: Final = (
    "id",
    "photograph_absent",
    *(each.name for each in ATTRIBUTES if each.kind not in {Kind.GENDER, Kind.PRICE, Kind.OWN}),
)
_STORED_NAMES: Final = frozenset(attribute.name for attribute in STORED)
_plain_values: Final = attrgetter(*_PLAIN_FIELDS)
_STEPS_TO_PROTO: Final = MappingProxyType(
    {
        Step.TOTAL: search_pb2.SEARCH_STEP_TOTAL,
        Step.READ_DISLIKES: search_pb2.SEARCH_STEP_READ_DISLIKES,
        Step.EMBED: search_pb2.SEARCH_STEP_EMBED,
        Step.CLASSIFY: search_pb2.SEARCH_STEP_CLASSIFY,
        Step.SEARCH: search_pb2.SEARCH_STEP_SEARCH,
        Step.EXPLAIN: search_pb2.SEARCH_STEP_EXPLAIN,
    }
)
_OUTCOMES_TO_PROTO: Final = MappingProxyType(
    {
        UpsertOutcome.CREATED: search_pb2.UPSERT_OUTCOME_CREATED,
        UpsertOutcome.UPDATED: search_pb2.UPSERT_OUTCOME_UPDATED,
        UpsertOutcome.UNCHANGED: search_pb2.UPSERT_OUTCOME_UNCHANGED,
    }
)


def similar_request_from_proto(message: search_pb2.FindSimilarRequest) -> SimilarRequest:
    """Unpacks a request for similar products.

    Raises:
        InvalidInput: SCOPE_INVALID, PREFERENCE_POLICY_INVALID, COLLAPSE_INVALID, FILTER_VALUE_UNKNOWN: an enumeration's
            value is unknown.
    """
    if message.scope not in _SCOPES:
        raise InvalidInput(
            f"The scope {message.scope} is unknown.", reason="SCOPE_INVALID", metadata={"field": "scope"}
        )
    if message.preference_policy not in _POLICIES:
        # Never best effort: that could show colours which the caller required to be left out.
        raise InvalidInput(
            f"The preference policy {message.preference_policy} is unknown.",
            reason="PREFERENCE_POLICY_INVALID",
            metadata={"field": "preference_policy"},
        )
    if message.collapse not in _COLLAPSES:
        raise InvalidInput(
            f"The collapse {message.collapse} is unknown: send a value of Collapse.",
            reason="COLLAPSE_INVALID",
            metadata={"field": "collapse"},
        )
    query: str | Photograph | Embedding | None = None
    match message.WhichOneof("query"):
        case "product_id":
            query = message.product_id
        case "image":
            query = conversion.photograph_from_proto(message.image, Subject.AUTO)
        case "embedding":
            query = conversion.embedding_from_proto(message.embedding)
    return SimilarRequest(
        query=query,
        liked_ids=tuple(message.liked_product_ids),
        disliked_ids=tuple(message.disliked_product_ids),
        user_id=message.user_id,
        top_k=message.top_k if message.HasField("top_k") else DEFAULT_TOP_K,
        scope=_SCOPES[message.scope],
        derived_types=tuple(message.derived_types),
        eligibility=Eligibility(
            filter=filter_from_proto(message.filter),
            excluded_ids=tuple(message.excluded_product_ids),
            include_out_of_stock=message.include_out_of_stock,
            collapse=_COLLAPSES[message.collapse],
        ),
        preference_policy=_POLICIES[message.preference_policy],
        explain=message.explain,
        min_similarity=message.min_similarity if message.HasField("min_similarity") else None,
        boosts=tuple(Boost(filter_from_proto(each.condition), each.factor) for each in message.boosts),
        diversity=message.diversity,
    )


def similar_answer_to_proto(answer: SimilarAnswer) -> search_pb2.FindSimilarResponse:
    """Packs similar products."""
    return search_pb2.FindSimilarResponse(
        products=_hits_to_proto(answer.result.hits),
        applied=_applied_to_proto(answer),
        classification=(
            None if answer.classification is None else conversion.classification_to_proto(answer.classification)
        ),
        explanation=None if answer.explanation is None else _explanation_to_proto(answer.explanation),
        confidence=None if answer.classification is None else answer.classification.confidence,
        view=conversion.view_to_proto(answer.view),
    )


def similar_lists_to_proto(
    product_ids: Sequence[str], answers: Sequence[SimilarAnswer | FashionError]
) -> search_pb2.BatchFindSimilarResponse:
    """Packs the similar products of some products, by their ids alone."""
    response = search_pb2.BatchFindSimilarResponse()
    for product_id, answer in zip(product_ids, answers, strict=True):
        if isinstance(answer, FashionError):
            response.lists.add(product_id=product_id, status=conversion.row_error_to_proto(answer))
            continue
        response.lists.add(
            product_id=product_id,
            status=conversion.row_error_to_proto(None),
            products=[
                {"product_id": hit.product.id, "similarity": hit.similarity, "rank_score": hit.rank_score}
                for hit in answer.result.hits
            ],
            applied=_applied_to_proto(answer),
        )
    return response


def _applied_to_proto(answer: SimilarAnswer) -> search_pb2.AppliedSearch:
    result = answer.result
    return search_pb2.AppliedSearch(
        scope=_SCOPES_TO_PROTO[answer.scope],
        derived_types=answer.derived_types,
        excluded_colours=result.excluded_colours,
        eligible_count=result.eligible_count,
        model_version=answer.model_version,
        index_version=result.index_version,
        degraded=[_DEGRADED_TO_PROTO[reason] for reason in answer.degraded],
        below_min_similarity=answer.below_min_similarity,
        other_currencies=currencies_to_proto(result.other_currencies),
    )


def _hits_to_proto(hits: Iterable[Hit]) -> list[Mapping[str, Any]]:
    # Dictionaries, because protobuf copies a message that is put into another. Every query runs through here.
    return list(map(_hit_fields, hits))


def _hit_fields(hit: Hit) -> Mapping[str, Any]:
    fields = {"product": _product_fields(hit.product), "similarity": hit.similarity}
    if hit.rank_score is not None:
        fields["rank_score"] = hit.rank_score
    if hit.variant_count:
        fields["variants"] = list(map(_variant_fields, hit.variants))
        fields["variant_count"] = hit.variant_count
        fields["derived"] = hit.derived
    return fields


def _variant_fields(variant: Variant) -> Mapping[str, Any]:
    product = variant.product
    fields = _product_fields(product)
    return {
        "product_id": product.id,
        "base_colour": product.base_colour,
        "price": fields.get("price"),
        "in_stock": product.in_stock,
        "similarity": variant.similarity,
    }


def _explanation_to_proto(explanation: Explanation) -> search_pb2.Explanation:
    return search_pb2.Explanation(
        timings=[
            search_pb2.StepTiming(
                step=_STEPS_TO_PROTO[each.step], start_offset=_duration(each.start_s), duration=_duration(each.seconds)
            )
            for each in explanation.timings
        ],
        products_before_colours=_hits_to_proto(explanation.hits_before_colours),
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def filter_from_proto(message: search_pb2.Filter) -> Filter:
    """Unpacks a filter. `filters.evaluate` checks its labels.

    Raises:
        InvalidInput: FILTER_VALUE_UNKNOWN: a gender is not stated, or unknown.
    """
    conditions: dict[str, Condition] = {}
    for field, part in message.ListFields():
        if field.name == "attributes":
            # In an order, so that equal filters are evaluated alike.
            for name in sorted(part):
                conditions[f"{OWN_PREFIX}{name}"] = _own_condition_from_proto(part[name])
        else:
            conditions[field.name] = _condition_from_proto(part)
    return Filter(**conditions)


def _condition_from_proto(
    part: search_pb2.LabelFilter
    | search_pb2.ColourFilter
    | search_pb2.GenderFilter
    | search_pb2.YearRange
    | search_pb2.PriceRange
    | str,
) -> Condition:
    match part:
        case search_pb2.LabelFilter():
            return LabelFilter(tuple(part.any_of), tuple(part.none_of))
        case search_pb2.ColourFilter():
            return ColourFilter(tuple(part.any_of), tuple(part.none_of), part.by_family)
        case search_pb2.GenderFilter():
            return GenderFilter(_genders(part.any_of), _genders(part.none_of))
        case search_pb2.YearRange():
            return YearRange(*((getattr(part, end) if part.HasField(end) else None) for end in ("first", "last")))
        case search_pb2.PriceRange():
            low, high = (
                Price(part.currency_code, bound.units, bound.nanos) if part.HasField(end) else None
                for end, bound in (("min", part.min), ("max", part.max))
            )
            return PriceRange(part.currency_code, low, high)
        case str():
            return Words(part)


def _own_condition_from_proto(message: search_pb2.AttributeFilter) -> OwnCondition:
    match message.WhichOneof("condition"):
        case "number":
            part = message.number
            return NumberRange(*((getattr(part, end) if part.HasField(end) else None) for end in ("min", "max")))
        case "flag":
            return FlagFilter(message.flag)
        case _:
            # Without any condition too, which lets all products through, as an empty one does.
            return LabelFilter(tuple(message.labels.any_of), tuple(message.labels.none_of))


def order_from_proto(value: search_pb2.ProductOrder) -> Order:
    """Unpacks the order of a list.

    Raises:
        InvalidInput: ORDER_INVALID.
    """
    if value not in _ORDERS:
        raise InvalidInput(
            f"The order {value} is unknown: send a value of ProductOrder.",
            reason="ORDER_INVALID",
            metadata={"field": "order"},
        )
    return _ORDERS[value]


def _genders(values: Iterable[types_pb2.Gender]) -> tuple[Gender, ...]:
    genders: list[Gender] = []
    for value in values:
        gender = conversion.gender_from_proto(value)
        if gender is None:
            name = types_pb2.Gender.Name(value) if value in types_pb2.Gender.values() else str(value)
            raise unknown_value("gender", name, [types_pb2.Gender.Name(known) for known in _known_genders()])
        genders.append(gender)
    return tuple(genders)


def _known_genders() -> Iterable[types_pb2.Gender]:
    return (conversion.gender_to_proto(gender) for gender in Gender)


def replaced_fields_from_proto(message: search_pb2.UpsertProductsRequest) -> frozenset[str] | None:
    """Unpacks which fields of known products are replaced, such as "name" or "attributes.material"; None for all.

    Raises:
        InvalidInput: UPDATE_MASK_INVALID: a path is no field of `Product` that can be written.
    """
    return _fields_from_mask(message.update_mask) if message.HasField("update_mask") else None


def _fields_from_mask(mask: FieldMask) -> frozenset[str]:
    fields = frozenset(mask.paths)
    for path in fields - _STORED_NAMES:
        if not (path.startswith(OWN_PREFIX) and is_attribute_name(path.removeprefix(OWN_PREFIX))):
            field = path.partition(".")[0]
            hint = f": name {field}, which is replaced as a whole" if field in _STORED_NAMES - {path} else ""
            raise InvalidInput(
                f'update_mask names "{path}", which is no field of Product that can be replaced{hint}.',
                reason="UPDATE_MASK_INVALID",
                metadata={"field": "update_mask", "path": path},
            )
    return fields


def _gender_of_product(value: types_pb2.Gender) -> Gender:
    gender = conversion.gender_from_proto(value)
    if gender is None:
        # Of a later contract: it must not become unknown.
        raise InvalidInput(
            f"The gender {value} is no value of Gender: send one, or none where it is unknown.",
            reason="GENDER_INVALID",
            metadata={"field": "gender"},
        )
    return gender


def update_rows_from_proto(message: search_pb2.UpdateProductsRequest) -> list[UpdateRow]:
    """Unpacks rows of changed fields. The error of an invalid row takes its place.

    Raises:
        InvalidInput: UPDATE_MASK_INVALID, in the mask for all rows.
    """
    for_all = _fields_from_mask(message.update_mask) if message.HasField("update_mask") else None
    return [_update_row(row, for_all) for row in message.updates]


def _update_row(message: search_pb2.ProductUpdate, for_all: frozenset[str] | None) -> UpdateRow:
    product = message.product
    try:
        fields = _fields_from_mask(message.update_mask) if message.HasField("update_mask") else for_all
        sent = _fields_from_product(product)
        own = sent.get("attributes", {})
        values = (
            sent
            if fields is None
            else {
                name: own.get(name.removeprefix(OWN_PREFIX)) if name.startswith(OWN_PREFIX) else sent.get(name)
                for name in fields
            }
        )
        validate_product_id(product.id)
        return UpdateRow(product.id, validate_values(values))
    except InvalidInput as error:
        return UpdateRow(product.id, error)


def upsert_row_from_proto(message: search_pb2.ProductRow) -> UpsertRow:
    """Unpacks a row to be written. The error of an invalid product takes its place."""
    content: Photograph | Embedding | None = None
    match message.WhichOneof("content"):
        case "image":
            content = conversion.photograph_from_proto(message.image)
        case "embedding":
            content = conversion.embedding_from_proto(message.embedding)
    try:
        product: Product | InvalidInput = product_from_proto(message.product)
    except InvalidInput as error:
        product = error
    return UpsertRow(message.product.id, product, content)


def product_from_proto(message: types_pb2.Product) -> Product:
    """Unpacks a product, without its output-only fields.

    Raises:
        InvalidInput: see `validate_product`.
    """
    return validate_product(id=message.id, **_fields_from_product(message))


def _fields_from_product(message: types_pb2.Product) -> dict[str, Any]:
    """Returns the values that a message has of fields that can be written, by name."""
    fields: dict[str, Any] = {}
    for field, value in message.ListFields():
        match field.name:
            case "gender":
                value = _gender_of_product(value)
            case "price":
                value = Price(value.currency_code, value.units, value.nanos)
            case "attributes":
                value = conversion.own_attributes_from_proto(value)
            case "id" | "derived_type" | "photograph_absent":
                continue
        fields[field.name] = value
    return fields


def product_to_proto(product: Product) -> types_pb2.Product:
    """Packs a product. Unknown attributes are absent."""
    return types_pb2.Product(**_product_fields(product))


def _product_fields(product: Product) -> dict[str, Any]:
    fields: dict[str, Any] = dict(zip(_PLAIN_FIELDS, _plain_values(product), strict=True))
    fields["gender"] = conversion.gender_to_proto(product.gender)
    if product.price is not None:
        fields["price"] = dataclasses.asdict(product.price)
    if product.attributes:
        fields["attributes"] = conversion.own_attributes_to_proto(product.attributes)
    return fields


def upsert_report_to_proto(rows: Sequence[UpsertRow], report: UpsertReport) -> search_pb2.UpsertProductsResponse:
    """Packs the results of an upsert, one per row."""
    return search_pb2.UpsertProductsResponse(results=_results(rows, report), index_version=report.index_version)


def update_report_to_proto(rows: Sequence[UpdateRow], report: UpsertReport) -> search_pb2.UpdateProductsResponse:
    """Packs the results of an update, one per row."""
    return search_pb2.UpdateProductsResponse(results=_results(rows, report), index_version=report.index_version)


def _results(rows: Iterable[UpsertRow | UpdateRow], report: UpsertReport) -> list[dict[str, Any]]:
    return [
        {"product_id": row.product_id, "status": conversion.row_error_to_proto(result)}
        if isinstance(result, FashionError)
        else {"product_id": row.product_id, "status": {}, "outcome": _OUTCOMES_TO_PROTO[result]}
        for row, result in zip(rows, report.results, strict=True)
    ]


def delete_report_to_proto(product_ids: Sequence[str], report: DeleteReport) -> search_pb2.DeleteProductsResponse:
    """Packs the results of a deletion, one per id."""
    return search_pb2.DeleteProductsResponse(
        results=[
            search_pb2.DeleteResult(product_id=product_id, status=conversion.row_error_to_proto(error))
            for product_id, error in zip(product_ids, report.results, strict=True)
        ],
        index_version=report.index_version,
    )


def disliked_colour_from_proto(message: search_pb2.DislikedColour) -> DislikedColour:
    """Unpacks a disliked colour."""
    return DislikedColour(message.colour, message.exact)


def disliked_colours_to_proto(
    colours: Iterable[DislikedColour], covered: Iterable[Sequence[str]]
) -> list[search_pb2.DislikedColour]:
    """Packs disliked colours, each with the colours that it covers."""
    return [
        search_pb2.DislikedColour(colour=each.colour, exact=each.exact, covered_colours=stands_for)
        for each, stands_for in zip(colours, covered, strict=True)
    ]


def facets_to_proto(facets: Facets) -> search_pb2.ListFacetsResponse:
    """Packs facets."""
    return search_pb2.ListFacetsResponse(
        facets=[
            search_pb2.Facet(
                attribute=f"ATTRIBUTE_{attribute.upper()}",
                values=[
                    search_pb2.FacetValue(value=each.value, product_count=each.count, colour_family=each.colour_family)
                    for each in values
                ],
            )
            for attribute, values in facets.values.items()
        ],
        total_size=facets.total_count,
        price=None if facets.price is None else _price_facet_to_proto(facets.price),
        attributes=[_own_facet_to_proto(facet) for facet in facets.own],
    )


def currencies_to_proto(counts: Mapping[str, int]) -> list[search_pb2.CurrencyCount]:
    """Packs how many products have their price in each currency."""
    return [search_pb2.CurrencyCount(currency_code=code, product_count=count) for code, count in counts.items()]


def _price_facet_to_proto(facet: PriceFacet) -> search_pb2.PriceFacet:
    return search_pb2.PriceFacet(
        currency_code=facet.currency_code,
        min=_amount_to_proto(facet.min),
        max=_amount_to_proto(facet.max),
        product_count=facet.count,
        ranges=[
            search_pb2.PriceFacetRange(
                min=_amount_to_proto(each.min), max=_amount_to_proto(each.max), product_count=each.count
            )
            for each in facet.ranges
        ],
        other_currencies=currencies_to_proto(facet.other_currencies),
    )


def _amount_to_proto(price: Price | None) -> search_pb2.Amount | None:
    return None if price is None else search_pb2.Amount(units=price.units, nanos=price.nanos)


def _own_facet_to_proto(facet: OwnFacet) -> search_pb2.AttributeFacet:
    number, flag = facet.number, facet.flag
    return search_pb2.AttributeFacet(
        name=facet.name,
        product_count=facet.count,
        labels=[search_pb2.FacetValue(value=each.value, product_count=each.count) for each in facet.labels],
        label_count=facet.label_count,
        number=None
        if number is None
        else search_pb2.NumberFacet(
            min=number.min,
            max=number.max,
            product_count=number.count,
            ranges=[
                search_pb2.NumberFacetRange(min=each.min, max=each.max, product_count=each.count)
                for each in number.ranges
            ],
        ),
        flag=None if flag is None else search_pb2.FlagFacet(yes_count=flag.yes_count, no_count=flag.no_count),
    )


def catalogue_facts_to_proto(facts: CatalogueFacts) -> search_pb2.GetIndexResponse:
    """Packs facts about the index."""
    update_time = None
    if facts.update_time is not None:
        update_time = Timestamp()
        update_time.FromDatetime(facts.update_time)
    return search_pb2.GetIndexResponse(
        product_count=facts.index.product_count,
        available_count=facts.index.available_count,
        model_version=facts.model_version,
        index_version=facts.index.index_version,
        update_time=update_time,
        candidates_version=facts.candidates_version,
        derived_types=[
            search_pb2.DerivedTypeCount(label=label, product_count=count)
            for label, count in facts.index.derived_types.items()
        ],
        outdated_count=facts.index.outdated_count,
        unsure_below=None if facts.doubt is None else facts.doubt.unsure_below,
        nearest_similarity=None if facts.doubt is None else _distribution(facts.doubt),
    )


def _distribution(doubt: Doubt) -> search_pb2.SimilarityDistribution:
    return search_pb2.SimilarityDistribution(
        quantiles=[
            search_pb2.SimilarityQuantile(share=share, similarity=similarity)
            for share, similarity in zip(SHARES, doubt.similarities, strict=True)
        ],
        product_count=doubt.sample_count,
    )
