from fashion.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClassifyRequest(_message.Message):
    __slots__ = ("image", "embedding", "top_k")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.Image
    embedding: _types_pb2.Embedding
    top_k: int
    def __init__(self, image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ..., embedding: _Optional[_Union[_types_pb2.Embedding, _Mapping]] = ..., top_k: _Optional[int] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("classification",)
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    classification: _types_pb2.Classification
    def __init__(self, classification: _Optional[_Union[_types_pb2.Classification, _Mapping]] = ...) -> None: ...

class GetTaxonomyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetTaxonomyResponse(_message.Message):
    __slots__ = ("sub_categories", "method", "model_version", "candidates_version")
    SUB_CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_VERSION_FIELD_NUMBER: _ClassVar[int]
    sub_categories: _containers.RepeatedCompositeFieldContainer[TaxonomySubCategory]
    method: _types_pb2.ClassificationMethod
    model_version: str
    candidates_version: str
    def __init__(self, sub_categories: _Optional[_Iterable[_Union[TaxonomySubCategory, _Mapping]]] = ..., method: _Optional[_Union[_types_pb2.ClassificationMethod, str]] = ..., model_version: _Optional[str] = ..., candidates_version: _Optional[str] = ...) -> None: ...

class TaxonomySubCategory(_message.Message):
    __slots__ = ("label", "trained", "derived_types")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TRAINED_FIELD_NUMBER: _ClassVar[int]
    DERIVED_TYPES_FIELD_NUMBER: _ClassVar[int]
    label: str
    trained: bool
    derived_types: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, label: _Optional[str] = ..., trained: _Optional[bool] = ..., derived_types: _Optional[_Iterable[str]] = ...) -> None: ...
