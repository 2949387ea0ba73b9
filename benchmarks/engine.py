"""What an empty handler costs in the simulator's clock, beside a plain SimPy process per node.

Triangular torus of degree 6; a hello to each neighbour every second; delays spread over 1 to
20 ms; a neighbour silent for 3.5 s is dead; at 2 s one link is cut and both ends flood the news.
Seven simulated seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from random import Random
from typing import Any, Final

import simpy

from benchmarks.benchmark import Benchmark, Part, Size, per_cpu_second
from benchmarks.meter import Meter
from benchmarks.torus import neighbours
from x0mesh.sim.clock import DELIVERY, NODE, TIMER, Clock

MS: Final = 1_000_000
HELLO_NS: Final = 1000 * MS
DEAD_NS: Final = 3500 * MS
CUT_NS: Final = 2000 * MS
END_NS: Final = 7000 * MS
DEGREE: Final = 6
DELAYS: Final = 1 << 12
HELLO: Final = -1
"""The message that says only that its sender lives; any other number is the origin of news."""

Send = Callable[[int, int], None]
"""`send(now_ns, message)` over one port."""


class Handler:
    """The protocol of one node, as thin as it can be: no clock, no queue, no random source."""

    __slots__ = ("heard_ns", "number", "seen", "send")

    def __init__(self, number: int) -> None:
        self.number = number
        self.heard_ns = [0] * DEGREE
        self.seen: set[int] = set()
        self.send: list[Send] = []

    def hello_due(self, now_ns: int) -> None:
        for send in self.send:
            send(now_ns, HELLO)

    def receive(self, now_ns: int, port: int, message: int) -> None:
        if message == HELLO:
            self.heard_ns[port] = now_ns
        elif message not in self.seen:
            self.seen.add(message)
            for other, send in enumerate(self.send):
                if other != port:
                    send(now_ns, message)

    def cut_off(self, now_ns: int) -> None:
        self.seen.add(self.number)
        for send in self.send:
            send(now_ns, self.number)


class Wires:
    """Who is behind which port, and how long packets take.

    The n-th packet of a port takes `delays_ns[(offset + n) % len]`, with an offset per port, so
    every part sees the same delays and pays the same for them.
    """

    def __init__(self, nodes: int) -> None:
        random = Random(1)
        self.around = neighbours(nodes)
        self.far_port = [
            [self.around[other].index(node) for other in row]
            for node, row in enumerate(self.around)
        ]
        self.phase_ns = [random.randrange(HELLO_NS) for _ in range(nodes)]
        self.delays_ns = [random.randrange(1 * MS, 20 * MS) for _ in range(DELAYS)]

    def ends(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The link to be cut, as (node, port) of both its ends."""
        return (0, 0), (self.around[0][0], self.far_port[0][0])


def plain_simpy(nodes: int, meter: Meter) -> dict[str, float]:
    """A process and a Store per node; a Timeout per packet and timer."""
    wires = Wires(nodes)
    delays_ns = wires.delays_ns
    env: Any = simpy.Environment()
    timeout = env.timeout
    handlers = [Handler(node) for node in range(nodes)]
    inboxes = [simpy.Store(env) for _ in range(nodes)]

    class Port:
        """One end of a link; puts packets into the far node's Store when they are due."""

        __slots__ = ("far_port", "inbox", "is_up", "sent")

        def __init__(self, node: int, port: int) -> None:
            self.inbox = inboxes[wires.around[node][port]]
            self.far_port = wires.far_port[node][port]
            self.sent = offset(node, port)
            self.is_up = True

        def send(self, _now_ns: int, message: int) -> None:
            if self.is_up:
                self.sent += 1
                packet = timeout(delays_ns[self.sent % DELAYS], (self.far_port, message))
                packet.callbacks.append(self.arrive)

        def arrive(self, packet: Any) -> None:
            self.inbox.put(packet.value)

    def live(node: int) -> Any:
        handler, inbox = handlers[node], inboxes[node]
        while True:
            port, message = yield inbox.get()
            handler.receive(env.now, port, message)

    def greet(timer: Any) -> None:
        handlers[timer.value].hello_due(env.now)
        timeout(HELLO_NS, timer.value).callbacks.append(greet)

    def watch(timer: Any) -> None:
        node, port = timer.value
        left_ns = handlers[node].heard_ns[port] + DEAD_NS - env.now
        if left_ns > 0:
            timeout(left_ns, timer.value).callbacks.append(watch)

    ports = {at: Port(*at) for at in product(range(nodes), range(DEGREE))}

    def cut(_: Any) -> None:
        for node, port in wires.ends():
            ports[node, port].is_up = False
            handlers[node].cut_off(env.now)

    for node in range(nodes):
        handlers[node].send = [ports[node, port].send for port in range(DEGREE)]
        env.process(live(node))
        timeout(wires.phase_ns[node], node).callbacks.append(greet)
        for port in range(DEGREE):
            timeout(DEAD_NS, (node, port)).callbacks.append(watch)
    timeout(CUT_NS).callbacks.append(cut)
    with meter:
        env.run(until=END_NS)
    sent = sum(end.sent - offset(*place) for place, end in ports.items())
    return _counts(handlers, sent)


def our_clock(nodes: int, meter: Meter) -> dict[str, float]:
    """The same handlers on `sim.clock.Clock`: an entry per packet and timer."""
    wires = Wires(nodes)
    delays_ns = wires.delays_ns
    clock = Clock()
    push = clock.push
    handlers = [Handler(node) for node in range(nodes)]

    class Port:
        """One end of a link, with the order of its packets and of its timer."""

        __slots__ = ("far", "handler", "is_up", "order", "port", "sent", "timer_order")

        def __init__(self, node: int, port: int) -> None:
            self.port = port
            self.handler = handlers[node]
            self.order = Clock.order(DELIVERY, DEGREE * node + port)
            self.timer_order = Clock.order(TIMER, DEGREE * node + port)
            self.far: Callable[[int], None] = self.receive
            self.sent = offset(node, port)
            self.is_up = True

        def send(self, now_ns: int, message: int) -> None:
            if self.is_up:
                self.sent += 1
                self.order += 1
                push(now_ns + delays_ns[self.sent % DELAYS], self.order, self.far, message)

        def receive(self, message: int) -> None:
            self.handler.receive(clock.now_ns, self.port, message)

        def watch(self, _: None) -> None:
            due_ns = self.handler.heard_ns[self.port] + DEAD_NS
            if due_ns > clock.now_ns:
                self.timer_order += 1
                push(due_ns, self.timer_order, self.watch, None)

    ports = {at: Port(*at) for at in product(range(nodes), range(DEGREE))}

    def greet(argument: tuple[int, int]) -> None:
        node, order = argument
        now_ns = clock.now_ns
        handlers[node].hello_due(now_ns)
        push(now_ns + HELLO_NS, order + 1, greet, (node, order + 1))

    def cut(_: None) -> None:
        for node, port in wires.ends():
            ports[node, port].is_up = False
            handlers[node].cut_off(clock.now_ns)

    for node in range(nodes):
        handlers[node].send = [ports[node, port].send for port in range(DEGREE)]
        order = Clock.order(NODE, node)
        push(wires.phase_ns[node], order, greet, (node, order))
    for (node, port), end in ports.items():
        end.far = ports[wires.around[node][port], wires.far_port[node][port]].receive
        push(DEAD_NS, end.timer_order, end.watch, None)
    push(CUT_NS, Clock.order(NODE, nodes), cut, None)
    with meter:
        clock.run_until(END_NS)
    sent = sum(end.sent - offset(*place) for place, end in ports.items())
    return _counts(handlers, sent)


def offset(node: int, port: int) -> int:
    """Where a port starts in the table of delays."""
    return node * 48271 + port * 8191


def _counts(handlers: list[Handler], sent: int) -> dict[str, float]:
    informed = sum(len(handler.seen) for handler in handlers)
    return {"nodes": len(handlers), "deliveries": sent, "informed": informed}


BENCHMARK = Benchmark(
    name="engine",
    question="How many packets a second does the clock deliver to an empty handler?",
    parts={
        "SimPy process per node": Part(plain_simpy),
        "SimPy process per node, collector off": Part(plain_simpy, gc_off=True),
        "sim.clock": Part(our_clock),
    },
    references=("SimPy process per node", "SimPy process per node, collector off"),
    subject="sim.clock",
    figure=per_cpu_second("deliveries", "deliveries per CPU second", "1/s"),
    sizes=(Size(1_000, 5), Size(10_000, 5, required_ratio=6.0)),
    quick=(Size(1_000, 3),),
    equal=("deliveries", "informed"),
    notes=(
        "The same handler, delays and cut in every part; packets are integers, counted when "
        "sent; all but the last 20 ms of seven seconds arrive.",
        "Python's garbage collector has its default settings unless the part's name says off.",
    ),
)
