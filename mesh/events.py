"""Kinds of events the protocol emits. The Record's registry lists the same words."""

from __future__ import annotations

from typing import Final

LIVENESS_UP: Final = "liveness.up"
LIVENESS_DOWN: Final = "liveness.down"
LIVENESS_ADAPTED: Final = "liveness.adapted"
SESSION_ESTABLISHED: Final = "session.established"
SESSION_REFUSED: Final = "session.refused"
SESSION_CLOSED: Final = "session.closed"
ADJACENCY_FULL: Final = "adjacency.full"
LSA_ORIGINATED: Final = "lsa.originated"
LSA_REJECTED: Final = "lsa.rejected"
LSA_EXPIRED: Final = "lsa.expired"
SPF_RUN: Final = "spf.run"
ROUTE_CHANGED: Final = "route.changed"
ROUTE_REPAIRED: Final = "route.repaired"
HEALING_DECISION: Final = "healing.decision"

ALL: Final = frozenset(
    {
        LIVENESS_UP,
        LIVENESS_DOWN,
        LIVENESS_ADAPTED,
        SESSION_ESTABLISHED,
        SESSION_REFUSED,
        SESSION_CLOSED,
        ADJACENCY_FULL,
        LSA_ORIGINATED,
        LSA_REJECTED,
        LSA_EXPIRED,
        SPF_RUN,
        ROUTE_CHANGED,
        ROUTE_REPAIRED,
        HEALING_DECISION,
    }
)
