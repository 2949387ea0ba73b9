"""Liveness of one neighbour: a BFD session in asynchronous mode (RFC 5880), without packets.

Keep-alives are a declared effect: the session states a `Lease` and hears about changes of what
the neighbour says, about silence, and about loss. It owns every decision the engines do not.
"""

from __future__ import annotations

from typing import Final, Protocol

from x0mesh.mesh.adaptation import Adaptation
from x0mesh.mesh.config import LivenessConfig
from x0mesh.mesh.effects import BfdState, KeepAlive, Lease, LeaseChange
from x0mesh.mesh.local_health import LocalHealth

# Diagnostics of RFC 5880 s.4.1, in its words.
TIME_EXPIRED: Final = "control detection time expired"
NEIGHBOUR_DOWN: Final = "neighbour signalled session down"
PATH_DOWN: Final = "path down"

MAX_INTERVAL_NS: Final = 60_000_000_000
MAX_MULTIPLIER: Final = 255  # Detect Mult is eight bits wide (s.4.1)


class SessionPort(Protocol):
    """What a session asks of its node. Called before the session's method returns."""

    def keep_alive(self, lease: Lease | None) -> None:
        """Declare, replace or (None) stop the keep-alives of this link."""

    def session_up(self, now: int) -> None:
        """The session entered Up: both directions work."""

    def session_down(self, now: int, diagnostic: str) -> None:
        """The session left Up; never called without a `session_up` before it."""

    def session_adapted(self, now: int, detection_time_ns: int) -> None:
        """Loss or this node's own lateness changed the detection time of an Up session."""


def transmit_gap_ns(interval_ns: int, multiplier: int, draw: float) -> int:
    """Time to the next keep-alive: 75..100 % of the interval, 75..90 % at multiplier 1.

    `draw` in [0, 1), one per keep-alive (RFC 5880 s.6.8.7). Never above `interval_ns`.
    """
    assert 0.0 <= draw < 1.0, draw
    return round(interval_ns * (0.75 + jitter_span(multiplier) * draw))


def jitter_span(multiplier: int) -> float:
    """By how much of the interval gaps above 75 % of it differ."""
    return 0.15 if multiplier == 1 else 0.25


def steady_content(config: LivenessConfig, epoch: int = 1) -> KeepAlive:
    """What a session with this configuration says once Up, before any adaptation."""
    return KeepAlive(
        epoch=epoch,
        state=BfdState.UP,
        desired_min_tx_ns=config.interval_ns,
        required_min_rx_ns=config.interval_ns,
        detect_multiplier=config.multiplier,
    )


def next_state(state: BfdState, heard: BfdState) -> BfdState:
    """Session state after a keep-alive that says `heard` (RFC 5880 s.6.8.6, s.6.2)."""
    match state, heard:
        case BfdState.ADMIN_DOWN, _:  # discarded while administratively down
            return BfdState.ADMIN_DOWN
        case _, BfdState.ADMIN_DOWN:
            return BfdState.DOWN
        case BfdState.DOWN, BfdState.DOWN:
            return BfdState.INIT
        case BfdState.DOWN, BfdState.INIT:
            return BfdState.UP
        case BfdState.INIT, (BfdState.INIT | BfdState.UP):
            return BfdState.UP
        case BfdState.UP, BfdState.DOWN:
            return BfdState.DOWN
        case _:
            return state


class Session:
    """One end of a BFD session. Inputs carry `now`; outputs go to the port.

    `state` and `loss_ratio` may be read at any time. What was learnt about loss survives
    `stop` and `start`, because it belongs to the link and not to the channel.
    """

    __slots__ = (
        "_acknowledged_epoch",
        "_adaptation",
        "_config",
        "_content",
        "_epoch",
        "_health",
        "_heard",
        "_lease",
        "_polled_epoch",
        "_port",
        "_reprieved",
        "_settled_required_ns",
        "ignored",
        "state",
    )

    def __init__(self, config: LivenessConfig, port: SessionPort) -> None:
        assert config.interval_ns > 0, config
        assert 1 <= config.multiplier <= MAX_MULTIPLIER, config
        self._config = config
        self._port = port
        self._adaptation = Adaptation(config)
        self._health = LocalHealth(
            tolerance_ns=max(1, config.interval_ns // 4), recovery_ns=config.slow_interval_ns
        )
        self.state = BfdState.ADMIN_DOWN
        self.ignored = 0
        self._epoch = 0
        self._content: KeepAlive | None = None
        self._lease: Lease | None = None
        self._heard: KeepAlive | None = None
        self._acknowledged_epoch = 0
        self._polled_epoch = 0
        self._reprieved = False
        self._settled_required_ns = config.interval_ns

    @property
    def loss_ratio(self) -> float:
        """Measured loss towards this node; 0.0 before the first report."""
        return self._adaptation.loss_ratio

    @property
    def health_multiplier(self) -> int:
        """How much this node's own lateness stretches its detection time: 1 to 8."""
        return self._health.multiplier

    @property
    def detection_time_ns(self) -> int:
        """Silence after which the neighbour is declared down; 0 while not monitored (s.6.8.4)."""
        if self._heard is None or self.state not in (BfdState.INIT, BfdState.UP):
            return 0
        # Detect Mult comes from the neighbour; loss is measured here, where it can only
        # lengthen this end's own patience, which the neighbour never notices.
        multiplier = max(self._heard.detect_multiplier, self._adaptation.multiplier)
        return multiplier * self._receive_interval_ns(self._heard) * self._health.multiplier

    def start(self, now: int) -> None:
        """The channel is open: say Down, slowly, and listen."""
        self._forget()
        self.state = BfdState.DOWN
        self._declare()

    def stop(self, now: int) -> None:
        """Give up the session on purpose: a last AdminDown (s.6.8.16), then nothing.

        The caller knows, so no `session_down` follows.
        """
        if self._lease is None:
            return
        if self.state in (BfdState.INIT, BfdState.UP):
            self.state = BfdState.ADMIN_DOWN
            self._declare()
        self._cease()

    def path_down(self, now: int) -> None:
        """Carrier lost: Down at once, with no last word, since nobody would hear it."""
        was_up = self.state is BfdState.UP
        self._cease()
        if was_up:
            self._port.session_down(now, PATH_DOWN)

    def resume(self, now: int, heard: KeepAlive) -> None:
        """Enter Up at once, as after an exchange that ended with `heard` (converged start)."""
        assert heard.state is BfdState.UP, heard
        self._forget()
        self._heard = heard
        self.state = BfdState.UP
        self._declare()
        self._port.session_up(now)

    def lease_changed(self, now: int, heard: KeepAlive, change: LeaseChange, at_ns: int) -> None:
        """The neighbour says something new or speaks again (UP), or fell silent (EXPIRED).

        `at_ns` is when it happened; `now - at_ns` is this node's own lateness.
        """
        if self._lease is None:
            self.ignored += 1
            return
        if change is LeaseChange.EXPIRED:
            self._expired(now, now - at_ns)
        elif not _is_sound(heard) or (self._heard and heard.epoch < self._heard.epoch):
            self.ignored += 1
        else:
            self._hear(now, heard)

    def lease_report(self, now: int, received: int, expected: int) -> None:
        """Learn the link's loss from `expected` keep-alives; the only place that adapts to it."""
        if self._lease is None or self._heard is None:
            self.ignored += 1
            return
        before = self.detection_time_ns
        self._adaptation.report(received, expected, self._heard.desired_min_tx_ns)
        self._declare()
        self._tell_adapted(now, before)

    def late(self, now: int, lateness_ns: int) -> None:
        """One of the node's own timers ran `lateness_ns` after its due time (0: on time)."""
        if self._health.observe(now, lateness_ns) and self._lease is not None:
            before = self._lease.detection_time_ns
            self._declare()
            self._tell_adapted(now, before)

    def _hear(self, now: int, heard: KeepAlive) -> None:
        self._reprieved = False
        self._heard = heard
        if heard.poll:
            self._acknowledged_epoch = heard.epoch
        before = self.detection_time_ns
        is_confirmed = 0 < self._polled_epoch <= heard.acknowledged_epoch
        if is_confirmed:
            self._polled_epoch = 0
        self._enter(now, next_state(self.state, heard.state), NEIGHBOUR_DOWN)
        if is_confirmed:
            self._tell_adapted(now, before)

    def _expired(self, now: int, lateness_ns: int) -> None:
        if self.state not in (BfdState.INIT, BfdState.UP):
            return
        if self._health.is_late(lateness_ns) and not self._reprieved:
            # This node slept through the deadline: the neighbour's keep-alives may still be
            # waiting to be read, so it gets one detection time more before it is accused.
            before = self.detection_time_ns
            self._reprieved = True
            self._health.observe(now, lateness_ns)
            self._declare(again=True)
            self._tell_adapted(now, before)
            return
        self._enter(now, BfdState.DOWN, TIME_EXPIRED)

    def _enter(self, now: int, state: BfdState, diagnostic: str) -> None:
        was_up = self.state is BfdState.UP
        if state is not self.state:
            self._polled_epoch = 0  # a poll sequence belongs to the state it began in
        self.state = state
        self._declare()
        if state is BfdState.UP and not was_up:
            self._port.session_up(now)
        elif was_up and state is not BfdState.UP:
            self._port.session_down(now, diagnostic)

    def _declare(self, again: bool = False) -> None:
        """Put the lease in force that follows from the present state; quiet if it already is."""
        content = self._next_content()
        self._content = content
        required_ns = content.required_min_rx_ns
        if self._polled_epoch == 0:
            self._settled_required_ns = required_ns
        else:
            # Until the neighbour confirmed it sends faster, expect the old pace (s.6.8.3).
            self._settled_required_ns = max(self._settled_required_ns, required_ns)
        floor_ns = self._heard.required_min_rx_ns if self._heard else 0
        lease = Lease(
            content=content,
            transmit_interval_ns=max(content.desired_min_tx_ns, floor_ns),
            detection_time_ns=self.detection_time_ns,
        )
        if again or lease != self._lease:
            self._lease = lease
            self._port.keep_alive(lease)

    def _next_content(self) -> KeepAlive:
        config = self._config
        is_up = self.state is BfdState.UP
        desired_ns = config.interval_ns
        if not is_up:
            desired_ns = max(desired_ns, config.slow_interval_ns)  # s.6.8.3
        required_ns = self._adaptation.interval_ns
        before = self._content
        if before is not None and (
            before.state is self.state
            and before.desired_min_tx_ns == desired_ns
            and before.required_min_rx_ns == required_ns
            and before.detect_multiplier == config.multiplier
            and before.acknowledged_epoch == self._acknowledged_epoch
        ):
            return before
        self._epoch += 1
        if is_up and before is not None and before.state is BfdState.UP:
            # Asked once per wish: to ask anew with each answer given would never end.
            asks = required_ns < before.required_min_rx_ns
            self._polled_epoch = self._epoch if asks else self._polled_epoch
        return KeepAlive(
            epoch=self._epoch,
            state=self.state,
            desired_min_tx_ns=desired_ns,
            required_min_rx_ns=required_ns,
            detect_multiplier=config.multiplier,
            poll=self._polled_epoch != 0,
            acknowledged_epoch=self._acknowledged_epoch,
        )

    def _receive_interval_ns(self, heard: KeepAlive) -> int:
        return max(self._settled_required_ns, heard.desired_min_tx_ns)

    def _tell_adapted(self, now: int, before_ns: int) -> None:
        if self.state is BfdState.UP and self.detection_time_ns != before_ns:
            self._port.session_adapted(now, self.detection_time_ns)

    def _cease(self) -> None:
        self.state = BfdState.ADMIN_DOWN
        if self._lease is not None:
            self._lease = None
            self._port.keep_alive(None)
        self._forget()

    def _forget(self) -> None:
        self._content = None
        self._heard = None
        self._acknowledged_epoch = 0
        self._polled_epoch = 0
        self._reprieved = False
        self._settled_required_ns = self._adaptation.interval_ns


def _is_sound(heard: KeepAlive) -> bool:
    """Values a neighbour may legally ask for (s.6.8.6 discards a zero Detect Mult).

    A zero Required Min RX asks for silence (s.6.8.7), which asynchronous mode cannot live on.
    """
    return (
        1 <= heard.detect_multiplier <= MAX_MULTIPLIER
        and 0 < heard.desired_min_tx_ns <= MAX_INTERVAL_NS
        and 0 < heard.required_min_rx_ns <= MAX_INTERVAL_NS
    )
