from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Subject(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SUBJECT_UNSPECIFIED: _ClassVar[Subject]
    SUBJECT_WHOLE: _ClassVar[Subject]
    SUBJECT_AUTO: _ClassVar[Subject]

class Gender(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GENDER_UNSPECIFIED: _ClassVar[Gender]
    GENDER_MEN: _ClassVar[Gender]
    GENDER_WOMEN: _ClassVar[Gender]
    GENDER_BOYS: _ClassVar[Gender]
    GENDER_GIRLS: _ClassVar[Gender]
    GENDER_UNISEX: _ClassVar[Gender]

class ClassificationMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLASSIFICATION_METHOD_UNSPECIFIED: _ClassVar[ClassificationMethod]
    CLASSIFICATION_METHOD_CANDIDATES: _ClassVar[ClassificationMethod]
    CLASSIFICATION_METHOD_MODEL_LABELS: _ClassVar[ClassificationMethod]
    CLASSIFICATION_METHOD_NEIGHBOURS: _ClassVar[ClassificationMethod]
SUBJECT_UNSPECIFIED: Subject
SUBJECT_WHOLE: Subject
SUBJECT_AUTO: Subject
GENDER_UNSPECIFIED: Gender
GENDER_MEN: Gender
GENDER_WOMEN: Gender
GENDER_BOYS: Gender
GENDER_GIRLS: Gender
GENDER_UNISEX: Gender
CLASSIFICATION_METHOD_UNSPECIFIED: ClassificationMethod
CLASSIFICATION_METHOD_CANDIDATES: ClassificationMethod
CLASSIFICATION_METHOD_MODEL_LABELS: ClassificationMethod
CLASSIFICATION_METHOD_NEIGHBOURS: ClassificationMethod

class Image(_message.Message):
    __slots__ = ("content", "region", "subject")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    region: Box
    subject: Subject
    def __init__(self, content: _Optional[bytes] = ..., region: _Optional[_Union[Box, _Mapping]] = ..., subject: _Optional[_Union[Subject, str]] = ...) -> None: ...

class Garment(_message.Message):
    __slots__ = ("box", "sub_category", "confidence")
    BOX_FIELD_NUMBER: _ClassVar[int]
    SUB_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    box: Box
    sub_category: str
    confidence: float
    def __init__(self, box: _Optional[_Union[Box, _Mapping]] = ..., sub_category: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class PhotographView(_message.Message):
    __slots__ = ("region", "quarter_turns", "garments")
    REGION_FIELD_NUMBER: _ClassVar[int]
    QUARTER_TURNS_FIELD_NUMBER: _ClassVar[int]
    GARMENTS_FIELD_NUMBER: _ClassVar[int]
    region: Box
    quarter_turns: int
    garments: _containers.RepeatedCompositeFieldContainer[Garment]
    def __init__(self, region: _Optional[_Union[Box, _Mapping]] = ..., quarter_turns: _Optional[int] = ..., garments: _Optional[_Iterable[_Union[Garment, _Mapping]]] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("left", "top", "right", "bottom")
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    left: float
    top: float
    right: float
    bottom: float
    def __init__(self, left: _Optional[float] = ..., top: _Optional[float] = ..., right: _Optional[float] = ..., bottom: _Optional[float] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ("values", "model_version")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    model_version: str
    def __init__(self, values: _Optional[_Iterable[float]] = ..., model_version: _Optional[str] = ...) -> None: ...

class Price(_message.Message):
    __slots__ = ("currency_code", "units", "nanos")
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    NANOS_FIELD_NUMBER: _ClassVar[int]
    currency_code: str
    units: int
    nanos: int
    def __init__(self, currency_code: _Optional[str] = ..., units: _Optional[int] = ..., nanos: _Optional[int] = ...) -> None: ...

class AttributeValue(_message.Message):
    __slots__ = ("labels", "number", "flag")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    labels: Labels
    number: float
    flag: bool
    def __init__(self, labels: _Optional[_Union[Labels, _Mapping]] = ..., number: _Optional[float] = ..., flag: _Optional[bool] = ...) -> None: ...

class Labels(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class Product(_message.Message):
    __slots__ = ("id", "gender", "master_category", "sub_category", "article_type", "base_colour", "brand", "season", "year", "usage", "name", "url", "image_url", "price", "in_stock", "parent_id", "derived_type", "photograph_absent", "photograph_count", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: AttributeValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[AttributeValue, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    GENDER_FIELD_NUMBER: _ClassVar[int]
    MASTER_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    SUB_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    ARTICLE_TYPE_FIELD_NUMBER: _ClassVar[int]
    BASE_COLOUR_FIELD_NUMBER: _ClassVar[int]
    BRAND_FIELD_NUMBER: _ClassVar[int]
    SEASON_FIELD_NUMBER: _ClassVar[int]
    YEAR_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    IN_STOCK_FIELD_NUMBER: _ClassVar[int]
    PARENT_ID_FIELD_NUMBER: _ClassVar[int]
    DERIVED_TYPE_FIELD_NUMBER: _ClassVar[int]
    PHOTOGRAPH_ABSENT_FIELD_NUMBER: _ClassVar[int]
    PHOTOGRAPH_COUNT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    id: str
    gender: Gender
    master_category: str
    sub_category: str
    article_type: str
    base_colour: str
    brand: str
    season: str
    year: int
    usage: str
    name: str
    url: str
    image_url: str
    price: Price
    in_stock: bool
    parent_id: str
    derived_type: str
    photograph_absent: bool
    photograph_count: int
    attributes: _containers.MessageMap[str, AttributeValue]
    def __init__(self, id: _Optional[str] = ..., gender: _Optional[_Union[Gender, str]] = ..., master_category: _Optional[str] = ..., sub_category: _Optional[str] = ..., article_type: _Optional[str] = ..., base_colour: _Optional[str] = ..., brand: _Optional[str] = ..., season: _Optional[str] = ..., year: _Optional[int] = ..., usage: _Optional[str] = ..., name: _Optional[str] = ..., url: _Optional[str] = ..., image_url: _Optional[str] = ..., price: _Optional[_Union[Price, _Mapping]] = ..., in_stock: _Optional[bool] = ..., parent_id: _Optional[str] = ..., derived_type: _Optional[str] = ..., photograph_absent: _Optional[bool] = ..., photograph_count: _Optional[int] = ..., attributes: _Optional[_Mapping[str, AttributeValue]] = ...) -> None: ...

class Classification(_message.Message):
    __slots__ = ("sub_categories", "derived_types", "method", "model_version", "candidates_version", "confidence")
    SUB_CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    DERIVED_TYPES_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_VERSION_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    sub_categories: _containers.RepeatedCompositeFieldContainer[SubCategoryPrediction]
    derived_types: _containers.RepeatedCompositeFieldContainer[DerivedTypePrediction]
    method: ClassificationMethod
    model_version: str
    candidates_version: str
    confidence: float
    def __init__(self, sub_categories: _Optional[_Iterable[_Union[SubCategoryPrediction, _Mapping]]] = ..., derived_types: _Optional[_Iterable[_Union[DerivedTypePrediction, _Mapping]]] = ..., method: _Optional[_Union[ClassificationMethod, str]] = ..., model_version: _Optional[str] = ..., candidates_version: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class SubCategoryPrediction(_message.Message):
    __slots__ = ("label", "probability")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    label: str
    probability: float
    def __init__(self, label: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...

class DerivedTypePrediction(_message.Message):
    __slots__ = ("label", "gender", "article_type", "sub_category", "similarity", "margin", "probability")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    GENDER_FIELD_NUMBER: _ClassVar[int]
    ARTICLE_TYPE_FIELD_NUMBER: _ClassVar[int]
    SUB_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    label: str
    gender: Gender
    article_type: str
    sub_category: str
    similarity: float
    margin: float
    probability: float
    def __init__(self, label: _Optional[str] = ..., gender: _Optional[_Union[Gender, str]] = ..., article_type: _Optional[str] = ..., sub_category: _Optional[str] = ..., similarity: _Optional[float] = ..., margin: _Optional[float] = ..., probability: _Optional[float] = ...) -> None: ...

class RowStatus(_message.Message):
    __slots__ = ("code", "reason", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
