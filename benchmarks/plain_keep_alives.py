"""A plan's keep-alives, and nothing else, on plain SimPy: a yardstick for whole scenarios.

A process and a Store per node, a Timeout per packet and timer; the handler notes when it last
heard each neighbour. No faults, no routing, no report.
"""

from __future__ import annotations

from typing import Any

import simpy

from x0mesh.mesh.config import LivenessConfig
from x0mesh.mesh.liveness import transmit_gap_ns
from x0mesh.scenarios.plan import Plan
from x0mesh.sim.randomness import Streams


class End:
    """One end of a link: sends, and watches what the other end sends."""

    __slots__ = ("_delay_ns", "_draws", "_env", "_liveness", "_sent", "far", "heard_ns", "inbox")

    def __init__(self, env: Any, inbox: Any, delay_ns: int, draws: Any, liveness: Any) -> None:
        self.inbox = inbox
        self.heard_ns = 0
        self.far: End
        self._env = env
        self._delay_ns = delay_ns
        self._draws = draws
        self._liveness: LivenessConfig = liveness
        self._sent = 0

    def start(self) -> None:
        interval_ns = self._liveness.interval_ns
        first_ns = round(interval_ns * self._draws.at(0))
        self._env.timeout(first_ns).callbacks.append(self._send)
        self._env.timeout(self._liveness.multiplier * interval_ns).callbacks.append(self._watch)

    def _send(self, _: Any) -> None:
        self._sent += 1
        self._env.timeout(self._delay_ns, self._sent).callbacks.append(self.far.arrive)
        liveness = self._liveness
        draw = self._draws.at(self._sent)
        gap_ns = transmit_gap_ns(liveness.interval_ns, liveness.multiplier, draw)
        self._env.timeout(gap_ns).callbacks.append(self._send)

    def arrive(self, packet: Any) -> None:
        self.inbox.put((self, packet.value))

    def _watch(self, _: Any) -> None:
        due_ns = self.heard_ns + self._liveness.multiplier * self._liveness.interval_ns
        if due_ns > self._env.now:
            self._env.timeout(due_ns - self._env.now).callbacks.append(self._watch)


class PlainKeepAlives:
    """All nodes of a plan. `delivered` counts what their processes took from their Stores."""

    def __init__(self, plan: Plan) -> None:
        self.env: Any = simpy.Environment()
        self.delivered = 0
        liveness = LivenessConfig(**dict(plan.protocol.liveness))
        streams = Streams(plan.seed)
        inboxes = {node.name: simpy.Store(self.env) for node in plan.nodes}
        for link in plan.links:
            ends = [
                End(
                    self.env,
                    inboxes[name],
                    impairment.delay_ns,
                    streams.draws(link.name, side),
                    liveness,
                )
                for name, impairment, side in (
                    (link.a, link.forward, "forward"),
                    (link.b, link.backward, "backward"),
                )
            ]
            ends[0].far, ends[1].far = ends[1], ends[0]
            for end in ends:
                end.start()
        for inbox in inboxes.values():
            self.env.process(self._live(inbox))

    def _live(self, inbox: Any) -> Any:
        while True:
            end, _ = yield inbox.get()
            self.delivered += 1
            end.heard_ns = self.env.now
