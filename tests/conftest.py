"""What all tests share: a real Redis, the real data set where there is one, and how processes divide the tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from services.stack.embedded_redis import EmbeddedRedis, embedded_redis
from tests.support.milvus_server import NoMilvusServer, milvus_server

# structlog would show the variables of each frame of a traceback: some take it seconds, and nobody reads them.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

# pytest-xdist tells its processes how wide its terminal is: what commands print should not depend on that.
os.environ.pop("COLUMNS", None)

# How long an example takes says how busy the machine is.
settings.register_profile("any-speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-speed")

# Two browsers at once make pages so slow that tests of their timing fail; one Milvus server is enough.
_TOGETHER = ("tests/browser/", "/test_milvus")


class _ByFile(LoadFileScheduling):
    """Leaves each file to one process, for the sake of its fixtures, and all files of the browser to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return next((part for part in _TOGETHER if part in file), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _ByFile:
    """Is called by pytest-xdist where tests run in several processes."""
    return _ByFile(config, log)


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
