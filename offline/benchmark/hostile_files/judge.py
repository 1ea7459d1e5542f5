"""Reads a file as the product does, and says what is wrong with what came of it."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from offline.backup import restore, verify
from offline.benchmark.hostile_files.mutants import READ
from offline.dataset.report import DatasetReport
from offline.dataset.rows import Dataset
from offline.evaluate.products import product_of
from offline.feeds.draft import draft
from offline.feeds.feed import find_source, read_feed
from offline.feeds.mapping import FeedMapping, read_mapping
from offline.feeds.products import feed_dataset, open_source
from services.bundle.reader import load_bundle
from services.classifier.recognition import ClassifierModel, classify_batch
from services.contract.errors import FashionError, InvalidInput
from services.embedder.runtimes.openvino import OpenvinoEncoder
from services.search.catalogue import identity
from services.search.catalogue.database import CatalogueUnusable
from services.search.catalogue.store import DATABASE_FILE, PHOTOGRAPHS_FOLDER
from services.search.conversion.products import product_to_proto

_EURO: Final = FeedMapping(constants={"currency": "EUR"})
# A fault of ours that a reader survived: the name of an exception is no reason for people.
_SURVIVED: Final = re.compile(r"unreadable: \w+(Error|Exception)\b")
_MAX_REASON: Final = 1000


Judgement = tuple[str, str]
"""What came of it, "read" or the reason of a refusal, and what is wrong with that; empty where nothing is."""


def judge(kind: str, folder: Path) -> Judgement:
    """Reads a mutant.

    Args:
        kind: of `Mutant`.
        folder: with its files, and nothing else.
    """
    try:
        return READ, _JUDGES[kind](folder)
    except FashionError as error:
        return error.reason, _unclear(error.message)
    except CatalogueUnusable as error:
        return "CATALOGUE_UNUSABLE", _unclear(str(error))


def _unclear(text: str) -> str:
    """Returns what is wrong with the text of a refusal."""
    if len(text) > _MAX_REASON or "\n" in text or "Traceback" in text or not text.endswith((".", '."')):
        return f"a refusal that is no clear sentence: {text[:300]!r}"
    return ""


def _file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def _feed(folder: Path) -> str:
    path = _file(folder)
    feed = read_feed(find_source(path), _EURO)
    with feed_dataset(feed, _EURO) as dataset:
        problem = _data_set_problem(dataset)
    if not problem:
        # The draft of its mapping is one that can be read and fits.
        written = folder / "draft.toml"
        written.write_text(draft(feed), encoding="utf-8")
        try:
            read_feed(path, read_mapping(written))
        except FashionError as error:
            problem = f"its own draft of a mapping is refused: {error.message[:300]}"
    return problem


def _mapping(folder: Path) -> str:
    mapping = read_mapping(folder / "shop.toml")
    with open_source(folder / "shop.csv", mapping=mapping) as dataset:
        return _data_set_problem(dataset)


def _data_set(folder: Path) -> str:
    with open_source(_file(folder)) as dataset:
        return _data_set_problem(dataset)


def _data_set_problem(dataset: Dataset) -> str:
    report = dataset.report
    problem = _report_problem(report)
    for row in dataset.rows:
        try:
            product = product_of(row)
        except InvalidInput as error:
            # The server would refuse the row, by name.
            problem = problem or _unclear(error.message)
            continue
        product_to_proto(product).SerializeToString()
        dataset.photograph_name(row.id).encode()
    # What is written for people and programs has to be text.
    report.to_json().encode()
    return problem


def _report_problem(report: DatasetReport) -> str:
    """Tells whether each row that was read has an outcome, and each that was dropped a place and a reason."""
    outcomes = report.rows_kept + report.rows_dropped + report.rows_left_out + report.rows_merged
    if report.rows_read != outcomes:
        return f"{report.rows_read} rows read, {outcomes} with an outcome"
    for kind, count in (("dropped", report.rows_dropped), ("left out", report.rows_left_out)):
        named = [each for each in report.findings if each.kind == kind]
        if len(named) != count or not all(each.line and each.reason for each in named):
            return f"{count} rows {kind}, {len(named)} of them named"
        if survived := next((each.reason for each in named if _SURVIVED.search(each.reason)), ""):
            return f"a row is dropped for a fault of ours: {survived[:200]}"
    return ""


def _bundle(folder: Path) -> str:
    bundle = load_bundle(folder)
    model = ClassifierModel.of(bundle)
    encoder = OpenvinoEncoder.from_bundle(bundle, threads=1, precision="float32")
    next(encoder.warm_up())
    frame = encoder.frame
    grey = np.full((1, frame.height, frame.width, 3), 128, dtype=np.uint8)
    features = encoder.features(grey)
    if not np.isfinite(features.embeddings).all() or features.embeddings.shape != (1, bundle.dimension):
        return f"an embedding of shape {features.embeddings.shape} that is not finite or does not fit"
    if encoder.garment_heads is not None and features.logits is not None:
        encoder.garment_heads.sights(features.logits)
    (classification,) = classify_batch(model, None, features.embeddings, 3)
    if not all(0 <= (each.probability or 0) <= 1 for each in classification.sub_categories):
        return f"a probability that is none: {classification}"
    return ""


def _backup(folder: Path) -> str:
    file, target = folder / "backup.zip", folder / "restored"
    try:
        contents = verify(file)
        # Dislikes would start a Redis.
        restored = contents if contents.users else restore(file, target)
    finally:
        strange = _strange(folder, target)
        if strange:
            # Worse than whatever was raised.
            raise AssertionError(f"files where none belong: {strange[:3]}")
    return "" if restored == contents else f"{restored} where {contents} was verified"


def _strange(folder: Path, target: Path) -> Sequence[str]:
    """Returns the files beside a backup that no restoring may write."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "backup.zip"]
    return [
        str(path)
        for path in files
        if path not in {target / DATABASE_FILE, target / identity.FILE}
        and not re.fullmatch(rf"{PHOTOGRAPHS_FOLDER}/[0-9a-f]{{2}}/[0-9a-f]{{62}}", os.path.relpath(path, target))
    ]


_JUDGES: Final[dict[str, Callable[[Path], str]]] = {
    "feed": _feed,
    "mapping": _mapping,
    "data set": _data_set,
    "bundle": _bundle,
    "backup": _backup,
}
