"""The figures of the project report that ours are shown beside; its queries had been seen in training."""

from collections.abc import Mapping
from typing import Final, Literal

Path = Literal["inventory", "photograph"]
Scope = Literal["all", "types_500"]
Feature = Literal["articleType", "gender", "both"]

# Share of queries whose ten results hold at most tolerance x 10 wrong ones.
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
