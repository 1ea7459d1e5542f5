"""What a search looks for and what it leaves out: the query vector, the exclusions, and the answer of one snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.contract.errors import InvalidInput, ModelMismatch, NotFound
from services.contract.values import Embedding
from services.search.catalogue.products import Product, validate_product_id
from services.search.filters.colours import DislikedColour
from services.search.filters.filter import Filter, unknown_value
from services.search.indexes.base import Eligibility, Hit, Index
from services.search.query.steering import SteeringWeights, steer

MAX_TOP_K = 100
MAX_STEERING_PRODUCTS = 20
MAX_EXCLUDED_PRODUCTS = 500
MAX_DERIVED_TYPES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarQuery:
    """What to find.

    Attributes:
        query: the id of a product, or an embedding.
        top_k: 1..100.
        derived_types: where to search; None for the whole inventory.
        filter: which products are eligible.
        liked_ids: products to lean towards; at most 20, none named twice.
        disliked_ids: products to lean away from; at most 20, none named twice, none also liked.
        excluded_ids: further products to leave out; at most 500.
        disliked_colours: what the user dislikes.
        include_out_of_stock: whether products that are out of stock are eligible too.
    """

    query: str | Embedding
    top_k: int = 10
    derived_types: frozenset[str] | None = None
    filter: Filter = field(default_factory=Filter)
    liked_ids: tuple[str, ...] = ()
    disliked_ids: tuple[str, ...] = ()
    excluded_ids: tuple[str, ...] = ()
    disliked_colours: tuple[DislikedColour, ...] = ()
    include_out_of_stock: bool = False


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """What was found, and what was applied to find it.

    Attributes:
        hits: min(top_k, eligible_count) of them, the most similar first, equal similarities by product id.
            `similarity` is the inner product with the query, or with the steered query where products steer it.
        eligible_count: in scope, past the filter, and not left out.
        derived_types: those searched, in alphabetical order; empty for the whole inventory.
        excluded_colours: those left out for the user's sake, families spelt out, in alphabetical order.
        model_version: the model whose embeddings were compared.
        index_version: the version of the catalogue that was searched.
    """

    hits: tuple[Hit, ...]
    eligible_count: int
    derived_types: tuple[str, ...]
    excluded_colours: tuple[str, ...]
    model_version: str
    index_version: int


class Inventory:
    """The products that can be found: an index, and the model whose embeddings it holds."""

    def __init__(self, index: Index, model_version: str, weights: SteeringWeights | None = None) -> None:
        self._index = index
        self._model_version = model_version
        self._weights = weights if weights is not None else SteeringWeights()

    @property
    def index(self) -> Index:
        """The index, for what is not a search: writing, pages, facts."""
        return self._index

    @property
    def model_version(self) -> str:
        """The model whose embeddings are compared."""
        return self._model_version

    def product(self, product_id: str) -> Product:
        """Returns a product.

        Raises:
            InvalidInput: PRODUCT_ID_INVALID.
            NotFound: PRODUCT_NOT_FOUND.
        """
        product = self._index.product(validate_product_id(product_id, "product_id"))
        if product is None:
            raise NotFound(
                f'the catalogue has no product "{product_id}"',
                reason="PRODUCT_NOT_FOUND",
                metadata={"product_id": product_id},
            )
        return product

    def embedding(self, product_id: str) -> Embedding:
        """Returns the embedding of a product, normalised again after its rounding to float16.

        Raises:
            InvalidInput: PRODUCT_ID_INVALID.
            NotFound: PRODUCT_NOT_FOUND.
            ModelMismatch: MODEL_VERSION_MISMATCH: its embedding is another model's; it must be sent again.
        """
        stored = self._index.embedding(validate_product_id(product_id, "product_id"))
        if stored is None:
            self.product(product_id)
            raise ModelMismatch(
                f'the embedding of product "{product_id}" is another model\'s; send the product again',
                reason="MODEL_VERSION_MISMATCH",
                metadata={"product_id": product_id, "model_version": self._model_version},
            )
        values = stored.astype(np.float32)
        return Embedding(values=values / np.linalg.norm(values), model_version=self._model_version)

    def require_derived_types(self, labels: Sequence[str]) -> frozenset[str]:
        """Returns derived types that a caller names, as a set.

        Raises:
            InvalidInput: DERIVED_TYPE_UNKNOWN, which names the nearest known ones; SCOPE_INVALID: there are none, or
                more than 100.
        """
        if not 1 <= len(labels) <= MAX_DERIVED_TYPES:
            raise InvalidInput(
                f"derived_types must name 1 to {MAX_DERIVED_TYPES} derived types, not {len(labels)}",
                reason="SCOPE_INVALID",
            )
        known = self._index.facts().derived_types
        for label in labels:
            if label not in known:
                unknown = unknown_value("derived_type", label, known)
                raise InvalidInput(unknown.message, reason="DERIVED_TYPE_UNKNOWN", metadata=unknown.metadata)
        return frozenset(labels)

    def search(self, query: SimilarQuery) -> SearchOutcome:
        """Finds the products most similar to a query.

        Raises:
            InvalidInput: TOP_K_OUT_OF_RANGE, TOO_MANY_PRODUCTS, PRODUCT_ID_INVALID, PRODUCT_ID_DUPLICATE, and those of
                the filter.
            NotFound: PRODUCT_NOT_FOUND, for the product of the query, a liked or a disliked one.
            ModelMismatch: MODEL_VERSION_MISMATCH, for the embedding of the query or of one of these products.
        """
        check_query(query)
        if isinstance(query.query, str):
            vector = self.embedding(query.query).values
            own = frozenset({query.query})
        else:
            if query.query.model_version != self._model_version:
                raise ModelMismatch(
                    f'the embedding is of model "{query.query.model_version[:64]}", not of "{self._model_version}"',
                    reason="MODEL_VERSION_MISMATCH",
                    metadata={"model_version": self._model_version},
                )
            vector, own = query.query.values, frozenset()
        if query.liked_ids or query.disliked_ids:
            vector = steer(vector, self._matrix(query.liked_ids), self._matrix(query.disliked_ids), self._weights)
        answer = self._index.search(
            vector,
            query.top_k,
            Eligibility(
                derived_types=query.derived_types,
                filter=query.filter,
                disliked_colours=query.disliked_colours,
                excluded_ids=own.union(query.liked_ids, query.disliked_ids, query.excluded_ids),
                include_out_of_stock=query.include_out_of_stock,
            ),
        )
        return SearchOutcome(
            hits=answer.hits,
            eligible_count=answer.eligible_count,
            derived_types=tuple(sorted(query.derived_types or ())),
            excluded_colours=answer.excluded_colours,
            model_version=self._model_version,
            index_version=answer.index_version,
        )

    def _matrix(self, product_ids: tuple[str, ...]) -> NDArray[np.float32]:
        rows = [self.embedding(product_id).values for product_id in product_ids]
        return np.stack(rows) if rows else np.empty((0, 0), dtype=np.float32)


def check_query(query: SimilarQuery) -> None:
    """Checks what can be told without a catalogue, so that a bad request is refused before anything is embedded.

    Raises:
        InvalidInput: TOP_K_OUT_OF_RANGE, TOO_MANY_PRODUCTS, PRODUCT_ID_INVALID, PRODUCT_ID_DUPLICATE.
    """
    if not 1 <= query.top_k <= MAX_TOP_K:
        raise InvalidInput(f"top_k must be 1 to {MAX_TOP_K}, not {query.top_k}", reason="TOP_K_OUT_OF_RANGE")
    for name, ids, most in (
        ("liked_product_ids", query.liked_ids, MAX_STEERING_PRODUCTS),
        ("disliked_product_ids", query.disliked_ids, MAX_STEERING_PRODUCTS),
        ("excluded_product_ids", query.excluded_ids, MAX_EXCLUDED_PRODUCTS),
    ):
        if len(ids) > most:
            raise InvalidInput(
                f"{name} names {len(ids)} products; at most {most} are allowed",
                reason="TOO_MANY_PRODUCTS",
                metadata={"field": name},
            )
        for product_id in ids:
            validate_product_id(product_id, name)
    steering = query.liked_ids + query.disliked_ids
    if len(set(steering)) < len(steering):
        raise InvalidInput(
            "a product is named twice among liked_product_ids and disliked_product_ids", reason="PRODUCT_ID_DUPLICATE"
        )
