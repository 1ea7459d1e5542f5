"""The settings of a training run; kept with its checkpoints, so that it resumes as it began."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ValidationError

from offline.dataset.split import DEFAULT_FRACTIONS, DEFAULT_SALT, Part
from services.contract.errors import InvalidInput, NotFound

CONFIG_FILE: Final = "config.json"
# The smallest side that keras.applications accepts for a ResNet50 of fixed size.
_MIN_SIDE: Final = 32
_MAX_LEFT_OUT: Final = 0.5
HEADS: Final = ("derivedType", "articleType", "gender", "subCategory", "baseColour")
# What photographs are measured by: their labels tell no more.
PHOTOGRAPH_HEADS: Final = ("subCategory", "articleType")
# The head of photographs' own article types; it serves training alone.
OWN_TYPE: Final = "ownType"
SCRATCH: Final = "scratch"
IMAGENET: Final = "imagenet"
DEFAULT_BATCH: Final = 128


class Stage(BaseModel, frozen=True):
    """The size of the pictures from a share of the schedule on.

    Attributes:
        start: share of the schedule, in [0, 1].
        height: rows, in pixels.
        width: columns, in pixels.
    """

    start: float
    height: int
    width: int


# Small pictures cost a third less per step and lose little while the learning rate is high. The network sees pictures
# of the size that it serves only where it settles.
DEFAULT_STAGES: Final = (
    Stage(start=0.0, height=48, width=36),
    Stage(start=0.25, height=64, width=48),
    Stage(start=0.5, height=80, width=60),
)


class TrainConfig(BaseModel, frozen=True, extra="forbid"):
    """One training run.

    Attributes:
        dataset: folder or zip in Kaggle's layout; only its training part is learned from.
        run: folder of checkpoints and logs; made if it is missing.
        extra: further data sets, mixed in whole; they choose no labels and measure nothing.
        extra_share: share of each batch taken from `extra`.
        larger: data set with larger photographs of some of the same products, by the same ids.
        photographs: data set of people's photographs with `labels.csv`; senders are split, not photographs.
        photographs_share: share of each batch taken from `photographs`.
        photographs_weight: weight of the loss by which they are told apart by their own article type.
        teacher: file with a teacher's features (`offline.train.teacher`).
        similarity_weight: weight of the divergence from the order of the teacher's similarities within a batch.
        temperature: of the network's similarities in it.
        teacher_temperature: of the teacher's similarities in it.
        projection_weight: weight of the distance between projected embeddings and the teacher's features.
        anchor_weight: weight of the distance between the embeddings of altered studio shots and those that the initial
            bundle gives them unaltered; needs a bundle as `initial`.
        passes: length of the schedule in passes over the training part; None if `minutes` is given.
        minutes: length of the schedule in minutes, whatever the machine manages in them.
        stages: picture sizes along the schedule; the last one is the bundle's.
        initial: "scratch", "imagenet", or the path of a bundle.
        batch: pictures per step.
        peak: highest learning rate of the one cycle.
        warm_up: share of the schedule in which the learning rate rises.
        momentum: of SGD (Nesterov).
        weight_decay: L2 on convolution kernels.
        label_smoothing: of every head.
        logit_scale: factor on the cosines before the softmax.
        margins: taken off the right label's cosine in the softmax of a head, by head.
        head_weights: weight of each head's loss.
        words_weight: weight of the loss by which an embedding tells the words of its product's name.
        words_at_least: number of names in which a word has to occur; a rarer one names a product, not a look.
        leave_out: share of the derived types whose products are not learned from, to measure types that a network
            never saw; in [0, 0.5].
        rebalance: exponent e; a product of a derived type with n products is drawn with weight n ** -e.
        ema_decay: decay of the averaged weights per step; shorter in the first steps.
        blend: share of the run's weights in its bundle; the rest are those of the initial bundle.
        precision: arithmetic of the convolutions; weights stay in float32. "auto" is bfloat16 where the hardware has
            instructions for it; a run keeps what that came to.
        softmax: "cosine", of normalised embedding and directions times `logit_scale`; "linear", of the activations
            themselves and free directions.
        schedule: of the learning rate; "constant" is `peak` throughout.
        frozen_layers: number of the network's first layers that keep their initial weights and statistics.
        patience: number of validations without a better one after which the run stops; None never stops it early.
        seed: of everything random.
        salt: of the split.
        fractions: of the split, by part.
        validation_queries: largest number of validation products measured after a pass.
        validation_catalogue: number of training products that they are searched in.
    """

    dataset: Path
    run: Path
    extra: tuple[Path, ...] = ()
    extra_share: float = 0.06
    larger: Path | None = None
    photographs: Path | None = None
    photographs_share: float = 0.2
    photographs_weight: float = 0.6
    teacher: Path | None = None
    similarity_weight: float = 1.0
    temperature: float = 0.12
    teacher_temperature: float = 0.06
    projection_weight: float = 0.5
    anchor_weight: float = 0.0
    passes: float | None = None
    minutes: float | None = None
    stages: tuple[Stage, ...] = DEFAULT_STAGES
    initial: str = SCRATCH
    batch: int = DEFAULT_BATCH
    peak: float = 0.1
    warm_up: float = 0.15
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    logit_scale: float = 20.0
    margins: Mapping[str, float] = {"derivedType": 0.25, "baseColour": 0.1, OWN_TYPE: 0.15}
    head_weights: Mapping[str, float] = {
        "derivedType": 1.0,
        "articleType": 0.5,
        "gender": 0.5,
        "subCategory": 0.3,
        "baseColour": 1.6,
    }
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
    fractions: Mapping[Part, float] = dict(DEFAULT_FRACTIONS)
    validation_queries: int = 1500
    validation_catalogue: int = 3000

    def model_post_init(self, context: Any) -> None:
        """Refuses settings that do not go together.

        Raises:
            InvalidInput: CONFIG_INVALID.
        """
        length = self.passes if self.passes is not None else self.minutes
        starts = [stage.start for stage in self.stages]
        shares = (self.extra_share, self.photographs_share)
        begins_with_bundle = self.initial not in (SCRATCH, IMAGENET)
        for right, rule in (
            ((self.passes is None) != (self.minutes is None), "Give either passes or minutes."),
            (length is None or length > 0, "Passes or minutes must be positive."),
            (starts[:1] == [0.0] and starts == sorted(starts) and starts[-1] < 1, "Stages must rise from 0 towards 1."),
            (
                not starts or min(self.height, self.width) >= _MIN_SIDE,
                f"The last stage must be at least {_MIN_SIDE} x {_MIN_SIDE} pixels.",
            ),
            (set(self.head_weights) == set(HEADS), f"The head weights must name {', '.join(HEADS)}."),
            (set(self.margins) <= {*HEADS, OWN_TYPE}, f"Margins must be of {', '.join((*HEADS, OWN_TYPE))}."),
            (not self.frozen_layers or self.initial != SCRATCH, "Frozen layers need initial weights, not scratch."),
            (0.0 < self.blend <= 1.0, "The blend must be in (0, 1]."),
            (self.blend == 1.0 or begins_with_bundle, "Blending needs a bundle to begin with."),
            (not self.anchor_weight or begins_with_bundle, "An anchor needs a bundle to begin with."),
            (0.0 <= self.leave_out <= _MAX_LEFT_OUT, f"The share left out must be in [0, {_MAX_LEFT_OUT:g}]."),
            (self.batch >= 2, "A batch must have at least 2 pictures."),
            (min(shares) >= 0.0 and sum(shares) < 1.0, "Shares of extra data and photographs must be below 1 in all."),
        ):
            if not right:
                raise InvalidInput(rule, reason="CONFIG_INVALID")

    @property
    def height(self) -> int:
        """Rows of the bundle's input, in pixels."""
        return self.stages[-1].height

    @property
    def width(self) -> int:
        """Columns of the bundle's input, in pixels."""
        return self.stages[-1].width

    def stage(self, progress: float) -> Stage:
        """Returns the stage at a share of the schedule."""
        return [stage for stage in self.stages if stage.start <= progress][-1]

    def weight_of(self, head: str) -> float:
        """Returns the weight of a head's loss."""
        return self.photographs_weight if head == OWN_TYPE else self.head_weights[head]

    @classmethod
    def of_run(cls, run: Path) -> Self:
        """Returns the settings that a run was last started with.

        Raises:
            NotFound: nothing was ever started there.
            InvalidInput: its settings are not those of this version.
        """
        file = run / CONFIG_FILE
        if not file.is_file():
            raise NotFound(f"There is no training run in {run}.", reason="RUN_NOT_FOUND")
        try:
            return cls.model_validate_json(file.read_text())
        except ValidationError as error:
            names = ", ".join(sorted({str(each["loc"][0]) for each in error.errors() if each["loc"]}))
            raise InvalidInput(
                f"{file} has settings that this version does not understand: {names}.", reason="CONFIG_INVALID"
            ) from error


# Settings that differ from the defaults, by name.
PRESETS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "fashion": {},
        # The project report's: ImageNet's ResNet50 at 224 x 224, its first 170 layers frozen, a softmax on the
        # subCategory, SGD at 5e-5, pictures as they are drawn from the data set.
        "report": {
            "initial": IMAGENET,
            "frozen_layers": 170,
            "stages": (Stage(start=0.0, height=224, width=224),),
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
