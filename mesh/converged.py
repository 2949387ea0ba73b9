"""The state a quiet mesh ends in, computed instead of waited for: input of a converged start."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from x0mesh.mesh.codec import signed_content
from x0mesh.mesh.config import NodeConfig
from x0mesh.mesh.credential import Signer
from x0mesh.mesh.graph import GraphStore
from x0mesh.mesh.lsdb import Database
from x0mesh.mesh.messages import Credential, Lsa, Neighbour
from x0mesh.mesh.origination import FIRST_SEQUENCE


def converged_database(
    nodes: Iterable[tuple[NodeConfig, Signer]],
    now: int,
    store: GraphStore,
    down: frozenset[str] = frozenset(),
) -> Database:
    """Everyone's advertisement with all links Full but those named in `down`.

    Hand the same database and `store` to every node; they share it.
    """
    lsas: dict[str, Lsa] = {}
    credentials: dict[str, Credential] = {}
    for config, signer in nodes:
        credential = signer.credential()
        lsa = Lsa(
            origin=config.name,
            boot_epoch=config.boot_epoch,
            sequence=FIRST_SEQUENCE,
            neighbours=_neighbours(config, down),
            fingerprint=credential.fingerprint,
            expires_ns=min(now + config.flooding.lifetime_ns, credential.expires_ns),
        )
        signature = signer.sign(signed_content(lsa))
        lsas[config.name] = msgspec.structs.replace(lsa, signature=signature)
        credentials[credential.fingerprint] = credential
    return Database(lsas, credentials, store)


def _neighbours(config: NodeConfig, down: frozenset[str]) -> tuple[Neighbour, ...]:
    up = (Neighbour(at.peer, at.link, at.cost) for at in config.links if at.link not in down)
    return tuple(sorted(up, key=lambda neighbour: (neighbour.node, neighbour.link)))
