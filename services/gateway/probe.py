"""Probes whether a gateway is ready, for its container: `python -m services.gateway.probe URL`."""

import sys
import urllib.error
import urllib.request
from typing import Final

_TIMEOUT_S: Final = 2.0


def main(arguments: list[str]) -> int:
    """Returns 0 if the URL answers 200, else 1; 2 for a wrong command line."""
    if len(arguments) != 1 or not arguments[0].startswith("http://"):
        print("usage: python -m services.gateway.probe http://HOST:PORT/readyz", file=sys.stderr)  # noqa: T201
        return 2
    try:
        # A probe asks its own container, which no proxy can reach.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(arguments[0], timeout=_TIMEOUT_S) as answer:
            return 0 if answer.status == 200 else 1
    except (urllib.error.URLError, OSError):
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
