"""Names of imported nodes: short, plain, unique, and the same every time."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_LENGTH = 60
_RESERVED = frozenset({"rest"})


def clean(text: str) -> str:
    """`text` in the letters a name may have, accents taken off; '' where nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("-.")[:_LENGTH].rstrip("-.")


def unique_names(nodes: Sequence[tuple[str, str | None]]) -> list[str]:
    """Names for (id, label) pairs: the label where there is one, `-2`, `-3` where it repeats.

    The first keeps the plain name, and a name made by numbering never takes one a label has.
    """
    wanted = []
    for own, label in nodes:
        name = clean(label or "") or (f"n{own}" if own.isascii() and own.isdigit() else clean(own))
        wanted.append(f"node-{name}" if name in _RESERVED else name or "node")
    taken = set(wanted)
    given: dict[str, int] = {}
    names = []
    for name in wanted:
        count = given.get(name, 0) + 1
        if count > 1:
            while f"{name}-{count}" in taken:
                count += 1
            taken.add(f"{name}-{count}")
        given[name] = count
        names.append(name if count == 1 else f"{name}-{count}")
    return names
