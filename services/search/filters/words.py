"""Words that shoppers search for: what makes no difference in them, and which texts have them."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from services.contract.errors import InvalidInput

MAX_WORDS_CHARACTERS: Final = 200

_WORD: Final = re.compile(r"[^\W_]+")
# Within a word: "T-shirt" is "Tshirt" too, and "Men's" is "Mens".
_JOINER: Final = re.compile(r"(?<=[^\W_])['’‐‑-](?=[^\W_])")


def folded(text: str) -> str:
    """Returns a text without what makes no difference to readers: letter case and accents."""
    if not text.isascii():
        text = "".join(character for character in unicodedata.normalize("NFKD", text) if not _is_mark(character))
    return text.casefold()


def searchable(texts: Iterable[str | None]) -> str:
    """Returns the words of some texts, each after a space; a word with a hyphen both as one and as several."""
    text = folded(" ".join(filter(None, texts)))
    joined = _JOINER.sub("", text)
    words = _WORD.findall(text)
    if joined != text:
        words += _WORD.findall(joined)
    return f" {' '.join(words)}"


def needles(text: str) -> tuple[str, ...]:
    """Returns what a `searchable` text must hold to match a shopper's words; nothing for a text without any.

    Raises:
        InvalidInput: WORDS_TOO_LONG.
    """
    if len(text) > MAX_WORDS_CHARACTERS:
        raise InvalidInput(
            f"The words have {len(text)} characters; at most {MAX_WORDS_CHARACTERS} are allowed.",
            reason="WORDS_TOO_LONG",
            metadata={"field": "words"},
        )
    words = dict.fromkeys(_WORD.findall(_JOINER.sub("", folded(text))))
    # Scripts without letter case often write no spaces between words.
    return tuple(word if any(map(_is_caseless, word)) else f" {word}" for word in words)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) == "Mn"


def _is_caseless(character: str) -> bool:
    return unicodedata.category(character) == "Lo"
