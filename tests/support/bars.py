"""Pictures of bars in Kaggle's layout, to learn garments from."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

TYPES = {"Topwear": "Tshirts", "Bags": "Handbags"}


def write_bars(
    folder: Path, count: int, ground: tuple[int, int, int], first_id: int, size: tuple[int, int] = (60, 80)
) -> Path:
    """Writes pictures of bars, every second one a bag, with a `labels.csv` of twenty senders; returns the folder."""
    random = np.random.default_rng(first_id)
    (folder / "images").mkdir(parents=True)
    columns = ["id", "gender", "masterCategory", "subCategory", "articleType", "baseColour", "season", "year", "usage"]
    with (folder / "styles.csv").open("w", newline="") as file, (folder / "labels.csv").open("w", newline="") as labels:
        styles, senders = csv.writer(file), csv.writer(labels)
        styles.writerow([*columns, "productDisplayName"])
        senders.writerow(["id", "sender_id", "label"])
        for number in range(first_id, first_id + count):
            kind = list(TYPES)[number % 2]
            styles.writerow([number, "Unisex", "Apparel", kind, TYPES[kind], "Red", "", "", "", f"Product {number}"])
            senders.writerow([number, number % 20, kind])
            picture = Image.new("RGB", (60, 80), ground)
            top = int(random.integers(10, 30))
            ImageDraw.Draw(picture).rectangle((15, top, 44, top + 40), fill=tuple(random.integers(0, 200, 3).tolist()))
            picture.resize(size).save(folder / "images" / f"{number}.jpg")
    return folder
