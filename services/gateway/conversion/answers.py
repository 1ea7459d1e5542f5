"""Messages as the JSON that answers a request."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal
from urllib.parse import quote

from google.protobuf.duration_pb2 import Duration

from fashion.v1 import search_pb2, types_pb2
from services.contract.own_attributes import plain_attributes
from services.gateway.conversion.facets import currencies_from_proto
from services.gateway.conversion.requests import SCOPES
from services.gateway.schema import answers
from services.gateway.swatches import swatch_of
from services.serving import conversion
from services.serving.filter_texts import amount_text

_SCOPES: Final = MappingProxyType({value: scope for scope, value in SCOPES.items()})
_DEGRADED: Final[MappingProxyType[int, answers.DegradedReason]] = MappingProxyType(
    {
        search_pb2.DEGRADED_REASON_PREFERENCES_UNAVAILABLE: "PREFERENCES_UNAVAILABLE",
        search_pb2.DEGRADED_REASON_CLASSIFIER_UNAVAILABLE: "CLASSIFIER_UNAVAILABLE",
        search_pb2.DEGRADED_REASON_PREDICTED_TYPE_NOT_IN_CATALOGUE: "PREDICTED_TYPE_NOT_IN_CATALOGUE",
        search_pb2.DEGRADED_REASON_UNSURE: "UNSURE",
    }
)
_OUTCOMES: Final[Mapping[int, Literal["updated", "unchanged"]]] = MappingProxyType(
    {search_pb2.UPSERT_OUTCOME_UPDATED: "updated", search_pb2.UPSERT_OUTCOME_UNCHANGED: "unchanged"}
)
# The fields of a message without any value, as JSON shows them.
_UNKNOWN: Final = {field.name: None if field.has_presence else "" for field in types_pb2.Product.DESCRIPTOR.fields}
_RUNGS: Final[MappingProxyType[int, answers.Rung]] = MappingProxyType(
    {
        search_pb2.SEARCH_RUNG_DERIVED_TYPE: "derived_type",
        search_pb2.SEARCH_RUNG_ARTICLE_TYPE: "article_type",
        search_pb2.SEARCH_RUNG_SUB_CATEGORY: "sub_category",
        search_pb2.SEARCH_RUNG_MASTER_CATEGORY: "master_category",
    }
)
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


def index_from_proto(message: search_pb2.GetIndexResponse) -> answers.Index:
    """Unpacks facts about the catalogue."""
    measured = message.nearest_similarity
    return answers.Index(
        product_count=message.product_count,
        available_count=message.available_count,
        model_version=message.model_version,
        index_version=message.index_version,
        approximate=message.approximate,
        unsure_below=message.unsure_below if message.HasField("unsure_below") else None,
        nearest_similarity=answers.SimilarityDistribution(
            quantiles=[
                answers.SimilarityQuantile(share=round(each.share, 6), similarity=each.similarity)
                for each in measured.quantiles
            ],
            product_count=measured.product_count,
        )
        if message.HasField("nearest_similarity")
        else None,
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
                rung=_RUNGS.get(each.rung),
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
        scope=_SCOPES[applied.scope],
        derived_types=list(applied.derived_types),
        excluded_colours=list(applied.excluded_colours),
        eligible_count=applied.eligible_count,
        model_version=applied.model_version,
        index_version=applied.index_version,
        degraded=[_DEGRADED.get(reason, "UNKNOWN") for reason in applied.degraded],
        other_currencies=currencies_from_proto(applied.other_currencies),
        below_min_similarity=applied.below_min_similarity,
        counts=answers.ResultCounts(
            **{name: getattr(applied.counts, name) for name in answers.ResultCounts.model_fields}
        ),
        rungs=[
            answers.SearchedRung(rung=_RUNGS[each.rung], labels=list(each.labels), returned_count=each.returned_count)
            for each in applied.rungs
        ],
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
        other_currencies=currencies_from_proto(message.other_currencies),
    )


def disliked_colours_from_proto(colours: Iterable[search_pb2.DislikedColour]) -> answers.DislikedColours:
    """Unpacks disliked colours."""
    return answers.DislikedColours(
        colours=[
            answers.DislikedColour(colour=each.colour, exact=each.exact, covers=list(each.covered_colours))
            for each in colours
        ]
    )
