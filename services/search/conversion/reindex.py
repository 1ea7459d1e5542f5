"""Conversion of reindexes: what is asked for, and what there is."""

from types import MappingProxyType
from typing import Final

from google.protobuf.duration_pb2 import Duration

from fashion.v1 import reindex_pb2
from services.search.catalogue.generations import CanaryRow, GenerationRecord, Status
from services.search.reindex.comparison import Comparison, Gate
from services.search.reindex.reindexer import ReindexState

_STATUSES: Final = MappingProxyType(
    {
        Status.LIVE: reindex_pb2.GENERATION_STATUS_LIVE,
        Status.BUILDING: reindex_pb2.GENERATION_STATUS_BUILDING,
        Status.READY: reindex_pb2.GENERATION_STATUS_READY,
        Status.REFUSED: reindex_pb2.GENERATION_STATUS_REFUSED,
        Status.PREVIOUS: reindex_pb2.GENERATION_STATUS_PREVIOUS,
    }
)
_GATE_FIELDS: Final = ("min_overlap", "max_label_loss", "min_canary_share", "max_lost_products")


def gate_from_proto(message: reindex_pb2.Gate) -> Gate:
    """Converts a gate; fields that are absent have their defaults."""
    return Gate(**{name: getattr(message, name) for name in _GATE_FIELDS if message.HasField(name)})


def canaries_from_proto(message: reindex_pb2.StartReindexRequest) -> tuple[CanaryRow, ...]:
    """Converts the canaries of a request, unchecked."""
    return tuple(
        CanaryRow(
            each.name,
            each.product_id if each.HasField("product_id") else None,
            each.image.content if each.HasField("image") else None,
            tuple(each.expected_types),
        )
        for each in message.canaries
    )


def reindex_to_proto(state: ReindexState) -> reindex_pb2.Reindex:
    """Converts what there is."""
    message = reindex_pb2.Reindex(
        live=_generation_to_proto(state.live, loaded=True),
        product_count=state.product_count,
        missing_count=state.missing_count,
        embedded_count=state.embedded_count,
        failed_product_ids=state.failed,
        trouble=state.trouble,
    )
    if state.other is not None:
        message.other.CopyFrom(_generation_to_proto(state.other, loaded=state.loaded))
    if state.remaining_s is not None:
        message.remaining.CopyFrom(Duration(seconds=round(state.remaining_s)))
    if state.comparison is not None:
        message.comparison.CopyFrom(_comparison_to_proto(state.comparison))
    return message


def _generation_to_proto(record: GenerationRecord, *, loaded: bool) -> reindex_pb2.Generation:
    message = reindex_pb2.Generation(
        model_version=record.model_version, status=_STATUSES[record.status], bundle=record.source or "", loaded=loaded
    )
    message.status_time.FromDatetime(record.time)
    return message


def _comparison_to_proto(comparison: Comparison) -> reindex_pb2.Comparison:
    return reindex_pb2.Comparison(
        live_count=comparison.live_count,
        next_count=comparison.next_count,
        lost_count=comparison.lost_count,
        sample_count=comparison.sample_count,
        overlap=comparison.overlap,
        live_label_agreement=comparison.live_label_agreement,
        next_label_agreement=comparison.next_label_agreement,
        canaries=[
            reindex_pb2.CanaryResult(
                name=each.name,
                live_passed=each.live_passed,
                next_passed=each.next_passed,
                next_type=each.next_type,
            )
            for each in comparison.canaries
        ],
        reasons=comparison.reasons,
    )
