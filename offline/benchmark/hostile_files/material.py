"""Sound files of every kind that is read: what mutants are made of."""

import gzip
import io
import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offline.backup import back_up
from offline.benchmark.hard_pictures import encoded
from offline.benchmark.hostile_files.shop_feeds import WRITERS, ShopProduct
from offline.bundle import write_bundle, write_garment_heads
from offline.dataset.row import COLUMNS
from offline.drawn.catalogue import catalogue_specs
from services.contract.values import Embedding, Gender, Photograph
from services.search.catalogue.content import NewContent, Upsert
from services.search.catalogue.products import Product
from services.search.catalogue.store import Catalogue
from services.vision.preprocess import Frame, Preprocessing

PRODUCTS: Final = 24
_HEIGHT, _WIDTH = 64, 48
# Channels of the stages of a ResNet50; all of it is there but its width.
_STAGES: Final = {2: (3, 8), 3: (4, 8), 4: (6, 12), 5: (3, 16)}

Files = Mapping[str, bytes]
"""The content of files by name; one with "/" lies in a folder."""


def feeds() -> dict[str, Files]:
    """Returns the same products in every format of a feed, some packed, each as one file by its kind."""
    products = [
        ShopProduct(
            id=f"{number:04}",
            group=f"G{number // 2}",
            name=spec.name,
            gender=Gender(spec.gender),
            category=(spec.sub_category, spec.article_type),
            colour=spec.base_colour,
            price=1999 + number,
            image=f"https://shop.example/{number}.jpg",
        )
        for number, spec in enumerate(catalogue_specs(0, PRODUCTS))
    ]
    sources: dict[str, Files] = {}
    with TemporaryDirectory() as folder:
        for kind, (name, write) in WRITERS.items():
            if name.endswith(".parquet") and find_spec("pyarrow") is None:
                continue
            write(products, Path(folder) / name)
            sources[kind] = {name: (Path(folder) / name).read_bytes()}
    lines = sources["JSON Lines"]["shop.jsonl"].decode().splitlines()
    sources["JSON"] = {"shop.json": json.dumps({"products": [json.loads(line) for line in lines]}).encode()}
    for kind in ("Google, RSS", "Shopify", "JSON Lines"):
        ((name, content),) = sources[kind].items()
        sources[f"{kind}, packed"] = {f"{name}.gz": gzip.compress(content, mtime=0)}
    return sources


def data_set() -> Files:
    """Returns a data set in Kaggle's layout as a zip."""
    picture = encoded(Image.new("RGB", (60, 80), "navy"))
    lines = [",".join(COLUMNS)]
    for number, spec in enumerate(catalogue_specs(0, PRODUCTS)):
        values = {
            "id": str(number),
            "gender": spec.gender,
            "masterCategory": "Apparel",
            "subCategory": spec.sub_category,
            "articleType": spec.article_type,
            "baseColour": spec.base_colour,
            "year": "2026",
            "productDisplayName": spec.name,
        }
        lines.append(",".join(values.get(column, "") for column in COLUMNS))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("styles.csv", "\n".join(lines))
        for number in range(PRODUCTS):
            archive.writestr(f"images/{number}.jpg", picture)
    return {"data.zip": content.getvalue()}


def mapping() -> Files:
    """Returns a shop's mapping, with a feed that it fits."""
    text = """\
format = "table"
[columns]
id = "Nr"
name = "Titel"
category = ["Gruppe"]
image = "https://shop.example/{Nr}.jpg"
[attributes]
heel_mm = { column = "Absatz", kind = "number" }
fit = { column = "Passform", separator = "," }
[constants]
gender = "Women"
currency = "EUR"
[genders]
"sie" = "Women"
[colours]
"Space Dust" = "Grey"
[categories]
"Obenrum > Leicht" = ["Apparel", "Topwear", "Tops"]
[availability]
"klar" = true
"""
    table = "Nr;Titel;Gruppe;Absatz;Passform\n1;Bluse;Obenrum > Leicht;40;eng, kurz\n2;Hose;Jeans;;\n"
    return {"shop.toml": text.encode(), "shop.csv": table.encode()}


def bundle() -> Files:
    """Returns a bundle with heads of every kind: a ResNet50 of few channels, which is made within a second."""
    random = np.random.default_rng(0)
    dimension = 4 * _STAGES[5][1]
    labels = {
        "gender": ("Men", "Women"),
        "subCategory": ("Bags", "Topwear"),
        "articleType": ("Handbags", "Tshirts"),
        "derivedType": ("Men Tshirts", "Women Handbags", "Women Tshirts"),
    }
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_bundle(
            folder,
            name="small",
            preprocessing=Preprocessing(Frame(_HEIGHT, _WIDTH), "RGB", 1 / 127.5, (-1.0, -1.0, -1.0)),
            encoder=_encoder_weights(random),
            heads={head: _random(random, dimension, len(names)) for head, names in labels.items()},
            labels=labels,
            logit_scale=20.0,
            metrics={},
            training={},
            split={},
        )
        write_garment_heads(
            folder,
            _garment_weights(random, len(labels["subCategory"])),
            labels=labels["subCategory"],
            garment_threshold=0.3,
            turn_threshold=0.9,
            figures={},
        )
        return {file.name: file.read_bytes() for file in folder.iterdir()}


def _encoder_weights(random: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    weights: dict[str, NDArray[np.float32]] = {}

    def layer(name: str, size: int, before: int, after: int) -> None:
        weights[f"{name}_conv/kernel"] = _random(random, size, size, before, after) / np.float32(size)
        weights[f"{name}_conv/bias"] = _random(random, after)
        for part, value in (("gamma", 1.0), ("beta", 0.0), ("moving_mean", 0.0), ("moving_variance", 1.0)):
            weights[f"{name}_bn/{part}"] = np.full(after, value, dtype=np.float32)

    layer("conv1", 7, 3, 8)
    before = 8
    for stage, (blocks, width) in _STAGES.items():
        for block in range(1, blocks + 1):
            name = f"conv{stage}_block{block}"
            if block == 1:
                layer(f"{name}_0", 1, before, 4 * width)
            layer(f"{name}_1", 1, before, width)
            layer(f"{name}_2", 3, width, width)
            layer(f"{name}_3", 1, width, 4 * width)
            before = 4 * width
    return weights


def _garment_weights(random: np.random.Generator, labels: int) -> dict[str, NDArray[np.float32]]:
    hidden, places = 8, -(-_HEIGHT // 16) * -(-_WIDTH // 16)
    depth = {stage: 4 * width for stage, (_, width) in _STAGES.items()}
    shapes = {
        "turn_places": (depth[4], 6),
        "turn_hidden": (places * 6, hidden),
        "turn": (hidden, 4),
        "context": (3, 3, hidden, hidden),
        "cells": (hidden, 5 + labels),
    }
    weights = {name: _random(random, *shape) for name, shape in shapes.items()}
    weights |= {f"{name}_bias": _random(random, shape[-1]) for name, shape in shapes.items()}
    weights |= {f"stage{stage}": _random(random, depth[stage], hidden) for stage in (3, 4, 5)}
    return weights | {"stages_bias": _random(random, hidden)}


def _random(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return (random.standard_normal(shape) / 4).astype(np.float32)


def backups() -> dict[str, Files]:
    """Returns backups of a small catalogue, without dislikes and with those of one user."""
    random = np.random.default_rng(0)
    with TemporaryDirectory() as name:
        data, file = Path(name) / "data", Path(name) / "backup.zip"
        with Catalogue(data) as catalogue:
            for number, spec in enumerate(catalogue_specs(0, PRODUCTS)):
                product = Product(
                    id=str(number),
                    gender=Gender(spec.gender),
                    article_type=spec.article_type,
                    sub_category=spec.sub_category,
                )
                photograph = Photograph(encoded(Image.new("RGB", (8, 8), (number, 0, 0))))
                embedding = Embedding(_random(random, 16), "0123456789abcdef")
                catalogue.write([Upsert(product, NewContent(embedding, photograph))])
        back_up(data, file)
        without = file.read_bytes()
    parts = [(info, _counting_one(part) if info.filename == "backup.json" else part) for info, part in members(without)]
    dislikes = zipfile.ZipInfo("dislikes.jsonl"), b'{"user": "ada", "colours": {"Blue": "COLOUR"}}\n'
    return {
        "backup": {"backup.zip": without},
        "backup with dislikes": {"backup.zip": packed([*parts, dislikes])},
    }


def _counting_one(manifest: bytes) -> bytes:
    return json.dumps({**json.loads(manifest), "users": 1}).encode()


def members(content: bytes) -> list[tuple[zipfile.ZipInfo, bytes]]:
    """Returns what a zip holds."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(info, archive.read(info)) for info in archive.infolist()]


def packed(parts: Sequence[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    """Returns a zip of members, with their names, kinds and ways of packing as they are said."""
    content = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(content, "w") as archive:
        # A name may be meant to stand there twice.
        warnings.simplefilter("ignore", UserWarning)
        for info, part in parts:
            fresh = zipfile.ZipInfo(info.filename)
            fresh.external_attr, fresh.compress_type = info.external_attr, info.compress_type
            archive.writestr(fresh, part)
    return content.getvalue()
