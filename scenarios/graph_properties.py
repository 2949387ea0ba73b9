"""Properties of a topology's graph that selectors ask for, by value and without randomness."""

from __future__ import annotations
