"""Random products, writes and requests: few values, so that ties, moves and labels that vanish are common."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from offline.benchmark.correctness.conditions import COLOURS, TABLE_COLOURS
from services.contract.own_attributes import AttributeValue, Flag
from services.contract.values import Embedding, Gender, derived_type
from services.search.catalogue.products import Price, Product
from services.search.filters.colours import DislikedColour
from services.search.filters.filter import (
    ColourFilter,
    Condition,
    Filter,
    FlagFilter,
    GenderFilter,
    LabelFilter,
    NumberRange,
    PriceRange,
    Words,
    YearRange,
)
from services.search.filters.ranking import MAX_BOOSTS, Boost, Ranking
from services.search.indexes.base import Collapse, Eligibility, Ladder
from services.search.query.request import Scope, SimilarRequest

T = TypeVar("T")

ARTICLE_TYPES: Final = ("Tshirts", "Shirts", "Heels")
GENDERS: Final = (*Gender, None)
DERIVED_TYPES: Final = tuple(derived_type(gender, each) for gender in GENDERS for each in ARTICLE_TYPES)
NAMES: Final = ("Harbour Men Crew T-Shirt", "Élan Blue/White Tee", "éLAN 2 go", "Zebra", "Red Zebra", "ZEBRA navy-blue")
SEARCHES: Final = (
    *("", "blue", "BLUE t-shirt", "men", "elan", "p1", "tee white", "shirt harb", "nothing", "lue", "2", "?!"),
)
_COLOURS: Final = tuple(COLOURS)
_NAMED_COLOURS: Final = tuple(sorted({*COLOURS, *TABLE_COLOURS}))
_LABELS: Final[dict[str, tuple[str, ...]]] = {
    "master_category": ("Apparel", "Footwear"),
    "sub_category": ("Topwear", "Shoes"),
    "article_type": ARTICLE_TYPES,
    "brand": ("Harbour", "Velora"),
    "season": ("Summer", "Winter"),
    "usage": ("Casual",),
}
# Under "size" there are labels and numbers.
_OWN_LABELS: Final[dict[str, tuple[str, ...]]] = {"material": ("Cotton", "Linen", "Wool"), "size": ("M", "true", "38")}
_OWN_NUMBERS: Final[dict[str, tuple[float, ...]]] = {"heel_mm": (-1.5, 0.0, 40.0), "size": (38.0, 40.0)}
_OWN_FLAG: Final = "organic"
_CURRENCIES: Final = ("EUR", "USD")
_SIMILARITIES: Final = (-0.25, 0.25, 0.5, 0.75)


class Material:
    """Draws from dice, of a shop whose products have the ids and the looks that it is given."""

    def __init__(self, ids: Sequence[str], families: Sequence[str], *, names: Sequence[str] = NAMES) -> None:
        """Takes what products are made of.

        Args:
            ids: their ids.
            families: what `parent_id` may be.
            names: their names.
        """
        self.ids = tuple(ids)
        self._families = tuple(families)
        self._names = tuple(names)

    def product(self, dice: Random, product_id: str) -> Product:
        """Returns a product of random attributes, any of which may be missing."""
        return Product(
            id=product_id,
            gender=dice.choice(GENDERS),
            article_type=dice.choice(ARTICLE_TYPES),
            sub_category=dice.choice(_LABELS["sub_category"]),
            **{name: maybe(dice, _LABELS[name]) for name in ("master_category", "brand", "season", "usage")},
            base_colour=maybe(dice, _COLOURS),
            year=maybe(dice, (2011, 2012, 2013)),
            in_stock=maybe(dice, (True, False)),
            parent_id=dice.choice(self._families) if dice.random() < 0.4 else None,
            name=maybe(dice, self._names),
            price=self.price(dice) if dice.random() < 0.7 else None,
            attributes=self.attributes(dice),
        )

    def price(self, dice: Random) -> Price:
        """Returns a price, one of few."""
        return Price(dice.choice(_CURRENCIES), dice.randint(0, 2), dice.choice((0, 500_000_000)))

    def attributes(self, dice: Random) -> dict[str, AttributeValue]:
        """Returns own attributes, in alphabetical order."""
        own: dict[str, AttributeValue] = {}
        if dice.random() < 0.4:
            own["heel_mm"] = dice.choice(_OWN_NUMBERS["heel_mm"])
        if dice.random() < 0.5:
            own["material"] = few(dice, _OWN_LABELS["material"], least=1)
        if dice.random() < 0.4:
            own[_OWN_FLAG] = dice.choice((Flag.YES, Flag.NO))
        if dice.random() < 0.5:
            own["size"] = (dice.choice(_OWN_LABELS["size"]),) if dice.random() < 0.5 else dice.choice((38.0, 40.0))
        return own

    def filter(self, dice: Random, *, plain: bool = False) -> Filter:
        """Returns a filter of any number of conditions; with `plain`, those that a query string of HTTP can say."""
        share = dice.choice((0.0, 0.05, 0.1, 0.25))
        return Filter(**{name: make(dice, plain) for name, make in self._conditions.items() if dice.random() < share})

    def each_condition(self, dice: Random) -> list[Filter]:
        """Returns a filter for each kind of condition, with that alone."""
        return [Filter(**{name: make(dice, False)}) for name, make in self._conditions.items()]

    @property
    def _conditions(self) -> dict[str, Callable[[Random, bool], Condition]]:
        return {
            **{name: _label_condition(values) for name, values in _LABELS.items()},
            "gender": lambda dice, plain: GenderFilter(
                few(dice, tuple(Gender), most=3, least=plain), () if plain else few(dice, tuple(Gender), most=1)
            ),
            "base_colour": lambda dice, plain: ColourFilter(
                few(dice, _NAMED_COLOURS, least=plain), few(dice, _NAMED_COLOURS), dice.random() < 0.5
            ),
            "year": lambda dice, plain: YearRange(*_ends(dice, (2011, 2012, 2013), least=plain)),
            "price": self._price_range,
            "words": lambda dice, plain: Words(dice.choice(SEARCHES)),
            "attributes.material": _label_condition(_OWN_LABELS["material"], own=True),
            "attributes.size": lambda dice, plain: (
                _label_condition(_OWN_LABELS["size"], own=True)(dice, plain)
                if dice.random() < 0.5
                else NumberRange(*_ends(dice, _OWN_NUMBERS["size"]))
            ),
            "attributes.heel_mm": lambda dice, plain: NumberRange(*_ends(dice, _OWN_NUMBERS["heel_mm"])),
            "attributes.organic": lambda dice, plain: FlagFilter(dice.random() < 0.5),
        }

    def _price_range(self, dice: Random, plain: bool) -> PriceRange:
        currency = dice.choice(_CURRENCIES)
        amounts = [(units, nanos) for units in range(3) for nanos in (0, 500_000_000)]
        low, high = (None if end is None else Price(currency, *end) for end in _ends(dice, amounts))
        return PriceRange(currency, low, high)

    def eligibility(self, dice: Random) -> Eligibility:
        """Returns which products an index may return."""
        ladder = self.ladder(dice) if dice.random() < 0.2 else None
        some_types = frozenset(few(dice, DERIVED_TYPES, most=9 if ladder is None else 2, least=ladder is None))
        return Eligibility(
            derived_types=some_types if ladder is not None or dice.random() < 0.3 else None,
            ladder=ladder,
            filter=self.filter(dice),
            disliked_colours=self.dislikes(dice) if dice.random() < 0.5 else (),
            excluded_ids=frozenset(few(dice, (*self.ids, "nobody"), most=3)),
            include_out_of_stock=dice.random() < 0.5,
            excluded_families=few(dice, (*self._families, "nobody"), most=1),
            excluded_designs_of=few(dice, (*self.ids, "nobody"), most=1),
            collapse=dice.choice(tuple(Collapse)),
        )

    def ladder(self, dice: Random) -> Ladder:
        """Returns where a search of derived types goes on."""
        names = ("article_type", "sub_category", "master_category")
        return Ladder(*(frozenset(few(dice, (*_LABELS[name], "nothing"), most=1)) for name in names))

    def dislikes(self, dice: Random) -> tuple[DislikedColour, ...]:
        """Returns what a user dislikes."""
        return tuple(DislikedColour(colour, dice.random() < 0.5) for colour in few(dice, _NAMED_COLOURS))

    def ranking(self, dice: Random, *, plain: bool = False) -> Ranking:
        """Returns what products are ranked by."""
        boosts = tuple(
            Boost(condition, dice.choice((0.5, 0.8, 1.0, 1.1, 1.5, 2.0)))
            for _ in range(dice.choice((0, 0, 0, 1, 2, MAX_BOOSTS)))
            # One that no product could fail is refused.
            if any(map(_may_leave_out, (condition := self.filter(dice, plain=plain)).conditions.values()))
        )
        return Ranking(
            boosts=boosts,
            diversity=dice.choice((0.0, 0.0, 0.25, 0.75, 1.0)),
            min_similarity=dice.choice(_SIMILARITIES) if dice.random() < 0.3 else None,
            named_variants=dice.choice((0, 2, 20)),
        )

    def request(
        self, dice: Random, embeddings: Sequence[NDArray[np.float16]], model_version: str, *, plain: bool = False
    ) -> SimilarRequest:
        """Returns a request as callers send it.

        Args:
            dice: what is drawn from.
            embeddings: what a query by embedding looks like.
            model_version: of the embeddings.
            plain: whether HTTP can say it.
        """
        ranking = self.ranking(dice, plain=plain)
        by_product = plain or dice.random() < 0.7
        steering = few(dice, self.ids, most=4) if dice.random() < 0.3 else ()
        cut = dice.randint(0, len(steering))
        widen = dice.random() < 0.3
        scope = dice.choice((None, Scope.PREDICTED_TYPE, Scope.DERIVED_TYPES, *(() if widen else (Scope.INVENTORY,))))
        return SimilarRequest(
            query=dice.choice(self.ids) if by_product else Embedding(_unit(dice.choice(embeddings)), model_version),
            liked_ids=steering[:cut],
            disliked_ids=steering[cut:],
            top_k=dice.choice((1, 3, 10, 10, 25, 100)),
            scope=scope,
            derived_types=few(dice, DERIVED_TYPES, most=4, least=1) if scope is Scope.DERIVED_TYPES else (),
            eligibility=Eligibility(
                filter=self.filter(dice, plain=plain),
                excluded_ids=few(dice, (*self.ids, "nobody"), most=5) if dice.random() < 0.3 else (),
                include_out_of_stock=dice.random() < 0.3,
                collapse=dice.choice(tuple(Collapse)),
            ),
            min_similarity=ranking.min_similarity,
            boosts=ranking.boosts,
            diversity=ranking.diversity,
            widen=widen,
        )


def few(dice: Random, values: Sequence[T], *, most: int = 2, least: int = 0) -> tuple[T, ...]:
    """Returns some of the values, none twice."""
    return tuple(dice.sample(values, dice.randint(least, min(most, len(values)))))


def maybe(dice: Random, values: Sequence[Any]) -> Any:
    """Returns one of the values, or None."""
    return dice.choice((None, *values))


def _label_condition(values: Sequence[str], own: bool = False) -> Callable[[Random, bool], LabelFilter]:
    def make(dice: Random, plain: bool) -> LabelFilter:
        # HTTP leaves out colours and labels of own attributes alone.
        return LabelFilter(few(dice, values, least=plain), () if plain and not own else few(dice, values, most=1))

    return make


def _ends(dice: Random, values: Sequence[T], least: int = 0) -> tuple[T | None, T | None]:
    low, high = sorted((dice.choice(values), dice.choice(values)))  # type: ignore[type-var]
    kept = dice.randint(least, 3)
    return (low if kept & 1 else None), (high if kept & 2 else None)


def _unit(embedding: NDArray[np.float16]) -> NDArray[np.float32]:
    values = embedding.astype(np.float32)
    unit: NDArray[np.float32] = values / np.linalg.norm(values)
    return unit


def _may_leave_out(part: Condition) -> bool:
    match part:
        case LabelFilter() | ColourFilter() | GenderFilter():
            return bool(part.any_of or part.none_of)
        case Words():
            return any(map(str.isalnum, part.text))
        case _:
            return True
