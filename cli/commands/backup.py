"""`fashion backup`, `restore` and `verify`: copies of a data directory, and whether they are whole."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.serve import DEFAULT_DATA_DIR, DataDir
from cli.connection import AsJson
from cli.files import unreadable, unwritable
from cli.stack_process import startup_errors
from services.contract.errors import InvalidInput

if TYPE_CHECKING:
    from offline.backup import Contents, Say

backup_app = typer.Typer(add_completion=False, rich_markup_mode="rich")
restore_app = typer.Typer(add_completion=False, rich_markup_mode="rich")
verify_app = typer.Typer(add_completion=False, rich_markup_mode="rich")

RedisOption = Annotated[
    str | None,
    typer.Option(
        "--redis",
        metavar="URL",
        envvar="REDIS_URL",
        help="The Redis with disliked colours; without it, the embedded one of the data directory. REDIS_USERNAME, "
        "REDIS_PASSWORD_FILE and REDIS_CA_FILE count too.",
    ),
]
_JSON = '--json prints {"products", "photographs", "users", "index_version", "damage"}.'


@backup_app.command(
    epilog=(
        "Examples:\n\nfashion backup backup.zip\n\nfashion backup backup.zip --data-dir /data --redis redis://redis:6379\n\n"
        f"The stack may run and write meanwhile. {_JSON}\n\n"
        "Exit codes: 0 done · 1 done, but damaged products or photographs are in it as they are"
    )
)
def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="The zip to write, or to replace.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    redis_url: RedisOption = None,
    as_json: AsJson = False,
) -> None:
    """Copy the catalogue, its photographs and the disliked colours into one file."""
    from offline.backup import back_up

    with _told(target) as say:
        contents = back_up(data_dir, target, _redis(redis_url), say)
    _show(f"Backed up {data_dir} in {target}", contents, as_json)


@restore_app.command(
    epilog=(
        "Examples:\n\nfashion restore backup.zip --data-dir var/restored\n\n"
        f"Then start the stack on the folder: fashion serve --data-dir var/restored. {_JSON}"
    )
)
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="A file that `fashion backup` wrote.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    redis_url: RedisOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a data directory of a backup; refuses a damaged backup, and a directory that is not empty."""
    from offline import backup

    with _told(data_dir) as say:
        contents = backup.restore(source, data_dir, _redis(redis_url), say)
    # What was damaged before the backup is known, and restored as it was.
    _show(f"Restored {source} in {data_dir}", contents, as_json)


@verify_app.command(
    epilog=(
        "Examples:\n\nfashion verify var/data\n\nfashion verify backup.zip\n\n"
        f"The stack may run. {_JSON}\n\nExit codes: 0 all is whole · 1 something is damaged, and named"
    )
)
def verify(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A data directory, or a backup.")] = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Check every product and photograph of a data directory or of a backup."""
    from offline import backup

    with _told(path, unreadable) as say:
        contents = backup.verify(path, say)
    _show(f"Checked {path}", contents, as_json)


def _redis(url: str | None) -> str | None:
    from services.serving.settings import RedisSettings, read_settings

    with startup_errors():
        return read_settings(RedisSettings, **({"redis_url": url} if url else {})).redis_address() or None


@contextmanager
def _told(place: Path, described: Callable[[Path, OSError], InvalidInput] = unwritable) -> "Iterator[Say]":
    """Yields what shows progress; unusable directories and disks become errors in one sentence about a place."""
    from cli.ingestion import progress_bar
    from cli.output import errors
    from services.search.catalogue.database import CatalogueUnusable

    try:
        with progress_bar(errors()) as progress:
            tasks: dict[str, int] = {}

            def say(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = progress.add_task(what.capitalize(), total=total, hint="")
                progress.update(tasks[what], completed=done)  # type: ignore[arg-type]

            yield say
    except CatalogueUnusable as error:
        raise InvalidInput(str(error), reason="CATALOGUE_UNUSABLE") from None
    except OSError as error:
        raise described(place, error) from None


def _show(what: str, contents: "Contents", as_json: bool) -> None:
    from dataclasses import asdict

    from cli import output

    if as_json:
        output.print_json(asdict(contents))
    else:
        counted = output.counted
        users = "" if contents.users is None else f", the disliked colours of {counted(contents.users, 'users')}"
        text = (
            f"{what}: {counted(contents.products, 'products')}, {counted(contents.photographs, 'photographs')}{users}."
        )
        output.console().print(text, markup=False, soft_wrap=True)
        for line in contents.damage:
            output.errors().print(line, markup=False, soft_wrap=True)
    if contents.damage:
        raise typer.Exit(1)
