"""A bundle is read as it was written; a changed one is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from offline.bundle import describe, write_bundle
from services.bundle.reader import Bundle, content_version, load_bundle
from services.contract.errors import InvalidInput, NotFound
from services.vision import Frame, Preprocessing

PREPROCESSING = Preprocessing(Frame(80, 60), "RGB", 1 / 127.5, (-2.0, -2.0, -2.0))
LABELS = {"gender": ("Men", "Women"), "subCategory": ("Bags", "Shoes", "Überwurf")}


def weights() -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(1)
    return {
        "conv1_conv/kernel": random.standard_normal((7, 7, 3, 4)).astype(np.float32),
        "conv1_bn/moving_variance": np.array([1e-9, 1.0, 80_000.0], dtype=np.float32),
    }


def heads() -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(2)
    return {head: random.standard_normal((16, len(names))).astype(np.float32) for head, names in LABELS.items()}


def write(folder: Path, **changes: object) -> Bundle:
    settings: dict[str, object] = {
        "name": "small",
        "preprocessing": PREPROCESSING,
        "encoder": weights(),
        "heads": heads(),
        "labels": LABELS,
        "logit_scale": 20.0,
        "metrics": {"test": {"subCategory": 0.95}},
        "training": {"licence": "MIT"},
        "split": {"salt": "s"},
    }
    return write_bundle(folder, **(settings | changes))  # type: ignore[arg-type]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    bundle = load_bundle(tmp_path)
    assert (bundle.name, bundle.architecture, bundle.dimension) == ("small", "resnet50", 16)
    assert bundle.preprocessing == PREPROCESSING
    assert dict(bundle.labels) == LABELS
    assert bundle.description["metrics"] == {"test": {"subCategory": 0.95}}
    read = bundle.encoder_weights()
    kernel = weights()["conv1_conv/kernel"]
    assert read["conv1_conv/kernel"] == pytest.approx(kernel, rel=1e-3, abs=1e-6)
    # Half precision can represent neither of these.
    assert np.array_equal(read["conv1_bn/moving_variance"], weights()["conv1_bn/moving_variance"])


def test_heads_are_directions(tmp_path: Path) -> None:
    head = write(tmp_path).head("subCategory")
    assert head.labels == LABELS["subCategory"]
    assert head.scale == 20.0
    assert head.weights.shape == (3, 16)
    assert head.weights.dtype == np.float32
    original = heads()["subCategory"].T
    cosines = (head.weights * original).sum(axis=1) / np.linalg.norm(original, axis=1)
    assert cosines.min() > 0.9999
    assert np.linalg.norm(head.weights, axis=1) == pytest.approx(np.ones(3), abs=1e-6)


def test_an_unknown_head_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="season"):
        write(tmp_path).head("season")


def test_the_version_follows_the_content(tmp_path: Path) -> None:
    one, same = write(tmp_path / "a"), write(tmp_path / "b")
    other = write(tmp_path / "c", encoder=weights() | {"conv1_bn/gamma": np.ones(3, dtype=np.float32)})
    assert one.model_version == same.model_version
    assert one.model_version != other.model_version
    assert len(one.model_version) == 16


@pytest.mark.parametrize("file", ["encoder.safetensors", "heads.safetensors"])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_flipped_byte_is_refused_by_name(tmp_path: Path, file: str, place: float) -> None:
    write(tmp_path)
    content = bytearray((tmp_path / file).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InvalidInput, match=file) as refused:
        load_bundle(tmp_path)
    assert refused.value.reason == "BUNDLE_INVALID"
    assert refused.value.metadata["file"] == file


def test_weights_that_were_not_checked_at_first_are_checked_when_they_are_read(tmp_path: Path) -> None:
    write(tmp_path)
    content = bytearray((tmp_path / "encoder.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "encoder.safetensors").write_bytes(content)
    bundle = load_bundle(tmp_path, encoder=False)
    assert bundle.head("gender").labels
    with pytest.raises(InvalidInput, match=r"encoder\.safetensors"):
        bundle.encoder_weights()


def test_a_file_changed_after_loading_is_refused_when_it_is_read(tmp_path: Path) -> None:
    bundle = write(tmp_path)
    content = bytearray((tmp_path / "heads.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "heads.safetensors").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"heads\.safetensors"):
        bundle.head("gender")


def test_a_changed_label_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    text = (tmp_path / "bundle.json").read_text()
    (tmp_path / "bundle.json").write_text(text.replace('"Women"', '"Woman"'))
    with pytest.raises(InvalidInput, match=r"bundle\.json"):
        load_bundle(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "encoder.safetensors").unlink()
    with pytest.raises(InvalidInput, match=r"encoder\.safetensors"):
        load_bundle(tmp_path)


def test_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"bundle\.json"):
        load_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["x" * 300, "/".join(["x" * 200] * 30)])
def test_a_folder_that_no_file_system_can_hold_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound, match="cannot be read") as refusal:
        load_bundle(tmp_path / name)
    assert refusal.value.reason == "BUNDLE_NOT_FOUND" and len(refusal.value.message) < 400
    assert len(refusal.value.metadata["path"]) < 400


@pytest.mark.parametrize(
    "change", [{"preprocessing": {"scale": "x" * 100_000}}, {"architecture": "x" * 100_000}, {"name": "x" * 100_000}]
)
def test_a_sentence_quotes_only_the_begin_of_what_is_long(tmp_path: Path, change: dict[str, object]) -> None:
    write(tmp_path)
    description = json.loads((tmp_path / "bundle.json").read_text())
    for name, value in change.items():
        description[name] = description[name] | value if isinstance(value, dict) else value
    description["model_version"] = content_version(description)
    (tmp_path / "bundle.json").write_text(json.dumps(description))
    with pytest.raises(InvalidInput, match="malformed") as refusal:
        load_bundle(tmp_path)
    assert len(refusal.value.message) < 600


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format_version": 1}', '{"format_version": 2}', "\xff"])
def test_a_description_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bundle.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidInput, match=r"bundle\.json"):
        load_bundle(tmp_path)


def test_files_outside_the_folder_are_never_read(tmp_path: Path) -> None:
    write(tmp_path)
    description = json.loads((tmp_path / "bundle.json").read_text())
    description["files"]["../secret"] = {"bytes": 1, "sha256": ""}
    description["model_version"] = content_version(description)
    (tmp_path / "bundle.json").write_text(json.dumps(description))
    with pytest.raises(InvalidInput, match="plain file name"):
        load_bundle(tmp_path)


def test_writing_again_keeps_the_model_card(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "README.md").write_text("card")
    write(tmp_path, name="newer")
    assert (tmp_path / "README.md").read_text() == "card"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "bundle.json",
        "encoder.safetensors",
        "heads.safetensors",
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_weights_that_half_precision_cannot_hold_are_refused(tmp_path: Path, value: float) -> None:
    broken = weights()
    broken["conv1_conv/kernel"][0, 0, 0, 0] = value
    with pytest.raises(InvalidInput, match="conv1_conv/kernel"):
        write(tmp_path, encoder=broken)


def test_figures_can_be_added_without_touching_the_weights(tmp_path: Path) -> None:
    before = write(tmp_path, metrics={})
    stamps = {file: (tmp_path / file).stat().st_mtime_ns for file in before.description["files"]}
    after = describe(tmp_path, metrics={"test": {"gender": 0.9}})
    assert after.description["metrics"] == {"test": {"gender": 0.9}}
    assert after.model_version != before.model_version
    assert {file: (tmp_path / file).stat().st_mtime_ns for file in stamps} == stamps
    assert load_bundle(tmp_path).model_version == after.model_version


@pytest.mark.parametrize(
    "said",
    [
        {"prior": -1.0},
        {"prior": float("inf")},
        {"products": [1, 2]},
        {"products": [1, 2, -3]},
        {"shares": {"season": 1.0}},
        {"shares": {"gender": -0.5}},
        {"scale": 0},
    ],
)
def test_impossible_settings_of_a_head_are_refused(tmp_path: Path, said: dict[str, object]) -> None:
    write(tmp_path)
    with pytest.raises(InvalidInput, match="subCategory"):
        describe(tmp_path, heads={"subCategory": said})


def test_the_settings_of_a_head_are_read(tmp_path: Path) -> None:
    write(tmp_path)
    said = {"prior": 0.5, "products": [5, 0, 7], "shares": {"gender": 1.0}}
    head = describe(tmp_path, heads={"subCategory": said}).head("subCategory")
    assert (head.prior, head.products, dict(head.shares)) == (0.5, (5, 0, 7), {"gender": 1.0})
    # Other settings stay.
    assert (head.scale, load_bundle(tmp_path).head("gender").prior) == (20.0, 0.0)


def test_a_file_without_an_end_is_not_read(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "heads.safetensors").unlink()
    os.mkfifo(tmp_path / "heads.safetensors")
    with pytest.raises(InvalidInput, match=r"heads\.safetensors"):
        load_bundle(tmp_path)
    # Larger than any memory, and of a few bytes on the disk.
    (tmp_path / "heads.safetensors").unlink()
    with (tmp_path / "heads.safetensors").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InvalidInput, match=r"heads\.safetensors"):
        load_bundle(tmp_path)
