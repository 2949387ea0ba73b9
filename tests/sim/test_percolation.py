import numpy as np
import pytest
from scipy.optimize import brentq

from x0mesh.sim.surviving import components, giant_share


@pytest.mark.parametrize("removed", [0.2, 0.4, 0.6, 0.7])
def test_v11_the_giant_component_survives_random_removal_as_percolation_says(
    removed: float,
) -> None:
    """S = 1 - exp(-c (1-f) S) on an Erdos-Renyi graph (Callaway et al. 2000)."""
    n, degree = 20_000, 4.0
    random = np.random.default_rng(3)
    ends = random.integers(0, n, size=(round(n * degree / 2), 2))
    alive = random.random(n) >= removed
    nodes = [str(node) for node in np.flatnonzero(alive)]
    kept = ends[alive[ends[:, 0]] & alive[ends[:, 1]]]
    labels = components(nodes, ((str(a), str(b)) for a, b in kept))
    left = degree * (1 - removed)
    share = brentq(lambda s: s - 1 + np.exp(-left * s), 1e-6, 1.0) * (1 - removed)
    assert giant_share(labels, n) == pytest.approx(share, abs=0.015)


def test_no_giant_component_survives_beyond_the_threshold() -> None:
    n, degree, removed = 20_000, 4.0, 0.8  # c (1-f) = 0.8 < 1
    random = np.random.default_rng(4)
    ends = random.integers(0, n, size=(round(n * degree / 2), 2))
    alive = random.random(n) >= removed
    kept = ends[alive[ends[:, 0]] & alive[ends[:, 1]]]
    nodes = [str(node) for node in np.flatnonzero(alive)]
    labels = components(nodes, ((str(a), str(b)) for a, b in kept))
    assert giant_share(labels, n) < 0.01
