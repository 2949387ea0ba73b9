"""Folders for results: two runs never share one."""

from __future__ import annotations

from pathlib import Path

import pytest

from x0mesh import run_folder
from x0mesh.refusal import RefusedError


def test_a_folder_in_use_is_refused_and_free_again_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    run_folder.make(run_folder.empty(folder))
    with run_folder.claimed(folder):
        with pytest.raises(RefusedError, match="in use by another run"), run_folder.claimed(folder):
            pass
        assert list(folder.iterdir()) == []
    with run_folder.claimed(folder):
        assert run_folder.empty(folder) == folder
