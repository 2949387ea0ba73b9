from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from x0mesh.scenarios.actions import LinkBlock, LinkDown, LinkImpair
from x0mesh.scenarios.faults import FAULTS
from x0mesh.scenarios.faults.trace import read_trace
from x0mesh.scenarios.impairment import GilbertElliott, Impairment
from x0mesh.scenarios.plan import Step
from x0mesh.scenarios.topology import Topology

MS = 1_000_000
S = 1_000 * MS


def test_impair_becomes_the_impairment_it_describes(steps_of: Any) -> None:
    parameters = {
        "delay": "5ms",
        "jitter": "20ms",
        "loss": "5%",
        "burst": {"good": "2s", "bad": "100ms", "loss_bad": "80%"},
        "rate": "1mbit",
        "queue": 20,
        "reorder": "1%",
        "duplicate": "2%",
        "corrupt": "3%",
        "direction": "forward",
    }
    assert steps_of("net.impair", parameters, links=("n0-n1",)) == (
        Step(
            0,
            LinkImpair(
                "n0-n1",
                "forward",
                Impairment(
                    delay_ns=5 * MS,
                    jitter_ns=20 * MS,
                    loss=0.05,
                    burst=GilbertElliott(2 * S, 100 * MS, 0.0, 0.8),
                    rate_bps=1_000_000,
                    queue=20,
                    reorder=0.01,
                    duplicate=0.02,
                    corrupt=0.03,
                ),
            ),
        ),
    )


def test_impair_without_queue_leaves_a_long_queue_as_it_is(steps_of: Any, ring: Topology) -> None:
    base = ring.links["n0-n1"]
    long = Impairment(delay_ns=MS, queue=5000)
    ring.links["n0-n1"] = replace(base, forward=long, backward=long)
    (step,) = steps_of("net.impair", {"loss": "1%"}, links=("n0-n1",))
    assert long.over(step.action.impairment).queue == 5000


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "changes nothing"),
        ({"direction": "forward"}, "changes nothing"),
        ({"loss": "0%"}, "changes nothing"),
        ({"loss": "101%"}, "at most 100%"),
        ({"loss": 5}, "percentage"),
        ({"delay": "-5ms"}, "cannot be negative"),
        ({"delay": 5}, "such as '250ms'"),
        ({"rate": "0mbit"}, "above 0bit"),
        ({"queue": "64"}, "valid integer"),
        ({"jiter": "5ms"}, "jiter"),
        ({"burst": {"good": "1s"}}, "bad"),
        ({"burst": {"good": "1s", "bad": "0s"}}, "longer than 0s"),
        ({"burst": {"good": "1s", "bad": "1s", "loss_bad": "0%"}}, "loses nothing"),
        ({"loss": "1%", "direction": "in"}, "forward"),
    ],
)
def test_impossible_impairments_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FAULTS["net.impair"].model_validate(parameters)


def test_mtu_lets_larger_packets_vanish(steps_of: Any) -> None:
    assert steps_of("net.mtu", {"bytes": "576B"}, links=("n0-n1",)) == (
        Step(0, LinkImpair("n0-n1", "both", Impairment(mtu=576))),
    )


@pytest.mark.parametrize("size", ["67B", "64KiB", 576])
def test_what_is_no_mtu_is_refused(size: Any) -> None:
    with pytest.raises(ValidationError):
        FAULTS["net.mtu"].model_validate({"bytes": size})


TRACE = """\
# a drive past a base station
time, state, delay, loss
0s, up, 10ms, 1%

1s, up, 10ms, 1%
1.5s, down, ,
2s, down, ,
3s, blackhole, 20ms,
"""


def test_a_trace_becomes_the_states_it_records(steps_of: Any, tmp_path: Path) -> None:
    (tmp_path / "drive.csv").write_text(TRACE)
    steps = steps_of("net.trace", {"file": "drive.csv"}, links=("n0-n1",))
    assert steps == (
        Step(0, LinkImpair("n0-n1", "both", Impairment(delay_ns=10 * MS, loss=0.01)), 1500 * MS),
        Step(1500 * MS, LinkDown("n0-n1"), 3 * S),
        Step(3 * S, LinkBlock("n0-n1", "both", "drop")),
        Step(3 * S, LinkImpair("n0-n1", "both", Impairment(delay_ns=20 * MS))),
    )


def test_rows_after_the_faults_end_are_not_reached(steps_of: Any, tmp_path: Path) -> None:
    (tmp_path / "drive.csv").write_text(TRACE)
    steps = steps_of("net.trace", {"file": "drive.csv"}, links=("n0-n1",), duration_ns=2 * S)
    assert [type(step.action) for step in steps] == [LinkImpair, LinkDown]
    assert steps[1].until_ns is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv:1: no rows"),
        ("time,delay\n", "t.csv:1: no rows"),
        ("time,dealy\n0s,1ms\n", "t.csv:1: unknown column 'dealy'; did you mean 'delay'?"),
        ("delay\n1ms\n", "t.csv:1: needs a column 'time'"),
        ("time,loss,loss\n0s,1%,1%\n", "t.csv:1: the same column twice"),
        ("time,loss\n0s,1%\n1s\n", "t.csv:3: 1 cells under 2 columns"),
        ("time,loss\n# a\n0s,5\n", "t.csv:3: loss: expected a percentage"),
        ("time,loss\n,5%\n", "t.csv:2: time: empty"),
        ("time,loss\n1,5%\n", "t.csv:2: time: expected a duration"),
        ("time,loss\n1s,5%\n1s,6%\n", "t.csv:3: time does not rise"),
        ("time,state\n0s,flaky\n", "t.csv:2: state: expected up, down or blackhole"),
        ("time,queue\n0s,0\n", "t.csv:2: queue: expected a number of packets"),
        ('time,loss\n0s,"5%\n', "t.csv:2: not CSV"),
    ],
)
def test_a_wrong_trace_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"t\.csv") as error:
        read_trace(path, "t.csv")
    assert message in str(error.value)


def test_traces_that_are_no_text_or_too_large_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with pytest.raises(ValueError, match="No such file"):
        read_trace(path, "t.csv")
    with pytest.raises(ValueError, match="not a file"):
        read_trace(tmp_path, "t.csv")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not a text file"):
        read_trace(path, "t.csv")
    path.write_bytes(b"#" * (4 * 2**20 + 1))
    with pytest.raises(ValueError, match="larger than 4 MiB"):
        read_trace(path, "t.csv")
    path.write_text("time,loss\n" + "".join(f"{i}ms,1%\n" for i in range(20_001)))
    with pytest.raises(ValueError, match=r"t\.csv:20002: more than 20000 rows"):
        read_trace(path, "t.csv")


def test_a_trace_that_says_nothing_in_time_is_refused(steps_of: Any, tmp_path: Path) -> None:
    (tmp_path / "late.csv").write_text("time,loss\n20s,1%\n")
    (tmp_path / "idle.csv").write_text("time,loss\n0s,\n")
    with pytest.raises(ValueError, match="beyond the fault's end"):
        steps_of("net.trace", {"file": "late.csv"}, links=("n0-n1",))
    with pytest.raises(ValueError, match="changes anything"):
        steps_of("net.trace", {"file": "idle.csv"}, links=("n0-n1",))


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.text(alphabet='time,los\n\r"0123456789.%s #\x00é', max_size=60))
def test_any_text_is_read_or_refused_with_a_value_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("trace") / "t.csv"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        rows = read_trace(path, "t.csv")
    except ValueError as error:
        refused = str(error)
        rows = []
    else:
        refused = ""
    assert refused.startswith("t.csv:") != bool(rows)
    assert [row.at_ns for row in rows] == sorted({row.at_ns for row in rows})
