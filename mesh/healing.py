"""The healing loop (MAPE-K: monitor, analyse, plan, execute over knowledge), without I/O.

The node states observations; `Healer.observe` answers with decisions, each with its reason. No
timer of its own: it looks at its deadlines whenever something is observed, `Tick` included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from x0mesh.mesh.knowledge import Action, Knowledge, Outcome
from x0mesh.mesh.link_cost import LinkCost
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
    count_text,
    duration_text,
)

S: Final = 1_000_000_000
EVIDENCE_KEPT: Final = 8
THIS_NODE: Final = ""
RECOVERIES: Final = (Action.SWITCH_TO_REPAIR, Action.WAIT, Action.RE_AUTHENTICATE)


class Diagnosis(Enum):
    """What the loop takes the trouble to be."""

    LINK_FAILURE = "link failure"
    NODE_FAILURE = "node failure"
    PARTITION = "partition"
    GREY_FAILURE = "grey failure"
    FLAPPING = "flapping"
    OWN_SLOWNESS = "own slowness"
    IDENTITY_FAULT = "identity fault"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about `link` (peer behind it; both "" for the node itself), and why.

    - switch-to-repair: the router has switched already; recorded. wait, stretch-timers: nothing
      to do, the sessions stretch themselves.
    - cost-out, restore-cost: ask the neighbour, who sends what is lost here, to count the link
      `cost_factor` times its configured cost.
    - quarantine: close the channel, neither dial nor accept before `until_ns`.
    - re-authenticate: close a channel that is not Full and dial afresh, now.
    - request-svid: ask the identity source for a new SVID.
    """

    action: Action
    link: str
    peer: str
    reason: str
    evidence: tuple[str, ...]
    diagnosis: Diagnosis
    cost_factor: float = 1.0
    until_ns: int = 0


@dataclass(frozen=True, slots=True)
class HealingConfig:
    """Time limits and bounds of the loop.

    `window_ns`: losses closer together than this may have one cause. `patience_ns`: how long an
    action may take to help. A peer refused, or held back for flapping, `strikes` times within
    `strike_window_ns` is quarantined for `quarantine_ns`, twice as long the next time.
    """

    window_ns: int = 1 * S
    patience_ns: int = 5 * S
    backoff_ns: int = 5 * S
    backoff_max_ns: int = 300 * S
    strikes: int = 3
    strike_window_ns: int = 30 * S
    quarantine_ns: int = 10 * S
    quarantine_max_ns: int = 600 * S
    memory: int = 256


@dataclass(slots=True)
class _Outage:
    """A link that is down: since when, and what it is taken for."""

    since_ns: int
    has_carrier: bool
    diagnosis: Diagnosis = Diagnosis.LINK_FAILURE
    waits: int = 0


@dataclass(slots=True)
class _Link:
    peer: str
    cost: LinkCost = field(default_factory=LinkCost)
    outage: _Outage | None = None
    lost_ns: int | None = None
    refusals: list[int] = field(default_factory=list)
    holds: list[int] = field(default_factory=list)
    released_ns: int = 0
    term_ns: int = 0
    evidence: list[tuple[int, str]] = field(default_factory=list)


class Healer:
    """One node's healing loop over its configured `links` (link to the peer behind it).

    `observe(now, observation)` returns decisions in the order to carry them out; call it again
    with `Tick()` at `next_check_ns`. Same observations, same decisions. State is bounded by the
    number of links and `HealingConfig.memory`.
    """

    def __init__(
        self, name: str, links: Mapping[str, str], config: HealingConfig | None = None
    ) -> None:
        self._name = name
        self._config = config or HealingConfig()
        self._links = {link: _Link(peer) for link, peer in links.items()}
        self._node_evidence: list[tuple[int, str]] = []
        self._late_ns: int | None = None
        self._stretch = 1
        self._is_partitioned = False
        self._identity_expires_ns: int | None = None
        self.knowledge = Knowledge(
            self._config.memory, self._config.backoff_ns, self._config.backoff_max_ns
        )

    @property
    def next_check_ns(self) -> int | None:
        """When a `Tick` is due; None while nothing is waited for."""
        return self.knowledge.next_due_ns

    def cost_factor(self, link: str) -> float:
        """The cost factor in force on this link, 1.0 if loss is ordinary."""
        return self._links[link].cost.factor

    def quarantined_until_ns(self, link: str) -> int:
        """End of the link's quarantine, 0 if it was never in one."""
        return self._links[link].released_ns

    def observe(self, now: int, observation: Observation) -> list[Decision]:
        """Learn one fact and decide. Links must be among the configured ones."""
        decisions = self._check_deadlines(now)
        match observation:
            case SessionDown() | CarrierLost() | ChannelLost():
                decisions += self._lost(now, observation)
            case AdjacencyFull():
                self._restored(now, observation)
            case LossMeasured():
                decisions += self._loss_measured(now, observation)
            case Flapping():
                decisions += self._flapping(now, observation)
            case SessionRefused():
                decisions += self._refused(now, observation)
            case IdentityExpiring():
                decisions += self._identity_expiring(now, observation)
            case IdentityRenewed():
                self._note(now, THIS_NODE, observation)
                self._identity_expires_ns = None
                self.knowledge.ended(now, THIS_NODE, Outcome.RESTORED, (Action.REQUEST_SVID,))
            case NeighbourLinks():
                decisions += self._neighbour_links(now, observation)
            case Reachability():
                decisions += self._reachability(now, observation)
            case NodeLate():
                decisions += self._node_late(now, observation)
            case Tick():
                pass
        return decisions

    # A link is lost: say what local repair did, then what it may mean.

    def _lost(
        self, now: int, observation: SessionDown | CarrierLost | ChannelLost
    ) -> list[Decision]:
        name = observation.link
        link = self._links[name]
        self._note(now, name, observation)
        if link.outage is not None:
            if isinstance(observation, CarrierLost):
                link.outage.has_carrier = False
            return []
        link.outage = _Outage(now, has_carrier=not isinstance(observation, CarrierLost))
        link.lost_ns = now
        self.knowledge.ended(now, name, Outcome.FAILED, (*RECOVERIES, Action.COST_OUT))

        switched, stranded = observation.switched, observation.stranded
        clauses = []
        if switched:
            clauses.append(f"{count_text(switched, 'route')} switched to their repair")
        if stranded:
            clauses.append(f"{count_text(stranded, 'route')} without repair until reconvergence")
        action = Action.SWITCH_TO_REPAIR if switched else Action.WAIT
        outcome = ", ".join(clauses) or "no route used it"
        reason = f"link {name}: {observation}; {outcome}"
        decision = self._decide(now, action, name, reason, Diagnosis.LINK_FAILURE)
        self.knowledge.began(now, action, name, self._patience_ns(name))
        return [decision, *self._analyse_losses(now, name)]

    def _analyse_losses(self, now: int, name: str) -> list[Decision]:
        """Several losses close together may have one cause: this node, a neighbour, or a cut."""
        since_ns = now - self._config.window_ns
        link = self._links[name]
        down = [other for other in self._links.values() if other.outage is not None]
        recent = [
            other for other in down if other.lost_ns is not None and other.lost_ns >= since_ns
        ]
        if self._late_ns is not None and self._late_ns >= since_ns and len(recent) >= 2:
            reason = (
                f"node {self._name}: {count_text(len(recent), 'session')} lost within "
                f"{duration_text(self._config.window_ns)} while its own timers ran late; "
                "the neighbours are not blamed"
            )
            return self._rediagnose(now, name, Diagnosis.OWN_SLOWNESS, reason)
        if len(down) == len(self._links) >= 2:
            reason = (
                f"node {self._name}: all {len(down)} links are down; cut off, "
                "waiting for any neighbour"
            )
            return self._rediagnose(now, name, Diagnosis.PARTITION, reason)
        parallel = [other for other in self._links.values() if other.peer == link.peer]
        if len(parallel) >= 2 and all(other.outage is not None for other in parallel):
            reason = f"node {link.peer}: all {len(parallel)} links to it are down; taken for failed"
            return self._rediagnose(now, name, Diagnosis.NODE_FAILURE, reason)
        return []

    def _rediagnose(self, now: int, name: str, diagnosis: Diagnosis, reason: str) -> list[Decision]:
        outage = self._links[name].outage
        assert outage is not None, name
        if outage.diagnosis is diagnosis:
            return []
        outage.diagnosis = diagnosis
        is_own = diagnosis is Diagnosis.OWN_SLOWNESS
        action = Action.STRETCH_TIMERS if is_own else Action.WAIT
        return [self._decide(now, action, name, reason, diagnosis)]

    def _neighbour_links(self, now: int, observation: NeighbourLinks) -> list[Decision]:
        names = [name for name, link in self._links.items() if link.peer == observation.peer]
        outages = [self._links[name].outage for name in names]
        if not names or any(outage is None for outage in outages):
            return []
        for name in names:
            self._note(now, name, observation)
        is_node = 0 < observation.known <= observation.lost
        if is_node:
            diagnosis = Diagnosis.NODE_FAILURE
            reason = f"node {observation.peer}: silent here and {observation}; taken for failed"
        else:
            diagnosis = Diagnosis.LINK_FAILURE
            reason = f"node {observation.peer}: {observation}; only the way to it is lost"
        decisions: list[Decision] = []
        for name, outage in zip(names, outages, strict=True):
            if outage is not None and (is_node or outage.diagnosis is Diagnosis.NODE_FAILURE):
                decisions += self._rediagnose(now, name, diagnosis, reason)
        return decisions[:1]

    def _reachability(self, now: int, observation: Reachability) -> list[Decision]:
        is_partitioned = observation.known >= 2 and 2 * observation.reachable <= observation.known
        was_partitioned = self._is_partitioned
        self._is_partitioned = is_partitioned
        if is_partitioned == was_partitioned:
            return []
        self._note(now, THIS_NODE, observation)
        if not is_partitioned:
            return []
        reason = (
            f"node {self._name}: {observation}; the mesh is partitioned, which no repair mends; "
            "lost neighbours are dialled on, none is quarantined for flapping"
        )
        return [self._decide(now, Action.WAIT, THIS_NODE, reason, Diagnosis.PARTITION)]

    def _restored(self, now: int, observation: AdjacencyFull) -> None:
        link = self._links[observation.link]
        self._note(now, observation.link, observation)
        link.outage = None
        link.refusals.clear()
        self.knowledge.ended(now, observation.link, Outcome.RESTORED, RECOVERIES)

    # Deadlines: what did not help in time is not simply repeated.

    def _check_deadlines(self, now: int) -> list[Decision]:
        decisions: list[Decision] = []
        for attempt in self.knowledge.overdue(now):
            match attempt.action:
                case Action.REQUEST_SVID:
                    decisions += self._request_svid_again(now)
                case Action.QUARANTINE:
                    decisions += self._release(now, attempt.target)
                case Action.SWITCH_TO_REPAIR | Action.WAIT | Action.RE_AUTHENTICATE:
                    decisions += self._escalate(now, attempt.target)
                case Action.COST_OUT | Action.RESTORE_COST | Action.STRETCH_TIMERS:
                    raise AssertionError(attempt)  # open-ended by construction
        return decisions

    def _escalate(self, now: int, name: str) -> list[Decision]:
        link = self._links[name]
        outage = link.outage
        if outage is None or now < link.released_ns:
            return []
        if any(self.knowledge.is_open(action, name) for action in RECOVERIES):
            return []
        self._reconsider(outage)
        down_text = f"link {name}: still down after {duration_text(now - outage.since_ns)}"
        may_help = (
            outage.has_carrier
            and not self._is_partitioned
            and outage.diagnosis in (Diagnosis.LINK_FAILURE, Diagnosis.IDENTITY_FAULT)
        )
        failures = self.knowledge.failures_in_a_row(Action.RE_AUTHENTICATE, name)
        if may_help and self.knowledge.is_worth_trying(now, Action.RE_AUTHENTICATE, name):
            self.knowledge.began(now, Action.RE_AUTHENTICATE, name, self._config.patience_ns)
            reason = f"{down_text}; a fresh handshake is tried"
            if failures:
                reason += f" again, {failures} before did not help"
            return [self._decide(now, Action.RE_AUTHENTICATE, name, reason, outage.diagnosis)]
        pause_ns = max(
            self.knowledge.backoff_ns(Action.RE_AUTHENTICATE, name) if may_help else 0,
            min(self._config.backoff_max_ns, self._config.patience_ns << min(outage.waits, 32)),
        )
        outage.waits += 1
        self.knowledge.began(now, Action.WAIT, name, pause_ns)
        cause = outage.diagnosis.value if outage.has_carrier else "no carrier"
        reason = f"{down_text} ({cause}); looked at again in {duration_text(pause_ns)}"
        return [self._decide(now, Action.WAIT, name, reason, outage.diagnosis)]

    def _reconsider(self, outage: _Outage) -> None:
        """An outage outlives what it was blamed on."""
        is_cut_off = self._is_partitioned or all(
            link.outage is not None for link in self._links.values()
        )
        if (outage.diagnosis is Diagnosis.OWN_SLOWNESS and self._stretch == 1) or (
            outage.diagnosis is Diagnosis.PARTITION and not is_cut_off
        ):
            outage.diagnosis = Diagnosis.LINK_FAILURE

    def _patience_ns(self, name: str) -> int:
        """A link that usually comes back by itself is given about twice its usual time."""
        usual_ns = self.knowledge.usual_outage_ns(name)
        if usual_ns is None:
            return self._config.patience_ns
        limit_ns = 4 * self._config.patience_ns
        return max(self._config.patience_ns, min(2 * usual_ns, limit_ns))

    # Grey failures and flapping.

    def _loss_measured(self, now: int, observation: LossMeasured) -> list[Decision]:
        name = observation.link
        cost = self._links[name].cost
        before = cost.factor
        if not cost.measured(observation.loss_ratio):
            return []
        self._note(now, name, observation)
        is_dearer = cost.factor > before
        if is_dearer:
            action = Action.COST_OUT
            if not self.knowledge.is_open(action, name):
                self.knowledge.began(now, action, name, None)
        else:
            action = Action.RESTORE_COST
            if cost.factor == 1.0:
                self.knowledge.ended(now, name, Outcome.RESTORED, (Action.COST_OUT,))
        reason = (
            f"link {name}: {observation}; cost {'raised' if is_dearer else 'lowered'} "
            f"from {before:g} to {cost.factor:g} times its own towards us"
        )
        return [self._decide(now, action, name, reason, Diagnosis.GREY_FAILURE)]

    def _flapping(self, now: int, observation: Flapping) -> list[Decision]:
        name = observation.link
        link = self._links[name]
        self._note(now, name, observation)
        if now < link.released_ns:
            return []
        text = f"link {name}: {observation}"
        if not self._struck(now, link.holds):
            return [self._decide(now, Action.WAIT, name, text, Diagnosis.FLAPPING)]
        has_other = any(
            other.outage is None and other is not link and now >= other.released_ns
            for other in self._links.values()
        )
        if self._is_partitioned or not has_other:
            reason = f"{text}; kept all the same, it may be the only way out"
            return [self._decide(now, Action.WAIT, name, reason, Diagnosis.FLAPPING)]
        return [self._quarantine(now, name, text, Diagnosis.FLAPPING)]

    # Identity.

    def _refused(self, now: int, observation: SessionRefused) -> list[Decision]:
        name = observation.link
        link = self._links[name]
        self._note(now, name, observation)
        if now < link.released_ns:
            return []
        text = f"peer {link.peer} on link {name} {observation}"
        if link.outage is not None:
            link.outage.diagnosis = Diagnosis.IDENTITY_FAULT
        if observation.by_peer:
            return self._refused_by_peer(now, name, text)
        if self._struck(now, link.refusals):
            count = f"{count_text(self._config.strikes, 'time')} in a row"
            return [self._quarantine(now, name, f"{text}, {count}", Diagnosis.IDENTITY_FAULT)]
        return self._re_authenticate(now, name, text)

    def _refused_by_peer(self, now: int, name: str, text: str) -> list[Decision]:
        """One neighbour may err; two that refuse this node, or one and a short SVID, do not."""
        self._struck(now, self._links[name].refusals)
        since_ns = now - self._config.strike_window_ns
        accusers = {
            link.peer: None
            for link in self._links.values()
            if link.refusals and link.refusals[-1] >= since_ns
        }
        is_doubtful = len(accusers) >= 2 or self._identity_expires_ns is not None
        if not is_doubtful:
            return self._re_authenticate(now, name, text)
        if not self.knowledge.is_worth_trying(now, Action.REQUEST_SVID, THIS_NODE):
            return []
        self.knowledge.began(now, Action.REQUEST_SVID, THIS_NODE, self._config.patience_ns)
        reason = f"{text}; own identity in doubt, a new one is requested"
        return [self._decide(now, Action.REQUEST_SVID, name, reason, Diagnosis.IDENTITY_FAULT)]

    def _re_authenticate(self, now: int, name: str, text: str) -> list[Decision]:
        if not self.knowledge.is_worth_trying(now, Action.RE_AUTHENTICATE, name):
            return []
        self.knowledge.began(now, Action.RE_AUTHENTICATE, name, self._config.patience_ns)
        reason = f"{text}; tried once more with a fresh handshake"
        return [self._decide(now, Action.RE_AUTHENTICATE, name, reason, Diagnosis.IDENTITY_FAULT)]

    def _identity_expiring(self, now: int, observation: IdentityExpiring) -> list[Decision]:
        self._note(now, THIS_NODE, observation)
        self._identity_expires_ns = observation.expires_ns
        if not self.knowledge.is_worth_trying(now, Action.REQUEST_SVID, THIS_NODE):
            return []
        return [self._request_svid(now, "a new one is requested")]

    def _request_svid_again(self, now: int) -> list[Decision]:
        if self._identity_expires_ns is None:
            return []
        failures = self.knowledge.failures_in_a_row(Action.REQUEST_SVID, THIS_NODE)
        return [self._request_svid(now, f"asked again after {count_text(failures, 'failure')}")]

    def _request_svid(self, now: int, plan: str) -> Decision:
        assert self._identity_expires_ns is not None
        left_ns = self._identity_expires_ns - now
        ends = f"ends in {duration_text(left_ns)}" if left_ns > 0 else "has ended"
        pause_ns = max(
            self._config.patience_ns, self.knowledge.backoff_ns(Action.REQUEST_SVID, THIS_NODE)
        )
        if left_ns > 0:  # never wait past the middle of what is left
            pause_ns = max(S, min(pause_ns, left_ns // 2))
        self.knowledge.began(now, Action.REQUEST_SVID, THIS_NODE, pause_ns)
        reason = f"node {self._name}: own identity {ends}; {plan}"
        return self._decide(now, Action.REQUEST_SVID, THIS_NODE, reason, Diagnosis.IDENTITY_FAULT)

    # Quarantine.

    def _quarantine(self, now: int, name: str, text: str, diagnosis: Diagnosis) -> Decision:
        link = self._links[name]
        config = self._config
        is_relapse = link.term_ns > 0 and now - link.released_ns < 4 * link.term_ns
        term_ns = min(config.quarantine_max_ns, 2 * link.term_ns) if is_relapse else 0
        link.term_ns = term_ns or config.quarantine_ns
        link.released_ns = now + link.term_ns
        link.refusals.clear()
        link.holds.clear()
        self.knowledge.ended(now, name, Outcome.FAILED, RECOVERIES)
        self.knowledge.began(now, Action.QUARANTINE, name, link.term_ns)
        reason = f"{text}; left alone for {duration_text(link.term_ns)}"
        if is_relapse:
            reason += ", longer than last time"
        return self._decide(
            now, Action.QUARANTINE, name, reason, diagnosis, until_ns=link.released_ns
        )

    def _release(self, now: int, name: str) -> list[Decision]:
        link = self._links[name]
        if self.knowledge.is_open(Action.RE_AUTHENTICATE, name):
            return []
        self.knowledge.began(now, Action.RE_AUTHENTICATE, name, self._config.patience_ns)
        diagnosis = link.outage.diagnosis if link.outage else Diagnosis.IDENTITY_FAULT
        reason = f"peer {link.peer} on link {name}: quarantine is over, it may prove itself"
        return [self._decide(now, Action.RE_AUTHENTICATE, name, reason, diagnosis)]

    # This node.

    def _node_late(self, now: int, observation: NodeLate) -> list[Decision]:
        before = self._stretch
        self._stretch = observation.multiplier
        if observation.multiplier > 1:
            self._late_ns = now
        else:
            self.knowledge.ended(now, THIS_NODE, Outcome.RESTORED, (Action.STRETCH_TIMERS,))
        if observation.multiplier <= before:
            return []
        self._note(now, THIS_NODE, observation)
        if not self.knowledge.is_open(Action.STRETCH_TIMERS, THIS_NODE):
            self.knowledge.began(now, Action.STRETCH_TIMERS, THIS_NODE, None)
        reason = (
            f"node {self._name}: {observation}; own detection times stretched "
            f"{observation.multiplier} times before any neighbour is blamed"
        )
        return [self._decide(now, Action.STRETCH_TIMERS, THIS_NODE, reason, Diagnosis.OWN_SLOWNESS)]

    def _struck(self, now: int, strikes: list[int]) -> bool:
        """Add a strike; true once there are too many within the window."""
        strikes.append(now)
        while strikes[0] < now - self._config.strike_window_ns:
            del strikes[0]
        if len(strikes) > self._config.strikes:
            del strikes[0]
        return len(strikes) == self._config.strikes

    def _note(self, now: int, name: str, observation: Observation) -> None:
        kept = self._links[name].evidence if name else self._node_evidence
        kept.append((now, str(observation)))
        del kept[:-EVIDENCE_KEPT]

    def _decide(
        self,
        now: int,
        action: Action,
        name: str,
        reason: str,
        diagnosis: Diagnosis,
        until_ns: int = 0,
    ) -> Decision:
        link = self._links.get(name)
        noted = [*self._node_evidence, *(link.evidence if link else ())]
        noted.sort(key=lambda item: item[0])
        return Decision(
            action=action,
            link=name,
            peer=link.peer if link else "",
            reason=reason,
            evidence=tuple(
                f"{duration_text(now - at_ns)} ago: {text}" if now > at_ns else f"now: {text}"
                for at_ns, text in noted[-EVIDENCE_KEPT:]
            ),
            diagnosis=diagnosis,
            cost_factor=link.cost.factor if link else 1.0,
            until_ns=until_ns,
        )
