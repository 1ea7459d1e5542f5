"""The shipped model returns the embeddings of the day it was shipped, from the file to the last float."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open

from services.bundle.reader import Bundle, load_bundle
from services.vision import prepare

FOLDER = Path(__file__).parent
BUNDLE = FOLDER.parent.parent / "models" / "fashion-resnet50"


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.generic]]:
    with safe_open(FOLDER / "golden.safetensors", framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)


@pytest.fixture(scope="module")
def facts() -> dict[str, str]:
    with safe_open(FOLDER / "golden.safetensors", framework="numpy") as file:
        return dict(file.metadata())


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(BUNDLE)


def fitted(facts: dict[str, str], bundle: Bundle) -> NDArray[np.uint8]:
    files = [FOLDER / name for name in facts["files"].split(",")]
    return np.stack([prepare(file.read_bytes(), bundle.frame) for file in files])


def test_the_golden_embeddings_are_the_shipped_models(facts: dict[str, str], bundle: Bundle) -> None:
    assert facts["model_version"] == bundle.model_version, "a new bundle needs: python tests/golden/make.py"


def test_preprocessing_has_not_drifted(
    facts: dict[str, str], golden: dict[str, NDArray[np.generic]], bundle: Bundle
) -> None:
    difference = np.abs(fitted(facts, bundle).astype(int) - golden["pixels"].astype(int))
    # Another version of Pillow may round differently.
    assert difference.max() <= 1


def test_embeddings_have_not_drifted(
    facts: dict[str, str], golden: dict[str, NDArray[np.generic]], bundle: Bundle
) -> None:
    from services.embedder.runtimes.tensorflow import TensorflowEncoder

    embeddings = TensorflowEncoder.from_bundle(bundle).encode(fitted(facts, bundle))
    assert (embeddings * golden["embeddings"]).sum(axis=1).min() >= 0.9999


def test_the_bundle_is_small_enough_to_ship(bundle: Bundle) -> None:
    assert sum(entry["bytes"] for entry in bundle.description["files"].values()) < 52_000_000
