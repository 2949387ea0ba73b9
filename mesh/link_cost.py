"""What loss adds to a link's cost, in few steps, with hysteresis.

Every change of cost is flooded to the whole mesh, so a link whose loss merely wavers must not
change it. ETX (De Couto et al., MobiCom 2003) counts what a link layer would send again; no layer
under this mesh does, so a lost packet is lost to its flow and loss weighs more than there.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

STEPS: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
LOSS_WEIGHT: Final = 8
"""A link is as dear as the expected transmissions over this many such links in a row."""
ORDINARY_LOSS_RATIO: Final = 0.05
MARGIN: Final = 1.25
CALM_REPORTS: Final = 3


def expected_transmissions(loss_ratio: float) -> float:
    """ETX of `LOSS_WEIGHT` links in a row in one direction, at most the highest step."""
    assert 0.0 <= loss_ratio <= 1.0, loss_ratio
    delivered = (1.0 - loss_ratio) ** LOSS_WEIGHT
    return STEPS[-1] if delivered * STEPS[-1] <= 1.0 else 1.0 / delivered


def cost_factor(loss_ratio: float) -> float:
    """The step at or above that; 1.0 while loss is ordinary."""
    if loss_ratio < ORDINARY_LOSS_RATIO:
        return STEPS[0]
    return STEPS[bisect_left(STEPS, expected_transmissions(loss_ratio))]


class LinkCost:
    """The factor in force on one link: dearer at once, cheaper after calm."""

    __slots__ = ("_calm", "factor")

    def __init__(self) -> None:
        self.factor = STEPS[0]
        self._calm = 0

    def measured(self, loss_ratio: float) -> bool:
        """Learn a loss report; true if `factor` changed.

        Cheaper takes `CALM_REPORTS` in a row that would allow it with `MARGIN` times the loss.
        """
        wanted = cost_factor(loss_ratio)
        if wanted <= self.factor:
            wanted = cost_factor(min(1.0, loss_ratio * MARGIN))
            self._calm = self._calm + 1 if wanted < self.factor else 0
            if self._calm < CALM_REPORTS:
                return False
        self._calm = 0
        changed = wanted != self.factor
        self.factor = wanted
        return changed
