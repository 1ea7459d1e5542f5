import datetime

from fashion.v1 import types_pb2 as _types_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SearchRung(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEARCH_RUNG_UNSPECIFIED: _ClassVar[SearchRung]
    SEARCH_RUNG_DERIVED_TYPE: _ClassVar[SearchRung]
    SEARCH_RUNG_ARTICLE_TYPE: _ClassVar[SearchRung]
    SEARCH_RUNG_SUB_CATEGORY: _ClassVar[SearchRung]
    SEARCH_RUNG_MASTER_CATEGORY: _ClassVar[SearchRung]

class Collapse(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COLLAPSE_UNSPECIFIED: _ClassVar[Collapse]
    COLLAPSE_NONE: _ClassVar[Collapse]
    COLLAPSE_VARIANTS: _ClassVar[Collapse]
    COLLAPSE_DESIGNS: _ClassVar[Collapse]

class SearchScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEARCH_SCOPE_UNSPECIFIED: _ClassVar[SearchScope]
    SEARCH_SCOPE_PREDICTED_TYPE: _ClassVar[SearchScope]
    SEARCH_SCOPE_INVENTORY: _ClassVar[SearchScope]
    SEARCH_SCOPE_DERIVED_TYPES: _ClassVar[SearchScope]

class PreferencePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PREFERENCE_POLICY_UNSPECIFIED: _ClassVar[PreferencePolicy]
    PREFERENCE_POLICY_BEST_EFFORT: _ClassVar[PreferencePolicy]
    PREFERENCE_POLICY_REQUIRED: _ClassVar[PreferencePolicy]

class SearchStep(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEARCH_STEP_UNSPECIFIED: _ClassVar[SearchStep]
    SEARCH_STEP_TOTAL: _ClassVar[SearchStep]
    SEARCH_STEP_READ_DISLIKES: _ClassVar[SearchStep]
    SEARCH_STEP_EMBED: _ClassVar[SearchStep]
    SEARCH_STEP_CLASSIFY: _ClassVar[SearchStep]
    SEARCH_STEP_SEARCH: _ClassVar[SearchStep]
    SEARCH_STEP_EXPLAIN: _ClassVar[SearchStep]

class DegradedReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEGRADED_REASON_UNSPECIFIED: _ClassVar[DegradedReason]
    DEGRADED_REASON_PREFERENCES_UNAVAILABLE: _ClassVar[DegradedReason]
    DEGRADED_REASON_CLASSIFIER_UNAVAILABLE: _ClassVar[DegradedReason]
    DEGRADED_REASON_PREDICTED_TYPE_NOT_IN_CATALOGUE: _ClassVar[DegradedReason]
    DEGRADED_REASON_UNSURE: _ClassVar[DegradedReason]

class UpsertOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UPSERT_OUTCOME_UNSPECIFIED: _ClassVar[UpsertOutcome]
    UPSERT_OUTCOME_CREATED: _ClassVar[UpsertOutcome]
    UPSERT_OUTCOME_UPDATED: _ClassVar[UpsertOutcome]
    UPSERT_OUTCOME_UNCHANGED: _ClassVar[UpsertOutcome]

class ProductOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRODUCT_ORDER_UNSPECIFIED: _ClassVar[ProductOrder]
    PRODUCT_ORDER_ID: _ClassVar[ProductOrder]
    PRODUCT_ORDER_NAME: _ClassVar[ProductOrder]
    PRODUCT_ORDER_PRICE: _ClassVar[ProductOrder]
    PRODUCT_ORDER_PRICE_DESCENDING: _ClassVar[ProductOrder]
    PRODUCT_ORDER_NEWEST: _ClassVar[ProductOrder]

class Attribute(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTRIBUTE_UNSPECIFIED: _ClassVar[Attribute]
    ATTRIBUTE_GENDER: _ClassVar[Attribute]
    ATTRIBUTE_MASTER_CATEGORY: _ClassVar[Attribute]
    ATTRIBUTE_SUB_CATEGORY: _ClassVar[Attribute]
    ATTRIBUTE_ARTICLE_TYPE: _ClassVar[Attribute]
    ATTRIBUTE_BASE_COLOUR: _ClassVar[Attribute]
    ATTRIBUTE_BRAND: _ClassVar[Attribute]
    ATTRIBUTE_SEASON: _ClassVar[Attribute]
    ATTRIBUTE_USAGE: _ClassVar[Attribute]
    ATTRIBUTE_YEAR: _ClassVar[Attribute]
    ATTRIBUTE_DERIVED_TYPE: _ClassVar[Attribute]
SEARCH_RUNG_UNSPECIFIED: SearchRung
SEARCH_RUNG_DERIVED_TYPE: SearchRung
SEARCH_RUNG_ARTICLE_TYPE: SearchRung
SEARCH_RUNG_SUB_CATEGORY: SearchRung
SEARCH_RUNG_MASTER_CATEGORY: SearchRung
COLLAPSE_UNSPECIFIED: Collapse
COLLAPSE_NONE: Collapse
COLLAPSE_VARIANTS: Collapse
COLLAPSE_DESIGNS: Collapse
SEARCH_SCOPE_UNSPECIFIED: SearchScope
SEARCH_SCOPE_PREDICTED_TYPE: SearchScope
SEARCH_SCOPE_INVENTORY: SearchScope
SEARCH_SCOPE_DERIVED_TYPES: SearchScope
PREFERENCE_POLICY_UNSPECIFIED: PreferencePolicy
PREFERENCE_POLICY_BEST_EFFORT: PreferencePolicy
PREFERENCE_POLICY_REQUIRED: PreferencePolicy
SEARCH_STEP_UNSPECIFIED: SearchStep
SEARCH_STEP_TOTAL: SearchStep
SEARCH_STEP_READ_DISLIKES: SearchStep
SEARCH_STEP_EMBED: SearchStep
SEARCH_STEP_CLASSIFY: SearchStep
SEARCH_STEP_SEARCH: SearchStep
SEARCH_STEP_EXPLAIN: SearchStep
DEGRADED_REASON_UNSPECIFIED: DegradedReason
DEGRADED_REASON_PREFERENCES_UNAVAILABLE: DegradedReason
DEGRADED_REASON_CLASSIFIER_UNAVAILABLE: DegradedReason
DEGRADED_REASON_PREDICTED_TYPE_NOT_IN_CATALOGUE: DegradedReason
DEGRADED_REASON_UNSURE: DegradedReason
UPSERT_OUTCOME_UNSPECIFIED: UpsertOutcome
UPSERT_OUTCOME_CREATED: UpsertOutcome
UPSERT_OUTCOME_UPDATED: UpsertOutcome
UPSERT_OUTCOME_UNCHANGED: UpsertOutcome
PRODUCT_ORDER_UNSPECIFIED: ProductOrder
PRODUCT_ORDER_ID: ProductOrder
PRODUCT_ORDER_NAME: ProductOrder
PRODUCT_ORDER_PRICE: ProductOrder
PRODUCT_ORDER_PRICE_DESCENDING: ProductOrder
PRODUCT_ORDER_NEWEST: ProductOrder
ATTRIBUTE_UNSPECIFIED: Attribute
ATTRIBUTE_GENDER: Attribute
ATTRIBUTE_MASTER_CATEGORY: Attribute
ATTRIBUTE_SUB_CATEGORY: Attribute
ATTRIBUTE_ARTICLE_TYPE: Attribute
ATTRIBUTE_BASE_COLOUR: Attribute
ATTRIBUTE_BRAND: Attribute
ATTRIBUTE_SEASON: Attribute
ATTRIBUTE_USAGE: Attribute
ATTRIBUTE_YEAR: Attribute
ATTRIBUTE_DERIVED_TYPE: Attribute

class FindSimilarRequest(_message.Message):
    __slots__ = ("product_id", "image", "embedding", "liked_product_ids", "disliked_product_ids", "user_id", "filter", "top_k", "scope", "derived_types", "include_out_of_stock", "preference_policy", "excluded_product_ids", "explain", "collapse", "min_similarity", "boosts", "diversity", "widen")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    LIKED_PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    DISLIKED_PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    DERIVED_TYPES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_OUT_OF_STOCK_FIELD_NUMBER: _ClassVar[int]
    PREFERENCE_POLICY_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    COLLAPSE_FIELD_NUMBER: _ClassVar[int]
    MIN_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    BOOSTS_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    WIDEN_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    image: _types_pb2.Image
    embedding: _types_pb2.Embedding
    liked_product_ids: _containers.RepeatedScalarFieldContainer[str]
    disliked_product_ids: _containers.RepeatedScalarFieldContainer[str]
    user_id: str
    filter: Filter
    top_k: int
    scope: SearchScope
    derived_types: _containers.RepeatedScalarFieldContainer[str]
    include_out_of_stock: bool
    preference_policy: PreferencePolicy
    excluded_product_ids: _containers.RepeatedScalarFieldContainer[str]
    explain: bool
    collapse: Collapse
    min_similarity: float
    boosts: _containers.RepeatedCompositeFieldContainer[Boost]
    diversity: float
    widen: bool
    def __init__(self, product_id: _Optional[str] = ..., image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ..., embedding: _Optional[_Union[_types_pb2.Embedding, _Mapping]] = ..., liked_product_ids: _Optional[_Iterable[str]] = ..., disliked_product_ids: _Optional[_Iterable[str]] = ..., user_id: _Optional[str] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., top_k: _Optional[int] = ..., scope: _Optional[_Union[SearchScope, str]] = ..., derived_types: _Optional[_Iterable[str]] = ..., include_out_of_stock: _Optional[bool] = ..., preference_policy: _Optional[_Union[PreferencePolicy, str]] = ..., excluded_product_ids: _Optional[_Iterable[str]] = ..., explain: _Optional[bool] = ..., collapse: _Optional[_Union[Collapse, str]] = ..., min_similarity: _Optional[float] = ..., boosts: _Optional[_Iterable[_Union[Boost, _Mapping]]] = ..., diversity: _Optional[float] = ..., widen: _Optional[bool] = ...) -> None: ...

class Boost(_message.Message):
    __slots__ = ("condition", "factor")
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    condition: Filter
    factor: float
    def __init__(self, condition: _Optional[_Union[Filter, _Mapping]] = ..., factor: _Optional[float] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("gender", "master_category", "sub_category", "article_type", "base_colour", "brand", "season", "usage", "year", "price", "attributes", "words")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: AttributeFilter
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[AttributeFilter, _Mapping]] = ...) -> None: ...
    GENDER_FIELD_NUMBER: _ClassVar[int]
    MASTER_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    SUB_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    ARTICLE_TYPE_FIELD_NUMBER: _ClassVar[int]
    BASE_COLOUR_FIELD_NUMBER: _ClassVar[int]
    BRAND_FIELD_NUMBER: _ClassVar[int]
    SEASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    YEAR_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    gender: GenderFilter
    master_category: LabelFilter
    sub_category: LabelFilter
    article_type: LabelFilter
    base_colour: ColourFilter
    brand: LabelFilter
    season: LabelFilter
    usage: LabelFilter
    year: YearRange
    price: PriceRange
    attributes: _containers.MessageMap[str, AttributeFilter]
    words: str
    def __init__(self, gender: _Optional[_Union[GenderFilter, _Mapping]] = ..., master_category: _Optional[_Union[LabelFilter, _Mapping]] = ..., sub_category: _Optional[_Union[LabelFilter, _Mapping]] = ..., article_type: _Optional[_Union[LabelFilter, _Mapping]] = ..., base_colour: _Optional[_Union[ColourFilter, _Mapping]] = ..., brand: _Optional[_Union[LabelFilter, _Mapping]] = ..., season: _Optional[_Union[LabelFilter, _Mapping]] = ..., usage: _Optional[_Union[LabelFilter, _Mapping]] = ..., year: _Optional[_Union[YearRange, _Mapping]] = ..., price: _Optional[_Union[PriceRange, _Mapping]] = ..., attributes: _Optional[_Mapping[str, AttributeFilter]] = ..., words: _Optional[str] = ...) -> None: ...

class LabelFilter(_message.Message):
    __slots__ = ("any_of", "none_of")
    ANY_OF_FIELD_NUMBER: _ClassVar[int]
    NONE_OF_FIELD_NUMBER: _ClassVar[int]
    any_of: _containers.RepeatedScalarFieldContainer[str]
    none_of: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, any_of: _Optional[_Iterable[str]] = ..., none_of: _Optional[_Iterable[str]] = ...) -> None: ...

class GenderFilter(_message.Message):
    __slots__ = ("any_of", "none_of")
    ANY_OF_FIELD_NUMBER: _ClassVar[int]
    NONE_OF_FIELD_NUMBER: _ClassVar[int]
    any_of: _containers.RepeatedScalarFieldContainer[_types_pb2.Gender]
    none_of: _containers.RepeatedScalarFieldContainer[_types_pb2.Gender]
    def __init__(self, any_of: _Optional[_Iterable[_Union[_types_pb2.Gender, str]]] = ..., none_of: _Optional[_Iterable[_Union[_types_pb2.Gender, str]]] = ...) -> None: ...

class ColourFilter(_message.Message):
    __slots__ = ("any_of", "none_of", "by_family")
    ANY_OF_FIELD_NUMBER: _ClassVar[int]
    NONE_OF_FIELD_NUMBER: _ClassVar[int]
    BY_FAMILY_FIELD_NUMBER: _ClassVar[int]
    any_of: _containers.RepeatedScalarFieldContainer[str]
    none_of: _containers.RepeatedScalarFieldContainer[str]
    by_family: bool
    def __init__(self, any_of: _Optional[_Iterable[str]] = ..., none_of: _Optional[_Iterable[str]] = ..., by_family: _Optional[bool] = ...) -> None: ...

class YearRange(_message.Message):
    __slots__ = ("first", "last")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...

class PriceRange(_message.Message):
    __slots__ = ("currency_code", "min", "max")
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    currency_code: str
    min: Amount
    max: Amount
    def __init__(self, currency_code: _Optional[str] = ..., min: _Optional[_Union[Amount, _Mapping]] = ..., max: _Optional[_Union[Amount, _Mapping]] = ...) -> None: ...

class Amount(_message.Message):
    __slots__ = ("units", "nanos")
    UNITS_FIELD_NUMBER: _ClassVar[int]
    NANOS_FIELD_NUMBER: _ClassVar[int]
    units: int
    nanos: int
    def __init__(self, units: _Optional[int] = ..., nanos: _Optional[int] = ...) -> None: ...

class AttributeFilter(_message.Message):
    __slots__ = ("labels", "number", "flag")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    labels: LabelFilter
    number: NumberRange
    flag: bool
    def __init__(self, labels: _Optional[_Union[LabelFilter, _Mapping]] = ..., number: _Optional[_Union[NumberRange, _Mapping]] = ..., flag: _Optional[bool] = ...) -> None: ...

class NumberRange(_message.Message):
    __slots__ = ("min", "max")
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    min: float
    max: float
    def __init__(self, min: _Optional[float] = ..., max: _Optional[float] = ...) -> None: ...

class CurrencyCount(_message.Message):
    __slots__ = ("currency_code", "product_count")
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    currency_code: str
    product_count: int
    def __init__(self, currency_code: _Optional[str] = ..., product_count: _Optional[int] = ...) -> None: ...

class FindSimilarResponse(_message.Message):
    __slots__ = ("products", "applied", "classification", "explanation", "confidence", "view")
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    products: _containers.RepeatedCompositeFieldContainer[SimilarProduct]
    applied: AppliedSearch
    classification: _types_pb2.Classification
    explanation: Explanation
    confidence: float
    view: _types_pb2.PhotographView
    def __init__(self, products: _Optional[_Iterable[_Union[SimilarProduct, _Mapping]]] = ..., applied: _Optional[_Union[AppliedSearch, _Mapping]] = ..., classification: _Optional[_Union[_types_pb2.Classification, _Mapping]] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ..., confidence: _Optional[float] = ..., view: _Optional[_Union[_types_pb2.PhotographView, _Mapping]] = ...) -> None: ...

class BatchFindSimilarRequest(_message.Message):
    __slots__ = ("product_ids", "options")
    PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    product_ids: _containers.RepeatedScalarFieldContainer[str]
    options: FindSimilarRequest
    def __init__(self, product_ids: _Optional[_Iterable[str]] = ..., options: _Optional[_Union[FindSimilarRequest, _Mapping]] = ...) -> None: ...

class BatchFindSimilarResponse(_message.Message):
    __slots__ = ("lists",)
    LISTS_FIELD_NUMBER: _ClassVar[int]
    lists: _containers.RepeatedCompositeFieldContainer[SimilarList]
    def __init__(self, lists: _Optional[_Iterable[_Union[SimilarList, _Mapping]]] = ...) -> None: ...

class SimilarList(_message.Message):
    __slots__ = ("product_id", "status", "products", "applied")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    status: _types_pb2.RowStatus
    products: _containers.RepeatedCompositeFieldContainer[SimilarReference]
    applied: AppliedSearch
    def __init__(self, product_id: _Optional[str] = ..., status: _Optional[_Union[_types_pb2.RowStatus, _Mapping]] = ..., products: _Optional[_Iterable[_Union[SimilarReference, _Mapping]]] = ..., applied: _Optional[_Union[AppliedSearch, _Mapping]] = ...) -> None: ...

class SimilarReference(_message.Message):
    __slots__ = ("product_id", "similarity", "rank_score", "photograph_index", "rung")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    RANK_SCORE_FIELD_NUMBER: _ClassVar[int]
    PHOTOGRAPH_INDEX_FIELD_NUMBER: _ClassVar[int]
    RUNG_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    similarity: float
    rank_score: float
    photograph_index: int
    rung: SearchRung
    def __init__(self, product_id: _Optional[str] = ..., similarity: _Optional[float] = ..., rank_score: _Optional[float] = ..., photograph_index: _Optional[int] = ..., rung: _Optional[_Union[SearchRung, str]] = ...) -> None: ...

class DetectGarmentsRequest(_message.Message):
    __slots__ = ("image",)
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.Image
    def __init__(self, image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ...) -> None: ...

class DetectGarmentsResponse(_message.Message):
    __slots__ = ("garments",)
    GARMENTS_FIELD_NUMBER: _ClassVar[int]
    garments: _containers.RepeatedCompositeFieldContainer[_types_pb2.Garment]
    def __init__(self, garments: _Optional[_Iterable[_Union[_types_pb2.Garment, _Mapping]]] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("timings", "products_before_colours")
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_BEFORE_COLOURS_FIELD_NUMBER: _ClassVar[int]
    timings: _containers.RepeatedCompositeFieldContainer[StepTiming]
    products_before_colours: _containers.RepeatedCompositeFieldContainer[SimilarProduct]
    def __init__(self, timings: _Optional[_Iterable[_Union[StepTiming, _Mapping]]] = ..., products_before_colours: _Optional[_Iterable[_Union[SimilarProduct, _Mapping]]] = ...) -> None: ...

class StepTiming(_message.Message):
    __slots__ = ("step", "start_offset", "duration")
    STEP_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    step: SearchStep
    start_offset: _duration_pb2.Duration
    duration: _duration_pb2.Duration
    def __init__(self, step: _Optional[_Union[SearchStep, str]] = ..., start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SimilarProduct(_message.Message):
    __slots__ = ("product", "similarity", "rank_score", "variants", "variant_count", "derived", "photograph_index", "rung")
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    RANK_SCORE_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    VARIANT_COUNT_FIELD_NUMBER: _ClassVar[int]
    DERIVED_FIELD_NUMBER: _ClassVar[int]
    PHOTOGRAPH_INDEX_FIELD_NUMBER: _ClassVar[int]
    RUNG_FIELD_NUMBER: _ClassVar[int]
    product: _types_pb2.Product
    similarity: float
    rank_score: float
    variants: _containers.RepeatedCompositeFieldContainer[Variant]
    variant_count: int
    derived: bool
    photograph_index: int
    rung: SearchRung
    def __init__(self, product: _Optional[_Union[_types_pb2.Product, _Mapping]] = ..., similarity: _Optional[float] = ..., rank_score: _Optional[float] = ..., variants: _Optional[_Iterable[_Union[Variant, _Mapping]]] = ..., variant_count: _Optional[int] = ..., derived: _Optional[bool] = ..., photograph_index: _Optional[int] = ..., rung: _Optional[_Union[SearchRung, str]] = ...) -> None: ...

class Variant(_message.Message):
    __slots__ = ("product_id", "base_colour", "price", "in_stock", "similarity")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    BASE_COLOUR_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    IN_STOCK_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    base_colour: str
    price: _types_pb2.Price
    in_stock: bool
    similarity: float
    def __init__(self, product_id: _Optional[str] = ..., base_colour: _Optional[str] = ..., price: _Optional[_Union[_types_pb2.Price, _Mapping]] = ..., in_stock: _Optional[bool] = ..., similarity: _Optional[float] = ...) -> None: ...

class AppliedSearch(_message.Message):
    __slots__ = ("scope", "derived_types", "excluded_colours", "eligible_count", "model_version", "index_version", "degraded", "other_currencies", "below_min_similarity", "counts", "rungs")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    DERIVED_TYPES_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_COLOURS_FIELD_NUMBER: _ClassVar[int]
    ELIGIBLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    OTHER_CURRENCIES_FIELD_NUMBER: _ClassVar[int]
    BELOW_MIN_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    RUNGS_FIELD_NUMBER: _ClassVar[int]
    scope: SearchScope
    derived_types: _containers.RepeatedScalarFieldContainer[str]
    excluded_colours: _containers.RepeatedScalarFieldContainer[str]
    eligible_count: int
    model_version: str
    index_version: int
    degraded: _containers.RepeatedScalarFieldContainer[DegradedReason]
    other_currencies: _containers.RepeatedCompositeFieldContainer[CurrencyCount]
    below_min_similarity: int
    counts: ResultCounts
    rungs: _containers.RepeatedCompositeFieldContainer[SearchedRung]
    def __init__(self, scope: _Optional[_Union[SearchScope, str]] = ..., derived_types: _Optional[_Iterable[str]] = ..., excluded_colours: _Optional[_Iterable[str]] = ..., eligible_count: _Optional[int] = ..., model_version: _Optional[str] = ..., index_version: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[DegradedReason, str]]] = ..., other_currencies: _Optional[_Iterable[_Union[CurrencyCount, _Mapping]]] = ..., below_min_similarity: _Optional[int] = ..., counts: _Optional[_Union[ResultCounts, _Mapping]] = ..., rungs: _Optional[_Iterable[_Union[SearchedRung, _Mapping]]] = ...) -> None: ...

class SearchedRung(_message.Message):
    __slots__ = ("rung", "labels", "returned_count")
    RUNG_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    RETURNED_COUNT_FIELD_NUMBER: _ClassVar[int]
    rung: SearchRung
    labels: _containers.RepeatedScalarFieldContainer[str]
    returned_count: int
    def __init__(self, rung: _Optional[_Union[SearchRung, str]] = ..., labels: _Optional[_Iterable[str]] = ..., returned_count: _Optional[int] = ...) -> None: ...

class ResultCounts(_message.Message):
    __slots__ = ("requested_count", "searched_count", "filtered_count", "out_of_stock_count", "disliked_count", "excluded_count", "variant_count", "dissimilar_count", "surplus_count", "returned_count")
    REQUESTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    SEARCHED_COUNT_FIELD_NUMBER: _ClassVar[int]
    FILTERED_COUNT_FIELD_NUMBER: _ClassVar[int]
    OUT_OF_STOCK_COUNT_FIELD_NUMBER: _ClassVar[int]
    DISLIKED_COUNT_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    VARIANT_COUNT_FIELD_NUMBER: _ClassVar[int]
    DISSIMILAR_COUNT_FIELD_NUMBER: _ClassVar[int]
    SURPLUS_COUNT_FIELD_NUMBER: _ClassVar[int]
    RETURNED_COUNT_FIELD_NUMBER: _ClassVar[int]
    requested_count: int
    searched_count: int
    filtered_count: int
    out_of_stock_count: int
    disliked_count: int
    excluded_count: int
    variant_count: int
    dissimilar_count: int
    surplus_count: int
    returned_count: int
    def __init__(self, requested_count: _Optional[int] = ..., searched_count: _Optional[int] = ..., filtered_count: _Optional[int] = ..., out_of_stock_count: _Optional[int] = ..., disliked_count: _Optional[int] = ..., excluded_count: _Optional[int] = ..., variant_count: _Optional[int] = ..., dissimilar_count: _Optional[int] = ..., surplus_count: _Optional[int] = ..., returned_count: _Optional[int] = ...) -> None: ...

class UpsertProductsRequest(_message.Message):
    __slots__ = ("rows", "update_mask")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[ProductRow]
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, rows: _Optional[_Iterable[_Union[ProductRow, _Mapping]]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class ProductRow(_message.Message):
    __slots__ = ("product", "image", "embedding", "further_images", "further_embeddings", "keep_further_photographs")
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    FURTHER_IMAGES_FIELD_NUMBER: _ClassVar[int]
    FURTHER_EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    KEEP_FURTHER_PHOTOGRAPHS_FIELD_NUMBER: _ClassVar[int]
    product: _types_pb2.Product
    image: _types_pb2.Image
    embedding: _types_pb2.Embedding
    further_images: _containers.RepeatedCompositeFieldContainer[_types_pb2.Image]
    further_embeddings: _containers.RepeatedCompositeFieldContainer[_types_pb2.Embedding]
    keep_further_photographs: bool
    def __init__(self, product: _Optional[_Union[_types_pb2.Product, _Mapping]] = ..., image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ..., embedding: _Optional[_Union[_types_pb2.Embedding, _Mapping]] = ..., further_images: _Optional[_Iterable[_Union[_types_pb2.Image, _Mapping]]] = ..., further_embeddings: _Optional[_Iterable[_Union[_types_pb2.Embedding, _Mapping]]] = ..., keep_further_photographs: _Optional[bool] = ...) -> None: ...

class UpsertProductsResponse(_message.Message):
    __slots__ = ("results", "index_version")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[UpsertResult]
    index_version: int
    def __init__(self, results: _Optional[_Iterable[_Union[UpsertResult, _Mapping]]] = ..., index_version: _Optional[int] = ...) -> None: ...

class UpsertResult(_message.Message):
    __slots__ = ("product_id", "status", "outcome", "photograph_index")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    PHOTOGRAPH_INDEX_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    status: _types_pb2.RowStatus
    outcome: UpsertOutcome
    photograph_index: int
    def __init__(self, product_id: _Optional[str] = ..., status: _Optional[_Union[_types_pb2.RowStatus, _Mapping]] = ..., outcome: _Optional[_Union[UpsertOutcome, str]] = ..., photograph_index: _Optional[int] = ...) -> None: ...

class UpdateProductsRequest(_message.Message):
    __slots__ = ("updates", "update_mask")
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    updates: _containers.RepeatedCompositeFieldContainer[ProductUpdate]
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, updates: _Optional[_Iterable[_Union[ProductUpdate, _Mapping]]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class ProductUpdate(_message.Message):
    __slots__ = ("product", "update_mask")
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    product: _types_pb2.Product
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, product: _Optional[_Union[_types_pb2.Product, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class UpdateProductsResponse(_message.Message):
    __slots__ = ("results", "index_version")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[UpdateResult]
    index_version: int
    def __init__(self, results: _Optional[_Iterable[_Union[UpdateResult, _Mapping]]] = ..., index_version: _Optional[int] = ...) -> None: ...

class UpdateResult(_message.Message):
    __slots__ = ("product_id", "status", "outcome")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    status: _types_pb2.RowStatus
    outcome: UpsertOutcome
    def __init__(self, product_id: _Optional[str] = ..., status: _Optional[_Union[_types_pb2.RowStatus, _Mapping]] = ..., outcome: _Optional[_Union[UpsertOutcome, str]] = ...) -> None: ...

class DeleteProductsRequest(_message.Message):
    __slots__ = ("product_ids",)
    PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    product_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, product_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteProductsResponse(_message.Message):
    __slots__ = ("results", "index_version")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[DeleteResult]
    index_version: int
    def __init__(self, results: _Optional[_Iterable[_Union[DeleteResult, _Mapping]]] = ..., index_version: _Optional[int] = ...) -> None: ...

class DeleteResult(_message.Message):
    __slots__ = ("product_id", "status")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    status: _types_pb2.RowStatus
    def __init__(self, product_id: _Optional[str] = ..., status: _Optional[_Union[_types_pb2.RowStatus, _Mapping]] = ...) -> None: ...

class GetProductRequest(_message.Message):
    __slots__ = ("product_id", "include_embedding")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    include_embedding: bool
    def __init__(self, product_id: _Optional[str] = ..., include_embedding: _Optional[bool] = ...) -> None: ...

class GetProductResponse(_message.Message):
    __slots__ = ("product", "embedding")
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    product: _types_pb2.Product
    embedding: _types_pb2.Embedding
    def __init__(self, product: _Optional[_Union[_types_pb2.Product, _Mapping]] = ..., embedding: _Optional[_Union[_types_pb2.Embedding, _Mapping]] = ...) -> None: ...

class AddPhotographRequest(_message.Message):
    __slots__ = ("product_id", "image", "embedding", "index")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    image: _types_pb2.Image
    embedding: _types_pb2.Embedding
    index: int
    def __init__(self, product_id: _Optional[str] = ..., image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ..., embedding: _Optional[_Union[_types_pb2.Embedding, _Mapping]] = ..., index: _Optional[int] = ...) -> None: ...

class AddPhotographResponse(_message.Message):
    __slots__ = ("product", "index", "outcome", "index_version")
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    product: _types_pb2.Product
    index: int
    outcome: UpsertOutcome
    index_version: int
    def __init__(self, product: _Optional[_Union[_types_pb2.Product, _Mapping]] = ..., index: _Optional[int] = ..., outcome: _Optional[_Union[UpsertOutcome, str]] = ..., index_version: _Optional[int] = ...) -> None: ...

class RemovePhotographRequest(_message.Message):
    __slots__ = ("product_id", "index", "sha256")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    index: int
    sha256: str
    def __init__(self, product_id: _Optional[str] = ..., index: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class RemovePhotographResponse(_message.Message):
    __slots__ = ("product", "index_version")
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    product: _types_pb2.Product
    index_version: int
    def __init__(self, product: _Optional[_Union[_types_pb2.Product, _Mapping]] = ..., index_version: _Optional[int] = ...) -> None: ...

class GetPhotographRequest(_message.Message):
    __slots__ = ("product_id", "index")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    index: int
    def __init__(self, product_id: _Optional[str] = ..., index: _Optional[int] = ...) -> None: ...

class GetPhotographResponse(_message.Message):
    __slots__ = ("content", "media_type", "sha256")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    media_type: str
    sha256: str
    def __init__(self, content: _Optional[bytes] = ..., media_type: _Optional[str] = ..., sha256: _Optional[str] = ...) -> None: ...

class ListProductsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter", "order")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: Filter
    order: ProductOrder
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., order: _Optional[_Union[ProductOrder, str]] = ...) -> None: ...

class ListProductsResponse(_message.Message):
    __slots__ = ("products", "next_page_token", "total_size", "other_currencies")
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    OTHER_CURRENCIES_FIELD_NUMBER: _ClassVar[int]
    products: _containers.RepeatedCompositeFieldContainer[_types_pb2.Product]
    next_page_token: str
    total_size: int
    other_currencies: _containers.RepeatedCompositeFieldContainer[CurrencyCount]
    def __init__(self, products: _Optional[_Iterable[_Union[_types_pb2.Product, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ..., other_currencies: _Optional[_Iterable[_Union[CurrencyCount, _Mapping]]] = ...) -> None: ...

class ListFacetsRequest(_message.Message):
    __slots__ = ("filter",)
    FILTER_FIELD_NUMBER: _ClassVar[int]
    filter: Filter
    def __init__(self, filter: _Optional[_Union[Filter, _Mapping]] = ...) -> None: ...

class ListFacetsResponse(_message.Message):
    __slots__ = ("facets", "total_size", "price", "attributes")
    FACETS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    facets: _containers.RepeatedCompositeFieldContainer[Facet]
    total_size: int
    price: PriceFacet
    attributes: _containers.RepeatedCompositeFieldContainer[AttributeFacet]
    def __init__(self, facets: _Optional[_Iterable[_Union[Facet, _Mapping]]] = ..., total_size: _Optional[int] = ..., price: _Optional[_Union[PriceFacet, _Mapping]] = ..., attributes: _Optional[_Iterable[_Union[AttributeFacet, _Mapping]]] = ...) -> None: ...

class PriceFacet(_message.Message):
    __slots__ = ("currency_code", "min", "max", "product_count", "ranges", "other_currencies")
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    OTHER_CURRENCIES_FIELD_NUMBER: _ClassVar[int]
    currency_code: str
    min: Amount
    max: Amount
    product_count: int
    ranges: _containers.RepeatedCompositeFieldContainer[PriceFacetRange]
    other_currencies: _containers.RepeatedCompositeFieldContainer[CurrencyCount]
    def __init__(self, currency_code: _Optional[str] = ..., min: _Optional[_Union[Amount, _Mapping]] = ..., max: _Optional[_Union[Amount, _Mapping]] = ..., product_count: _Optional[int] = ..., ranges: _Optional[_Iterable[_Union[PriceFacetRange, _Mapping]]] = ..., other_currencies: _Optional[_Iterable[_Union[CurrencyCount, _Mapping]]] = ...) -> None: ...

class PriceFacetRange(_message.Message):
    __slots__ = ("min", "max", "product_count")
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    min: Amount
    max: Amount
    product_count: int
    def __init__(self, min: _Optional[_Union[Amount, _Mapping]] = ..., max: _Optional[_Union[Amount, _Mapping]] = ..., product_count: _Optional[int] = ...) -> None: ...

class AttributeFacet(_message.Message):
    __slots__ = ("name", "product_count", "labels", "label_count", "number", "flag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LABEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    product_count: int
    labels: _containers.RepeatedCompositeFieldContainer[FacetValue]
    label_count: int
    number: NumberFacet
    flag: FlagFacet
    def __init__(self, name: _Optional[str] = ..., product_count: _Optional[int] = ..., labels: _Optional[_Iterable[_Union[FacetValue, _Mapping]]] = ..., label_count: _Optional[int] = ..., number: _Optional[_Union[NumberFacet, _Mapping]] = ..., flag: _Optional[_Union[FlagFacet, _Mapping]] = ...) -> None: ...

class NumberFacet(_message.Message):
    __slots__ = ("min", "max", "product_count", "ranges")
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    min: float
    max: float
    product_count: int
    ranges: _containers.RepeatedCompositeFieldContainer[NumberFacetRange]
    def __init__(self, min: _Optional[float] = ..., max: _Optional[float] = ..., product_count: _Optional[int] = ..., ranges: _Optional[_Iterable[_Union[NumberFacetRange, _Mapping]]] = ...) -> None: ...

class NumberFacetRange(_message.Message):
    __slots__ = ("min", "max", "product_count")
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    min: float
    max: float
    product_count: int
    def __init__(self, min: _Optional[float] = ..., max: _Optional[float] = ..., product_count: _Optional[int] = ...) -> None: ...

class FlagFacet(_message.Message):
    __slots__ = ("yes_count", "no_count")
    YES_COUNT_FIELD_NUMBER: _ClassVar[int]
    NO_COUNT_FIELD_NUMBER: _ClassVar[int]
    yes_count: int
    no_count: int
    def __init__(self, yes_count: _Optional[int] = ..., no_count: _Optional[int] = ...) -> None: ...

class Facet(_message.Message):
    __slots__ = ("attribute", "values")
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    attribute: Attribute
    values: _containers.RepeatedCompositeFieldContainer[FacetValue]
    def __init__(self, attribute: _Optional[_Union[Attribute, str]] = ..., values: _Optional[_Iterable[_Union[FacetValue, _Mapping]]] = ...) -> None: ...

class FacetValue(_message.Message):
    __slots__ = ("value", "product_count", "colour_family")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    COLOUR_FAMILY_FIELD_NUMBER: _ClassVar[int]
    value: str
    product_count: int
    colour_family: str
    def __init__(self, value: _Optional[str] = ..., product_count: _Optional[int] = ..., colour_family: _Optional[str] = ...) -> None: ...

class DislikedColour(_message.Message):
    __slots__ = ("colour", "exact", "covered_colours")
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    COVERED_COLOURS_FIELD_NUMBER: _ClassVar[int]
    colour: str
    exact: bool
    covered_colours: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, colour: _Optional[str] = ..., exact: _Optional[bool] = ..., covered_colours: _Optional[_Iterable[str]] = ...) -> None: ...

class AddDislikedColoursRequest(_message.Message):
    __slots__ = ("user_id", "colours")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    COLOURS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    colours: _containers.RepeatedCompositeFieldContainer[DislikedColour]
    def __init__(self, user_id: _Optional[str] = ..., colours: _Optional[_Iterable[_Union[DislikedColour, _Mapping]]] = ...) -> None: ...

class AddDislikedColoursResponse(_message.Message):
    __slots__ = ("colours",)
    COLOURS_FIELD_NUMBER: _ClassVar[int]
    colours: _containers.RepeatedCompositeFieldContainer[DislikedColour]
    def __init__(self, colours: _Optional[_Iterable[_Union[DislikedColour, _Mapping]]] = ...) -> None: ...

class RemoveDislikedColoursRequest(_message.Message):
    __slots__ = ("user_id", "colours")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    COLOURS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    colours: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user_id: _Optional[str] = ..., colours: _Optional[_Iterable[str]] = ...) -> None: ...

class RemoveDislikedColoursResponse(_message.Message):
    __slots__ = ("colours",)
    COLOURS_FIELD_NUMBER: _ClassVar[int]
    colours: _containers.RepeatedCompositeFieldContainer[DislikedColour]
    def __init__(self, colours: _Optional[_Iterable[_Union[DislikedColour, _Mapping]]] = ...) -> None: ...

class ListDislikedColoursRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class ListDislikedColoursResponse(_message.Message):
    __slots__ = ("colours",)
    COLOURS_FIELD_NUMBER: _ClassVar[int]
    colours: _containers.RepeatedCompositeFieldContainer[DislikedColour]
    def __init__(self, colours: _Optional[_Iterable[_Union[DislikedColour, _Mapping]]] = ...) -> None: ...

class ForgetUserRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class ForgetUserResponse(_message.Message):
    __slots__ = ("existed",)
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    existed: bool
    def __init__(self, existed: _Optional[bool] = ...) -> None: ...

class GetIndexRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetIndexResponse(_message.Message):
    __slots__ = ("product_count", "available_count", "model_version", "index_version", "update_time", "candidates_version", "derived_types", "outdated_count", "unsure_below", "nearest_similarity", "approximate")
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_VERSION_FIELD_NUMBER: _ClassVar[int]
    DERIVED_TYPES_FIELD_NUMBER: _ClassVar[int]
    OUTDATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNSURE_BELOW_FIELD_NUMBER: _ClassVar[int]
    NEAREST_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    APPROXIMATE_FIELD_NUMBER: _ClassVar[int]
    product_count: int
    available_count: int
    model_version: str
    index_version: int
    update_time: _timestamp_pb2.Timestamp
    candidates_version: str
    derived_types: _containers.RepeatedCompositeFieldContainer[DerivedTypeCount]
    outdated_count: int
    unsure_below: float
    nearest_similarity: SimilarityDistribution
    approximate: bool
    def __init__(self, product_count: _Optional[int] = ..., available_count: _Optional[int] = ..., model_version: _Optional[str] = ..., index_version: _Optional[int] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., candidates_version: _Optional[str] = ..., derived_types: _Optional[_Iterable[_Union[DerivedTypeCount, _Mapping]]] = ..., outdated_count: _Optional[int] = ..., unsure_below: _Optional[float] = ..., nearest_similarity: _Optional[_Union[SimilarityDistribution, _Mapping]] = ..., approximate: _Optional[bool] = ...) -> None: ...

class SimilarityDistribution(_message.Message):
    __slots__ = ("quantiles", "product_count")
    QUANTILES_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    quantiles: _containers.RepeatedCompositeFieldContainer[SimilarityQuantile]
    product_count: int
    def __init__(self, quantiles: _Optional[_Iterable[_Union[SimilarityQuantile, _Mapping]]] = ..., product_count: _Optional[int] = ...) -> None: ...

class SimilarityQuantile(_message.Message):
    __slots__ = ("share", "similarity")
    SHARE_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    share: float
    similarity: float
    def __init__(self, share: _Optional[float] = ..., similarity: _Optional[float] = ...) -> None: ...

class DerivedTypeCount(_message.Message):
    __slots__ = ("label", "product_count")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    label: str
    product_count: int
    def __init__(self, label: _Optional[str] = ..., product_count: _Optional[int] = ...) -> None: ...
