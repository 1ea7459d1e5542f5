"""How the heads of a trained bundle decide best, measured on products and photographs that nothing was learned from."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from offline.dataset.row import Row
from offline.measure.calibration import expected_calibration_error, reliability
from offline.train.data import label_of
from services.bundle.reader import Bundle, HeadSettings
from services.classifier.heads import (
    ARTICLE_TYPE,
    DERIVED_TYPE,
    GENDER,
    LabelHead,
    load_head,
    most_similar,
    probabilities,
    similarities,
)

_PRIORS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
_SHARES: Final = (0.0, 0.5, 1.0)
# What takes the place of the head alone has to be this many standard errors better: the best of many settings is a
# little better by chance.
_SIGNIFICANT: Final = 2.0
# By what a head's scale may be multiplied.
_FACTORS: Final = np.geomspace(0.25, 4.0, 121)
# With fewer known labels the scale of training stays.
_MIN_CALIBRATED: Final = 100
_MIN_PROBABILITY: Final = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Pictures that nothing was learned from, with their right labels.

    Attributes:
        embeddings: float32 (n, dimension), L2-normalised.
        labels: bool (n, labels) by head: the labels that are right; none of them if nothing is known.
    """

    embeddings: NDArray[np.float32]
    labels: Mapping[str, NDArray[np.bool_]]

    def of(self, head: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Returns the embeddings and right labels of those pictures of which a head's label is known."""
        known = self.labels[head].any(axis=1)
        return self.embeddings[known], self.labels[head][known]


def calibrate(bundle: Bundle, pictures: Sequence[Known]) -> dict[str, dict[str, float]]:
    """Finds the scale of each head whose probabilities are the likeliest (Guo et al. 2017, temperature scaling).

    No answer changes: the prior grows with the scale.

    Args:
        bundle: the bundle, with what `choose` has chosen.
        pictures: studio shots, people's photographs; each kind counts as much as the other.

    Returns:
        Scale and prior by head, without the heads of which too few labels are known.
    """
    calibrated = {}
    for name, settings in bundle.settings.items():
        head = load_head(bundle, name)
        kinds = [(embeddings, right) for kind in pictures for embeddings, right in (kind.of(name),) if len(right)]
        if sum(len(right) for _, right in kinds) < _MIN_CALIBRATED:
            continue
        losses = [
            np.mean([_unlikeliness(replace(head, scale=factor * head.scale), *kind) for kind in kinds])
            for factor in _FACTORS.tolist()
        ]
        factor = float(_FACTORS[int(np.argmin(losses))])
        calibrated[name] = {"scale": settings.scale * factor, "prior": settings.prior * factor}
    return calibrated


def _unlikeliness(head: LabelHead, embeddings: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    shares = (probabilities(embeddings, head) * right).sum(axis=1)
    return float(-np.log(np.maximum(shares, _MIN_PROBABILITY)).mean())


def right_share(head: LabelHead, name: str, pictures: Known) -> float:
    """Returns the share of pictures with a known label that a head labels rightly; 0 if there are none."""
    embeddings, right = pictures.of(name)
    if not len(right):
        return 0.0
    answers = similarities(embeddings, head).argmax(axis=1)
    return round(float(right[np.arange(len(right)), answers].mean()), 4)


def calibration_error(head: LabelHead, name: str, pictures: Known) -> float:
    """Returns the expected calibration error of a head's answers, in [0, 1]."""
    embeddings, right = pictures.of(name)
    shares = probabilities(embeddings, head)
    answers = shares.argmax(axis=1)
    rows = np.arange(len(right))
    return round(expected_calibration_error(reliability(shares[rows, answers], right[rows, answers])), 4)


def choose(
    bundle: Bundle, embeddings: NDArray[np.float32], validation: Sequence[Row], train: Sequence[Row]
) -> dict[str, dict[str, Any]]:
    """Chooses how much rarity, and for derived types the heads of article type and gender, count.

    Args:
        bundle: just trained.
        embeddings: float32, shape (n, dimension), L2-normalised, of the validation part.
        validation: its n products.
        train: the products that were learned from.

    Returns:
        For each head its settings in `bundle.json`: those that find the most labels, the smallest of equals, if they
        find significantly more than its own directions alone.
    """
    chosen = {}
    for name, labels in bundle.labels.items():
        counts = Counter(label_of(row, name) for row in train)
        products = tuple(counts[label] for label in labels)
        shares = _SHARES if name == DERIVED_TYPE and {ARTICLE_TYPE, GENDER} <= bundle.labels.keys() else (0.0,)
        alone = best = HeadSettings(bundle.settings[name].scale, {}, products, 0.0)
        right_alone = right = _right(embeddings, bundle, name, alone, validation)
        for share, prior in product(shares, _PRIORS):
            others = {other: share for other in (ARTICLE_TYPE, GENDER) if share}
            settings = HeadSettings(bundle.settings[name].scale, others, products, prior)
            hits = _right(embeddings, bundle, name, settings, validation)
            if hits.sum() > right.sum():
                best, right = settings, hits
        gain = right.astype(np.float64) - right_alone
        significant = gain.sum() > _SIGNIFICANT * gain.std() * np.sqrt(len(gain))
        chosen[name] = asdict(best if significant else alone)
    return chosen


def _right(
    embeddings: NDArray[np.float32], bundle: Bundle, name: str, settings: HeadSettings, rows: Sequence[Row]
) -> NDArray[np.bool_]:
    head = load_head(replace(bundle, settings={**bundle.settings, name: settings}), name)
    return right_labels(embeddings, head, rows, name)


def accuracy(embeddings: NDArray[np.float32], head: LabelHead, rows: Sequence[Row], name: str) -> float:
    """Returns the share of the products with a label whose label the head finds; 0 if none has one."""
    right = right_labels(embeddings, head, rows, name)
    return float(right.mean()) if right.size else 0.0


def right_labels(embeddings: NDArray[np.float32], head: LabelHead, rows: Sequence[Row], name: str) -> NDArray[np.bool_]:
    """Tells of each product with a label whether the head finds it: bool, shape (at most n,).

    Args:
        embeddings: float32, shape (n, dimension), L2-normalised, of the products.
        head: the head that decides.
        rows: the n products.
        name: its name.
    """
    labels = [label_of(row, name) for row in rows]
    answers = most_similar(embeddings, head)
    pairs = zip(answers, labels, strict=True)
    return np.array([answer == label for answer, label in pairs if label is not None], dtype=np.bool_)


def described(settings: Mapping[str, HeadSettings]) -> str:
    """Describes the heads that do not decide by their own directions alone; empty if all do."""
    parts = []
    for name, chosen in settings.items():
        others = [f"{share:g} of {other}" for other, share in chosen.shares.items()]
        if chosen.prior:
            others.append(f"{chosen.prior:g} of the logarithm of how many products of a label were learned from")
        if others:
            parts.append(f"{name} with {' and '.join(others)}")
    return "; ".join(parts)
