"""What the healing loop tried and what came of it, bounded, so that plans can learn from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum, StrEnum


class Action(StrEnum):
    """Everything the healing loop can decide."""

    SWITCH_TO_REPAIR = "switch-to-repair"
    COST_OUT = "cost-out"
    RESTORE_COST = "restore-cost"
    QUARANTINE = "quarantine"
    RE_AUTHENTICATE = "re-authenticate"
    REQUEST_SVID = "request-svid"
    STRETCH_TIMERS = "stretch-timers"
    WAIT = "wait"


class Outcome(Enum):
    """How an attempt ended; OPEN until then."""

    OPEN = "open"
    RESTORED = "restored"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One action on one target (a link, or "" for the node itself).

    It has failed at `due_ns` unless settled before; None: open-ended. `took_ns` once RESTORED.
    """

    action: Action
    target: str
    at_ns: int
    due_ns: int | None
    outcome: Outcome = Outcome.OPEN
    ended_ns: int = 0

    @property
    def took_ns(self) -> int:
        """From the decision to its outcome; 0 while open."""
        return self.ended_ns - self.at_ns if self.outcome is not Outcome.OPEN else 0


class Knowledge:
    """The last `capacity` settled attempts, and at most `capacity` open ones.

    An action that failed on a target is not tried there again before its back-off, which
    doubles with every failure in a row from `backoff_ns` to `backoff_max_ns`.
    """

    def __init__(self, capacity: int, backoff_ns: int, backoff_max_ns: int) -> None:
        assert capacity > 0, capacity
        assert 0 < backoff_ns <= backoff_max_ns, (backoff_ns, backoff_max_ns)
        self._capacity = capacity
        self._backoff_ns = backoff_ns
        self._backoff_max_ns = backoff_max_ns
        self._open: dict[tuple[Action, str], Attempt] = {}
        self._settled: deque[Attempt] = deque(maxlen=capacity)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Settled attempts, oldest first, then open ones."""
        return (*self._settled, *self._open.values())

    @property
    def next_due_ns(self) -> int | None:
        """When the earliest open attempt counts as failed."""
        due = (attempt.due_ns for attempt in self._open.values() if attempt.due_ns is not None)
        return min(due, default=None)

    def is_open(self, action: Action, target: str) -> bool:
        """Whether this attempt is still waiting for its outcome."""
        return (action, target) in self._open

    def began(self, now: int, action: Action, target: str, patience_ns: int | None) -> None:
        """`action` was decided on `target`; it is judged after `patience_ns` (None: never)."""
        assert (action, target) not in self._open, (action, target)
        if len(self._open) >= self._capacity:
            self._settle(next(iter(self._open)), now, Outcome.FAILED)
        due_ns = None if patience_ns is None else now + patience_ns
        self._open[action, target] = Attempt(action, target, now, due_ns)

    def ended(self, now: int, target: str, outcome: Outcome, actions: Collection[Action]) -> None:
        """Settle those of `actions` that are open on the target."""
        for key in [key for key in self._open if key[1] == target and key[0] in actions]:
            self._settle(key, now, outcome)

    def overdue(self, now: int) -> tuple[Attempt, ...]:
        """Attempts whose patience ran out, now settled as FAILED, in order of due time."""
        late = [
            (attempt.due_ns, key)
            for key, attempt in self._open.items()
            if attempt.due_ns is not None and attempt.due_ns <= now
        ]
        late.sort(key=lambda item: item[0])
        return tuple(self._settle(key, due_ns, Outcome.FAILED) for due_ns, key in late)

    def of(self, action: Action, target: str) -> list[Attempt]:
        """Settled attempts of this action on this target, newest first."""
        return [
            attempt
            for attempt in reversed(self._settled)
            if attempt.action is action and attempt.target == target
        ]

    def failures_in_a_row(self, action: Action, target: str) -> int:
        """Failures of this action on this target since it last succeeded there."""
        count = 0
        for attempt in self.of(action, target):
            if attempt.outcome is not Outcome.FAILED:
                break
            count += 1
        return count

    def backoff_ns(self, action: Action, target: str) -> int:
        """How long to leave this action alone on this target; 0 if it did not fail last time."""
        failures = self.failures_in_a_row(action, target)
        if failures == 0:
            return 0
        return min(self._backoff_max_ns, self._backoff_ns << min(failures - 1, 32))

    def is_worth_trying(self, now: int, action: Action, target: str) -> bool:
        """False while it is being tried, or backed off after failing."""
        if self.is_open(action, target):
            return False
        backoff_ns = self.backoff_ns(action, target)
        return backoff_ns == 0 or now >= self.of(action, target)[0].ended_ns + backoff_ns

    def usual_outage_ns(self, target: str) -> int | None:
        """Median time to restoration over what is remembered of this target."""
        took = sorted(
            attempt.took_ns
            for attempt in self._settled
            if attempt.target == target and attempt.outcome is Outcome.RESTORED
        )
        return took[len(took) // 2] if took else None

    def _settle(self, key: tuple[Action, str], at_ns: int, outcome: Outcome) -> Attempt:
        settled = replace(self._open.pop(key), outcome=outcome, ended_ns=at_ns)
        self._settled.append(settled)
        return settled
