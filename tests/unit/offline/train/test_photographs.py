"""People's photographs as training examples."""

from pathlib import Path

import numpy as np
import pytest

from offline.train.config import HEADS, OWN_TYPE
from offline.train.photographs import Photographs
from services.contract.errors import InvalidInput
from tests.support.training_data import write_photographs


def test_senders_are_split_and_photographs_teach_what_their_labels_say(tmp_path: Path) -> None:
    write_photographs(tmp_path / "photographs.zip")
    photographs = Photographs.load(tmp_path / "photographs.zip", 40, 30)
    parts = {(label.sender, part) for label, part in zip(photographs.labels, photographs.parts, strict=True)}
    assert len(parts) == 20
    # Of no other people may it learn: the shipped bundle, from which runs begin, has learned from all others.
    assert {sender for sender, part in parts if part == "validation"} == {"3", "7", "10", "14"}
    assert len(photographs.corners) == 4 * photographs.parts.count("train")

    names = dict.fromkeys(HEADS, ("Men", "Topwear", "Bottomwear", "Shoes", "Sandal", "Tshirts", "Jeans", "Trousers"))
    names[OWN_TYPE] = photographs.own_types()
    examples = photographs.examples("train", names)
    assert not examples.studio and len(examples) == photographs.parts.count("train")
    for head in ("gender", "derivedType", "baseColour"):
        assert not examples.labels[head].any(), f"{head} is not known"
    assert (examples.labels[OWN_TYPE].sum(axis=1) == 1).all()
    types = [row.article_type for row in examples.pictures.rows]

    def right(head: str, article_type: str) -> set[str]:
        return {names[head][at] for at in np.flatnonzero(examples.labels[head][types.index(article_type)])}

    assert right("articleType", "Trousers") == {"Trousers", "Jeans"}
    assert right("subCategory", "Trousers") == {"Bottomwear"}
    assert right("subCategory", "Shoes") == {"Shoes", "Sandal"}
    assert right("articleType", "Tshirts") == {"Tshirts"}


def test_photographs_are_padded_with_the_colour_of_their_rim(tmp_path: Path) -> None:
    write_photographs(tmp_path / "photographs.zip", senders=1)
    photographs = Photographs.load(tmp_path / "photographs.zip", 40, 30)
    assert (photographs.pictures.pixels[:, 0] == (200, 20, 20)).all()


def test_photographs_without_senders_are_refused(tmp_path: Path) -> None:
    write_photographs(tmp_path / "photographs.zip", senders=1, labels=False)
    with pytest.raises(InvalidInput, match="has no labels"):
        Photographs.load(tmp_path / "photographs.zip", 40, 30)
