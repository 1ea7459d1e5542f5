"""What is learned from: pixels and labels of the training part, in batches that depend on seed and position alone."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offline.dataset.rows import Row, open_dataset
from offline.dataset.split import Part, split
from offline.train.augment import augment
from offline.train.config import HEADS
from offline.train.words import encode_words
from services.contract.errors import InvalidInput
from services.vision import prepare
from services.vision.preprocess import Frame

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

    def take(self, indices: NDArray[np.int64]) -> "Pictures":
        """Some of the products."""
        return Pictures(tuple(self.rows[i] for i in indices), self.pixels[indices])

    def resized(self, height: int, width: int) -> NDArray[np.uint8]:
        """The pixels at another size: (n, height, width, 3), uint8."""
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
        """The products of one part, but for those of some derived types."""
        chosen = [
            i
            for i, row in enumerate(self.pictures.rows)
            if self.parts[row.id] == part and row.derived_type not in without
        ]
        return self.pictures.take(np.asarray(chosen, dtype=np.int64))

    def left_out(self, share: float) -> frozenset[str]:
        """That share of the training part's derived types: frequent and rare ones alike, the same every time.

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
    path: Path, height: int, width: int, salt: str | None = None, fractions: Mapping[Part, float] | None = None
) -> LoadedDataset:
    """Read, decode and split a data set.

    Args:
        path: folder or zip in Kaggle's layout.
        height: rows of a picture.
        width: columns of a picture.
        salt: of the split; all products are "train" where it is None.
        fractions: of the split.

    Raises:
        InvalidInput: there is no such data set.
    """
    rows: list[Row] = []
    pixels: list[NDArray[np.uint8]] = []
    digests: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    with open_dataset(path) as dataset:
        for row in dataset.rows:
            try:
                content = dataset.photograph(row.id)
                pixels.append(prepare(content, Frame(height, width)))
            except InvalidInput as error:
                unreadable[row.id] = error.message
                continue
            rows.append(row)
            digests[row.id] = hashlib.sha256(content).hexdigest()
    parts: dict[str, Part] = dict.fromkeys((row.id for row in rows), "train")
    if salt is not None:
        parts = split(rows, digests, salt, fractions or {})
    stacked = np.stack(pixels) if pixels else np.zeros((0, height, width, 3), dtype=np.uint8)
    return LoadedDataset(Pictures(tuple(rows), stacked), parts, unreadable)


def label_of(row: Row, head: str) -> str | None:
    """The label that a head learns for a product; None where the data set does not say."""
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
    """The labels that occur, by head, in alphabetical order."""
    return {
        head: tuple(sorted({label for row in rows if (label := label_of(row, head)) is not None})) for head in HEADS
    }


def encode_labels(rows: Sequence[Row], names: Mapping[str, Sequence[str]]) -> NDArray[np.int32]:
    """Labels as numbers: (n, heads), int32, `UNKNOWN` where there is none or the head does not know it."""
    known = {head: {name: i for i, name in enumerate(names[head])} for head in HEADS}
    return np.array(
        [[known[head].get(label_of(row, head) or "", UNKNOWN) for head in HEADS] for row in rows],
        dtype=np.int32,
    ).reshape(len(rows), len(HEADS))


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's input.

    Attributes:
        pixels: (batch, height, width, 3), uint8, augmented.
        labels: (batch, heads), int32.
        words: (batch, words), int32, those of the names.
        seen: pictures of the training part behind, once this batch is done.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]
    words: NDArray[np.int32]
    seen: int


class Batches:
    """Batches of the training part, with a share of further pictures; no state beyond the resized pixels."""

    def __init__(
        self,
        train: Pictures,
        extra: Pictures | None,
        names: Mapping[str, Sequence[str]],
        words: Sequence[str],
        *,
        batch: int,
        extra_share: float,
        rebalance: float,
        seed: int,
    ) -> None:
        if len(train) < _MIN_TRAINING_ROWS:
            raise InvalidInput("the training part has fewer than two products", reason="DATASET_TOO_SMALL")
        self._train, self._extra = train, extra
        self._labels = encode_labels(train.rows, names)
        self._words = encode_words(train.rows, words)
        self._extra_labels = encode_labels(extra.rows, names) if extra is not None else None
        self._extra_words = encode_words(extra.rows, words) if extra is not None else None
        self._of_extra = round(batch * extra_share) if extra is not None and len(extra) else 0
        self._of_train = batch - self._of_extra
        self._seed = seed
        counts = Counter(row.derived_type for row in train.rows)
        weights = np.array([counts[row.derived_type] ** -rebalance for row in train.rows])
        self._weights = weights / weights.sum()
        self._size: tuple[int, int] | None = None
        self._resized: NDArray[np.uint8] = train.pixels
        self._extra_resized: NDArray[np.uint8] | None = None
        self._order_of: int | None = None
        self._order: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def at(self, seen: int, height: int, width: int) -> Batch:
        """The batch that follows after `seen` pictures of the training part, at a size.

        The same position, size and seed give the same batch, so a resumed run goes on as it would have.
        """
        self._resize(height, width)
        random = np.random.default_rng((self._seed, seen, 1))
        indices = np.array([self._index(seen + k) for k in range(self._of_train)], dtype=np.int64)
        pixels, labels, words = self._resized[indices], self._labels[indices], self._words[indices]
        further = self._extra_resized, self._extra_labels, self._extra_words
        if self._of_extra and further[0] is not None and further[1] is not None and further[2] is not None:
            chosen = random.integers(0, len(further[0]), self._of_extra)
            pixels = np.concatenate([pixels, further[0][chosen]])
            labels = np.concatenate([labels, further[1][chosen]])
            words = np.concatenate([words, further[2][chosen]])
        altered = np.stack([augment(picture, random) for picture in pixels])
        return Batch(altered, labels, words, seen + self._of_train)

    def _index(self, position: int) -> int:
        epoch, within = divmod(position, len(self._train))
        if epoch != self._order_of:
            self._order, self._order_of = self._draw(epoch), epoch
        return int(self._order[within])

    def _draw(self, epoch: int) -> NDArray[np.int64]:
        """One pass: each product its expected number of times, rounded by chance, shuffled."""
        random = np.random.default_rng((self._seed, epoch, 2))
        # Systematic sampling: the counts differ from the expectation by less than one.
        n = len(self._train)
        edges = np.cumsum(self._weights) * n
        ticks = np.arange(n) + random.random()
        order = np.minimum(np.searchsorted(edges, ticks, side="right"), n - 1).astype(np.int64)
        random.shuffle(order)
        return order

    def _resize(self, height: int, width: int) -> None:
        if self._size == (height, width):
            return
        self._resized = self._train.resized(height, width)
        if self._extra is not None:
            self._extra_resized = self._extra.resized(height, width)
        self._size = (height, width)
