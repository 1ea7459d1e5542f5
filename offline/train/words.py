"""The words of products' names, which say more of a picture than the columns do: stripes, a brand, a fabric."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from offline.dataset.row import Row

# Longer names are cut: few have more words.
MAX_WORDS: Final = 12
_NO_WORD: Final = -1
_WORD: Final = re.compile(r"[a-z]{2,}")


def vocabulary(rows: Sequence[Row], at_least: int) -> tuple[str, ...]:
    """Returns the words that occur in at least so many products' names, in alphabetical order."""
    counts = Counter(word for row in rows for word in _words(row))
    return tuple(sorted(word for word, count in counts.items() if count >= at_least))


def encode_words(rows: Sequence[Row], known: Sequence[str]) -> NDArray[np.int32]:
    """Returns each name's words as numbers: (n, 12), int32, -1 where there are no more that the vocabulary has."""
    place = {word: index for index, word in enumerate(known)}
    encoded = np.full((len(rows), MAX_WORDS), _NO_WORD, dtype=np.int32)
    for at, row in enumerate(rows):
        numbers = [place[word] for word in _words(row) if word in place][:MAX_WORDS]
        encoded[at, : len(numbers)] = numbers
    return encoded


def _words(row: Row) -> list[str]:
    """Returns the different words of a name, in its order."""
    return list(dict.fromkeys(_WORD.findall((row.name or "").lower())))
