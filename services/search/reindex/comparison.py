"""Compares the next generation with the live one, and decides whether it may take its place."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

import numpy as np

from services.contract.embedding import renormalised
from services.contract.errors import (
    DeadlineExceeded,
    FashionError,
    InvalidInput,
    ModelMismatch,
    Overloaded,
    Unavailable,
)
from services.contract.values import Photograph, Subject
from services.search.catalogue.generations import CanaryRow
from services.search.catalogue.products import Product, validate_product_id
from services.search.indexes.base import Eligibility, Index
from services.search.query.find_similar import SimilarFinder
from services.search.query.request import SimilarRequest

MAX_CANARIES: Final = 100
MAX_CANARY_BYTES: Final = 24 * 1024 * 1024
_MAX_NAME_CHARACTERS: Final = 200
_NEIGHBOURS: Final = 10
# Products that are searched with in both: the mean of their shares is within 0.02 of that of all, 95 times in 100.
SAMPLE: Final = 400
_SEED: Final = 20261128


@dataclass(frozen=True, slots=True)
class Gate:
    """What the next generation has to show before search switches to it.

    Attributes:
        min_overlap: least mean share of the ten nearest that both have in common, in [0, 1].
        max_label_loss: how much lower the share of neighbours of the product's own derived type may be, in [0, 1].
        min_canary_share: least share of the canaries that pass, in [0, 1].
        max_lost_products: most products that are found in the live generation and not in the next one.
    """

    min_overlap: float = 0.1
    max_label_loss: float = 0.02
    min_canary_share: float = 1.0
    max_lost_products: int = 0

    def check(self) -> Self:
        """Returns it.

        Raises:
            InvalidInput: GATE_INVALID.
        """
        for name in ("min_overlap", "max_label_loss", "min_canary_share"):
            # NaN is refused too.
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise _gate_invalid(name, f"0 to 1, not {value:g}")
        if self.max_lost_products < 0:
            raise _gate_invalid("max_lost_products", f"at least 0, not {self.max_lost_products}")
        return self


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of the next generation: its gate, and whether it waits for an operator once that has passed."""

    gate: Gate
    hold: bool = False

    def text(self) -> str:
        """Returns it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str | None) -> Self:
        """Reads what `text` returned; None gives the defaults."""
        fields: dict[str, Any] = json.loads(text or "{}")
        return cls(Gate(**fields.get("gate", {})), fields.get("hold", False))


def _gate_invalid(name: str, what: str) -> InvalidInput:
    return InvalidInput(f"gate.{name} must be {what}.", reason="GATE_INVALID", metadata={"field": f"gate.{name}"})


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """What became of a canary; see `CanaryResult` of reindex.proto."""

    name: str
    live_passed: bool
    next_passed: bool
    next_type: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the next generation compares; see `Comparison` of reindex.proto."""

    live_count: int
    next_count: int
    lost_count: int
    sample_count: int
    overlap: float
    live_label_agreement: float
    next_label_agreement: float
    canaries: tuple[CanaryResult, ...] = ()
    reasons: tuple[str, ...] = ()

    def judged(self, gate: Gate) -> Self:
        """Returns it with what keeps the gate shut."""
        reasons: list[str] = []
        if self.lost_count > gate.max_lost_products:
            reasons.append(
                f"{self.lost_count:,} products are found with the live model and not with the next one; at most "
                f"{gate.max_lost_products:,} may be."
            )
        if self.sample_count and self.overlap < gate.min_overlap:
            reasons.append(
                f"Both models have {self.overlap:.1%} of the ten nearest in common; at least {gate.min_overlap:.1%} "
                "are asked for."
            )
        loss = self.live_label_agreement - self.next_label_agreement
        if loss > gate.max_label_loss:
            reasons.append(
                f"Of the ten nearest, {self.next_label_agreement:.1%} are of the product's own type with the next "
                f"model and {self.live_label_agreement:.1%} with the live one; {gate.max_label_loss:.1%} fewer are "
                "allowed."
            )
        passed = sum(each.next_passed for each in self.canaries)
        if passed < gate.min_canary_share * len(self.canaries):
            names = [each.name for each in self.canaries if not each.next_passed]
            reasons.append(
                f"{passed} of {len(self.canaries)} canaries pass with the next model; these do not: "
                f"{', '.join(names[:10])}{' and others' if len(names) > 10 else ''}."
            )
        return replace(self, reasons=tuple(reasons))

    def text(self) -> str:
        """Returns it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Reads what `text` returned."""
        fields: dict[str, Any] = json.loads(text)
        canaries = tuple(CanaryResult(**each) for each in fields.pop("canaries"))
        return cls(**fields | {"canaries": canaries, "reasons": tuple(fields["reasons"])})


def check_canaries(canaries: Sequence[CanaryRow]) -> Sequence[CanaryRow]:
    """Returns canaries.

    Raises:
        InvalidInput: CANARY_INVALID.
    """
    if len(canaries) > MAX_CANARIES:
        raise _canary_invalid(f"There are {len(canaries)} canaries; at most {MAX_CANARIES} are allowed.")
    size = sum(len(each.photograph or b"") for each in canaries)
    if size > MAX_CANARY_BYTES:
        raise _canary_invalid(f"The canaries have {size} bytes; at most {MAX_CANARY_BYTES} are allowed.")
    for number, each in enumerate(canaries, 1):
        if each.product_id is not None:
            validate_product_id(each.product_id, "product_id")
        elif not each.photograph:
            raise _canary_invalid(f"Canary {number} has neither a product nor a photograph; send one of them.")
        if not each.expected or not all(each.expected):
            raise _canary_invalid(f"Canary {number} names no expected type; name at least one.")
        if len(each.name) > _MAX_NAME_CHARACTERS:
            raise _canary_invalid(
                f"The name of canary {number} has {len(each.name)} characters; at most {_MAX_NAME_CHARACTERS} are "
                "allowed."
            )
    return canaries


def _canary_invalid(message: str) -> InvalidInput:
    return InvalidInput(message, reason="CANARY_INVALID", metadata={"field": "canaries"})


def compare_neighbours(live: Index, other: Index, pace: Callable[[], None] = lambda: None) -> Comparison:
    """Compares the ten nearest of random products in two indexes of the same catalogue.

    Args:
        live: the live generation's.
        other: the next one's.
        pace: called after each search.

    Returns:
        The comparison, without canaries.
    """
    live_ids, other_ids = set(_searchable(live)), set(_searchable(other))
    both = sorted(live_ids & other_ids)
    chosen = np.random.default_rng(_SEED).permutation(len(both))[:SAMPLE].tolist()
    overlaps: list[float] = []
    agreements: dict[int, list[float]] = {0: [], 1: []}
    for place in chosen:
        product = live.product(both[place])
        found = [_nearest(index, both[place]) for index in (live, other)]
        pace()
        # Products may be deleted meanwhile.
        if product is None or not all(found):
            continue
        ids = [{each.id for each in many} for many in found]
        overlaps.append(len(ids[0] & ids[1]) / max(map(len, ids)))
        for number, many in enumerate(found):
            agreements[number].append(sum(each.derived_type == product.derived_type for each in many) / len(many))
    return Comparison(
        live_count=len(live_ids),
        next_count=len(other_ids),
        lost_count=len(live_ids - other_ids),
        sample_count=len(overlaps),
        overlap=float(np.mean(overlaps)) if overlaps else 0.0,
        live_label_agreement=float(np.mean(agreements[0])) if overlaps else 0.0,
        next_label_agreement=float(np.mean(agreements[1])) if overlaps else 0.0,
    )


def _searchable(index: Index) -> Iterator[str]:
    for label in index.searchable_types():
        yield from (product.id for product in index.members(label).products)


def _nearest(index: Index, product_id: str) -> list[Product]:
    embedding = index.embedding(product_id)
    if embedding is None:
        return []
    eligibility = Eligibility(excluded_ids=(product_id,), include_out_of_stock=True)
    hits = index.search(renormalised(embedding), _NEIGHBOURS, eligibility).hits
    return [hit.product for hit in hits]


async def try_canary(finder: SimilarFinder, canary: CanaryRow) -> tuple[bool, str]:
    """Asks a canary of a generation.

    Returns:
        Whether more than half of its results are of an expected type, and the commonest derived type of them. It does
        not pass where there is no answer, as for a product without an embedding.

    Raises:
        Unavailable, Overloaded, DeadlineExceeded: what serves the generation does not answer now.
        ModelMismatch: MODEL_VERSION_MISMATCH; the canary is a photograph, and the embedder serves another model.
    """
    query: str | Photograph | None = canary.product_id
    if query is None:
        query = Photograph(canary.photograph or b"", subject=Subject.AUTO)
    try:
        answer = await finder.find_similar(SimilarRequest(query=query, top_k=_NEIGHBOURS))
    except (Unavailable, Overloaded, DeadlineExceeded):
        raise
    except FashionError as error:
        if isinstance(error, ModelMismatch) and canary.product_id is None:
            raise
        return False, ""
    products = [hit.product for hit in answer.result.hits]
    fitting = sum(bool({each.derived_type, each.article_type}.intersection(canary.expected)) for each in products)
    commonest = Counter(each.derived_type for each in products).most_common(1)
    return 2 * fitting > len(products), commonest[0][0] if commonest else ""
