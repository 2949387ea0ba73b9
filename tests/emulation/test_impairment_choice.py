"""Which backend a run gets, what netem is told, and what each one refuses."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import time

import pytest

from x0mesh.emulation import impairment as choice
from x0mesh.emulation.impairment import (
    BackendError,
    UnsupportedImpairmentError,
    choose_backend,
    needs,
    unavailable,
)
from x0mesh.emulation.impairments import netem
from x0mesh.emulation.impairments.netem import NetemLink, netem_arguments
from x0mesh.emulation.namespaces import NetNamespace
from x0mesh.emulation.rtnetlink import RtNetlink, create_veth, set_link
from x0mesh.scenarios.actions import LinkBlock, LinkImpair
from x0mesh.scenarios.impairment import GilbertElliott, Impairment
from x0mesh.scenarios.plan import At, FaultPlan, LinkPlan, NodePlan, Plan, Step

MS = 1_000_000
BURST = GilbertElliott(good_ns=100 * MS, bad_ns=10 * MS)


def _plan(*actions: LinkImpair | LinkBlock) -> Plan:
    return Plan(
        scenario="s",
        scenario_sha256="",
        seed=1,
        replication=0,
        nodes=(NodePlan("a"), NodePlan("b")),
        links=(LinkPlan("a-b", "a", "b", Impairment(delay_ns=MS), Impairment(loss=0.5)),),
        flows=(),
        faults=tuple(
            FaultPlan(f"f{place}", "x", At(0), None, (Step(0, action),), links=("a-b",))
            for place, action in enumerate(actions)
        ),
        warmup_ns=0,
        chaos_ns=1,
        settle_ns=0,
    )


def test_needs_are_everything_that_may_be_in_force_at_once() -> None:
    impairments, modes = needs(
        _plan(
            LinkImpair("a-b", "forward", Impairment(rate_bps=1000)),
            LinkImpair("a-b", "both", Impairment(delay_ns=2 * MS)),
            LinkBlock("a-b", "both", "queue"),
        )
    )
    assert impairments == [
        Impairment(delay_ns=3 * MS, rate_bps=1000),
        Impairment(delay_ns=2 * MS, loss=0.5),
    ]
    assert modes == {"queue"}


@pytest.mark.parametrize(
    ("impairment", "parameter"),
    [
        (Impairment(burst=BURST), "burst"),
        (Impairment(mtu=1280), "mtu"),
        (Impairment(delay_ns=270_001 * MS), "delay"),
        (Impairment(rate_bps=1000, delay_ns=1), "rate"),
        (Impairment(rate_bps=1000, jitter_ns=1), "rate"),
    ],
)
def test_netem_refuses_what_it_would_do_differently(impairment: Impairment, parameter: str) -> None:
    with pytest.raises(UnsupportedImpairmentError) as refusal:
        netem_arguments("e0", impairment)
    assert (refusal.value.backend, refusal.value.parameter) == ("netem", parameter)


def test_netem_refuses_to_hold_frames() -> None:
    with pytest.raises(UnsupportedImpairmentError, match="block queue"):
        NetemLink(0, "e0", "e1").block("forward", "queue")


def test_netem_goes_first_unless_the_plan_asks_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "unavailable", lambda name: "")
    assert choose_backend() == "netem"
    assert choose_backend([Impairment(delay_ns=1)], ["drop"]) == "netem"
    assert choose_backend([Impairment(burst=BURST)]) == "delay-line"
    assert choose_backend([], ["queue"]) == "delay-line"


def test_a_host_without_any_backend_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "unavailable", lambda name: f"no luck with {name}")
    with pytest.raises(BackendError, match=r"netem: no luck with netem; delay-line: no luck"):
        choose_backend()


def test_a_missing_tool_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert unavailable("netem") == "no unshare"


def test_netem_is_told_every_parameter_every_time() -> None:
    everything = Impairment(
        delay_ns=12_345_678,
        jitter_ns=1_000_500,
        loss=0.015,
        reorder=0.25,
        duplicate=0.001,
        corrupt=0.0001,
    )
    assert " ".join(netem_arguments("m1", everything)) == (
        "qdisc replace dev m1 root handle 1: netem limit 100000 delay 12345.678us 1000.500us "
        "loss random 1.500000% duplicate 0.100000% reorder 25.000000% corrupt 0.010000% "
        "rate 0bit -14"
    )
    assert " ".join(
        netem_arguments("m1", Impairment(rate_bps=2_000_000, queue=20, reorder=0.5))
    ) == (
        "qdisc replace dev m1 root handle 1: netem limit 21 delay 0.000us 0.000us "
        "loss random 0.000000% duplicate 0.000000% reorder 0.000000% corrupt 0.000000% "
        "rate 2000000bit -14"
    )


def _tc(namespace: NetNamespace, arguments: list[str]) -> str:
    return subprocess.run(
        ["nsenter", f"--net=/proc/self/fd/{namespace.fd}", "tc", *arguments],
        pass_fds=[namespace.fd],
        capture_output=True,
        text=True,
        check=False,
    ).stderr


def _wait_operational(netlink: RtNetlink) -> None:
    """A link that has only just come up drops what is sent."""
    give_up = time.monotonic() + 30
    while not all(link.operational or link.index == 1 for link in netlink.links()):
        assert time.monotonic() < give_up
        select.select([], [], [], 0.002)


@pytest.fixture
def privileged() -> None:
    if os.geteuid():
        pytest.skip("needs root for network namespaces")
    for tool in ("tc", "nsenter", "unshare"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")


@pytest.mark.usefixtures("privileged")
@pytest.mark.parametrize(
    "impairment",
    [
        Impairment(),
        Impairment(delay_ns=12_345_678, jitter_ns=1_000_500, loss=1e-6, reorder=1.0),
        Impairment(rate_bps=1, queue=1, duplicate=1.0, corrupt=1.0),
        Impairment(rate_bps=100_000_000_000),
        Impairment(delay_ns=270_000 * MS, jitter_ns=270_000 * MS),
    ],
)
def test_tc_understands_the_arguments(impairment: Impairment) -> None:
    with NetNamespace.create(ipv6=False) as namespace:
        complaint = _tc(namespace, netem_arguments("lo", impairment)).strip()
    # What the kernel says where it has no netem; a wrong argument ends before it is asked.
    assert complaint in ("", "Error: Specified qdisc kind is unknown.")


@pytest.mark.usefixtures("privileged")
def test_the_redirecting_filter_forwards_until_it_is_taken_away() -> None:
    with (
        NetNamespace.create(ipv6=False) as middle,
        NetNamespace.create(ipv6=False) as end_a,
        NetNamespace.create(ipv6=False) as end_b,
        RtNetlink(middle) as netlink,
    ):
        netlink.batch(
            [
                create_veth("ma", middle.fd, 11, "e", end_a.fd, 21),
                create_veth("mb", middle.fd, 12, "e", end_b.fd, 22),
                set_link(11, up=True),
                set_link(12, up=True),
            ]
        )
        for space, index in ((end_a, 21), (end_b, 22)):
            with RtNetlink(space) as end_netlink:
                end_netlink.batch([set_link(index, up=True)])
                _wait_operational(end_netlink)
        _wait_operational(netlink)
        if "unknown" in (refusal := _tc(middle, netem.ingress_arguments("ma"))):
            pytest.skip(f"clsact: {refusal}")
        if "Error" in (refusal := _tc(middle, netem.redirect_arguments("ma", "mb"))):
            pytest.skip(f"u32 and mirred: {refusal}")
        with (
            end_a.open_socket(socket.AF_PACKET, socket.SOCK_RAW) as sender,
            end_b.open_socket(socket.AF_PACKET, socket.SOCK_RAW) as receiver,
        ):
            sender.bind(("e", 0))
            receiver.bind(("e", 0x88B5))
            receiver.settimeout(30)
            frame = bytes(12) + b"\x88\xb5" + bytes(50)
            sender.send(frame + b"first")
            assert receiver.recv(2048).endswith(b"first")
            assert _tc(middle, netem.stop_arguments("ma")) == ""
            sender.send(frame + b"second")
            assert _tc(middle, netem.redirect_arguments("ma", "mb")) == ""
            sender.send(frame + b"third")
            assert receiver.recv(2048).endswith(b"third")
