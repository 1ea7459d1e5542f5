"""Addresses of this machine: who listens on them, and who calls them, never goes through a proxy."""

import ipaddress
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

_DOMAINS: Final = (".localhost", ".localhost.localdomain")
_LISTS: Final = ("ipv4:", "ipv6:")


def is_loopback(host: str) -> bool:
    """Tells whether only this machine can reach an address to listen on."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def channel_options(target: str) -> Sequence[tuple[str, int]]:
    """Returns the options of a channel to a gRPC target: for one on this machine, to use no proxy.

    gRPC obeys `grpc_proxy`, `https_proxy` and `http_proxy` even on loopback, where no proxy can reach the server.
    """
    return [("grpc.enable_http_proxy", 0)] if _is_here(target) else []


def _is_here(target: str) -> bool:
    if target.startswith(_LISTS):
        return all(_host_is_here(address) for address in target.partition(":")[2].split(","))
    # "dns://authority/host:port", "dns:host:port", "host:port"
    rest = target.removeprefix("dns:")
    return _host_is_here(rest.split("/", 3)[-1] if rest.startswith("//") else rest)


def _host_is_here(address: str) -> bool:
    host = unquote(address).strip().lower()
    host = host[1:].partition("]")[0] if host.startswith("[") else host
    host = host.rpartition(":")[0] if host.count(":") == 1 else host
    host = host.rstrip(".")
    if f".{host}".endswith(_DOMAINS):
        return True
    known = _address(host)
    # Nobody but this machine answers at 0.0.0.0 or [::].
    return known is not None and (known.is_loopback or known.is_unspecified)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        known = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return known.ipv4_mapped or known if isinstance(known, ipaddress.IPv6Address) else known
