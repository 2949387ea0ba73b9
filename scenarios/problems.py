"""Mistakes in a scenario, each with its position, reported all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """`file:line:column: path: message`, line and column from 1."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: {where}{self.message}"


class ScenarioError(Exception):
    """One or more problems; nothing was written. Exit code 2.

    `partial` is the scenario without what could not be read, if that still makes one: later
    stages look for their kind of mistake in it.
    """

    def __init__(self, problems: list[Problem], partial: Any = None) -> None:
        self.problems = sorted(problems)
        self.partial = partial
        super().__init__("\n".join(map(str, self.problems)))


def once_per_place(problems: list[Problem]) -> list[Problem]:
    """The first message for a place; what follows from it is left out."""
    kept: dict[tuple[str, int, int, str], Problem] = {}
    for problem in problems:
        key = (problem.file, problem.line, problem.column, problem.path)
        kept.setdefault(key, problem)
    return list(kept.values())
