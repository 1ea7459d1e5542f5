"""The settings that all servers share, and how settings are read from the environment."""

from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import AfterValidator, AliasChoices, AliasPath, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from services.serving.telemetry import LogFormat, LogLevel

_Settings = TypeVar("_Settings", bound=BaseSettings)

_MAX_SHOWN_CHARACTERS = 80
# RFC 7518, section 3.2: a key for HS256 has at least the length of the hash.
_MIN_KEY_BYTES: Final = 32
_REDIS_SCHEMES: Final = ("redis://", "rediss://", "unix://")


def _check_redis_url(url: SecretStr) -> SecretStr:
    if url.get_secret_value() and not url.get_secret_value().startswith(_REDIS_SCHEMES):
        raise ValueError(f"should begin with {', '.join(_REDIS_SCHEMES)}")
    return url


def comma_separated(text: str) -> list[str]:
    """Returns the parts of a list in one variable, without spaces around them; empty ones are left out."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _check_keys(keys: SecretStr) -> SecretStr:
    for key in comma_separated(keys.get_secret_value()):
        if len(key.encode()) < _MIN_KEY_BYTES:
            raise ValueError(f"each key should have at least {_MIN_KEY_BYTES} bytes")
    return keys


# Keys that users' tokens are signed with.
TokenKeys = Annotated[SecretStr, AfterValidator(_check_keys)]
# URL of a Redis, or nothing; secret, because it may hold a password.
RedisUrl = Annotated[SecretStr, AfterValidator(_check_redis_url)]


class SettingsError(Exception):
    """An environment variable is missing or invalid; the text is one line that names it."""


class ServerSettings(BaseSettings):
    """How a server listens, ends and logs; read from SERVER_… variables.

    Attributes:
        host: address to listen on; 0.0.0.0 or [::] for all.
        port: port to listen on; 0 for a free one. Absent: the service's own.
        admin_host: address to listen on for operators. What is there is neither encrypted nor needs a key, and holds
            nothing of the shop or of its shoppers.
        admin_port: port for operators, with /metrics, /healthz and /readyz over HTTP; 0 for a free one. Absent: none.
        max_message_bytes: maximum size of a message, in both directions.
        max_concurrent_calls: maximum calls under way. More are refused with RESOURCE_EXHAUSTED and a delay before a
            retry; beyond four times as many (including streams that watch health), without a delay.
        query_deadline_s: default deadline of a query, in seconds.
        write_deadline_s: default deadline of a write or a batch, in seconds.
        grace_s: maximum time for calls in flight after the drain has begun, in seconds.
        drain_delay_s: time from NOT_SERVING until new calls are refused, in seconds.
        max_connection_age_s: age at which connections are renewed, so that callers find new replicas. Absent: never.
        keepalive_time_s: time between two probes of an idle connection, in seconds.
        keepalive_timeout_s: maximum time for the answer to such a probe, in seconds.
        tls_certificate_file: own certificate, with its chain (PEM), for gRPC and HTTP. Absent: calls are not encrypted.
            This file and the next two are read again when they change.
        tls_key_file: private key of that certificate (PEM), without a password.
        tls_client_ca_file: certificates of the authorities (PEM) that sign those of callers over gRPC. Absent: callers
            need no certificate.
        keys_file: file with the hashes of the keys that callers need, as `fashion keys create` writes it. It is read
            again when it changes. Absent: callers need no key.
        token_key: key with which the shop's backend signs its users' tokens (HS256), which count over gRPC too. While
            keys change, several, separated by commas.
        token_max_lifetime_s: maximum lifetime of such a token, in seconds.
        reflection: whether the server describes its services to tools such as grpcurl.
        log_level: lowest level to log.
        log_format: "json", or "console" for people.
        log_file_max_bytes: size at which `fashion serve --detach` begins a new log file.
        log_files: how many log files `fashion serve --detach` keeps, the newest included.
    """

    model_config = SettingsConfigDict(env_prefix="SERVER_", frozen=True, extra="ignore", populate_by_name=True)

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int | None = Field(default=None, ge=0, le=65_535)
    admin_host: str = Field(default="127.0.0.1", min_length=1)
    admin_port: int | None = Field(default=None, ge=0, le=65_535)
    max_message_bytes: int = Field(default=32 * 1024 * 1024, ge=64 * 1024, le=1024 * 1024 * 1024)
    max_concurrent_calls: int = Field(default=256, ge=1)
    query_deadline_s: float = Field(default=2.0, gt=0, le=3600)
    write_deadline_s: float = Field(default=60.0, gt=0, le=3600)
    grace_s: float = Field(default=20.0, ge=0, le=3600)
    drain_delay_s: float = Field(default=0.0, ge=0, le=300)
    max_connection_age_s: float | None = Field(default=None, gt=0)
    keepalive_time_s: float = Field(default=30.0, ge=10)
    keepalive_timeout_s: float = Field(default=10.0, gt=0)
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    keys_file: Path | None = None
    token_key: TokenKeys = Field(default=SecretStr(""), validation_alias="GATEWAY_TOKEN_KEY")
    token_max_lifetime_s: float = Field(
        default=3600.0, gt=0, le=86_400, validation_alias="GATEWAY_TOKEN_MAX_LIFETIME_S"
    )
    reflection: bool = True
    log_level: LogLevel = "info"
    log_format: LogFormat = "json"
    log_file_max_bytes: int = Field(default=16 * 1024 * 1024, ge=64 * 1024)
    log_files: int = Field(default=5, ge=2, le=1000)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("SERVER_TLS_CERTIFICATE_FILE and SERVER_TLS_KEY_FILE should be set together")
        if self.tls_client_ca_file is not None and self.tls_certificate_file is None:
            raise ValueError("SERVER_TLS_CERTIFICATE_FILE should be set too, for callers to send certificates")
        return self

    def token_keys(self) -> tuple[str, ...]:
        """Returns the keys of users' tokens."""
        return tuple(comma_separated(self.token_key.get_secret_value()))

    def address(self, default_port: int) -> str:
        """Returns the address to listen on, in gRPC's form."""
        host = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
        return f"{host}:{default_port if self.port is None else self.port}"


def read_settings(settings: type[_Settings], **overrides: Any) -> _Settings:
    """Reads settings from the environment.

    Args:
        settings: the class of the settings.
        overrides: values that replace those of the environment, such as options of the command line.

    Raises:
        SettingsError: variables are missing or invalid; the text names them all, and never shows a secret.
    """
    try:
        return settings(**overrides)
    except ValidationError as error:
        raise SettingsError("; ".join(_line(settings, details) for details in error.errors())) from None
    except SourceError as error:
        raise SettingsError(" ".join(str(error).split())) from None


def _line(settings: type[BaseSettings], details: Any) -> str:
    location = [str(part) for part in details["loc"]]
    if not location:
        return str(details["msg"])
    name, variable = _variable(settings, location[0])
    text = str(details["msg"])
    given = details["input"]
    if details["type"] != "missing" and name is not None and not _is_secret(settings, name):
        text += f" (it is {str(given)[:_MAX_SHOWN_CHARACTERS]!r})"
    return f"{variable}: {text}"


def _variable(settings: type[BaseSettings], location: str) -> tuple[str | None, str]:
    """Returns the field of a location, and its environment variable."""
    prefix = settings.model_config.get("env_prefix", "")
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        if isinstance(alias, AliasChoices):
            alias = alias.choices[0]
        if isinstance(alias, AliasPath):
            alias = str(alias.path[0])
        # pydantic reports a field by its alias, where it has one.
        if location in (name, alias) or location.lower() == str(alias).lower():
            return name, (alias if alias is not None else prefix + name).upper()
    return None, location.upper()


def _is_secret(settings: type[BaseSettings], name: str) -> bool:
    return "Secret" in str(settings.model_fields[name].annotation)
