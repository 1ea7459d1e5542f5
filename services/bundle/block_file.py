"""A large file of arrays that is derived from other data: written and read block by block, whole or not used at all."""

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from numpy.typing import NDArray

from services.bundle.durable import synchronise
from services.bundle.tensors import read_tensors, write_tensors

Block = Mapping[str, NDArray[Any]]

_HEAD, _DATA, _END = b"HEAD", b"DATA", b"ENDS"
# Kind, number, length and checksum of a block.
_FRAME: Final = struct.Struct("<4sIQI")
_DESCRIBED: Final = struct.Struct("<4sIQ")
# A longer block is damage, not a block.
_MAX_BLOCK_BYTES: Final = 2**30
# Blocks that are read in advance.
_AHEAD: Final = 2


@dataclass(frozen=True, slots=True)
class OpenBlocks:
    """A file that is being read.

    Attributes:
        header: as it was written.
        blocks: these; the iterator raises ValueError or OSError where the file is not whole.
    """

    header: Mapping[str, Any]
    blocks: Iterator[Block]


def unfinished(path: Path) -> Path:
    """Returns the name that a file has until it is whole."""
    return path.with_name(f".{path.name}.new")


def write_blocks(path: Path, header: Mapping[str, Any], blocks: Iterable[Block]) -> int:
    """Replaces a file in one step, which a power cut cannot split: it is on disk under its name when this returns.

    Args:
        path: in a folder that exists.
        header: what JSON can hold.
        blocks: arrays by name; each block is on disk before the next is taken, so that others share the disk.

    Returns:
        The size of the file in bytes.

    Raises:
        OSError: it could not be written; the former file stays.
    """
    fresh = unfinished(path)
    try:
        with fresh.open("wb") as file:
            # A block of an older file never fits: the checksums begin with that of the header.
            content = json.dumps(header).encode()
            seed = zlib.crc32(content)
            _write(file, _HEAD, 0, content, 0)
            number = 0
            for number, block in enumerate(blocks, start=1):
                _write(file, _DATA, number, write_tensors(block, {"number": str(number)}), seed)
                file.flush()
                os.fdatasync(file.fileno())
            _write(file, _END, number + 1, b"", seed)
            size = file.tell()
        synchronise(fresh)
        fresh.replace(path)
        synchronise(path.parent)
    except BaseException:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    return size


@contextmanager
def open_blocks(path: Path) -> Iterator[OpenBlocks]:
    """Opens a file that `write_blocks` wrote; nothing in it is ever executed.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
        ValueError: its header is damaged, or it is another kind of file.
    """
    with path.open("rb") as file, ThreadPoolExecutor(1, thread_name_prefix="blocks") as thread:
        kind, content = _read(file, 0, None)
        if kind != _HEAD:
            raise ValueError("it does not begin with a header")
        header, seed = json.loads(content), zlib.crc32(content)

        def block(number: int) -> Block | None:
            kind, content = _read(file, number, seed)
            if kind == _DATA:
                return read_tensors(content)[0]
            if kind != _END or content or file.read(1):
                raise ValueError("it does not end where it should")
            return None

        def blocks() -> Iterator[Block]:
            # The thread reads, checks and unpacks the next blocks, mostly without the interpreter.
            ahead = [thread.submit(block, number) for number in range(1, 1 + _AHEAD)]
            number = _AHEAD
            while (ready := ahead.pop(0).result()) is not None:
                number += 1
                ahead.append(thread.submit(block, number))
                yield ready

        yield OpenBlocks(header, blocks())


def _write(file: BinaryIO, kind: bytes, number: int, content: bytes, seed: int) -> None:
    file.write(_FRAME.pack(kind, number, len(content), _checksum(kind, number, content, seed)))
    file.write(content)


def _read(file: BinaryIO, number: int, seed: int | None) -> tuple[bytes, bytes]:
    """Returns kind and content of the block with a number."""
    frame = file.read(_FRAME.size)
    if len(frame) < _FRAME.size:
        raise ValueError(f"it ends before block {number}")
    kind, its_number, length, checksum = _FRAME.unpack(frame)
    if its_number != number or length > _MAX_BLOCK_BYTES:
        raise ValueError(f"block {number} is damaged")
    content = file.read(length)
    if len(content) < length:
        raise ValueError(f"it ends within block {number}")
    if _checksum(kind, number, content, seed or 0) != checksum:
        raise ValueError(f"block {number} is damaged")
    return kind, content


def _checksum(kind: bytes, number: int, content: bytes, seed: int) -> int:
    return zlib.crc32(content, zlib.crc32(_DESCRIBED.pack(kind, number, len(content)), seed))
