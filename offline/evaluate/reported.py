"""The figures of the project report, for comparison; its model had seen the queries in training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Path = Literal["inventory", "photograph"]
Scope = Literal["all", "types_500"]
Feature = Literal["articleType", "gender", "both"]

# The share of queries whose ten results hold at most tolerance x 10 wrong ones.
REPORTED_PERFORMANCE: Final[Mapping[tuple[Path, Scope, Feature, float], float]] = {
    ("inventory", "types_500", "both", 0.0): 0.4703,
    ("inventory", "types_500", "both", 0.1): 0.5892,
    ("inventory", "types_500", "both", 0.2): 0.6750,
    ("inventory", "types_500", "articleType", 0.0): 0.6784,
    ("inventory", "types_500", "gender", 0.0): 0.6367,
    ("photograph", "types_500", "both", 0.0): 0.75,
}

# Of 15 subCategories, and of the derived types within them by candidates.
REPORTED_ACCURACY: Final[Mapping[str, float]] = {"subCategory": 0.8646, "derivedType": 0.75}


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that the shipped model should reach.

    Attributes:
        name: its name for people.
        where: path, scope, feature and tolerance of a performance; or a label and a way to find it.
        reported: the project report's figure, on products that its model had seen; None where it has none.
        first: the figure of our first ResNet50, on unseen products; None where nobody measured it.
        reach: the target.
    """

    name: str
    where: tuple[Path, Scope, Feature, float] | tuple[str, str]
    reported: float | None
    first: float | None
    reach: float


_TYPES_500: Final = "types_500"

TARGETS: Final = (
    Target("all 10 of gender and articleType, types_500", ("inventory", _TYPES_500, "both", 0.0), 0.4703, 0.498, 0.57),
    Target("all 10 of the articleType, types_500", ("inventory", _TYPES_500, "articleType", 0.0), 0.6784, 0.695, 0.75),
    Target("all 10 of the gender, types_500", ("inventory", _TYPES_500, "gender", 0.0), 0.6367, 0.692, 0.74),
    Target("2 of 10 wrong allowed, both, types_500", ("inventory", _TYPES_500, "both", 0.2), 0.675, 0.678, 0.74),
    Target("all 10 of both, every type", ("inventory", "all", "both", 0.0), None, 0.42, 0.49),
    Target("all 10 of both, path `photograph`, types_500", ("photograph", _TYPES_500, "both", 0.0), 0.75, None, 0.82),
    Target("subCategory", ("subCategory", "service"), 0.8646, 0.951, 0.965),
    Target("articleType, best way", ("articleType", "best"), None, 0.841, 0.87),
    Target("gender, best way", ("gender", "best"), None, 0.907, 0.925),
    Target("derivedType, best way", ("derivedType", "best"), 0.75, 0.773, 0.81),
    Target("derivedType by candidates alone", ("derivedType", "candidates"), 0.75, 0.632, 0.73),
    Target("colour agreement at 10, every type", ("colour", "all"), None, 0.495, 0.56),
)
