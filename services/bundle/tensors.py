"""Arrays with a few words about them in one block of bytes, as safetensors: no pickle, no code."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray


def write_tensors(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Writes arrays by name, and metadata beside them."""
    return safetensors.numpy.save(
        {name: np.ascontiguousarray(values) for name, values in tensors.items()}, metadata=dict(metadata)
    )


def read_tensors(content: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Reads what `write_tensors` wrote: the arrays and the metadata.

    Raises:
        ValueError: it is something else, or broken.
    """
    try:
        tensors = safetensors.numpy.load(content)
        # safetensors reads metadata from files only: the header is JSON behind eight bytes that tell its length.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = header["__metadata__"]
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"no safetensors with metadata ({type(error).__name__}: {error})") from error
    return dict(tensors), metadata
