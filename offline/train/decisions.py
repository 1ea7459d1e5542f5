"""How a trained bundle's heads decide best: measured on the validation part, which nothing was learned from."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from offline.dataset.rows import Row
from offline.measure.calibration import expected_calibration_error, reliability
from offline.train.data import label_of
from services.bundle.reader import Bundle, HeadSettings
from services.classifier.heads import (
    ARTICLE_TYPE,
    DERIVED_TYPE,
    GENDER,
    LabelHead,
    load_head,
    log_softmax,
    most_similar,
    probabilities,
    similarities,
)

_PRIORS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
_SHARES: Final = (0.0, 0.5, 1.0)
# So many standard errors better than the head alone has to be what takes its place: many settings are tried, and the
# best of them is a little better by chance.
_SIGNIFICANT: Final = 2.0
# By what a head's scale may be multiplied.
_FACTORS: Final = np.geomspace(0.25, 4.0, 121)
# With fewer known labels the scale of training stays.
_MIN_CALIBRATED: Final = 100


def choose(
    bundle: Bundle, embeddings: NDArray[np.float32], validation: Sequence[Row], train: Sequence[Row]
) -> dict[str, dict[str, Any]]:
    """Tries how much rarity, and for derived types the heads of article type and gender, should count.

    Args:
        bundle: just trained.
        embeddings: float32, shape (n, dimension), L2-normalised, of the validation part.
        validation: its n products.
        train: the products that were learned from.

    Returns:
        For each head what `bundle.json` is to say of it: what finds the most labels, the smallest of equals, where that
        is significantly more than its own directions find alone.
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
            found = _right(embeddings, bundle, name, settings, validation)
            if found.sum() > right.sum():
                best, right = settings, found
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
    """Share of the products with a label whose label the head finds; 0 where none has one."""
    right = right_labels(embeddings, head, rows, name)
    return float(right.mean()) if right.size else 0.0


def right_labels(embeddings: NDArray[np.float32], head: LabelHead, rows: Sequence[Row], name: str) -> NDArray[np.bool_]:
    """Whether the head finds the label, of each product that has one: bool, shape (at most n,).

    Args:
        embeddings: float32, shape (n, dimension), L2-normalised, of the products.
        head: that decides.
        rows: the n products.
        name: of the head.
    """
    labels = [label_of(row, name) for row in rows]
    answers = most_similar(embeddings, head)
    pairs = zip(answers, labels, strict=True)
    return np.array([answer == label for answer, label in pairs if label is not None], dtype=np.bool_)


def calibrate(bundle: Bundle, embeddings: NDArray[np.float32], rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Finds the scale of each head whose probabilities are the likeliest (Guo et al. 2017, temperature scaling).

    No answer changes: the prior grows with the scale.

    Args:
        bundle: the bundle, with what `choose` has chosen.
        embeddings: float32, shape (n, dimension), L2-normalised, of products that nothing was learned from.
        rows: the n products.

    Returns:
        Scale and prior by head, without the heads that know the labels of too few of the products.
    """
    calibrated = {}
    for name, settings in bundle.settings.items():
        head = load_head(bundle, name)
        columns = np.array([head.columns.get(label_of(row, name) or "", -1) for row in rows], dtype=np.int64)
        known = np.flatnonzero(columns >= 0)
        if len(known) < _MIN_CALIBRATED:
            continue
        logits = head.scale * similarities(embeddings[known], head)
        places = np.arange(len(known)), columns[known]
        likelihoods = [float(log_softmax(factor * logits)[places].mean()) for factor in _FACTORS.tolist()]
        factor = float(_FACTORS[int(np.argmax(likelihoods))])
        calibrated[name] = {"scale": settings.scale * factor, "prior": settings.prior * factor}
    return calibrated


def calibration_error(embeddings: NDArray[np.float32], head: LabelHead, rows: Sequence[Row], name: str) -> float:
    """Returns the expected calibration error of a head on the products that have a label, in [0, 1].

    Args:
        embeddings: float32, shape (n, dimension), L2-normalised, of the products.
        head: the head.
        rows: the n products.
        name: the head's name.
    """
    labelled = np.array([label_of(row, name) is not None for row in rows], dtype=np.bool_)
    shares = probabilities(embeddings[labelled], head).max(axis=1)
    return expected_calibration_error(reliability(shares, right_labels(embeddings, head, rows, name)))


def said(settings: Mapping[str, HeadSettings]) -> str:
    """The same for people, of the heads that do not decide by their own directions alone; empty where all do."""
    parts = []
    for name, chosen in settings.items():
        others = [f"{share:g} of {other}" for other, share in chosen.shares.items()]
        if chosen.prior:
            others.append(f"{chosen.prior:g} of the logarithm of how many products of a label were learned from")
        if others:
            parts.append(f"{name} with {' and '.join(others)}")
    return "; ".join(parts)
