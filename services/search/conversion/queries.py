"""Conversion of the main query and its answers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration

from fashion.v1 import search_pb2
from services.contract.errors import FashionError, InvalidInput
from services.contract.values import Embedding, Photograph, Subject
from services.search.conversion.facets import currencies_to_proto
from services.search.conversion.filters import filter_from_proto
from services.search.conversion.products import product_fields
from services.search.filters.ranking import Boost
from services.search.indexes.base import Collapse, Eligibility, Hit, Rung, Variant
from services.search.query.explanation import Explanation, Step
from services.search.query.find_similar import Degraded, SimilarAnswer
from services.search.query.request import DEFAULT_TOP_K, PreferencePolicy, Scope, SimilarRequest
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
_DEGRADED_TO_PROTO: Final = MappingProxyType(
    {
        Degraded.PREFERENCES_UNAVAILABLE: search_pb2.DEGRADED_REASON_PREFERENCES_UNAVAILABLE,
        Degraded.CLASSIFIER_UNAVAILABLE: search_pb2.DEGRADED_REASON_CLASSIFIER_UNAVAILABLE,
        Degraded.PREDICTED_TYPE_NOT_IN_CATALOGUE: search_pb2.DEGRADED_REASON_PREDICTED_TYPE_NOT_IN_CATALOGUE,
        Degraded.UNSURE: search_pb2.DEGRADED_REASON_UNSURE,
    }
)
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
_RUNGS_TO_PROTO: Final = MappingProxyType({rung: getattr(search_pb2, f"SEARCH_RUNG_{rung.name}") for rung in Rung})


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
        widen=message.widen,
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
                {
                    "product_id": hit.product.id,
                    "similarity": hit.similarity,
                    "rank_score": hit.rank_score,
                    "photograph_index": hit.photograph,
                    "rung": None if hit.rung is None else _RUNGS_TO_PROTO[hit.rung],
                }
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
        counts=_counts_to_proto(answer),
        rungs=_rungs_to_proto(answer),
    )


def _rungs_to_proto(answer: SimilarAnswer) -> list[search_pb2.SearchedRung]:
    if answer.ladder is None or answer.result.rung is None:
        return []
    counts = Counter(hit.rung for hit in answer.result.hits)
    return [
        search_pb2.SearchedRung(
            rung=_RUNGS_TO_PROTO[rung],
            labels=sorted(answer.ladder.labels(rung)) if rung else answer.derived_types,
            returned_count=counts[rung],
        )
        for rung in Rung
        if rung <= answer.result.rung
    ]


def _counts_to_proto(answer: SimilarAnswer) -> search_pb2.ResultCounts:
    result, left_out, returned = answer.result, answer.result.left_out, len(answer.result.hits)
    return search_pb2.ResultCounts(
        requested_count=answer.requested_count,
        searched_count=result.searched_count,
        filtered_count=left_out.by_filter,
        out_of_stock_count=left_out.out_of_stock,
        disliked_count=left_out.disliked,
        excluded_count=left_out.excluded,
        variant_count=left_out.variants,
        dissimilar_count=answer.dissimilar_count,
        surplus_count=result.eligible_count - answer.dissimilar_count - returned,
        returned_count=returned,
    )


def _hits_to_proto(hits: Iterable[Hit]) -> list[Mapping[str, Any]]:
    # Dictionaries, because protobuf copies a message that is put into another. Every query runs through here.
    return list(map(_hit_fields, hits))


def _hit_fields(hit: Hit) -> Mapping[str, Any]:
    fields = {"product": product_fields(hit.product), "similarity": hit.similarity}
    if hit.photograph:
        fields["photograph_index"] = hit.photograph
    if hit.rank_score is not None:
        fields["rank_score"] = hit.rank_score
    if hit.rung is not None:
        fields["rung"] = _RUNGS_TO_PROTO[hit.rung]
    if hit.variant_count:
        fields["variants"] = list(map(_variant_fields, hit.variants))
        fields["variant_count"] = hit.variant_count
        fields["derived"] = hit.derived
    return fields


def _variant_fields(variant: Variant) -> Mapping[str, Any]:
    product = variant.product
    fields = product_fields(product)
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
