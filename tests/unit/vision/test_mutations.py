"""Whatever a file is, it is decoded or refused with a reason; no error is unexpected."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from offline.benchmark.hard_pictures import display_p3_profile, encoded, mutated, noise
from services.contract.errors import InvalidInput
from services.vision import decode

REASONS = {
    "IMAGE_UNREADABLE",
    "IMAGE_FORMAT_UNSUPPORTED",
    "IMAGE_TOO_MANY_PIXELS",
    "IMAGE_TOO_SMALL",
    "IMAGE_TOO_COMPLEX",
    "IMAGE_EMPTY",
}
KINDS: dict[str, dict[str, Any]] = {
    "JPEG": {},
    "progressive JPEG": {"progressive": True, "form": "JPEG"},
    "PNG": {},
    "WEBP": {"quality": 60},
    "lossless WEBP": {"lossless": True, "form": "WEBP"},
    "AVIF": {"speed": 10},
}


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_are_decoded_or_refused(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    options = {"form": kind, "icc_profile": display_p3_profile(), "exif": exif, **KINDS[kind]}
    content = encoded(noise(48, 40, grain=6), **options)
    random = np.random.default_rng(sum(map(ord, kind)))
    outcomes = {"decoded": 0, "refused": 0}
    for _ in range(350):
        try:
            picture = decode(mutated(content, random), enough=lambda *_: 0.5)
        except InvalidInput as error:
            assert error.reason in REASONS
            outcomes["refused"] += 1
        else:
            assert picture.mode == "RGB"
            outcomes["decoded"] += 1
    assert min(outcomes.values()) > 20, outcomes
