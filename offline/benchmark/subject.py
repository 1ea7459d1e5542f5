"""What it costs to look for the garment in a photograph, beside the whole photograph without garment heads."""

from collections.abc import Callable, Mapping, Sequence

from services.contract.values import Photograph, Subject
from services.embedder.encoder import Encoder
from services.embedder.views import embed_views, prepare_view


def subject_workloads(
    encoder: Encoder, without_heads: Encoder, contents: Sequence[bytes]
) -> Mapping[str, Callable[[], object]]:
    """Returns workloads that embed all photographs, one after another, as the embedder does.

    Args:
        encoder: the model as it is served.
        without_heads: the same network without garment heads.
        contents: files of photographs.
    """

    def work(by: Encoder, subject: Subject) -> Callable[[], object]:
        photographs = [Photograph(content, subject=subject) for content in contents]
        return lambda: [embed_views(by, [each], [prepare_view(each, by.frame)]) for each in photographs]

    return {
        "whole, without heads": work(without_heads, Subject.WHOLE),
        "whole": work(encoder, Subject.WHOLE),
        "auto": work(encoder, Subject.AUTO),
    }
