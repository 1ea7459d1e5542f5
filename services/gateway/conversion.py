"""Conversion from parameters to messages of fashion.v1, and from messages to the models of JSON."""

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, quote

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from fashion.v1 import search_pb2, types_pb2
from services.contract.attributes import BY_NAME, FACETED, FILTERED, OWN_PREFIX, Attribute, Kind, attribute_label
from services.contract.errors import InvalidInput
from services.contract.own_attributes import AttributeValue, Flag, plain_attributes
from services.contract.values import Gender, Subject
from services.gateway.schema import answers
from services.gateway.schema.parameters import (
    BOOST_PATTERN,
    Collapse,
    FilterParameters,
    Order,
    PhotographParameters,
    PreferencePolicy,
    Scope,
    SimilarParameters,
    list_fields,
)
from services.gateway.schema.problems import validated
from services.gateway.schema.product_changes import PriceChange
from services.gateway.swatches import swatch_of
from services.serving import conversion
from services.serving.filter_texts import (
    amount_text,
    attribute_filters,
    label_text,
    number_range_text,
    number_text,
    price_range,
    price_text,
)

_SCOPES: Final = MappingProxyType(
    {
        Scope.PREDICTED_TYPE: search_pb2.SEARCH_SCOPE_PREDICTED_TYPE,
        Scope.INVENTORY: search_pb2.SEARCH_SCOPE_INVENTORY,
        Scope.DERIVED_TYPES: search_pb2.SEARCH_SCOPE_DERIVED_TYPES,
    }
)
_SCOPES_FROM_PROTO: Final = MappingProxyType({value: scope for scope, value in _SCOPES.items()})
_SUBJECTS: Final = MappingProxyType({Subject.WHOLE: types_pb2.SUBJECT_WHOLE, Subject.AUTO: types_pb2.SUBJECT_AUTO})
_POLICIES: Final = MappingProxyType(
    {
        PreferencePolicy.BEST_EFFORT: search_pb2.PREFERENCE_POLICY_BEST_EFFORT,
        PreferencePolicy.REQUIRED: search_pb2.PREFERENCE_POLICY_REQUIRED,
    }
)
_COLLAPSES: Final = MappingProxyType(
    {collapse: getattr(search_pb2, f"COLLAPSE_{collapse.name}") for collapse in Collapse}
)
_ORDERS: Final[Mapping[Order, search_pb2.ProductOrder]] = MappingProxyType(
    {order: getattr(search_pb2, f"PRODUCT_ORDER_{order.name}") for order in Order}
)
_DEGRADED: Final[MappingProxyType[int, answers.DegradedReason]] = MappingProxyType(
    {
        search_pb2.DEGRADED_REASON_PREFERENCES_UNAVAILABLE: "PREFERENCES_UNAVAILABLE",
        search_pb2.DEGRADED_REASON_CLASSIFIER_UNAVAILABLE: "CLASSIFIER_UNAVAILABLE",
        search_pb2.DEGRADED_REASON_PREDICTED_TYPE_NOT_IN_CATALOGUE: "PREDICTED_TYPE_NOT_IN_CATALOGUE",
        search_pb2.DEGRADED_REASON_UNSURE: "UNSURE",
    }
)
_FACETED: Final[Mapping[int, Attribute]] = {
    search_pb2.Attribute.Value(f"ATTRIBUTE_{each.name.upper()}"): each for each in FACETED
}
_PRICE: Final = BY_NAME["price"]
_OUTCOMES: Final[Mapping[int, Literal["updated", "unchanged"]]] = MappingProxyType(
    {search_pb2.UPSERT_OUTCOME_UPDATED: "updated", search_pb2.UPSERT_OUTCOME_UNCHANGED: "unchanged"}
)
# The fields of a message without any value, as JSON shows them.
_UNKNOWN: Final = {field.name: None if field.has_presence else "" for field in types_pb2.Product.DESCRIPTOR.fields}
_STEPS: Final[MappingProxyType[int, answers.StepName]] = MappingProxyType(
    {
        search_pb2.SEARCH_STEP_TOTAL: "total",
        search_pb2.SEARCH_STEP_READ_DISLIKES: "read_dislikes",
        search_pb2.SEARCH_STEP_EMBED: "embed",
        search_pb2.SEARCH_STEP_CLASSIFY: "classify",
        search_pb2.SEARCH_STEP_SEARCH: "search",
        search_pb2.SEARCH_STEP_EXPLAIN: "explain",
    }
)


def filter_to_proto(parameters: FilterParameters) -> search_pb2.Filter | None:
    """Packs a filter; None for one without conditions.

    Raises:
        InvalidInput: PRICE_RANGE_INVALID, ATTRIBUTE_FILTER_INVALID.
    """
    message = search_pb2.Filter()
    for attribute in FILTERED:
        match attribute.kind:
            case Kind.LABEL:
                if labels := getattr(parameters, attribute.name):
                    getattr(message, attribute.name).any_of.extend(labels)
            case Kind.GENDER:
                if parameters.gender:
                    message.gender.any_of.extend(map(conversion.gender_to_proto, parameters.gender))
            case Kind.COLOUR:
                if parameters.base_colour or parameters.excluded_colour:
                    message.base_colour.any_of.extend(parameters.base_colour)
                    message.base_colour.none_of.extend(parameters.excluded_colour)
                    message.base_colour.by_family = parameters.colour_by_family
            case Kind.YEAR:
                if parameters.year_first is not None:
                    message.year.first = parameters.year_first
                if parameters.year_last is not None:
                    message.year.last = parameters.year_last
            case Kind.PRICE:
                if parameters.price is not None:
                    message.price.CopyFrom(price_range(parameters.price))
            case Kind.OWN:
                filters = attribute_filters(parameters.attribute, parameters.excluded_attribute)
                for name, condition in filters.items():
                    message.attributes[name].CopyFrom(condition)
    message.words = parameters.words
    return message if message.ByteSize() else None


def boost_to_proto(text: str) -> search_pb2.Boost:
    """Packs a rule, such as "1.2 season=Summer": a factor, and filter parameters as in a query.

    Raises:
        InvalidInput: BOOST_INVALID, REQUEST_INVALID, PRICE_RANGE_INVALID, ATTRIBUTE_FILTER_INVALID.
    """
    if not re.fullmatch(BOOST_PATTERN, text):
        raise InvalidInput(
            f'The boost "{text[:64]}" is no rule: write a factor and a filter, such as "1.2 season=Summer".',
            reason="BOOST_INVALID",
            metadata={"field": "boost"},
        )
    factor, _, condition = text.partition(" ")
    values: dict[str, Any] = {}
    for name, value in parse_qsl(condition.strip(), keep_blank_values=True):
        values.setdefault(name, []).append(value)
    lists = list_fields(FilterParameters)
    parameters = {name: each if name in lists or len(each) > 1 else each[0] for name, each in values.items()}
    return search_pb2.Boost(
        condition=filter_to_proto(validated(FilterParameters, parameters)) or search_pb2.Filter(), factor=float(factor)
    )


def order_to_proto(order: Order) -> search_pb2.ProductOrder:
    """Packs the order of a list."""
    return _ORDERS[order]


def similar_request_to_proto(parameters: SimilarParameters, query: str | bytes) -> search_pb2.FindSimilarRequest:
    """Packs a request for products similar to a product (its id) or a photograph (its bytes).

    Raises:
        InvalidInput: REGION_INVALID.
    """
    scope = parameters.scope
    if scope is None and parameters.derived_type:
        scope = Scope.DERIVED_TYPES
    request = search_pb2.FindSimilarRequest(
        liked_product_ids=parameters.liked,
        disliked_product_ids=parameters.disliked,
        excluded_product_ids=parameters.excluded,
        user_id=parameters.user_id or "",
        filter=filter_to_proto(parameters),
        top_k=parameters.limit,
        scope=search_pb2.SEARCH_SCOPE_UNSPECIFIED if scope is None else _SCOPES[scope],
        derived_types=parameters.derived_type,
        include_out_of_stock=parameters.include_out_of_stock,
        collapse=_COLLAPSES[parameters.collapse],
        preference_policy=_POLICIES[parameters.preference_policy],
        explain=parameters.explain,
        min_similarity=parameters.min_similarity,
        boosts=map(boost_to_proto, parameters.boost),
        diversity=parameters.diversity,
    )
    if isinstance(query, str):
        request.product_id = query
    else:
        chosen = parameters if isinstance(parameters, PhotographParameters) else PhotographParameters()
        request.image.CopyFrom(image_to_proto(query, chosen.region, chosen.subject))
    return request


def image_to_proto(content: bytes, region: str | None, subject: Subject = Subject.WHOLE) -> types_pb2.Image:
    """Packs a photograph, and the part of it that counts.

    Raises:
        InvalidInput: REGION_INVALID.
    """
    return types_pb2.Image(content=content, region=_box(region), subject=_SUBJECTS[subject])


def garments_from_proto(garments: Iterable[types_pb2.Garment]) -> list[answers.Garment]:
    """Unpacks the garments of a photograph."""
    return [
        answers.Garment(region=_region(each.box), sub_category=each.sub_category, confidence=round(each.confidence, 4))
        for each in garments
    ]


def _view(message: types_pb2.PhotographView) -> answers.PhotographView:
    return answers.PhotographView(
        region=_region(message.region) if message.HasField("region") else None,
        quarter_turns=message.quarter_turns,
        garments=garments_from_proto(message.garments),
    )


def _region(box: types_pb2.Box) -> str:
    return ",".join(f"{edge:.4f}" for edge in (box.left, box.top, box.right, box.bottom))


def _box(region: str | None) -> types_pb2.Box | None:
    if region is None:
        return None
    left, top, right, bottom = (float(share) for share in region.split(","))
    if left >= right or top >= bottom:
        raise InvalidInput(
            "The region should be left,top,right,bottom with left < right and top < bottom.",
            reason="REGION_INVALID",
            metadata={"field": "region"},
        )
    return types_pb2.Box(left=left, top=top, right=right, bottom=bottom)


def product_update_to_proto(product_id: str, change: Any) -> search_pb2.ProductUpdate:
    """Packs a `ProductChange`: the fields that it names, those that it forgets in the mask alone."""
    product = types_pb2.Product(id=product_id)
    paths: list[str] = []
    for name in sorted(change.model_fields_set - {"id"}):
        value = getattr(change, name)
        if name == "attributes" and value is not None:
            paths += [f"{OWN_PREFIX}{own}" for own in value]
            values = {own: _own_value(each) for own, each in value.items() if each is not None}
            for own, message in conversion.own_attributes_to_proto(values).items():
                product.attributes[own].CopyFrom(message)
            continue
        paths.append(name)
        match value:
            case None:
                pass
            case Gender():
                product.gender = conversion.gender_to_proto(value)
            case PriceChange():
                units = int(value.amount)
                nanos = int((value.amount - units) * 10**9)
                product.price.CopyFrom(types_pb2.Price(currency_code=value.currency, units=units, nanos=nanos))
            case _:
                setattr(product, name, value)
    return search_pb2.ProductUpdate(product=product, update_mask=FieldMask(paths=paths))


def _own_value(value: bool | float | str | list[str]) -> AttributeValue:
    match value:
        case bool():
            return Flag(value)
        case str():
            return (value,)
        case list():
            return tuple(value)
        case _:
            return float(value)


def update_results_from_proto(message: search_pb2.UpdateProductsResponse) -> answers.UpdateResults:
    """Unpacks the results of changes."""
    return answers.UpdateResults(
        results=[
            answers.UpdateResult(
                id=each.product_id,
                outcome=_OUTCOMES.get(each.outcome),
                reason=each.status.reason,
                message=each.status.message,
            )
            for each in message.results
        ],
        index_version=message.index_version,
    )


def added_photograph_from_proto(message: search_pb2.AddPhotographResponse) -> answers.AddedPhotograph:
    """Unpacks the result of adding a photograph."""
    return answers.AddedPhotograph(
        product=product_from_proto(message.product),
        index=message.index,
        outcome=_OUTCOMES[message.outcome],
        index_version=message.index_version,
    )


def image_path(product_id: str, index: int = 0) -> str:
    """Returns the path of a product's photograph at the gateway, the first by default."""
    return f"/v1/products/{quote(product_id, safe='')}/" + (f"photographs/{index}" if index else "image")


def product_from_proto(message: types_pb2.Product) -> answers.Product:
    """Unpacks a product. Absent attributes are None."""
    fields: dict[str, Any] = {**_UNKNOWN, **{field.name: value for field, value in message.ListFields()}}
    fields["gender"] = conversion.gender_from_proto(message.gender)
    if fields["price"] is not None:
        fields["price"] = _price(message.price)
    fields["attributes"] = plain_attributes(conversion.own_attributes_from_proto(message.attributes))
    # A search of an earlier version does not count them.
    count = fields.pop("photograph_count") or 1
    images = [] if fields.pop("photograph_absent") else [image_path(message.id, index) for index in range(count)]
    return answers.Product(**fields, image=images[0] if images else None, images=images)


def _price(price: types_pb2.Price) -> answers.Price:
    return answers.Price(amount=amount_text(price), currency=price.currency_code)


def similar_products_from_proto(message: search_pb2.FindSimilarResponse) -> answers.SimilarProducts:
    """Unpacks similar products."""
    excluded = frozenset(message.applied.excluded_colours)
    return answers.SimilarProducts(
        products=[
            answers.SimilarProduct(
                product=product_from_proto(each.product),
                similarity=each.similarity,
                image=_similar_image(each),
                photograph_index=each.photograph_index,
                rank_score=each.rank_score if each.HasField("rank_score") else None,
                variants=list(map(_variant, each.variants)),
                variant_count=each.variant_count,
                derived=each.derived,
            )
            for each in message.products
        ],
        applied=_applied(message.applied),
        classification=_classification(message.classification) if message.HasField("classification") else None,
        confidence=message.confidence if message.HasField("confidence") else None,
        view=_view(message.view) if message.HasField("view") else None,
        timings=[
            answers.StepTiming(
                step=_STEPS.get(each.step, "unknown"),
                start_milliseconds=_milliseconds(each.start_offset),
                milliseconds=_milliseconds(each.duration),
            )
            for each in message.explanation.timings
        ],
        before_colours=[
            answers.ComparedProduct(
                product=product_from_proto(each.product),
                similarity=each.similarity,
                image=_similar_image(each),
                photograph_index=each.photograph_index,
                left_out=each.product.base_colour in excluded,
            )
            for each in message.explanation.products_before_colours
        ],
    )


def _similar_image(message: search_pb2.SimilarProduct) -> str | None:
    product = message.product
    return None if product.photograph_absent else image_path(product.id, message.photograph_index)


def _variant(message: search_pb2.Variant) -> answers.Variant:
    return answers.Variant(
        id=message.product_id,
        base_colour=message.base_colour or None,
        swatch=swatch_of(message.base_colour, "") if message.base_colour else None,
        price=_price(message.price) if message.HasField("price") else None,
        in_stock=message.in_stock if message.HasField("in_stock") else None,
        similarity=message.similarity if message.HasField("similarity") else None,
    )


def _applied(applied: search_pb2.AppliedSearch) -> answers.Applied:
    return answers.Applied(
        scope=_SCOPES_FROM_PROTO[applied.scope],
        derived_types=list(applied.derived_types),
        excluded_colours=list(applied.excluded_colours),
        eligible_count=applied.eligible_count,
        model_version=applied.model_version,
        index_version=applied.index_version,
        degraded=[_DEGRADED.get(reason, "UNKNOWN") for reason in applied.degraded],
        other_currencies=_currencies(applied.other_currencies),
        below_min_similarity=applied.below_min_similarity,
        counts=answers.ResultCounts(
            **{name: getattr(applied.counts, name) for name in answers.ResultCounts.model_fields}
        ),
    )


def _classification(message: types_pb2.Classification) -> answers.Classification:
    return answers.Classification(
        sub_categories=[
            answers.SubCategoryPrediction(
                label=each.label, probability=each.probability if each.HasField("probability") else None
            )
            for each in message.sub_categories
        ],
        derived_types=[
            answers.DerivedTypePrediction(
                label=each.label,
                similarity=each.similarity,
                margin=each.margin if each.HasField("margin") else None,
                probability=each.probability if each.HasField("probability") else None,
            )
            for each in message.derived_types
        ],
    )


def _milliseconds(duration: Duration) -> float:
    return round(duration.ToNanoseconds() / 1e6, 3)


def product_page_from_proto(message: search_pb2.ListProductsResponse) -> answers.ProductPage:
    """Unpacks a page of products."""
    return answers.ProductPage(
        products=[product_from_proto(each) for each in message.products],
        next_page_token=message.next_page_token,
        total_count=message.total_size,
        other_currencies=_currencies(message.other_currencies),
    )


def facets_from_proto(message: search_pb2.ListFacetsResponse) -> answers.Facets:
    """Unpacks facets, and adds headings, kinds and the paint of colours."""
    facets = [
        answers.Facet(
            attribute=attribute.name,
            label=attribute.label,
            kind=attribute.kind,
            filtered=attribute.filtered,
            parameter=attribute.name if attribute.filtered and attribute.kind is not Kind.YEAR else None,
            values=[
                answers.FacetValue(
                    value=each.value,
                    count=each.product_count,
                    condition=each.value,
                    family=each.colour_family or None,
                    swatch=swatch_of(each.value, each.colour_family) if each.colour_family else None,
                )
                for each in facet.values
            ],
            value_count=len(facet.values),
        )
        for facet in message.facets
        if (attribute := _FACETED.get(facet.attribute))
    ]
    if message.HasField("price"):
        facets.append(_price_facet(message.price))
    facets += (each for facet in message.attributes for each in _own_facets(facet))
    return answers.Facets(facets=facets, total_count=message.total_size)


def _currencies(counts: Iterable[search_pb2.CurrencyCount]) -> list[answers.CurrencyCount]:
    return [answers.CurrencyCount(currency=each.currency_code, count=each.product_count) for each in counts]


def _price_facet(facet: search_pb2.PriceFacet) -> answers.Facet:
    ranges = []
    for each in facet.ranges:
        condition = price_text(each, facet.currency_code)
        value = condition.removesuffix(f" {facet.currency_code}")
        ranges.append(answers.FacetValue(value=value, count=each.product_count, condition=condition))
    return answers.Facet(
        attribute=_PRICE.name,
        label=_PRICE.label,
        kind=_PRICE.kind,
        filtered=True,
        parameter=_PRICE.name,
        values=ranges,
        value_count=len(ranges),
        min=amount_text(facet.min) if facet.HasField("min") else None,
        max=amount_text(facet.max) if facet.HasField("max") else None,
        currency=facet.currency_code,
        other_currencies=_currencies(facet.other_currencies),
    )


def _own_facets(facet: search_pb2.AttributeFacet) -> Iterator[answers.Facet]:
    """Yields a facet per kind of value that products have under a name."""

    def described(
        kind: Kind,
        values: Iterable[tuple[str, str, int]],
        value_count: int,
        low: str | None = None,
        high: str | None = None,
    ) -> answers.Facet:
        return answers.Facet(
            attribute=f"{OWN_PREFIX}{facet.name}",
            label=attribute_label(facet.name),
            kind=kind,
            filtered=True,
            parameter="attribute",
            values=[
                answers.FacetValue(value=value, count=count, condition=f"{facet.name}:{text}")
                for value, text, count in values
            ],
            value_count=value_count,
            min=low,
            max=high,
        )

    if facet.labels:
        labels = [(each.value, label_text(each.value), each.product_count) for each in facet.labels]
        yield described(Kind.LABEL, labels, facet.label_count)
    if facet.HasField("number"):
        ranges = [(text := number_range_text(each), text, each.product_count) for each in facet.number.ranges]
        low, high = number_text(facet.number.min), number_text(facet.number.max)
        yield described(Kind.NUMBER, ranges, len(ranges), low, high)
    if facet.HasField("flag"):
        counts = (("true", facet.flag.yes_count), ("false", facet.flag.no_count))
        flags = [(text, text, count) for text, count in counts if count]
        yield described(Kind.FLAG, flags, len(flags))


def disliked_colours_from_proto(colours: Iterable[search_pb2.DislikedColour]) -> answers.DislikedColours:
    """Unpacks disliked colours."""
    return answers.DislikedColours(
        colours=[
            answers.DislikedColour(colour=each.colour, exact=each.exact, covers=list(each.covered_colours))
            for each in colours
        ]
    )
