"""Which addresses of the network may be connected to. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from rag.errors import ConfigError

__all__ = ["networks", "refusal"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Where clouds answer questions about the machine that asks, keys included. Never a document.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"),
    )
)
_SHARED = ipaddress.ip_network("100.64.0.0/10")  # between carriers and their customers, RFC 6598
# IPv6 addresses that lead to the IPv4 address in their last 32 bits, RFC 4291 and 6052.
_EMBEDDING = (IPv6Network("::/96"), IPv6Network("64:ff9b::/96"))
# Not of the public network by IANA's registries of special addresses; versions of Python differ on them.
_SPECIAL: tuple[Network, ...] = tuple(
    map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b:1::/48", "100::/64", "2001::/23", "3fff::/20", "5f00::/16"))
)


def networks(names: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks of a setting. Raises ConfigError for one that is neither an address nor a network."""
    found: list[Network] = []
    for name in names:
        try:
            found.append(ipaddress.ip_network(name.strip(), strict=False))
        except ValueError as error:
            form = "an address or a network, as in 10.0.0.0/8"
            raise ConfigError(f"web.private_networks must hold {form}, got {name!r}") from error
    return tuple(found)


def refusal(address: str, *, allowed: Sequence[Network] = ()) -> str:
    """Return what speaks against connecting to an IP address; "" where nothing does.

    Only addresses of the public network are connected to, and those in ``allowed``. An IPv4 address inside an IPv6
    address is judged like itself. Services of clouds about their own machines are refused whatever is allowed.

    >>> refusal("127.0.0.1"), refusal("::ffff:10.0.0.1"), refusal("93.184.216.34")
    ('a loopback address', 'a private address', '')
    """
    try:
        found: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "no IP address"
    inner = _embedded(found)
    if {found, inner} & _METADATA:
        return "an address of cloud metadata"
    if any(one in network for network in allowed for one in (found, inner)):
        return ""
    return _kind(inner) or _kind(found, is_carrier=inner != found)


def _embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if (mapped := address.ipv4_mapped or address.sixtofour) is not None:
        return mapped
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _EMBEDDING) and int(address) > 1:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _kind(address: Address, *, is_carrier: bool = False) -> str:
    if address.is_unspecified:
        return "the unspecified address"
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if is_carrier:  # the address it carries has been judged
        return ""
    if address in _SHARED:
        return "an address shared by a carrier's customers"
    if any(address in network for network in _SPECIAL):
        return "a reserved address"
    if address.is_private or getattr(address, "is_site_local", False):
        return "a private address"
    if address.is_reserved or not address.is_global:
        return "a reserved address"
    return ""
