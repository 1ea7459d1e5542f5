"""What is learned from: pictures, labels and features, in batches that depend on seed and position alone."""

import hashlib
import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offline.dataset.row import Row
from offline.dataset.rows import open_dataset
from offline.dataset.split import Part, given_parts, split
from offline.train.config import HEADS, TrainConfig
from offline.train.words import encode_words
from services.contract.errors import InvalidInput
from services.vision.preprocess import Frame, Padding, prepare

UNKNOWN = -1
_MIN_TRAINING_ROWS = 2


@dataclass(frozen=True, slots=True)
class Pictures:
    """Products with their pixels.

    Attributes:
        rows: the products.
        pixels: (n, height, width, 3), uint8, RGB.
    """

    rows: tuple[Row, ...]
    pixels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def ids(self) -> list[str]:
        """The products' ids."""
        return [row.id for row in self.rows]

    def take(self, indices: NDArray[np.int64]) -> "Pictures":
        """Returns some of the products."""
        return Pictures(tuple(self.rows[i] for i in indices), self.pixels[indices])

    def sample(self, count: int, seed: Sequence[int]) -> "Pictures":
        """Returns this many products at random, in their order; all where there are no more."""
        if len(self) <= count:
            return self
        return self.take(np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False)))

    def resized(self, height: int, width: int) -> NDArray[np.uint8]:
        """Returns the pixels at another size: (n, height, width, 3), uint8."""
        if self.pixels.shape[1:3] == (height, width):
            return self.pixels
        small = np.empty((len(self), height, width, 3), dtype=np.uint8)
        for index, picture in enumerate(self.pixels):
            resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
            small[index] = np.asarray(resized)
        return small


@dataclass(frozen=True, slots=True)
class LoadedDataset:
    """A data set, decoded and split.

    Attributes:
        pictures: all products whose photograph can be read.
        parts: part of each product, by id.
        unreadable: reason by id, of the products left out.
    """

    pictures: Pictures
    parts: Mapping[str, Part]
    unreadable: Mapping[str, str]

    def part(self, part: Part, without: Collection[str] = ()) -> Pictures:
        """Returns the products of one part, without those of some derived types."""
        chosen = [
            i
            for i, row in enumerate(self.pictures.rows)
            if self.parts[row.id] == part and row.derived_type not in without
        ]
        return self.pictures.take(np.asarray(chosen, dtype=np.int64))

    def left_out(self, share: float) -> frozenset[str]:
        """Returns a share of the training part's derived types: frequent and rare ones alike, always the same.

        Args:
            share: of the types, in [0, 0.5]; 0 leaves none out.
        """
        if not share:
            return frozenset()
        counts = Counter(row.derived_type for row in self.part("train").rows)
        ranked = sorted(counts, key=lambda name: (-counts[name], name))
        every = 1.0 / share
        return frozenset(ranked[int((at + 0.5) * every)] for at in range(int(len(ranked) * share)))


def load(
    path: Path,
    height: int,
    width: int,
    salt: str | None = None,
    fractions: Mapping[Part, float] | None = None,
    *,
    larger: Path | None = None,
) -> LoadedDataset:
    """Reads, decodes and splits a data set.

    Args:
        path: folder or zip in Kaggle's layout.
        height: rows of a picture.
        width: columns of a picture.
        salt: of the split; all products are "train" if it is None. If the data set has a `parts.json`, its parts by
            product id take the place of the split.
        fractions: of the split.
        larger: data set with larger photographs of some of the products. Every second of them is taken, so that both
            kinds are seen. The split goes by the photographs in `path` alone.

    Raises:
        InvalidInput: there is no such data set, or `parts.json` lacks a product or is none.
    """
    rows: list[Row] = []
    pixels: list[NDArray[np.uint8]] = []
    digests: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    frame = Frame(height, width, Padding.RIM)
    with ExitStack() as stack:
        dataset = stack.enter_context(open_dataset(path))
        large = stack.enter_context(open_dataset(larger)) if larger is not None else dataset
        enlarged = {row.id for row in large.rows[::2]} if larger is not None else set()
        for row in dataset.rows:
            try:
                content = dataset.photograph(row.id)
                pixels.append(prepare(large.photograph(row.id) if row.id in enlarged else content, frame))
            except InvalidInput as error:
                unreadable[row.id] = error.message
                continue
            rows.append(row)
            digests[row.id] = hashlib.sha256(content).hexdigest()
        parts: dict[str, Part] | None = dict.fromkeys((row.id for row in rows), "train")
        if salt is not None:
            parts = given_parts(dataset, rows)
    if parts is None:
        assert salt is not None, "Without a salt all products are learned from."
        parts = split(rows, digests, salt, fractions or {})
    stacked = np.stack(pixels) if pixels else np.zeros((0, height, width, 3), dtype=np.uint8)
    return LoadedDataset(Pictures(tuple(rows), stacked), parts, unreadable)


def load_of(config: TrainConfig) -> LoadedDataset:
    """Reads the data set of a run at the size of its last stage.

    Raises:
        InvalidInput: as in `load`.
    """
    size = (config.height, config.width)
    return load(config.dataset, *size, config.salt, config.fractions, larger=config.larger)


def label_of(row: Row, head: str) -> str | None:
    """Returns the label that a head learns for a product; None if the data set does not say."""
    labels = {
        # An article type alone is no label beside those of it with a gender.
        "derivedType": row.derived_type if row.gender else None,
        "articleType": row.article_type,
        "gender": row.gender,
        "subCategory": row.sub_category,
        "baseColour": row.base_colour,
    }
    return labels[head]


def label_names(rows: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    """Returns the labels that occur, by head, in alphabetical order."""
    return {
        head: tuple(sorted({label for row in rows if (label := label_of(row, head)) is not None})) for head in HEADS
    }


def right_labels(rows: Sequence[Row], names: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.bool_]]:
    """Returns which labels are right: bool (n, labels) by head, none where there is none or the head knows it not.

    Args:
        rows: the products.
        names: labels by head; those of heads that products know nothing of may be among them.
    """
    labels = {head: np.zeros((len(rows), len(names[head])), dtype=np.bool_) for head in names}
    for head in (head for head in HEADS if head in names):
        column = {name: at for at, name in enumerate(names[head])}
        for at, row in enumerate(rows):
            if (known := column.get(label_of(row, head) or "")) is not None:
                labels[head][at, known] = True
    return labels


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Pictures with all that is learned from them, one row each.

    Attributes:
        pictures: the pictures.
        labels: bool (n, labels) by head: the labels that may be right; none of them if nothing is known.
        words: int32 (n, m), the words of each name; `UNKNOWN` where there are no more.
        weights: float64 (n,), how often each is drawn, relative to the others.
        studio: whether they are garments on white, which may be laid on something else.
        teacher: float16 (n, features), rows of zeros where the teacher's features are unknown; features may be 0.
        anchor: float16 (n, dimension), embeddings to stay near to; None where there are none.
    """

    pictures: Pictures
    labels: Mapping[str, NDArray[np.bool_]]
    words: NDArray[np.int32]
    weights: NDArray[np.float64]
    studio: bool
    teacher: NDArray[np.float16]
    anchor: NDArray[np.float16] | None = None

    def __len__(self) -> int:
        return len(self.pictures)


def studio_examples(
    pictures: Pictures,
    names: Mapping[str, Sequence[str]],
    words: Sequence[str],
    *,
    rebalance: float = 0.0,
    teacher: NDArray[np.float16] | None = None,
    anchor: NDArray[np.float16] | None = None,
) -> Examples:
    """Returns the products of a shop as examples.

    Args:
        pictures: the products.
        names: labels by head, as in `right_labels`.
        words: the vocabulary.
        rebalance: exponent e; a product of a derived type with n products is drawn with weight n ** -e.
        teacher: as in `Examples`.
        anchor: as in `Examples`.
    """
    counts = Counter(row.derived_type for row in pictures.rows)
    weights = np.array([counts[row.derived_type] ** -rebalance for row in pictures.rows])
    if teacher is None:
        teacher = np.zeros((len(pictures), 0), dtype=np.float16)
    labels = right_labels(pictures.rows, names)
    return Examples(pictures, labels, encode_words(pictures.rows, words), weights, True, teacher, anchor)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step's input, not yet altered.

    Attributes:
        inputs: "pixels" and "backdrops", uint8 (batch, height, width, 3), and "studio", float32 (batch,), 1 for a
            garment on white. A backdrop may be laid behind a garment.
        targets: float32 (batch, labels) by head, "words", int32 (batch, m), "teacher", float32 (batch, features),
            "anchor", float32 (batch, dimension), and "studio" as above.
        seen: pictures of the training part behind, once this batch is done.
    """

    inputs: Mapping[str, NDArray[Any]]
    targets: Mapping[str, NDArray[Any]]
    seen: int


class Batches:
    """Batches of the training part, with shares of further examples; a batch depends on seed and position alone."""

    def __init__(
        self,
        train: Examples,
        others: Sequence[tuple[Examples, float]] = (),
        *,
        batch: int,
        seed: int,
        backdrops: Sequence[NDArray[np.uint8]] = (),
    ) -> None:
        """Keeps what is drawn from.

        Args:
            train: the training part; a pass shows each of its pictures about once.
            others: further examples, each with the share of a batch that is drawn from them.
            batch: pictures per step.
            seed: of everything random.
            backdrops: pieces of photographs, uint8 (height, width, 3) of any size.

        Raises:
            InvalidInput: DATASET_TOO_SMALL.
        """
        if len(train) < _MIN_TRAINING_ROWS:
            raise InvalidInput("The training part has fewer than two products.", reason="DATASET_TOO_SMALL")
        drawn = [(examples, round(batch * share)) for examples, share in others if len(examples)]
        self.of_train = batch - sum(count for _, count in drawn)
        self._sources = [(train, self.of_train), *drawn]
        self._orders = [_Order(examples.weights, (seed, 2 + at)) for at, (examples, _) in enumerate(self._sources)]
        self._dimension = train.anchor.shape[1] if train.anchor is not None else 0
        self._seed = seed
        self._lock = threading.Lock()
        self._pieces = backdrops
        self._size: tuple[int, int] | None = None
        self._resized: list[NDArray[np.uint8]] = []
        self._backdrops = np.zeros((0, 1, 1, 3), dtype=np.uint8)

    def at(self, seen: int, height: int, width: int) -> Batch:
        """Returns the batch that follows after `seen` pictures of the training part, at a size.

        The same position, size and seed give the same batch, so a resumed run goes on as it would have. Several threads
        may ask: the one of an earlier stage may still be at work when that of the next one begins.
        """
        with self._lock:
            return self._at(seen, height, width)

    def _at(self, seen: int, height: int, width: int) -> Batch:
        self._resize(height, width)
        step = seen // self.of_train
        places = [
            order.at(seen if at == 0 else step * count, count)
            for at, (order, (_, count)) in enumerate(zip(self._orders, self._sources, strict=True))
        ]
        chosen = [(examples, rows) for (examples, _), rows in zip(self._sources, places, strict=True)]
        pixels = np.concatenate([resized[rows] for resized, rows in zip(self._resized, places, strict=True)])
        backdrops = pixels
        if len(self._backdrops):
            random = np.random.default_rng((self._seed, seen, 1))
            backdrops = self._backdrops[random.integers(0, len(self._backdrops), len(pixels))]
        studio = np.concatenate([np.full(len(rows), examples.studio, dtype=np.float32) for examples, rows in chosen])
        labels = {
            head: np.concatenate([examples.labels[head][rows] for examples, rows in chosen]).astype(np.float32)
            for head in chosen[0][0].labels
        }
        targets = {
            **labels,
            "words": np.concatenate([examples.words[rows] for examples, rows in chosen]),
            "teacher": np.concatenate([examples.teacher[rows] for examples, rows in chosen]).astype(np.float32),
            "anchor": np.concatenate([self._anchors(examples, rows) for examples, rows in chosen]).astype(np.float32),
            "studio": studio,
        }
        inputs = {"pixels": pixels, "backdrops": backdrops, "studio": studio}
        return Batch(inputs, targets, seen + self.of_train)

    def _anchors(self, examples: Examples, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        if examples.anchor is not None:
            return examples.anchor[rows]
        return np.zeros((len(rows), self._dimension), dtype=np.float16)

    def _resize(self, height: int, width: int) -> None:
        if self._size == (height, width):
            return
        self._resized = [examples.pictures.resized(height, width) for examples, _ in self._sources]
        if self._pieces:
            pieces = [Image.fromarray(piece).resize((width, height)) for piece in self._pieces]
            self._backdrops = np.stack([np.asarray(piece) for piece in pieces])
        self._size = (height, width)


@dataclass(slots=True)
class _Order:
    """The order in which pictures are drawn: shuffled anew each pass, each its expected number of times."""

    weights: NDArray[np.float64]
    seed: tuple[int, ...]
    _pass: int = field(default=-1, init=False)
    _rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64), init=False)

    def at(self, position: int, count: int) -> NDArray[np.int64]:
        """Returns this many that follow after a position: int64 (count,)."""
        return np.array([self._one(position + k) for k in range(count)], dtype=np.int64)

    def _one(self, position: int) -> int:
        number, within = divmod(position, len(self.weights))
        if number != self._pass:
            random = np.random.default_rng((*self.seed, number))
            # Systematic sampling: the counts differ from the expectation by less than one.
            n = len(self.weights)
            edges = np.cumsum(self.weights / self.weights.sum()) * n
            drawn = np.searchsorted(edges, np.arange(n) + random.random(), side="right")
            self._rows = random.permutation(np.minimum(drawn, n - 1))
            self._pass = number
        return int(self._rows[within])
