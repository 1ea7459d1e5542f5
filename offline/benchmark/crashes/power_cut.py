"""What a power cut may take: whatever was never synchronised. A killed process alone loses nothing that it wrote."""

import json
import shutil
from pathlib import Path

# PRAGMA synchronous: below this, SQLite does not synchronise the log with each commit.
_FULL = 2


def cut_power(data_dir: Path, journal: Path) -> int:
    """Takes from a data directory all that a power cut might take; returns how many files that changed.

    Args:
        data_dir: of a stack that has been killed.
        journal: what it did to files, as `victim` notes it; empty afterwards.
    """
    # Names that are not on disk -> where their file had its name before, if that is; files whose content is not.
    names: dict[Path, Path | None] = {}
    contents: set[Path] = set()
    # Of names that other files had before, a link to the first of these.
    formers: dict[Path, Path] = {}
    synchronous = _FULL
    for line in journal.read_text().splitlines():
        event, *arguments = json.loads(line)
        if event == "sqlite":
            synchronous = min(synchronous, int(arguments[0]))
            continue
        path = Path(arguments[1] if event == "renamed" else arguments[-1])
        match event:
            case "written":
                contents.add(path)
            case "created":
                contents.add(path)
                names[path] = None
            case "made":
                names[path] = None
            case "renamed":
                source = Path(arguments[0])
                if len(arguments) > 2 and path not in names:
                    formers.setdefault(path, Path(arguments[2]))
                names[path] = None if source in names else source
                names.pop(source, None)
                if source in contents:
                    contents.remove(source)
                    contents.add(path)
            case "removed":
                names.pop(path, None)
                contents.discard(path)
            case "synchronised" if path.is_dir():
                names = {name: before for name, before in names.items() if name.parent != path}
                formers = {name: former for name, former in formers.items() if name.parent != path}
            case "synchronised":
                contents.discard(path)
    lost = 0
    for path in contents:
        if path.is_file():
            path.write_bytes(b"")
            lost += 1
    for path, before in names.items():
        if not path.exists():
            continue
        lost += 1
        if path in formers:
            formers[path].replace(path)
        elif before is not None:
            path.replace(before)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    log = data_dir / "catalogue.sqlite3-wal"
    if synchronous < _FULL and log.exists():
        log.write_bytes(b"")
        lost += 1
    journal.write_text("")
    for former in journal.parent.glob("former-*"):
        former.unlink()
    return lost
