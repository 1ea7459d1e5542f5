"""What an evaluation needs of a model: its encoder, the classifier's heads, and every other head to compare with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.bundle import Bundle, load_bundle
from services.classifier.recognition import ClassifierModel, parse_derived_type
from services.classifier.subcategory import LabelHead
from services.contract import ModelInfo
from services.embedder.encoder import Encoder
from services.embedder.loading import load_encoder
from services.embedder.settings import EmbedderSettings


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedModel:
    """A model that is measured.

    Attributes:
        encoder: makes its embeddings.
        classifier: the heads that are served; without labels where the model was never trained on any.
        heads: all of its heads, by the attribute that they know, such as "articleType".
    """

    encoder: Encoder
    classifier: ClassifierModel
    heads: Mapping[str, LabelHead]

    @property
    def info(self) -> ModelInfo:
        """Name, version and sizes."""
        return self.encoder.model


def load_model(settings: EmbedderSettings) -> EvaluatedModel:
    """Loads a model as the services do.

    Args:
        settings: of the embedder; of the bundle "imagenet" there are embeddings without any head, so that candidates
            alone classify.

    Raises:
        NotFound: there is no bundle.
        InvalidInput: the bundle is damaged, or not understood.
        NotReady: the weights of "imagenet" cannot be had.
    """
    encoder = load_encoder(settings)
    known = settings.runtime != "fake" and Path(settings.bundle).is_dir()
    heads = bundle_heads(load_bundle(Path(settings.bundle))) if known else {}
    return EvaluatedModel(encoder, classifier_model(encoder.model, heads), heads)


def bundle_heads(bundle: Bundle) -> dict[str, LabelHead]:
    """All heads of a bundle."""
    found = {name: bundle.heads(name) for name in bundle.labels}
    return {name: LabelHead(head.labels, head.weights, head.scale) for name, head in found.items()}


def classifier_model(model: ModelInfo, heads: Mapping[str, LabelHead]) -> ClassifierModel:
    """The heads that the classifier serves; empty ones where the model has none."""
    nothing = LabelHead((), np.zeros((0, model.dimension), dtype=np.float32), 1.0)
    derived_type = heads.get("derivedType", nothing)
    return ClassifierModel(
        model_version=model.model_version,
        dimension=model.dimension,
        sub_category=heads.get("subCategory", nothing),
        derived_type=derived_type,
        kinds=tuple(parse_derived_type(label) for label in derived_type.labels),
    )
