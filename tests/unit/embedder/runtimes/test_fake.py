"""The fake encoder, and functions shared by all encoders."""

import numpy as np
import pytest

from services.embedder.encoder import Encoder, normalise
from services.embedder.runtimes.fake import FakeEncoder
from tests.conformance.encoder import EncoderConformance, drawing


class TestFakeEncoder(EncoderConformance):
    """The conformance suite, and similar embeddings for similar pictures."""

    @pytest.fixture
    def encoder(self) -> Encoder:
        return FakeEncoder(dimension=64)

    def test_alike_pictures_are_closer_than_others(self, encoder: Encoder) -> None:
        red, nearly, blue = encoder.encode(
            np.stack(
                [
                    drawing(80, 60, (200, 20, 20)),
                    drawing(80, 60, (190, 30, 25), 3),
                    drawing(80, 60, (20, 20, 200), 20),
                ]
            )
        )
        assert red @ nearly > 0.9
        assert red @ nearly > red @ blue + 0.05

    def test_another_seed_is_another_model(self) -> None:
        one, other = FakeEncoder(64, seed=1), FakeEncoder(64, seed=2)
        assert one.model.model_version != other.model.model_version
        picture = drawing(80, 60, (1, 2, 3))[None]
        assert not np.allclose(one.encode(picture), other.encode(picture))


def test_no_activation_at_all_becomes_the_even_vector() -> None:
    embeddings = normalise(np.array([[0, 0, 0, 0], [0, 3, 0, 4]], dtype=np.float32))
    assert embeddings[0] == pytest.approx([0.5, 0.5, 0.5, 0.5])
    assert embeddings[1] == pytest.approx([0, 0.6, 0, 0.8])
    assert embeddings.dtype == np.float32
