"""`labels.csv`: who sent a photograph, and what that person called it."""

from pathlib import Path

import pytest

from offline.dataset.labels import PhotographLabel, is_validation_sender, photograph_labels
from offline.dataset.rows import open_dataset
from services.contract.errors import InvalidInput
from tests.unit.cli.commands.test_evaluate import write_shop


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "shop", first=0, count=3)


def labels_of(shop: Path, table: bytes) -> dict[str, PhotographLabel]:
    (shop / "labels.csv").write_bytes(table)
    with open_dataset(shop) as dataset:
        return photograph_labels(dataset)


def test_sender_and_label_are_read_in_any_order_of_columns(shop: Path) -> None:
    labels = labels_of(shop, "\ufefflabel,id,image,sender_id\nHoodie,0,x,ann\nShoes,2,y,bob\nHat,9,z,bob\n".encode())

    assert labels["0"] == PhotographLabel("ann", "Hoodie")
    assert labels["2"] == PhotographLabel("bob", "Shoes")
    # No line: a sender of its own, and the article type.
    assert labels["1"].label == "Shirts"
    assert labels["1"].sender not in {"ann", "bob"}
    assert "9" not in labels


def test_without_the_table_each_photograph_has_a_sender_of_its_own(shop: Path) -> None:
    with open_dataset(shop) as dataset:
        labels = photograph_labels(dataset)

    assert len({label.sender for label in labels.values()}) == 3
    assert labels["2"].label == "Heels"


@pytest.mark.parametrize(
    ("table", "reason", "text"),
    [
        (b"id,label\n0,Hoodie\n", "DATASET_COLUMNS_MISSING", "sender_id"),
        (b"", "DATASET_COLUMNS_MISSING", "sender_id"),
        (b"id,sender_id,label\n0,\xff,Hoodie\n", "DATASET_FILE_UNREADABLE", "UTF-8"),
    ],
)
def test_a_table_of_another_kind_is_refused(shop: Path, table: bytes, reason: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=text) as refused:
        labels_of(shop, table)

    assert refused.value.reason == reason


def test_validation_senders_are_those_that_the_shipped_model_was_chosen_by() -> None:
    # As docs/evaluation.md says: the first eight bytes of a hash, below a fifth of their range.
    assert [number for number in range(20) if is_validation_sender(str(number))] == [3, 7, 10, 14]
