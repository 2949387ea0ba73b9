from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

from x0mesh.scenarios import faults
from x0mesh.scenarios.faults import FAULTS, Fault

RUN_NOW = {
    "link.down", "link.flap", "link.blackhole", "net.impair", "net.partition", "net.mtu",
    "net.clog", "net.trace", "node.drain", "node.crash", "node.pause", "node.slow",
    "correlated.region", "churn", "cascade.overload", "composite.swarm",
}  # fmt: skip
LATER = {
    "identity.ca_outage", "identity.svid_expiry", "identity.rotation_storm", "identity.revoke",
    "identity.bundle_skew", "identity.key_compromise", "clock.skew", "peer.rogue",
    "tls.downgrade", "attack.replay", "attack.spoof", "attack.route_poison",
    "attack.blackhole", "attack.greyhole", "attack.sybil", "attack.wormhole", "attack.flood",
    "attack.malformed", "xdp.reject", "xdp.detach", "xdp.map_full", "xdp.abort", "xdp.slow",
}  # fmt: skip


def test_the_catalogue_is_complete() -> None:
    assert {kind for kind, cls in FAULTS.items() if cls.available} == RUN_NOW
    assert {kind for kind, cls in FAULTS.items() if not cls.available} == LATER


def test_every_fault_class_of_the_package_is_in_the_catalogue() -> None:
    written = {
        member
        for module in pkgutil.iter_modules(faults.__path__)
        for _, member in inspect.getmembers(
            importlib.import_module(f"{faults.__name__}.{module.name}"), inspect.isclass
        )
        if issubclass(member, Fault) and "kind" in vars(member)
    }
    assert written == {cls for _, cls in FAULTS.items()}


@pytest.mark.parametrize("kind", list(FAULTS))
def test_every_fault_says_what_it_is(kind: str) -> None:
    cls = FAULTS[kind]
    assert cls.kind == kind
    assert cls.__doc__ is not None
    assert cls.__doc__ != Fault.__doc__
    assert cls.engines
    assert cls.model_json_schema()["additionalProperties"] is False


def test_what_cannot_be_undone_says_so() -> None:
    assert [kind for kind, cls in FAULTS.items() if cls.permanent] == ["identity.revoke"]
    assert FAULTS["identity.revoke"].model_validate({}).lasting


def test_only_the_emulation_has_bytes_and_kernel_programs() -> None:
    only = {kind for kind, cls in FAULTS.items() if cls.engines == ("emulation",)}
    assert only == {kind for kind in LATER if kind.startswith("xdp.")} | {
        "attack.replay",
        "tls.downgrade",
    }


def test_clocks_may_be_slow_or_fast() -> None:
    skew = FAULTS["clock.skew"]
    assert skew.model_validate({"offset": "-30m"}).model_dump()["offset"] == -1_800_000_000_000
    assert skew.model_validate({"offset": "+2h"}).model_dump()["offset"] == 7_200_000_000_000
