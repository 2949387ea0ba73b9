"""What a check claims over replications, and how many of them can carry such a claim.

Replications are the independent samples: heals inside one replication are not independent.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from x0mesh.scenarios.fields import ENGINES, Section
from x0mesh.scenarios.plan import EngineName
from x0mesh.scenarios.registry import did_you_mean
from x0mesh.scenarios.schema_forms import OrForm
from x0mesh.scenarios.units import Ratio

BOOTSTRAP_MINIMUM = 10
"""Fewer replications than this and a percentile bootstrap's coverage is far from its name."""

_STATS = ("max", "min", "mean", "median")
_QUANTILE = re.compile(r"^p(\d{1,2}(?:\.\d+)?)$")


def replications_for_bound(share: float, confidence: float) -> int:
    """Least n for which n good replications show that a share above `share` is good.

    Distribution-free: share**n <= 1 - confidence. 95 % at 95 % needs 59, 99 % 299, 50 % 5.
    """
    if not 0 < share < 1 or not 0 < confidence < 1:
        raise ValueError("share and confidence must lie between 0 and 1")
    return max(1, math.ceil(math.log(1 - confidence) / math.log(share) - 1e-9))


class Claim(Section):
    """A statistic over all samples. `confidence`: the bound must hold for runs not made, too;
    without it the statement is about the samples of these runs only."""

    stat: Annotated[str, Field(description="max, min, mean, median or a quantile such as p95")] = (
        "max"
    )
    confidence: Ratio | None = None

    @field_validator("stat")
    @classmethod
    def _known(cls, value: str) -> str:
        if value in _STATS or ((m := _QUANTILE.match(value)) and 0 < float(m[1]) < 100):
            return value
        hint = did_you_mean(value, [*_STATS, "p50", "p90", "p95", "p99"])
        raise ValueError(f"unknown statistic '{value}'{hint}")

    @field_validator("confidence")
    @classmethod
    def _possible(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is None:
            return None
        _check_confidence(value)
        if info.data.get("stat") in ("max", "min"):
            raise ValueError("no number of samples bounds the largest value; use a quantile (p95)")
        return value

    @property
    def quantile(self) -> float | None:
        """0..1 for median and quantiles, else None."""
        if self.stat == "median":
            return 0.5
        match = _QUANTILE.match(self.stat)
        return float(match[1]) / 100 if match else None

    def replications_needed(self, upper: bool = True) -> int:
        """Least replications that can carry it; `upper`: the statistic is bounded from above."""
        if self.confidence is None:
            return 1
        if self.quantile is None:
            return BOOTSTRAP_MINIMUM
        share = self.quantile if upper else 1 - self.quantile
        return replications_for_bound(share, self.confidence)

    def __str__(self) -> str:
        level = f" at {self.confidence * 100:g}% confidence" if self.confidence is not None else ""
        return f"{self.stat}{level}"


class RateClaim(Section):
    """At most this share of replications would violate the check, at this confidence."""

    at_most: Ratio
    confidence: Ratio = 0.95

    @field_validator("at_most")
    @classmethod
    def _not_zero(cls, value: float) -> float:
        if not 0 < value < 1:
            raise ValueError("no number of replications shows a rate of 0%; claim more than 0%")
        return value

    @field_validator("confidence")
    @classmethod
    def _possible(cls, value: float) -> float:
        return _check_confidence(value)

    def replications_needed(self) -> int:
        """0 failures in 59 replications bound the rate at 5 % with 95 % confidence."""
        return replications_for_bound(1 - self.at_most, self.confidence)

    def __str__(self) -> str:
        return f"at most {self.at_most * 100:g}% at {self.confidence * 100:g}% confidence"


def _check_confidence(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError("a confidence lies between 0% and 100%")
    return value


class PerEngine(Section):
    """Another claim for each engine; an engine left out has the check's usual statistic."""

    sim: Claim = Claim()
    emulation: Claim = Claim()


PER_ENGINE_MEAN = PerEngine(sim=Claim(stat="mean"), emulation=Claim(stat="mean"))


def _with_stat(value: Any, usual: str) -> Any:
    return {"stat": usual, **value} if isinstance(value, dict) else value


def _claims(usual: str) -> BeforeValidator:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if not value.keys() & set(ENGINES):
            value = dict.fromkeys(ENGINES, value)
        return {
            **{engine: {"stat": usual} for engine in ENGINES},
            **{engine: _with_stat(claim, usual) for engine, claim in value.items()},
        }

    return BeforeValidator(read)


_BOTH = OrForm(lambda: Claim.model_json_schema())

Across = Annotated[PerEngine, _claims("max"), _BOTH]
"""`{stat, confidence}` or `{sim: {...}, emulation: {...}}`, usually max; see `claim_of`."""

AcrossMean = Annotated[PerEngine, _claims("mean"), _BOTH]


def claim_of(across: PerEngine, engine: EngineName) -> Claim:
    return across.sim if engine == "sim" else across.emulation
