"""A file of blocks is read whole or not at all, and replaced in one step."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest

from services.bundle.block_file import Block, open_blocks, write_blocks


def blocks(count: int = 4, seed: int = 0) -> list[Block]:
    dice = np.random.default_rng(seed)
    return [
        {"vectors": dice.normal(size=(number + 1, 8)).astype(np.float16), "codes": np.arange(number, dtype=np.int64)}
        for number in range(count)
    ]


def read(path: Path) -> tuple[dict[str, object], list[Block]]:
    with open_blocks(path) as file:
        return dict(file.header), [*file.blocks]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some.blocks"
    assert write_blocks(path, {"of": "a test"}, blocks()) == path.stat().st_size
    return path


def test_it_comes_back_as_it_was(path: Path) -> None:
    header, found = read(path)
    assert header == {"of": "a test"}
    assert [each.keys() for each in found] == [each.keys() for each in blocks()]
    for each, wanted in zip(found, blocks(), strict=True):
        for name, values in wanted.items():
            assert each[name].dtype == values.dtype and np.array_equal(each[name], values)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_no_flipped_byte_and_no_cut_is_read(path: Path) -> None:
    content, dice = path.read_bytes(), Random(1)
    damaged = [content[:length] for length in (0, 1, len(content) - 1, *dice.sample(range(len(content)), 150))]
    for place in dice.sample(range(len(content)), 300):
        flipped = bytearray(content)
        flipped[place] ^= 1 << dice.randrange(8)
        damaged.append(bytes(flipped))
    damaged += [content + b"\0", content[:200] + bytes(100) + content[300:]]
    for each in damaged:
        path.write_bytes(each)
        with pytest.raises(ValueError):
            read(path)


def test_a_block_of_an_older_file_does_not_fit(path: Path) -> None:
    older = path.read_bytes()
    write_blocks(path, {"of": "a TEST"}, blocks())
    newer = path.read_bytes()
    assert len(older) == len(newer)
    # A write that the disk lost leaves what was there before.
    path.write_bytes(newer[:-300] + older[-300:])
    with pytest.raises(ValueError, match="damaged"):
        read(path)


def test_what_cannot_be_written_leaves_the_former_file(path: Path) -> None:
    def failing() -> Iterator[Block]:
        yield from blocks(2)
        raise OSError("no room")

    before = path.read_bytes()
    with pytest.raises(OSError, match="no room"):
        write_blocks(path, {}, failing())
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_another_kind_of_file_is_refused(path: Path) -> None:
    for content in (b"", b"something else", bytes(4096)):
        path.write_bytes(content)
        with pytest.raises(ValueError):
            read(path)
