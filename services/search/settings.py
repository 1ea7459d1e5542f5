"""The settings of search, read from SEARCH_… variables and REDIS_URL."""

from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.search.candidates.publisher import PublisherSettings
from services.search.indexes.faiss import FaissSettings
from services.search.query.find_similar import ClassifierUse
from services.search.writes.writer import WriteLimits
from services.serving.settings import RedisUrl

DEFAULT_PORT: Final = 50053
DEFAULT_REDIS_URL: Final = "redis://localhost:6379/0"


class SearchSettings(BaseSettings):
    """Where search keeps the catalogue, whom it asks, and how much it does at a time.

    Attributes:
        data_dir: of the catalogue and its photographs; made where it is missing, used by one process at a time.
        embedder_target: gRPC target of the embedder.
        classifier_target: gRPC target of the classifier.
        redis_url: of the disliked colours and the candidates (redis://, rediss:// or unix://). Empty: an embedded one
            in the stack, redis://localhost:6379/0 for search alone.
        start_timeout_s: how long to wait at the start for the embedder to describe its model, in seconds.
        embedder_timeout_s: how long the embedder may take for a query's photograph, in seconds; a nearer deadline of
            the caller holds, here and below.
        write_timeout_s: how long the embedder may take for a group of photographs that are written, in seconds.
        classifier_timeout_s: how long a classifier in another process may take before an answer does without it, in
            seconds.
        classifier_top_k: how many subCategories and derived types it is asked for.
        preferences_timeout_s: how long Redis may take to read or write dislikes, in seconds.
        candidates_timeout_s: how long Redis may take to take over candidates, in seconds.
        candidates_changed_share: a derived type's candidates are computed again once so large a share of its products
            changed.
        candidates_pause_s: at least so long between two publications of candidates, in seconds; longer where computing
            them would take more than a twentieth of the time.
        candidates_period_s: how often to look whether Redis still holds them, in seconds.
        threads: searches and reads done at a time.
        max_pending: how many may be waiting or under way; more are refused with QUEUE_FULL.
        faiss_threads: of FAISS, for one search.
        max_batch_rows: products of one upsert or delete.
        max_pending_writes: writes that may wait for their turn; more are refused with QUEUE_FULL.
        embed_group: photographs of writes that are handed to the embedder at once.
        embed_groups_in_flight: how many such groups at the same time.
        renew_group: products of another model version that are embedded again at once, in the background.
    """

    model_config = SettingsConfigDict(env_prefix="SEARCH_", frozen=True, extra="ignore", populate_by_name=True)

    data_dir: Path = Path("var/data")
    embedder_target: str = Field(default="localhost:50051", min_length=1)
    classifier_target: str = Field(default="localhost:50052", min_length=1)
    redis_url: RedisUrl = Field(default=SecretStr(""), validation_alias="REDIS_URL")
    start_timeout_s: float = Field(default=300.0, gt=0, le=3600)
    embedder_timeout_s: float = Field(default=2.0, gt=0, le=3600)
    write_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    classifier_timeout_s: float = Field(default=1.0, gt=0, le=3600)
    classifier_top_k: int = Field(default=5, ge=1, le=100)
    preferences_timeout_s: float = Field(default=0.5, gt=0, le=60)
    candidates_timeout_s: float = Field(default=5.0, gt=0, le=60)
    candidates_changed_share: float = Field(default=0.1, gt=0, le=1)
    candidates_pause_s: float = Field(default=2.0, ge=0, le=3600)
    candidates_period_s: float = Field(default=5.0, gt=0, le=3600)
    threads: int = Field(default=2, ge=1, le=256)
    max_pending: int = Field(default=64, ge=1)
    faiss_threads: int = Field(default=1, ge=1, le=256)
    max_batch_rows: int = Field(default=500, ge=1, le=10_000)
    max_pending_writes: int = Field(default=32, ge=1)
    embed_group: int = Field(default=64, ge=1)
    embed_groups_in_flight: int = Field(default=4, ge=1)
    renew_group: int = Field(default=16, ge=1)

    def classifier_use(self) -> ClassifierUse:
        """Returns how the classifier is asked."""
        return ClassifierUse(timeout_s=self.classifier_timeout_s, top_k=self.classifier_top_k)

    def publisher(self) -> PublisherSettings:
        """Returns when candidates are published."""
        return PublisherSettings(period_s=self.candidates_period_s, pause_s=self.candidates_pause_s)

    def index(self) -> FaissSettings:
        """Returns how the index searches."""
        return FaissSettings(threads=self.faiss_threads)

    def writes(self) -> WriteLimits:
        """Returns what a write may be."""
        return WriteLimits(batch_rows=self.max_batch_rows, max_pending=self.max_pending_writes)
