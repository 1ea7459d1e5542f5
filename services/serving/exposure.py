"""Who is let in from other machines: nobody without TLS and keys, unless the operator says so."""

import structlog

from services.serving.loopback import is_loopback
from services.serving.settings import ServerSettings, SettingsError

_log = structlog.stdlib.get_logger(__name__)


def check_exposure(settings: ServerSettings, host: str, variable: str) -> None:
    """Checks that an address may be listened on, and warns of what the operator has allowed.

    Args:
        settings: settings of the server.
        host: address to listen on.
        variable: what sets that address, such as "SERVER_HOST".

    Raises:
        SettingsError: other machines reach the address, and calls would not be encrypted or would need no key.
    """
    if is_loopback(host):
        return
    lacking = []
    if settings.tls_certificate_file is None:
        if settings.allow_plaintext:
            _log.warning("calls from other machines are not encrypted", host=host, variable="SERVER_ALLOW_PLAINTEXT")
        else:
            lacking.append(
                "calls would not be encrypted: set SERVER_TLS_CERTIFICATE_FILE and SERVER_TLS_KEY_FILE, or allow it "
                "with SERVER_ALLOW_PLAINTEXT=true"
            )
    if settings.keys_file is None:
        if settings.allow_without_keys:
            _log.warning("other machines call without a key", host=host, variable="SERVER_ALLOW_WITHOUT_KEYS")
        else:
            lacking.append(
                "everybody could call: set SERVER_KEYS_FILE, or allow it with SERVER_ALLOW_WITHOUT_KEYS=true"
            )
    if lacking:
        raise SettingsError(f"{variable}: other machines reach {host}, and {'; and '.join(lacking)}.")


def check_admin_exposure(settings: ServerSettings) -> None:
    """Checks that the port for operators may be listened on.

    Raises:
        SettingsError: other machines reach it, and it would not be encrypted.
    """
    host = settings.admin_host
    if is_loopback(host) or settings.admin_tls or settings.admin_allow_plaintext:
        return
    raise SettingsError(
        f"SERVER_ADMIN_HOST: other machines reach {host}, and the port for operators would not be encrypted: set "
        "SERVER_ADMIN_TLS=true, or allow it with SERVER_ADMIN_ALLOW_PLAINTEXT=true where a network policy says who "
        "reaches it."
    )
