"""Keeps the whole index in a file between starts, so that a start reads again only what has changed since."""

import importlib.metadata
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog

from services.bundle.block_file import Block, OpenBlocks, open_blocks, unfinished, write_blocks
from services.search.catalogue.packed import COLUMNS, pack_products, unpack_products
from services.search.filters import words
from services.search.indexes.faiss import FaissIndex
from services.search.indexes.parts import FurtherPart, Part, SnapshotInterrupted
from services.search.indexes.shards import ReducedRows, Reduction

FILE: Final = "index.snapshot"
_FORMAT: Final = "fashion-index-1"
# Products in a block: 8 MiB of embeddings, whose copy holds a writer up for a few milliseconds.
_BLOCK_PRODUCTS: Final = 2048
# About how many bytes a product takes per float of its embedding, and how much room is left to others.
_BYTES_PER_FLOAT: Final = 3
_ROOM_BYTES: Final = 64 << 20
# A text whose words change where the rules for words do.
_PROBE: Final = ("Men's T-shirt, Größe 5½", "Blue/White e\u0301t\u00e9")

# What reading a file raises that is damaged, or means something else.
_UNUSABLE: Final = (OSError, ValueError, KeyError, TypeError, StopIteration)

_log = structlog.stdlib.get_logger(__name__)


class SnapshotUnusable(Exception):
    """A snapshot is damaged, or of another catalogue, model or program; the text says which."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that is being read.

    Attributes:
        index_version: of the catalogue; all that changed later has to be read again.
        mark: of that version, see `services.search.catalogue.write_log`.
        damaged: ids of the products that the catalogue left out as damaged.
        reduction: the projection of the reduced index; None without one.
        parts: all products, part by part.
    """

    index_version: int
    mark: str
    damaged: frozenset[str]
    reduction: Reduction | None
    parts: Iterator[Part]


class SnapshotFile:
    """A snapshot of an index in a file of the data directory."""

    def __init__(self, directory: Path, model_version: str, index: FaissIndex) -> None:
        """Takes the data directory, the model of the embeddings, and the index."""
        self.model_version = model_version
        self._path = directory / FILE
        self._index = index
        self._dimension = index.dimension
        self._seal = {
            "format": _FORMAT,
            "program": _program(),
            "model_version": model_version,
            "dimension": index.dimension,
            "components": index.settings.components,
            "columns": list(COLUMNS),
            "words": words.searchable(_PROBE),
        }

    def write(
        self,
        mark_of: Callable[[int], str | None],
        damaged: Collection[str],
        pause: Callable[[], object] = lambda: None,
    ) -> int | None:
        """Replaces the file by a snapshot of the index, beside its readers and writers.

        Args:
            mark_of: returns the mark of a version; None where the catalogue does not know it.
            damaged: ids of the products that the catalogue leaves out as damaged.
            pause: called after each block; it may raise SnapshotInterrupted.

        Returns:
            The version of the snapshot; None where it could not be written, which is logged.
        """
        began = time.monotonic()
        needed = _BYTES_PER_FLOAT * self._dimension * self._index.facts().product_count
        free = shutil.disk_usage(self._path.parent).free
        # What room there is belongs to the catalogue.
        if free < 2 * needed + _ROOM_BYTES:
            why = f"it takes about {needed >> 20} MiB, and the disk has room for {free >> 20} MiB"
            _log.warning("snapshot of the index is not written", file=str(self._path), why=why)
            return None
        index_version, reduction, parts = self._index.snapshot(_BLOCK_PRODUCTS)
        mark = mark_of(index_version)
        if mark is None:
            return None
        header = {
            **self._seal,
            "index_version": index_version,
            "mark": mark,
            "damaged": sorted(damaged),
            "trained_on": None if reduction is None else reduction.trained_on,
        }

        def blocks() -> Iterator[Block]:
            if reduction is not None:
                yield {
                    "basis": reduction.basis,
                    **({} if reduction.centres is None else {"centres": reduction.centres}),
                }
            for part in parts:
                yield _block(part)
                pause()

        try:
            size = write_blocks(self._path, header, blocks())
        except SnapshotInterrupted:
            return None
        except (OSError, ValueError) as error:
            _log.warning("snapshot of the index cannot be written", file=str(self._path), why=str(error))
            return None
        _log.info(
            "snapshot of the index written",
            index_version=index_version,
            mib=size >> 20,
            seconds=round(time.monotonic() - began, 2),
        )
        return index_version

    @contextmanager
    def open(self) -> Iterator[Snapshot | None]:
        """Opens the snapshot; None where there is none.

        Raises:
            SnapshotUnusable: it is damaged, or of another model or program; also within the context, from its parts.
        """
        with ExitStack() as resources:
            try:
                file = resources.enter_context(open_blocks(self._path))
            except FileNotFoundError:
                yield None
                return
            except _UNUSABLE as error:
                raise SnapshotUnusable(str(error)) from error
            try:
                yield self._opened(file)
            except _UNUSABLE as error:
                raise SnapshotUnusable(str(error)) from error

    def _opened(self, file: OpenBlocks) -> Snapshot:
        header = file.header
        for name, wanted in self._seal.items():
            if header[name] != wanted:
                raise ValueError(f"its {name} is {_brief(header[name])} instead of {_brief(wanted)}")
        reduction = None
        if (trained_on := header["trained_on"]) is not None:
            first = next(file.blocks)
            reduction = Reduction(first["basis"], int(trained_on), first.get("centres"))
        parts = (self._part(block, reduction is not None) for block in file.blocks)
        return Snapshot(
            int(header["index_version"]), str(header["mark"]), frozenset(header["damaged"]), reduction, parts
        )

    def tidy(self) -> None:
        """Removes what a killed process has left half written."""
        with suppress(OSError):
            unfinished(self._path).unlink(missing_ok=True)

    def discard(self) -> None:
        """Removes the file. Left there, it might fit again by chance."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _part(self, block: Block, reduced: bool) -> Part:
        """Makes a part of a block.

        Raises:
            ValueError: its arrays do not fit together.
        """
        products, texts = unpack_products(block["products"].tobytes()), block["texts"].tobytes().decode()
        searchable, embeddings = block["searchable"], block["embeddings"]
        listed = texts.split("\n") if products else []
        if len(listed) != len(products) or searchable.shape != (len(products),):
            raise ValueError("its columns are of different lengths")
        if embeddings.shape != (int(np.count_nonzero(searchable)), self._dimension):
            raise ValueError(f"its embeddings are {embeddings.shape}")
        further = None
        if "further_places" in block:
            further = FurtherPart(
                block["further_places"],
                block["further_numbers"],
                block["further_embeddings"],
                _rows(block, "further_") if reduced else None,
            )
        return Part(products, listed, searchable, embeddings, _rows(block, "") if reduced else None, further)


def _program() -> str:
    try:
        return importlib.metadata.version("fashion-recommender")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _block(part: Part) -> Block:
    assert part.texts is not None
    block: dict[str, Any] = {
        "products": np.frombuffer(pack_products(part.products), dtype=np.uint8),
        # A searchable text holds words and spaces alone.
        "texts": np.frombuffer("\n".join(part.texts).encode(), dtype=np.uint8),
        "searchable": part.searchable,
        "embeddings": part.embeddings,
    }
    if part.reduced is not None:
        block |= _named(part.reduced, "")
    if part.further is not None:
        block["further_places"] = part.further.places
        block["further_numbers"] = part.further.numbers
        block["further_embeddings"] = part.further.embeddings
        if part.further.reduced is not None:
            block |= _named(part.further.reduced, "further_")
    return block


def _rows(block: Mapping[str, Any], prefix: str) -> ReducedRows:
    return ReducedRows(block[f"{prefix}reduced"], block[f"{prefix}refining"], block.get(f"{prefix}cells"))


def _named(rows: ReducedRows, prefix: str) -> dict[str, Any]:
    named = {"reduced": rows.first, "refining": rows.refining, "cells": rows.cells}
    return {f"{prefix}{name}": array for name, array in named.items() if array is not None}


def _brief(value: object) -> str:
    return repr(value)[:60]
