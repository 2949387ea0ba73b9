"""The data gate: a node takes data from a neighbour only while their adjacency is open.

Default deny on every interface but loopback, by one nftables table in the node's namespace. It
looks at packets before routing, so that forwarded, local and SRv6 packets meet it alike. What
link-local addresses say to each other (the protocol, neighbour discovery) passes.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Final, Self

from x0mesh.emulation.namespaces import NetNamespace
from x0mesh.emulation.nfnetlink import InterfaceSet

_TABLE: Final = "x0mesh"
_OPEN, _REFUSED = "open", "refused"
# `add` then `delete` so that a table left by the node's last process is replaced, in one
# transaction: there is no moment without a gate.
_RULES: Final = f"""
add table inet {_TABLE}
delete table inet {_TABLE}
table inet {_TABLE} {{
  set {_OPEN} {{ type iface_index; }}
  set {_REFUSED} {{ type iface_index; size 65535; flags dynamic; counter; }}
  chain gate {{
    type filter hook prerouting priority raw; policy drop;
    iif lo accept
    iif @{_OPEN} accept
    ip6 saddr fe80::/10 ip6 daddr fe80::/10 meta l4proto {{ tcp, udp, icmpv6 }} accept
    ip6 daddr ff02::/16 meta l4proto icmpv6 accept
    update @{_REFUSED} {{ iif }}
  }}
}}
"""
_NFT_SECONDS: Final = 60


class GateError(OSError):
    """The gate could not be set up: no `nft`, no permission, or a kernel without nftables."""


class DataGate:
    """Gates of one node, all closed. `interfaces`: link name -> interface index.

    A closed gate that cannot be had is an error, never an open one. Raises GateError; later
    changes raise `nfnetlink.NetfilterError`.
    """

    def __init__(
        self, interfaces: Mapping[str, int], namespace: NetNamespace | None = None
    ) -> None:
        self._interfaces = dict(interfaces)
        self._open: set[str] = set()
        _load(namespace)
        self._sets = InterfaceSet(_TABLE, namespace)

    def set(self, link: str, is_open: bool) -> None:
        """Open or close the gate of one link; no change is no work."""
        if is_open and link not in self._open:
            self._sets.add(_OPEN, self._interfaces[link])
            self._open.add(link)
        elif not is_open and link in self._open:
            self._sets.remove(_OPEN, self._interfaces[link])
            self._open.remove(link)

    def close_all(self) -> None:
        """Close every gate, whoever opened it."""
        self._sets.clear(_OPEN)
        self._open.clear()

    @property
    def open_links(self) -> frozenset[str]:
        """Links whose gate this object has opened."""
        return frozenset(self._open)

    def refused(self) -> dict[str, int]:
        """Packets refused so far, by link."""
        counts = self._sets.packets(_REFUSED)
        return {link: counts.get(index, 0) for link, index in self._interfaces.items()}

    def close(self) -> None:
        """Let go of the socket; the gates stay as they are."""
        self._sets.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _load(namespace: NetNamespace | None) -> None:
    nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/local/sbin:/usr/bin") or "nft"
    try:
        with namespace.enter() if namespace is not None else nullcontext():
            done = subprocess.run(
                [nft, "-f", "-"],
                input=_RULES,
                capture_output=True,
                text=True,
                timeout=_NFT_SECONDS,
                check=False,
            )
    except FileNotFoundError as error:
        raise GateError(error.errno or 0, "the data gate needs nft (package nftables)") from error
    except subprocess.TimeoutExpired as error:
        raise GateError(0, f"nft did not end within {_NFT_SECONDS} s") from error
    if done.returncode:
        raise GateError(0, f"nft refused the data gate: {done.stderr.strip()}")
