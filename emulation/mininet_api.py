"""Mininet's own API over our namespaces: `Mininet` with a Node, Link and Intf of ours.

Nodes and links are made by rtnetlink, without a shell, mnexec or ifconfig; a node's bash starts
when the first command is sent to it.
"""

from __future__ import annotations

import errno
import itertools
import subprocess
from ipaddress import IPv4Address
from typing import Any, Final

from mininet.link import Intf, Link
from mininet.net import Mininet
from mininet.node import Node

from x0mesh.emulation.namespaces import NetNamespace
from x0mesh.emulation.network import EmulatedNetwork, Interface, NodeNamespace
from x0mesh.emulation.rtnetlink import (
    RtNetlink,
    add_address,
    create_veth,
    delete_address,
    delete_link,
    set_link,
    set_lladdr,
)

# Above those of an emulated network, into which links may be added.
_indexes: Final = itertools.count(1 << 21)


class MeshNode(Node):  # type: ignore[misc]
    """A Mininet node whose namespace is a descriptor; `held` makes it one of a built network.

    Mount namespaces are not made: `privateDirs` is refused.
    """

    @classmethod
    def checkSetup(cls) -> None:  # noqa: N802
        """Nothing of what stock nodes call is needed."""

    def __init__(
        self,
        name: str,
        inNamespace: bool = True,  # noqa: N803
        held: NodeNamespace | None = None,
        **params: Any,
    ) -> None:
        if params.get("privateDirs"):
            raise ValueError(f"node {name}: privateDirs would be shared by all nodes")
        self.held = held
        if held is not None:
            self.namespace, self.netlink = held.namespace, held.netlink
        else:
            self.namespace = NetNamespace.create() if inNamespace else NetNamespace.current()
            self.netlink = RtNetlink(self.namespace)
        super().__init__(name, inNamespace, **params)

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802
        """The shell waits for the first command."""

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:  # noqa: N802
        """Send a command to the node's shell; `printPid` needs mnexec and is ignored."""
        self._need_shell()
        kwargs.pop("printPid", None)
        super().sendCmd(*args, **kwargs)

    def cmd(self, *args: Any, **kwargs: Any) -> Any:
        """Send a command, wait for it and return what it wrote."""
        self._need_shell()
        return super().cmd(*args, **kwargs)

    def popen(self, *args: Any, **kwargs: Any) -> subprocess.Popen[Any]:
        """A `Popen` in this node: a list, a string, or several words."""
        if kwargs.pop("shell", False):
            words = args[0] if len(args) == 1 else args
            text = words if isinstance(words, str) else " ".join(words)
            args = (["/bin/sh", "-c", text],)
        kwargs["mncmd"] = []
        started: subprocess.Popen[Any] = super().popen(*args, **kwargs)
        return started

    def config(
        self,
        mac: str | None = None,
        ip: str | None = None,
        defaultRoute: str | None = None,  # noqa: N803
        **_params: Any,
    ) -> dict[str, Any]:
        """Stock configuration without ifconfig: loopback is up already."""
        results: dict[str, Any] = {}
        self.setParam(results, "setMAC", mac=mac)
        self.setParam(results, "setIP", ip=ip)
        self.setParam(results, "setDefaultRoute", defaultRoute=defaultRoute)
        return results

    def terminate(self) -> None:
        """End the shell and, unless it belongs to a built network, let the namespace go."""
        super().terminate()
        if self.held is None and not self.namespace.closed:
            self.netlink.close()
            self.namespace.close()

    def _need_shell(self) -> None:
        if self.shell is None:
            super().startShell()

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[Any]:
        if cmd[0] == "mnexec":
            cmd = cmd[2:]
        return self.namespace.popen(cmd, start_new_session=True, **params)


class MeshIntf(Intf):  # type: ignore[misc]
    """One end of a `MeshLink`, configured by rtnetlink."""

    node: MeshNode
    link: MeshLink | None
    ip: str | None
    prefixLen: int | str | None  # noqa: N815

    @property
    def index(self) -> int:
        """Interface index in the node's namespace."""
        assert self.link is not None, f"{self.name} is deleted"
        return self.link.indexes[self.node, self.name]

    def setIP(self, ipstr: str, prefixLen: int | None = None) -> str:  # noqa: N802, N803
        """Replace the IPv4 address; `ipstr` may carry the prefix length."""
        address, _, length = ipstr.partition("/")
        if not length and prefixLen is None:
            raise ValueError(f"no prefix length for {ipstr}")
        if self.ip is not None:
            self.node.netlink.batch(
                [delete_address(self.index, IPv4Address(self.ip), int(self.prefixLen or 0))],
                ignore={errno.EADDRNOTAVAIL},
            )
        width = int(length or prefixLen or 0)
        self.ip, self.prefixLen = address, width
        self.node.netlink.batch([add_address(self.index, IPv4Address(address), width)])
        return ""

    def setMAC(self, macstr: str) -> str:  # noqa: N802
        """Replace the link-layer address."""
        self.mac = macstr
        self.node.netlink.batch([set_lladdr(self.index, _lladdr(macstr))])
        return ""

    def isUp(self, setUp: bool = False) -> bool:  # noqa: N802
        """Whether the interface is administratively up; first set it so if asked."""
        if setUp:
            self.node.netlink.batch([set_link(self.index, up=True)])
        return any(link.up for link in self.node.netlink.links() if link.index == self.index)

    def ifconfig(self, *args: str) -> str:
        """`up` and `down` by rtnetlink; anything else needs the program."""
        if args in (("up",), ("down",)):
            self.node.netlink.batch([set_link(self.index, up=args == ("up",))])
            return ""
        written: str = super().ifconfig(*args)
        return written

    def updateIP(self) -> str | None:  # noqa: N802
        """The address given to it."""
        return self.ip

    def updateMAC(self) -> str | None:  # noqa: N802
        """The link-layer address as the kernel has it."""
        for link in self.node.netlink.links():
            if link.index == self.index:
                self.mac = link.lladdr.hex(":")
        found: str | None = self.mac
        return found

    def updateAddr(self) -> tuple[str | None, str | None]:  # noqa: N802
        """Both."""
        return self.updateIP(), self.updateMAC()

    def delete(self) -> None:
        """Delete the interface, with it the whole link; its other end may be gone already."""
        if self.link is not None and self.link.removable:
            self.node.netlink.batch([delete_link(self.index)], ignore={errno.ENODEV})
        self.node.delIntf(self)
        self.link = None

    def status(self) -> str:
        """OK or MISSING."""
        found = any(link.index == self.index for link in self.node.netlink.links())
        return "OK" if found else "MISSING"


class MeshLink(Link):  # type: ignore[misc]
    """A veth straight between two nodes, or (`ends`) a link of a built network.

    Delay, loss and rate are not a Mininet link's business here: plans have them.
    """

    def __init__(
        self,
        node1: MeshNode,
        node2: MeshNode,
        ends: tuple[Interface, Interface] | None = None,
        **params: Any,
    ) -> None:
        refused = sorted({"bw", "delay", "jitter", "loss", "max_queue_size"} & params.keys())
        if refused:
            raise ValueError(f"a MeshLink has no {', '.join(refused)}: impair it by a scenario")
        self.indexes: dict[tuple[MeshNode, str], int] = {}
        self.removable = ends is None
        if ends is not None:
            near, far = ends
            self.indexes = {(node1, near.name): near.index, (node2, far.name): far.index}
            params |= {"intfName1": near.name, "intfName2": far.name}
            params |= {"addr1": None, "addr2": None}
        params["intf"] = MeshIntf
        super().__init__(node1, node2, **params)

    def makeIntfPair(  # noqa: N802
        self,
        intfname1: str,
        intfname2: str,
        addr1: str | None = None,
        addr2: str | None = None,
        node1: MeshNode | None = None,
        node2: MeshNode | None = None,
        deleteIntfs: bool = True,  # noqa: N803
    ) -> None:
        """Both ends straight in their nodes, with different indexes."""
        if not self.removable:
            return
        assert node1 is not None
        assert node2 is not None
        one, two = next(_indexes), next(_indexes)
        with RtNetlink() as outside:
            outside.batch(
                [
                    create_veth(
                        intfname1,
                        node1.namespace.fd,
                        one,
                        intfname2,
                        node2.namespace.fd,
                        two,
                        lladdr_a=_lladdr(addr1) if addr1 else None,
                        lladdr_b=_lladdr(addr2) if addr2 else None,
                    )
                ]
            )
        self.indexes = {(node1, intfname1): one, (node2, intfname2): two}


def _lladdr(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def mininet(**options: Any) -> Mininet:
    """A `Mininet` of our nodes and links, without switches or controllers unless asked for."""
    # Stock initialisation would raise limits of the whole host by sysctl.
    Mininet.inited = True
    defaults: dict[str, Any] = {
        "host": MeshNode,
        "link": MeshLink,
        "intf": MeshIntf,
        "controller": None,
    }
    return Mininet(**{**defaults, **options})


def adopt(network: EmulatedNetwork) -> Mininet:
    """A built network as a `Mininet`; see `EmulatedNetwork.mininet`."""
    net = mininet(build=False)
    for name, held in network.nodes.items():
        net.addHost(name, held=held, ip=None)
    for link in network.links:
        (a, near), (b, far) = network.ends(link)
        added = net.addLink(a, b, ends=(near, far))
        for intf, end in ((added.intf1, near), (added.intf2, far)):
            intf.ip, intf.prefixLen = str(end.address_4), 31
            intf.mac = end.lladdr.hex(":")
    net.built = True
    return net
