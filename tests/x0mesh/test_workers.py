"""Worker processes and the signals that are meant for their parent."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from x0mesh import workers


@pytest.fixture
def stopping() -> Iterator[None]:
    """SIGTERM raises, as the second one of a run does."""

    def note(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, note)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("stopping")
def test_a_signal_to_the_group_leaves_a_worker_that_just_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve = workers._serve

    def hit(*words: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        serve(*words)

    monkeypatch.setattr(workers, "_serve", hit)
    assert list(workers.in_processes(lambda task: task + 1, 1, 1, lambda: None)) == [(0, 1)]
