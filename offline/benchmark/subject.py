"""What it costs to look for the garment in a photograph, beside the whole photograph without garment heads."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from offline.benchmark.timing import Series
from services.contract.values import Photograph, Subject
from services.embedder.encoder import Encoder
from services.embedder.views import embed_views, prepare_view

WHOLE_WITHOUT_HEADS: Final = "whole, without heads"


def measure_subject(
    encoder: Encoder, without_heads: Encoder, contents: Sequence[bytes], rounds: int
) -> Mapping[str, Series]:
    """Measures the processor time per photograph, embedded alone and as the embedder does it.

    The ways take turns photograph by photograph, each being the first as often: the speed of a shared machine changes
    from second to second.

    Args:
        encoder: the model as it is served.
        without_heads: the same network without garment heads.
        contents: files of photographs, at least one.
        rounds: how often all are embedded, after one round of warm-up.

    Returns:
        By way: the mean of each round, in ms.
    """

    def embed(by: Encoder, subject: Subject) -> Callable[[bytes], object]:
        def work(content: bytes) -> object:
            photograph = Photograph(content, subject=subject)
            return embed_views(by, [photograph], [prepare_view(photograph, by.frame)])

        return work

    ways = [
        (WHOLE_WITHOUT_HEADS, embed(without_heads, Subject.WHOLE)),
        ("whole", embed(encoder, Subject.WHOLE)),
        ("auto", embed(encoder, Subject.AUTO)),
    ]
    means: dict[str, list[float]] = {name: [] for name, _ in ways}
    for at in range(rounds + 1):
        spent = dict.fromkeys(means, 0.0)
        for index, content in enumerate(contents):
            first = index % len(ways)
            for name, work in (*ways[first:], *ways[:first]):
                begin = time.process_time()
                work(content)
                spent[name] += time.process_time() - begin
        if at:
            for name, seconds in spent.items():
                means[name].append(seconds * 1000 / len(contents))
    return {name: Series(tuple(rounds_of)) for name, rounds_of in means.items()}
