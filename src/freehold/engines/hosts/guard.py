"""Which addresses may be connected to: a name may not lead where it has no business (DNS rebinding, SSRF).

    what freehold.toml names                     where it may lead
    an address: 127.0.0.1, 10.1.2.3, [fd00::1]   there, and nowhere else
    a local name: localhost, vllm, gpu.lan       the machine itself and private networks, and public addresses
    a public name: api.openai.com                public addresses only
    a public name listed as inside the house     as a local name

Never: link-local (169.254.169.254 tells a cloud's keys), multicast, reserved, and IPv6 that wraps another address
(IPv4-mapped, NAT64, 6to4, Teredo). What is checked is the address that is connected to, after the name was looked up.
The table is of IANA's special-purpose registries (RFC 6890 and later); Python's own is_global differs by version.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

__all__ = ["guard", "is_local_name", "kind_of"]

Address = IPv4Address | IPv6Address

SPECIAL = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "wrapped": ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16",
                "2001::/32", "192.88.99.0/24"),
    "reserved": ("0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
                 "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "fec0::/10"),
}  # fmt: skip
PUBLIC6 = IPv6Network("2000::/3")  # all that was ever given out
KEPT6 = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20"))
TABLE: list[tuple[str, IPv4Network | IPv6Network]] = [
    (kind, ip_network(text)) for kind, texts in SPECIAL.items() for text in texts
]
# Endings that no public name has: RFC 6761, 6762, 8375, ICANN's .internal, and what routers and clusters use.
ENDINGS = (".localhost", ".local", ".internal", ".lan", ".intranet", ".home.arpa", ".home", ".corp")
HOUSE = frozenset({"public", "loopback", "private"})


def kind_of(address: str | Address) -> str:
    """public, loopback, private, link-local, multicast, wrapped or reserved. Raises ValueError for no address."""
    ip = address if isinstance(address, IPv4Address | IPv6Address) else ip_address(address)
    for kind, network in TABLE:
        if ip.version == network.version and ip in network:
            return kind
    if isinstance(ip, IPv6Address) and (ip not in PUBLIC6 or any(ip in network for network in KEPT6)):
        return "reserved"
    return "public"


def is_local_name(host: str) -> bool:
    """Whether a name can only mean something in this house: one word, or an ending that is kept for that."""
    name = host.lower().rstrip(".")
    return "." not in name or name.endswith(ENDINGS)


def guard(url: str, inside: Collection[str] = ()) -> Callable[[str], bool]:
    """For the host of `url`: allowed(address) says whether an address, as text, may be connected to.

    `inside` are public names that may lead to addresses in the house.
    """
    host = (urlsplit(url).hostname or "").lower().rstrip(".")
    literal = _literal(host)
    if literal is not None:
        return lambda address: _literal(address) == literal
    kinds = HOUSE if is_local_name(host) or host in {name.lower().rstrip(".") for name in inside} else {"public"}

    def allowed(address: str) -> bool:
        ip = _literal(address)
        return ip is not None and kind_of(ip) in kinds

    return allowed


def _literal(text: str) -> Address | None:
    """An address, whatever its scope; None for a name. 127.1 or 0x7f.1 are names here: only dotted quads are read."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None
