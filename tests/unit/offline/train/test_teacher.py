"""A teacher's features, by the ids of pictures."""

import os
import pickle
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


class Canary:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._folder),)


@pytest.mark.parametrize("form", ["array", "arrays", "pickle", "empty", "plain array"])
def test_no_object_is_unpickled(tmp_path: Path, form: str) -> None:
    canary, file = tmp_path / "canary", tmp_path / "teacher.npz"
    objects = np.array([Canary(canary)], dtype=object)
    with file.open("wb") as stream:
        match form:
            case "array":
                np.save(stream, objects, allow_pickle=True)
            case "arrays":
                np.savez(stream, ids=objects, features=objects)
            case "pickle":
                pickle.dump(Canary(canary), stream)
            case "plain array":
                np.save(stream, np.zeros(2))
    with pytest.raises(InvalidInput) as refused:
        Features.load(file)
    assert refused.value.reason == "TEACHER_INVALID"
    assert not canary.exists()
    # The canary sings where somebody does unpickle it.
    pickle.loads(pickle.dumps(Canary(canary)))
    assert canary.is_dir()


def test_without_its_extra_the_teacher_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # None in the table of modules has Python say that there is no such module, installed or not.
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(InvalidInput, match="extra `teacher`") as refused:
        teach([tmp_path])
    assert refused.value.reason == "TEACHER_MISSING"
