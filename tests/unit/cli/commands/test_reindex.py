"""The file of canaries, as people write it."""

from pathlib import Path

import pytest
import typer

from cli.commands.reindex import _canaries


def test_a_file_of_canaries_names_products_and_photographs(tmp_path: Path) -> None:
    (tmp_path / "dress.jpg").write_bytes(b"a photograph")
    file = tmp_path / "canaries.csv"
    file.write_text("query,expected\ndress.jpg,Women Dresses\n10014, Men Tshirts | Men Shirts \n10015\n", "utf-8")
    photograph, product, short = _canaries(file)
    assert (photograph.image.content, [*photograph.expected_types]) == (b"a photograph", ["Women Dresses"])
    assert (product.product_id, [*product.expected_types]) == ("10014", ["Men Tshirts", "Men Shirts"])
    # The server refuses it by name.
    assert (short.name, short.product_id, [*short.expected_types]) == ("10015", "10015", [])


@pytest.mark.parametrize("content", [b"id,type\n1,Shirts\n", b"", b"query,expected\n\xff\xff,x\n"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "canaries.csv"
    file.write_bytes(content)
    with pytest.raises(typer.BadParameter):
        _canaries(file)
