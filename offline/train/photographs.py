"""People's own photographs as examples: labels that leave several meanings open, parts by sender."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from offline.dataset.labels import LABELS_FILE, PhotographLabel, is_validation_sender, photograph_labels
from offline.dataset.pictures import reduced_picture
from offline.dataset.rows import open_dataset
from offline.dataset.split import Part
from offline.evaluate.coarse_types import CoarseTypes
from offline.train.config import OWN_TYPE
from offline.train.data import UNKNOWN, Examples, Pictures
from offline.train.words import MAX_WORDS
from services.contract.errors import InvalidInput
from services.vision import fit
from services.vision.preprocess import Frame, Padding

# A photograph is drawn with weight (n * m) to this power: n of its article type, m of its sender.
_RARER: Final = -0.35
# The four corners of a photograph that serve as backdrops are squares of this share of its shorter side.
_CORNER: Final = 0.3
# The shorter side of a photograph that pieces are cut from, as a multiple of the input's longer one.
_KEPT_SIDES: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class Photographs:
    """Photographs of garments whose gender and colour nobody has noted.

    Attributes:
        pictures: fitted whole into the input, padded with the colour of their rim.
        labels: sender and label of each.
        parts: the part of each, by its sender.
        corners: pieces of the training part's photographs, where garments seldom reach; uint8 squares.
    """

    pictures: Pictures
    labels: tuple[PhotographLabel, ...]
    parts: tuple[Part, ...]
    corners: tuple[NDArray[np.uint8], ...]

    @classmethod
    def load(cls, path: Path, height: int, width: int) -> Self:
        """Reads a folder or zip in Kaggle's layout that has a `labels.csv`; unreadable photographs are left out.

        Raises:
            InvalidInput: there is no such data set, or it has no usable `labels.csv`.
        """
        rows, pixels, labels, corners = [], [], [], []
        with open_dataset(path) as dataset:
            if dataset.table(LABELS_FILE) is None:
                raise InvalidInput(
                    f"{path} has no {LABELS_FILE}; people's photographs need the columns id, sender_id and label.",
                    reason="DATASET_LABELS_MISSING",
                )
            known = photograph_labels(dataset)
            for row in dataset.rows:
                try:
                    picture = reduced_picture(dataset.photograph(row.id), _KEPT_SIDES * max(height, width))
                except InvalidInput:
                    continue
                rows.append(row)
                labels.append(known[row.id])
                pixels.append(fit(picture, Frame(height, width, Padding.RIM)))
                corners.append(_corners(np.asarray(picture)))
        if not rows:
            raise InvalidInput(f"{path} has no readable photograph.", reason="DATASET_TOO_SMALL")
        parts: list[Part] = ["validation" if is_validation_sender(label.sender) else "train" for label in labels]
        pieces = [piece for four, part in zip(corners, parts, strict=True) if part == "train" for piece in four]
        return cls(Pictures(tuple(rows), np.stack(pixels)), tuple(labels), tuple(parts), tuple(pieces))

    def own_types(self) -> tuple[str, ...]:
        """Returns the labels of `OWN_TYPE`, in alphabetical order."""
        return tuple(sorted({row.article_type for row in self.pictures.rows}))

    def senders(self, part: Part) -> int:
        """Returns the number of people who sent a part."""
        return len({label.sender for label, of in zip(self.labels, self.parts, strict=True) if of == part})

    def examples(
        self, part: Part, names: Mapping[str, Sequence[str]], teacher: NDArray[np.float16] | None = None
    ) -> Examples:
        """Returns one part as examples: subCategory and articleType as far as the label says, no gender, no colour.

        Args:
            part: which part.
            names: labels by head.
            teacher: float16 (n, features) of all photographs.
        """
        types = CoarseTypes.load()
        chosen = np.array([at for at, of in enumerate(self.parts) if of == part], dtype=np.int64)
        pictures = self.pictures.take(chosen)
        senders = [self.labels[at].sender for at in chosen]
        labels = {head: np.zeros((len(chosen), len(names[head])), dtype=np.bool_) for head in names}
        coarse = [types.coarse(name) for name in names["subCategory"]]
        for at, row in enumerate(pictures.rows):
            of_row = types.coarse(row.sub_category, row.article_type)
            meant = types.meant(self.labels[chosen[at]].label, row.article_type)
            labels["subCategory"][at] = [each == of_row for each in coarse]
            labels["articleType"][at] = [name in meant for name in names["articleType"]]
            if OWN_TYPE in names:
                labels[OWN_TYPE][at] = [name == row.article_type for name in names[OWN_TYPE]]
        by_type, by_sender = Counter(row.article_type for row in pictures.rows), Counter(senders)
        weights = [
            (by_type[row.article_type] * by_sender[sender]) ** _RARER
            for row, sender in zip(pictures.rows, senders, strict=True)
        ]
        no_words = np.full((len(chosen), MAX_WORDS), UNKNOWN, dtype=np.int32)
        features = teacher[chosen] if teacher is not None else np.zeros((len(chosen), 0), dtype=np.float16)
        return Examples(pictures, labels, no_words, np.array(weights), False, features)


def _corners(photograph: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    height, width = photograph.shape[:2]
    side = max(1, int(_CORNER * min(height, width)))
    # Copies: a view would keep the whole photograph in memory.
    return [
        photograph[top : top + side, left : left + side].copy()
        for top in (0, height - side)
        for left in (0, width - side)
    ]
