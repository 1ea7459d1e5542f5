"""Backs up a data directory while its server writes, restores it elsewhere, and checks either.

A backup is a zip: `backup.json` says what is in it, `catalogue.sqlite3` is one state of the catalogue, and
`catalogue.id` its identity. `photographs/` has what its products show, `dislikes.jsonl` the colours that users dislike.
"""

import hashlib
import json
import os
import re
import shutil
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from offline import dislikes
from offline.dislikes import Dislikes
from offline.spool import room
from offline.whole_file import whole_file
from services.contract.errors import DataLoss, InvalidInput, NotFound
from services.search.catalogue import identity
from services.search.catalogue.database import (
    CHECKED_COLUMNS,
    FURTHER_COLUMNS,
    ORIGIN_COLUMNS,
    SCHEMA_VERSION,
    SEVERAL_PHOTOGRAPHS_VERSION,
    UNREADABLE,
    CatalogueUnusable,
    connect_read_only,
    further_checksum,
    origin_checksum,
    row_checksum,
)
from services.search.catalogue.photographs import photograph_path
from services.search.catalogue.store import DATABASE_FILE, PHOTOGRAPHS_FOLDER

FORMAT: Final = 1
_MANIFEST: Final = "backup.json"
_DISLIKES: Final = "dislikes.jsonl"
_REDIS: Final = "redis"
_UNFINISHED: Final = ".restoring"
# What an empty volume may hold, and what a restore that was killed leaves.
_NO_DATA: Final = frozenset({"lost+found", _UNFINISHED})
_ROW: Final = ", ".join((*CHECKED_COLUMNS, "embedding", "checksum"))
_COUNT: Final = CHECKED_COLUMNS.index("photograph_count")
_FURTHER_ROW: Final = ", ".join((*FURTHER_COLUMNS, "embedding", "checksum"))
_BLOCK: Final = 1 << 20
_HASH: Final = re.compile("[0-9a-f]{64}")
# The bit of a zip's member.
_ENCRYPTED: Final = 0x1

Say = Callable[[str, int, int], None]


def _silent(_what: str, _done: int, _total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds, or a data directory.

    Attributes:
        products: of the catalogue.
        photographs: files; several products may show one.
        users: with disliked colours; None where Redis was not read.
        index_version: of the catalogue.
        damage: one sentence for each part that is not what was written.
    """

    products: int
    photographs: int
    users: int | None
    index_version: int
    damage: tuple[str, ...] = ()


def back_up(data_dir: Path, target: Path, redis_url: str | None = None, say: Say = _silent) -> Contents:
    """Writes a backup of a data directory, of which a server may have it open and write to it.

    The catalogue is that of one moment. The file appears once it is whole. Damaged products and photographs are in it
    as they are, and named.

    Args:
        data_dir: has `catalogue.sqlite3` and `photographs/`.
        target: the zip to write, or to replace.
        redis_url: the Redis with disliked colours. None for the embedded one, where the directory has one.
        say: told what is done, how much of it, and of how much.

    Raises:
        CatalogueUnusable: there is no catalogue of this version.
        Upstream: REDIS_UNAVAILABLE; dislikes are there and cannot be read.
        OSError: the backup cannot be written.
    """
    damage: list[str] = []
    with (
        whole_file(target) as unfinished,
        tempfile.TemporaryDirectory(dir=target.parent) as folder,
        zipfile.ZipFile(unfinished, "w") as archive,
    ):
        database = Path(folder) / DATABASE_FILE
        with closing(connect_read_only(data_dir / DATABASE_FILE)) as source, closing(sqlite3.connect(database)) as copy:
            source.backup(copy)
            # Without a log beside it, the copy is one file.
            copy.execute("PRAGMA journal_mode = DELETE")
        products, index_version, hashes = _read(database, damage)
        archive.write(database, DATABASE_FILE)
        if (data_dir / identity.FILE).is_file():
            archive.write(data_dir / identity.FILE, identity.FILE)
        photographs = 0
        for sha256, content in _photographs(hashes, _in_folder(data_dir), damage, say):
            if content is not None:
                archive.writestr(f"{PHOTOGRAPHS_FOLDER}/{sha256}", content)
                photographs += 1
        users = dislikes.read(data_dir / _REDIS, redis_url)
        if users is not None:
            archive.writestr(_DISLIKES, dislikes.to_lines(users))
        count = None if users is None else len(users)
        contents = Contents(products, photographs, count, index_version, tuple(damage))
        manifest = {
            "format": FORMAT,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "database_sha256": _digest(database),
            **asdict(contents),
        }
        archive.writestr(_MANIFEST, json.dumps(manifest, indent=1))
        # It names users.
        unfinished.chmod(0o600)
    return contents


def restore(source: Path, data_dir: Path, redis_url: str | None = None, say: Say = _silent) -> Contents:
    """Makes a data directory of a backup.

    Args:
        source: the backup.
        data_dir: must not be there, or be empty, such as a new volume.
        redis_url: the Redis that gets the disliked colours, and has none yet. None for one embedded in it.
        say: told what is done, how much of it, and of how much.

    Raises:
        InvalidInput: BACKUP_UNREADABLE, it is no backup that this program knows; FILE_UNREADABLE; DATA_DIR_NOT_EMPTY;
            DISLIKES_PRESENT.
        NotFound: BACKUP_NOT_FOUND.
        DataLoss: BACKUP_DAMAGED; nothing was restored.
        Upstream: REDIS_UNAVAILABLE; the directory is restored, the dislikes are not.
        OSError: the directory cannot be written.
    """
    if data_dir.is_dir() and any(each.name not in _NO_DATA for each in data_dir.iterdir()):
        raise InvalidInput(
            f"{data_dir} is not empty: name a folder that is not there, or move this one away.",
            reason="DATA_DIR_NOT_EMPTY",
        )
    with _opened(source) as archive, _unfinished(data_dir) as fresh:
        checked = _checked(archive, fresh, say)
        unexpected = [line for line in checked.damage if line not in checked.said.damage]
        if unexpected:
            raise DataLoss(
                f"{source} is not as it was written: {unexpected[0]} Nothing was restored.", reason="BACKUP_DAMAGED"
            )
        users = checked.users or {}
        if users and redis_url is not None and dislikes.read_from(redis_url):
            raise InvalidInput(
                "The Redis has disliked colours already: name an empty one, so that nobody's are mixed.",
                reason="DISLIKES_PRESENT",
            )
        names = [name for name in (identity.FILE, DATABASE_FILE) if name in archive.namelist()]
        for name in names:
            _extract(archive, name, fresh / name)
        # Only what the catalogue names: another name in the zip could lead anywhere.
        for number, sha256 in enumerate(checked.photographs, 1):
            say("photographs", number, len(checked.photographs))
            _extract(archive, _member(sha256), photograph_path(fresh / PHOTOGRAPHS_FOLDER, sha256))
        os.sync()
        # The database last: without it, there is no catalogue.
        for name in (PHOTOGRAPHS_FOLDER, *names):
            if (fresh / name).exists():
                (fresh / name).rename(data_dir / name)
    if users:
        dislikes.write(data_dir / _REDIS, redis_url, users)
    return checked.contents


@contextmanager
def _unfinished(data_dir: Path) -> Iterator[Path]:
    """Yields the folder in which a data directory is made; it goes at the end, and after an error all that was made."""
    # In the directory itself, as it may be a volume, and nothing beside it be writable.
    fresh = data_dir / _UNFINISHED
    made = not data_dir.is_dir()
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(0o700, parents=True)
        if made:
            data_dir.chmod(0o700)
        yield fresh
        fresh.rmdir()
    except BaseException:
        shutil.rmtree(data_dir if made else fresh, ignore_errors=True)
        raise


def verify(path: Path, say: Say = _silent) -> Contents:
    """Checks every product and photograph of a backup, or of a data directory, which a server may have open.

    The database of a backup is unpacked beside it, or among temporary files where there is no room.

    Args:
        path: the backup, or the directory.
        say: told what is done, how much of it, and of how much.

    Returns:
        What is there, and what of it is damaged.

    Raises:
        InvalidInput: BACKUP_UNREADABLE, FILE_UNREADABLE.
        NotFound: BACKUP_NOT_FOUND.
        Overloaded: TEMPORARY_FILES_FULL.
        CatalogueUnusable: the directory has no catalogue of this version.
    """
    if not path.is_dir():
        with _opened(path) as archive:
            folder = _place_for(archive, path.parent)
            with room(folder):
                return _checked(archive, folder, say).contents
    damage: list[str] = []
    connect_read_only(path / DATABASE_FILE).close()
    products, index_version, hashes = _read(path / DATABASE_FILE, damage)
    for _ in _photographs(hashes, _in_folder(path), damage, say):
        pass
    return Contents(products, len(hashes), None, index_version, tuple(damage))


def _read(database: Path, damage: list[str]) -> tuple[int, int, list[str]]:
    """Returns the number of products, the version and the photographs of a catalogue; adds its damage."""
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            for (line,) in connection.execute("PRAGMA integrity_check"):
                if line != "ok":
                    damage.append(f"The database is damaged: {line}.")
            ((schema_version,),) = connection.execute("PRAGMA user_version")
            if schema_version != SCHEMA_VERSION:
                # Of an earlier version of this program: its rows have other columns, the digest of the file must do.
                ((products,),) = connection.execute("SELECT count(*) FROM products")
                rows: Iterable[Sequence[Any]] = ()
            else:
                products, rows = 0, connection.execute(f"SELECT {_ROW} FROM products")
            several: dict[str, int] = {}
            for *values, embedding, checksum in rows:
                products += 1
                if row_checksum(values, embedding) != checksum:
                    damage.append(f'The product "{values[0]}" is damaged.')
                elif (count := values[_COUNT]) is not None:
                    several[values[0]] = count - 1
            if schema_version == SCHEMA_VERSION:
                damage += _damaged_further(connection, several)
                damage += _damaged_beside(connection)
            ((version,),) = connection.execute("SELECT index_version FROM state")
            tables = ["products", *(["further_photographs"] if schema_version >= SEVERAL_PHOTOGRAPHS_VERSION else [])]
            query = " UNION ".join(
                f"SELECT photograph_sha256 FROM {table} WHERE photograph_sha256 IS NOT NULL" for table in tables
            )
            # Both indexes are in this order, so that SQLite merges them and needs no temporary file.
            return products, version, [sha256 for (sha256,) in connection.execute(f"{query} ORDER BY 1")]
        except UNREADABLE as error:
            raise CatalogueUnusable(f"{database} cannot be read to its end: {error}.") from error


def _damaged_further(connection: sqlite3.Connection, several: Mapping[str, int]) -> list[str]:
    """Returns a sentence for each product whose further photographs, of which there are so many, are not all sound."""
    sound = dict.fromkeys(several, 0)
    for *values, embedding, checksum in connection.execute(f"SELECT {_FURTHER_ROW} FROM further_photographs"):
        if values[0] in sound and further_checksum(values, embedding) == checksum:
            sound[values[0]] += 1
    return [f'The product "{each}" is damaged.' for each, count in several.items() if sound[each] != count]


def _damaged_beside(connection: sqlite3.Connection) -> list[str]:
    """Returns a sentence for each embedding beside the rows that is not sound; the next start makes it again."""
    rows = connection.execute(f"SELECT {', '.join(ORIGIN_COLUMNS)}, embedding, checksum FROM embeddings")
    return [
        f"The embedding of the photograph {values[1]} by model {values[0]} is damaged."
        for *values, embedding, checksum in rows
        if origin_checksum(values, embedding) != checksum
    ]


def _in_folder(data_dir: Path) -> Callable[[str], bytes | None]:
    """Returns what reads the photographs of a data directory; None for one that cannot be read."""

    def read(sha256: str) -> bytes | None:
        try:
            return photograph_path(data_dir / PHOTOGRAPHS_FOLDER, sha256).read_bytes()
        except OSError:
            return None

    return read


def _photographs(
    hashes: Sequence[str], read: Callable[[str], bytes | None], damage: list[str], say: Say
) -> Iterator[tuple[str, bytes | None]]:
    """Yields each photograph's hash and content; adds what is damaged, in the same words wherever it is read from."""
    for number, sha256 in enumerate(hashes, 1):
        say("photographs", number, len(hashes))
        content = read(sha256)
        if content is None:
            damage.append(f"The photograph {sha256} is gone or cannot be read.")
        elif hashlib.sha256(content).hexdigest() != sha256:
            damage.append(f"The photograph {sha256} is not what was uploaded.")
        yield sha256, content


def _opened(source: Path) -> zipfile.ZipFile:
    try:
        source.open("rb").close()
    except FileNotFoundError:
        raise NotFound(f"There is no {source}.", reason="BACKUP_NOT_FOUND") from None
    except OSError as error:
        raise InvalidInput(f"Cannot read {source}: {error.strerror or error}.", reason="FILE_UNREADABLE") from None
    try:
        return zipfile.ZipFile(source)
    # A damaged directory of a zip raises errors of many kinds.
    except Exception as error:
        raise _unreadable(source, str(error).rstrip(".")) from None


def _unreadable(source: object, why: str) -> InvalidInput:
    return InvalidInput(f"{source} is no backup that can be read: {why}.", reason="BACKUP_UNREADABLE")


@dataclass(frozen=True, slots=True)
class _Checked:
    """What a backup holds.

    Attributes:
        said: what its manifest says.
        damage: what is damaged in it.
        photographs: hashes of those that are in it and are named by its catalogue, in the form that names have.
        users: each user's colours; None where it has none.
    """

    said: Contents
    damage: tuple[str, ...]
    photographs: tuple[str, ...]
    users: Dislikes | None

    @property
    def contents(self) -> Contents:
        """What it says that it holds, and the damage that was found in it."""
        return replace(self.said, damage=self.damage)


def _place_for(archive: zipfile.ZipFile, folder: Path) -> Path:
    """Returns where to unpack the database of a backup: a folder, or where it has no room that for temporary files."""
    try:
        size = archive.getinfo(DATABASE_FILE).file_size
        if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > size:
            return folder
    except (KeyError, OSError):
        pass
    return Path(tempfile.gettempdir())


def _checked(archive: zipfile.ZipFile, place: Path, say: Say) -> _Checked:
    """Reads all of a backup, and unpacks its database in a place meanwhile.

    Raises:
        InvalidInput: BACKUP_UNREADABLE.
        OSError: the database cannot be unpacked.
    """
    said, database_sha256 = _manifest(archive)
    users = _users(archive) if _DISLIKES in archive.namelist() else None
    if (None if users is None else len(users)) != said.users:
        raise _unreadable(archive.filename, f"its {_DISLIKES} has not the users that its {_MANIFEST} counts")
    damage: list[str] = []
    with tempfile.TemporaryDirectory(dir=place) as folder:
        database = Path(folder) / DATABASE_FILE
        try:
            _extract(archive, DATABASE_FILE, database)
        except (KeyError, zipfile.BadZipFile):
            return _Checked(said, (f"{DATABASE_FILE} cannot be read.",), (), users)
        if _digest(database) != database_sha256:
            damage.append(f"{DATABASE_FILE} is not what was written.")
        _, _, hashes = _read(database, damage)

    def read_whole(name: str) -> bytes | None:
        try:
            return b"".join(_blocks(archive, name))
        except KeyError:
            return None
        except zipfile.BadZipFile:
            return b""

    def read(sha256: str) -> bytes | None:
        return read_whole(_member(sha256))

    if identity.FILE in archive.namelist() and not read_whole(identity.FILE):
        damage.append(f"{identity.FILE} cannot be read.")
    there = [sha256 for sha256, content in _photographs(hashes, read, damage, say) if content]
    return _Checked(said, tuple(damage), tuple(filter(_HASH.fullmatch, there)), users)


def _manifest(archive: zipfile.ZipFile) -> tuple[Contents, str]:
    """Returns what a backup says of itself, and the hash of its database.

    Raises:
        InvalidInput: BACKUP_UNREADABLE.
    """
    unreadable = _unreadable(archive.filename, f"it has no {_MANIFEST} that can be read")
    try:
        manifest = json.loads(b"".join(_blocks(archive, _MANIFEST)))
        form = manifest["format"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise unreadable from None
    except zipfile.BadZipFile as error:
        raise _unreadable(archive.filename, str(error).rstrip(".")) from None
    if form != FORMAT:
        raise _unreadable(archive.filename, f"its format is {str(form)[:64]}, and this program knows {FORMAT}")
    try:
        damage, users, database_sha256 = (manifest[name] for name in ("damage", "users", "database_sha256"))
        numbers = [manifest[name] for name in ("products", "photographs", "index_version")]
    except KeyError:
        raise unreadable from None
    counts = numbers if users is None else [*numbers, users]
    sound = isinstance(damage, list) and all(isinstance(each, str) for each in (database_sha256, *damage))
    if not sound or not all(type(each) is int for each in counts):
        raise _unreadable(archive.filename, f"its {_MANIFEST} says something else than counts and sentences")
    products, photographs, index_version = numbers
    return Contents(products, photographs, users, index_version, tuple(damage)), database_sha256


def _member(sha256: str) -> str:
    return f"{PHOTOGRAPHS_FOLDER}/{sha256}"


def _blocks(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    """Yields the content of a member.

    Raises:
        KeyError: there is none of this name.
        BadZipFile: it is damaged, or no backup has one like it: packed, it could unpack to any size.
    """
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
        raise zipfile.BadZipFile(f"{name} is packed or encrypted")
    try:
        with archive.open(info) as source:
            while block := source.read(_BLOCK):
                yield block
    # Offsets and lengths of a damaged directory lead anywhere.
    except (OSError, EOFError, ValueError, NotImplementedError) as error:
        raise zipfile.BadZipFile(f"{name} cannot be read: {error}") from error


def _extract(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb", opener=partial(os.open, mode=0o600)) as target:
        for block in _blocks(archive, name):
            target.write(block)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _users(archive: zipfile.ZipFile) -> Dislikes:
    """Returns each user's colours.

    Raises:
        InvalidInput: BACKUP_UNREADABLE.
    """
    try:
        return dislikes.of_lines(b"".join(_blocks(archive, _DISLIKES)))
    except (ValueError, zipfile.BadZipFile):
        raise _unreadable(archive.filename, f"its {_DISLIKES} holds something else than users and colours") from None
