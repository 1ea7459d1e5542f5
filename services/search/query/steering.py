"""Moves a query towards liked products and away from disliked ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SteeringWeights:
    """The weights of the query, the liked and the disliked products.

    The formula and its weights are Rocchio's as given by Manning, Raghavan and Schütze, "Introduction to Information
    Retrieval", 2008, section 9.1.1: 1, 0.75 and 0.15. The query must outweigh both others together. Then no choice of
    products can cancel it: with these weights a norm of at least 0.1 is left.

    Raises:
        ValueError: a weight is negative, or the query does not outweigh the others.
    """

    query: float = 1.0
    liked: float = 0.75
    disliked: float = 0.15

    def __post_init__(self) -> None:
        if self.liked < 0 or self.disliked < 0 or not self.query > self.liked + self.disliked:
            raise ValueError(f"The query must outweigh liked and disliked products together, unlike in {self}.")


def steer(
    query: NDArray[np.float32],
    liked: NDArray[np.float32],
    disliked: NDArray[np.float32],
    weights: SteeringWeights,
) -> NDArray[np.float32]:
    """Moves a query towards the mean of the liked products and away from that of the disliked ones.

    Args:
        query: float32, shape (dimension,), L2 norm 1.
        liked: float32, shape (n, dimension), L2-normalised rows; n may be 0.
        disliked: float32, shape (m, dimension), L2-normalised rows; m may be 0.
        weights: `SteeringWeights` names the source.

    Returns:
        float32, shape (dimension,), L2 norm 1; the similarities of a steered search are inner products with it.
    """
    steered = weights.query * query.astype(np.float64)
    if len(liked):
        steered += weights.liked * liked.mean(axis=0, dtype=np.float64)
    if len(disliked):
        steered -= weights.disliked * disliked.mean(axis=0, dtype=np.float64)
    return (steered / np.linalg.norm(steered)).astype(np.float32)
