"""The training of the garment heads, whole, on a few drawn pictures and a network of random weights."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from offline.bundle import write_bundle
from services.bundle.reader import load_bundle
from services.embedder.garment_heads import GarmentHeads
from services.vision import Frame, Preprocessing
from tests.support.bars import TYPES, write_bars
from tests.support.random_resnet import HEIGHT, WIDTH, random_weights

pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    folder = tmp_path_factory.mktemp("garments")
    write_bundle(
        folder / "bundle",
        name="random",
        preprocessing=Preprocessing(Frame(HEIGHT, WIDTH), "RGB", 1 / 127.5, (-2.0, -2.0, -2.0)),
        encoder=random_weights(),
        heads={"subCategory": np.random.default_rng(0).standard_normal((2048, 2)).astype(np.float32)},
        labels={"subCategory": tuple(TYPES)},
        logit_scale=20.0,
        metrics={},
        training={},
        split={"salt": "fashion-split-1", "fractions": {"train": 0.6, "validation": 0.4}},
    )
    studio = write_bars(folder / "studio", 60, (255, 255, 255), 1)
    return folder / "bundle", studio, write_bars(folder / "people", 20, (90, 120, 60), 1001)


def test_no_pictures_with_boxes_give_a_turn_head_alone(material: tuple[Path, Path, Path], tmp_path: Path) -> None:
    from offline.detect.training import Recipe, train_garment_heads

    bundle = Path(shutil.copytree(material[0], tmp_path / "bundle"))
    recipe = Recipe(30, garment_examples=0, turn_examples=32, turn_passes=1, chunk=32)

    heads = GarmentHeads.of(train_garment_heads(bundle, *material[1:], tmp_path, recipe=recipe, say=print))

    assert heads is not None and not heads.finds_garments and "turn" in heads.weights


def test_it_writes_heads_goes_on_where_it_stopped_and_gives_the_same_again(
    material: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    from offline.detect.training import Recipe, train_garment_heads

    bundle, studio, people = material
    before = load_bundle(bundle)
    recipe = Recipe(30, garment_examples=96, turn_examples=64, garment_passes=1, turn_passes=1, chunk=32)
    lines: list[str] = []

    first = train_garment_heads(bundle, studio, people, tmp_path, recipe=recipe, say=lines.append)
    kept = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.npz")}
    second = train_garment_heads(bundle, studio, people, tmp_path, recipe=recipe, say=lines.append)

    assert len(kept) == 6
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.npz")} == kept
    assert first.model_version == second.model_version == before.model_version
    assert first.description["garments"]["version"] == second.description["garments"]["version"]
    assert first.description["files"]["encoder.safetensors"] == before.description["files"]["encoder.safetensors"]
    heads = GarmentHeads.of(first)
    assert heads is not None and heads.labels == tuple(TYPES)
    figures = first.description["garments"]["figures"]
    assert figures["false_turns"] <= 0.001 and 0 <= figures["recall"] <= 1
    assert any("pictures with boxes" in line for line in lines)


class Stop(Exception):
    """Ends a training before its first features."""


def test_features_of_other_data_are_not_taken_for_its_own(
    material: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from offline.detect import training

    bundle, studio, people = material
    places: list[Path] = []

    def features(file: Path, *_: object) -> None:
        places.append(file.parent)
        raise Stop

    monkeypatch.setattr(training, "_features", features)
    other = Path(shutil.copytree(studio, tmp_path / "studio"))
    Image.new("RGB", (60, 80), "red").save(other / "images" / "1.jpg")
    for dataset in (studio, studio, other):
        with pytest.raises(Stop):
            training.train_garment_heads(bundle, dataset, people, tmp_path / "run", say=print)
    first, again, of_other = places
    assert first == again != of_other
