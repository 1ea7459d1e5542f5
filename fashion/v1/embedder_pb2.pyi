from fashion.v1 import types_pb2 as _types_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EmbedRequest(_message.Message):
    __slots__ = ("image",)
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.Image
    def __init__(self, image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("embedding", "view")
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    embedding: _types_pb2.Embedding
    view: _types_pb2.PhotographView
    def __init__(self, embedding: _Optional[_Union[_types_pb2.Embedding, _Mapping]] = ..., view: _Optional[_Union[_types_pb2.PhotographView, _Mapping]] = ...) -> None: ...

class EmbedderServiceDetectGarmentsRequest(_message.Message):
    __slots__ = ("image",)
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.Image
    def __init__(self, image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ...) -> None: ...

class EmbedderServiceDetectGarmentsResponse(_message.Message):
    __slots__ = ("garments",)
    GARMENTS_FIELD_NUMBER: _ClassVar[int]
    garments: _containers.RepeatedCompositeFieldContainer[_types_pb2.Garment]
    def __init__(self, garments: _Optional[_Iterable[_Union[_types_pb2.Garment, _Mapping]]] = ...) -> None: ...

class BatchEmbedRequest(_message.Message):
    __slots__ = ("images",)
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[_types_pb2.Image]
    def __init__(self, images: _Optional[_Iterable[_Union[_types_pb2.Image, _Mapping]]] = ...) -> None: ...

class BatchEmbedResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[EmbedResult]
    def __init__(self, results: _Optional[_Iterable[_Union[EmbedResult, _Mapping]]] = ...) -> None: ...

class EmbedResult(_message.Message):
    __slots__ = ("status", "embedding")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    status: _types_pb2.RowStatus
    embedding: _types_pb2.Embedding
    def __init__(self, status: _Optional[_Union[_types_pb2.RowStatus, _Mapping]] = ..., embedding: _Optional[_Union[_types_pb2.Embedding, _Mapping]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "model_version", "dimension", "input_height", "input_width", "runtime", "precision", "reference_precision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    INPUT_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    INPUT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PRECISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    model_version: str
    dimension: int
    input_height: int
    input_width: int
    runtime: str
    precision: str
    reference_precision: str
    def __init__(self, name: _Optional[str] = ..., model_version: _Optional[str] = ..., dimension: _Optional[int] = ..., input_height: _Optional[int] = ..., input_width: _Optional[int] = ..., runtime: _Optional[str] = ..., precision: _Optional[str] = ..., reference_precision: _Optional[str] = ...) -> None: ...
