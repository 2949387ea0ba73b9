"""How many replications a claim needs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from scipy.stats import beta

from x0mesh.scenarios.checks import Check, Slo, Within, check_of
from x0mesh.scenarios.claims import Claim, RateClaim, claim_of, replications_for_bound


@pytest.mark.parametrize(
    ("share", "confidence", "needed"),
    [(0.95, 0.95, 59), (0.99, 0.95, 299), (0.5, 0.95, 5), (0.9, 0.95, 29), (0.5, 0.5, 1)],
)
def test_the_distribution_free_bound(share: float, confidence: float, needed: int) -> None:
    assert replications_for_bound(share, confidence) == needed


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.139, 0.45])
def test_no_failure_in_that_many_bounds_the_rate_by_clopper_pearson(rate: float) -> None:
    n = RateClaim.model_validate({"at_most": f"{rate * 100:g}%"}).replications_needed()
    assert beta.ppf(0.95, 1, n) <= rate + 1e-9
    assert n == 1 or beta.ppf(0.95, 1, n - 1) > rate


def test_a_low_quantile_bounded_from_above_is_easy_and_from_below_hard() -> None:
    claim = Claim.model_validate({"stat": "p5", "confidence": "95%"})
    assert claim.replications_needed(upper=True) == 1
    assert claim.replications_needed(upper=False) == 59


def within(**words: Any) -> Check:
    return check_of({"id": "a", "kind": "within", "metric": "heal.time", "limit": "1s", **words})


def test_across_is_for_both_engines_or_one_for_each() -> None:
    both = within(across={"stat": "p90"})
    assert isinstance(both, Within)
    assert claim_of(both.across, "sim").stat == claim_of(both.across, "emulation").stat == "p90"
    each = within(across={"sim": {"stat": "p95", "confidence": "95%"}})
    assert each.needed("sim")[0] == 59
    assert each.needed("emulation") == (1, "max")
    slo = check_of(
        {"id": "a", "kind": "slo", "metric": "traffic.delivered_ratio", "op": ">=", "value": "98%",
         "across": {"confidence": "95%"}}
    )  # fmt: skip
    assert isinstance(slo, Slo)
    assert str(claim_of(slo.across, "sim")) == "mean at 95% confidence"
    assert slo.value == 0.98


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"across": {"stat": "max", "confidence": "95%"}}, "no number of samples bounds"),
        ({"across": {"stat": "p100"}}, "unknown statistic 'p100'"),
        ({"across": {"stat": "p0"}}, "unknown statistic 'p0'"),
        ({"across": {"stat": "mena"}}, "did you mean 'mean'"),
        ({"across": {"stat": "p95", "confidence": "100%"}}, "between 0% and 100%"),
        ({"across": {"stat": "p95", "confidence": 0.95}}, "expected a percentage"),
        ({"kind": "never", "across": {"at_most": "0%"}}, "no number of replications shows"),
        ({"kind": "sometimes", "confidence": "95%"}, "needs at_least"),
        ({"kind": "never", "event": "spf.run"}, "exactly one of event / metric"),
        ({"kind": "never", "op": None, "value": None}, "a metric needs op and value"),
        ({"kind": "agree", "margin": "-1ms"}, "cannot be negative"),
    ],
)
def test_a_claim_nobody_can_make_is_refused(words: dict[str, Any], says: str) -> None:
    value = {"id": "a", "kind": "within", "metric": "heal.time", "limit": "1s", **words}
    if value["kind"] != "within":
        del value["limit"]
    if value["kind"] in ("never", "sometimes") and "op" not in words:
        value |= {"op": ">", "value": "1s"}
    with pytest.raises(ValidationError) as caught:
        check_of(value)
    assert says in str(caught.value)
