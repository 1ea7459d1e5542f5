"""The figures of photographs that people took: what is recognised, found, believed and doubted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from offline.evaluate.reported import Path
from offline.measure.calibration import (
    ReliabilityBin,
    Threshold,
)
from offline.measure.metrics import (
    Codes,
    Flags,
    Interval,
)


@dataclass(frozen=True, slots=True)
class Share:
    """A mean of shares in [0, 1] with its 95 % confidence interval; of photographs, by sender."""

    share: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Recognition:
    """How often the classifier is right about some queries.

    Attributes:
        queries: the number of queries.
        coarse: the share of queries whose coarse type is right.
        sub_category: the share whose subCategory is right.
        article_type: the share whose article type is one that the label may mean.
        taken_for_bag: of the queries that are no bags, the share recognised as bags.
    """

    queries: int
    coarse: Share
    sub_category: Share
    article_type: Share
    taken_for_bag: Share


@dataclass(frozen=True, slots=True)
class StudioRow:
    """The same of studio shots that are altered in one way, or not at all."""

    alteration: str
    recognition: Recognition


@dataclass(frozen=True, slots=True)
class SearchRow:
    """What photographs find.

    Attributes:
        searched: what is searched.
        path: "inventory" for all of it, "photograph" for the derived type that the classifier finds.
        products: the number of products there.
        coarse_precision: the share of the ten results that are of the photograph's coarse type.
        coarse_all: the share of photographs whose results all are.
        article_precision: the share of the ten results whose article type is right.
        article_all: the share of photographs whose results all are of a right article type.
    """

    searched: str
    path: Path
    products: int
    coarse_precision: Share
    coarse_all: Share
    article_precision: Share
    article_all: Share


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far the classifier's probabilities can be believed.

    Attributes:
        of: the queries.
        label: what is recognised.
        answers: the number of answers with a probability.
        error: the expected calibration error, in [0, 1].
        probability: the mean probability.
        right: the share of these answers that is right.
        bins: the answers by probability.
    """

    of: str
    label: str
    answers: int
    error: float
    probability: float
    right: float
    bins: Sequence[ReliabilityBin]


@dataclass(frozen=True, slots=True)
class Doubt:
    """How well a sign tells answers to doubt.

    Attributes:
        sign: what is looked at.
        tells_right: the area under the ROC curve for photographs whose coarse type is right, against the others.
        tells_studio: the same for studio shots, against photographs.
        thresholds: what thresholds catch among the photographs.
    """

    sign: str
    tells_right: float | None
    tells_studio: float | None
    thresholds: Sequence[Threshold]


@dataclass(frozen=True, slots=True)
class LabelRow:
    """The photographs of one label.

    Attributes:
        label: the senders' word.
        photographs: how many there are.
        senders: how many people sent them.
        coarse: the share whose coarse type is right.
        article_type: the share whose article type is one that the label may mean.
        taken_for_bag: the share recognised as bags.
        shop_precision: of the ten results among the photographs, the share of the same article type.
        catalogue_precision: of the ten results in the catalogue, the share of the coarse type.
        taken_for: the wrong coarse type that is answered most often; None where all are right.
        taken_for_share: the share of the photographs with this answer.
    """

    label: str
    photographs: int
    senders: int
    coarse: Share
    article_type: Share
    taken_for_bag: Share
    shop_precision: float
    catalogue_precision: float | None
    taken_for: str | None
    taken_for_share: float


@dataclass(frozen=True, slots=True, eq=False)
class PhotographEvaluation:
    """All figures of people's photographs.

    Attributes:
        senders: the number of people.
        recognition: of all photographs.
        search: what they find in the catalogue and among one another.
        studio: studio shots for comparison; none without a catalogue of them.
        calibration: of photographs, and of studio shots.
        doubt: the signs of doubt.
        by_label: the photographs of each label, the most frequent first.
        worst: positions of the wrong photographs that the classifier was most certain of.
        answers: the coarse type, the article type and the probability that the classifier answered, per photograph.
        results: int64, shape (n, 10), what each finds in the whole catalogue.
        right_results: bool, shape (n, 10), which of these are of the coarse type.
    """

    senders: int
    recognition: Recognition
    search: Sequence[SearchRow]
    studio: Sequence[StudioRow]
    calibration: Sequence[Calibration]
    doubt: Sequence[Doubt]
    by_label: Sequence[LabelRow]
    worst: Sequence[int] = field(repr=False)
    answers: Sequence[tuple[str, str, float]] = field(repr=False)
    results: Codes = field(repr=False)
    right_results: Flags = field(repr=False)
