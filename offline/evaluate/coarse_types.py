"""The coarse types of products, and the article types that a label of a photograph may mean."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

BAGS: Final = "Bags"
_FILE: Final = Path(__file__).with_name("coarse_types.toml")


@dataclass(frozen=True, slots=True)
class CoarseTypes:
    """What counts as right for a photograph, as `coarse_types.toml` says and explains.

    Attributes:
        sub_categories: subCategory to coarse type.
        article_types: article type to coarse type, whatever the subCategory.
        labels: label of a photograph to article types.
    """

    sub_categories: Mapping[str, str]
    article_types: Mapping[str, str]
    labels: Mapping[str, frozenset[str]]

    @classmethod
    def load(cls) -> Self:
        """Reads `coarse_types.toml`."""
        tables = tomllib.loads(_FILE.read_text())
        labels = {label: frozenset(types) for label, types in tables["labels"].items()}
        return cls(tables["sub_categories"], tables["article_types"], labels)

    def coarse(self, sub_category: str, article_type: str | None = None) -> str:
        """Returns the coarse type of a product, or of a recognised subCategory."""
        of_sub_category = self.sub_categories.get(sub_category, sub_category)
        return of_sub_category if article_type is None else self.article_types.get(article_type, of_sub_category)

    def meant(self, label: str, article_type: str) -> frozenset[str]:
        """Returns the article types that a label may mean, the photograph's own among them."""
        return self.labels.get(label, frozenset()) | {article_type}
