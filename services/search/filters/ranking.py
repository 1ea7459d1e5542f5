"""What products are ranked by beside their similarity: the shop's own rules, and how much the products differ."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.errors import InvalidInput
from services.search.filters.filter import Filter

MIN_FACTOR = 0.5
MAX_FACTOR = 2.0
MAX_BOOSTS = 10
# A diverse answer is chosen from this many times as many products, up to a number that takes no noticeable time.
_POOL_PER_HIT = 5
_MAX_POOL = 200


@dataclass(frozen=True, slots=True)
class Boost:
    """A rule: products that pass `condition` move up or down by `factor`, in [0.5, 2]."""

    condition: Filter
    factor: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """What products are ranked by.

    Attributes:
        boosts: the rules; at most 10.
        diversity: how much the products should differ, in [0, 1].
        min_similarity: products of a lower similarity are left out; None for none.
        named_variants: how many of the other variants a product names at most.
    """

    boosts: tuple[Boost, ...] = ()
    diversity: float = 0.0
    min_similarity: float | None = None
    named_variants: int = 0

    def check(self) -> None:
        """Refuses what is out of range.

        Raises:
            InvalidInput: TOO_MANY_BOOSTS, BOOST_INVALID, DIVERSITY_OUT_OF_RANGE.
        """
        if len(self.boosts) > MAX_BOOSTS:
            raise InvalidInput(
                f"The request has {len(self.boosts)} boosts; at most {MAX_BOOSTS} are allowed.",
                reason="TOO_MANY_BOOSTS",
                metadata={"field": "boosts"},
            )
        for place, boost in enumerate(self.boosts):
            # NaN is refused too.
            if not MIN_FACTOR <= boost.factor <= MAX_FACTOR:
                raise InvalidInput(
                    f"The factor of a boost must be {MIN_FACTOR} to {MAX_FACTOR:g}, not {boost.factor:g}.",
                    reason="BOOST_INVALID",
                    metadata={"field": f"boosts[{place}].factor"},
                )
            if boost.condition.passes_all:
                raise InvalidInput(
                    "A boost has no condition that leaves out any product: say which products it moves.",
                    reason="BOOST_INVALID",
                    metadata={"field": f"boosts[{place}].condition"},
                )
        if not 0 <= self.diversity <= 1:
            raise InvalidInput(
                f"The diversity must be 0 to 1, not {self.diversity:g}.",
                reason="DIVERSITY_OUT_OF_RANGE",
                metadata={"field": "diversity"},
            )

    def pool(self, k: int) -> int:
        """Returns how many of the highest products the `k` of the answer are chosen from."""
        return max(k, min(_POOL_PER_HIT * k, _MAX_POOL)) if self.diversity else k


BY_SIMILARITY: Final = Ranking()


def boosted(similarity: float, factor: float) -> float:
    """Returns the value that ranks a product; it grows with similarity and factor, also below zero."""
    return similarity * factor if similarity >= 0 else similarity / factor


def diverse(
    values: NDArray[np.float64],
    k: int,
    diversity: float,
    similarities: Callable[[int], NDArray[np.float64]],
    tiers: NDArray[np.int64] | None = None,
) -> list[int]:
    """Chooses products that differ, by maximal marginal relevance.

    Source: Carbonell and Goldstein, "The use of MMR, diversity-based reranking for reordering documents and producing
    summaries", 1998. Equal products keep their order.

    Args:
        values: float64, shape (n,), descending within a tier; n at least 1.
        k: how many to choose, at most n.
        diversity: 0 for the highest values, 1 for the least similar products after the first.
        similarities: returns those of all products with one: float64, shape (n,).
        tiers: int64, shape (n,), ascending: one is chosen to its end before the next; None for one tier.

    Returns:
        Their positions, in the order of choice; the first is 0.
    """
    chosen = [0]
    nearest = similarities(0)
    left = np.ones(len(values), dtype=np.bool_)
    left[0] = False
    while len(chosen) < k:
        open_now = left if tiers is None else left & (tiers == tiers[left][0])
        worth = np.where(open_now, (1 - diversity) * values - diversity * nearest, -np.inf)
        best = int(np.argmax(worth))
        chosen.append(best)
        left[best] = False
        nearest = np.maximum(nearest, similarities(best))
    return chosen
