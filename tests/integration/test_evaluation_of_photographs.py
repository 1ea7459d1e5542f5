"""The shipped model, measured by command on photographs that people took of their own clothes."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from offline.dataset.labels import LABELS_FILE
from offline.dataset.rows import open_dataset
from offline.dataset.split import write_subset

# 96 embeddings take seconds on two idle cores, and far longer on busy ones.
pytestmark = pytest.mark.timeout(300)

PHOTOGRAPHS = 96
# The shipped model recognises about half of all (docs/evaluation.md), and 96 photographs tell a share to within ten
# points. Pixels in another order or range, or heads of another model, come out far below.
FLOOR = 0.35


def test_half_of_people_s_photographs_are_recognised(fashion_photos: Path, tmp_path: Path) -> None:
    photographs = tmp_path / "photos.zip"
    with open_dataset(fashion_photos) as dataset:
        ids = [row.id for row in dataset.rows]
        write_subset(dataset, np.random.default_rng(0).choice(ids, PHOTOGRAPHS, replace=False).tolist(), photographs)
        table = dataset.table(LABELS_FILE)
    assert table is not None
    with zipfile.ZipFile(photographs, "a") as archive:
        archive.writestr(LABELS_FILE, table)
    written, page = tmp_path / "figures.json", tmp_path / "page.md"
    arguments = ["--catalogue", photographs, "--queries", photographs, "--cache", tmp_path]

    # In a process of its own, as the evaluation of the shipped model.
    command = [sys.executable, "-m", "cli", "evaluate", "photographs", *arguments, "--json", written, "--output", page]
    subprocess.run(list(map(str, command)), check=True, timeout=280)

    found = json.loads(written.read_text())
    assert found["queries"] == PHOTOGRAPHS
    assert 10 < found["senders"] < PHOTOGRAPHS
    assert found["recognition"]["coarse"]["share"] > FLOOR
    assert sum(row["photographs"] for row in found["by_label"]) == PHOTOGRAPHS
    # The senders' words, which only labels.csv has.
    assert {row["label"] for row in found["by_label"]} >= {"T-Shirt", "Longsleeve", "Pants"}
    assert (tmp_path / "page-worst.png").is_file()
