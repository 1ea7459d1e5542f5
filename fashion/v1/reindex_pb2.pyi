import datetime

from fashion.v1 import types_pb2 as _types_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GenerationStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GENERATION_STATUS_UNSPECIFIED: _ClassVar[GenerationStatus]
    GENERATION_STATUS_LIVE: _ClassVar[GenerationStatus]
    GENERATION_STATUS_BUILDING: _ClassVar[GenerationStatus]
    GENERATION_STATUS_READY: _ClassVar[GenerationStatus]
    GENERATION_STATUS_REFUSED: _ClassVar[GenerationStatus]
    GENERATION_STATUS_PREVIOUS: _ClassVar[GenerationStatus]
GENERATION_STATUS_UNSPECIFIED: GenerationStatus
GENERATION_STATUS_LIVE: GenerationStatus
GENERATION_STATUS_BUILDING: GenerationStatus
GENERATION_STATUS_READY: GenerationStatus
GENERATION_STATUS_REFUSED: GenerationStatus
GENERATION_STATUS_PREVIOUS: GenerationStatus

class StartReindexRequest(_message.Message):
    __slots__ = ("bundle", "gate", "canaries", "hold")
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    CANARIES_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    bundle: str
    gate: Gate
    canaries: _containers.RepeatedCompositeFieldContainer[Canary]
    hold: bool
    def __init__(self, bundle: _Optional[str] = ..., gate: _Optional[_Union[Gate, _Mapping]] = ..., canaries: _Optional[_Iterable[_Union[Canary, _Mapping]]] = ..., hold: _Optional[bool] = ...) -> None: ...

class StartReindexResponse(_message.Message):
    __slots__ = ("reindex",)
    REINDEX_FIELD_NUMBER: _ClassVar[int]
    reindex: Reindex
    def __init__(self, reindex: _Optional[_Union[Reindex, _Mapping]] = ...) -> None: ...

class Gate(_message.Message):
    __slots__ = ("min_overlap", "max_label_loss", "min_canary_share", "max_lost_products")
    MIN_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    MAX_LABEL_LOSS_FIELD_NUMBER: _ClassVar[int]
    MIN_CANARY_SHARE_FIELD_NUMBER: _ClassVar[int]
    MAX_LOST_PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    min_overlap: float
    max_label_loss: float
    min_canary_share: float
    max_lost_products: int
    def __init__(self, min_overlap: _Optional[float] = ..., max_label_loss: _Optional[float] = ..., min_canary_share: _Optional[float] = ..., max_lost_products: _Optional[int] = ...) -> None: ...

class Canary(_message.Message):
    __slots__ = ("name", "product_id", "image", "expected_types")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_TYPES_FIELD_NUMBER: _ClassVar[int]
    name: str
    product_id: str
    image: _types_pb2.Image
    expected_types: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., product_id: _Optional[str] = ..., image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ..., expected_types: _Optional[_Iterable[str]] = ...) -> None: ...

class GetReindexRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetReindexResponse(_message.Message):
    __slots__ = ("reindex",)
    REINDEX_FIELD_NUMBER: _ClassVar[int]
    reindex: Reindex
    def __init__(self, reindex: _Optional[_Union[Reindex, _Mapping]] = ...) -> None: ...

class SwitchGenerationRequest(_message.Message):
    __slots__ = ("force",)
    FORCE_FIELD_NUMBER: _ClassVar[int]
    force: bool
    def __init__(self, force: _Optional[bool] = ...) -> None: ...

class SwitchGenerationResponse(_message.Message):
    __slots__ = ("reindex",)
    REINDEX_FIELD_NUMBER: _ClassVar[int]
    reindex: Reindex
    def __init__(self, reindex: _Optional[_Union[Reindex, _Mapping]] = ...) -> None: ...

class RollbackGenerationRequest(_message.Message):
    __slots__ = ("force",)
    FORCE_FIELD_NUMBER: _ClassVar[int]
    force: bool
    def __init__(self, force: _Optional[bool] = ...) -> None: ...

class RollbackGenerationResponse(_message.Message):
    __slots__ = ("reindex",)
    REINDEX_FIELD_NUMBER: _ClassVar[int]
    reindex: Reindex
    def __init__(self, reindex: _Optional[_Union[Reindex, _Mapping]] = ...) -> None: ...

class EndReindexRequest(_message.Message):
    __slots__ = ("force",)
    FORCE_FIELD_NUMBER: _ClassVar[int]
    force: bool
    def __init__(self, force: _Optional[bool] = ...) -> None: ...

class EndReindexResponse(_message.Message):
    __slots__ = ("reindex",)
    REINDEX_FIELD_NUMBER: _ClassVar[int]
    reindex: Reindex
    def __init__(self, reindex: _Optional[_Union[Reindex, _Mapping]] = ...) -> None: ...

class Generation(_message.Message):
    __slots__ = ("model_version", "status", "status_time", "bundle", "loaded")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STATUS_TIME_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    status: GenerationStatus
    status_time: _timestamp_pb2.Timestamp
    bundle: str
    loaded: bool
    def __init__(self, model_version: _Optional[str] = ..., status: _Optional[_Union[GenerationStatus, str]] = ..., status_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., bundle: _Optional[str] = ..., loaded: _Optional[bool] = ...) -> None: ...

class Reindex(_message.Message):
    __slots__ = ("live", "other", "product_count", "missing_count", "embedded_count", "failed_product_ids", "remaining", "trouble", "comparison")
    LIVE_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    MISSING_COUNT_FIELD_NUMBER: _ClassVar[int]
    EMBEDDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    live: Generation
    other: Generation
    product_count: int
    missing_count: int
    embedded_count: int
    failed_product_ids: _containers.RepeatedScalarFieldContainer[str]
    remaining: _duration_pb2.Duration
    trouble: str
    comparison: Comparison
    def __init__(self, live: _Optional[_Union[Generation, _Mapping]] = ..., other: _Optional[_Union[Generation, _Mapping]] = ..., product_count: _Optional[int] = ..., missing_count: _Optional[int] = ..., embedded_count: _Optional[int] = ..., failed_product_ids: _Optional[_Iterable[str]] = ..., remaining: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., trouble: _Optional[str] = ..., comparison: _Optional[_Union[Comparison, _Mapping]] = ...) -> None: ...

class Comparison(_message.Message):
    __slots__ = ("live_count", "next_count", "lost_count", "sample_count", "overlap", "live_label_agreement", "next_label_agreement", "canaries", "reasons")
    LIVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOST_COUNT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    LIVE_LABEL_AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    NEXT_LABEL_AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    CANARIES_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    live_count: int
    next_count: int
    lost_count: int
    sample_count: int
    overlap: float
    live_label_agreement: float
    next_label_agreement: float
    canaries: _containers.RepeatedCompositeFieldContainer[CanaryResult]
    reasons: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, live_count: _Optional[int] = ..., next_count: _Optional[int] = ..., lost_count: _Optional[int] = ..., sample_count: _Optional[int] = ..., overlap: _Optional[float] = ..., live_label_agreement: _Optional[float] = ..., next_label_agreement: _Optional[float] = ..., canaries: _Optional[_Iterable[_Union[CanaryResult, _Mapping]]] = ..., reasons: _Optional[_Iterable[str]] = ...) -> None: ...

class CanaryResult(_message.Message):
    __slots__ = ("name", "live_passed", "next_passed", "next_type")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LIVE_PASSED_FIELD_NUMBER: _ClassVar[int]
    NEXT_PASSED_FIELD_NUMBER: _ClassVar[int]
    NEXT_TYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    live_passed: bool
    next_passed: bool
    next_type: str
    def __init__(self, name: _Optional[str] = ..., live_passed: _Optional[bool] = ..., next_passed: _Optional[bool] = ..., next_type: _Optional[str] = ...) -> None: ...
