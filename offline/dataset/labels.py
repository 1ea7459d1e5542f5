"""Who sent each photograph of a data set, and how that person labelled it: `labels.csv`."""

import csv
import io
from dataclasses import dataclass
from typing import Final

from offline.dataset.rows import Dataset
from services.contract.errors import InvalidInput

LABELS_FILE: Final = "labels.csv"
_COLUMNS: Final = ("id", "sender_id", "label")


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
