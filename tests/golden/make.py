"""Draws the golden pictures, and stores their pixels and embeddings: `python tests/golden/make.py`, with the bundle."""

import argparse
from pathlib import Path

import numpy as np
import safetensors.numpy
from PIL import Image

from offline.drawn import catalogue_specs, draw_product
from services.bundle.reader import load_bundle
from services.vision import prepare

FOLDER = Path(__file__).parent
BUNDLE = FOLDER.parent.parent / "models" / "fashion-resnet50"
SEED = 404


def draw_pictures() -> None:
    """Six small drawings: as they are, on transparent ground, in grey, and in a format that needs padding."""
    specs = {spec.article_type: spec for spec in catalogue_specs(SEED, 400)}
    for name, article_type in (
        ("shirt", "Shirts"),
        ("shoe", "Sports Shoes"),
        ("handbag-transparent", "Handbags"),
        ("watch-grey", "Watches"),
        ("dress-narrow", "Dresses"),
        ("sunglasses-wide", "Sunglasses"),
    ):
        picture = draw_product(specs[article_type]).resize((135, 180), Image.Resampling.LANCZOS)
        if name.endswith("-transparent"):
            picture = picture.convert("RGBA")
            # The nearer to white, the more can be seen through.
            picture.putalpha(picture.convert("L").point(lambda value: min(255, 2 * (255 - value) + 20)))
        elif name.endswith("-grey"):
            picture = picture.convert("L")
        elif name.endswith("-narrow"):
            picture = picture.crop((40, 0, 95, 180))
        elif name.endswith("-wide"):
            picture = picture.crop((0, 60, 135, 120))
        picture.save(FOLDER / f"{name}.png", optimize=True)


def keep_results(bundle_folder: Path) -> None:
    """The fitted pixels and the embeddings of the pictures, by the reference runtime."""
    from services.embedder.runtimes.tensorflow import TensorflowEncoder

    bundle = load_bundle(bundle_folder)
    files = sorted(FOLDER.glob("*.png"))
    pixels = np.stack([prepare(f.read_bytes(), bundle.frame) for f in files])
    embeddings = TensorflowEncoder.from_bundle(bundle).encode(pixels)
    safetensors.numpy.save_file(
        {"pixels": pixels, "embeddings": embeddings},
        FOLDER / "golden.safetensors",
        metadata={"model_version": bundle.model_version, "files": ",".join(file.name for file in files)},
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--draw", action="store_true", help="draw the pictures anew, too")
    arguments = parser.parse_args()
    if arguments.draw:
        draw_pictures()
    keep_results(arguments.bundle)
