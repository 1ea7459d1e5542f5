"""How heads decide is chosen by what finds the most labels of products that nothing was learned from."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from offline.bundle import describe, write_bundle
from offline.dataset.row import Row
from offline.train.data import right_labels
from offline.train.decisions import Known, accuracy, calibrate, calibration_error, choose, described, right_share
from services.bundle.reader import Bundle
from services.classifier.heads import load_head, most_similar
from services.vision import Frame, Preprocessing

LABELS = {"derivedType": ("Men Shirts", "Women Shirts"), "articleType": ("Shirts",), "gender": ("Men", "Women")}


def row(number: int, gender: str) -> Row:
    return Row(str(number), gender, "Apparel", "Topwear", "Shirts", None, None, None, None, None)


def bundle(folder: Path) -> Bundle:
    directions = np.eye(4, dtype=np.float32)
    return write_bundle(
        folder,
        name="small",
        preprocessing=Preprocessing(Frame(80, 60), "RGB", 1 / 127.5, (-2.0, -2.0, -2.0)),
        encoder={"conv1_conv/kernel": np.zeros((7, 7, 3, 4), np.float32)},
        heads={
            "derivedType": directions[:, :2],
            "articleType": directions[:, 3:],
            "gender": directions[:, 2:],
        },
        labels=LABELS,
        logit_scale=20.0,
        metrics={},
        training={},
        split={},
    )


def towards(*directions: float) -> list[float]:
    return (np.array(directions) / np.linalg.norm(directions)).tolist()


def test_rarity_counts_where_that_finds_more(tmp_path: Path) -> None:
    # Most that looks a little more like a rare thing is a frequent one.
    embeddings = np.array([towards(1, 1.05, 0, 0)] * 9 + [towards(0, 1, 0, 0)], dtype=np.float32)
    validation = [row(i, "Men") for i in range(9)] + [row(9, "Women")]
    train = [row(i, "Men") for i in range(50)] + [row(i, "Women") for i in range(50, 55)]
    model = bundle(tmp_path)
    assert accuracy(embeddings, load_head(model, "derivedType"), validation, "derivedType") == 0.1
    chosen = choose(model, embeddings, validation, train)
    assert chosen["derivedType"]["prior"] > 0 and chosen["derivedType"]["products"] == (50, 5)
    model = describe(tmp_path, heads=chosen)
    assert accuracy(embeddings, load_head(model, "derivedType"), validation, "derivedType") == 1.0
    assert "derivedType with" in described(model.settings)


def test_the_other_heads_count_where_they_know_better(tmp_path: Path) -> None:
    # The head of genders, whose directions are the last two, tells them apart; that of derived types does not.
    embeddings = np.array([towards(0, 0.1, 1, 0), towards(0.1, 0, 0, 1)] * 5, dtype=np.float32)
    validation = [row(i, "Women" if i % 2 else "Men") for i in range(10)]
    chosen = choose(bundle(tmp_path), embeddings, validation, validation)
    assert chosen["derivedType"]["shares"]["gender"] > 0
    assert chosen["derivedType"]["prior"] == 0


def test_nothing_is_chosen_that_changes_nothing(tmp_path: Path) -> None:
    embeddings = np.array([towards(1, 0, 1, 0), towards(0, 1, 0, 1)] * 5, dtype=np.float32)
    validation = [row(i, "Women" if i % 2 else "Men") for i in range(10)]
    chosen = choose(bundle(tmp_path), embeddings, validation, validation)
    assert {name: (entry["prior"], entry["shares"]) for name, entry in chosen.items()} == dict.fromkeys(
        LABELS, (0.0, {})
    )
    assert described(describe(tmp_path, heads=chosen).settings) == ""


def test_probabilities_become_as_frequent_as_they_say_and_no_answer_changes(tmp_path: Path) -> None:
    # Two in three of those that look a little more like the rare type are of the frequent one.
    embeddings = np.array([towards(0, 1, 0, 0), towards(1, 1.1, 0, 0)] * 300, dtype=np.float32)
    rows = [row(i, "Men" if i % 6 in (1, 3) else "Women") for i in range(600)]
    known = Known(embeddings, right_labels(rows, LABELS))
    train = [row(i, "Men" if i % 6 else "Women") for i in range(60)]
    model = bundle(tmp_path)
    model = describe(tmp_path, heads=choose(model, embeddings, rows, train))
    before = load_head(model, "derivedType")
    assert model.settings["derivedType"].prior > 0
    calibrated = calibrate(model, [known])
    after = load_head(describe(tmp_path, heads=calibrated), "derivedType")
    errors = [calibration_error(head, "derivedType", known) for head in (before, after)]
    assert errors[1] < 0.7 * errors[0]
    assert most_similar(embeddings, after) == most_similar(embeddings, before)
    few = Known(embeddings[:50], right_labels(rows[:50], LABELS))
    assert calibrate(model, [few]) == {}, "too few to choose by"
    strangers = Known(embeddings, right_labels([replace(each, gender="Unisex") for each in rows], LABELS))
    assert calibrate(model, [strangers]).keys() == {"articleType"}, "the other heads know none of the labels"


def test_a_head_that_is_right_nine_times_in_ten_says_so(tmp_path: Path) -> None:
    embeddings = np.array([towards(0, 0, 1, 1.3)] * 400, dtype=np.float32)
    rows = [row(i, "Women" if i % 10 else "Men") for i in range(400)]
    known = Known(embeddings, right_labels(rows, LABELS))
    model = bundle(tmp_path)
    assert calibration_error(load_head(model, "gender"), "gender", known) > 0.05
    model = describe(tmp_path, heads=calibrate(model, [known]))
    assert calibration_error(load_head(model, "gender"), "gender", known) < 0.01
    assert right_share(load_head(model, "gender"), "gender", known) == 0.9
