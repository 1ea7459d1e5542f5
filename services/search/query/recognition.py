"""Recognises what a query shows: by the classifier, or by the nearest products where only candidates knew it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.values import (
    Classification,
    ClassificationMethod,
    DerivedTypePrediction,
    SubCategoryPrediction,
)
from services.search.indexes.base import Eligibility, Hit, ReadableIndex

# More neighbours do not find more types (docs/decisions/0016).
NEIGHBOURS: Final = 20
# The last of the neighbours counts this power of e less than the first: the weights follow the spread of the query's
# own neighbours, whatever similarities are usual in this catalogue and model.
_FALL: Final = 2.0
# The share of the neighbours in the decision; the rest is the candidates'. A type with fewer products than there are
# neighbours could never win by votes alone.
_SAY: Final = 0.5
_EVERYTHING: Final = Eligibility(include_out_of_stock=True)


def recognised(
    classification: Classification,
    direction: NDArray[np.float32],
    index: ReadableIndex,
    top_k: int,
    voters: Eligibility = _EVERYTHING,
) -> Classification:
    """Returns the classification, decided by candidates and the nearest products together if candidates decided alone.

    Candidates decide about derived types that the model does not know. They are means of products. A vote of the
    products themselves finds more, but only search has these.

    Args:
        classification: what the classifier answered.
        direction: float32, shape (dimension,), L2 norm 1, the embedding that was classified.
        index: the products.
        top_k: maximum number of derived types.
        voters: the products that may vote.
    """
    if classification.method is not ClassificationMethod.CANDIDATES:
        return classification
    hits = index.search(direction, NEIGHBOURS, voters).hits
    return _voted(classification, hits, top_k) if hits else classification


def _voted(classification: Classification, hits: Sequence[Hit], top_k: int) -> Classification:
    kinds = {each.label: (each.gender, each.article_type, each.sub_category) for each in classification.derived_types}
    for hit in hits:
        product = hit.product
        kinds.setdefault(product.derived_type, (product.gender, product.article_type, product.sub_category))
    # A few products, of a small shop, say less than twenty.
    say = _SAY * len(hits) / NEIGHBOURS
    shares = {each.label: (1 - say) * (each.probability or 0.0) for each in classification.derived_types}
    for hit, weight in zip(hits, _weights(hits), strict=True):
        label = hit.product.derived_type
        shares[label] = shares.get(label, 0.0) + say * weight
    # Candidates of types that were not among the best have the rest.
    total = sum(shares.values())
    ranked = sorted(shares, key=lambda label: (-shares[label], label))
    margins: list[float | None] = [(shares[one] - shares[other]) / total for one, other in pairwise(ranked)]
    predictions = tuple(
        DerivedTypePrediction(*kinds[label], shares[label] / total, margin, shares[label] / total)
        for label, margin in zip(ranked, [*margins, None], strict=True)
    )
    of_article = [each.similarity for each in predictions if each.article_type == predictions[0].article_type]
    return replace(
        classification,
        sub_categories=_sub_categories(classification, predictions[0]),
        derived_types=predictions[:top_k],
        method=ClassificationMethod.NEIGHBOURS,
        confidence=min(sum(of_article), 1.0),
    )


def _weights(hits: Sequence[Hit]) -> list[float]:
    """Returns the weight of each vote, in [0, 1], together 1."""
    similarities = np.array([hit.similarity for hit in hits])
    spread = max(float(similarities[0] - similarities[-1]), np.finfo(np.float32).eps)
    weights = np.exp(_FALL * (similarities - similarities[0]) / spread)
    shares: list[float] = (weights / weights.sum()).tolist()
    return shares


def _sub_categories(classification: Classification, winner: DerivedTypePrediction) -> tuple[SubCategoryPrediction, ...]:
    """Returns the subCategories without one that only the candidates named, unless it is the winner's."""
    return tuple(
        each
        for each in classification.sub_categories
        if each.probability is not None or each.label == winner.sub_category
    )
