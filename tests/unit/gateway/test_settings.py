"""Settings of the gateway, its swatches, and its table of problems."""

from urllib.parse import unquote

import pytest
from pydantic import SecretStr, ValidationError

from services.contract import errors
from services.contract.errors import FashionError
from services.gateway.conversion.answers import image_path
from services.gateway.middleware.request import path_value, path_with_kept_slashes
from services.gateway.schema.problems import KINDS, kind_of
from services.gateway.settings import GatewaySettings
from services.gateway.swatches import swatch_of
from services.search.filters.colours import family_of, table_colours
from services.serving.loopback import is_loopback


def test_every_colour_that_search_knows_is_painted() -> None:
    # Several colours at once have no single one.
    unpainted = {colour for colour in table_colours() if swatch_of(colour, family_of(colour)) is None}
    assert unpainted == {"Multi", "Multicolour"}
    assert swatch_of("Royal Blue", "Blue") == swatch_of("Blue", "Blue")
    assert swatch_of("NAVY-blue", "Blue") == swatch_of("Navy Blue", "Blue") != swatch_of("Blue", "Blue")
    assert swatch_of("Puce", "Puce") is None


def test_every_category_has_a_status_of_its_own_or_its_parents() -> None:
    categories = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, FashionError)]
    statuses = {each.__name__: kind_of(each("x", reason="X")).status for each in categories}
    assert statuses == {
        "FashionError": 500,
        "InvalidInput": 400,
        "NotFound": 404,
        "AlreadyExists": 409,
        "FailedPrecondition": 409,
        "ModelMismatch": 409,
        "Overloaded": 503,
        "DeadlineExceeded": 504,
        "DataLoss": 500,
        "Unavailable": 503,
        "NotReady": 503,
        "Upstream": 503,
        "Unsupported": 501,
        "Unauthenticated": 401,
        "Forbidden": 403,
        "QuotaExceeded": 429,
    }
    assert all(400 <= kind.status < 600 for kind in KINDS.values())


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("shop.example", False),
    ],
)
def test_loopback_is_told_apart(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_keys_and_origins_are_taken_apart_and_no_secret_is_shown() -> None:
    settings = GatewaySettings(
        token_key=SecretStr(f"{'a' * 32} , {'b' * 40}"), allowed_origins="https://a.example, http://localhost:3000"
    )
    assert settings.keys() == ("a" * 32, "b" * 40)
    assert settings.origins() == {"https://a.example", "http://localhost:3000"}
    assert "aaa" not in repr(settings)


@pytest.mark.parametrize("origins", ["a.example", "https://a.example/", "ftp://a.example", "https://", "*,https://a.b"])
def test_what_is_no_origin_is_refused(origins: str) -> None:
    with pytest.raises(ValidationError, match=r"(?i)allowed_origins"):
        GatewaySettings(allowed_origins=origins)


@pytest.mark.parametrize("product_id", ["a", "a/b", "a%2Fb", "%", "№ 1", "a?b#c", "%252F/"])
def test_a_path_stands_for_the_id_that_it_was_made_of(product_id: str) -> None:
    path = image_path(product_id)
    seen = path_with_kept_slashes({"raw_path": path.encode(), "path": unquote(path)})
    assert path_value(seen.removeprefix("/v1/products/").removesuffix("/image")) == product_id
