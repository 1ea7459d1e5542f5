"""The model of an evaluation: its encoder, the classifier's heads, and every head by itself."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.bundle.reader import GARMENTS_KEY, Bundle
from services.classifier.heads import LabelHead
from services.classifier.recognition import ClassifierModel
from services.contract.values import ModelInfo
from services.embedder.encoder import Encoder
from services.embedder.runtimes.select import load_encoder
from services.embedder.settings import EmbedderSettings


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedModel:
    """A model that an evaluation measures.

    Attributes:
        encoder: computes its embeddings.
        classifier: the heads that serve; without labels where the model was never trained on any.
        heads: each head by itself, by the attribute that it knows, such as "articleType".
        garments: the version of the heads that find garments; None without.
    """

    encoder: Encoder
    classifier: ClassifierModel
    heads: Mapping[str, LabelHead]
    garments: str | None = None

    @property
    def info(self) -> ModelInfo:
        """Name, version and sizes."""
        return self.encoder.model


def load_model(settings: EmbedderSettings) -> EvaluatedModel:
    """Loads a model as the services do.

    Args:
        settings: the settings of the embedder. The bundle "imagenet" has no head, so that only candidates classify.

    Raises:
        NotFound: there is no bundle.
        InvalidInput: the bundle is broken.
        NotReady: the weights of "imagenet" are neither here nor to be downloaded.
    """
    options = settings.encoder()
    bundle = options.open_bundle()
    encoder = load_encoder(options, bundle)
    if bundle is None:
        return EvaluatedModel(encoder, ClassifierModel.without_heads(encoder.model), {})
    garments = bundle.description.get(GARMENTS_KEY, {}).get("version")
    return EvaluatedModel(encoder, ClassifierModel.of(bundle), bundle_heads(bundle), garments)


def bundle_heads(bundle: Bundle) -> dict[str, LabelHead]:
    """Returns each head of a bundle by itself: its cosines, without the priors that help it to decide."""
    heads = {name: bundle.head(name) for name in bundle.labels}
    return {name: LabelHead(head.labels, head.weights, head.scale) for name, head in heads.items()}
