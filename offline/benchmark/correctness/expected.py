"""The answer that a search must give, as the oracle says it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExpectedHit:
    """A product that must be in the answer.

    Attributes:
        product_id: its id.
        similarity: float32 as a float.
        value: what ranks it.
        variants: the ids of the others for which it stands, in their order.
        derived: whether they are known by name and looks.
        photograph: which of its photographs is the most similar one; of equal ones the first.
        rung: where it is on the ladder, from 0; None without one.
    """

    product_id: str
    similarity: float
    value: float
    variants: tuple[str, ...]
    derived: bool
    photograph: int = 0
    rung: int | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What the answer must be.

    Attributes:
        hits: in their order.
        eligible_count: as `IndexAnswer.eligible_count`.
        excluded_colours: as there.
        left_out: by filter, out of stock, disliked, excluded, variants.
        other_currencies: as there.
        rung: the last that was searched, from 0; None without a ladder.
    """

    hits: tuple[ExpectedHit, ...]
    eligible_count: int
    excluded_colours: tuple[str, ...]
    left_out: tuple[int, int, int, int, int]
    other_currencies: Mapping[str, int]
    rung: int | None = None

    @property
    def ids(self) -> list[str]:
        """The products of the answer."""
        return [hit.product_id for hit in self.hits]
