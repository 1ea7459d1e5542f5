"""What a caller asks for with the main query, and what is refused before anybody is asked."""

from dataclasses import dataclass, field
from enum import Enum

from services.contract.errors import InvalidInput
from services.contract.values import Embedding, Photograph
from services.search.catalogue.products import validate_product_id
from services.search.filters.ranking import Boost, Ranking
from services.search.indexes.base import Eligibility
from services.search.preferences import validate_user_id

DEFAULT_TOP_K = 10
MAX_TOP_K = 100
MAX_STEERING_PRODUCTS = 20
MAX_EXCLUDED_PRODUCTS = 500


class Scope(Enum):
    """Where to search."""

    PREDICTED_TYPE = "predicted type"
    INVENTORY = "inventory"
    DERIVED_TYPES = "derived types"


class PreferencePolicy(Enum):
    """What to do when the user's dislikes cannot be read."""

    BEST_EFFORT = "best effort"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarRequest:
    """What a caller asks for.

    Attributes:
        query: a product's id, a photograph, or an embedding as sent, unchecked; None if there is none.
        liked_ids: products to lean towards; at most 20, none of them twice.
        disliked_ids: products to lean away from; at most 20, none of them twice, none of them liked too.
        user_id: the user whose dislikes are left out; "" for nobody's.
        top_k: how many products to return, 1..100.
        scope: None means the whole inventory for a product, unless `widen`, and the predicted derived type for anything
            else.
        derived_types: for `Scope.DERIVED_TYPES`, and only for it.
        eligibility: which products may be returned; at most 500 excluded ones. The query itself adds the derived types
            that it searches, the user's disliked colours, its own product and those that steer it.
        preference_policy: what to do when the dislikes cannot be read.
        explain: whether to say how the answer came about.
        min_similarity: products of a lower similarity are left out; in [-1, 1].
        boosts: rules that move products up or down; at most 10.
        diversity: how much the products should differ, in [0, 1].
        widen: whether to go on beyond the derived types, up a ladder, while fewer than `top_k` are found.
    """

    query: str | Photograph | Embedding | None
    liked_ids: tuple[str, ...] = ()
    disliked_ids: tuple[str, ...] = ()
    user_id: str = ""
    top_k: int = DEFAULT_TOP_K
    scope: Scope | None = None
    derived_types: tuple[str, ...] = ()
    eligibility: Eligibility = field(default_factory=Eligibility)
    preference_policy: PreferencePolicy = PreferencePolicy.BEST_EFFORT
    explain: bool = False
    min_similarity: float | None = None
    boosts: tuple[Boost, ...] = ()
    diversity: float = 0.0
    widen: bool = False

    @property
    def ranking(self) -> Ranking:
        """What the products are ranked by."""
        return Ranking(self.boosts, self.diversity, self.min_similarity)

    @property
    def effective_scope(self) -> Scope:
        """The scope, or the default one of this kind of query."""
        if self.scope is not None:
            return self.scope
        return Scope.INVENTORY if isinstance(self.query, str) and not self.widen else Scope.PREDICTED_TYPE

    def check(self) -> None:
        """Refuses whatever can be refused without the catalogue, before anything is embedded in vain.

        Raises:
            InvalidInput: those of `check_options`, and PRODUCT_ID_INVALID for the product of the query.
        """
        self.check_options()
        if isinstance(self.query, str):
            validate_product_id(self.query, "product_id")

    def check_options(self) -> None:
        """Refuses what can be refused without the catalogue, but for the query itself.

        Raises:
            InvalidInput: SCOPE_INVALID, QUERY_MISSING, TOP_K_OUT_OF_RANGE, MIN_SIMILARITY_OUT_OF_RANGE,
                TOO_MANY_BOOSTS, BOOST_INVALID, DIVERSITY_OUT_OF_RANGE, TOO_MANY_PRODUCTS, PRODUCT_ID_INVALID,
                PRODUCT_ID_DUPLICATE, USER_ID_INVALID.
        """
        if self.derived_types and self.effective_scope is not Scope.DERIVED_TYPES:
            raise InvalidInput(
                "The request names derived_types but has another scope: set SEARCH_SCOPE_DERIVED_TYPES, or name none.",
                reason="SCOPE_INVALID",
                metadata={"field": "derived_types"},
            )
        if self.widen and self.effective_scope is Scope.INVENTORY:
            raise InvalidInput(
                "The request has widen and searches the whole inventory, which is widest: leave one of them out.",
                reason="SCOPE_INVALID",
                metadata={"field": "widen"},
            )
        if self.query is None:
            raise InvalidInput(
                "The request has no query: name a product, or send an image or an embedding.",
                reason="QUERY_MISSING",
                metadata={"field": "query"},
            )
        if not 1 <= self.top_k <= MAX_TOP_K:
            raise InvalidInput(f"top_k must be 1 to {MAX_TOP_K}, not {self.top_k}.", reason="TOP_K_OUT_OF_RANGE")
        # NaN is refused too.
        if self.min_similarity is not None and not -1 <= self.min_similarity <= 1:
            raise InvalidInput(
                f"min_similarity must be -1 to 1, not {self.min_similarity:g}.",
                reason="MIN_SIMILARITY_OUT_OF_RANGE",
                metadata={"field": "min_similarity"},
            )
        self.ranking.check()
        for name, ids, max_count in (
            ("liked_product_ids", self.liked_ids, MAX_STEERING_PRODUCTS),
            ("disliked_product_ids", self.disliked_ids, MAX_STEERING_PRODUCTS),
            ("excluded_product_ids", self.eligibility.excluded_ids, MAX_EXCLUDED_PRODUCTS),
        ):
            if len(ids) > max_count:
                raise InvalidInput(
                    f"The request names {len(ids)} products in {name}; at most {max_count} are allowed.",
                    reason="TOO_MANY_PRODUCTS",
                    metadata={"field": name},
                )
            for product_id in ids:
                validate_product_id(product_id, name)
        steering = self.liked_ids + self.disliked_ids
        if len(set(steering)) < len(steering):
            raise InvalidInput(
                "The request names a product twice in liked_product_ids and disliked_product_ids.",
                reason="PRODUCT_ID_DUPLICATE",
            )
        if self.user_id:
            validate_user_id(self.user_id)
