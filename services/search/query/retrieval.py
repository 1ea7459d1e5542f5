"""The products that can be found: an index, the model of its embeddings, and the direction that a query looks in."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.contract.embedding import renormalised
from services.contract.errors import InvalidInput, ModelMismatch
from services.contract.values import Embedding
from services.search.catalogue.products import Product, product_not_found, validate_product_id
from services.search.filters.filter import unknown_value
from services.search.indexes.base import ReadableIndex
from services.search.query.steering import SteeringWeights, steer

MAX_DERIVED_TYPES = 100


@dataclass(frozen=True, slots=True)
class Inventory:
    """The products that can be found.

    Attributes:
        index: holds them.
        model_version: the model of the embeddings in the index.
        weights: how much liked and disliked products count.
    """

    index: ReadableIndex
    model_version: str
    weights: SteeringWeights = field(default_factory=SteeringWeights)

    def product(self, product_id: str) -> Product:
        """Returns a product.

        Raises:
            InvalidInput: PRODUCT_ID_INVALID.
            NotFound: PRODUCT_NOT_FOUND.
        """
        product = self.index.product(validate_product_id(product_id, "product_id"))
        if product is None:
            raise product_not_found(product_id)
        return product

    def embedding(self, product_id: str) -> Embedding:
        """Returns the embedding of a product, normalised again after its rounding to float16.

        Raises:
            InvalidInput: PRODUCT_ID_INVALID.
            NotFound: PRODUCT_NOT_FOUND.
            ModelMismatch: MODEL_VERSION_MISMATCH: the stored embedding is of another model.
        """
        stored = self.index.embedding(validate_product_id(product_id, "product_id"))
        if stored is None:
            self.product(product_id)
            raise ModelMismatch(
                f'The stored embedding of product "{product_id}" is of another model; send the product again.',
                reason="MODEL_VERSION_MISMATCH",
                metadata={"product_id": product_id, "model_version": self.model_version},
            )
        return Embedding(renormalised(stored), self.model_version)

    def direction(
        self, query: str | Embedding, liked_ids: Sequence[str] = (), disliked_ids: Sequence[str] = ()
    ) -> NDArray[np.float32]:
        """Returns the vector that similarities are measured against.

        Args:
            query: a product's id, or an embedding of this model.
            liked_ids: products to lean towards.
            disliked_ids: products to lean away from.

        Returns:
            float32, shape (dimension,), L2 norm 1.

        Raises:
            InvalidInput, NotFound, ModelMismatch: see `embedding`, for each of these products.
        """
        values = (self.embedding(query) if isinstance(query, str) else query).values
        if not liked_ids and not disliked_ids:
            return values
        return steer(values, self._rows(liked_ids), self._rows(disliked_ids), self.weights)

    def require_derived_types(self, labels: Sequence[str]) -> None:
        """Refuses derived types that no product has.

        Raises:
            InvalidInput: DERIVED_TYPE_UNKNOWN, which names the nearest known ones; SCOPE_INVALID: there are none, or
                more than 100.
        """
        if not 1 <= len(labels) <= MAX_DERIVED_TYPES:
            raise InvalidInput(
                f"derived_types must name 1 to {MAX_DERIVED_TYPES} derived types, not {len(labels)}.",
                reason="SCOPE_INVALID",
            )
        known = self.index.facts().derived_types
        for label in labels:
            if label not in known:
                unknown = unknown_value("derived_type", label, known)
                raise InvalidInput(unknown.message, reason="DERIVED_TYPE_UNKNOWN", metadata=unknown.metadata)

    def _rows(self, product_ids: Sequence[str]) -> NDArray[np.float32]:
        rows = [self.embedding(product_id).values for product_id in product_ids]
        return np.stack(rows) if rows else np.empty((0, 0), dtype=np.float32)
