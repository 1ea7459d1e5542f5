"""What a training run is asked to do; kept with its checkpoints, so that it resumes as it began."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, Self

from offline.dataset.split import DEFAULT_FRACTIONS, DEFAULT_SALT, Part
from services.contract.errors import InvalidInput, NotFound

CONFIG_FILE = "config.json"
# What keras.applications accepts for a ResNet50 of fixed size.
_SMALLEST_SIDE = 32
_MOST_LEFT_OUT = 0.5
HEADS = ("derivedType", "articleType", "gender", "subCategory", "baseColour")


@dataclass(frozen=True, slots=True)
class Stage:
    """From which share of the schedule on the pictures have which size.

    Attributes:
        start: share of the schedule, in [0, 1].
        height: rows, in pixels.
        width: columns, in pixels.
    """

    start: float
    height: int
    width: int


# Small pictures cost a third less a step and lose little while the learning rate is high; the network sees them
# at the size that it serves only where it settles.
DEFAULT_STAGES = (Stage(0.0, 48, 36), Stage(0.25, 64, 48), Stage(0.5, 80, 60))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run.

    Attributes:
        dataset: folder or zip in Kaggle's layout; only its training part is learned from.
        run: folder of checkpoints and logs; made where it is missing.
        extra: further data sets, mixed in whole; they choose no labels and measure nothing.
        extra_share: share of each batch taken from `extra`, where there is any.
        passes: length of the schedule in passes over the training part; None where `minutes` is given.
        minutes: length of the schedule in minutes of training, whatever the machine manages in them.
        stages: picture sizes along the schedule, the last one being the bundle's.
        initial: "scratch", "imagenet", or the path of a bundle.
        batch: pictures a step.
        peak: highest learning rate of the one cycle.
        warm_up: share of the schedule in which the learning rate rises.
        momentum: of SGD (Nesterov).
        weight_decay: L2 on convolution kernels.
        label_smoothing: of every head.
        logit_scale: factor on the cosines before the softmax.
        margins: taken off the right label's cosine in the softmax of a head, by head.
        head_weights: weight of each head's loss.
        words_weight: weight of the loss by which an embedding tells the words of its product's name; the words serve
            training alone and are not in the bundle.
        words_at_least: in so many names a word has to occur; a rarer one tells products apart, not what they look like.
        leave_out: share of the derived types whose products are not learned from, so that what becomes of types that
            a network never saw can be measured; in [0, 0.5].
        rebalance: exponent e; a product of a derived type with n products is drawn with weight n ** -e.
        ema_decay: of the averaged weights, a step.
        blend: share of the run's weights in its bundle, the rest being those of the bundle that it began with: what
            was learned anew, and what training on something harder made it forget.
        precision: arithmetic of the convolutions; weights are always kept in float32. "auto" is bfloat16 where the
            processor has instructions for it; a run keeps what that came to.
        softmax: "cosine", of normalised embedding and normalised directions times `logit_scale`; "linear", of the
            activations themselves and free directions.
        schedule: of the learning rate; "constant" is `peak` throughout.
        frozen_layers: so many of the network's first layers keep their initial weights and statistics.
        patience: stop after so many validations without a better one; None never stops early.
        seed: of everything random.
        salt: of the split.
        fractions: of the split, by part.
        validation_queries: most validation products measured after a pass.
        validation_catalogue: training products that they are searched in.
        threads: threads of TensorFlow; 0 lets it choose.
    """

    dataset: Path
    run: Path
    extra: tuple[Path, ...] = ()
    extra_share: float = 0.06
    passes: float | None = None
    minutes: float | None = None
    stages: tuple[Stage, ...] = DEFAULT_STAGES
    initial: str = "scratch"
    batch: int = 128
    peak: float = 0.1
    warm_up: float = 0.15
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    logit_scale: float = 20.0
    margins: Mapping[str, float] = field(default_factory=lambda: {"derivedType": 0.25, "baseColour": 0.1})
    head_weights: Mapping[str, float] = field(
        default_factory=lambda: {
            "derivedType": 1.0,
            "articleType": 0.5,
            "gender": 0.5,
            "subCategory": 0.3,
            "baseColour": 1.6,
        }
    )
    words_weight: float = 0.25
    words_at_least: int = 15
    leave_out: float = 0.0
    rebalance: float = 0.1
    ema_decay: float = 0.997
    blend: float = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    softmax: Literal["cosine", "linear"] = "cosine"
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    frozen_layers: int = 0
    patience: int | None = None
    seed: int = 1
    salt: str = DEFAULT_SALT
    fractions: Mapping[Part, float] = field(default_factory=lambda: dict(DEFAULT_FRACTIONS))
    validation_queries: int = 1500
    validation_catalogue: int = 3000
    threads: int = 0

    def __post_init__(self) -> None:
        if (self.passes is None) == (self.minutes is None):
            raise InvalidInput("give either passes or minutes", reason="CONFIG_INVALID")
        length = self.passes if self.passes is not None else self.minutes
        if length is None or not length > 0:
            raise InvalidInput("passes or minutes have to be positive", reason="CONFIG_INVALID")
        starts = [stage.start for stage in self.stages]
        if not starts or starts[0] != 0.0 or starts != sorted(starts) or starts[-1] >= 1.0:
            raise InvalidInput("stages have to begin at 0 and rise towards 1", reason="CONFIG_INVALID")
        if min(self.height, self.width) < _SMALLEST_SIDE:
            raise InvalidInput(
                f"the last stage has to be at least {_SMALLEST_SIDE} x {_SMALLEST_SIDE} pixels", reason="CONFIG_INVALID"
            )
        if set(self.head_weights) != set(HEADS):
            raise InvalidInput(f"head_weights have to name {', '.join(HEADS)}", reason="CONFIG_INVALID")
        if not set(self.margins) <= set(HEADS):
            raise InvalidInput(f"margins are of {', '.join(HEADS)}", reason="CONFIG_INVALID")
        if self.frozen_layers and self.initial == "scratch":
            raise InvalidInput("frozen layers need weights to begin with, not scratch", reason="CONFIG_INVALID")
        if not 0.0 < self.blend <= 1.0:
            raise InvalidInput("blend has to be in (0, 1]", reason="CONFIG_INVALID")
        if self.blend < 1.0 and self.initial in ("scratch", "imagenet"):
            raise InvalidInput("blending needs a bundle to begin with", reason="CONFIG_INVALID")
        if not 0.0 <= self.leave_out <= _MOST_LEFT_OUT:
            raise InvalidInput(f"leave_out has to be in [0, {_MOST_LEFT_OUT:g}]", reason="CONFIG_INVALID")
        if self.batch < 2 or not 0.0 <= self.extra_share < 1.0:
            raise InvalidInput("batch has to be at least 2, extra_share in [0, 1)", reason="CONFIG_INVALID")

    @property
    def height(self) -> int:
        """Rows of the bundle's input, in pixels."""
        return self.stages[-1].height

    @property
    def width(self) -> int:
        """Columns of the bundle's input, in pixels."""
        return self.stages[-1].width

    def stage(self, progress: float) -> Stage:
        """The stage at a share of the schedule."""
        return [stage for stage in self.stages if stage.start <= progress][-1]

    def to_json(self) -> dict[str, Any]:
        """All settings as JSON knows them."""
        described = asdict(self)
        described["dataset"] = str(self.dataset)
        described["run"] = str(self.run)
        described["extra"] = [str(path) for path in self.extra]
        return described

    @classmethod
    def of_run(cls, run: Path) -> Self:
        """The settings that a run was last started with.

        Raises:
            NotFound: nothing was ever started there.
        """
        file = run / CONFIG_FILE
        if not file.is_file():
            raise NotFound(f"{run}: no training run here", reason="RUN_NOT_FOUND")
        return cls.from_json(file.read_text())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` gave."""
        values = json.loads(text)
        unknown = values.keys() - {entry.name for entry in fields(cls)}
        if unknown:
            raise InvalidInput(f"unknown settings: {', '.join(sorted(unknown))}", reason="CONFIG_INVALID")
        values["dataset"] = Path(values["dataset"])
        values["run"] = Path(values["run"])
        values["extra"] = tuple(Path(path) for path in values["extra"])
        values["stages"] = tuple(Stage(**stage) for stage in values["stages"])
        return cls(**values)


# Settings that differ from the defaults, by name.
PRESETS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "fashion": {},
        # The project report's: ImageNet's ResNet50 at 224 x 224, its first 170 layers frozen, a softmax on the
        # subCategory, SGD at 5e-5, pictures as they are drawn from the data set.
        "report": {
            "initial": "imagenet",
            "frozen_layers": 170,
            "stages": (Stage(0.0, 224, 224),),
            "peak": 5e-5,
            "schedule": "constant",
            "softmax": "linear",
            "label_smoothing": 0.0,
            "margins": {},
            "weight_decay": 0.0,
            "rebalance": 0.0,
            "head_weights": {head: float(head == "subCategory") for head in HEADS},
            "words_weight": 0.0,
        },
    }
)
