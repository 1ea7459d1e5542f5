"""Settings are read from the environment and frozen; errors name the variable."""

import socket
from pathlib import Path

import pytest
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.embedder.processor import available_processors
from services.embedder.settings import EmbedderSettings
from services.serving.settings import ServerSettings, SettingsError, read_settings


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
