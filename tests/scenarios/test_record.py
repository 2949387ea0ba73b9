"""What a fault's evidence adds up to."""

from __future__ import annotations

import pytest

from x0mesh.scenarios.record import Evidence, EvidenceStatus, FaultRecord


def held(link: str, status: EvidenceStatus) -> Evidence:
    return Evidence("LinkBlock", f"{link} both", status, "some packets dropped or held")


@pytest.mark.parametrize(
    ("evidence", "status"),
    [
        ([], "mismatch"),
        ([held("a--b", "mismatch")], "mismatch"),
        ([held("a--b", "confirmed"), held("a--b", "mismatch")], "confirmed"),
        ([held("a--b", "confirmed"), held("b--c", "mismatch")], "mismatch"),
        ([held("a--b", "confirmed"), held("a--b", "not-fired")], "not-fired"),
    ],
)
def test_a_step_repeated_on_one_target_took_effect_if_it_did_once(
    evidence: list[Evidence], status: EvidenceStatus
) -> None:
    assert FaultRecord("f", "net.clog", 0, started_ns=0, evidence=evidence).status == status
