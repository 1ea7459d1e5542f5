"""Decides who calls, and whether the caller may: by key, by certificate, or by a shopper's token."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Self

import structlog

from services.contract.errors import Forbidden, Unauthenticated
from services.contract.scopes import Rule, Scope
from services.serving.keys import KEY_PREFIX, Key, Keys, now
from services.serving.quotas import Cost, Quotas
from services.serving.settings import ServerSettings
from services.serving.tokens import Tokens
from services.serving.watched import Watched

# What writes and refusals leave, under a name of its own, so that a collector can keep it apart.
_audit = structlog.stdlib.get_logger("services.audit")

API_KEY_HEADER: Final = "api-key"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        key: the key, or the entry for the certificate; None without one.
        user_id: the shopper whose token was sent; None for callers who may act for every user.
    """

    key: Key | None = None
    user_id: str | None = None

    @property
    def certain(self) -> bool:
        """Whether a key, a certificate or a token proves who calls."""
        return self.key is not None or self.user_id is not None

    @property
    def name(self) -> str:
        """The name in the audit log, which tells no user."""
        if self.key is not None:
            return f"{self.key.name}/{self.key.id}"
        return "a shopper" if self.user_id is not None else "nobody"


class Guard:
    """Knows the keys and the tokens that count."""

    def __init__(self, keys: Watched[Keys] | None, tokens: Tokens | None) -> None:
        """Takes what counts.

        Args:
            keys: keys and certificates; None where everybody may call.
            tokens: checks shoppers' tokens; None where none is valid.
        """
        self._keys = keys
        self._tokens = tokens
        self._quotas = Quotas()

    @classmethod
    def of(cls, settings: ServerSettings, tokens: Tokens | None = None) -> Self:
        """Makes the guard of a server.

        Args:
            settings: name the file of the keys.
            tokens: checks shoppers' tokens. Absent: those of the settings.

        Raises:
            SettingsError: the file of the keys cannot be read.
        """
        file = settings.keys_file
        keys = None
        if file is not None:
            keys = Watched([file], lambda: Keys.read(file), variable="SERVER_KEYS_FILE", use="keys")
        signing = settings.token_keys()
        return cls(keys, tokens or (Tokens(signing, settings.token_max_lifetime_s) if signing else None))

    @property
    def keys_needed(self) -> bool:
        """Whether callers need a key, a certificate or a token."""
        return self._keys is not None

    @property
    def credentials_count(self) -> bool:
        """Whether what a caller sends makes any difference."""
        return self._keys is not None or self._tokens is not None

    def caller(self, authorization: str | None, api_key: str | None, certificate: Collection[str] = ()) -> Caller:
        """Tells who calls.

        Args:
            authorization: value of the header; "Bearer" with a key or with a token.
            api_key: value of the header `api-key`.
            certificate: names in the caller's certificate, which TLS has checked.

        Raises:
            Unauthenticated: KEY_INVALID, KEY_EXPIRED, TOKEN_INVALID, TOKEN_EXPIRED.
        """
        user_id = None
        if authorization is not None:
            scheme, _, credential = authorization.partition(" ")
            credential = credential.strip()
            if scheme.casefold() != "bearer" or not credential:
                raise Unauthenticated(
                    "The header Authorization is not valid; send Authorization: Bearer <key or token>.",
                    reason="TOKEN_INVALID",
                )
            if credential.startswith(KEY_PREFIX):
                api_key = api_key or credential
            elif self._tokens is not None:
                user_id = self._tokens.user_of(credential)
            elif self._keys is not None:
                raise Unauthenticated(
                    "What the header Authorization holds is no key of this server.", reason="KEY_INVALID"
                )
        return Caller(self._key(api_key, certificate), user_id)

    def _key(self, secret: str | None, certificate: Collection[str]) -> Key | None:
        if self._keys is None:
            return None
        keys = self._keys.value
        if secret is None:
            key = keys.by_certificate(certificate)
        else:
            key = keys.by_secret(secret)
            if key is None:
                raise Unauthenticated(
                    "The key is unknown or has been revoked; send a current one.", reason="KEY_INVALID"
                )
        if key is not None and key.has_ended(now()):
            raise Unauthenticated("The key has expired; send a current one.", reason="KEY_EXPIRED")
        return key

    def check(self, caller: Caller, rule: Rule, *, public: bool = False) -> None:
        """Checks that a caller may make a call.

        Args:
            caller: who calls.
            rule: who may.
            public: whether the operator has opened public routes to everybody.

        Raises:
            Unauthenticated: KEY_MISSING.
            Forbidden: SCOPE_MISSING.
        """
        if self._keys is None or rule.scope is None:
            return
        if caller.key is not None and caller.key.allows >= rule.scope:
            return
        if (caller.user_id is not None and rule.shopper) or (public and rule.public):
            return
        if not caller.certain:
            raise Unauthenticated(
                "The call has no key; send the header Authorization: Bearer <key>, or api-key: <key>.",
                reason="KEY_MISSING",
            )
        raise Forbidden(
            f'The call needs a key of the scope "{rule.scope.name.lower()}".',
            reason="SCOPE_MISSING",
            metadata={"scope": rule.scope.name.lower()},
        )

    def check_user(self, caller: Caller, user_id: str) -> None:
        """Checks that a caller may act for a user: a shopper for themselves alone.

        Raises:
            Forbidden: TOKEN_OF_ANOTHER_USER.
        """
        if caller.user_id is not None and caller.user_id != user_id:
            raise of_another_user()

    def count(self, caller: Caller, cost: Cost) -> None:
        """Counts a call against the quotas of its key.

        Raises:
            QuotaExceeded: QUOTA_EXCEEDED.
        """
        if caller.key is not None:
            self._quotas.take(caller.key, cost)


def of_another_user() -> Forbidden:
    """Makes the error of a shopper who asks for another one."""
    return Forbidden("The token belongs to another user.", reason="TOKEN_OF_ANOTHER_USER")


def audit_write(caller: Caller, call: str, rule: Rule, outcome: str, rows: int = 0) -> None:
    """Writes a line about a call that may have changed something; reads leave none.

    Args:
        caller: who called.
        call: the RPC, or the method and route.
        rule: who may call it.
        outcome: how it ended: the name of the gRPC status, or the HTTP status; CANCELLED if its caller left.
        rows: rows of a batch.
    """
    if rule.scope is not None and rule.scope > Scope.READ:
        _audit.info("write", caller=caller.name, call=call, outcome=outcome, rows=rows)


def audit_refusal(caller: Caller, call: str, reason: str) -> None:
    """Writes a line about a call that was refused because of who called."""
    _audit.warning("refusal", caller=caller.name, call=call, reason=reason)
