"""The trained heads: cosines, softmax, and what belongs together."""

import numpy as np
import pytest

from services.classifier.subcategory import LabelHead, cosines, probabilities, ranking


def _head(labels: tuple[str, ...], *rows: list[float], scale: float = 10.0) -> LabelHead:
    return LabelHead(labels, np.array(rows, np.float32).reshape(len(labels), 2), scale)


_HEAD = _head(("Topwear", "Bottomwear", "Shoes"), [1, 0], [0, 1], [-1, 0])


def test_probabilities_are_the_softmax_of_scaled_cosines() -> None:
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
    found = cosines(np.array([[row, row]]), _head(("a",), [float(row), float(row)]))
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
