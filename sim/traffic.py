"""Runs a plan's flows over the recorded network and returns one FlowRecord each.

Networks without finite rates and window-based flows are carried flow by flow in blocks. In the
others packets wait for each other, so all flows advance together in the order of time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from x0mesh.scenarios.flows import probe_instants
from x0mesh.scenarios.plan import FlowPlan
from x0mesh.scenarios.record import LOST
from x0mesh.sim.bulk import Acknowledged, BulkSender
from x0mesh.sim.flows import Carrier, Times
from x0mesh.sim.forwarding import Fate, Packet

REPLY = "reply to "


@dataclass(slots=True)
class Probes:
    """Sending times and latencies of one flow, in sending order."""

    sent_ns: Times
    latency_ns: Times


def run_flows(
    carrier: Carrier, flows: tuple[FlowPlan, ...], seed: int, end_ns: int
) -> list[Probes]:
    """Probes of each flow, in the order of `flows`. A source that is off sends nothing."""
    together = any(f.kind == "bulk" for f in flows) or any(
        impairment.rate_bps
        for direction in carrier.forwarding.directions.values()
        for _, _, impairment in direction.state.values
    )
    if together:
        return list(_Together(carrier, flows, seed, end_ns).run())
    return [_alone(carrier, flow, _instants(carrier, flow, seed, end_ns)) for flow in flows]


def _instants(carrier: Carrier, flow: FlowPlan, seed: int, end_ns: int) -> Times:
    power = carrier.forwarding.on[flow.source]
    times = probe_instants(flow, seed, end_ns)
    if len(power.times_ns) == 1 and power.now:
        return times
    index = np.searchsorted(np.array(power.times_ns), times, side="right") - 1
    powered: Times = times[np.array(power.values, dtype=bool)[index]]
    return powered


def _alone(carrier: Carrier, flow: FlowPlan, sent: Times) -> Probes:
    arrivals = carrier.carry(flow.name, flow.source, flow.destination, sent, flow.size_bytes)
    if flow.reply_bytes:
        there = np.flatnonzero(arrivals != LOST)
        back = carrier.carry(
            REPLY + flow.name, flow.destination, flow.source, arrivals[there], flow.reply_bytes
        )
        arrivals[there] = back
    return Probes(sent, np.where(arrivals == LOST, LOST, arrivals - sent))


@dataclass(slots=True)
class _Log:
    """A flow's packets as they are sent; latency is filled in on arrival."""

    sent: list[int] = field(default_factory=list)
    latency: list[int] = field(default_factory=list)

    def send(self, t_ns: int) -> int:
        self.sent.append(t_ns)
        self.latency.append(LOST)
        return len(self.sent) - 1


class _Together:
    """All flows on one queue of packet arrivals, ordered by (time, flow, number)."""

    def __init__(
        self, carrier: Carrier, flows: tuple[FlowPlan, ...], seed: int, end_ns: int
    ) -> None:
        self.carrier = carrier
        self.flows = flows
        self.end_ns = end_ns
        self.logs = [_Log() for _ in flows]
        self.bulk = [BulkSender(f.size_bytes) if f.kind == "bulk" else None for f in flows]
        # time, flow, number, leg (0 out, 1 back), packet; the first four are unique while queued
        self.queue: list[tuple[int, int, int, int, Packet]] = []
        self.timers: list[tuple[int, int, int]] = []
        self.sources: list[tuple[int, int]] = []
        for index, flow in enumerate(flows):
            times = (
                [flow.start_ns] if flow.kind == "bulk" else _instants(carrier, flow, seed, end_ns)
            )
            self.sources += [(int(t), index) for t in times]
        heapq.heapify(self.sources)

    def run(self) -> Iterator[Probes]:
        while self.queue or self.sources or self.timers:
            times = [heap[0][0] for heap in (self.sources, self.timers, self.queue) if heap]
            now = min(times)
            if now >= self.end_ns and not self.queue:
                break
            if self.sources and self.sources[0][0] == now:
                self._begin(*heapq.heappop(self.sources))
            elif self.timers and self.timers[0][0] == now:
                _, index, epoch = heapq.heappop(self.timers)
                if now < self.end_ns:
                    self._timeout(now, index, epoch)
            else:
                self._step(*heapq.heappop(self.queue))
        for log in self.logs:
            yield Probes(np.array(log.sent, dtype=np.int64), np.array(log.latency, dtype=np.int64))

    def _begin(self, now: int, index: int) -> None:
        if self.bulk[index] is None:
            self._send(now, index)
        else:
            self._fill_window(now, index)

    def _send(self, now: int, index: int) -> int:
        flow = self.flows[index]
        number = self.logs[index].send(now)
        packet = Packet(flow.source, flow.destination, flow.size_bytes)
        heapq.heappush(self.queue, (now, index, number, 0, packet))
        return number

    def _step(self, now: int, index: int, number: int, leg: int, packet: Packet) -> None:
        flow = self.flows[index]
        name = REPLY + flow.name if leg else flow.name
        outcome = self.carrier.step(name, number, packet, now)
        if isinstance(outcome, int):
            heapq.heappush(self.queue, (outcome, index, number, leg, packet))
            return
        if outcome is not Fate.DELIVERED:
            return
        log = self.logs[index]
        self.carrier.note_path(name, log.sent[number], packet.trail)
        sender = self.bulk[index]
        answer_bytes = flow.reply_bytes if sender is None else BulkSender.ACK_BYTES
        if leg == 0 and (sender is not None or not answer_bytes):
            log.latency[number] = now - log.sent[number]
        if leg == 0 and answer_bytes:
            back = Packet(flow.destination, flow.source, answer_bytes)
            heapq.heappush(self.queue, (now, index, number, 1, back))
        elif leg == 1 and sender is None:
            log.latency[number] = now - log.sent[number]
        elif leg == 1 and sender is not None:
            sender.acknowledged(Acknowledged(number, now - log.sent[number]))
            self._fill_window(now, index)

    def _fill_window(self, now: int, index: int) -> None:
        sender = self.bulk[index]
        assert sender is not None
        if now >= self.end_ns or not self.carrier.forwarding.on[self.flows[index].source].at(now):
            return
        while sender.may_send:
            sender.sent(self._send(now, index))
        heapq.heappush(self.timers, (now + sender.timeout_ns, index, sender.epoch))

    def _timeout(self, now: int, index: int, epoch: int) -> None:
        sender = self.bulk[index]
        assert sender is not None
        if epoch == sender.epoch:
            sender.timed_out()
            if self.carrier.forwarding.on[self.flows[index].source].at(now):
                self._fill_window(now, index)
            else:
                heapq.heappush(self.timers, (now + sender.timeout_ns, index, sender.epoch))
