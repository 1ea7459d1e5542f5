"""What every encoder must do: a runtime joins by subclassing `EncoderConformance` with an `encoder` fixture."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from services.contract.errors import InvalidInput
from services.embedder.encoder import Encoder
from services.vision import Frame, fit


def drawing(height: int, width: int, colour: tuple[int, int, int], shift: int = 0) -> NDArray[np.uint8]:
    """A blob of a colour on white, moved to the right by `shift` hundredths."""
    picture = Image.new("RGB", (300, 400), (255, 255, 255))
    ImageDraw.Draw(picture).ellipse((60 + 3 * shift, 80, 240 + 3 * shift, 330), fill=colour)
    return fit(picture, Frame(height, width))


class EncoderConformance:
    """The suite."""

    def batch(self, encoder: Encoder, count: int = 5) -> NDArray[np.uint8]:
        """Returns different pictures of the encoder's size."""
        size = (count, encoder.frame.height, encoder.frame.width, 3)
        return np.random.default_rng(5).integers(0, 256, size, dtype=np.uint8)

    def test_shape_type_and_norm(self, encoder: Encoder) -> None:
        embeddings = encoder.encode(self.batch(encoder))
        assert embeddings.shape == (5, encoder.model.dimension)
        assert embeddings.dtype == np.float32
        assert np.linalg.norm(embeddings, axis=1) == pytest.approx(np.ones(5), abs=1e-5)

    def test_no_pictures_give_no_embeddings(self, encoder: Encoder) -> None:
        assert encoder.encode(self.batch(encoder)[:0]).shape == (0, encoder.model.dimension)

    def test_the_same_picture_gives_the_same_embedding(self, encoder: Encoder) -> None:
        batch = self.batch(encoder)
        assert np.array_equal(encoder.encode(batch), encoder.encode(batch))

    def test_an_embedding_depends_on_its_picture_alone(self, encoder: Encoder) -> None:
        batch = self.batch(encoder)
        together = encoder.encode(batch)
        alone = np.concatenate([encoder.encode(batch[i : i + 1]) for i in range(len(batch))])
        assert (together * alone).sum(axis=1).min() >= 0.99999

    def test_order_is_kept(self, encoder: Encoder) -> None:
        batch = self.batch(encoder)
        forth, back = encoder.encode(batch), encoder.encode(batch[::-1])
        assert (forth * back[::-1]).sum(axis=1).min() >= 0.99999

    def test_the_input_is_not_changed(self, encoder: Encoder) -> None:
        batch = self.batch(encoder)
        before = batch.copy()
        encoder.encode(batch)
        assert np.array_equal(batch, before)

    def test_extreme_pictures_are_finite(self, encoder: Encoder) -> None:
        batch = self.batch(encoder)[:3]
        batch[0], batch[1] = 0, 255
        embeddings = encoder.encode(batch)
        assert np.isfinite(embeddings).all()
        assert np.linalg.norm(embeddings, axis=1) == pytest.approx(np.ones(3), abs=1e-5)

    def test_different_pictures_differ(self, encoder: Encoder) -> None:
        height, width = encoder.frame.height, encoder.frame.width
        red, blue = (drawing(height, width, colour) for colour in ((200, 20, 20), (20, 20, 200)))
        one, other = encoder.encode(np.stack([red, blue]))
        assert float(one @ other) < 0.99999

    def test_several_threads_at_once(self, encoder: Encoder) -> None:
        batch = self.batch(encoder)
        expected = encoder.encode(batch)
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(encoder.encode, [batch] * 8):
                assert (found * expected).sum(axis=1).min() >= 0.99999

    def test_warming_up_changes_nothing(self, encoder: Encoder) -> None:
        batch = self.batch(encoder)
        before = encoder.encode(batch)
        steps = encoder.warm_up()
        next(steps, None)
        assert (before * encoder.encode(batch)).sum(axis=1).min() >= 0.99999
        list(steps)
        assert np.array_equal(before, encoder.encode(batch))

    @pytest.mark.parametrize("wrong", ["size", "channels", "dimensions", "type"])
    def test_what_is_no_batch_is_refused(self, encoder: Encoder, wrong: str) -> None:
        batch = self.batch(encoder)
        broken = {
            "size": batch[:, :-1],
            "channels": batch[..., :2],
            "dimensions": batch[0],
            "type": batch.astype(np.float32),
        }[wrong]
        with pytest.raises(InvalidInput):
            encoder.encode(broken)

    def test_the_model_says_who_it_is(self, encoder: Encoder) -> None:
        model = encoder.model
        assert model.name and model.model_version and model.runtime
        assert min(model.dimension, model.input_height, model.input_width) > 0
