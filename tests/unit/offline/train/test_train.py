"""Training on drawings: it learns, stops, resumes, and what comes out is a bundle that embeds."""

import re
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from offline.dataset.row import Row
from offline.train.config import HEADS, PRESETS, Stage, TrainConfig
from offline.train.data import UNKNOWN, Batches, Pictures, label_names, right_labels, studio_examples
from offline.train.schedule import Clock, one_cycle
from offline.train.words import encode_words, vocabulary
from services.contract.errors import InvalidInput
from tests.support.training_data import draw_few_types


def row(
    number: int,
    gender: str = "Men",
    article_type: str = "Tshirts",
    colour: str | None = "Blue",
    name: str | None = None,
) -> Row:
    return Row(str(number), gender, "Apparel", "Topwear", article_type, colour, None, None, None, name)


def pictures(count: int = 50) -> Pictures:
    rows = tuple(row(i, article_type="Ties" if i % 10 == 0 else "Tshirts") for i in range(count))
    pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 12, 3), dtype=np.uint8)
    return Pictures(rows, pixels)


def batches(train: Pictures, extra: Pictures | None = None, rebalance: float = 0.0) -> Batches:
    names = label_names(train.rows)
    others = [(studio_examples(extra, names, ("tie",)), 0.2)] if extra is not None else []
    return Batches(studio_examples(train, names, ("tie",), rebalance=rebalance), others, batch=10, seed=4)


class TestBatches:
    """What is drawn when."""

    def test_a_position_always_gives_the_same_batch(self) -> None:
        one, other = batches(pictures()), batches(pictures())
        for seen in (0, 10, 20):
            one.at(seen, 16, 12)
        late, fresh = one.at(30, 16, 12), other.at(30, 16, 12)
        assert np.array_equal(late.inputs["pixels"], fresh.inputs["pixels"])
        assert all(np.array_equal(late.targets[head], fresh.targets[head]) for head in HEADS)

    def test_words_go_with_their_pictures(self) -> None:
        train = Pictures(tuple(row(i, name="A tie" if i % 3 else None) for i in range(50)), pictures().pixels)
        words = batches(train).at(0, 16, 12).targets["words"]
        assert words.shape == (10, 12)
        assert {*words[:, 0].tolist()} == {0, UNKNOWN} and (words[:, 1:] == UNKNOWN).all()

    def test_a_pass_shows_every_product_once_where_nothing_is_rebalanced(self) -> None:
        train = Pictures(tuple(row(i, article_type=f"Type {i}") for i in range(50)), pictures().pixels)
        source = batches(train)
        shown = np.concatenate(
            [source.at(seen, 16, 12).targets["derivedType"].argmax(axis=1) for seen in range(0, 50, 10)]
        )
        assert sorted(shown) == list(range(50))

    def test_rebalancing_shows_rare_types_more_often(self) -> None:
        def share(rebalance: float) -> float:
            source = batches(pictures(), rebalance=rebalance)
            shown = np.concatenate(
                [source.at(seen, 16, 12).targets["derivedType"].argmax(axis=1) for seen in range(0, 500, 10)]
            )
            return float((shown == 0).mean())

        assert share(0.0) == pytest.approx(0.1, abs=0.005)
        # Nine to one becomes three to one.
        assert share(0.5) == pytest.approx(0.25, abs=0.02)

    def test_extra_pictures_take_their_share(self) -> None:
        extra = Pictures((row(1, article_type="Ties"),), np.zeros((1, 16, 12, 3), dtype=np.uint8))
        batch = batches(pictures(), extra).at(0, 16, 12)
        assert len(batch.inputs["pixels"]) == 10
        assert batch.seen == 8

    def test_pictures_come_in_the_size_that_is_asked_for(self) -> None:
        assert batches(pictures()).at(0, 8, 6).inputs["pixels"].shape == (10, 8, 6, 3)


def test_labels_that_a_head_does_not_know_are_unknown() -> None:
    names = label_names([row(1), row(2, colour="Red")])
    labels = right_labels([row(3), row(4, colour=None), row(5, article_type="Ties")], names)
    assert {*labels} == {*HEADS}
    assert labels["baseColour"].tolist() == [[True, False], [False, False], [True, False]]
    assert labels["derivedType"].tolist() == [[True], [True], [False]]


def test_words_are_those_of_many_names() -> None:
    rows = [row(i, name=f"Puma Men's Blue-Striped T-shirt {i}") for i in range(15)] + [row(99, name="Rare"), row(100)]
    known = vocabulary(rows, at_least=15)
    assert known == ("blue", "men", "puma", "shirt", "striped")
    encoded = encode_words([row(1, name="Striped blue BLUE zebra"), row(2)], known)
    assert encoded[0, :3].tolist() == [4, 0, UNKNOWN] and (encoded[1] == UNKNOWN).all()


def test_a_name_of_many_words_is_cut() -> None:
    words = tuple("abcdefghijklmnopqrst"[i] * 2 for i in range(20))
    encoded = encode_words([row(1, name=" ".join(words))], words)
    assert encoded.tolist() == [list(range(12))]


@pytest.mark.timeout(300)
def test_alteration_keeps_the_hue() -> None:
    from keras import ops

    from offline.train.augment import Alteration

    red = np.full((200, 80, 60, 3), 255, dtype=np.float32)
    red[:, 20:60, 15:45] = (200, 20, 20)
    backdrops = np.full_like(red, 128)
    ones = np.ones(len(red), dtype=np.float32)
    altered = ops.convert_to_numpy(Alteration(3, photographed=True)(red, ones, backdrops))
    assert altered.shape == red.shape and altered.min() >= 0 and altered.max() <= 255
    shares = ((altered[..., 0] > 120) & (altered[..., 1:].max(axis=3) < 90)).mean(axis=(1, 2))
    # The product fills a quarter of the picture; few things cover most of it, and no other hue takes its place.
    assert np.median(shares) == pytest.approx(0.25, abs=0.06)
    assert np.mean(shares < 0.02) < 0.03
    # Now and then it is far away, and often on something else than white.
    assert 0.1 < np.mean(shares < 0.15) < 0.4
    borders = altered[:, 0].min(axis=2).mean(axis=1)
    assert 0.25 < np.mean(borders < 215) < 0.6
    # A photograph keeps its background.
    kept = ops.convert_to_numpy(Alteration(3, photographed=True)(red, 0 * ones, backdrops))
    assert np.mean(np.abs(kept[:, 0] - 128).max(axis=(1, 2)) < 3) < 0.02


def altered_lines(photographed: bool) -> NDArray[np.float32]:
    """A dark line across each of 300 white pictures, altered."""
    from keras import ops

    from offline.train.augment import Alteration

    lines = np.full((300, 40, 30, 3), 255, dtype=np.float32)
    lines[:, 18:22] = 0
    altered = Alteration(5, photographed=photographed)(lines, np.ones(300, dtype=np.float32), lines)
    return np.asarray(ops.convert_to_numpy(altered))


@pytest.mark.timeout(300)
def test_quarter_turns_stand_on_their_side() -> None:
    dark = altered_lines(photographed=True).max(axis=3) < 60
    # Where the line is upright, the picture lies.
    upright = dark.any(axis=1).sum(axis=1) * 3 < dark.any(axis=2).sum(axis=1)
    assert 0.07 < upright.mean() < 0.25


@pytest.mark.timeout(300)
def test_alterations_are_mild_where_no_photographs_are_learned() -> None:
    altered = altered_lines(photographed=False)
    # The line stays level but for a few degrees, and most pictures keep their white.
    heights = (altered.max(axis=3) < 60).any(axis=2).sum(axis=1)
    assert np.quantile(heights, 0.9) < 9 and heights.max() < 14
    assert 0.05 < np.mean(altered[:, 0].min(axis=2).mean(axis=1) < 215) < 0.25


class TestSchedule:
    """The learning rate, and where a run stands."""

    def test_one_cycle_rises_to_its_peak_and_falls_to_nothing(self) -> None:
        rates = [one_cycle(progress / 1000, 0.1, 0.15) for progress in range(1001)]
        assert rates[0] == pytest.approx(0.005)
        assert max(rates) == pytest.approx(0.1)
        assert int(np.argmax(rates)) == 150
        assert rates[-1] == pytest.approx(0.0, abs=1e-12)
        assert all(a >= b for a, b in pairwise(rates[150:]))

    def test_passes_decide_where_they_are_given(self) -> None:
        clock = Clock(passes=2.0, seconds=None)
        clock.advance(0.5, 1000.0)
        assert clock.progress == 0.25
        assert clock.left_s == pytest.approx(3000.0)
        clock.advance(2.0, 1.0)
        assert clock.finished

    def test_minutes_end_in_time_however_slow_it_becomes(self) -> None:
        clock = Clock(passes=None, seconds=100.0)
        for elapsed in (1.0, 1.0, 30.0, 50.0):
            clock.advance(0.0, elapsed)
        assert clock.progress == pytest.approx(0.82)
        clock.advance(0.0, 40.0)
        assert clock.finished

    def test_a_longer_schedule_may_be_given_on_resuming(self) -> None:
        clock = Clock(passes=None, seconds=200.0, progress=0.5, spent_s=50.0)
        clock.advance(0.0, 75.0)
        assert clock.progress == pytest.approx(0.75)
        clock.advance(0.0, 75.0)
        assert clock.finished


class TestConfig:
    """What can be asked for."""

    def test_it_comes_back_from_json(self, tmp_path: Path) -> None:
        config = TrainConfig(
            dataset=tmp_path, run=tmp_path / "run", extra=(tmp_path / "x",), teacher=tmp_path / "t.npz", minutes=5.0
        )
        assert TrainConfig.model_validate_json(config.model_dump_json()) == config

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"passes": 1.0, "minutes": 1.0},
            {"passes": 0.0},
            {"passes": 1.0, "stages": (Stage(start=0.1, height=80, width=60),)},
            {"passes": 1.0, "stages": ()},
            {"passes": 1.0, "batch": 1},
            {"passes": 1.0, "stages": (Stage(start=0.0, height=40, width=30),)},
            {"passes": 1.0, "extra_share": 1.0},
            {"passes": 1.0, "extra_share": 0.5, "photographs_share": 0.5},
            {"passes": 1.0, "frozen_layers": 170},
            {"passes": 1.0, "leave_out": 0.6},
        ],
    )
    def test_nonsense_is_refused(self, tmp_path: Path, changes: dict[str, object]) -> None:
        with pytest.raises(InvalidInput):
            TrainConfig(dataset=tmp_path, run=tmp_path, **changes)  # type: ignore[arg-type]


class StopAfter(threading.Event):
    """A stop that comes by itself once it has been looked at so many times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def is_set(self) -> bool:
        self._looks -= 1
        return self._looks < 0


@pytest.mark.timeout(1800)
def test_it_learns_drawings_stops_resumes_and_becomes_a_bundle(tmp_path: Path) -> None:
    from offline.train import train
    from offline.train.card import model_card
    from offline.train.data import load
    from offline.train.finish import Source, finish
    from services.embedder.runtimes.tensorflow import TensorflowEncoder

    draw_few_types(tmp_path / "drawn")
    config = TrainConfig(
        dataset=tmp_path / "drawn",
        run=tmp_path / "run",
        # With so few products, rounding alone decides whether 30 passes learn 74 or 100 % of them.
        passes=45.0,
        stages=(Stage(start=0.0, height=24, width=18), Stage(start=0.2, height=40, width=32)),
        batch=12,
        peak=0.02,
        precision="float32",
        words_at_least=3,
        fractions={"train": 0.6, "validation": 0.2, "test": 0.2},
        seed=2,
    )
    quiet = Console(quiet=True)
    stopped = train(config, stop=StopAfter(7), console=quiet)
    assert 4 <= stopped.step <= 7
    assert 0.0 < stopped.progress < 1.0

    finished = train(config, console=quiet)
    assert finished.progress == 1.0
    history = (config.run / "history.csv").read_text().splitlines()
    losses = [float(line.split(",")[history[0].split(",").index("articleType_loss")]) for line in history[1:]]
    assert losses[-1] < 0.75 * losses[0]
    told = [float(line.split(",")[history[0].split(",").index("words_loss")]) for line in history[1:]]
    assert 0 < told[-1] < told[0]
    rates = [float(line.split(",")[history[0].split(",").index("learning_rate")]) for line in history[1:]]
    assert 0 < rates[-1] < 5e-4 * config.peak, "the last step is the smallest"
    assert (config.run / "history.png").stat().st_size > 10_000

    loaded = load(config.dataset, 40, 32, config.salt, config.fractions)
    pictures_of_training = loaded.part("train")
    left_out = loaded.left_out(0.5)
    types = {row.derived_type for row in pictures_of_training.rows}
    assert left_out < types and len(left_out) == len(types) // 2
    rest = loaded.part("train", without=left_out)
    assert {row.derived_type for row in rest.rows} == types - left_out
    assert loaded.left_out(0.0) == frozenset()
    said: list[str] = []
    bundle = finish(
        config.run,
        tmp_path / "bundle",
        name="drawings",
        source=Source("Drawings", "", "MIT"),
        runtime=TensorflowEncoder.from_bundle,
        say=said.append,
        dataset=loaded,
    )
    assert said
    figures = bundle.description["metrics"]["test"]
    assert figures["products"] == len(loaded.part("test"))
    assert figures["catalogue"] == len(pictures_of_training)
    parts = bundle.description["metrics"]["parts"]
    assert {name: part["products"] for name, part in parts.items()} == {
        name: len(loaded.part(name)) for name in ("train", "validation")
    }
    assert parts["train"]["accuracy"]["articleType"] > 0.8
    assert bundle.description["metrics"]["calibration"].keys() == bundle.labels.keys()
    card = model_card(bundle)
    assert bundle.model_version in card
    assert "--passes 45" in card
    assert "From random weights" in card and "| margins | derivedType 0.25, baseColour 0.1, ownType 0.15 |" in card
    assert re.search(r"\| validation \| \d+ \| \d", card)
    assert "In a catalogue that it has learned nothing from" in card
    assert "Expected calibration error on the test part, in points: derivedType " in card
    assert bundle.description["metrics"]["half_precision"]["least_cosine"] > 0.9999

    encoder = TensorflowEncoder.from_bundle(bundle)
    embeddings = encoder.encode(pictures_of_training.pixels)
    head = bundle.head("articleType")
    answers = [head.labels[i] for i in np.argmax(embeddings @ head.weights.T, axis=1)]
    right = [answer == row.article_type for answer, row in zip(answers, pictures_of_training.rows, strict=True)]
    # Chance is one in four.
    assert np.mean(right) > 0.8


def test_a_run_of_an_earlier_version_is_not_begun_anew(tmp_path: Path) -> None:
    from offline.train import train

    # So it was kept by the loop before this one.
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    with pytest.raises(InvalidInput, match="earlier version") as refused:
        train(TrainConfig(dataset=tmp_path, run=tmp_path / "run", passes=1.0), console=Console(quiet=True))
    assert refused.value.reason == "CHECKPOINT_BROKEN"
    assert not (tmp_path / "run" / "config.json").exists(), "its settings are kept"


def test_a_preset_that_is_unknown_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cli.main import run

    assert run(["train", str(tmp_path), "--preset", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err


def few_steps(**changes: Any) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """A network's weights before and after three steps on one batch."""
    from offline.train.model import Recogniser, optimiser, values_of

    shown = pictures(12)
    rows = tuple(replace(row, sub_category=f"Kind {i % 3}") for i, row in enumerate(shown.rows))
    names = label_names(rows)
    config = TrainConfig(dataset=Path(), run=Path(), passes=1.0, batch=12, **{**PRESETS["report"], **changes})
    batch = Batches(studio_examples(Pictures(rows, shown.pixels), names, ()), batch=12, seed=1).at(0, 40, 32)
    model = Recogniser(config, names, altered=False)
    model.compile(optimizer=optimiser(config, model))

    def weights() -> dict[str, NDArray[np.float32]]:
        return values_of(model.named())

    before = weights()
    for _ in range(3):
        model.train_on_batch(dict(batch.inputs), dict(batch.targets))
    return before, weights()


def test_the_reports_recipe_changes_the_last_layers_and_the_sub_category_alone() -> None:
    before, after = few_steps()
    changed = {name for name, value in before.items() if not np.array_equal(value, after[name])}
    assert "heads/subCategory" in changed
    # Layer 170 of ResNet50 without its top is the last block's second normalisation; what follows is trained.
    assert any(name.startswith("conv5_block3_3_conv/") for name in changed)
    assert not any(
        name.startswith(("conv1", "conv2", "conv3", "conv4", "conv5_block1", "conv5_block2")) for name in changed
    )
    assert not any(name.startswith("heads/") for name in changed - {"heads/subCategory"})


def test_blending_mixes_with_the_weights_that_training_began_with() -> None:
    from offline.train.export import blended

    random = np.random.default_rng(1)
    new, old = random.normal(size=(2, 3, 4)).astype(np.float32)
    directions = (5 * np.eye(4, 3)).astype(np.float32)
    before = np.array([[0, 2, 0, 0], [0, 1, 0, 0], [np.nan] * 4], dtype=np.float32)
    mixed = blended(
        {"conv/kernel": new, "heads/gender": directions, "heads/baseColour": directions},
        {"conv/kernel": old},
        {"gender": before},
        share=0.75,
    )
    assert np.allclose(mixed["conv/kernel"], 0.75 * new + 0.25 * old)
    found = mixed["heads/gender"].T
    assert np.allclose(found[0], np.array([3, 1, 0, 0]) / np.sqrt(10))
    assert np.allclose(found[1:], np.eye(4)[1:3]), "a label that was not known keeps what was learned"
    assert np.allclose(mixed["heads/baseColour"], np.eye(4, 3)), "so does a head that the bundle did not have"


@pytest.mark.parametrize(
    ("blend", "initial", "said"), [(0.0, "x", "blend"), (1.1, "x", "blend"), (0.5, "scratch", "bundle")]
)
def test_blending_needs_a_share_and_a_bundle(blend: float, initial: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=said):
        TrainConfig(dataset=tmp_path, run=tmp_path, passes=1, blend=blend, initial=initial)


def test_imagenet_weights_see_the_same_picture_through_another_scaling() -> None:
    from offline.train.initial import fit_imagenet
    from offline.train.model import preprocessing
    from services.embedder.runtimes.tensorflow import IMAGENET_PREPROCESSING
    from services.vision import scale

    random = np.random.default_rng(1)
    kernel = random.standard_normal((7, 7, 3, 4)).astype(np.float32)
    bias = random.standard_normal(4).astype(np.float32)
    picture = random.integers(0, 256, (7, 7, 3), dtype=np.uint8)
    fitted = fit_imagenet({"conv1_conv/kernel": kernel, "conv1_conv/bias": bias})

    def response(scaled: NDArray[np.float32], weights: NDArray[np.float32], shift: NDArray[np.float32]) -> object:
        return np.einsum("hwi,hwio->o", scaled.astype(float), weights.astype(float)) + shift

    expected = response(scale(picture, IMAGENET_PREPROCESSING), kernel, bias)
    found = response(scale(picture, preprocessing(7, 7)), fitted["conv1_conv/kernel"], fitted["conv1_conv/bias"])
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-2)
