"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary file beside `path`, which takes its place at the end; after an error it is removed.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(prefix=f".{path.name}.", suffix=".part", dir=path.parent, delete=False) as file:
        temporary = Path(file.name)
    try:
        # As a file that the user makes; temporary ones are for their owner alone.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        yield temporary
        with temporary.open("rb") as content:
            os.fsync(content.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
