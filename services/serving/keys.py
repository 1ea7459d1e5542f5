"""The keys of callers: a file holds their hashes, scopes and quotas; and certificates that count as keys."""

import hashlib
import hmac
import secrets
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.contract.scopes import Scope

# Keys begin with it, so that they are told from tokens, and found where they should not be.
KEY_PREFIX: Final = "fashion_"

_KEY_BYTES: Final = 32

_Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Key(BaseModel):
    """A key of the file, or a certificate that counts as one.

    Attributes:
        id: names it in commands and in the audit log.
        name: who has it; several keys of one name are usual while they change.
        scope: what it allows.
        sha256: SHA-256 of the key, in hexadecimal digits. It has 256 random bits, which no slow hash need protect.
        certificate: a name (DNS or URI) in the certificate of a caller, which needs no key then.
        created: when it was made.
        expires: when it ends; None for never.
        revoked: since when it counts no more; None while it does.
        requests_per_s: maximum calls a second, on average.
        photographs_per_s: maximum photographs a second, on average.
        rows_per_s: maximum rows of batches a second, on average.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    name: str = Field(min_length=1, max_length=128)
    scope: Literal["read", "write", "admin"]
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    certificate: str | None = Field(default=None, min_length=1)
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None
    requests_per_s: _Rate | None = None
    photographs_per_s: _Rate | None = None
    rows_per_s: _Rate | None = None

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if (self.sha256 is None) == (self.certificate is None):
            raise ValueError(f'the key "{self.id}" should have either sha256 or certificate')
        return self

    @property
    def allows(self) -> Scope:
        """What it allows."""
        return Scope[self.scope.upper()]

    def has_ended(self, now: datetime) -> bool:
        """Tells whether it is past its end."""
        return self.expires is not None and self.expires <= now


class Keys(BaseModel):
    """The keys of a file, those that were revoked included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...] = ()

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        if len({key.id for key in self.keys}) < len(self.keys):
            raise ValueError("each key should have an id of its own")
        return self

    @classmethod
    def read(cls, file: Path) -> Self:
        """Reads a file.

        Raises:
            OSError: it cannot be read.
            ValueError: it holds something else.
        """
        try:
            return cls.model_validate_json(file.read_bytes())
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{file} holds no keys: {place} {first['msg']}") from None

    def document(self) -> str:
        """Returns the content of a file with these keys."""
        return self.model_dump_json(indent=2, exclude_none=True) + "\n"

    def by_secret(self, secret: str) -> Key | None:
        """Returns the key of a caller; None where it is unknown or revoked. The time tells nothing about the keys."""
        digest = hash_of(secret)
        match: Key | None = None
        for key in self.keys:
            if key.sha256 is not None and hmac.compare_digest(key.sha256, digest) and key.revoked is None:
                match = key
        return match

    def by_certificate(self, names: Collection[str]) -> Key | None:
        """Returns the entry for a caller's certificate, by the names in it; None where there is none.

        One that has ended is found only where no other is.
        """
        known = [key for key in self.keys if key.certificate in names and key.revoked is None]
        return min(known, key=lambda key: key.has_ended(now()), default=None)


def new_secret() -> str:
    """Makes a key of 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def hash_of(secret: str) -> str:
    """Returns the hash of a key, as files hold it."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def now() -> datetime:
    """Returns the time, with its zone."""
    return datetime.now(UTC)
