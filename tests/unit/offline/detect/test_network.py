"""The garment heads: what Keras trains is what serving computes, in a bundle that old and new readers open."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from offline.bundle import write_garment_heads
from offline.detect.examples import Material, ink_box
from offline.detect.outlines import box_of, outline
from services.bundle.reader import DESCRIPTION_FILE, Bundle, load_bundle
from services.contract.errors import InvalidInput
from services.embedder.encoder import Precision
from services.embedder.garment_heads import GarmentHeads
from services.embedder.runtimes.openvino import OpenvinoEncoder
from services.embedder.views import see
from services.vision import Frame
from tests.support.random_resnet import HEIGHT, WIDTH, random_bundle, random_weights

pytest.importorskip("tensorflow")
LABELS = ("Topwear", "Shoes", "Bags")
SCALES = (0.5, 2.0, 3.0)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return random_bundle(tmp_path_factory.mktemp("plain"), random_weights())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, plain: Bundle) -> tuple[Bundle, list[np.ndarray], np.ndarray]:
    """A bundle with heads of random weights; and what Keras computes with these on random pictures' maps."""
    import keras

    from offline.detect.network import build_cells, build_turns, exported_cells, exported_turns

    keras.utils.set_random_seed(1)
    maps = OpenvinoEncoder.from_bundle(plain, precision="float32", maps=True).features(pictures()).maps
    cells, turns = build_cells(tuple(each.shape[1:] for each in maps), len(LABELS), SCALES), None
    turns = build_turns(maps[1].shape[1:], SCALES[1])
    folder = tmp_path_factory.mktemp("trained")
    random_bundle(folder, plain.encoder_weights())
    bundle = write_garment_heads(
        folder,
        {**exported_cells(cells, SCALES), **exported_turns(turns, SCALES[1])},
        labels=LABELS,
        garment_threshold=0.3,
        turn_threshold=0.9,
        figures={},
    )
    return bundle, cells.predict(maps, verbose=0), turns.predict(maps[1], verbose=0)


def pictures() -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (6, HEIGHT, WIDTH, 3), dtype=np.uint8)


def test_serving_computes_what_keras_trained(trained: tuple[Bundle, np.ndarray, np.ndarray]) -> None:
    bundle, cells, turns = trained
    encoder = OpenvinoEncoder.from_bundle(bundle, precision="float32", maps=True)
    heads = encoder.garment_heads
    assert heads is not None
    features = encoder.features(pictures())

    for logits in (heads.logits(features.maps), features.logits):
        assert logits is not None and logits.cells is not None
        ours = logits.cells.reshape(cells.shape)
        # Half precision of the stored weights is all that differs.
        np.testing.assert_allclose(squashed(ours[..., :5]), squashed(cells[..., :5]), atol=5e-3)
        assert (ours[..., 5:].argmax(axis=-1) == cells[..., 5:].argmax(axis=-1)).mean() > 0.95
        np.testing.assert_allclose(shares(logits.turns), shares(turns), atol=2e-2)


def squashed(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def shares(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("precision", "within"), [("float32", 1e-4), ("bfloat16", 0.02), ("int8", 0.02)])
def test_the_graph_computes_the_heads_as_numpy_does(
    trained: tuple[Bundle, np.ndarray, np.ndarray], precision: Precision, within: float
) -> None:
    encoder = OpenvinoEncoder.from_bundle(trained[0], precision=precision, maps=True)
    features = encoder.features(pictures())
    assert features.logits is not None and features.logits.cells is not None and encoder.garment_heads is not None
    numpys = encoder.garment_heads.logits(features.maps)
    assert numpys.cells is not None

    assert features.logits.cells.shape == numpys.cells.shape
    np.testing.assert_allclose(squashed(features.logits.cells[..., :5]), squashed(numpys.cells[..., :5]), atol=within)
    np.testing.assert_allclose(shares(features.logits.turns), shares(numpys.turns), atol=within)


def test_maps_are_copied_out_of_the_network_only_where_they_are_asked_for(
    trained: tuple[Bundle, np.ndarray, np.ndarray],
) -> None:
    encoder = OpenvinoEncoder.from_bundle(trained[0], precision="float32")
    features = encoder.features(pictures())
    assert features.maps == () and features.logits is not None and features.logits.cells is not None


def test_a_turn_head_alone_tells_the_same_turns_and_finds_no_garments(
    trained: tuple[Bundle, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    whole = trained[0].garment_heads()
    random_bundle(tmp_path, trained[0].encoder_weights())
    bundle = write_garment_heads(
        tmp_path,
        {name: value for name, value in whole.items() if name.startswith("turn")},
        labels=LABELS,
        garment_threshold=0.0,
        turn_threshold=0.0,
        figures={},
    )
    encoder = OpenvinoEncoder.from_bundle(bundle, precision="float32")
    heads = encoder.garment_heads
    assert heads is not None and not heads.finds_garments

    sights = [each.sight for each in see(encoder, pictures())]

    assert [each.turns for each in sights] == trained[2].argmax(axis=1).tolist()
    assert [each.garments for each in sights] == [()] * len(sights)


def test_heads_change_no_bit_of_an_embedding_in_the_reference_precision(
    plain: Bundle, trained: tuple[Bundle, np.ndarray, np.ndarray]
) -> None:
    from services.embedder.runtimes.tensorflow import TensorflowEncoder

    for runtime in (TensorflowEncoder, OpenvinoEncoder):
        options = {"precision": "float32"} if runtime is OpenvinoEncoder else {}
        before, after = (runtime.from_bundle(bundle, **options) for bundle in (plain, trained[0]))
        np.testing.assert_array_equal(before.encode(pictures()), after.encode(pictures()))
        features = before.features(pictures())
        assert (before.garment_heads, features.maps, features.logits) == (None, (), None)


def test_the_maps_are_those_of_the_reference(trained: tuple[Bundle, np.ndarray, np.ndarray]) -> None:
    from services.embedder.runtimes.tensorflow import TensorflowEncoder

    reference = TensorflowEncoder.from_bundle(trained[0]).features(pictures()).maps
    found = OpenvinoEncoder.from_bundle(trained[0], precision="float32", maps=True).features(pictures()).maps
    assert [each.shape for each in found] == [each.shape for each in reference]
    for one, other in zip(found, reference, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * float(other.max()))


def test_a_shop_that_gets_heads_embeds_nothing_again_and_a_changed_threshold_is_noticed(
    plain: Bundle, trained: tuple[Bundle, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    assert trained[0].model_version == plain.model_version
    folder = tmp_path / "changed"
    shutil.copytree(trained[0].path, folder)
    file = folder / DESCRIPTION_FILE
    content = file.read_text()
    for former, changed in (
        ('"garment_threshold": 0.3', '"garment_threshold": 0.2'),
        ('"garments":', '"garment":'),
        ('"garments.safetensors":', '"garment.safetensors":'),
    ):
        assert former in content
        file.write_text(content.replace(former, changed))
        with pytest.raises(InvalidInput, match=r"bundle\.json cannot be used"):
            load_bundle(folder)
    file.write_text(content)
    assert load_bundle(folder).model_version == plain.model_version


@pytest.mark.parametrize("name", ["turn_places", "turn_places_bias", "turn", "stage4"])
def test_heads_that_lack_weights_are_refused(
    trained: tuple[Bundle, np.ndarray, np.ndarray], tmp_path: Path, name: str
) -> None:
    random_bundle(tmp_path, trained[0].encoder_weights())
    left = {each: value for each, value in trained[0].garment_heads().items() if each != name}
    bundle = write_garment_heads(tmp_path, left, labels=LABELS, garment_threshold=0.0, turn_threshold=0.0, figures={})
    with pytest.raises(InvalidInput, match="do not fit"):
        OpenvinoEncoder.from_bundle(bundle, precision="float32")


def test_heads_that_fit_nothing_are_refused(plain: Bundle, tmp_path: Path) -> None:
    random_bundle(tmp_path, plain.encoder_weights())
    with pytest.raises(InvalidInput, match=r"garments\.safetensors cannot be used") as refused:
        GarmentHeads.of(
            write_garment_heads(
                tmp_path,
                {"stage3": np.zeros((4, 4), dtype=np.float32)},
                labels=LABELS,
                garment_threshold=0.3,
                turn_threshold=0.9,
                figures={},
            )
        )
    assert refused.value.reason == "BUNDLE_INVALID"


def studio_shot(colour: tuple[int, int, int]) -> Image.Image:
    picture = Image.new("RGB", (60, 80), "white")
    ImageDraw.Draw(picture).rectangle((15, 20, 44, 59), fill=colour)
    return picture


def test_a_studio_shots_box_is_its_ink() -> None:
    assert ink_box(studio_shot((200, 0, 0))) == (15 / 60, 20 / 80, 45 / 60, 60 / 80)
    assert ink_box(Image.new("RGB", (60, 80), "white")) == (0.0, 0.0, 1.0, 1.0)


def floor() -> np.ndarray:
    return np.random.default_rng(0).normal(120, 6, (200, 150, 3)).clip(0, 255).astype(np.uint8)


def test_a_garment_on_a_floor_is_outlined_and_a_plain_floor_is_not() -> None:
    picture = floor()
    assert outline(Image.fromarray(picture)) is None
    # A shirt of two colours, with sleeves. Outlines are wider than garments by up to three of their 48 pixels.
    picture[50:150, 50:100] = (20, 40, 200)
    picture[50:80, 30:120] = (220, 230, 240)
    shape = outline(Image.fromarray(picture))
    assert shape is not None
    assert box_of(shape) == pytest.approx((0.2, 0.25, 0.8, 0.75), abs=0.065)
    assert not shape[32:, :11].any() and not shape[32:, -11:].any()


def test_a_pair_of_shoes_is_outlined_together_and_what_lies_about_is_not() -> None:
    picture = floor()
    picture[60:150, 20:65] = picture[60:150, 85:130] = (60, 30, 10)
    picture[170:180, 70:78] = (60, 30, 10)
    shape = outline(Image.fromarray(picture))
    assert shape is not None
    assert box_of(shape) == pytest.approx((20 / 150, 0.3, 130 / 150, 0.75), abs=0.065)


def test_pasted_garments_lie_in_their_boxes() -> None:
    photographs = [Image.new("RGB", (256, 192), (90, 90, 90))]
    material = Material(Frame(80, 60), [studio_shot((255, 0, 0))], [1], photographs, [0], [None])
    # Of this seed's plain backgrounds none is red.
    random = np.random.default_rng(5)
    for _ in range(40):
        example = material.pasted(random)
        assert example.boxes is not None and len(example.boxes) == len(example.labels) >= 1
        pixels = example.pixels.astype(int)
        red = pixels[..., 0] - pixels[..., 1:].max(axis=-1) > 90
        inside = np.zeros_like(red)
        for left, top, right, bottom in example.boxes:
            rows = slice(max(0, int(top * 80) - 2), int(np.ceil(bottom * 80)) + 2)
            columns = slice(max(0, int(left * 60) - 2), int(np.ceil(right * 60)) + 2)
            assert red[rows, columns].any()
            inside[rows, columns] = True
        assert not (red & ~inside).any()
