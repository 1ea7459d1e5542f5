"""The plots of an evaluation: what is drawn can be read, however many labels there are."""

from pathlib import Path

import numpy as np
from PIL import Image

from offline.evaluate.plots import _by_frequency, draw_confusion


def test_the_labels_with_most_queries_come_first() -> None:
    counts, names = _by_frequency(np.array([[1, 0, 0], [0, 2, 3], [4, 0, 0]]), ["rare", "often", "between"])

    assert names == ["often", "between", "rare"]
    assert counts.tolist() == [[2, 3, 0], [0, 0, 4], [0, 0, 1]]


def test_the_rarest_of_many_labels_are_taken_together_and_no_query_is_lost() -> None:
    random = np.random.default_rng(0)
    confusion = random.integers(0, 9, (300, 300))
    labels = [f"label {at:03d}" for at in range(300)]

    counts, names = _by_frequency(confusion, labels)

    assert len(names) == 60
    assert names[-1] == "(241 others)"
    assert counts.sum() == confusion.sum()
    most = int(confusion.sum(axis=1).argmax())
    assert names[0] == labels[most]
    assert counts[0].sum() == confusion[most].sum()


def test_a_matrix_of_many_labels_stays_a_picture_that_opens(tmp_path: Path) -> None:
    confusion = np.eye(200, dtype=np.int64)

    draw_confusion(confusion, [f"label {at}" for at in range(200)], "title", tmp_path / "new/confusion.png")

    with Image.open(tmp_path / "new/confusion.png") as picture:
        assert max(picture.size) < 3000
