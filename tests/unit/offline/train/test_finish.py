"""The end of a run, with a network that was not trained: its bundle appears whole or not at all."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from offline.bundle import whole_bundle, write_bundle
from offline.dataset.row import Row
from offline.train.config import HEADS, Stage, TrainConfig
from offline.train.data import label_names, load
from services.bundle.reader import Bundle, load_bundle
from services.contract.errors import NotFound
from services.embedder.runtimes.fake import FakeEncoder
from services.vision import Frame, Preprocessing
from tests.support.training_data import draw_few_types

SIZE = (40, 32)


def untrained(folder: Path, rows: Sequence[Row]) -> Bundle:
    """Writes a bundle whose heads know the labels of products, and whose network nothing runs."""
    random = np.random.default_rng(0)
    names = label_names(rows)
    return write_bundle(
        folder,
        name="untrained",
        preprocessing=Preprocessing(Frame(*SIZE), "RGB", 1 / 127.5, (-2.0, -2.0, -2.0)),
        encoder={"kernel": np.zeros((2, 2), dtype=np.float32)},
        heads={head: random.standard_normal((2048, len(names[head]))).astype(np.float32) for head in HEADS},
        labels=names,
        logit_scale=20.0,
        metrics={},
        training={},
        split={},
    )


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """A run on sixty drawn products, of which one is in the test part."""
    draw_few_types(tmp_path / "drawn")
    config = TrainConfig(
        dataset=tmp_path / "drawn", run=tmp_path / "run", passes=1.0, stages=(Stage(start=0, height=40, width=32),)
    )
    ids = [row.id for row in load(config.dataset, *SIZE).pictures.rows]
    parts = dict.fromkeys(ids, "train") | dict.fromkeys(ids[::6], "validation") | {ids[1]: "test"}
    (tmp_path / "drawn" / "parts.json").write_text(json.dumps(parts))
    config.run.mkdir()
    (config.run / "config.json").write_text(config.model_dump_json())
    return config


def finished(config: TrainConfig, folder: Path, monkeypatch: pytest.MonkeyPatch, until: str = "") -> Bundle:
    """Finishes a run, or ends as if by Ctrl-C at a line that has `until` in it."""
    from offline.train import finish

    rows = load(config.dataset, *SIZE).pictures.rows
    monkeypatch.setattr(finish, "export", lambda run, folder, **_: untrained(folder, rows))

    def say(text: str) -> None:
        if until and until in text:
            raise KeyboardInterrupt

    return finish.finish(
        config.run,
        folder,
        name="untrained",
        source=finish.Source("Drawings", "", "MIT"),
        runtime=lambda bundle: FakeEncoder(2048, *SIZE),
        say=say,
    )


def test_what_is_interrupted_leaves_the_bundle_that_was_there(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundle"
    with pytest.raises(KeyboardInterrupt):
        finished(config, folder, monkeypatch, until="embedding")
    with pytest.raises(NotFound):
        load_bundle(folder)

    (folder / "README.md").write_text("a card")
    bundle = finished(config, folder, monkeypatch)
    assert bundle.path == folder
    assert bundle.description["metrics"]["test"]["products"] == 1
    assert {file.name for file in folder.iterdir()} == {
        "README.md",
        "bundle.json",
        "encoder.safetensors",
        "heads.safetensors",
    }
    with pytest.raises(KeyboardInterrupt):
        finished(config, folder, monkeypatch, until="embedding")
    assert load_bundle(folder).model_version == bundle.model_version


def test_the_description_of_a_bundle_is_replaced_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced: list[str] = []
    replace = Path.replace

    def note(self: Path, target: Path) -> Path:
        replaced.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", note)
    files = ("bundle.json", "encoder.safetensors", "heads.safetensors")
    with whole_bundle(tmp_path) as unfinished:
        for name in files:
            (unfinished / name).write_bytes(b"")
    assert sorted(replaced) == sorted(files) and replaced[-1] == "bundle.json"
