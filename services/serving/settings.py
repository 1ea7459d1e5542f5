"""The settings that all servers share, and how settings are read from the environment."""

import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from pydantic import AfterValidator, AliasChoices, AliasPath, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from services.contract.errors import ERROR_DOMAIN
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


_EXPORTERS: Final = ("otlp", "console", "none")


def _check_exporters(text: str) -> str:
    for name in comma_separated(text):
        if name not in _EXPORTERS:
            raise ValueError(f"should be {', '.join(_EXPORTERS)}, or several of them, separated by commas")
    return text


# Keys that users' tokens are signed with.
TokenKeys = Annotated[SecretStr, AfterValidator(_check_keys)]
# URL of a Redis, or nothing; secret, because it may hold a password.
RedisUrl = Annotated[SecretStr, AfterValidator(_check_redis_url)]


class SettingsError(Exception):
    """An environment variable is missing or invalid; the text is one line that names it."""


Profile = Literal["development", "production"]


def on_unless_in_production(known: dict[str, Any]) -> bool:
    """Returns the default of what production does without, by the settings that are known already."""
    return known.get("profile") != "production"


class Settings(BaseSettings):
    """Settings whose secrets may be files: where SOME_KEY is a secret, SOME_KEY_FILE names a file that holds it."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Reads arguments first, then files that the environment names, then the environment."""
        return init_settings, _SecretFiles(settings_cls), env_settings


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads secrets from the files that variables name."""

    def __call__(self) -> dict[str, Any]:
        values = {}
        for name, field in self.settings_cls.model_fields.items():
            # A field of that name reads the file itself, again and again.
            if is_secret(field) and f"{name}_file" not in self.settings_cls.model_fields:
                value, key, _ = self.get_field_value(field, name)
                if value is not None:
                    values[key] = value
        return values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Returns the content of a secret's file without the end of its line, None where no file is named."""
        variable = variable_of(self.settings_cls, field_name)
        file = os.environ.get(f"{variable}_FILE", "")
        key = str(field.validation_alias or field_name)
        if not file:
            return None, key, False
        if os.environ.get(variable):
            raise SettingsError(f"{variable}_FILE: {variable} is set too; set one of them.")
        try:
            secret = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise SettingsError(f"{variable}_FILE: {file} cannot be read ({why}).") from None
        if not secret:
            raise SettingsError(f"{variable}_FILE: {file} is empty.")
        return secret, key, False


def variable_of(settings: type[BaseSettings], name: str) -> str:
    """Returns the environment variable of a field."""
    alias = settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        alias = alias.choices[0]
    if isinstance(alias, AliasPath):
        alias = str(alias.path[0])
    return (alias or settings.model_config.get("env_prefix", "") + name).upper()


def is_secret(field: FieldInfo) -> bool:
    """Tells whether a field is never shown."""
    return "Secret" in str(field.annotation)


class ServerSettings(Settings):
    """How a server listens, ends and logs; read from SERVER_… variables.

    Attributes:
        host: address to listen on; 0.0.0.0 or [::] for all.
        port: port to listen on; 0 for a free one. Absent: the service's own.
        admin_host: address to listen on for operators. What is there needs no key, and holds nothing of the shop or of
            its shoppers.
        admin_port: port for operators, with /metrics, /healthz and /readyz over HTTP; 0 for a free one. Absent: none.
        admin_tls: whether the port for operators speaks TLS, with the server's own certificate.
        admin_allow_plaintext: whether other machines may ask the port for operators without TLS.
        max_message_bytes: maximum size of a message, in both directions.
        max_concurrent_calls: maximum calls under way. More are refused with RESOURCE_EXHAUSTED and a delay before a
            retry; beyond sixteen times as many (including streams that watch health), without a delay.
        message_timeout_s: maximum time for the message of a call to arrive, in seconds. Where more than four times
            `max_concurrent_calls` wait for theirs, the one that has waited longest is refused.
        max_unfinished_bytes: memory for messages of which a part has not arrived within a second. Each counts as
            `max_message_bytes`; of more calls, the ones that have waited longest are refused.
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
        allow_plaintext: whether other machines may call without TLS.
        allow_without_keys: whether other machines may call although there is no `keys_file`.
        keys_file: file with the hashes of the keys that callers need, as `fashion keys create` writes it. It is read
            again when it changes. Absent: callers need no key.
        token_key: key with which the shop's backend signs its users' tokens (HS256), which count over gRPC too. While
            keys change, several, separated by commas.
        token_max_lifetime_s: maximum lifetime of such a token, in seconds.
        error_domain: `domain` of the ErrorInfo in errors over gRPC, which says whose reasons these are. Set a name that
            is yours alone, such as "recommender.shop.example".
        profile: "production" turns off what customers do not need, where its own variable does not say otherwise:
            reflection, and of the gateway the storefront with its inspector, and the reference.
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
    admin_tls: bool = False
    admin_allow_plaintext: bool = False
    max_message_bytes: int = Field(default=32 * 1024 * 1024, ge=64 * 1024, le=1024 * 1024 * 1024)
    max_concurrent_calls: int = Field(default=256, ge=1)
    message_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    max_unfinished_bytes: int = Field(default=512 * 1024 * 1024, ge=64 * 1024)
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
    allow_plaintext: bool = False
    allow_without_keys: bool = False
    keys_file: Path | None = None
    token_key: TokenKeys = Field(default=SecretStr(""), validation_alias="GATEWAY_TOKEN_KEY")
    token_max_lifetime_s: float = Field(
        default=3600.0, gt=0, le=86_400, validation_alias="GATEWAY_TOKEN_MAX_LIFETIME_S"
    )
    error_domain: str = Field(default=ERROR_DOMAIN, pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")
    profile: Profile = "development"
    reflection: bool = Field(default_factory=on_unless_in_production)
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
        if self.admin_tls and self.tls_certificate_file is None:
            raise ValueError("SERVER_TLS_CERTIFICATE_FILE should be set too, for SERVER_ADMIN_TLS")
        return self

    def token_keys(self) -> tuple[str, ...]:
        """Returns the keys of users' tokens."""
        return tuple(comma_separated(self.token_key.get_secret_value()))

    def address(self, default_port: int) -> str:
        """Returns the address to listen on, in gRPC's form."""
        host = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
        return f"{host}:{default_port if self.port is None else self.port}"


Sampler = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]
Protocol = Literal["grpc", "http/protobuf"]


class TracingSettings(Settings):
    """Where traces go, by the standard variables of OpenTelemetry; its SDK reads those that are not named here.

    Attributes:
        sdk_disabled: whether traces are off, whatever the other variables say.
        traces_exporter: where traces go: "otlp", "console" (standard output) or "none". Absent: "otlp" where an
            endpoint is named, else "none".
        exporter_otlp_endpoint: URL of the collector, such as "http://collector:4317". "https://" and a URL without a
            scheme mean TLS.
        exporter_otlp_traces_endpoint: the same, for traces alone.
        exporter_otlp_protocol: how the collector is spoken to.
        exporter_otlp_traces_protocol: the same, for traces alone.
        exporter_otlp_headers: headers for the collector, such as "authorization=Bearer%20TOKEN", separated by commas.
        exporter_otlp_traces_headers: the same, for traces alone.
        service_name: name of the process in traces. Absent: "fashion-stack", "fashion-gateway", "fashion-search" and so
            on.
        traces_sampler: which traces are kept. Those with "parentbased" do as the caller's traceparent says; where
            strangers call, "traceidratio" does not let them decide.
        traces_sampler_arg: the share of traces that the two with a ratio keep.
    """

    model_config = SettingsConfigDict(env_prefix="OTEL_", frozen=True, extra="ignore", env_ignore_empty=True)

    sdk_disabled: bool = False
    traces_exporter: Annotated[str, AfterValidator(_check_exporters)] = ""
    exporter_otlp_endpoint: str = ""
    exporter_otlp_traces_endpoint: str = ""
    exporter_otlp_protocol: Protocol = "grpc"
    exporter_otlp_traces_protocol: Protocol | None = None
    exporter_otlp_headers: SecretStr = SecretStr("")
    exporter_otlp_traces_headers: SecretStr = SecretStr("")
    service_name: str = ""
    traces_sampler: Sampler = "parentbased_always_on"
    traces_sampler_arg: float = Field(default=1.0, ge=0, le=1)

    def exporters(self) -> tuple[str, ...]:
        """Returns the names of the exporters; none where traces are off."""
        named = self.exporter_otlp_traces_endpoint or self.exporter_otlp_endpoint
        exporters = comma_separated(self.traces_exporter or ("otlp" if named else ""))
        return () if self.sdk_disabled or "none" in exporters else tuple(dict.fromkeys(exporters))

    def protocol(self) -> Protocol:
        """Returns how the collector is spoken to."""
        return self.exporter_otlp_traces_protocol or self.exporter_otlp_protocol

    def headers(self) -> str:
        """Returns the headers for the collector."""
        return self.exporter_otlp_traces_headers.get_secret_value() or self.exporter_otlp_headers.get_secret_value()


class RedisSettings(Settings):
    """How Redis is reached.

    Attributes:
        redis_url: Redis for disliked colours and candidates: redis://, rediss:// (TLS) or unix://. Empty: an embedded
            one in the stack, redis://localhost:6379/0 for search alone; a classifier alone then follows no candidates,
            and answers with the bundle's own labels.
        redis_username: user, in place of the one in the URL.
        redis_password: password, in place of the one in the URL.
        redis_ca_file: certificates of the authorities that may sign that of Redis (PEM), for rediss://. Absent: those
            of the system.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    redis_url: RedisUrl = Field(default=SecretStr(""), validation_alias="REDIS_URL")
    redis_username: str = Field(default="", validation_alias="REDIS_USERNAME")
    redis_password: SecretStr = Field(default=SecretStr(""), validation_alias="REDIS_PASSWORD")
    redis_ca_file: Path | None = Field(default=None, validation_alias="REDIS_CA_FILE")

    @model_validator(mode="after")
    def _authorities_need_tls(self) -> Self:
        if self.redis_ca_file is not None and not self.redis_url.get_secret_value().startswith("rediss://"):
            raise ValueError("REDIS_URL should begin with rediss:// where REDIS_CA_FILE is set")
        return self

    def redis_address(self, default: str = "") -> str:
        """Returns the URL with user, password and authorities in it.

        Args:
            default: the URL where none is set.
        """
        address = self.redis_url.get_secret_value() or default
        if not address:
            return ""
        url, query = urlsplit(address), []
        server, user, password = url.netloc.rpartition("@")[2], url.username or "", url.password or ""
        if self.redis_username:
            user = quote(self.redis_username, safe="")
        if self.redis_password.get_secret_value():
            password = quote(self.redis_password.get_secret_value(), safe="")
        if self.redis_ca_file is not None:
            query = [urlencode({"ssl_ca_certs": str(self.redis_ca_file)})]
        proof = f"{user}:{password}@" if user or password else ""
        asked = "&".join(filter(None, [url.query, *query]))
        return f"{url.scheme}://{proof}{server}{url.path}" + (f"?{asked}" if asked else "")


class ClientSettings(Settings):
    """How services and the command line prove who they are to the services that they call; from CLIENT_… variables.

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
        # Defaults that hang on a wrong value are nobody's fault.
        wrong = (details for details in error.errors() if details["type"] != "default_factory_not_called")
        raise SettingsError("; ".join(_line(settings, details) for details in wrong)) from None
    except SourceError as error:
        raise SettingsError(" ".join(str(error).split())) from None


def _line(settings: type[BaseSettings], details: Any) -> str:
    location = [str(part) for part in details["loc"]]
    if not location:
        return str(details["msg"]).removeprefix("Value error, ")
    name, variable = _variable(settings, location[0])
    text = str(details["msg"]).removeprefix("Value error, ")
    given = details["input"]
    if details["type"] != "missing" and name is not None and not is_secret(settings.model_fields[name]):
        text += f" (it is {str(given)[:_MAX_SHOWN_CHARACTERS]!r})"
    return f"{variable}: {text}"


def _variable(settings: type[BaseSettings], location: str) -> tuple[str | None, str]:
    """Returns the field of a location, and its environment variable."""
    for name in settings.model_fields:
        variable = variable_of(settings, name)
        # pydantic reports a field by its alias, where it has one.
        if location == name or location.upper() == variable:
            return name, variable
    return None, location.upper()
