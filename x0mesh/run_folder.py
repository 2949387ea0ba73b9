"""Where a run's files go: a new folder per run, and a link to the latest."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path("x0mesh-runs")


class OutputTakenError(Exception):
    """The folder the user named is in use; nothing was written."""


def fresh(name: str, now: datetime | None = None) -> Path:
    """`x0mesh-runs/<name>/<UTC>-<id>`, not made yet."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    return ROOT / name / f"{stamp}-{secrets.token_hex(2)}"


def empty(folder: Path) -> Path:
    """`folder`, if it can take a run: absent or empty."""
    if folder.exists() and not folder.is_dir():
        raise OutputTakenError(f"{folder} is a file; --out wants a folder")
    if folder.exists() and any(folder.iterdir()):
        raise OutputTakenError(f"{folder} is not empty; name a new folder, or remove it")
    return folder


def link_latest(folder: Path) -> None:
    """Point `latest` beside the run at it, replacing an older link in one step."""
    latest = folder.parent / "latest"
    fresh_link = folder.parent / f".latest-{secrets.token_hex(4)}"
    fresh_link.symlink_to(folder.name)
    fresh_link.replace(latest)


def runs(root: Path = ROOT) -> list[Path]:
    """Run folders under `root`, oldest first; a folder without result.json is unfinished."""
    found = [p for p in root.glob("*/*") if p.is_dir() and not p.is_symlink()]
    return sorted(found, key=lambda p: p.name)
