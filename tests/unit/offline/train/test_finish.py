"""The end of a run, with a network that was not trained: whole bundles, and data that lack a part."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from offline.bundle import whole_bundle, write_bundle
from offline.dataset.row import Row
from offline.train.config import HEADS, Stage, TrainConfig
from offline.train.data import label_names, load
from services.bundle.reader import Bundle, load_bundle
from services.contract.errors import InvalidInput, NotFound
from services.embedder.runtimes.fake import FakeEncoder
from services.vision import Frame, Preprocessing
from tests.support.training_data import draw_few_types, write_photographs

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
    """A run on sixty drawn products; one of them is in the test part."""
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


def test_photographs_whose_senders_are_all_learned_from_have_no_figures(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The senders 0 to 2 are of the training part.
    write_photographs(tmp_path / "photographs.zip", senders=3)
    config = config.model_copy(update={"photographs": tmp_path / "photographs.zip"})
    (config.run / "config.json").write_text(config.model_dump_json())
    metrics = finished(config, tmp_path / "bundle", monkeypatch).description["metrics"]
    assert "test" in metrics and "photographs" not in metrics


@pytest.mark.parametrize("lacking", ["validation", "test"])
def test_a_data_set_that_lacks_a_part_is_refused_at_the_start(config: TrainConfig, lacking: str) -> None:
    from offline.train import train

    file = config.dataset / "parts.json"
    parts = {
        product_id: "train" if part == lacking else part for product_id, part in json.loads(file.read_text()).items()
    }
    file.write_text(json.dumps(parts))
    with pytest.raises(InvalidInput, match=f"{lacking} part is empty") as refused:
        train(config, console=Console(quiet=True))
    assert refused.value.reason == "DATASET_TOO_SMALL"
