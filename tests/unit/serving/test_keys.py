"""Entries of certificates: one that counts goes before one that has ended."""

from datetime import timedelta

import pytest

from services.serving.keys import Key, Keys, now


def entry(id: str, *, ends_h: float | None = None, revoked: bool = False) -> Key:
    made = now()
    return Key(
        id=id,
        name="client",
        scope="read",
        certificate="client",
        created=made,
        expires=None if ends_h is None else made + timedelta(hours=ends_h),
        revoked=made if revoked else None,
    )


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([entry("old", ends_h=-1), entry("new")], "new"),
        ([entry("new", ends_h=1), entry("old", ends_h=-1)], "new"),
        ([entry("first", ends_h=1), entry("second")], "first"),
        ([entry("gone", revoked=True), entry("old", ends_h=-1)], "old"),
        ([entry("gone", revoked=True)], None),
    ],
)
def test_an_entry_that_has_ended_does_not_hide_its_renewal(entries: list[Key], found: str | None) -> None:
    key = Keys(keys=tuple(entries)).by_certificate(["another", "client"])
    assert (key and key.id) == found
