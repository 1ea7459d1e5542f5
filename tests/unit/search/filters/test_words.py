"""Words that shoppers search for: what makes no difference, and what they match."""

import pytest

from services.contract.errors import InvalidInput
from services.search.filters.words import MAX_WORDS_CHARACTERS, needles, searchable


def matches(text: str, *texts: str | None) -> bool:
    return all(needle in searchable(texts) for needle in needles(text))


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("", True),
        (" \t\n", True),
        ("!?", True),
        ("polo", True),
        ("POLO shirt", True),
        ("t-shirt", True),
        ("tshirt", True),
        ("T‑Shirt", True),
        ("shirt", True),
        ("mens", True),
        ("men's", True),
        ("men", True),
        ("creme", True),
        ("CRÈME brulee", True),
        ("strasse", True),
        ("10014", True),
        ("a_7/100", True),
        ("navy", True),
        ("en's", False),
        ("olo", False),
        ("polo red", False),
        ("連衣", True),
        ("紅色", True),
        ("裙子", False),
    ],
)
def test_each_word_begins_a_word_whatever_its_case_and_accents(text: str, matching: bool) -> None:
    assert (
        matches(text, "Men's Polo T-Shirt, Crème brûlée, Straße", None, "Navy Blue", "A_7/10014", "紅色連衣裙")
        == matching
    )


def test_women_are_not_found_among_men() -> None:
    assert not matches("men shirt", "Casual Shirt", "Women Shirts")


def test_words_are_bounded() -> None:
    assert needles("x" * MAX_WORDS_CHARACTERS) == (f" {'x' * MAX_WORDS_CHARACTERS}",)
    with pytest.raises(InvalidInput) as error:
        needles(" " * (MAX_WORDS_CHARACTERS + 1))
    assert error.value.reason == "WORDS_TOO_LONG"
