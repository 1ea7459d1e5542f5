"""What several tests of encoders need."""

import numpy as np
import pytest
from numpy.typing import NDArray

from services.bundle.reader import Bundle
from tests.support.random_resnet import random_bundle, random_weights


@pytest.fixture(scope="session")
def weights() -> dict[str, NDArray[np.float32]]:
    return random_weights()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, NDArray[np.float32]]) -> Bundle:
    return random_bundle(tmp_path_factory.mktemp("bundle"), weights)
