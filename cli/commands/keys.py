"""`fashion keys`: makes, lists and revokes the keys that callers need."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connection import AsJson
from services.contract.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from services.serving.keys import Keys

app = typer.Typer(
    help="Make, list and revoke the keys that callers need. Servers read the file again when it changes.",
    epilog="Example: fashion keys create feed --scope write --file keys.json",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
)


class ScopeName(Enum):
    """What a key allows; each allows what those before it do."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


File = Annotated[
    Path,
    typer.Option(
        "--file",
        envvar="SERVER_KEYS_FILE",
        metavar="FILE",
        dir_okay=False,
        help="File of the keys; holds hashes alone.",
    ),
]
Rate = Annotated[float | None, typer.Option(min=0.001, metavar="N")]


@app.command(
    epilog=(
        "Examples:\n\nfashion keys create feed --scope write --file keys.json > feed.key\n\n"
        "fashion keys create gateway --scope admin --certificate gateway --file keys.json\n\n"
        "The key is printed once, on standard output. To change a key, create another one of the same name, give it to "
        "its callers, and revoke the old one."
    )
)
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who gets the key.")],
    file: File,
    scope: Annotated[
        ScopeName, typer.Option("--scope", help="read: queries. write: products and dislikes too. admin: everything.")
    ] = ScopeName.READ,
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="Ends after this many days. Default: never.")
    ] = None,
    certificate: Annotated[
        str | None,
        typer.Option(
            "--certificate", metavar="NAME", help="No key: callers whose certificate has this DNS name or URI."
        ),
    ] = None,
    requests_per_s: Rate = None,
    photographs_per_s: Rate = None,
    rows_per_s: Rate = None,
) -> None:
    """Make a key, print it, and add its hash to the file."""
    from cli import output
    from services.serving.keys import Key, Keys, hash_of, new_secret, now

    secret = None if certificate else new_secret()
    created = now().replace(microsecond=0)
    try:
        key = Key(
            id=secrets.token_hex(4),
            name=name,
            scope=scope.value,
            sha256=secret and hash_of(secret),
            certificate=certificate,
            created=created,
            expires=created + timedelta(days=days) if days else None,
            requests_per_s=requests_per_s,
            photographs_per_s=photographs_per_s,
            rows_per_s=rows_per_s,
        )
    except ValueError as error:
        raise InvalidInput("The name has 1 to 128 characters; send another one.", reason="KEYS_INVALID") from error
    with _locked(file, make_folder=True):
        keys = _read(file) if file.exists() else Keys()
        _write(file, Keys(keys=(*keys.keys, key)))
    output.errors().print(f"Made {key.id} ({key.scope}) for {name} in {file}.", markup=False, soft_wrap=True)
    if secret is not None:
        typer.echo(secret)


@app.command("list", epilog="Example: fashion keys list --file keys.json\n\n--json prints the list, without hashes.")
def list_keys(file: File, as_json: AsJson = False) -> None:
    """List the keys, those that were revoked too."""
    from cli import output
    from services.serving.keys import now

    keys = _read(file).keys
    if as_json:
        output.print_json([key.model_dump(mode="json", exclude={"sha256"}, exclude_none=True) for key in keys])
        return
    rows = []
    for key in keys:
        state = f"revoked {key.revoked:%Y-%m-%d}" if key.revoked else "expired" if key.has_ended(now()) else "valid"
        end = f"{key.expires:%Y-%m-%d}" if key.expires else "never"
        rows.append((key.id, key.name, key.scope, key.certificate or "key", f"{key.created:%Y-%m-%d}", end, state))
    headings = ("id", "name", "scope", "by", "created", "ends", "state")
    output.console().print(output.plain_table([(heading, {}) for heading in headings], rows))


@app.command(epilog="Example: fashion keys revoke 1f3a9c02 --file keys.json")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `fashion keys list` shows it.")], file: File
) -> None:
    """Revoke a key: within a second or two, no server takes it any more."""
    from cli import output
    from services.serving.keys import Keys, now

    ended = now().replace(microsecond=0)
    with _locked(file):
        keys = _read(file).keys
        if key_id not in {key.id for key in keys}:
            raise NotFound(f"The file has no key {key_id}; see `fashion keys list`.", reason="KEY_NOT_FOUND")
        revoked = tuple(
            key.model_copy(update={"revoked": key.revoked or ended}) if key.id == key_id else key for key in keys
        )
        _write(file, Keys(keys=revoked))
    output.errors().print(f"Revoked {key_id}.", markup=False)


@contextmanager
def _locked(file: Path, *, make_folder: bool = False) -> Iterator[None]:
    """Keeps the keys from other commands that change them, and waits for one that does; a crash releases them too."""
    try:
        if make_folder:
            file.parent.mkdir(parents=True, exist_ok=True)
        # A file of its own: each change puts another file in the place of the keys.
        lock = os.open(file.with_name(f".{file.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise InvalidInput(f"The keys cannot be written: {error}", reason="FILE_UNWRITABLE") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _read(file: Path) -> "Keys":
    from services.serving.keys import Keys

    try:
        return Keys.read(file)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"The keys cannot be read: {error}", reason="KEYS_INVALID") from None


def _write(file: Path, keys: "Keys") -> None:
    from offline.whole_file import whole_file

    mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
    try:
        with whole_file(file) as temporary:
            temporary.write_text(keys.document(), encoding="utf-8")
            temporary.chmod(mode)
    except OSError as error:
        raise InvalidInput(f"The keys cannot be written: {error}", reason="FILE_UNWRITABLE") from None
