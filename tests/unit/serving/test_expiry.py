"""When a certificate ends, read from its file without a library, beside one."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from cli.authority import Authority
from services.serving.expiry import expiry


@pytest.mark.parametrize(
    "end",
    [
        datetime(2027, 3, 1, 12, 30, 15, tzinfo=UTC),
        datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC),
        # From 2050 on certificates write four digits of the year.
        datetime(2050, 1, 1, tzinfo=UTC),
        datetime(2126, 7, 4, 1, 2, 3, tzinfo=UTC),
    ],
    ids=lambda end: str(end.year),
)
def test_the_end_is_that_of_the_first_certificate(end: datetime) -> None:
    authority = Authority.make("an authority", timedelta(days=1))
    own = authority.issue(["search", "*.shop.example", "10.0.0.1"], server=True, ends=end).certificate
    assert expiry(own) == x509.load_pem_x509_certificate(own).not_valid_after_utc == end
    assert expiry(b"A comment.\n" + own + authority.own().certificate) == end


def test_one_that_has_ended_is_read_too() -> None:
    end = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
    authority = Authority.make("an authority", timedelta(days=1))
    assert expiry(authority.issue(["search"], server=True, ends=end).certificate) == end


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\nAAAA"])
def test_what_is_no_certificate_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="no certificate"):
        expiry(content)


def test_any_cut_of_a_certificate_is_refused_or_read_as_it_was() -> None:
    authority = Authority.make("an authority", timedelta(days=1))
    own = authority.issue(["search"], server=True, ends=datetime(2030, 1, 1, tzinfo=UTC)).certificate
    lines = own.splitlines(keepends=True)
    for left_out in range(1, len(lines) - 1):
        damaged = b"".join((*lines[:left_out], *lines[left_out + 1 :]))
        try:
            expiry(damaged)
        except ValueError as error:
            assert "certificate" in str(error)
