"""Reads the photographs that examples are made of: those to learn from, and those that are held out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from offline.dataset.labels import is_validation_sender, photograph_labels
from offline.dataset.pictures import reduced_picture
from offline.dataset.row import Row
from offline.dataset.rows import Dataset, open_dataset
from offline.dataset.split import Part, given_parts, photograph_digests, split
from offline.detect.examples import Material
from offline.detect.outlines import outline
from services.bundle.reader import Bundle
from services.contract.errors import InvalidInput
from services.vision.preprocess import Frame

# The shorter side of what is kept, as a multiple of the input's side. Of people's photographs only a corner may serve,
# as a background that is larger than the input.
_STUDIO_SIDES: Final = 3
_PHOTOGRAPH_SIDES: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class SourcePictures:
    """What examples are made of.

    Attributes:
        learned: to learn from: studio shots of the training part, and photographs of the training senders.
        held_out: to choose thresholds by: those of the validation part, and of the validation senders.
        unreadable: id and reason of each photograph that is left out.
        digest: of all pictures with their labels, in hexadecimal; it changes with any of them.
    """

    learned: Material
    held_out: Material
    unreadable: Sequence[tuple[str, str]]
    digest: str


@dataclass(slots=True)
class _Labelled:
    """Pictures of a kind, in the order of their rows: the subCategory of each as an index, and what tells them apart.

    Attributes:
        facts: the SHA-256 of each file, and its label.
    """

    pictures: list[Image.Image] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)


def read_pictures(bundle: Bundle, dataset: Path, photographs: Path, *, products: int, seed: int) -> SourcePictures:
    """Reads two data sets; photographs that cannot be read are left out.

    Args:
        bundle: its labels count, and the rule by which its training divided the products.
        dataset: studio shots in Kaggle's layout.
        photographs: people's photographs in the same layout.
        products: maximum number of studio shots to learn from.
        seed: of their choice.

    Raises:
        InvalidInput: a data set cannot be used, or nothing is left to learn from or to choose by.
    """
    labels = bundle.labels["subCategory"]
    unreadable: list[tuple[str, str]] = []

    def read(source: Dataset, rows: Sequence[Row], shorter_side: int) -> _Labelled:
        read = _Labelled()
        for row in rows:
            try:
                content = source.photograph(row.id)
                picture = reduced_picture(content, shorter_side)
            except InvalidInput as error:
                unreadable.append((row.id, error.message))
                continue
            read.pictures.append(picture)
            read.labels.append(labels.index(row.sub_category))
            read.facts.append(f"{hashlib.sha256(content).hexdigest()} {row.sub_category}")
        return read

    shot_side = _STUDIO_SIDES * min(bundle.frame.height, bundle.frame.width)
    photograph_side = _PHOTOGRAPH_SIDES * max(bundle.frame.height, bundle.frame.width)
    with open_dataset(dataset) as studio, open_dataset(photographs) as people:
        parts = _parts(bundle, studio, unreadable)
        known = [row for row in studio.rows if row.sub_category in labels and row.id in parts]
        training = [row for row in known if parts[row.id] == "train"]
        chosen = np.random.default_rng((seed, 0)).permutation(len(training))[:products]
        shots = read(studio, [training[index] for index in chosen], shot_side)
        unseen_shots = read(studio, [row for row in known if parts[row.id] == "validation"], shot_side)

        senders = photograph_labels(people)
        labelled = [row for row in people.rows if row.sub_category in labels]
        held_out = [row for row in labelled if is_validation_sender(senders[row.id].sender)]
        learned = [row for row in labelled if not is_validation_sender(senders[row.id].sender)]
        sent = read(people, learned, photograph_side)
        # Of few senders, none may be for choosing.
        unseen = read(people, held_out, photograph_side)
        if not unseen.pictures:
            unseen = sent
    if not shots.pictures or not sent.pictures:
        raise InvalidInput("There is nothing to learn garments from.", reason="DATASET_EMPTY")
    if not unseen_shots.pictures:
        raise InvalidInput(
            "The data set's validation part is empty, by which thresholds are chosen: give more products.",
            reason="DATASET_TOO_SMALL",
        )
    kinds = (shots, sent, unseen_shots, unseen)
    digest = hashlib.sha256("\n\n".join("\n".join(kind.facts) for kind in kinds).encode()).hexdigest()
    return SourcePictures(
        _material(bundle.frame, shots, sent), _material(bundle.frame, unseen_shots, unseen), unreadable, digest
    )


def _parts(bundle: Bundle, studio: Dataset, unreadable: list[tuple[str, str]]) -> dict[str, Part]:
    """Returns the parts as training divided them: what is held out here was not learned from there."""
    given = given_parts(studio, studio.rows)
    if given is not None:
        return given
    faults: dict[str, str] = {}
    digests = photograph_digests(studio, faults)
    unreadable += faults.items()
    rule = bundle.description["split"]
    return split([row for row in studio.rows if row.id in digests], digests, rule["salt"], rule["fractions"])


def _material(frame: Frame, studio: _Labelled, people: _Labelled) -> Material:
    outlines = [outline(photograph) for photograph in people.pictures]
    return Material(frame, studio.pictures, studio.labels, people.pictures, people.labels, outlines)
