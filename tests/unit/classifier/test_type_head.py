"""The article type by its head, whom it is for within it, and probabilities of both together."""

import numpy as np
import pytest
from numpy.typing import NDArray

from services.classifier.heads import LabelHead, no_head
from services.classifier.type_head import TypeHead, with_equal_say
from services.contract.values import Gender, parse_derived_type

_SIZE = 8
_TYPES = ("Women Tops", "Men Tshirts", "Women Tshirts", "Boys Tshirts", "Men Jeans")
_KINDS = tuple(map(parse_derived_type, _TYPES))


def _random(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _head(labels: tuple[str, ...], scale: float, seed: int) -> LabelHead:
    return LabelHead(labels, _random(len(labels), _SIZE, seed=seed), scale)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


TYPES = _head(_TYPES, 13.0, 1)
ARTICLES = _head(("Jeans", "Hats", "Tshirts", "Tops"), 20.0, 2)
HEAD = TypeHead.of(TYPES, _KINDS, ARTICLES)
QUERIES = _random(50, _SIZE, seed=3)


def test_a_probability_is_that_of_the_article_type_times_that_of_the_gender_within_it() -> None:
    similar, logarithms = HEAD.scores(QUERIES)
    assert HEAD.labels == tuple(sorted(_TYPES))
    articles = ["Jeans", "Tops", "Tshirts"]
    columns = [ARTICLES.labels.index(name) for name in articles]
    of_articles = _softmax(20.0 * QUERIES @ ARTICLES.weights[columns].T)
    logits = 13.0 * QUERIES @ TYPES.weights.T
    for place, label in enumerate(HEAD.labels):
        article = parse_derived_type(label)[1]
        beside = [row for row, (_, other) in enumerate(_KINDS) if other == article]
        within = _softmax(logits[:, beside])[:, beside.index(_TYPES.index(label))]
        expected = of_articles[:, articles.index(article)] * within
        assert np.exp(logarithms[:, place]) == pytest.approx(expected, abs=1e-5)
    assert np.exp(logarithms).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    # Similarity and probability agree on the order.
    assert (np.argsort(-similar, axis=1) == np.argsort(-logarithms, axis=1)).all()
    assert np.abs(similar).max() <= 1.0


def test_an_article_type_alone_is_known_where_nothing_else_of_it_is() -> None:
    # Of products whose gender is unknown; what the head of derived types never learned is none of its business.
    head = HEAD.only(["Tshirts", "Men Jeans", "Jeans", "Hats", "Kaftans"])
    assert head.kinds == ((Gender.MEN, "Jeans"), (None, "Tshirts"))
    assert [head.covers(label) for label in ("Tshirts", "Jeans", "Men Jeans", "Women Jeans", "Kaftans")] == [
        *(True, True, True),
        *(False, False),
    ]
    similar, logarithms = head.scores(QUERIES)
    articles = ARTICLES.weights[[0, 2]]
    assert similar == pytest.approx(QUERIES @ articles.T, abs=1e-5)
    assert np.exp(logarithms) == pytest.approx(_softmax(20.0 * QUERIES @ articles.T), abs=1e-5)
    assert head.only(["Tshirts"]).labels == ("Tshirts",)


def test_the_head_of_article_types_outvotes_that_of_derived_types() -> None:
    # Only the article types learned from people's photographs, whose gender nobody knows.
    shirt = ARTICLES.weights[[2]]
    certain = LabelHead(_TYPES, np.tile(-shirt, (5, 1)) * np.array([[-1], [1], [1], [1], [1]], np.float32), 13.0)
    _, logarithms = TypeHead.of(certain, _KINDS, ARTICLES).scores(shirt)
    best = TypeHead.of(certain, _KINDS, ARTICLES).labels[int(logarithms.argmax())]
    assert parse_derived_type(best)[1] == "Tshirts"
    _, alone = TypeHead.of(certain, _KINDS, no_head(_SIZE)).scores(shirt)
    assert TypeHead.of(certain, _KINDS, no_head(_SIZE)).labels[int(alone.argmax())] == "Women Tops"


def test_fewer_labels_share_the_whole_probability() -> None:
    some = HEAD.only({"Men Jeans", "Women Tops", "Nobody knows"})
    assert some.labels == ("Men Jeans", "Women Tops")
    _, logarithms = some.scores(QUERIES)
    assert np.exp(logarithms).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert HEAD.only(()).scores(QUERIES)[1].shape == (50, 0)


def test_without_a_head_of_their_article_types_derived_types_decide_alone() -> None:
    for articles in (no_head(_SIZE), _head(("Jeans", "Tops"), 20.0, 2)):
        similar, logarithms = TypeHead.of(TYPES, _KINDS, articles).scores(QUERIES)
        order = TYPES.alphabetical
        assert similar == pytest.approx(QUERIES @ TYPES.weights[order].T, abs=1e-6)
        assert np.exp(logarithms) == pytest.approx(_softmax(13.0 * QUERIES @ TYPES.weights[order].T), abs=1e-5)


def test_genders_have_an_equal_say() -> None:
    genders = _head(("Men", "Women", "Boys", "Girls"), 25.0, 4)
    both = with_equal_say(TYPES, _KINDS, genders)
    columns = [genders.labels.index(gender.value) for gender, _ in _KINDS]
    expected = (13.0 * QUERIES @ TYPES.weights.T + 25.0 * QUERIES @ genders.weights[columns].T) / 2
    assert both.scale * QUERIES @ both.weights.T == pytest.approx(expected, abs=1e-4)
    assert with_equal_say(TYPES, _KINDS, _head(("Men", "Women"), 25.0, 4)) is TYPES
    assert with_equal_say(TYPES, _KINDS, no_head(_SIZE)) is TYPES
