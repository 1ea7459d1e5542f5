"""Photographs are fitted whole into the network's input, and scaled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from services.contract.errors import InvalidInput
from services.vision import Frame, Padding, Preprocessing, fit, scale


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 60, 3), dtype=np.uint8)
    assert np.array_equal(fit(Image.fromarray(pixels), Frame(80, 60)), pixels)


@pytest.mark.parametrize(("width", "height"), [(300, 100), (100, 300)])
def test_the_whole_picture_is_kept_and_white_is_added(width: int, height: int) -> None:
    fitted = fit(Image.new("RGB", (width, height), (0, 0, 0)), Frame(80, 60))
    dark = fitted.max(axis=2) < 128
    rows, columns = dark.any(axis=1).sum(), dark.any(axis=0).sum()
    assert rows / columns == pytest.approx(height / width, rel=0.06)
    assert max(rows / 80, columns / 60) == 1.0
    # Centred: both white margins are equal within a pixel.
    assert abs(int(dark[::-1].argmax(axis=0).max()) - int(dark.argmax(axis=0).max())) <= 1


def test_a_floor_goes_on_as_floor_where_the_bundle_says_so() -> None:
    floor, garment = (150, 110, 70), (20, 30, 160)
    pixels = np.full((100, 300, 3), floor, dtype=np.uint8)
    pixels[20:80, 60:240] = garment
    pixels[0, :40] = (255, 0, 255)  # something at the edge does not decide the colour
    fitted = fit(Image.fromarray(pixels), Frame(80, 60, Padding.RIM))
    assert np.array_equal(fitted[[0, -1]], np.full((2, 60, 3), floor))
    assert np.array_equal(fitted[30:50], fit(Image.fromarray(pixels), Frame(80, 60))[30:50])


def test_a_studio_shot_is_the_same_with_either_padding() -> None:
    shot = Image.new("RGB", (200, 200), (255, 255, 255))
    shot.paste((30, 90, 40), (50, 40, 150, 160))
    assert np.array_equal(fit(shot, Frame(80, 60, Padding.RIM)), fit(shot, Frame(80, 60)))


def test_reduction_antialiases() -> None:
    stripes = np.zeros((800, 600, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    fitted = fit(Image.fromarray(stripes), Frame(80, 60))
    assert np.abs(fitted.astype(int) - 128).max() <= 12


@given(width=st.integers(1, 2000), height=st.integers(1, 2000))
@settings(max_examples=60)
def test_every_shape_fits(width: int, height: int) -> None:
    fitted = fit(Image.new("RGB", (width, height), (10, 20, 30)), Frame(80, 60))
    assert fitted.shape == (80, 60, 3)
    assert fitted.dtype == np.uint8
    assert (fitted < 40).all(axis=2).any()


def test_scaling_is_affine_in_the_channels_order() -> None:
    pixels = np.array([[[0, 128, 255]]], dtype=np.uint8)
    rgb = scale(pixels, Preprocessing(Frame(1, 1), "RGB", 1 / 127.5, (-2.0, -2.0, -2.0)))
    assert rgb.dtype == np.float32
    assert rgb[0, 0] == pytest.approx([-2.0, 128 / 127.5 - 2, 0.0], abs=1e-6)
    bgr = scale(pixels, Preprocessing(Frame(1, 1), "BGR", 1.0, (-103.939, -116.779, -123.68)))
    assert bgr[0, 0] == pytest.approx([255 - 103.939, 128 - 116.779, -123.68], abs=1e-4)


@pytest.mark.parametrize("padding", Padding)
def test_the_description_comes_back_whole(padding: Padding) -> None:
    preprocessing = Preprocessing(Frame(80, 60, padding), "RGB", 1 / 127.5, (-2.0, -2.0, -2.0))
    assert Preprocessing.from_json(80, 60, preprocessing.to_json()) == preprocessing


@pytest.mark.parametrize("change", [{"resize": "nearest"}, {"channels": "HSV"}, {"offset": [0.0]}, {"pad": "mirror"}])
def test_a_description_of_something_else_is_refused(change: dict[str, object]) -> None:
    described = Preprocessing(Frame(80, 60), "RGB", 1.0, (0.0, 0.0, 0.0)).to_json() | change
    with pytest.raises(InvalidInput):
        Preprocessing.from_json(80, 60, described)
