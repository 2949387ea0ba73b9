"""Addresses: stable, unique local, with room for areas."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest

from x0mesh.mesh import address as module
from x0mesh.mesh.address import AddressError, address, collisions, prefix

ID = "spiffe://mesh.example/node/a"


def test_an_address_depends_on_the_identity_alone():
    assert address(ID) == address(ID)
    assert str(address(ID)) == "fd42:77ca:2f97:0:9a72:f3e1:b056:aafd"
    assert address(ID) in IPv6Network("fd00::/8")
    assert address("spiffe://mesh.example/node/b") != address(ID)


def test_nodes_of_one_trust_domain_share_a_prefix_and_others_do_not():
    assert address(ID) in prefix("mesh.example")
    assert address("spiffe://other.example/node/a") not in prefix("mesh.example")
    # The same path in another trust domain is another node altogether.
    assert int(address("spiffe://other.example/node/a")) & (2**64 - 1) != int(address(ID)) & (
        2**64 - 1
    )


def test_the_area_is_the_subnet_and_changes_nothing_else():
    home, moved = address(ID), address(ID, area=0xBEEF)
    assert int(home) ^ int(moved) == 0xBEEF << 64
    assert moved in prefix("mesh.example", 0xBEEF)


@pytest.mark.parametrize("area", [-1, 1 << 16])
def test_areas_out_of_range_are_refused(area):
    with pytest.raises(AddressError):
        address(ID, area)


@pytest.mark.parametrize("bad", ["", "mesh.example/a", "spiffe://", "spiffe://a", "spiffe:///a"])
def test_what_is_no_identity_has_no_address(bad):
    with pytest.raises(AddressError):
        address(bad)


def test_collisions_are_found(monkeypatch):
    ids = [f"spiffe://mesh.example/node/{n}" for n in range(50)]
    assert collisions(ids) == {}
    monkeypatch.setattr(module, "_interface_id", lambda spiffe_id: int(spiffe_id[-1]))
    found = collisions(ids)
    assert len(found) == 10
    assert sum(len(owners) for owners in found.values()) == 50


def test_reserved_interface_identifiers_are_not_used(monkeypatch):
    assert module._is_reserved(0)
    assert module._is_reserved(0xFDFF_FFFF_FFFF_FF80)
    assert not module._is_reserved(int(address(ID)) & (2**64 - 1))
