"""Floats are checked to be an embedding of the served model."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from services.contract.embedding import checked_embedding
from services.contract.errors import InvalidInput, ModelMismatch


@dataclass(frozen=True)
class _Space:
    model_version: str = "v1"
    dimension: int = 4


def test_an_embedding_comes_back_as_float32_of_norm_1() -> None:
    embedding = checked_embedding([0.6, 0.8, 0.0, 0.0], "v1", expected=_Space())
    assert embedding.values.dtype == np.float32
    assert embedding.values.tolist() == pytest.approx([0.6, 0.8, 0, 0])
    assert embedding.model_version == "v1"


@pytest.mark.parametrize("norm", [1 - 9.9e-4, 1 + 9.9e-4])
def test_a_norm_that_is_off_by_rounding_is_corrected(norm: float) -> None:
    embedding = checked_embedding(np.array([0.0, norm, 0.0, 0.0], np.float16), "v1", expected=_Space())
    assert embedding.values.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0, 0.0, 0.0], "3 values instead of 4"),
        ([], "0 values instead of 4"),
        ([math.nan, 0.0, 0.0, 1.0], "Value 0 .* nan"),
        ([1.0, 0.0, -math.inf, 0.0], "Value 2 .* -inf"),
        ([0.0, 0.0, 0.0, 0.0], "norm of 0 "),
        ([1.0011, 0.0, 0.0, 0.0], r"norm of 1\.0011 "),
        ([3.4e38, 3.4e38, 3.4e38, 3.4e38], r"norm of 6\.8e\+38 "),
    ],
)
def test_anything_else_is_refused_with_the_reason(values: list[float], text: str) -> None:
    with pytest.raises(InvalidInput, match=text) as raised:
        checked_embedding(values, "v1", expected=_Space())
    assert raised.value.reason == "EMBEDDING_INVALID"


@pytest.mark.parametrize("version", ["", "v2", "x" * 10_000])
def test_another_models_embedding_is_refused_whatever_its_shape(version: str) -> None:
    with pytest.raises(ModelMismatch) as raised:
        checked_embedding([1.0], version, expected=_Space())
    assert raised.value.reason == "MODEL_VERSION_MISMATCH"
    assert raised.value.metadata["served"] == "v1"
    assert len(raised.value.message) < 300
