"""Photographs that are kept by the thousand: small ones as they are, large ones reduced."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from offline.dataset.pictures import reduced_picture
from offline.train.photographs import Photographs
from services.vision import decode
from tests.support.bars import write_bars


def photograph(width: int, height: int, form: str) -> bytes:
    random = np.random.default_rng(width)
    coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, form, quality=95)
    return file.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_small_ones_stay_as_they_are_and_large_ones_are_reduced(form: str) -> None:
    for size in ((60, 80), (100, 100), (100, 400)):
        content = photograph(*size, form)
        assert np.array_equal(np.asarray(reduced_picture(content, 100)), np.asarray(decode(content)))
    for size, kept in (((900, 1200), (100, 133)), ((1200, 900), (133, 100)), ((101, 101), (100, 100))):
        content = photograph(*size, form)
        reduced = reduced_picture(content, 100)
        assert reduced.size == kept
        whole = decode(content).resize(kept, Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(reduced, dtype=int) - np.asarray(whole, dtype=int)).mean() < 2


def sizes(pictures: Sequence[NDArray[np.uint8]]) -> set[tuple[int, ...]]:
    return {picture.shape[:2] for picture in pictures}


def test_training_keeps_corners_of_a_few_times_its_input(tmp_path: Path) -> None:
    large = write_bars(tmp_path / "large", 4, (90, 120, 60), 1, size=(900, 1200))
    small = write_bars(tmp_path / "small", 4, (90, 120, 60), 1)
    assert sizes(Photographs.load(large, 40, 32).corners) == {(48, 48)}
    assert sizes(Photographs.load(small, 40, 32).corners) == {(18, 18)}
