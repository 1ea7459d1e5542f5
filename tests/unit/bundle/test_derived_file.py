"""A derived file is read as it was written, or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.bundle.derived_file import DerivedFile
from services.bundle.tensors import write_tensors

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


def file(folder: Path, format: str = "rows-1", model_version: str = "m1") -> DerivedFile:
    return DerivedFile(folder / "rows.safetensors", format=format, model_version=model_version)


def content(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> tuple[NDArray[Any], str]:
    return tensors["rows"], metadata["note"]


def write(folder: Path, state: str = "7") -> DerivedFile:
    written = file(folder)
    written.write({"rows": ROWS}, {"note": "twelve"}, state)
    return written


def test_reads_what_was_written(tmp_path: Path) -> None:
    result = write(tmp_path).read(content, "7")
    assert result is not None
    assert np.array_equal(result[0], ROWS)
    assert result[1] == "twelve"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.safetensors"]


def test_no_file_is_none(tmp_path: Path) -> None:
    assert file(tmp_path).read(content) is None


@pytest.mark.parametrize(
    ("seal", "state"), [({"format": "rows-2"}, "7"), ({"model_version": "m2"}, "7"), ({}, "8"), ({}, "")]
)
def test_a_file_of_another_format_model_or_state_is_deleted(tmp_path: Path, seal: dict[str, str], state: str) -> None:
    write(tmp_path)
    assert file(tmp_path, **seal).read(content, state) is None
    assert list(tmp_path.iterdir()) == []


def test_any_damage_is_noticed(tmp_path: Path) -> None:
    written = write(tmp_path)
    path = tmp_path / "rows.safetensors"
    whole = path.read_bytes()
    flipped = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    for damaged in (whole[: len(whole) // 2], b"", b"{}", write_tensors({"rows": ROWS}, {"note": "x"}), *flipped):
        path.write_bytes(damaged)
        assert written.read(content, "7") is None
    path.write_bytes(whole)
    assert written.read(content, "7") is not None


def test_content_that_cannot_be_parsed_is_deleted(tmp_path: Path) -> None:
    def refuse(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> str:
        return metadata["no such"]

    assert write(tmp_path).read(refuse, "7") is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    assert write(tmp_path / "missing").read(content, "7") is None
