"""Data packed small, for a training machine that takes only small files; `tools/train_packed.sh` trains from them."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from PIL import Image

from offline.dataset.files import PHOTOGRAPHS_FOLDER, STYLES_FILE
from offline.dataset.labels import LABELS_FILE
from offline.dataset.rows import open_dataset
from offline.dataset.split import PARTS_FILE, split, styles_csv
from offline.train.teacher import Features
from services.contract.errors import InvalidInput
from services.vision import decode

MAX_PACK_BYTES: Final = 50_000_000
_TEACHER_FILE: Final = "teacher.npz"
# Principal components of the teacher's features, as many as there is room for. Of the ten nearest by all features 192
# keep 91 %, 64 keep 80 %.
_MAX_COMPONENTS: Final = 192
_MIN_COMPONENTS: Final = 64
_HEADERS: Final = 10_000
_QUALITY: Final = 70
# Studio shots are reduced to the input of the shipped bundle, people's photographs to a size that leaves their corners.
_STUDIO_SIDE: Final = 80
_PHOTOGRAPH_SIDE: Final = 128

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@app.command()
def pack(
    dataset: Annotated[Path, typer.Argument(exists=True, help="Folder or zip in Kaggle's layout.")],
    folder: Annotated[Path, typer.Argument(metavar="PACK", help="Folder for what is written.")],
    photographs: Annotated[Path | None, typer.Option(exists=True, help="People's photographs with labels.csv.")] = None,
    teacher: Annotated[Path | None, typer.Option(exists=True, help="The teacher's features of both.")] = None,
) -> None:
    """Writes studio.zip, photographs.zip and teacher.npz; products keep the part that their originals give them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _TEACHER_FILE).unlink(missing_ok=True)
    _pack(dataset, folder / "studio.zip", _STUDIO_SIDE)
    if photographs is not None:
        _pack(photographs, folder / "photographs.zip", _PHOTOGRAPH_SIDE)
    if teacher is not None:
        features = Features.load(teacher)
        room = MAX_PACK_BYTES - _size(folder) - np.array(features.ids).nbytes - _HEADERS
        components = room // max(1, len(features.ids) * features.values.itemsize)
        features.reduced(max(_MIN_COMPONENTS, min(_MAX_COMPONENTS, components))).save(folder / _TEACHER_FILE)
    size = _size(folder)
    if size > MAX_PACK_BYTES:
        raise InvalidInput(f"The pack has {size:,} bytes; it may have {MAX_PACK_BYTES:,}.", reason="PACK_TOO_LARGE")
    typer.echo(f"{size:,} bytes")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _pack(source: Path, path: Path, side: int) -> None:
    rows, digests = [], {}
    with open_dataset(source) as dataset, zipfile.ZipFile(path, "w") as archive:
        for row in dataset.rows:
            try:
                content = dataset.photograph(row.id)
                picture = decode(content)
            except InvalidInput:
                continue
            picture.thumbnail((side, side), Image.Resampling.BICUBIC)
            encoded = io.BytesIO()
            picture.save(encoded, "WEBP", quality=_QUALITY)
            archive.writestr(f"{PHOTOGRAPHS_FOLDER}/{row.id}.webp", encoded.getvalue())
            rows.append(row)
            digests[row.id] = hashlib.sha256(content).hexdigest()
        tables = {STYLES_FILE: styles_csv(rows), LABELS_FILE: dataset.table(LABELS_FILE)}
        # Packed photographs have other digests than those by which twins are found.
        tables[PARTS_FILE] = json.dumps(split(rows, digests)).encode()
        for name, table in tables.items():
            if table is not None:
                archive.writestr(name, table, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    app()
