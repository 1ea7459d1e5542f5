"""The classifier's settings, read from CLASSIFIER_… variables and REDIS_URL."""

from typing import Final

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.serving.settings import RedisUrl

DEFAULT_PORT: Final = 50052

# What EMBEDDER_BUNDLE may be as well: weights that come without any head.
IMAGENET: Final = "imagenet"


class ClassifierSettings(BaseSettings):
    """What the classifier loads, asks and follows.

    Attributes:
        bundle: folder of the bundle whose heads are used, the same as the embedder's; or "imagenet", which has no
            heads: all is recognised by candidates.
        embedder_target: gRPC target of the embedder, asked where a request holds a photograph.
        embedder_timeout_s: how long the embedder may take to answer, in seconds; a nearer deadline of the caller holds.
        start_timeout_s: how long to wait at the start for the embedder to describe its model, where the bundle is
            "imagenet"; in seconds.
        threads: how many embeddings are classified at a time.
        max_pending: how many may be waiting or under way; more are refused with RESOURCE_EXHAUSTED.
        redis_url: where candidates are published (redis://, rediss:// or unix://). Empty: none are followed, and the
            bundle's own labels answer.
        redis_timeout_s: how long Redis may take to answer, in seconds.
        follow_period_s: how often to look for new candidates, in seconds.
    """

    model_config = SettingsConfigDict(env_prefix="CLASSIFIER_", frozen=True, extra="ignore", populate_by_name=True)

    bundle: str = Field(default="models/fashion-resnet50", min_length=1)
    embedder_target: str = Field(default="localhost:50051", min_length=1)
    embedder_timeout_s: float = Field(default=2.0, gt=0, le=3600)
    start_timeout_s: float = Field(default=300.0, gt=0, le=3600)
    threads: int = Field(default=1, ge=1, le=64)
    max_pending: int = Field(default=256, ge=1)
    redis_url: RedisUrl = Field(default=SecretStr(""), validation_alias="REDIS_URL")
    redis_timeout_s: float = Field(default=2.0, gt=0, le=60)
    follow_period_s: float = Field(default=2.0, gt=0, le=3600)
