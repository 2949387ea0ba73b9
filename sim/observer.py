"""What the engine tells the data plane, in time order, and what it asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from x0mesh.mesh.route_view import RouteView
from x0mesh.mesh.routes import RouteChange
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.record import Event, FlowRecord, Sample


class DataPlaneObserver(Protocol):
    """Sees every change that matters to forwarding; times `t` in ns never decrease."""

    def link_state(
        self, t: int, link: str, forward: bool, passes: bool, held: bool, impairment: Impairment
    ) -> None:
        """One direction's effective state; also once per direction at t=0.

        `passes`: carrier and no dropping block. `held`: a queueing block.
        """

    def node_forwarding(self, t: int, node: str, on: bool) -> None:
        """The node forwards data packets or not; also once per node at t=0."""

    def install(self, t: int, node: str, changes: Sequence[RouteChange]) -> None:
        """Apply route changes in order."""

    def answer_by(self, t: int, node: str, view: RouteView) -> None:
        """Forward by `view` where the node has no route installed."""

    def flush(self, t: int, node: str) -> None:
        """Empty the node's forwarding table, its view included."""

    def gate(self, t: int, node: str, link: str, is_open: bool) -> None:
        """The node admits or refuses data from the link's neighbour; refuses at first."""

    def reachability(self, t: int) -> float:
        """Live metric `reachability.ratio`."""

    def finish(
        self, end_ns: int
    ) -> tuple[list[FlowRecord], list[Sample], dict[str, float], list[Event]]:
        """Flows, series, counters and events of the run that ended at `end_ns`."""


class NoDataPlane:
    """Forgets everything: for control-plane studies and tests."""

    def link_state(
        self, t: int, link: str, forward: bool, passes: bool, held: bool, impairment: Impairment
    ) -> None:
        pass

    def node_forwarding(self, t: int, node: str, on: bool) -> None:
        pass

    def install(self, t: int, node: str, changes: Sequence[RouteChange]) -> None:
        pass

    def answer_by(self, t: int, node: str, view: RouteView) -> None:
        pass

    def flush(self, t: int, node: str) -> None:
        pass

    def gate(self, t: int, node: str, link: str, is_open: bool) -> None:
        pass

    def reachability(self, t: int) -> float:
        return 1.0

    def finish(
        self, end_ns: int
    ) -> tuple[list[FlowRecord], list[Sample], dict[str, float], list[Event]]:
        return [], [], {}, []
