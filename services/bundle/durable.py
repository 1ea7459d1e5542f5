"""Folders and files that a power cut does not take."""

import os
from pathlib import Path


def synchronise(path: Path) -> None:
    """Waits until a file's content, or a folder's names, are on disk.

    Raises:
        OSError: they could not be written.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Makes a folder and those above it, where they are missing; their names are on disk when it returns.

    Without that, a power cut could take a new folder together with all that was synchronised in it.

    Raises:
        OSError: a folder could not be made.
    """
    made = []
    for folder in (path, *path.parents):
        if folder.exists():
            break
        made.append(folder)
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    for folder in made:
        synchronise(folder.parent)
