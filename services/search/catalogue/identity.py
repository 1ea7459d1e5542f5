"""What tells a catalogue from every other one: a file beside the database, which goes along into backups."""

import secrets
from pathlib import Path
from typing import Final

from services.bundle.durable import synchronise

FILE: Final = "catalogue.id"


def identity_of(directory: Path) -> str:
    """Returns the identity of the catalogue of a data directory; the first time, makes one.

    A copy of the directory and a restored backup have the same. It is for what lies outside of the directory and
    belongs to one catalogue, such as a collection of Milvus.

    Raises:
        OSError: it cannot be read or written.
    """
    file = directory / FILE
    if file.is_file() and (known := file.read_text().strip()):
        return known
    identity = secrets.token_hex(16)
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(f"{identity}\n")
    synchronise(unfinished)
    unfinished.replace(file)
    synchronise(directory)
    return identity
