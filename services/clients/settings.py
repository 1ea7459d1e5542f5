"""How services and the command line prove who they are to the services that they call, from CLIENT_… variables."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from services.serving.settings import Settings


class ClientSettings(Settings):
    """What is sent to every service that is called.

    Attributes:
        api_key: key that is sent with each call.
        api_key_file: file with that key, read again when it changes.
        tls_ca_file: certificates of the authorities that may sign the services' certificates (PEM). Absent: calls are
            not encrypted. These files are read again when they change.
        tls_certificate_file: own certificate, with its chain (PEM), where services ask for one.
        tls_key_file: private key of that certificate (PEM).
        tls_server_name: name that the services' certificates have, where it is another one than that of the target.
    """

    model_config = SettingsConfigDict(env_prefix="CLIENT_", frozen=True, extra="ignore")

    api_key: SecretStr = Field(default=SecretStr(""))
    api_key_file: Path | None = None
    tls_ca_file: Path | None = None
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_server_name: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("CLIENT_TLS_CERTIFICATE_FILE and CLIENT_TLS_KEY_FILE should be set together")
        if self.tls_ca_file is None and (self.tls_certificate_file is not None or self.tls_server_name is not None):
            raise ValueError("CLIENT_TLS_CA_FILE should be set too, for calls to be encrypted")
        return self
