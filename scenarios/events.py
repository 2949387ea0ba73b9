"""The one registry of event kinds: what may stand in a Record and what a check may name."""

from __future__ import annotations

from typing import Final

KINDS: Final[dict[str, str]] = {
    "phase.started": "a phase began; reason: warmup, chaos, settle",
    "fault.started": "a fault took its first step",
    "fault.ended": "a fault's last step was undone or its time ended",
    "fault.undone": "one action of a fault was taken back; reason names it",
    "fault.not_fired": "a fault that waited for a state gave up waiting",
    "liveness.up": "a BFD session went Up; value: nothing",
    "liveness.down": "a BFD session left Up; reason: diagnostic",
    "liveness.adapted": "interval or multiplier changed; value: detection time in seconds",
    "session.established": "an authenticated channel opened",
    "session.refused": "a channel was refused; reason: why",
    "session.closed": "a channel closed; reason: why",
    "adjacency.full": "link-state databases are exchanged",
    "lsa.originated": "a node flooded a new advertisement of its own; value: sequence",
    "lsa.rejected": "an advertisement was not believed; reason: why",
    "lsa.expired": "an advertisement lapsed",
    "spf.run": "routes were computed; value: nodes relabelled",
    "route.changed": "routes were installed; value: how many",
    "route.repaired": "routes switched to their repair; value: how many",
    "healing.decision": "the healing loop decided; reason: what and why",
    "path.lost": "the surviving graph no longer offers the flow a path",
    "path.offered": "the surviving graph offers the flow a path again",
    "flow.lost": "first lost probe of an outage; value: probe number",
    "flow.restored": "first of 20 consecutive delivered probes; value: probe number",
    "flow.rerouted": "a delivered probe took another path than the one before; value: hops",
    "packet.accepted": "a node accepted data of an identity (recorded when judged)",
    "packet.refused": "the data gate or filter dropped data; value: packets",
    "run.aborted": "a safety rule or the user stopped the run; reason: which",
}

FIELDS: Final[dict[str, str]] = {
    "node": "the node the event happened at",
    "fault": "the fault it belongs to",
    "link": "the link it happened on",
    "peer": "the neighbour or identity it concerns",
    "flow": "the flow it concerns",
    "value": "the figure that KINDS names",
    "reason": "why, in a word",
    "trust_domain": "the peer's SPIFFE trust domain",
}
"""What a check's `where` may compare."""
