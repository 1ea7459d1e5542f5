"""Families of colours, and what a dislike covers."""

import csv
import io
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.errors import InvalidInput
from services.search.filters import colours
from services.search.filters.colours import (
    FAMILIES,
    DislikedColour,
    covered,
    expand,
    family_of,
    nearest,
    require_known,
    without_family,
)

OF_THE_DATA_SET = [
    "Black",
    "White",
    "Blue",
    "Brown",
    "Grey",
    "Red",
    "Green",
    "Pink",
    "Navy Blue",
    "Purple",
    "Silver",
    "Yellow",
    "Beige",
    "Gold",
    "Maroon",
    "Orange",
    "Olive",
    "Multi",
    "Cream",
    "Steel",
    "Charcoal",
    "Peach",
    "Off White",
    "Skin",
    "Lavender",
    "Khaki",
    "Grey Melange",
    "Magenta",
    "Tan",
    "Teal",
    "Bronze",
    "Mustard",
    "Copper",
    "Rust",
    "Turquoise Blue",
    "Metallic",
    "Burgundy",
    "Coffee Brown",
    "Rose",
    "Mauve",
    "Nude",
    "Sea Green",
    "Mushroom Brown",
    "Taupe",
    "Lime Green",
    "Fluorescent Green",
]


def test_the_table_holds_every_base_colour_of_the_data_set_once() -> None:
    counted = Counter([*FAMILIES, *(member for members in FAMILIES.values() for member in members)])
    assert set(OF_THE_DATA_SET) <= set(counted)
    assert set(counted.values()) == {1}
    assert colours.table_colours() == set(counted)


def test_the_real_data_set_has_no_colour_that_the_table_lacks(fashion_dataset: Path) -> None:
    if fashion_dataset.suffix != ".zip":
        text = (fashion_dataset / "styles.csv").read_text("utf-8")
    else:
        with zipfile.ZipFile(fashion_dataset) as archive:
            name = next(name for name in archive.namelist() if name.endswith("styles.csv"))
            text = archive.read(name).decode("utf-8")
    found = {row["baseColour"] for row in csv.DictReader(io.StringIO(text))} - {"NA", ""}
    assert found
    assert found <= colours.table_colours()


@pytest.mark.parametrize(
    ("colour", "family"),
    [
        ("Blue", "Blue"),
        ("Navy Blue", "Blue"),
        ("navy", "Blue"),
        ("Turquoise Blue", "Blue"),
        ("Off-White", "White"),
        ("GRAY MELANGE", "Grey"),
        ("Mustard", "Yellow"),
        ("Maroon", "Red"),
        ("Multi", "Multi"),
        ("Multicolour", "Multi"),
        ("multi-colored", "Multi"),
        ("Dark Navy", "Blue"),
        ("Pale Turquoise", "Blue"),
        ("NavyBlue", "Blue"),
        ("Blue/White", "Blue"),
        ("White & Blue", "White"),
        ("Blue Melange", "Blue"),
        ("Blue (dark)", "Blue"),
        ("skyblue", "Blue"),
        ("Écru", "White"),
        ("Royal Blue", "Blue"),
        ("Rose Gold", "Metallic"),
        ("Blueberry", "Blueberry"),
        ("Unobtanium", "Unobtanium"),
        ("", ""),
    ],
)
def test_knows_the_family_of_a_colour(colour: str, family: str) -> None:
    assert family_of(colour) == family


# What shops call blue, in whole or in part.
BLUES = [
    *("Dark Navy", "Pale Turquoise", "NavyBlue", "navyblue", "NAVYBLUE", "Blue Melange", "Blue/White", "White/Blue"),
    *("Navy/White", "Blue & Grey", "Blue (dark)", "Blue Stripes", "Light-Blue", "Royal Blue", "BLUE", "Navy  Blue"),
    *(
        "light_blue",
        "skyblue",
        "Navy.",
        "blue,white",
        "Bluish",
        "Blues",
        "Blau / Blue",
        "Teal-ish",
        "Cobalt",
        "Bleu Navy",
    ),
    *("Black and Blue", "Turquoise Stripe", "Dark Teal Melange", "Midnightblue", "Cobalt Blue 2", "Multi/Blue"),
]
NOT_BLUE = [
    "Blueberry",
    "White",
    "Rose Gold",
    "Multi",
    "Multicolour",
    "Sea Green",
    "Grey Melange",
    "Unobtanium",
    "★",
    "12",
]


def test_any_word_that_names_a_family_counts_for_a_dislike() -> None:
    assert expand([DislikedColour("Blue")], [*BLUES, *NOT_BLUE]) == {"Blue", *BLUES}
    # And only the words of what the table knows as a whole.
    assert expand([DislikedColour("Pink")], ["Rose Gold", "Dark Rose Gold", "Dusty Rose", "Pinkish"]) == {
        *("Pink", "Dusty Rose", "Pinkish")
    }
    assert expand([DislikedColour("Red")], ["Coloured", "Infrared", "darkred", "Reddish", "Reds", "Red/Black"]) == {
        *("Red", "darkred", "Reddish", "Reds", "Red/Black")
    }


def test_a_members_name_counts_wherever_it_is_a_word() -> None:
    known = ["Dark Navy", "NavyBlue", "Navy/White", "Sky Blue", "Blue"]
    assert expand([DislikedColour("Navy")], known) == {"Navy", "Dark Navy", "NavyBlue", "Navy/White"}


def test_colours_without_a_family_are_told() -> None:
    assert without_family([*BLUES, "Unobtanium", "Puce", "Multi", "★"]) == ("Puce", "Unobtanium", "★")


def test_a_familys_name_covers_the_family() -> None:
    known = ["Blue", "Navy Blue", "Turquoise Blue", "Royal Blue", "blue", "Green", "Multi"]
    assert expand([DislikedColour("Blue")], known) == {"Blue", "Navy Blue", "Turquoise Blue", "Royal Blue", "blue"}


def test_a_members_name_covers_the_member_alone_in_any_spelling() -> None:
    known = ["Blue", "Navy Blue", "navy-blue", "Navy", "Turquoise Blue"]
    assert expand([DislikedColour("Navy Blue")], known) == {"Navy Blue", "navy-blue", "Navy"}
    assert expand([DislikedColour("Navy")], known) == {"Navy Blue", "navy-blue", "Navy"}


def test_an_exact_dislike_leaves_the_family_alone() -> None:
    assert expand([DislikedColour("Blue", exact=True)], ["Blue", "BLUE", "Navy Blue"]) == {"Blue", "BLUE"}


def test_a_shops_own_colour_is_a_family_of_its_own() -> None:
    assert expand([DislikedColour("Unobtanium")], ["Unobtanium", "unobtanium", "Blue"]) == {"Unobtanium", "unobtanium"}


def test_a_dislike_says_nothing_about_garments_of_many_colours() -> None:
    assert expand([DislikedColour("Yellow")], ["Multi", "Mustard", "Yellow"]) == {"Mustard", "Yellow"}
    assert expand([DislikedColour("Multi")], ["Multi", "Multicolour", "Yellow"]) == {"Multi", "Multicolour"}


any_colour = st.sampled_from(OF_THE_DATA_SET) | st.text(max_size=20)


@given(st.lists(st.builds(DislikedColour, any_colour, st.booleans()), max_size=5), st.sets(any_colour, max_size=20))
def test_a_disliked_colour_is_always_among_the_excluded(dislikes: list[DislikedColour], known: set[str]) -> None:
    excluded = expand(dislikes, known)
    assert {dislike.colour for dislike in dislikes} <= excluded
    assert excluded <= known | {dislike.colour for dislike in dislikes}
    assert covered([d.colour for d in dislikes if not d.exact], known) <= excluded


def test_an_unknown_colour_is_refused_with_the_nearest_known() -> None:
    assert require_known("Puce", {"Puce"}) == "Puce"
    assert require_known("Teal", ()) == "Teal"
    with pytest.raises(InvalidInput, match='"Turquoise Blue"') as refused:
        require_known("Turquois Blu", {"Puce"})
    assert refused.value.reason == "COLOUR_UNKNOWN"
    with pytest.raises(InvalidInput, match='"Yellow"'):
        require_known("yellow", ())


def test_the_nearest_labels_differ_in_case_first() -> None:
    assert nearest("navy blue", {"Navy Blue", "Red", "Blue"})[0] == "Navy Blue"
    assert nearest("x", ()) == ()
    assert len(nearest("Blue", {"Blue", "BLUE", "blue", "bLUE"})) == 3
