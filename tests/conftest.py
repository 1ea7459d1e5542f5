"""What all tests share: a real Redis, and the real data set where there is one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from services.stack.embedded_redis import EmbeddedRedis, embedded_redis
from tests.support.milvus_server import NoMilvusServer, milvus_server


@pytest.fixture(scope="session")
def redis_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    # Never the one that REDIS_URL names: tests empty it.
    with embedded_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_of_the_session: EmbeddedRedis) -> str:
    """The URL of a real, empty Redis."""
    with redis.Redis.from_url(redis_of_the_session.url) as client:
        client.flushall()
    return redis_of_the_session.url


@pytest.fixture(scope="session")
def milvus_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A socket that leads to a real Milvus server. Tests that share it name collections of their own."""
    try:
        with milvus_server(tmp_path_factory.mktemp("milvus")) as server:
            yield server
    except NoMilvusServer as error:
        pytest.skip(f"No Milvus server can run here: {error}")


@pytest.fixture(scope="session")
def fashion_dataset() -> Path:
    """The real data set in Kaggle's layout, a folder or a zip."""
    path = os.environ.get("FASHION_DATASET")
    if not path:
        pytest.skip("FASHION_DATASET is not set: the real data set is not tested")
    return Path(path)


@pytest.fixture(scope="session")
def fashion_photos() -> Path:
    """Photographs that people took of their own clothes, in Kaggle's layout with `labels.csv`."""
    path = os.environ.get("FASHION_PHOTOS")
    if not path:
        pytest.skip("FASHION_PHOTOS is not set: people's photographs are not tested")
    return Path(path)
