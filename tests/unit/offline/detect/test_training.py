"""The training of the garment heads, whole, on a few drawn pictures and a network of random weights."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from offline.bundle import write_bundle
from services.bundle.reader import load_bundle
from services.embedder.garment_heads import GarmentHeads
from services.vision import Frame, Preprocessing
from tests.support.random_resnet import HEIGHT, WIDTH, random_weights

pytest.importorskip("tensorflow")

TYPES = {"Topwear": "Tshirts", "Bags": "Handbags"}


def dataset(folder: Path, count: int, ground: tuple[int, int, int], first_id: int) -> Path:
    """Writes pictures of bars in Kaggle's layout, with `labels.csv`."""
    random = np.random.default_rng(first_id)
    (folder / "images").mkdir(parents=True)
    columns = ["id", "gender", "masterCategory", "subCategory", "articleType", "baseColour", "season", "year", "usage"]
    with (folder / "styles.csv").open("w", newline="") as file, (folder / "labels.csv").open("w", newline="") as labels:
        styles, senders = csv.writer(file), csv.writer(labels)
        styles.writerow([*columns, "productDisplayName"])
        senders.writerow(["id", "sender_id", "label"])
        for number in range(first_id, first_id + count):
            kind = list(TYPES)[number % 2]
            styles.writerow([number, "Unisex", "Apparel", kind, TYPES[kind], "Red", "", "", "", f"Product {number}"])
            senders.writerow([number, number % 20, kind])
            picture = Image.new("RGB", (60, 80), ground)
            top = int(random.integers(10, 30))
            ImageDraw.Draw(picture).rectangle((15, top, 44, top + 40), fill=tuple(random.integers(0, 200, 3).tolist()))
            picture.save(folder / "images" / f"{number}.jpg")
    return folder


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
    studio = dataset(folder / "studio", 60, (255, 255, 255), 1)
    return folder / "bundle", studio, dataset(folder / "people", 20, (90, 120, 60), 1001)


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


def test_what_is_held_out_is_what_training_held_out(material: tuple[Path, Path, Path], tmp_path: Path) -> None:
    from offline.detect.training import Recipe, _material

    bundle, people = load_bundle(material[0]), material[2]
    studio = Path(shutil.copytree(material[1], tmp_path / "studio"))
    parts = {str(number): "validation" if number > 53 else "train" for number in range(1, 61)}
    (studio / "parts.json").write_text(json.dumps(parts))
    learned, held_out = _material(bundle, studio, people, Recipe())
    assert (len(learned.studio), len(held_out.studio)) == (53, 7)
