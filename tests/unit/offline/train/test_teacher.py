"""A teacher's features, by the ids of pictures."""

import sys
from pathlib import Path

import numpy as np
import pytest

from offline.train.teacher import Features, teach
from services.contract.errors import InvalidInput


def test_features_of_an_unknown_picture_are_zeros(tmp_path: Path) -> None:
    features = Features(("1", "2"), np.array([[1, 2], [3, 4]], dtype=np.float16))
    features.save(tmp_path / "teacher.npz")
    assert Features.load(tmp_path / "teacher.npz").of(["9", "2", "1"]).tolist() == [[0, 0], [3, 4], [1, 2]]
    (tmp_path / "teacher.npz").write_bytes(b"nothing")
    with pytest.raises(InvalidInput, match="fashion dataset teach"):
        Features.load(tmp_path / "teacher.npz")


def test_without_its_extra_the_teacher_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # None in the table of modules has Python say that there is no such module, installed or not.
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(InvalidInput, match="extra `teacher`") as refused:
        teach([tmp_path])
    assert refused.value.reason == "TEACHER_MISSING"
