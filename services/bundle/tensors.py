"""Arrays and metadata in one block of bytes, as safetensors: no pickle, no code."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray


def write_tensors(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Packs arrays by name, and metadata beside them."""
    return safetensors.numpy.save(
        {name: np.ascontiguousarray(values) for name, values in tensors.items()}, metadata=dict(metadata)
    )


def read_tensors(content: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Unpacks the arrays and the metadata.

    Raises:
        ValueError: the content is damaged, or was not written by `write_tensors`.
    """
    tensors = read_arrays(content)
    try:
        # safetensors reads metadata from files only: the header is JSON behind eight bytes with its length.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = header["__metadata__"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"no safetensors with metadata ({type(error).__name__}: {error})") from error
    return tensors, metadata


def read_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Unpacks the arrays.

    Raises:
        ValueError: the content is no safetensors of types that NumPy has.
    """
    try:
        return dict(safetensors.numpy.load(content))
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"no safetensors ({type(error).__name__}: {error})") from error
