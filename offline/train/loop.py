"""The training run: Keras's `fit` from pass to pass and stage to stage, resumed where it was stopped."""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from rich.console import Console

from offline.train import checkpoint
from offline.train.checkpoint import Position
from offline.train.config import CONFIG_FILE, HEADS, OWN_TYPE, Stage, TrainConfig
from offline.train.data import Batches, Pictures, label_names, load, load_of, studio_examples
from offline.train.history import History, plot_history
from offline.train.initial import initial_bundle, initial_weights
from offline.train.model import Recogniser, embed, fuse_bfloat16, gpus, optimiser, values_of
from offline.train.photographs import Photographs
from offline.train.schedule import Clock, one_cycle
from offline.train.teacher import Features
from offline.train.validation import Measures
from offline.train.words import vocabulary
from services.contract.errors import InvalidInput
from services.embedder.runtimes.openvino import computes_bfloat16

_TELL_EVERY: Final = 25
_SAVE_EVERY_S: Final = 240.0
# With JAX a new learning rate costs a copy of all weights, so that it is set at every fourth step.
_RATE_EVERY: Final = 4
# Training takes at least this many times as long as the validation after it, but for the last.
_VALIDATION_RARITY: Final = 5.0
_AVERAGE: Final = "average/"
_STATE: Final = "state/"
_ANCHOR_FILE: Final = "anchor.npy"


def run_training(config: TrainConfig, stop: threading.Event, console: Console) -> Position:
    """Trains until the schedule is over, patience is at its end or `stop` is set; resumes from a checkpoint.

    Args:
        config: the settings. Of a resumed run, the schedule's length and the data may differ from before.
        stop: if it is set, the run writes a checkpoint and returns.
        console: where progress is printed.

    Returns:
        The position of the run.

    Raises:
        InvalidInput: the data set or the checkpoint cannot be used.
        ArithmeticError: the loss is no longer a number.
    """
    if config.precision == "auto":
        config = config.model_copy(update={"precision": "bfloat16" if _computes_bfloat16() else "float32"})
    initial_bundle(config.initial)
    earlier = checkpoint.load(config.run)
    config.run.mkdir(parents=True, exist_ok=True)
    with History(config.run, console) as history:
        history.say(f"reading {config.dataset}")
        data = _Data(config)
        words = vocabulary(data.train.rows, config.words_at_least) if config.words_weight else ()
        beginning = Position(0, 0, 0.0, 0.0, None, 0, label_names(data.train.rows), words)
        position = earlier[0] if earlier is not None else beginning
        names = data.names(position.labels)
        with _precision(config.precision):
            model = Recogniser(config, names, words=len(position.words), centre=data.centre)
        model.compile(optimizer=optimiser(config, model), jit_compile=keras.config.backend() == "jax")
        if earlier is None:
            model.begin_with(*initial_weights(config.initial, position.labels))
        else:
            restore(model, earlier[1])
        (config.run / CONFIG_FILE).write_text(config.model_dump_json(indent=1))
        history.say(f"{data.described()}, {keras.config.backend()} in {config.precision}, step {position.step}")
        batches = data.batches(names, position.words, _anchor(config, model, data.train, position))
        return _Run(config, model, batches, data, position, history).go(stop)


class _Data:
    """All that a run learns from and is measured on, at the last stage's size."""

    def __init__(self, config: TrainConfig) -> None:
        """Reads everything.

        Raises:
            InvalidInput: a data set or a file cannot be read.
        """
        self._config, size = config, (config.height, config.width)
        dataset = load_of(config)
        self._unreadable = len(dataset.unreadable)
        self._left_out = dataset.left_out(config.leave_out)
        self.train = dataset.part("train", without=self._left_out)
        self.validation = dataset.part("validation", without=self._left_out)
        # Now, and not only after hours, when the bundle is measured.
        for part in ("validation", "test"):
            if not len(dataset.part(part, without=self._left_out)):
                raise InvalidInput(
                    f"The data set's {part} part is empty, by which the network would be measured: give more products, "
                    "or name some of them in parts.json.",
                    reason="DATASET_TOO_SMALL",
                )
        extra = [load(path, *size).part("train", without=self._left_out) for path in config.extra]
        self._extra = Pictures(
            tuple(row for pictures in extra for row in pictures.rows),
            np.concatenate([self.train.pixels[:0], *(pictures.pixels for pictures in extra)]),
        )
        self.photographs = Photographs.load(config.photographs, *size) if config.photographs is not None else None
        self._features = Features.load(config.teacher) if config.teacher is not None else None
        self.centre = self._features.values.astype(np.float32).mean(axis=0) if self._features is not None else None

    def described(self) -> str:
        """Returns the amounts for people."""
        photographs = "no photographs"
        if self.photographs is not None:
            count, senders = self.photographs.parts.count("train"), self.photographs.senders("train")
            photographs = f"{count} photographs of {senders} people"
        return (
            f"{len(self.train)} products to learn from, {len(self._left_out)} derived types left out, "
            f"{len(self._extra)} products mixed in, {photographs}, {self._unreadable} photographs unreadable"
        )

    def names(self, labels: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """Returns labels by head, with those that serve training alone."""
        own = {OWN_TYPE: self.photographs.own_types()} if self.photographs is not None else {}
        return {head: tuple(labels[head]) for head in HEADS} | own

    def batches(
        self, names: Mapping[str, tuple[str, ...]], words: tuple[str, ...], anchor: NDArray[np.float16] | None
    ) -> Batches:
        """Returns batches of all that is learned from."""
        config = self._config

        def teacher(pictures: Pictures) -> NDArray[np.float16] | None:
            return self._features.of(pictures.ids) if self._features is not None else None

        train = studio_examples(
            self.train, names, words, rebalance=config.rebalance, teacher=teacher(self.train), anchor=anchor
        )
        # Extra products may have the ids of others, so the teacher says nothing of them.
        silent = np.zeros((len(self._extra), train.teacher.shape[1]), dtype=np.float16)
        others = [(studio_examples(self._extra, names, words, teacher=silent), config.extra_share)]
        if self.photographs is not None:
            shown = self.photographs.examples("train", names, teacher(self.photographs.pictures))
            others.append((shown, config.photographs_share))
        corners = self.photographs.corners if self.photographs is not None else ()
        return Batches(train, others, batch=config.batch, seed=config.seed, backdrops=corners)


def _anchor(config: TrainConfig, model: Recogniser, train: Pictures, position: Position) -> NDArray[np.float16] | None:
    """Returns the training part's embeddings by the initial bundle, (n, 2048); the run keeps them."""
    if not config.anchor_weight:
        return None
    path: Path = config.run / _ANCHOR_FILE
    if position.step == 0 or not path.exists():
        if position.step:
            raise InvalidInput(f"{path} is missing; begin the run anew.", reason="CHECKPOINT_BROKEN")
        np.save(path, embed(model.backbone, train.pixels).astype(np.float16))
    try:
        embeddings: NDArray[np.float16] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidInput(f"{path} is damaged; begin the run anew.", reason="CHECKPOINT_BROKEN") from error
    if len(embeddings) != len(train):
        raise InvalidInput(f"{path} is of another data set; begin the run anew.", reason="CHECKPOINT_BROKEN")
    return embeddings


class _Steps(keras.utils.PyDataset):  # type: ignore[misc]
    """The batches of one call of `fit`; Keras makes a few ahead in a thread."""

    def __init__(self, batches: Batches, seen: int, count: int, stage: Stage) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=4)
        self._batches, self._seen, self._count, self._stage = batches, seen, count, stage

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        seen = self._seen + index * self._batches.of_train
        batch = self._batches.at(seen, self._stage.height, self._stage.width)
        return dict(batch.inputs), dict(batch.targets)


class _Run(keras.callbacks.Callback):  # type: ignore[misc]
    """Leads `fit` along the schedule: learning rate, sizes, checkpoints, validation, stopping."""

    def __init__(
        self,
        config: TrainConfig,
        model: Recogniser,
        batches: Batches,
        data: _Data,
        position: Position,
        history: History,
    ) -> None:
        super().__init__()
        self._config, self._network, self._batches, self._history = config, model, batches, history
        self._position, self._pass = position, len(data.train)
        seconds = config.minutes * 60 if config.minutes is not None else None
        self._clock = Clock(config.passes, seconds, position.progress, position.spent_s)
        self._measures = Measures(config, data.validation, data.train, data.photographs, position.labels)
        self._stop = threading.Event()
        self._last = self._told = self._saved = self._validated = time.monotonic()
        self._validation_s = 0.0
        self._stage = config.stage(position.progress)
        self._logs: Mapping[str, float] = {}

    def go(self, stop: threading.Event) -> Position:
        """Trains to the end, or to `stop`."""
        self._stop = stop
        compiled: Stage | None = None
        while not self._clock.finished and not stop.is_set():
            self._stage = self._config.stage(self._clock.progress)
            left = self._pass - self._position.seen % self._pass
            steps = _Steps(self._batches, self._position.seen, math.ceil(left / self._batches.of_train), self._stage)
            if self._stage != compiled:
                # Compiled anew, so that the compiler knows the size of the pictures.
                self._network.make_train_function(force=True)
                compiled = self._stage
            before = self._position.seen // self._pass
            self._network.fit(steps, epochs=1, shuffle=False, verbose=0, callbacks=[self])
            ended_pass = before != self._position.seen // self._pass
            trained_s = time.monotonic() - self._validated
            if self._clock.finished or (ended_pass and trained_s >= _VALIDATION_RARITY * self._validation_s):
                out_of_patience = self._validate()
                self._save()
                if out_of_patience:
                    self._history.say("no better for a while: stopping early")
                    return self._position
        self._save()
        return self._position

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the learning rate."""
        if keras.config.backend() == "jax" and batch % _RATE_EVERY:
            return
        rate = self._config.peak
        if self._config.schedule == "one-cycle":
            rate = one_cycle(self._clock.progress, self._config.peak, self._config.warm_up)
        _synchronise(self._network)
        self._network.optimizer.learning_rate = rate

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves on in the schedule; saves, prints and stops when it is time."""
        self._logs = logs or {}
        if not math.isfinite(self._logs["loss"]):
            raise ArithmeticError(
                f"The loss is not a number at step {self._position.step}; lower the peak learning rate."
            )
        now = time.monotonic()
        seen = self._position.seen + self._batches.of_train
        self._clock.advance(seen / self._pass, now - self._last)
        self._last = now
        self._position = replace(
            self._position,
            step=self._position.step + 1,
            seen=seen,
            progress=self._clock.progress,
            spent_s=self._clock.spent_s,
        )
        if self._position.step % _TELL_EVERY == 0:
            figures = {"passes": seen / self._pass, **self._logs}
            speed = _TELL_EVERY * self._config.batch / (now - self._told)
            self._history.step(self._position, self._clock.left_s, figures | {"pictures_per_s": speed})
            self._told = now
        if now - self._saved > _SAVE_EVERY_S:
            self._save()
        over = self._clock.finished or self._stop.is_set()
        self._network.stop_training = over or self._stage != self._config.stage(self._clock.progress)

    def _validate(self) -> bool:
        """Measures the averaged weights; returns whether patience is at its end."""
        began = time.monotonic()
        model = self._network
        with averaged(model):
            figures = self._measures.of(model, self._stage)
        self._history.validation(
            {
                "step": self._position.step,
                "passes": self._position.seen / self._pass,
                "minutes": self._position.spent_s / 60,
                "height": self._stage.height,
                "learning_rate": float(ops.convert_to_numpy(model.optimizer.learning_rate)),
                **{name: value for name, value in self._logs.items() if name.endswith("_loss")},
                **figures,
            }
        )
        plot_history(self._config.run)
        figure = figures["all_top_10_right"] + figures["derivedType_accuracy"]
        better = self._position.best is None or figure > self._position.best
        waited = 0 if better else self._position.validations_since_best + 1
        best = figure if better else self._position.best
        self._position = replace(self._position, best=best, validations_since_best=waited)
        self._validated = time.monotonic()
        self._validation_s = self._validated - began
        return self._config.patience is not None and waited >= self._config.patience

    def _save(self) -> None:
        checkpoint.save(self._config.run, self._position, state_of(self._network))
        self._saved = time.monotonic()


def state_of(model: Recogniser) -> dict[str, NDArray[Any]]:
    """Returns all that a resumed run needs, by name, and the averaged weights under "average/"."""
    _synchronise(model)
    state = {f"{_STATE}{name}": value for name, value in values_of(model.variables_by_name()).items()}
    with averaged(model):
        return state | {f"{_AVERAGE}{name}": value for name, value in values_of(model.named()).items()}


def averaged_weights(run: Path) -> tuple[Position, dict[str, NDArray[np.float32]]]:
    """Returns position and averaged weights of a run's last checkpoint, the heads' under "heads/".

    Raises:
        NotFound: the run has no checkpoint.
        InvalidInput: it cannot be read.
    """
    position, state = checkpoint.last(run)
    return position, {key.removeprefix(_AVERAGE): value for key, value in state.items() if key.startswith(_AVERAGE)}


def restore(model: Recogniser, state: Mapping[str, NDArray[Any]]) -> None:
    """Takes up the state of an earlier run.

    Raises:
        InvalidInput: CHECKPOINT_BROKEN: it is that of another network.
    """
    for name, variable in model.variables_by_name().items():
        value = state.get(f"{_STATE}{name}")
        if value is None or value.shape != tuple(variable.shape):
            raise InvalidInput(
                f"The checkpoint's {name} does not fit these data and settings; begin a new run.",
                reason="CHECKPOINT_BROKEN",
            )
        variable.assign(value)


@contextmanager
def averaged(model: Recogniser) -> Iterator[None]:
    """Within it the trained weights are their moving averages."""
    _synchronise(model)
    variables = {str(at): variable for at, variable in enumerate(model.trainable_variables)}
    trained = values_of(variables)
    model.optimizer.put_averages(model.trainable_variables)
    try:
        yield
    finally:
        for name, variable in variables.items():
            variable.assign(trained[name])


def _synchronise(model: keras.Model) -> None:
    """Brings the variables up to date: JAX's trainer keeps their values to itself during `fit`."""
    if keras.config.backend() == "jax":
        model.jax_state_sync()


@contextmanager
def _precision(precision: str) -> Iterator[None]:
    """Within it layers are built for the arithmetic of the run; weights and statistics stay float32."""
    before = keras.config.dtype_policy()
    bfloat16 = precision == "bfloat16"
    fused = fuse_bfloat16(bfloat16)
    keras.config.set_dtype_policy("mixed_bfloat16" if bfloat16 and not fused else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _computes_bfloat16() -> bool:
    return bool(gpus()) or (keras.config.backend() == "tensorflow" and computes_bfloat16())
