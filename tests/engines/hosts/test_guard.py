"""Where a name may lead: each special range of IPv4 and IPv6, at its first and last address."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.hosts.guard import SPECIAL, guard, is_local_name, kind_of

EDGES = [
    (kind, str(address))
    for kind, networks in SPECIAL.items()
    for network in map(ip_network, networks)
    for address in (network[0], network[-1])
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "104.18.6.192", "172.15.255.255", "172.32.0.0", "11.0.0.0", "9.255.255.255",
          "100.63.255.255", "100.128.0.0", "169.253.255.255", "169.255.0.0", "126.255.255.255", "128.0.0.0",
          "192.167.255.255", "192.169.0.0", "223.255.255.255", "2606:4700::6812:7c0", "2a00:1450:4001:82a::200e",
          "2003::1", "2001:4860:4860::8888"]  # fmt: skip
OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize(("kind", "address"), EDGES)
def test_a_public_name_leads_to_no_special_address(kind: str, address: str) -> None:
    assert not guard(OPENAI)(address)
    assert kind_of(address) != "public"


@pytest.mark.parametrize("address", PUBLIC)
def test_and_to_any_public_one(address: str) -> None:
    assert guard(OPENAI)(address)
    assert kind_of(address) == "public"


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fe80::1%eth0", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "64:ff9b::a00:1",
     "64:ff9b:1::1", "2002:7f00:1::", "2001:0:53aa:64c::", "::127.0.0.1", "::", "0.0.0.0", "255.255.255.255",
     "fec0::1", "100::1", "5f00::1", "4000::1", "3fff::1", "2001:db8::1", "2001:2::1", "fd00:ec2::254", "", "localhost",
     "127.1", "0x7f.0.0.1", "2130706433", "127.0.0.1 ", "8.8.8.8:80"],
)  # fmt: skip
def test_what_rebinding_would_try(address: str) -> None:
    assert not guard(OPENAI)(address)


@pytest.mark.parametrize("url", ["http://localhost:8000", "http://vllm:8000/v1", "http://gpu.lan", "http://a.internal"])
def test_a_local_name_leads_into_the_house(url: str) -> None:
    allowed = guard(url)
    assert all(allowed(a) for a in ("127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "172.16.0.1", "fd00::1", "8.8.8.8"))
    assert not any(allowed(a) for a in ("169.254.169.254", "fe80::1", "224.0.0.1", "::ffff:127.0.0.1", "0.0.0.0"))


def test_a_public_name_does_so_only_where_it_is_listed() -> None:
    url = "https://llm.firm.example/v1"
    assert not guard(url)("10.0.0.7")
    assert guard(url, ["LLM.firm.example."])("10.0.0.7")
    assert not guard(url, ["llm.firm.example"])("169.254.169.254")
    assert not guard(url, ["firm.example"])("10.0.0.7")


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.5", "[::1]", "[fd00::7]", "169.254.10.1", "93.184.216.34"])
def test_an_address_leads_to_itself_alone(host: str) -> None:
    allowed = guard(f"http://{host}:8000/v1")
    assert allowed(host.strip("[]"))
    assert not any(allowed(a) for a in ("127.0.0.2", "8.8.4.4", "::2", "10.0.0.6"))


def test_a_scope_is_no_other_address() -> None:
    assert guard("http://[fe80::1%25eth0]/v1")("fe80::1")


@pytest.mark.parametrize("name", ["localhost", "vllm", "a.localhost", "b.local", "c.home.arpa", "d.corp", "E.LAN."])
def test_local_names(name: str) -> None:
    assert is_local_name(name)


@pytest.mark.parametrize("name", ["api.openai.com", "localhost.com", "xlocal", "local.example", "127.0.0.1.nip.io"])
def test_names_that_are_not(name: str) -> None:
    assert is_local_name(name) == ("." not in name)


@given(st.integers(0, 2**32 - 1))
def test_no_ipv4_that_python_calls_private_is_public(number: int) -> None:
    ip = IPv4Address(number)
    if ip.is_private or ip.is_multicast or ip.is_reserved or ip.is_loopback or ip.is_link_local:
        assert kind_of(ip) != "public" or ip in ip_network("192.0.0.0/24")


@given(st.one_of(st.integers(0, 2**128 - 1), st.integers(0, 2**32 - 1).map(lambda n: n << 96 | 1)))
def test_no_ipv6_that_python_calls_private_is_public(number: int) -> None:
    ip = IPv6Address(number)
    if ip.is_private or ip.is_multicast or ip.is_reserved or ip.ipv4_mapped or ip.sixtofour or ip.teredo:
        assert kind_of(ip) != "public"


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_is_not_let_in_by_another_writing(number: int) -> None:
    """However an IPv4 address is wrapped, a public name may not lead to it so."""
    allowed = guard(OPENAI)
    plain = int(IPv4Address(number))
    for wrapped in (plain, plain | 0xFFFF << 32, plain | 0x64FF9B << 96, 0x2002 << 112 | plain << 80):
        assert not allowed(str(ip_address(wrapped) if wrapped >= 2**32 else IPv6Address(wrapped)))
