"""Packed data, and at last all of training by the prepared script."""

import io
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from offline.train.data import load
from offline.train.packed import pack
from offline.train.photographs import Photographs
from offline.train.teacher import Features
from services.bundle.reader import load_bundle
from services.contract.errors import InvalidInput
from services.embedder.runtimes.openvino import OpenvinoEncoder
from services.vision.preprocess import Frame, Padding
from tests.support.training_data import draw_few_types, write_photographs

_ROOT = Path(__file__).parents[4]
_SALT = "fashion-split-1"
_FRACTIONS = {"train": 0.85, "validation": 0.05, "test": 0.10}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of drawn products and photographs, with random features of a teacher; beside the data it was made of."""
    folder = tmp_path_factory.mktemp("packed")
    draw_few_types(folder / "drawn")
    write_photographs(folder / "photographs.zip")
    ids = (
        load(folder / "drawn", 40, 32).pictures.ids + Photographs.load(folder / "photographs.zip", 40, 32).pictures.ids
    )
    values = np.random.default_rng(4).random((len(ids), 256)).astype(np.float16)
    Features(tuple(ids), values).save(folder / "teacher.npz")
    pack(folder / "drawn", folder / "pack", folder / "photographs.zip", folder / "teacher.npz")
    return folder


def test_a_pack_holds_the_same_products_in_the_same_parts(packed: Path) -> None:
    before = load(packed / "drawn", 80, 60, _SALT, _FRACTIONS)
    after = load(packed / "pack" / "studio.zip", 80, 60, _SALT, _FRACTIONS)
    assert after.pictures.rows == before.pictures.rows
    assert {**after.parts} == {**before.parts} and {*after.parts.values()} == {*_FRACTIONS}
    assert np.abs(after.pictures.pixels.astype(int) - before.pictures.pixels).mean() < 6
    photographs = [
        Photographs.load(path, 40, 32) for path in (packed / "photographs.zip", packed / "pack" / "photographs.zip")
    ]
    assert photographs[0].labels == photographs[1].labels
    assert photographs[0].parts == photographs[1].parts


def test_reduced_features_keep_their_similarities(packed: Path) -> None:
    before, after = (Features.load(packed / name / "teacher.npz") for name in (".", "pack"))
    assert before.ids == after.ids and after.values.shape[1] == 192
    products = [each.values.astype(np.float32) @ each.values.astype(np.float32).T for each in (before, after)]
    np.testing.assert_allclose(products[1], products[0], rtol=0.01)


def test_a_pack_has_as_many_components_as_fit(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def repack(limit: int) -> int:
        monkeypatch.setattr("offline.train.packed.MAX_PACK_BYTES", limit)
        pack(packed / "drawn", tmp_path, packed / "photographs.zip", packed / "teacher.npz")
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= limit
        return Features.load(tmp_path / "teacher.npz").values.shape[1]

    whole = sum(file.stat().st_size for file in (packed / "pack").iterdir())
    # 120 pictures of two bytes a component: 60 components less take 14,400 bytes.
    assert repack(whole + 20_000) == 192
    assert 64 <= repack(whole - 14_400) < 192
    with pytest.raises(InvalidInput, match="it may have") as refused:
        repack(30_000)
    assert refused.value.reason == "PACK_TOO_LARGE"


@pytest.mark.timeout(1500)
def test_the_prepared_script_trains_a_bundle_from_a_pack(packed: Path, tmp_path: Path) -> None:
    bundle = _ROOT / "models" / "fashion-resnet50"
    options = ["--initial", bundle, "--anchor", "4", "--blend", "0.7", "--sizes", "0:40x32", "--batch", "12"]
    subprocess.run(
        [_ROOT / "tools" / "train_packed.sh", packed / "pack", tmp_path / "parts", "0.2", "--peak", "0.01", *options],
        check=True,
        cwd=_ROOT,
        env={**os.environ, "PYTHON": sys.executable},
        timeout=1400,
    )
    parts = sorted((tmp_path / "parts").iterdir())
    assert len(parts) > 2 and max(path.stat().st_size for path in parts) < 16_000_000
    with tarfile.open(fileobj=io.BytesIO(b"".join(path.read_bytes() for path in parts))) as archive:
        archive.extractall(tmp_path / "joined", filter="data")
    joined, shipped = load_bundle(tmp_path / "joined"), load_bundle(bundle)
    # It serves as the shipped bundle does: the same weights by name and shape, the same way of reading photographs.
    weights = [{name: value.shape for name, value in each.encoder_weights().items()} for each in (joined, shipped)]
    assert weights[0] == weights[1] and joined.labels.keys() == shipped.labels.keys()
    assert joined.preprocessing == replace(shipped.preprocessing, frame=Frame(40, 32, Padding.RIM))
    embedded = OpenvinoEncoder.from_bundle(joined).encode(load(packed / "drawn", 40, 32).pictures.pixels)
    assert embedded.shape == (60, shipped.dimension)
    # After the few steps that a busy machine makes in that time, it may see nothing at all in a picture.
    assert np.isclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-3).mean() > 0.8
    settings = joined.description["training"]["settings"]
    assert settings["teacher"] is settings["photographs"] is True and settings["blend"] == 0.7
    assert settings["initial"].startswith("fashion-resnet50 ")
    assert joined.description["metrics"]["photographs"]["photographs"] > 0
    card = (tmp_path / "joined" / "README.md").read_text()
    assert "--photographs PHOTOGRAPHS --teacher TEACHER --anchor 4" in card and "EfficientNet-Lite2" in card
    history = (tmp_path / "parts-run" / "history.csv").read_text()
    for name in ("similarity_loss", "projection_loss", "anchor_loss", "photographs_subCategory_accuracy"):
        assert name in history.splitlines()[0]
