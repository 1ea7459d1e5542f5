"""The training run: batches in, checkpoints out, resumed where it was stopped."""

import json
import queue
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from rich.console import Console

from offline.train import checkpoint
from offline.train.checkpoint import Position
from offline.train.config import CONFIG_FILE, HEADS, TrainConfig
from offline.train.data import Batch, Batches, Pictures, label_names, load
from offline.train.history import History, plot_history
from offline.train.initial import initial_weights
from offline.train.model import Network
from offline.train.schedule import Clock, one_cycle
from offline.train.validation import validate
from offline.train.words import vocabulary
from services.contract.errors import InvalidInput
from services.embedder.runtimes.openvino import computes_bfloat16

_BLEND_EVERY = 16
_TELL_EVERY = 25
_READ_AHEAD = 6
_WAIT_S = 600.0


def run_training(config: TrainConfig, stop: threading.Event, console: Console) -> Position:
    """Train until the schedule is over, patience is at its end or `stop` is set; resume where there is a checkpoint.

    Args:
        config: what to do. Of a resumed run, the schedule's length and the data may differ from before.
        stop: set it to have the run write a checkpoint and return.
        console: where to tell about it.

    Returns:
        Where the run stands.

    Raises:
        InvalidInput: the data set or the checkpoint cannot be used.
        ArithmeticError: the loss is no longer a number.
    """
    config.run.mkdir(parents=True, exist_ok=True)
    if config.precision == "auto":
        config = replace(config, precision="bfloat16" if computes_bfloat16() else "float32")
    _set_up_tensorflow(config)
    with History(config.run, console) as history:
        history.say(f"reading {config.dataset}")
        dataset = load(config.dataset, config.height, config.width, config.salt, config.fractions)
        left_out = dataset.left_out(config.leave_out)
        extra = _load_extra(config, left_out)
        train = dataset.part("train", without=left_out)
        earlier = checkpoint.load(config.run)
        words = vocabulary(train.rows, config.words_at_least) if config.words_weight else ()
        beginning = Position(0, 0, 0.0, 0.0, None, 0, label_names(train.rows), words)
        position = earlier[0] if earlier is not None else beginning
        network = _build(config, position)
        if earlier is None:
            network.begin_with(*initial_weights(config.initial, position.labels))
        else:
            network.restore(earlier[1])
            del earlier
        (config.run / CONFIG_FILE).write_text(json.dumps(config.to_json(), indent=1))
        history.say(
            f"{len(train)} products to learn from, {len(left_out)} derived types left out, "
            f"{len(extra) if extra else 0} more mixed in, "
            f"{len(dataset.unreadable)} photographs unreadable, step {position.step}"
        )
        validation = dataset.part("validation", without=left_out)
        return _Run(config, network, train, validation, extra, position, history).go(stop)


def _set_up_tensorflow(config: TrainConfig) -> None:
    if config.threads:
        tf.config.threading.set_intra_op_parallelism_threads(config.threads)
    # oneDNN computes convolutions in bfloat16 and adds up in float32; weights and statistics stay float32.
    tf.config.optimizer.set_experimental_options(
        {"auto_mixed_precision_onednn_bfloat16": config.precision == "bfloat16"}
    )


def _load_extra(config: TrainConfig, left_out: Collection[str]) -> Pictures | None:
    loaded = [load(path, config.height, config.width).part("train", without=left_out) for path in config.extra]
    if not loaded:
        return None
    return Pictures(
        tuple(row for pictures in loaded for row in pictures.rows),
        np.concatenate([pictures.pixels for pictures in loaded]),
    )


def _build(config: TrainConfig, position: Position) -> Network:
    return Network(
        position.labels,
        logit_scale=config.logit_scale,
        label_smoothing=config.label_smoothing,
        margins=config.margins,
        head_weights=config.head_weights,
        words=len(position.words),
        words_weight=config.words_weight,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        ema_decay=config.ema_decay,
        softmax=config.softmax,
        frozen_layers=config.frozen_layers,
        seed=config.seed,
    )


class _Run:
    def __init__(
        self,
        config: TrainConfig,
        network: Network,
        train: Pictures,
        validation: Pictures,
        extra: Pictures | None,
        position: Position,
        history: History,
    ) -> None:
        self._config, self._network, self._history = config, network, history
        self._train_size = len(train)
        self._position = position
        self._clock = Clock(
            config.passes,
            config.minutes * 60 if config.minutes is not None else None,
            position.progress,
            position.spent_s,
        )
        self._batches = Batches(
            train,
            extra,
            position.labels,
            position.words,
            batch=config.batch,
            extra_share=config.extra_share,
            rebalance=config.rebalance,
            seed=config.seed,
        )
        self._queries = _sample(validation, config.validation_queries, config.seed)
        self._catalogue = _sample(train, config.validation_catalogue, config.seed)

    def go(self, stop: threading.Event) -> Position:
        """Train to the end, or to `stop`."""
        config, clock = self._config, self._clock
        window: list[NDArray[np.float32]] = []
        since_validation: list[NDArray[np.float32]] = []
        last = told = time.monotonic()
        rate = 0.0
        with self._read_ahead() as batches:
            while not clock.finished and not stop.is_set():
                batch = batches.get(timeout=_WAIT_S)
                if isinstance(batch, BaseException):
                    raise batch
                rate = config.peak
                if config.schedule == "one-cycle":
                    rate = one_cycle(clock.progress, config.peak, config.warm_up)
                figures = self._network.train_step(batch.pixels, batch.labels, batch.words, rate)
                if not np.isfinite(figures).all():
                    raise ArithmeticError(
                        f"the loss is not a number at step {self._position.step}; lower the peak learning rate"
                    )
                before = self._position.seen
                now = time.monotonic()
                clock.advance(batch.seen / self._train_size, now - last)
                last = now
                self._position = replace(
                    self._position,
                    step=self._position.step + 1,
                    seen=batch.seen,
                    progress=clock.progress,
                    spent_s=clock.spent_s,
                )
                if self._position.step % _BLEND_EVERY == 0:
                    self._network.update_average(_BLEND_EVERY)
                window.append(figures)
                since_validation.append(figures)
                if len(window) >= _TELL_EVERY:
                    speed = len(window) * config.batch / (now - told)
                    self._tell(window, rate, speed)
                    window, told = [], now
                if before // self._train_size != batch.seen // self._train_size or clock.finished:
                    stale = self._validate(since_validation, rate)
                    since_validation = []
                    now = time.monotonic()
                    clock.advance(batch.seen / self._train_size, now - last)
                    self._position = replace(self._position, progress=clock.progress, spent_s=clock.spent_s)
                    last = told = now
                    self._save()
                    if stale:
                        self._history.say("no better for a while: stopping early")
                        return self._position
        self._save()
        return self._position

    def _tell(self, window: list[NDArray[np.float32]], rate: float, speed: float) -> None:
        losses = np.mean(window, axis=0)[: len(HEADS)]
        hits = np.mean(window, axis=0)[len(HEADS) : 2 * len(HEADS)]
        self._history.step(
            self._position.step,
            self._position.progress,
            self._clock.left_s,
            {
                "passes": self._position.seen / self._train_size,
                "loss": float(losses[0]),
                **{head: float(hit) for head, hit in zip(HEADS, hits, strict=True)},
                "rate": rate,
                "pictures_a_second": speed,
            },
        )

    def _validate(self, window: list[NDArray[np.float32]], rate: float) -> bool:
        """Measure the averaged weights; whether patience is at its end."""
        network = self._network
        trained = network.weights()
        network.set_weights(network.average())
        heads = {head: variable.numpy() for head, variable in network.heads.items()}
        stage = self._config.stage(self._position.progress)
        size = (stage.height, stage.width)
        figures = validate(network.embed, self._queries, self._catalogue, heads, self._position.labels, size)
        network.set_weights(trained)
        means = np.mean(window, axis=0)
        self._history.validation(
            self._position.step,
            {
                "step": self._position.step,
                "passes": self._position.seen / self._train_size,
                "minutes": self._position.spent_s / 60,
                "height": stage.height,
                "learning_rate": rate,
                **{f"{head}_loss": float(loss) for head, loss in zip(HEADS, means, strict=False)},
                "words_loss": float(means[-1]),
                **figures,
            },
        )
        plot_history(self._config.run)
        figure = figures["all_top_10_right"] + figures["derivedType_accuracy"]
        better = self._position.best is None or figure > self._position.best
        waited = 0 if better else self._position.validations_since_best + 1
        self._position = replace(
            self._position,
            best=figure if better else self._position.best,
            validations_since_best=waited,
        )
        return self._config.patience is not None and waited >= self._config.patience

    def _save(self) -> None:
        checkpoint.save(self._config.run, self._position, self._network.state())

    @contextmanager
    def _read_ahead(self) -> Iterator["queue.Queue[Batch | BaseException]"]:
        """Make batches in a thread of their own, a few ahead of training."""
        ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=_READ_AHEAD)
        closing = threading.Event()

        def put(item: Batch | BaseException) -> bool:
            while not closing.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    return True
                except queue.Full:
                    continue
            return False

        def produce() -> None:
            seen = self._position.seen
            try:
                while not closing.is_set():
                    stage = self._config.stage(self._clock.progress)
                    batch = self._batches.at(seen, stage.height, stage.width)
                    seen = batch.seen
                    if not put(batch):
                        return
            except Exception as error:
                put(error)

        thread = threading.Thread(target=produce, name="batches", daemon=True)
        thread.start()
        try:
            yield ready
        finally:
            closing.set()
            thread.join(timeout=_WAIT_S)


def _sample(pictures: Pictures, count: int, seed: int) -> Pictures:
    if len(pictures) == 0:
        raise InvalidInput("the validation part is empty: the data set is too small", reason="DATASET_TOO_SMALL")
    if len(pictures) <= count:
        return pictures
    chosen = np.random.default_rng((seed, 4)).choice(len(pictures), count, replace=False)
    return pictures.take(np.sort(chosen))
