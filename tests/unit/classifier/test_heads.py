"""The trained heads: similarities, softmax, shares of other heads, and checks of their parts."""

from pathlib import Path

import numpy as np
import pytest

from offline.bundle import describe, write_bundle
from services.bundle.reader import Bundle
from services.classifier.heads import LabelHead, load_head, probabilities, ranking, similarities
from services.vision import Frame, Preprocessing


def _head(labels: tuple[str, ...], *rows: list[float], scale: float = 10.0) -> LabelHead:
    return LabelHead(labels, np.array(rows, np.float32).reshape(len(labels), 2), scale)


_HEAD = _head(("Topwear", "Bottomwear", "Shoes"), [1, 0], [0, 1], [-1, 0])


def test_probabilities_are_the_softmax_of_scaled_similarities() -> None:
    embeddings = np.array([[0.6, 0.8], [0.0, -1.0]], np.float32)
    logits = 10 * np.array([[0.6, 0.8, -0.6], [0.0, -1.0, 0.0]])
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = probabilities(embeddings, _HEAD)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_large_scale_does_not_overflow() -> None:
    found = probabilities(np.array([[1.0, 0.0]], np.float32), _head(("a", "b"), [1, 0], [-1, 0], scale=1e4))
    assert found.tolist() == [[1.0, 0.0]]


def test_rounding_does_not_leave_the_range() -> None:
    row = np.float32(0.70710683)
    found = similarities(np.array([[row, row]]), _head(("a",), [float(row), float(row)]))
    assert float(row * row + row * row) > 1 and found.tolist() == [[1.0]]


def test_equal_values_are_ranked_by_label() -> None:
    values = np.array([[0.1, 0.5, 0.5], [0.3, 0.3, 0.3]], np.float32)
    order = ranking(values, _HEAD)
    assert [[_HEAD.labels[column] for column in row] for row in order] == [
        ["Bottomwear", "Shoes", "Topwear"],
        ["Bottomwear", "Shoes", "Topwear"],
    ]


def test_a_bundle_without_a_head_has_no_labels() -> None:
    nothing = _head(())
    found = probabilities(np.ones((3, 2), np.float32), nothing)
    assert found.shape == (3, 0) and ranking(found, nothing).shape == (3, 0)


@pytest.mark.parametrize(
    ("labels", "weights", "scale"),
    [
        (("a",), np.zeros((2, 2)), 1.0),
        (("a", "a"), np.zeros((2, 2)), 1.0),
        (("a",), np.zeros(2), 1.0),
        (("a",), np.zeros((1, 2)), 0.0),
        (("a",), np.zeros((1, 2)), float("nan")),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    labels: tuple[str, ...], weights: np.ndarray, scale: float
) -> None:
    with pytest.raises(ValueError):
        LabelHead(labels, weights.astype(np.float32), scale)


@pytest.mark.parametrize("handicap", [[0.1], [0.1, -0.1], [0.1, float("nan")]])
def test_handicaps_fit_the_labels(handicap: list[float]) -> None:
    with pytest.raises(ValueError, match="handicaps"):
        LabelHead(("a", "b"), np.zeros((2, 2), np.float32), 1.0, np.array(handicap, np.float32))


def test_a_handicap_counts_in_similarity_and_probability() -> None:
    rare = LabelHead(("a", "b"), np.eye(2, dtype=np.float32), 10.0, np.array([0.0, 0.3], np.float32))
    embedding = np.array([[0.6, 0.8]], np.float32)
    np.testing.assert_allclose(similarities(embedding, rare), [[0.6, 0.5]], rtol=1e-6)
    assert probabilities(embedding, rare)[0, 0] == pytest.approx(1 / (1 + np.exp(-1.0)), rel=1e-5)
    assert rare.only([1]).handicap.tolist() == pytest.approx([0.3])


_KINDS = ("Men Shirts", "Women Shirts", "Women Shoes")


def _bundle(folder: Path, **derived_type: object) -> Bundle:
    random = np.random.default_rng(5)
    labels = {"derivedType": _KINDS, "articleType": ("Shirts", "Shoes"), "gender": ("Men", "Women")}
    write_bundle(
        folder,
        name="small",
        preprocessing=Preprocessing(Frame(80, 60), "RGB", 1 / 127.5, (-2.0, -2.0, -2.0)),
        encoder={"conv1_conv/kernel": np.zeros((7, 7, 3, 4), np.float32)},
        heads={head: random.standard_normal((16, len(names))).astype(np.float32) for head, names in labels.items()},
        labels=labels,
        logit_scale=20.0,
        metrics={},
        training={},
        split={},
    )
    return describe(folder, heads={"derivedType": derived_type})


def test_a_head_decides_along_with_others_and_knows_what_is_rare(tmp_path: Path) -> None:
    products = (1000, 10, 0)
    bundle = _bundle(tmp_path, shares={"articleType": 1.0, "gender": 0.5}, prior=1.5, products=products)
    head = load_head(bundle, "derivedType")
    embedding = np.random.default_rng(6).standard_normal((1, 16)).astype(np.float32)
    embedding /= np.linalg.norm(embedding)
    raw = {name: 20.0 * embedding[0] @ bundle.head(name).weights.T for name in bundle.labels}
    # A label without products counts like a label of one.
    expected = raw["derivedType"] + raw["articleType"][[0, 0, 1]] + 0.5 * raw["gender"][[0, 1, 1]]
    expected = expected + 1.5 * np.log(np.array([1000.0, 10.0, 1.0]))
    np.testing.assert_allclose(probabilities(embedding, head)[0], np.exp(expected) / np.exp(expected).sum(), rtol=1e-3)
    assert head.handicap[0] == 0 and (np.linalg.norm(head.weights, axis=1) <= 1 + 1e-6).all()


def test_a_head_of_which_nothing_is_said_decides_by_its_directions(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path)
    head = load_head(bundle, "derivedType")
    np.testing.assert_array_equal(head.weights, bundle.head("derivedType").weights)
    assert (head.scale, head.handicap.any()) == (20.0, False)
    assert load_head(bundle, "season").labels == ()
