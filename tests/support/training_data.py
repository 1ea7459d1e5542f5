"""Tiny data to train on: drawn products of four types, and people's photographs of three kinds."""

import io
import zipfile
from pathlib import Path

from PIL import Image

from offline.dataset.row import COLUMNS
from offline.drawn import catalogue_specs, draw_product

KINDS = {"T-Shirt": ("Topwear", "Tshirts"), "Pants": ("Bottomwear", "Trousers"), "Shoes": ("Shoes", "Shoes")}


def write_photographs(path: Path, senders: int = 20, labels: bool = True) -> None:
    """Writes a zip with one photograph of each kind from each sender: a dark square on red, wider than high."""
    styles, lines = [",".join(COLUMNS)], ["id,sender_id,label"]
    with zipfile.ZipFile(path, "w") as archive:
        for sender in range(senders):
            for at, (label, (sub_category, article_type)) in enumerate(KINDS.items()):
                name = str(1000 + sender * len(KINDS) + at)
                picture = Image.new("RGB", (40, 30), (200, 20, 20))
                picture.paste((20, 20, 20), (10, 10, 20, 20))
                file = io.BytesIO()
                picture.save(file, "PNG")
                archive.writestr(f"images/{name}.png", file.getvalue())
                styles.append(f"{name},Unisex,Apparel,{sub_category},{article_type},Red,,,,{label} {name}")
                lines.append(f"{name},{sender},{label}")
        archive.writestr("styles.csv", "\n".join(styles))
        if labels:
            archive.writestr("labels.csv", "\n".join(lines))


def draw_few_types(folder: Path) -> None:
    """Writes a data set of fifteen products of each of four types."""
    specs = catalogue_specs(31, 1500)
    chosen = [
        spec
        for kind in ("Handbags", "Shirts", "Sports Shoes", "Watches")
        for spec in [spec for spec in specs if spec.article_type == kind][:15]
    ]
    (folder / "images").mkdir(parents=True)
    lines = [",".join(COLUMNS)]
    for spec in chosen:
        draw_product(spec).save(folder / "images" / f"{spec.id}.jpg")
        labels = (spec.gender, spec.master_category, spec.sub_category, spec.article_type, spec.base_colour)
        name = f"{spec.base_colour} {spec.article_type} {spec.id}"
        lines.append(",".join((spec.id, *labels, "", "", "", name)))
    (folder / "styles.csv").write_text("\n".join(lines))
