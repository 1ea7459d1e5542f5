"""Nobody is let in from other machines without TLS and keys, unless the operator says so."""

from pathlib import Path

import pytest
import structlog

from services.serving.exposure import check_exposure
from services.serving.settings import ServerSettings, SettingsError

OPEN = "0.0.0.0"
TLS = {"tls_certificate_file": Path("tls.crt"), "tls_key_file": Path("tls.key")}
KEYS = {"keys_file": Path("keys.json")}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "localhost", "::1", "[::1]", "::ffff:127.0.0.1"])
def test_on_loopback_nothing_is_asked(host: str) -> None:
    with structlog.testing.capture_logs() as lines:
        check_exposure(ServerSettings(host=host), host, "SERVER_HOST")
    assert lines == []


@pytest.mark.parametrize("host", [OPEN, "::", "[::]", "10.0.0.7", "2001:db8::7", "shop.example", "::ffff:10.0.0.7"])
def test_elsewhere_the_start_is_refused_with_the_names_of_the_settings(host: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        check_exposure(ServerSettings(host=host), host, "SERVER_HOST")
    for name in (
        "SERVER_HOST",
        host,
        "SERVER_TLS_CERTIFICATE_FILE",
        "SERVER_TLS_KEY_FILE",
        "SERVER_ALLOW_PLAINTEXT=true",
        "SERVER_KEYS_FILE",
        "SERVER_ALLOW_WITHOUT_KEYS=true",
    ):
        assert name in str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "lacking"),
    [
        (TLS, "SERVER_ALLOW_WITHOUT_KEYS"),
        (KEYS, "SERVER_ALLOW_PLAINTEXT"),
        # Who has a certificate of an authority is known, but not what they may do.
        ({**TLS, "tls_client_ca_file": Path("ca.crt")}, "SERVER_ALLOW_WITHOUT_KEYS"),
        ({"allow_plaintext": True}, "SERVER_ALLOW_WITHOUT_KEYS"),
        ({"allow_without_keys": True}, "SERVER_ALLOW_PLAINTEXT"),
    ],
)
def test_one_of_the_two_is_not_enough(settings: dict[str, object], lacking: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        check_exposure(ServerSettings(**settings), OPEN, "GATEWAY_HOST")
    both = {"SERVER_ALLOW_PLAINTEXT", "SERVER_ALLOW_WITHOUT_KEYS"}
    assert {name for name in both if name in str(refusal.value)} == {lacking}
    assert "GATEWAY_HOST" in str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({**TLS, **KEYS}, []),
        ({**TLS, "allow_without_keys": True}, ["SERVER_ALLOW_WITHOUT_KEYS"]),
        ({**KEYS, "allow_plaintext": True}, ["SERVER_ALLOW_PLAINTEXT"]),
        (
            {"allow_plaintext": True, "allow_without_keys": True},
            ["SERVER_ALLOW_PLAINTEXT", "SERVER_ALLOW_WITHOUT_KEYS"],
        ),
    ],
)
def test_what_the_operator_allows_leaves_a_warning(settings: dict[str, object], warned: list[str]) -> None:
    with structlog.testing.capture_logs() as lines:
        check_exposure(ServerSettings(**settings), OPEN, "SERVER_HOST")
    assert [(line["log_level"], line["variable"]) for line in lines] == [("warning", name) for name in warned]
