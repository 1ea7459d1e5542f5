"""What an image is built of: the files that the Dockerfile copies reach the builder."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def lines(name: str) -> list[str]:
    return [line.strip() for line in (ROOT / name).read_text().splitlines() if line.strip()]


def test_every_file_that_an_image_copies_reaches_the_builder() -> None:
    ignored, *let_through = [line for line in lines(".dockerignore") if not line.startswith("**/")]
    assert ignored == "*"
    copied = {
        source
        for line in lines("deploy/Dockerfile")
        if line.startswith("COPY ") and "--from=" not in line
        for source in line.split()[1:-1]
    }
    assert copied == {line.removeprefix("!") for line in let_through}
    assert [source for source in sorted(copied) if not (ROOT / source).exists()] == []
