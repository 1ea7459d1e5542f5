"""Keys for tests: a file of them, and how callers send one."""

from datetime import timedelta
from pathlib import Path

from services.serving.keys import Key, Keys, hash_of, new_secret, now


def key(scope: str, secret: str, **given: object) -> Key:
    """Makes the entry of a key."""
    values = {"id": scope, "name": scope, "scope": scope, "sha256": hash_of(secret), "created": now()}
    return Key.model_validate({**values, **given})


def write_keys(file: Path, **scopes_by_name: str) -> dict[str, str]:
    """Writes a file with keys of these scopes, one that is revoked and one that has expired; returns them by name."""
    secrets = {name: new_secret() for name in (*scopes_by_name, "revoked", "expired")}
    entries = [key(scope, secrets[name], id=name) for name, scope in scopes_by_name.items()]
    ended = now() - timedelta(seconds=5)
    entries.append(key("admin", secrets["revoked"], id="revoked", revoked=ended))
    entries.append(key("admin", secrets["expired"], id="expired", expires=ended))
    file.write_text(Keys(keys=tuple(entries)).document(), encoding="utf-8")
    return secrets
