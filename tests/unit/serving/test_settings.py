"""Settings are read from the environment and frozen; errors name the variable."""

import socket
from pathlib import Path

import pytest
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.connection import parse_url

from services.classifier.settings import ClassifierSettings
from services.concurrency.processor import available_processors
from services.embedder.settings import EmbedderSettings
from services.gateway.settings import GatewaySettings
from services.search.settings import SearchSettings
from services.serving.settings import (
    ClientSettings,
    RedisSettings,
    ServerSettings,
    SettingsError,
    TracingSettings,
    is_secret,
    read_settings,
    variable_of,
)


class Example(BaseSettings):
    """Settings with a secret, a variable with an alias, and a required one."""

    model_config = SettingsConfigDict(env_prefix="EXAMPLE_", frozen=True, extra="ignore")

    key: SecretStr = Field(default=SecretStr("unset"), min_length=8)
    redis: str = Field(default="", validation_alias="REDIS_URL", pattern="^(redis://.*)?$")
    needed: int


def test_defaults_are_the_documented_ones() -> None:
    settings = read_settings(ServerSettings)

    assert (settings.query_deadline_s, settings.write_deadline_s) == (2, 60)
    assert settings.max_message_bytes == 32 * 1024 * 1024
    embedder = read_settings(EmbedderSettings)
    assert (embedder.max_image_bytes, embedder.max_image_pixels, embedder.max_batch) == (
        10 * 1024 * 1024,
        25_000_000,
        64,
    )
    assert embedder.bundle == "models/fashion-resnet50"


def test_the_environment_counts_and_overrides_come_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_PORT", "6000")
    monkeypatch.setenv("SERVER_HOST", "::")

    assert read_settings(ServerSettings).address(50051) == "[::]:6000"
    assert read_settings(ServerSettings, port=7000, host="0.0.0.0").address(50051) == "0.0.0.0:7000"
    monkeypatch.delenv("SERVER_PORT")
    assert read_settings(ServerSettings).address(50051) == "[::]:50051"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        read_settings(ServerSettings).port = 1


def test_errors_name_every_bad_variable_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_KEY", "hunter2")
    monkeypatch.setenv("REDIS_URL", "http://somewhere")

    with pytest.raises(SettingsError) as caught:
        read_settings(Example)

    text = str(caught.value)
    assert "\n" not in text
    assert "EXAMPLE_KEY: " in text
    assert "hunter2" not in text
    assert "REDIS_URL: " in text
    assert "'http://somewhere'" in text
    assert "EXAMPLE_NEEDED: Field required" in text


def test_defaults_that_hang_on_a_bad_variable_are_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_PROFILE", "prod")
    with pytest.raises(SettingsError) as error:
        read_settings(ServerSettings)
    assert str(error.value) == "SERVER_PROFILE: Input should be 'development' or 'production' (it is 'prod')"
    monkeypatch.setenv("SERVER_PROFILE", "production")
    monkeypatch.setenv("GATEWAY_TOKEN_KEY", "short")
    with pytest.raises(SettingsError) as error:
        read_settings(GatewaySettings)
    assert str(error.value) == "GATEWAY_TOKEN_KEY: each key should have at least 32 bytes"


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_KEY", "correct horse")
    monkeypatch.setenv("EXAMPLE_NEEDED", "1")

    assert "correct horse" not in repr(read_settings(Example))


@pytest.mark.parametrize(
    ("variable", "value"),
    [("THREADS", "0"), ("MICRO_BATCH", "1"), ("RUNTIME", "torch"), ("BUNDLE", ""), ("QUEUE_SIZE", "many")],
)
def test_the_embedder_refuses_by_name(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(f"EMBEDDER_{variable}", value)

    with pytest.raises(SettingsError, match=f"^EMBEDDER_{variable}: .*"):
        read_settings(EmbedderSettings)


def test_limits_follow_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {"MAX_IMAGE_BYTES": 7, "MAX_IMAGE_PIXELS": 8, "QUEUE_SIZE": 9, "DECODE_THREADS": 3}.items():
        monkeypatch.setenv(f"EMBEDDER_{variable}", str(value))

    limits = read_settings(EmbedderSettings).limits()

    assert (limits.image.max_bytes, limits.image.max_pixels) == (7, 8)
    assert (limits.batching.query_places, limits.decode_threads) == (9, 3)


@pytest.mark.parametrize(("quota", "expected"), [("50000 100000", 1), ("max 100000", None), ("nonsense", None)])
def test_a_containers_processors_count(tmp_path: Path, quota: str, expected: int | None) -> None:
    unlimited = available_processors(tmp_path / "absent")
    file = tmp_path / "cpu.max"
    file.write_text(quota + "\n")

    assert available_processors(file) == (expected or unlimited)
    assert unlimited >= 1


def test_addresses_can_be_listened_on() -> None:
    host, port = read_settings(ServerSettings, port=0).address(1).rsplit(":", 1)
    with socket.socket() as listening:
        listening.bind((host, int(port)))


def _file(folder: Path, content: str) -> str:
    file = folder / "secret"
    file.write_text(content, encoding="utf-8")
    return str(file)


ALL = (
    ServerSettings,
    TracingSettings,
    EmbedderSettings,
    ClassifierSettings,
    SearchSettings,
    GatewaySettings,
    RedisSettings,
    ClientSettings,
)
SECRETS = [(settings, name) for settings in ALL for name, field in settings.model_fields.items() if is_secret(field)]


@pytest.mark.parametrize(("settings", "name"), SECRETS, ids=[f"{each.__name__}.{name}" for each, name in SECRETS])
def test_every_secret_may_be_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: type[BaseSettings], name: str
) -> None:
    variable = variable_of(settings, name)
    secret = "redis://:of-a-file@redis:6379/0" if name == "redis_url" else "of-a-file-" + "x" * 32
    monkeypatch.setenv(f"{variable}_FILE", _file(tmp_path, secret + "\n"))
    # Compose sets a variable that is left out to nothing.
    monkeypatch.setenv(variable, "")

    value = getattr(read_settings(settings), name)

    # This one is read again and again, so its file is a setting itself.
    if (settings, name) == (ClientSettings, "api_key"):
        assert read_settings(ClientSettings).api_key_file == tmp_path / "secret"
    else:
        assert value.get_secret_value() == secret


@pytest.mark.parametrize(
    ("content", "also", "why"),
    [("short\n", "", "at least 32 bytes"), ("\n", "", "is empty"), ("k" * 32, "k" * 32, "set one of them")],
)
def test_a_bad_file_of_a_secret_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, also: str, why: str
) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN_KEY_FILE", _file(tmp_path, content))
    if also:
        monkeypatch.setenv("GATEWAY_TOKEN_KEY", also)

    with pytest.raises(SettingsError, match=f"^GATEWAY_TOKEN_KEY.*{why}") as caught:
        read_settings(GatewaySettings)

    assert content.strip() not in str(caught.value) or not content.strip()


def test_a_missing_file_of_a_secret_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(tmp_path / "absent"))

    with pytest.raises(SettingsError, match=r"^REDIS_PASSWORD_FILE: .*absent cannot be read \(No such file"):
        read_settings(SearchSettings)


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "redis://localhost:6379/0"),
        ({"REDIS_URL": "unix:///run/redis.sock"}, "unix:///run/redis.sock"),
        ({"REDIS_PASSWORD": "p:w/d@ü"}, "redis://:p%3Aw%2Fd%40%C3%BC@localhost:6379/0"),
        (
            {"REDIS_URL": "redis://a:b@host:1/2?x=1", "REDIS_USERNAME": "fashion", "REDIS_PASSWORD": "c"},
            "redis://fashion:c@host:1/2?x=1",
        ),
        ({"REDIS_URL": "redis://a%40b:c@host", "REDIS_PASSWORD": "d"}, "redis://a%40b:d@host"),
        ({"REDIS_URL": "unix:///run/redis.sock", "REDIS_PASSWORD": "c"}, "unix://:c@/run/redis.sock"),
        (
            {"REDIS_URL": "rediss://host/0?x=1", "REDIS_CA_FILE": "/etc/ca.pem"},
            "rediss://host/0?x=1&ssl_ca_certs=%2Fetc%2Fca.pem",
        ),
    ],
)
def test_the_address_of_redis_is_put_together(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], address: str
) -> None:
    for name in ("REDIS_URL", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_CA_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    settings = read_settings(RedisSettings)

    assert settings.redis_address("redis://localhost:6379/0") == address
    given, understood = dict(environment), parse_url(address)
    if "REDIS_PASSWORD" in given:
        assert understood["password"] == given["REDIS_PASSWORD"]
    if "REDIS_CA_FILE" in given:
        assert understood["ssl_ca_certs"] == given["REDIS_CA_FILE"]


def test_a_stack_without_a_redis_of_its_own_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "unused")

    assert read_settings(SearchSettings, redis_url=SecretStr("")).redis_address() == ""


def test_authorities_without_tls_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://host")
    monkeypatch.setenv("REDIS_CA_FILE", "/etc/ca.pem")

    with pytest.raises(SettingsError, match="REDIS_URL should begin with rediss://"):
        read_settings(SearchSettings)
