"""What a peer asks of its data plane: routes, and the gate per adjacency."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from x0mesh.emulation.control import Configure
from x0mesh.emulation.gate import DataGate
from x0mesh.emulation.kernel_routes import Adjacency, KernelRoutes
from x0mesh.mesh.routes import RouteChange


class RoutePort(Protocol):
    """Applies route changes to the kernel, in order, before it returns."""

    repairs_left_out: int

    def install(self, changes: Sequence[RouteChange]) -> None: ...

    def restore(self) -> None:
        """A link's carrier is back: make again what the kernel has dropped with it."""

    @property
    def missing(self) -> int:
        """Routes wanted that the kernel cannot carry now."""


class GatePort(Protocol):
    """Admits or refuses the data packets of one link's neighbour; closed until first opened."""

    def set(self, link: str, is_open: bool) -> None: ...

    def refused(self) -> dict[str, int]:
        """Packets refused so far, by link."""


class NoRoutes:
    """A peer without a data plane: the control plane alone."""

    repairs_left_out = 0
    missing = 0

    def install(self, changes: Sequence[RouteChange]) -> None:
        pass

    def restore(self) -> None:
        pass


class NoGate:
    """Nothing is forwarded, so there is nothing to admit."""

    def set(self, link: str, is_open: bool) -> None:
        pass

    def refused(self) -> dict[str, int]:
        return {}


def make_ports(config: Configure) -> tuple[RoutePort, GatePort]:
    """The data plane that `config` asks for, in the calling process's network namespace.

    Raises NetlinkError or GateError.
    """
    plane = config.data_plane
    if plane is None:
        return NoRoutes(), NoGate()
    peers = {link.link: link.peer for link in config.node.links}
    # The gate first: there is no moment in which routes forward what nobody has admitted.
    gate: GatePort = NoGate()
    if plane.gate:
        gate = DataGate({interface.link: interface.index for interface in config.interfaces})
    routes = KernelRoutes(
        config.node.name,
        {name: IPv6Address(address) for name, address in plane.addresses.items()},
        plane.links,
        [
            Adjacency(
                interface.link,
                interface.index,
                peers[interface.link],
                IPv6Address(interface.peer_address),
            )
            for interface in config.interfaces
        ],
        addresses_4={name: IPv4Address(address) for name, address in plane.addresses_4.items()},
    )
    return routes, gate
