"""Where a run's files go: a new folder per run, and a link to the latest."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from x0mesh.refusal import RefusedError

ROOT = Path("x0mesh-runs")

_STAMP = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")


def fresh(name: str, now: datetime | None = None) -> Path:
    """`x0mesh-runs/<name>/<UTC>-<id>`, not made yet."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    return ROOT / name / f"{stamp}-{secrets.token_hex(2)}"


def make(folder: Path) -> None:
    """Make `folder` and its parents. Raises RefusedError if that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RefusedError(f"{folder} cannot be made: {error.strerror}") from error


def empty(folder: Path) -> Path:
    """`folder`, if it can take a run: absent or empty. Raises RefusedError."""
    try:
        if folder.exists() and not folder.is_dir():
            raise RefusedError(f"{folder} is a file; --out wants a folder")
        if folder.exists() and any(folder.iterdir()):
            raise RefusedError(f"{folder} is not empty; name a new folder, or remove it")
    except OSError as error:
        raise RefusedError(f"{folder} cannot be read: {error.strerror}") from error
    return folder


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other runs out of `folder` meanwhile; they get a RefusedError.

    A lock on the folder itself: it goes with the process, whatever ends it, and leaves no file.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RefusedError(f"{folder} is in use by another run; name a folder of its own") from None
    else:
        yield
    finally:
        os.close(descriptor)


def link_latest(folder: Path) -> None:
    """Point `latest` beside the run at it, replacing an older link in one step."""
    latest = folder.parent / "latest"
    fresh_link = folder.parent / f".latest-{secrets.token_hex(4)}"
    fresh_link.symlink_to(folder.name)
    fresh_link.replace(latest)


def runs(root: Path = ROOT) -> list[Path]:
    """Run folders under `root`, oldest first; nothing but what `fresh` named."""
    found = [
        path
        for path in root.glob("*/*")
        if _STAMP.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]
    return sorted(found, key=lambda path: (path.name, path.parent.name))


def remove(folder: Path) -> None:
    """Remove a run folder of `runs`, and what then leads to nothing: `latest`, an empty parent."""
    shutil.rmtree(folder)
    latest = folder.parent / "latest"
    if latest.is_symlink() and not latest.exists():
        latest.unlink()
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()
