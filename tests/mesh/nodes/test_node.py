"""Whole nodes: forming adjacencies, healing, restarting, leaving; bytes and clocks alone."""

from __future__ import annotations

import itertools
from dataclasses import replace

import msgspec
import pytest

from x0mesh.mesh import events, limits
from x0mesh.mesh.adjacency import AdjacencyState
from x0mesh.mesh.codec import signed_content
from x0mesh.mesh.config import MS, DampingConfig, FloodingConfig, S, SpfConfig
from x0mesh.mesh.credential import FakeSigner, FakeVerifier
from x0mesh.mesh.messages import Neighbour, Update

FULL = AdjacencyState.FULL


def test_two_nodes_reach_full_with_bytes_only(network):
    net = network([("a", "b")]).start()
    net.run(3 * S)
    assert net.nodes["a"].adjacency_states() == {"l0": FULL}
    assert net.nodes["b"].adjacency_states() == {"l0": FULL}
    assert (
        net.database("a") == net.database("b") == {"a": [["b", "l0", 10]], "b": [["a", "l0", 10]]}
    )
    assert net.path("a", "b") == ["a", "b"]
    assert net.is_quiet()


def test_ring_of_six_heals_after_a_silent_cut(network, ring_edges):
    net = network(ring_edges).start()
    net.run(20 * S)
    assert net.path("a", "b") == ["a", "b"]
    net.cut(net.link("a", "b"))
    net.run_for(20 * S)
    assert net.path("a", "b") == ["a", "f", "e", "d", "c", "b"]
    assert net.is_quiet()
    net.mend(net.link("a", "b"))
    net.run_for(20 * S)
    assert net.path("a", "b") == ["a", "b"]
    assert net.is_quiet()


def test_cold_to_quiet_is_the_converged_start(network, random_edges):
    edges = random_edges(9, 6, 5)
    cold, converged = network(edges).start(), network(edges).start_converged()
    cold.run(60 * S)
    converged.run(1 * S)
    for name in cold.nodes:
        assert cold.nodes[name].canonical_state() == converged.nodes[name].canonical_state()
    assert converged.messages.total() == 0
    assert converged.is_quiet()
    assert cold.is_quiet()


def test_the_same_inputs_give_the_same_outputs(network, ring_edges):
    logs = []
    for _ in range(2):
        net = network(ring_edges, seed=7).start()
        net.run(12 * S)
        net.cut("l2")
        net.run_for(3 * S)
        net.mend("l2")
        net.crash("e")
        net.run_for(9 * S)
        logs.append([(end.name, end.log, end.events) for end in net.history])
    assert logs[0] == logs[1]


def test_routes_are_repaired_before_anything_is_said(network, ring_edges):
    net = network(ring_edges).start_converged()
    net.run(1 * S)
    before = len(net.ends["a"].log)
    net.carrier_lost("l0")
    after = [entry[1] for entry in net.ends["a"].log[before:]]
    assert after[0] == "install"
    assert "send" in after
    assert after.index("send") < after.index("close")


def test_carrier_loss_is_down_at_once_and_the_link_returns_by_redialling(network, ring_edges):
    net = network(ring_edges).start_converged()
    net.run(1 * S)
    net.carrier_lost("l0")
    downs = [(t, e.reason) for t, e in net.ends["a"].events if e.kind == events.LIVENESS_DOWN]
    assert downs == [(1 * S, "carrier lost")]
    net.run_for(3 * S)
    net.mend("l0")
    net.run_for(20 * S)
    assert net.nodes["a"].adjacency_states() == {"l0": FULL, "l5": FULL}


def test_the_gate_opens_with_the_session_and_closes_with_it(network):
    net = network([("a", "b")]).start()
    assert net.ends["a"].gates == {}
    net.run(3 * S)
    assert net.ends["a"].gates == net.ends["b"].gates == {"l0": True}
    net.cut("l0")
    net.run_for(1 * S)
    assert net.ends["a"].gates == net.ends["b"].gates == {"l0": False}


def test_a_one_sided_advertisement_is_not_used(network):
    """c claims a cheap link to a, of which a knows nothing."""
    net = network([("a", "b", 100), ("b", "c", 100)]).start_converged()
    net.run(1 * S)
    truth = net.nodes["c"].database.newest("c")
    claimed = (Neighbour("a", "lx", 1), *truth.neighbours)
    lie = msgspec.structs.replace(truth, sequence=2, neighbours=claimed)
    lie = msgspec.structs.replace(lie, signature=net.signers["c"].sign(signed_content(lie)))
    net.nodes["b"].receive(net.now, "l1", Update((lie,)))
    net.run(1 * S + 10 * MS)
    assert net.database("a")["c"] == [["a", "lx", 1], ["b", "l1", 100]]
    assert net.nodes["a"].database.graph.edges("c")[0].neighbour == "b"
    net.run_for(20 * S)
    assert net.path("a", "c") == ["a", "b", "c"]
    assert net.nodes["a"].routes["c"].metric == 200


def test_partition_and_merge_end_with_equal_databases(network, ring_edges):
    net = network(ring_edges).start()
    net.run(20 * S)
    net.cut("l0")
    net.cut("l3")
    net.run_for(20 * S)
    assert net.path("b", "d") == ["b", "c", "d"]
    assert net.path("b", "e") is None
    # Both sides go on and learn things the other cannot know.
    net.nodes["b"].set_overload(net.now, True)
    net.nodes["f"].set_overload(net.now, True)
    net.run_for(5 * S)
    assert net.nodes["e"].canonical_state()["overloaded"] == ["f"]
    net.mend("l0")
    net.mend("l3")
    net.run_for(30 * S)
    assert len({str(net.database(name)) for name in net.nodes}) == 1
    assert net.nodes["e"].canonical_state()["overloaded"] == ["b", "f"]
    assert net.is_quiet()


def test_a_cold_restart_wins_with_its_higher_boot_epoch(network, ring_edges):
    net = network(ring_edges).start()
    net.run(20 * S)
    assert net.nodes["b"].database.newest("a").sequence > 1
    net.crash("a")
    net.run_for(5 * S)
    net.boot("a", boot_epoch=2).start(net.now)
    net.run_for(30 * S)
    newest = net.nodes["d"].database.newest("a")
    assert newest.boot_epoch == 2
    assert newest == net.nodes["a"].database.newest("a")
    assert net.path("d", "a") is not None
    assert net.is_quiet()


def test_a_restart_under_the_old_boot_epoch_outdoes_its_earlier_life(network, ring_edges):
    net = network(ring_edges).start()
    net.run(20 * S)
    earlier = net.nodes["d"].database.newest("a")
    net.crash("a")
    net.run_for(5 * S)
    net.boot("a").start(net.now)
    net.run_for(30 * S)
    newest = net.nodes["d"].database.newest("a")
    assert newest.sequence > earlier.sequence
    assert newest == net.nodes["a"].database.newest("a")
    assert "outdoes an earlier life" in net.reasons("a", events.LSA_ORIGINATED)


def test_a_warm_restart_continues_its_sequence_and_knows_the_mesh(network, ring_edges):
    net = network(ring_edges).start()
    net.run(20 * S)
    earlier = net.nodes["a"].database.newest("a")
    snapshot = net.crash("a")
    net.run_for(1 * S)
    net.boot("a").start_warm(net.now, snapshot)
    assert set(net.database("a")) == set("abcdef")
    assert net.nodes["a"].database.newest("a").sequence == earlier.sequence + 1
    net.run_for(30 * S)
    assert "outdoes an earlier life" not in net.reasons("a", events.LSA_ORIGINATED)
    assert net.path("d", "a") is not None
    assert net.is_quiet()


def test_a_replayed_advertisement_is_not_accepted(network, ring_edges):
    net = network(ring_edges).start()
    net.run(5 * S)
    old = net.nodes["c"].database.newest("a")
    net.nodes["a"].set_overload(net.now, True)
    net.run_for(5 * S)
    net.nodes["c"].receive(net.now, "l1", Update((old,)))
    net.run_for(5 * S)
    assert all(node.database.newest("a").overload for node in net.nodes.values())


def test_a_channel_to_the_wrong_neighbour_is_refused(network):
    net = network([("a", "b")])
    net.speaks_as["b"] = "mallory"
    net.start()
    net.run(2 * S)
    assert net.reasons("a", events.SESSION_REFUSED)[0] == "expected b"
    assert net.nodes["a"].adjacency_states() == {"l0": AdjacencyState.DOWN}
    assert True not in net.ends["a"].gates.values()


def test_a_second_channel_replaces_the_first(network, ring_edges):
    net = network(ring_edges).start_converged()
    net.run(1 * S)
    net.ends["a"].dial("l0")
    net.run_for(20 * S)
    assert net.reasons("b", events.SESSION_CLOSED) == ["replaced by a new channel"]
    assert net.nodes["a"].adjacency_states() == {"l0": FULL, "l5": FULL}
    assert net.path("a", "b") == ["a", "b"]
    assert net.is_quiet()


def test_only_the_smaller_name_dials_and_backs_off(network):
    net = network([("a", "b")]).start("a")
    net.run(10 * S)
    dials = [at_ns for at_ns, what, *_ in net.ends["a"].log if what == "dial"]
    failures = 400 * MS + 2 * net.wires["l0"].delay_ns
    pauses = [later - at_ns - failures for at_ns, later in itertools.pairwise(dials)]
    for number, pause_ns in enumerate(pauses):
        longest_ns = min(1000 * MS, 50 * MS << number)
        assert 0.75 * longest_ns <= pause_ns <= longest_ns
    assert len(pauses) >= 6
    assert len(set(pauses[5:])) > 1
    net.start("b")
    net.run_for(5 * S)
    assert net.nodes["b"].adjacency_states() == {"l0": FULL}
    assert "dial" not in [what for _, what, *_ in net.ends["b"].log]


def test_parallel_links_are_adjacencies_of_their_own(network):
    net = network([("a", "b"), ("a", "b"), ("b", "c")]).start()
    net.run(20 * S)
    assert net.database("c")["a"] == [["b", "l0", 10], ["b", "l1", 10]]
    net.cut("l0")
    net.run_for(20 * S)
    assert net.database("c")["a"] == [["b", "l1", 10]]
    assert net.path("a", "c") == ["a", "b", "c"]


def test_a_revoked_neighbour_is_cut_off_everywhere_and_welcomed_back(network, ring_edges):
    net = network(ring_edges).start_converged()
    net.run(1 * S)
    net.verifier.revoked = frozenset({net.signers["a"].credential().fingerprint})
    for name in sorted(net.nodes):
        if name != "a":
            net.nodes[name].trust_changed(net.now)
    assert net.ends["b"].gates["l0"] is False
    assert "credential: revoked" in net.reasons("b", events.SESSION_REFUSED)
    net.run_for(10 * S)
    assert all("a" not in net.database(name) for name in "bcdef")
    assert net.ends["b"].gates["l0"] is False
    assert net.nodes["b"].adjacency_states()["l0"] is not FULL
    assert net.path("b", "f") == ["b", "c", "d", "e", "f"]
    net.verifier.revoked = frozenset()
    for name in sorted(net.nodes):
        net.nodes[name].trust_changed(net.now)
    net.run_for(60 * S)
    assert net.path("b", "f") == ["b", "a", "f"]
    assert len({str(net.database(name)) for name in net.nodes}) == 1


def test_a_new_svid_is_flooded_once_and_believed_everywhere(network, ring_edges):
    net = network(ring_edges).start_converged()
    net.run(1 * S)
    renewed = FakeSigner("a", 48 * 3600 * S, serial=2)
    net.signers["a"] = renewed
    net.nodes["a"].identity_changed(net.now, renewed)
    net.run_for(5 * S)
    fingerprint = renewed.credential().fingerprint
    assert all(n.database.newest("a").fingerprint == fingerprint for n in net.nodes.values())
    assert all(n.database.credential(fingerprint) for n in net.nodes.values())
    carried = [m for _, _, _, m in net.arrivals if m.credentials]
    assert len(carried) == 2 * len(net.wires) - (len(net.nodes) - 1)
    assert net.messages["Request"] == 0
    assert net.count(events.SESSION_CLOSED) == 0


def test_an_svid_that_ends_takes_its_advertisement_and_sessions_along(network, ring_edges):
    net = network(ring_edges)
    net.signers["a"] = FakeSigner("a", 10 * S)
    net.start_converged()
    net.run(10 * S - 1)
    assert "a" in net.database("d")
    assert any("request-svid" in r for r in net.reasons("a", events.HEALING_DECISION))
    net.run_for(1)
    assert all("a" not in net.database(name) for name in net.nodes)
    assert net.reasons("d", events.LSA_EXPIRED) == ["credential: expired"]
    assert not any(net.ends["a"].gates.values())
    assert net.ends["b"].gates["l0"] is False


def test_advertisements_are_refreshed_before_they_lapse_and_the_dead_lapse(network, ring_edges):
    flooding = FloodingConfig(lifetime_ns=40 * S, refresh_ns=20 * S)
    net = network(ring_edges, change=lambda c: replace(c, flooding=flooding)).start()
    net.run(10 * S)
    net.crash("a")
    net.run_for(120 * S)
    assert set(net.database("d")) == set("bcdef")
    assert net.reasons("d", events.LSA_EXPIRED) == ["not refreshed"]
    assert len({str(net.database(name)) for name in net.nodes}) == 1


def test_a_node_that_leaves_withdraws_its_links_before_it_goes(network, ring_edges):
    net = network(ring_edges).start_converged()
    net.run(1 * S)
    net.nodes["a"].withdraw(net.now)
    net.run_for(20 * S)
    assert net.database("d")["a"] == []
    assert net.path("b", "f") == ["b", "c", "d", "e", "f"]
    assert net.count(events.LIVENESS_DOWN) == 0


def test_overload_moves_transit_away(network, ring_edges):
    net = network(ring_edges).start_converged()
    net.run(1 * S)
    net.nodes["a"].set_overload(net.now, True)
    net.run_for(20 * S)
    assert net.path("b", "f") == ["b", "c", "d", "e", "f"]
    assert net.path("b", "a") == ["b", "a"]
    net.nodes["a"].set_overload(net.now, False)
    net.run_for(20 * S)
    assert net.path("b", "f") == ["b", "a", "f"]


def test_bad_news_does_not_wait_behind_good_news(network, ring_edges):
    net = network(ring_edges).start_converged()
    net.run(1 * S)
    net.nodes["a"].set_overload(net.now, True)
    net.nodes["a"].set_overload(net.now, False)  # good news: waits for the gap
    net.run_for(10 * MS)
    assert net.reasons("a", events.LSA_ORIGINATED) == ["overload"]
    assert not net.nodes["a"].quiet
    net.run_for(1 * S)
    assert net.reasons("a", events.LSA_ORIGINATED) == ["overload", "overload over"]
    gap_ns = net.ends["a"].events[-1][0] - net.ends["a"].events[0][0]
    assert gap_ns >= 50 * MS
    net.nodes["a"].set_overload(net.now, False)
    assert len(net.reasons("a", events.LSA_ORIGINATED)) == 2


def test_a_lost_link_is_told_although_good_news_was_just_told(network, ring_edges):
    net = network(ring_edges).start_converged()
    net.run(1 * S)
    net.nodes["a"].set_overload(net.now, True)
    net.run_for(60 * MS)
    net.nodes["a"].set_overload(net.now, False)
    net.run_for(10 * MS)
    net.carrier_lost("l0")
    told = [(t, e.reason) for t, e in net.ends["a"].events if e.kind == events.LSA_ORIGINATED]
    assert told == [
        (1 * S, "overload"),
        (1 * S + 60 * MS, "overload over"),
        (1 * S + 70 * MS, "link l0 down"),
    ]


def test_bad_news_right_after_bad_news_waits_for_the_gap_only(network, ring_edges):
    net = network(ring_edges).start_converged()
    net.run(1 * S)
    net.carrier_lost("l0")
    net.run_for(10 * MS)
    net.carrier_lost("l5")
    net.run_for(1 * S)
    told = [(t, e.reason) for t, e in net.ends["a"].events if e.kind == events.LSA_ORIGINATED]
    assert told == [(1 * S, "link l0 down"), (1 * S + 50 * MS, "link l5 down")]


def test_full_means_that_everything_the_neighbour_knew_is_known(network):
    net = network([("a", "b"), ("b", "c"), ("c", "z")]).start("a", "b", "c")
    net.run(10 * S)
    net.start("z")
    while not net.reasons("z", events.ADJACENCY_FULL):
        net.run_for(100_000)
    assert set(net.database("z")) == set("abcz")


def test_what_one_node_wrongly_refused_it_asks_for_when_trust_changes(network, ring_edges):
    net = network(ring_edges)
    revoked = frozenset({net.signers["a"].credential().fingerprint})
    net.verifiers["d"] = FakeVerifier(revoked)
    net.start()
    net.run(20 * S)
    assert "a" not in net.database("d")
    assert "a" in net.database("c")
    net.verifiers["d"].revoked = frozenset()
    net.nodes["d"].trust_changed(net.now)
    net.run_for(1 * S)
    assert net.database("d") == net.database("c")


def test_a_link_whose_neighbour_was_refused_again_and_again_is_left_alone(network):
    net = network([("a", "b"), ("b", "c")])
    net.speaks_as["b"] = "mallory"
    net.start()
    net.run(4 * S)
    assert any("quarantine" in reason for reason in net.reasons("a", events.HEALING_DECISION))
    del net.speaks_as["b"]
    before = len(net.reasons("a", events.SESSION_REFUSED))
    net.nodes["a"].link_up(net.now, "l0", "b")
    assert net.reasons("a", events.SESSION_REFUSED)[before:] == ["quarantined"]
    net.run_for(2 * S)
    assert net.nodes["a"].adjacency_states() == {"l0": AdjacencyState.DOWN}
    net.run_for(60 * S)
    assert net.nodes["a"].adjacency_states() == {"l0": FULL}
    assert net.is_quiet()


def test_good_news_of_a_flapping_link_is_held_back(network, ring_edges):
    damping = DampingConfig(penalty=1000, suppress=1500, reuse=500, half_life_ns=4 * S)
    net = network(ring_edges, change=lambda c: replace(c, damping=damping)).start_converged()
    net.run(1 * S)
    for _ in range(2):
        net.carrier_lost("l0")
        net.run_for(500 * MS)
        net.mend("l0")
        net.run_for(1500 * MS)
    assert net.nodes["a"].adjacency_states()["l0"] is FULL
    assert net.database("d")["a"] == [["f", "l5", 10]]
    assert not net.nodes["a"].quiet
    assert any("wait" in reason for reason in net.reasons("a", events.HEALING_DECISION))
    net.run_for(30 * S)
    assert net.database("d")["a"] == [["b", "l0", 10], ["f", "l5", 10]]
    assert net.is_quiet()


def test_a_lossy_link_costs_more_and_traffic_leaves_it(network, ring_edges):
    net = network(ring_edges).start_converged()
    net.run(1 * S)
    for _ in range(8):
        net.nodes["a"].lease_report(net.now, "l0", 8, 64)
        net.nodes["b"].lease_report(net.now, "l0", 8, 64)
        net.run_for(1 * S)
    net.run_for(20 * S)
    said = net.nodes["d"].database.newest("a")
    assert said is not None
    reverse = {neighbour.link: neighbour.reverse_metric for neighbour in said.neighbours}
    assert reverse["l0"] > 0 == reverse["l5"]
    assert any("cost-out" in reason for reason in net.reasons("a", events.HEALING_DECISION))
    assert net.path("a", "b") == ["a", "f", "e", "d", "c", "b"]
    for _ in range(40):
        net.nodes["a"].lease_report(net.now, "l0", 64, 64)
        net.nodes["b"].lease_report(net.now, "l0", 64, 64)
        net.run_for(1 * S)
    net.run_for(20 * S)
    assert net.path("a", "b") == ["a", "b"]


def test_loss_in_one_direction_turns_only_that_direction_away(network, ring_edges):
    """Only the receiver can measure it, and the sender must go round (RFC 8500)."""
    net = network(ring_edges).start_converged()
    net.run(1 * S)
    for _ in range(8):
        net.nodes["b"].lease_report(net.now, "l0", 8, 64)
        net.run_for(1 * S)
    net.run_for(20 * S)
    assert net.path("a", "b") == ["a", "f", "e", "d", "c", "b"]
    assert net.path("b", "a") == ["b", "a"]


def test_a_node_whose_timers_run_late_doubts_itself_first(network, ring_edges):
    net = network(ring_edges).start_converged()
    net.run(1 * S)
    node = net.nodes["a"]
    node.timer(net.now, ("router", "learn"), net.now - 400 * MS)
    assert any("stretch-timers" in r for r in net.reasons("a", events.HEALING_DECISION))
    assert events.LIVENESS_ADAPTED in [e.kind for _, e in net.ends["a"].events]


def test_only_the_routes_asked_for_are_installed_and_equal(network, random_edges):
    edges = random_edges(8, 5, 3)
    everything = network(edges).start_converged()
    some = network(
        edges, change=lambda c: replace(c, destinations=frozenset({"n03", "n05"}))
    ).start_converged()
    for name, node in some.nodes.items():
        wanted = {"n03", "n05"} - {name}
        assert set(node.routes) == wanted
        assert all(node.routes[d] == everything.nodes[name].routes[d] for d in wanted)


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_neighbour_that_starts_much_later_is_welcome(network, first):
    net = network([("a", "b")]).start(first)
    net.run(7 * S)
    net.start("b" if first == "a" else "a")
    net.run_for(5 * S)
    assert net.nodes["a"].adjacency_states() == {"l0": FULL}
    assert net.database("a") == net.database("b")


def test_large_databases_are_exchanged_in_bounded_parts(network, monkeypatch):
    monkeypatch.setattr(limits, "MAX_HEADERS", 3)
    monkeypatch.setattr(limits, "MAX_LSAS", 2)
    edges = [(f"n{i:02d}", f"n{i + 1:02d}") for i in range(10)] + [("n10", "z")]
    net = network(edges).start(*[f"n{i:02d}" for i in range(11)])
    net.run(20 * S)
    net.start("z")
    net.run_for(20 * S)
    assert net.database("z") == net.database("n00")
    assert net.is_quiet()


def test_a_partition_is_diagnosed_and_a_start_is_not_one(network, ring_edges):
    net = network(ring_edges).start()
    net.run(20 * S)
    assert net.count(events.HEALING_DECISION) == 0
    for link in ("l0", "l2"):  # b and c on their own
        net.cut(link)
    net.run_for(20 * S)
    decisions = net.reasons("b", events.HEALING_DECISION)
    assert any("partitioned" in reason for reason in decisions), decisions
    assert not any("partitioned" in r for r in net.reasons("e", events.HEALING_DECISION))


def test_the_death_of_a_neighbour_is_told_from_the_loss_of_a_link(network, ring_edges):
    net = network([*ring_edges, ("a", "d")]).start_converged()
    net.run(1 * S)
    net.crash("a")
    net.run_for(2 * S)
    assert any("taken for failed" in r for r in net.reasons("d", events.HEALING_DECISION))
    net = network([*ring_edges, ("a", "d")]).start_converged()
    net.run(1 * S)
    net.cut("l6")
    net.run_for(2 * S)
    assert not any("taken for failed" in r for r in net.reasons("d", events.HEALING_DECISION))


def test_nothing_is_sent_on_a_quiet_mesh(network, ring_edges):
    net = network(ring_edges).start()
    net.run(30 * S)
    net.messages.clear()
    net.run_for(300 * S)
    assert net.messages.total() == 0


def test_a_fast_spf_heals_within_detection_flooding_and_its_delay(network, ring_edges):
    spf = SpfConfig(local_delay_ns=0)
    net = network(ring_edges, change=lambda c: replace(c, spf=spf)).start_converged()
    net.run(1 * S)
    net.cut("l0")
    slowest_flood_ns = sum(wire.delay_ns for wire in net.wires.values())
    net.run_for(300 * MS + slowest_flood_ns + 50 * MS)
    assert net.path("a", "b") == ["a", "f", "e", "d", "c", "b"]
