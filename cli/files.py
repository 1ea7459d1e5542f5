"""Files that commands read and write, and what people hear where that fails."""

from collections.abc import Iterable
from pathlib import Path

from services.contract.errors import InvalidInput


def read_file(path: Path) -> bytes:
    """Returns the content of a file.

    Raises:
        InvalidInput: FILE_UNREADABLE.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def write_file(path: Path, content: bytes | str) -> None:
    """Writes a file, and makes its folder where there is none.

    Raises:
        InvalidInput: FILE_UNWRITABLE.
    """
    write_parts(path, [content])


def write_parts(path: Path, parts: Iterable[bytes | str]) -> None:
    """Writes a file part by part, and makes its folder where there is none.

    Raises:
        InvalidInput: FILE_UNWRITABLE.
    """
    make_folder(path.parent)
    try:
        with path.open("wb") as file:
            file.writelines(part.encode() if isinstance(part, str) else part for part in parts)
    except OSError as error:
        raise unwritable(path, error) from None


def make_folder(folder: Path) -> None:
    """Makes a folder where there is none.

    Raises:
        InvalidInput: FILE_UNWRITABLE.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from None


def unreadable(path: Path, error: OSError) -> InvalidInput:
    """Describes a file or folder that cannot be read."""
    return InvalidInput(f"Cannot read {error.filename or path}: {error.strerror or error}.", reason="FILE_UNREADABLE")


def unwritable(path: Path, error: OSError) -> InvalidInput:
    """Describes a file or folder that cannot be written."""
    return InvalidInput(f"Cannot write {error.filename or path}: {error.strerror or error}.", reason="FILE_UNWRITABLE")
