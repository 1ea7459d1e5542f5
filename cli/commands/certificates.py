"""`fashion certificates`: makes an authority and the certificates of all services, for compose and trials."""

import secrets
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from services.contract.errors import InvalidInput

if TYPE_CHECKING:
    from cli.authority import Authority, Issued

app = typer.Typer(
    help="Make an authority and the certificates of all services, for compose and trials.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
)

# What each may do that calls others, by its certificate.
_CALLERS: Final[dict[str, Literal["read", "write", "admin"]]] = {
    "classifier": "read",
    # Replicas pass writes on.
    "search": "write",
    # Shoppers erase themselves through it.
    "gateway": "admin",
    "client": "admin",
}
_OF_MODELS: Final = ("embedder", "classifier")
_SERVERS: Final = ("embedder", "classifier", "search", "gateway", "redis")
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
# Called from other namespaces of Kubernetes, which need the name of this one.
_CALLED_FROM_OUTSIDE: Final = ("search", "gateway")
_NAMESPACE: Final = "fashion"
_AUTHORITY_LIFETIME: Final = timedelta(days=3650)


@app.callback()
def _group() -> None:
    # Typer makes a group of one command only where there is a callback.
    pass


@app.command(
    epilog=(
        "Examples:\n\nfashion certificates create certificates\n\n"
        "fashion certificates create certificates --name search.example --days 30\n\n"
        "DIR gets ca.crt and ca.key, a folder for each service and one for a client (tls.crt, tls.key, ca.crt), "
        "keys/keys.json, where each certificate counts as a key, and redis-password/password. With `. DIR/client.env` "
        "a terminal calls as the client. Run it again to renew the certificates under the same authority: servers and "
        "callers read them again.\n\n"
        "For compose and trials alone: whoever has ca.key can call as anybody. In production your own authority signs, "
        "such as that of cert-manager."
    )
)
def create(
    folder: Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="Folder for the files.")],
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="A name or address at which servers are reached too; repeatable."),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="Lifetime of the certificates.")] = 90,
) -> None:
    """Make an authority, and certificates that it signs for every service and for a client."""
    try:
        from cli.authority import Authority, Issued
    except ImportError:
        raise InvalidInput(
            "Certificates need cryptography. Install it with `pip install fashion-recommender[certificates]`.",
            reason="EXTRA_MISSING",
        ) from None
    from cli import output

    own = folder / "ca.crt", folder / "ca.key"
    try:
        renewed = own[1].exists()
        authority = (
            Authority.read(Issued(own[0].read_bytes(), own[1].read_bytes()))
            if renewed
            else Authority.make("fashion trial authority", _AUTHORITY_LIFETIME)
        )
        ends = min(datetime.now(UTC) + timedelta(days=days), authority.ends)
        _write_all(folder, authority, names or (), ends)
    except OSError as error:
        raise InvalidInput(f"The certificates cannot be written: {error}", reason="FILE_UNWRITABLE") from None
    except ValueError as error:
        raise InvalidInput(
            f"The files in {folder} are no authority, or a name is no host: {error}", reason="CERTIFICATES_INVALID"
        ) from None
    to = output.errors()
    to.print(
        f"{'Renewed' if renewed else 'Made'} the certificates in {folder}, until {ends:%Y-%m-%d}.",
        markup=False,
        soft_wrap=True,
    )
    to.print(
        f"For compose and trials alone: whoever has {folder / 'ca.key'} can call as anybody.",
        markup=False,
        soft_wrap=True,
    )


def _write_all(folder: Path, authority: "Authority", names: "list[str] | tuple[()]", ends: datetime) -> None:
    from services.serving.keys import Key, Keys, now

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = authority.own()
    _write(folder / "ca.key", own.key, 0o600)
    _write(folder / "ca.crt", own.certificate, 0o644)
    for name in (*_SERVERS, "client"):
        server = name in _SERVERS
        # Those of the next model, during a change, and replicas of search have the same certificate.
        own_names = [name, *([f"{name}-next"] if name in _OF_MODELS else [])]
        own_names += [f"{name}-replica"] if name == "search" else []
        if name in _CALLED_FROM_OUTSIDE:
            ends_with = (_NAMESPACE, f"{_NAMESPACE}.svc", f"{_NAMESPACE}.svc.cluster.local")
            own_names += [f"{each}.{end}" for each in own_names for end in ends_with]
        issued: Issued = authority.issue([*own_names, *((*_LOCAL, *names) if server else ())], server=server, ends=ends)
        place = folder / name
        place.mkdir(mode=0o700, exist_ok=True)
        # The key comes first: a certificate without its key is read by nobody.
        _write(place / "tls.key", issued.key, 0o600)
        _write(place / "tls.crt", issued.certificate, 0o644)
        _write(place / "ca.crt", own.certificate, 0o644)
    variables = {"CA": "ca.crt", "CERTIFICATE": "tls.crt", "KEY": "tls.key"}
    exports = (
        f"export CLIENT_TLS_{variable}_FILE={shlex.quote(str((folder / 'client' / file).resolve()))}\n"
        for variable, file in variables.items()
    )
    _write(folder / "client.env", "".join(exports).encode(), 0o644)
    password = folder / "redis-password" / "password"
    if not password.exists():
        password.parent.mkdir(mode=0o700, exist_ok=True)
        _write(password, secrets.token_urlsafe(32).encode(), 0o600)
    keys = folder / "keys" / "keys.json"
    if not keys.exists():
        keys.parent.mkdir(mode=0o700, exist_ok=True)
        created = now().replace(microsecond=0)
        entries = (
            Key(id=f"certificate-{name}", name=name, scope=scope, certificate=name, created=created)
            for name, scope in _CALLERS.items()
        )
        _write(keys, Keys(keys=tuple(entries)).document().encode(), 0o600)


def _write(file: Path, content: bytes, mode: int) -> None:
    from offline.whole_file import whole_file

    with whole_file(file) as temporary:
        temporary.touch(mode)
        temporary.chmod(mode)
        temporary.write_bytes(content)
