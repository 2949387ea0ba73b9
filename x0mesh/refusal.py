"""Why the command line does nothing: said in one line, with an exit code, nothing written."""

from __future__ import annotations

from typing import ClassVar


class RefusedError(Exception):
    """What was asked for cannot be done as asked; the message says why."""

    exit_code: ClassVar[int] = 2
    label: ClassVar[str] = "error"


class CannotRunError(RefusedError):
    """This host, or this version, cannot run it."""

    exit_code = 4
    label = "cannot run"


class NothingSelectedError(RefusedError):
    """The request leaves nothing to do."""

    exit_code = 5
    label = "nothing selected"


class WriteFailedError(RefusedError):
    """The results have no place: a full disk, a folder that went away."""

    exit_code = 70
    label = "results lost"
