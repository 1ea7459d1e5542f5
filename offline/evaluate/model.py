"""What an evaluation needs of a model: its encoder, the classifier's heads, and every other head to compare with."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.bundle.reader import Bundle
from services.classifier.heads import LabelHead
from services.classifier.recognition import ClassifierModel
from services.contract.values import ModelInfo
from services.embedder.encoder import Encoder
from services.embedder.runtimes.select import load_encoder
from services.embedder.settings import EmbedderSettings


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedModel:
    """A model that is measured.

    Attributes:
        encoder: makes its embeddings.
        classifier: the heads that are served; without labels where the model was never trained on any.
        heads: each head by itself, by the attribute that it knows, such as "articleType".
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
    options = settings.encoder()
    bundle = options.open_bundle()
    encoder = load_encoder(options, bundle)
    if bundle is None:
        return EvaluatedModel(encoder, ClassifierModel.without_heads(encoder.model), {})
    return EvaluatedModel(encoder, ClassifierModel.of(bundle), bundle_heads(bundle))


def bundle_heads(bundle: Bundle) -> dict[str, LabelHead]:
    """Each head of a bundle by itself: cosines with its own directions, and nothing that decides along with them."""
    found = {name: bundle.head(name) for name in bundle.labels}
    return {name: LabelHead(head.labels, head.weights, head.scale) for name, head in found.items()}
