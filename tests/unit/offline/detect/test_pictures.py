"""What is read to learn garments from: which photographs, which of them are held out, and what is left out."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from offline.bundle import write_bundle
from offline.detect.pictures import SourcePictures, read_pictures
from services.bundle.reader import Bundle
from services.contract.errors import InvalidInput
from services.vision import Frame, Preprocessing
from tests.support.bars import TYPES, write_bars


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle that knows labels and a split; nothing runs its network."""
    return write_bundle(
        tmp_path / "bundle",
        name="untrained",
        preprocessing=Preprocessing(Frame(40, 32), "RGB", 1 / 127.5, (-2.0, -2.0, -2.0)),
        encoder={"kernel": np.zeros((2, 2), dtype=np.float32)},
        heads={"subCategory": np.random.default_rng(0).standard_normal((2048, 2)).astype(np.float32)},
        labels={"subCategory": tuple(TYPES)},
        logit_scale=20.0,
        metrics={},
        training={},
        split={"salt": "fashion-split-1", "fractions": {"train": 0.6, "validation": 0.4}},
    )


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    return write_bars(tmp_path / "studio", 60, (255, 255, 255), 1)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return write_bars(tmp_path / "people", 20, (90, 120, 60), 1001)


def read(bundle: Bundle, studio: Path, people: Path) -> SourcePictures:
    return read_pictures(bundle, studio, people, products=9000, seed=1)


def counts(pictures: SourcePictures) -> tuple[int, int, int, int]:
    learned, held_out = pictures.learned, pictures.held_out
    return len(learned.studio), len(learned.photographs), len(held_out.studio), len(held_out.photographs)


def test_what_is_held_out_is_what_training_held_out(bundle: Bundle, studio: Path, people: Path) -> None:
    parts = {str(number): "validation" if number > 53 else "train" for number in range(1, 61)}
    (studio / "parts.json").write_text(json.dumps(parts))
    shots, photographs, unseen_shots, unseen = counts(read(bundle, studio, people))
    assert (shots, unseen_shots, photographs + unseen) == (53, 7, 20)
    (studio / "parts.json").write_text(json.dumps(dict.fromkeys(parts, "train")))
    with pytest.raises(InvalidInput, match="validation part is empty"):
        read(bundle, studio, people)


def test_the_digest_changes_with_pictures_labels_and_senders(bundle: Bundle, studio: Path, people: Path) -> None:
    digests = [read(bundle, studio, people).digest]
    assert read(bundle, studio, people).digest == digests[0]
    shutil.copy(studio / "images" / "2.jpg", studio / "images" / "1.jpg")
    digests.append(read(bundle, studio, people).digest)
    table = (studio / "styles.csv").read_text()
    (studio / "styles.csv").write_text(table.replace("Topwear,Tshirts", "Bags,Tshirts", 1))
    digests.append(read(bundle, studio, people).digest)
    labels = (people / "labels.csv").read_text()
    # Of sender 3, photographs are held out.
    (people / "labels.csv").write_text(labels.replace("1001,1,", "1001,3,"))
    digests.append(read(bundle, studio, people).digest)
    assert len(set(digests)) == len(digests)


def test_photographs_that_cannot_be_read_are_left_out_and_named(bundle: Bundle, studio: Path, people: Path) -> None:
    whole = counts(read(bundle, studio, people))
    for photograph in (studio / "images" / "1.jpg", people / "images" / "1002.jpg"):
        content = photograph.read_bytes()
        photograph.write_bytes(content[: len(content) // 2])
    pictures = read(bundle, studio, people)
    assert [product_id for product_id, _ in pictures.unreadable] == ["1", "1002"]
    assert all("JPEG" in reason for _, reason in pictures.unreadable)
    assert sum(counts(pictures)) == sum(whole) - 2
    for folder in (studio, people):
        for photograph in (folder / "images").iterdir():
            photograph.write_bytes(b"no picture")
        with pytest.raises(InvalidInput, match="nothing to learn"):
            read(bundle, studio, people)


def test_large_photographs_are_kept_at_a_few_times_the_input(bundle: Bundle, tmp_path: Path) -> None:
    studio = write_bars(tmp_path / "large shots", 60, (255, 255, 255), 1, size=(600, 800))
    people = write_bars(tmp_path / "large photographs", 20, (90, 120, 60), 1001, size=(600, 800))
    pictures = read(bundle, studio, people)
    for material in (pictures.learned, pictures.held_out):
        assert {shot.size for shot in material.studio} == {(96, 128)}
        assert {photograph.size for photograph in material.photographs} == {(160, 213)}
