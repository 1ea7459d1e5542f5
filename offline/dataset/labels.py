"""Who sent each photograph of a data set, and how that person labelled it: `labels.csv`."""

import csv
import hashlib
import io
from dataclasses import dataclass
from typing import Final

from offline.dataset.rows import Dataset
from services.contract.errors import InvalidInput

LABELS_FILE: Final = "labels.csv"
_COLUMNS: Final = ("id", "sender_id", "label")
# The shipped model was chosen by the senders of this salt: another one would measure it on what it has learned.
_SENDER_SALT: Final = "photographs-split-13"
_VALIDATION_SENDERS: Final = 0.2


@dataclass(frozen=True, slots=True)
class PhotographLabel:
    """What `labels.csv` says of one photograph.

    Attributes:
        sender: the person who took it; one sender's photographs share a background.
        label: the sender's own word, such as "Hoodie".
    """

    sender: str
    label: str


def photograph_labels(dataset: Dataset) -> dict[str, PhotographLabel]:
    """Returns sender and label by product id.

    Without `labels.csv`, or without a line there, a photograph has a sender of its own, and its article type as label.

    Raises:
        InvalidInput: the file cannot be read, is not UTF-8, or lacks columns.
    """
    labels = {row.id: PhotographLabel(f"sender of {row.id}", row.article_type) for row in dataset.rows}
    content = dataset.table(LABELS_FILE)
    if content is None:
        return labels
    try:
        lines = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        absent = [column for column in _COLUMNS if column not in (lines.fieldnames or ())]
        if absent:
            raise InvalidInput(
                f"{LABELS_FILE} in {dataset.report.path} lacks the columns {', '.join(absent)}; "
                f"it must name {','.join(_COLUMNS)}.",
                reason="DATASET_COLUMNS_MISSING",
                metadata={"columns": ",".join(absent)},
            )
        for line in lines:
            own = labels.get(line["id"])
            if own is not None:
                labels[line["id"]] = PhotographLabel(line["sender_id"] or own.sender, line["label"] or own.label)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(
            f"{LABELS_FILE} in {dataset.report.path} is no table in UTF-8: {error}.", reason="DATASET_FILE_UNREADABLE"
        ) from error
    return labels


def is_validation_sender(sender: str) -> bool:
    """Tells whether a sender's photographs are for choosing, and never learned from; a hash of the name decides."""
    digest = hashlib.sha256(f"{_SENDER_SALT}\0{sender}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < _VALIDATION_SENDERS
