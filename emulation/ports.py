"""What a peer asks of its data plane: routes and the gate per adjacency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from x0mesh.mesh.routes import RouteChange


class RoutePort(Protocol):
    """Applies route changes to the kernel, in order, before it returns."""

    def install(self, changes: Sequence[RouteChange]) -> None: ...


class GatePort(Protocol):
    """Admits or refuses the data packets of one link's neighbour; closed until first opened."""

    def set(self, link: str, is_open: bool) -> None: ...


class NoRoutes:
    """A peer without a data plane: the control plane alone."""

    def install(self, changes: Sequence[RouteChange]) -> None:
        pass


class NoGate:
    """Nothing is forwarded, so there is nothing to admit."""

    def set(self, link: str, is_open: bool) -> None:
        pass
