"""The healing loop: which trouble leads to which decision, said how, and learnt from how."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.mesh.healing import EVIDENCE_KEPT, Decision, Diagnosis, Healer, HealingConfig
from x0mesh.mesh.knowledge import Action, Knowledge, Outcome
from x0mesh.mesh.link_cost import STEPS, LinkCost, cost_factor, expected_transmissions
from x0mesh.mesh.observations import (
    AdjacencyFull,
    CarrierLost,
    ChannelLost,
    Flapping,
    IdentityExpiring,
    IdentityRenewed,
    LossMeasured,
    NeighbourLinks,
    NodeLate,
    Observation,
    Reachability,
    SessionDown,
    SessionRefused,
    Tick,
    duration_text,
)

MS = 1_000_000
S = 1_000_000_000
LINKS = {"a-b": "b", "a-c": "c", "a-d": "d"}
EXPIRED = "control detection time expired"


@pytest.fixture
def healer() -> Healer:
    return Healer("a", LINKS)


def down(link: str = "a-b", switched: int = 12, stranded: int = 0) -> SessionDown:
    return SessionDown(link, LINKS[link], EXPIRED, 3, switched, stranded)


def only(decisions: list[Decision]) -> Decision:
    assert len(decisions) == 1, decisions
    return decisions[0]


def run_deadlines(healer: Healer, until_ns: int) -> list[tuple[int, Decision]]:
    """Tick at every deadline, as the node does."""
    decided = []
    while (due_ns := healer.next_check_ns) is not None and due_ns <= until_ns:
        decided += [(due_ns, decision) for decision in healer.observe(due_ns, Tick())]
    return decided


# Local repair and what follows it.


def test_a_lost_session_is_reported_with_what_local_repair_did(healer: Healer) -> None:
    decision = only(healer.observe(S, down()))
    assert decision.action is Action.SWITCH_TO_REPAIR
    assert decision.reason == ("link a-b: 3 keep-alives missed; 12 routes switched to their repair")
    assert (decision.link, decision.peer) == ("a-b", "b")
    assert decision.evidence == ("now: 3 keep-alives missed",)
    assert decision.diagnosis is Diagnosis.LINK_FAILURE


def test_routes_without_repair_are_said_aloud(healer: Healer) -> None:
    some = only(healer.observe(0, down(switched=1, stranded=2)))
    assert some.reason.endswith(
        "1 route switched to their repair, 2 routes without repair until reconvergence"
    )
    none = only(healer.observe(0, CarrierLost("a-c", "c", stranded=3)))
    assert none.action is Action.WAIT
    assert none.reason.startswith("link a-c: carrier lost; 3 routes without repair")


def test_the_same_loss_seen_twice_is_decided_once(healer: Healer) -> None:
    assert healer.observe(0, down())
    assert healer.observe(1, ChannelLost("a-b", "b", "reset")) == []


def test_a_link_that_stays_down_is_re_authenticated_with_growing_pauses(healer: Healer) -> None:
    healer.observe(0, down())
    decided = run_deadlines(healer, 400 * S)
    tried_ns = [at for at, decision in decided if decision.action is Action.RE_AUTHENTICATE]
    assert tried_ns[0] == 5 * S
    gaps = [after - before for before, after in itertools.pairwise(tried_ns)]
    assert gaps == sorted(gaps)
    assert gaps[0] == 10 * S
    assert gaps[-1] >= 8 * gaps[0]
    assert {decision.action for _, decision in decided} == {Action.RE_AUTHENTICATE, Action.WAIT}
    assert "2 before did not help" in "".join(decision.reason for _, decision in decided)


def test_without_carrier_no_handshake_is_tried(healer: Healer) -> None:
    healer.observe(0, CarrierLost("a-b", "b", switched=4))
    decided = run_deadlines(healer, 100 * S)
    assert decided
    assert all(decision.action is Action.WAIT for _, decision in decided)
    assert "no carrier" in decided[0][1].reason


def test_a_restored_adjacency_settles_what_was_tried(healer: Healer) -> None:
    healer.observe(0, down())
    assert healer.observe(2 * S, AdjacencyFull("a-b", "b")) == []
    assert healer.next_check_ns is None
    (attempt,) = healer.knowledge.attempts
    assert (attempt.action, attempt.outcome) == (Action.SWITCH_TO_REPAIR, Outcome.RESTORED)
    assert attempt.took_ns == 2 * S


def test_a_link_known_to_return_slowly_is_given_more_time() -> None:
    healer = Healer("a", LINKS)
    for i in range(3):
        healer.observe(i * 100 * S, down())
        healer.observe(i * 100 * S + 4 * S, AdjacencyFull("a-b", "b"))
    healer.observe(1000 * S, down())
    assert healer.next_check_ns == 1008 * S


# One cause behind several losses.


def test_two_losses_while_own_timers_are_late_blame_this_node(healer: Healer) -> None:
    stretched = only(healer.observe(0, NodeLate(80 * MS, 2)))
    assert stretched.action is Action.STRETCH_TIMERS
    assert "80 ms late" in stretched.reason
    healer.observe(100 * MS, down("a-b"))
    decisions = healer.observe(200 * MS, down("a-c"))
    assert decisions[-1].diagnosis is Diagnosis.OWN_SLOWNESS
    assert "neighbours are not blamed" in decisions[-1].reason
    after = [d for _, d in run_deadlines(healer, 6 * S) if d.link == "a-c"]
    assert all(decision.action is Action.WAIT for decision in after)


def test_an_outage_that_outlives_own_slowness_is_a_link_failure(healer: Healer) -> None:
    healer.observe(0, NodeLate(80 * MS, 2))
    healer.observe(1, down("a-b"))
    healer.observe(2, down("a-c"))
    healer.observe(S, NodeLate(0, 1))
    after = [d for _, d in run_deadlines(healer, 6 * S) if d.link == "a-c"]
    assert after[0].action is Action.RE_AUTHENTICATE
    assert after[0].diagnosis is Diagnosis.LINK_FAILURE


def test_lateness_is_told_only_when_it_grows(healer: Healer) -> None:
    told = [
        len(healer.observe(i * S, NodeLate(80 * MS, multiplier)))
        for i, multiplier in enumerate([2, 2, 3, 2, 1, 2])
    ]
    assert told == [1, 0, 1, 0, 0, 1]


def test_all_links_lost_is_being_cut_off(healer: Healer) -> None:
    healer.observe(0, down("a-b"))
    healer.observe(1, down("a-c"))
    decisions = healer.observe(2, down("a-d"))
    assert [decision.diagnosis for decision in decisions] == [
        Diagnosis.LINK_FAILURE,
        Diagnosis.PARTITION,
    ]
    assert "all 3 links are down" in decisions[-1].reason


def test_all_parallel_links_lost_is_a_node_failure() -> None:
    healer = Healer("a", {"l1": "b", "l2": "b", "l3": "c"})
    healer.observe(0, SessionDown("l1", "b", EXPIRED, 3))
    decisions = healer.observe(1, SessionDown("l2", "b", EXPIRED, 3))
    assert decisions[-1].diagnosis is Diagnosis.NODE_FAILURE
    assert decisions[-1].reason == "node b: all 2 links to it are down; taken for failed"


def test_advertisements_tell_a_dead_neighbour_from_a_dead_link(healer: Healer) -> None:
    healer.observe(0, down())
    assert healer.observe(1, NeighbourLinks("b", lost=1, known=3)) == []
    node = only(healer.observe(2, NeighbourLinks("b", lost=3, known=3)))
    assert node.diagnosis is Diagnosis.NODE_FAILURE
    assert "3 of 3 links withdrawn by its neighbours" in node.reason
    assert healer.observe(3, NeighbourLinks("b", lost=3, known=3)) == []
    assert {d.action for _, d in run_deadlines(healer, 20 * S)} == {Action.WAIT}
    link = only(healer.observe(20 * S, NeighbourLinks("b", lost=1, known=3)))
    assert link.diagnosis is Diagnosis.LINK_FAILURE


def test_a_live_neighbour_is_never_taken_for_failed(healer: Healer) -> None:
    assert healer.observe(0, NeighbourLinks("b", lost=3, known=3)) == []


@pytest.mark.parametrize(("reachable", "told"), [(6, 0), (5, 1), (0, 1)])
def test_half_or_more_unreachable_is_a_partition(reachable: int, told: int) -> None:
    decisions = Healer("a", LINKS).observe(0, Reachability(reachable, 10))
    assert len(decisions) == told
    assert all(decision.diagnosis is Diagnosis.PARTITION for decision in decisions)


def test_a_partition_is_told_once_and_again_after_it_healed(healer: Healer) -> None:
    told = [len(healer.observe(i, Reachability(n, 10))) for i, n in enumerate([3, 3, 2, 9, 3])]
    assert told == [1, 0, 0, 0, 1]


# Grey failures.


def test_a_lossy_link_is_made_dearer_before_it_dies(healer: Healer) -> None:
    decision = only(healer.observe(0, LossMeasured("a-b", "b", 0.25)))
    assert decision.action is Action.COST_OUT
    assert decision.cost_factor == healer.cost_factor("a-b") == 16.0
    assert decision.reason == (
        "link a-b: 25.0% of keep-alives lost; cost raised from 1 to 16 times its own towards us"
    )


def test_wavering_loss_changes_no_cost(healer: Healer) -> None:
    healer.observe(0, LossMeasured("a-b", "b", 0.25))
    for i in range(50):
        loss = 0.25 if i % 2 else 0.19
        assert healer.observe(i * S, LossMeasured("a-b", "b", loss)) == []


def test_loss_just_under_a_step_is_no_reason_to_be_cheaper(healer: Healer) -> None:
    healer.observe(0, LossMeasured("a-b", "b", 0.25))
    for i in range(10):
        assert healer.observe(i * S, LossMeasured("a-b", "b", 0.19)) == []
    decided = [d for i in range(10, 13) for d in healer.observe(i * S, loss(0.15))]
    assert only(decided).cost_factor == 8.0


def test_the_cost_is_restored_after_calm_and_the_attempt_has_succeeded(healer: Healer) -> None:
    healer.observe(0, LossMeasured("a-b", "b", 0.5))
    decided = [healer.observe(i * S, LossMeasured("a-b", "b", 0.0)) for i in range(1, 6)]
    assert [len(decisions) for decisions in decided] == [0, 0, 1, 0, 0]
    assert decided[2][0].action is Action.RESTORE_COST
    assert decided[2][0].cost_factor == 1.0
    assert healer.knowledge.attempts[0].outcome is Outcome.RESTORED


def test_a_grey_link_that_dies_proves_the_cost_out_in_vain(healer: Healer) -> None:
    healer.observe(0, LossMeasured("a-b", "b", 0.5))
    healer.observe(S, down())
    settled = {a.action: a.outcome for a in healer.knowledge.attempts}
    assert settled[Action.COST_OUT] is Outcome.FAILED
    healer.observe(2 * S, AdjacencyFull("a-b", "b"))
    assert healer.cost_factor("a-b") == STEPS[-1]


def test_ordinary_loss_costs_nothing_and_total_loss_the_most() -> None:
    assert cost_factor(0.0) == cost_factor(0.049) == 1.0
    assert cost_factor(0.05) == 2.0
    assert cost_factor(0.1) == 4.0
    assert cost_factor(1.0) == STEPS[-1]
    assert expected_transmissions(0.05) == pytest.approx(1.0 / 0.95**8)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), max_size=60))
def test_the_factor_is_a_step_never_below_what_the_last_loss_deserves(losses: list[float]) -> None:
    cost = LinkCost()
    for loss_ratio in losses:
        cost.measured(loss_ratio)
        assert cost.factor in STEPS
        assert cost.factor >= cost_factor(loss_ratio)


# Flapping and identity.


def test_a_link_that_flaps_beyond_damping_is_quarantined(healer: Healer) -> None:
    decisions = [only(healer.observe(i * S, Flapping("a-b", "b", 3 + i, 5 * S))) for i in range(3)]
    assert [d.action for d in decisions] == [Action.WAIT, Action.WAIT, Action.QUARANTINE]
    assert decisions[-1].until_ns == healer.quarantined_until_ns("a-b") == 12 * S
    assert decisions[-1].reason == ("link a-b: lost 5 times, held back 5 s; left alone for 10 s")


def test_the_only_way_out_is_never_quarantined_for_flapping() -> None:
    healer = Healer("a", {"a-b": "b"})
    for i in range(5):
        decision = only(healer.observe(i * S, Flapping("a-b", "b", i, 5 * S)))
        assert decision.action is Action.WAIT
    assert "only way out" in decision.reason


def test_no_flapping_peer_is_quarantined_in_a_partition(healer: Healer) -> None:
    healer.observe(0, Reachability(1, 10))
    for i in range(5):
        decision = only(healer.observe(i * S, Flapping("a-b", "b", i, 5 * S)))
        assert decision.action is Action.WAIT


def test_a_peer_refused_repeatedly_is_quarantined_then_given_a_chance(healer: Healer) -> None:
    decided = [d for i in range(3) for d in healer.observe(i * S, refused())]
    assert [d.action for d in decided] == [Action.RE_AUTHENTICATE, Action.QUARANTINE]
    assert decided[-1].reason == (
        "peer b on link a-b was refused: revoked, 3 times in a row; left alone for 10 s"
    )
    assert decided[-1].diagnosis is Diagnosis.IDENTITY_FAULT
    assert healer.observe(3 * S, refused()) == []
    released = only(healer.observe(12 * S, Tick()))
    assert released.action is Action.RE_AUTHENTICATE
    assert "quarantine is over" in released.reason


def test_a_relapse_is_left_alone_twice_as_long(healer: Healer) -> None:
    terms = []
    now = 0
    for _ in range(4):
        for _ in range(3):
            now += S
            for decision in healer.observe(now, refused()):
                if decision.action is Action.QUARANTINE:
                    terms.append(decision.until_ns - now)
                    now = decision.until_ns
    assert terms == [10 * S, 20 * S, 40 * S, 80 * S]


def test_a_return_to_good_manners_is_not_held_against_a_peer(healer: Healer) -> None:
    for i in range(2):
        healer.observe(i * S, refused())
    healer.observe(3 * S, AdjacencyFull("a-b", "b"))
    actions = [d.action for i in range(4, 6) for d in healer.observe(i * S, refused())]
    assert Action.QUARANTINE not in actions


def test_one_neighbour_that_refuses_us_may_err_two_do_not(healer: Healer) -> None:
    first = only(healer.observe(0, refused("a-b", by_peer=True)))
    assert first.action is Action.RE_AUTHENTICATE
    second = only(healer.observe(S, refused("a-c", by_peer=True)))
    assert second.action is Action.REQUEST_SVID
    assert "own identity in doubt" in second.reason


def test_an_expiring_identity_is_asked_for_again_until_it_is_renewed(healer: Healer) -> None:
    first = only(healer.observe(0, IdentityExpiring(20 * S)))
    assert first.action is Action.REQUEST_SVID
    assert first.reason == "node a: own identity ends in 20 s; a new one is requested"
    assert healer.observe(1, IdentityExpiring(20 * S)) == []
    decided = run_deadlines(healer, 19 * S)
    assert len(decided) >= 3
    assert all(decision.action is Action.REQUEST_SVID for _, decision in decided)
    healer.observe(19 * S, IdentityRenewed(100 * S))
    assert healer.next_check_ns is None
    assert healer.knowledge.attempts[-1].outcome is Outcome.RESTORED


def test_losing_a_quarantined_link_does_not_cancel_its_release(healer: Healer) -> None:
    for i in range(3):
        healer.observe(i * S, refused())
    healer.observe(3 * S, ChannelLost("a-b", "b", "quarantined"))
    actions = [d.action for _, d in run_deadlines(healer, 12 * S)]
    assert Action.RE_AUTHENTICATE in actions


def loss(loss_ratio: float) -> LossMeasured:
    return LossMeasured("a-b", "b", loss_ratio)


def refused(link: str = "a-b", by_peer: bool = False) -> SessionRefused:
    return SessionRefused(link, LINKS[link], "revoked", by_peer)


# Knowledge.


def test_knowledge_backs_off_doubling_and_forgets_with_success() -> None:
    knowledge = Knowledge(16, 5 * S, 20 * S)
    now = 0
    pauses = []
    for _ in range(5):
        knowledge.began(now, Action.RE_AUTHENTICATE, "l", S)
        now += S
        assert [a.outcome for a in knowledge.overdue(now)] == [Outcome.FAILED]
        pauses.append(knowledge.backoff_ns(Action.RE_AUTHENTICATE, "l"))
        assert not knowledge.is_worth_trying(now + pauses[-1] - 1, Action.RE_AUTHENTICATE, "l")
        assert knowledge.is_worth_trying(now + pauses[-1], Action.RE_AUTHENTICATE, "l")
    assert pauses == [5 * S, 10 * S, 20 * S, 20 * S, 20 * S]
    assert knowledge.is_worth_trying(now, Action.RE_AUTHENTICATE, "other")
    knowledge.began(now, Action.RE_AUTHENTICATE, "l", S)
    knowledge.ended(now, "l", Outcome.RESTORED, (Action.RE_AUTHENTICATE,))
    assert knowledge.is_worth_trying(now, Action.RE_AUTHENTICATE, "l")


def test_durations_are_said_shortly() -> None:
    texts = [duration_text(ns) for ns in (0, 999, 1500, 120 * MS, 1_500 * MS, 90 * S, 3600 * S)]
    assert texts == ["0 ns", "999 ns", "1.5 us", "120 ms", "1.5 s", "1.5 min", "1 h"]


# Anything at all.


links = st.sampled_from(sorted(LINKS))
observations: st.SearchStrategy[Observation] = st.one_of(
    st.builds(lambda link, n: down(link, n), links, st.integers(0, 3)),
    st.builds(lambda link: CarrierLost(link, LINKS[link]), links),
    st.builds(lambda link: ChannelLost(link, LINKS[link], "reset"), links),
    st.builds(lambda link: AdjacencyFull(link, LINKS[link]), links),
    st.builds(lambda link, p: LossMeasured(link, LINKS[link], p), links, st.floats(0, 1)),
    st.builds(lambda link, n: Flapping(link, LINKS[link], n, S), links, st.integers(1, 9)),
    st.builds(refused, links, st.booleans()),
    st.builds(IdentityExpiring, st.integers(0, 1000 * S)),
    st.just(IdentityRenewed(10_000 * S)),
    st.builds(NeighbourLinks, st.sampled_from("bcde"), st.integers(0, 3), st.just(3)),
    st.builds(Reachability, st.integers(0, 10), st.just(10)),
    st.builds(NodeLate, st.integers(0, S), st.integers(1, 8)),
    st.just(Tick()),
)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20 * S), observations), max_size=60))
def test_any_history_gives_bounded_reasoned_repeatable_decisions(
    history: list[tuple[int, Observation]],
) -> None:
    config = HealingConfig(memory=16)
    one, two = Healer("a", LINKS, config), Healer("a", LINKS, config)
    now = 0
    for gap_ns, observation in history:
        now += gap_ns
        decisions = one.observe(now, observation)
        assert decisions == two.observe(now, observation)
        assert len(one.knowledge.attempts) <= 2 * config.memory
        assert one.next_check_ns is None or one.next_check_ns > now
        for decision in decisions:
            assert decision.reason
            assert len(decision.evidence) <= EVIDENCE_KEPT
            assert decision.peer == LINKS.get(decision.link, "")
            assert (decision.action is Action.QUARANTINE) == (decision.until_ns > 0)
