"""A catalogue written as a data set: `styles.csv` with every attribute, and the photographs of each product."""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from offline.dataset.files import FURTHER_FOLDER, PHOTOGRAPH_SUFFIXES, PHOTOGRAPHS_FOLDER, STYLES_FILE
from offline.dataset.row import COLUMNS, OPTIONAL_COLUMNS, column_of
from offline.whole_file import whole_file
from services.contract.errors import InvalidInput

# Stands in each folder that an export has begun to write, so that a later one may write over it.
_MARK: Final = ".fashion-export"
_SUFFIX_OF: Final = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/avif": ".avif"}
_MAX_NAME_BYTES = 255 - len(".avif")
# In names of files these mean something else, on one system or another.
_FORBIDDEN: Final = frozenset('/\\:*?"<>|')


class CatalogueFiles:
    """Writes a catalogue to a folder; a context manager. The table appears at the end, whole.

    Attributes:
        products: rows written.
        photographs: photographs that are there, further ones too.
        notes: why an ingest of the folder leaves out a product, for people, by its id.
    """

    def __init__(self, folder: Path, *, foreign: bool = False) -> None:
        """Takes the folder, which is made where there is none.

        Args:
            folder: an empty one, or one that an earlier export has written.
            foreign: whether the folder may hold other files, some of which are written over.
        """
        self.products = 0
        self.photographs = 0
        self.notes: dict[str, str] = {}
        self._folder = folder
        self._foreign = foreign
        self._table = whole_file(folder / STYLES_FILE)
        self._columns = (*COLUMNS, *OPTIONAL_COLUMNS)

    def __enter__(self) -> Self:
        """Begins the table.

        Raises:
            InvalidInput: FOLDER_NOT_EMPTY; the folder holds files that no export has written.
        """
        mark = self._folder / _MARK
        if not self._foreign and not mark.exists() and self._folder.is_dir() and any(self._folder.iterdir()):
            raise InvalidInput(
                f"{self._folder} holds files that no export has written. Name an empty folder, or say --yes to write "
                "over those of the same names.",
                reason="FOLDER_NOT_EMPTY",
            )
        temporary = self._table.__enter__()
        mark.write_text(
            "`fashion export catalogue` has written this folder, and may write over it.\n", encoding="utf-8"
        )
        (self._folder / PHOTOGRAPHS_FOLDER).mkdir(exist_ok=True)
        self._file = temporary.open("w", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, self._columns, lineterminator="\n")
        self._writer.writeheader()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._table.__exit__(kind, error, trace)

    def write_product(self, cells: Mapping[str, str]) -> None:
        """Writes a product: text by field of a row, without those that are unknown."""
        columns = column_of(self._columns)
        self._writer.writerow({columns[field]: text for field, text in cells.items()})
        self.products += 1
        if "master_category" not in cells:
            self.note(cells["id"], "it has no master category")

    def write_photographs(self, product_id: str, photographs: Sequence[tuple[str, bytes]]) -> None:
        """Writes the photographs of a product, unless the very same are there; removes its other files.

        Args:
            product_id: names the files.
            photographs: media type and content of each, the first one first.
        """
        if _FORBIDDEN & set(product_id) or len(product_id.encode()) > _MAX_NAME_BYTES or product_id.startswith("."):
            self.note(product_id, "its id cannot be the name of a file")
            return
        further = self._folder / FURTHER_FOLDER / product_id
        for number, (media_type, content) in enumerate(photographs):
            folder, name = (self._folder / PHOTOGRAPHS_FOLDER, product_id) if number == 0 else (further, str(number))
            _write(folder, name, media_type, content)
        for path in further.glob("*") if further.is_dir() else ():
            if not path.stem.isdecimal() or int(path.stem) >= len(photographs):
                path.unlink()
        with suppress(OSError):
            further.rmdir()
        self.photographs += len(photographs)

    def note(self, product_id: str, why: str) -> None:
        """Remembers why an ingest will leave out a product."""
        self.notes[product_id] = why


def _write(folder: Path, name: str, media_type: str, content: bytes) -> None:
    """Writes a photograph in place of those of the same name and other types."""
    suffix = _SUFFIX_OF[media_type]
    path = folder / f"{name}{suffix}"
    if not (path.is_file() and _same(path, content)):
        with whole_file(path) as temporary:
            temporary.write_bytes(content)
    for other in PHOTOGRAPH_SUFFIXES:
        if other != suffix:
            path.with_name(f"{name}{other}").unlink(missing_ok=True)


def _same(path: Path, content: bytes) -> bool:
    if path.stat().st_size != len(content):
        return False
    return hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(content).digest()
