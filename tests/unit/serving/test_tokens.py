"""Tokens of users: signed ones are accepted within their lifetime, all others are refused."""

import json

import jwt
import pytest

from services.contract.errors import Unauthenticated
from services.serving.tokens import Tokens

KEY, OTHER = "k" * 32, "o" * 32


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_token_is_good_for_its_user_until_it_ends() -> None:
    clock = Clock()
    tokens = Tokens([KEY], 600, clock)
    token, expires = tokens.sign("ada")
    assert expires == clock.now + 600
    for passed in (0, 599, 609):
        clock.now = expires - 600 + passed
        assert tokens.user_of(token) == "ada"
    clock.now = expires + 10
    with pytest.raises(Unauthenticated) as refused:
        tokens.user_of(token)
    assert refused.value.reason == "TOKEN_EXPIRED"


def test_all_keys_are_accepted_and_the_first_signs() -> None:
    old, new, both = Tokens([OTHER], 600), Tokens([KEY], 600), Tokens([KEY, OTHER], 600)
    assert both.user_of(old.sign("ada")[0]) == both.user_of(new.sign("ada")[0]) == "ada"
    assert new.user_of(both.sign("ada")[0]) == "ada"
    with pytest.raises(Unauthenticated):
        old.user_of(both.sign("ada")[0])


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1_700_000_611},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"nbf": 1_700_000_011},
        {"nbf": float("nan")},
        {"nbf": "soon"},
        {"exp": True},
        {"exp": "1700000100"},
        {"sub": 7},
        {"sub": ["ada"]},
        {"aud": ["another"]},
        {"aud": 7},
    ],
)
def test_claims_of_another_shape_are_refused(claims: dict[str, object]) -> None:
    values = {"sub": "ada", "aud": "fashion", "exp": 1_700_000_100, **claims}
    token = jwt.api_jws.encode(json.dumps(values).encode(), KEY, algorithm="HS256")
    with pytest.raises(Unauthenticated) as refused:
        Tokens([KEY], 600, Clock()).user_of(token)
    assert refused.value.reason == "TOKEN_INVALID"


@pytest.mark.parametrize("claims", [{}, {"aud": ["another", "fashion"]}, {"iat": 1_600_000_000}, {"role": "x"}])
def test_further_claims_do_no_harm(claims: dict[str, object]) -> None:
    token = jwt.encode({"sub": "ada", "aud": "fashion", "exp": 1_700_000_100, **claims}, KEY, algorithm="HS256")
    assert Tokens([KEY], 600, Clock()).user_of(token) == "ada"


def test_without_a_key_there_are_no_tokens() -> None:
    with pytest.raises(ValueError, match="key"):
        Tokens([], 600)
