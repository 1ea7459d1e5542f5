"""Numbers and prices as people and programs write them: "19,99 €", "USD 1,299.00", "1 299,00"."""

import re
import unicodedata
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from typing import Final

from services.search.catalogue.products import MAX_PRICE_UNITS, Price

# A sign that several currencies share stands for none of them.
_CURRENCY_OF_SIGN: Final = {
    "€": "EUR", "£": "GBP", "₹": "INR", "zł": "PLN", "kč": "CZK", "ft": "HUF", "lei": "RON", "₺": "TRY", "₽": "RUB",
    "₩": "KRW", "₪": "ILS", "฿": "THB", "₫": "VND", "₴": "UAH", "r$": "BRL", "us$": "USD", "a$": "AUD", "c$": "CAD",
    "nz$": "NZD", "s$": "SGD", "hk$": "HKD", "chf": "CHF", "sfr": "CHF", "fr.": "CHF", "rs.": "INR",
}  # fmt: skip
_CURRENCIES_OF_SHARED_SIGN: Final = {
    "$": ("USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN", "ARS", "CLP", "COP", "TWD"),
    "¥": ("JPY", "CNY"),
    "kr": ("SEK", "NOK", "DKK", "ISK"),
}
# Currencies with three decimals: their "1.299" is no thousand.
_THREE_DECIMALS: Final = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
_NANO: Final = Decimal("1e-9")
# A number with marks, in which the last may be followed by dashes for no cents: "1'299.–".
NUMBER: Final = re.compile(r"\d(?:[\d.,'’_\s]*\d)?(?:[.,](?:-|–|—)+)?")


def price_of(text: str, currency: str | None = None) -> Price | None:
    """Reads a price as people and programs write it: "19,99 €", "USD 1,299.00", "1 299,00", "CHF 1'299.–".

    Of two different marks the last is the decimal one. One mark before exactly three digits parts thousands.

    Args:
        text: the price.
        currency: ISO 4217, where the text names none.

    Returns:
        The price; None where there is no number, several numbers, a negative one, or no currency.
    """
    text = "".join(" " if each.isspace() else each for each in unicodedata.normalize("NFKC", text)).strip()
    numbers = list(NUMBER.finditer(text))
    if len(numbers) != 1:
        return None
    number = numbers[0]
    before, after = text[: number.start()].strip(), text[number.end() :].strip()
    if before.endswith(("-", "−")):
        return None
    named = [code for part in (before, after) if (code := _currency(part)) is not None]
    strange = [sign for part in (before, after) if (sign := part.strip(" .-–—:").casefold()) and not _currency(part)]
    if any(currency not in _CURRENCIES_OF_SHARED_SIGN.get(sign, ()) for sign in strange):
        return None
    code = named[0] if named else currency
    if code is None:
        return None
    try:
        # Without more decimals than a price has: rounding up could make a whole unit of them.
        amount = Decimal(plain_number(number.group(), code)).quantize(_NANO, ROUND_DOWN)
    except InvalidOperation:
        return None
    units = int(amount)
    if units > MAX_PRICE_UNITS:
        return None
    return Price(code, units, int((amount - units) / _NANO))


def _currency(text: str) -> str | None:
    text = text.strip()
    if re.fullmatch(r"[A-Za-z]{3}", text) and text.isascii():
        return text.upper()
    return _CURRENCY_OF_SIGN.get(text.casefold())


def plain_number(text: str, currency: str) -> str:
    """Returns a number that `NUMBER` matches as Decimal reads it; "?" where nobody can tell what it means."""
    text = re.sub(r"[\s'’_]", "", text)
    text = re.sub(r"[.,][-–—]+$", "", text)
    marks = re.findall(r"[.,]", text)
    if not marks:
        return text
    last = marks[-1]
    whole, _, rest = text.rpartition(last)
    if len(set(marks)) == 1:
        groups = text.split(last)
        in_thousands = len(groups[0]) <= 3 and groups[0] != "0" and all(len(each) == 3 for each in groups[1:])
        if len(groups) > 2 or (in_thousands and currency not in _THREE_DECIMALS):
            return text.replace(last, "") if in_thousands else "?"
    return f"{whole.replace(',', '').replace('.', '')}.{rest}"
