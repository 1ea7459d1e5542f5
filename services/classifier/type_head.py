"""Decides between derived types: the article type by its head, whom it is for within the article type."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.classifier import heads
from services.classifier.heads import LabelHead
from services.contract.values import Gender


@dataclass(frozen=True, slots=True, eq=False)
class TypeHead:
    """The heads of derived types and article types, restricted to some derived types.

    The probability of "Men Tshirts" is that of "Tshirts", times that of "Men Tshirts" among all "Tshirts". Many
    photographs have a known article type and an unknown gender, so that only the head of article types learned from
    them. Without a head of article types, the head of derived types decides alone.

    Attributes:
        types: the head of c derived types, its labels in alphabetical order, which decides between equals.
        kinds: shape (c,), gender and article type of each.
        articles: the head of article types; without labels, or without one of theirs, it does not count.
        groups: int64, shape (c,), equal where the article type is.
    """

    types: LabelHead
    kinds: tuple[tuple[Gender | None, str], ...]
    articles: LabelHead
    groups: NDArray[np.int64] = field(init=False)
    _order: NDArray[np.int64] = field(init=False)
    _starts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """Prepares sums by article type, which need the derived types of one side by side."""
        names = sorted({article for _, article in self.kinds})
        counts = bool(names) and all(name in self.articles.columns for name in names)
        places = [self.articles.columns[name] for name in names] if counts else []
        position = {name: place for place, name in enumerate(names)}
        groups = np.array([position[article] for _, article in self.kinds], dtype=np.int64)
        order = np.argsort(groups, kind="stable")
        object.__setattr__(self, "articles", self.articles.only(places))
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_starts", np.unique(groups[order], return_index=True)[1])

    @property
    def labels(self) -> tuple[str, ...]:
        """Shape (c,), the derived types."""
        return self.types.labels

    @classmethod
    def of(cls, types: LabelHead, kinds: Sequence[tuple[Gender | None, str]], articles: LabelHead) -> Self:
        """Puts heads together.

        Args:
            types: the head of derived types.
            kinds: gender and article type of each label of `types`.
            articles: the head of article types.
        """
        order = types.alphabetical.tolist()
        return cls(types.only(order), tuple(kinds[place] for place in order), articles)

    def only(self, labels: Collection[str]) -> Self:
        """Returns the same of some labels; one that is not known is no error.

        An article type alone is the label of products whose gender is unknown. It is known where the head of article
        types knows it, and none of its derived types is among the labels: it would always win against these.
        """
        places = [place for place, label in enumerate(self.labels) if label in labels]
        covered = {self.kinds[place][1] for place in places}
        alone = [label for label in self.articles.labels if label in labels and label not in covered]
        rows = [self.articles.columns[label] for label in alone]
        types = self.types.only(places)
        if alone:
            # Alone in its article type, its own direction does not count.
            types = LabelHead(
                (*types.labels, *alone),
                np.concatenate([types.weights, self.articles.weights[rows]]),
                types.scale,
                np.concatenate([types.handicap, self.articles.handicap[rows]]),
            )
        kinds = [*(self.kinds[place] for place in places), *((None, label) for label in alone)]
        return type(self).of(types, kinds, self.articles)

    def covers(self, label: str) -> bool:
        """Tells whether a derived type is recognised: by itself, or as the article type of others."""
        return label in self.types.columns or label in self.articles.columns

    def scores(self, embeddings: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Computes similarities and the logarithms of probabilities; both have the same order.

        A similarity is that to the direction of the article type, less what speaks against the gender. Without a head
        of article types, it is that to the direction of the derived type.

        Args:
            embeddings: float32, shape (n, dimension), L2-normalised rows.

        Returns:
            Similarities, float32, shape (n, c), in [-1, 1]; logarithms, float32, shape (n, c), at most 0.
        """
        similar = heads.similarities(embeddings, self.types)
        logits = self.types.scale * similar
        if not self.articles.labels:
            return similar, heads.log_softmax(logits)
        of_articles = heads.similarities(embeddings, self.articles)
        within = logits - self._log_sums(logits)
        probable = heads.log_softmax(self.articles.scale * of_articles)[:, self.groups] + within
        similar = of_articles[:, self.groups] + within / np.float32(self.articles.scale)
        return np.clip(similar, -1.0, 1.0), probable

    def _log_sums(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns for each column the logarithm of the summed powers of all columns of its article type."""
        ordered = logits[:, self._order]
        highest = np.maximum.reduceat(ordered, self._starts, axis=1)
        powers = np.exp(logits - highest[:, self.groups])[:, self._order]
        sums: NDArray[np.float32] = highest + np.log(np.add.reduceat(powers, self._starts, axis=1))
        return sums[:, self.groups]


def with_equal_say(types: LabelHead, kinds: Sequence[tuple[Gender | None, str]], genders: LabelHead) -> LabelHead:
    """Returns a head whose logits are the means of those of derived types and of their genders.

    Args:
        types: the head of derived types.
        kinds: gender and article type of each label of `types`.
        genders: the head of genders; one without labels, or without one of these genders, changes nothing.
    """
    columns = [genders.columns.get(gender.value, -1) if gender else -1 for gender, _ in kinds]
    if min(columns, default=-1) < 0:
        return types
    total = types.scale + genders.scale
    share = types.scale / total
    return LabelHead(
        types.labels,
        (share * types.weights + (1 - share) * genders.weights[columns]).astype(np.float32),
        total / 2,
        (share * types.handicap + (1 - share) * genders.handicap[columns]).astype(np.float32),
    )
