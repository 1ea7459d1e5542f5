"""Signs and checks the tokens (JWT, HS256) with which a browser acts for one user."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from services.contract.errors import Unauthenticated

AUDIENCE: Final = "fashion"

_ALGORITHM: Final = "HS256"
# Maximum difference between the clocks of the shop's backend and of the gateway, in seconds.
_LEEWAY_S: Final = 10.0


class Tokens:
    """Tokens of users: `sub` is the user's id, `aud` is "fashion", `exp` is within the maximum lifetime."""

    def __init__(self, keys: Sequence[str], max_lifetime_s: float, now: Callable[[], float] = time.time) -> None:
        """Takes the keys.

        Args:
            keys: keys of at least 32 bytes; the first signs, all are accepted.
            max_lifetime_s: maximum lifetime of a token, in seconds.
            now: clock, in seconds since 1970.
        """
        if not keys:
            raise ValueError("at least one key is needed")
        # It takes a twentieth of a start to import, which servers without tokens need not spend.
        import jwt

        self._jwt = jwt
        self._keys = tuple(keys)
        self._max_lifetime_s = max_lifetime_s
        self._now = now

    def sign(self, user_id: str) -> tuple[str, float]:
        """Makes a token of the maximum lifetime for a user; returns it and its expiry."""
        issued = int(self._now())
        expires = issued + int(self._max_lifetime_s)
        claims = {"sub": user_id, "aud": AUDIENCE, "iat": issued, "exp": expires}
        return self._jwt.encode(claims, self._keys[0], algorithm=_ALGORITHM), float(expires)

    def user_of(self, token: str) -> str:
        """Returns the user of a token.

        Raises:
            Unauthenticated: TOKEN_EXPIRED, or TOKEN_INVALID for any other fault.
        """
        claims = self._claims(token)
        expires, begins = _time(claims, "exp"), _time(claims, "nbf") if "nbf" in claims else 0.0
        now = self._now()
        if begins > now + _LEEWAY_S:
            raise _invalid("it does not count yet")
        if expires <= now - _LEEWAY_S:
            raise Unauthenticated("The token has expired; get a new one.", reason="TOKEN_EXPIRED")
        if expires - now > self._max_lifetime_s + _LEEWAY_S:
            raise _invalid(f"its lifetime is longer than {self._max_lifetime_s:g} s")
        user_id = claims["sub"]
        if not isinstance(user_id, str) or not user_id:
            raise _invalid("sub names no user")
        return user_id

    def _claims(self, token: str) -> dict[str, object]:
        jwt = self._jwt
        why: Exception | None = None
        for key in self._keys:
            try:
                # `user_of` checks the times, with the given clock.
                claims: dict[str, object] = jwt.decode(
                    token,
                    key,
                    algorithms=[_ALGORITHM],
                    audience=AUDIENCE,
                    options={
                        "require": ["exp", "sub", "aud"],
                        "verify_exp": False,
                        "verify_iat": False,
                        "verify_nbf": False,
                    },
                )
                return claims
            except jwt.InvalidSignatureError as error:
                why = why or error
            except jwt.PyJWTError as error:
                raise _invalid(str(error)) from error
        raise _invalid(str(why)) from why


def _time(claims: Mapping[str, object], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _invalid(f"{name} is not a number")
    return value


def _invalid(why: str) -> Unauthenticated:
    return Unauthenticated(
        f"The token is not valid: {why.rstrip('.')}.", reason="TOKEN_INVALID", metadata={"why": why[:200]}
    )
