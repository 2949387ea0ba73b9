from __future__ import annotations

from typing import Any

import pytest

from x0mesh.scenarios.timeline import TimelineEntry
from x0mesh.scenarios.windows import Window, windows

S = 1_000_000_000


def entry(name: str, **words: Any) -> TimelineEntry:
    words = {"for" if word == "for_" else word: value for word, value in words.items()}
    return TimelineEntry.model_validate(
        {"id": name, "fault": "link.down", "target": {"links": "a-b"}, **words}
    )


def after(event: str, delay: str = "0s") -> dict[str, str]:
    return {"event": event, "delay": delay}


def test_times_follow_the_chain_in_any_order() -> None:
    found = windows(
        [
            entry("c", after=after("b.ended", "1s"), for_="2s"),
            entry("a", at="1s", for_="4s"),
            entry("b", after=after("a.started", "500ms"), for_="1s"),
        ],
        None,
    )
    assert found.mistakes == ()
    assert found.of == {
        "c": Window(3_500_000_000, 3_500_000_000, 5_500_000_000, True),
        "a": Window(1 * S, 1 * S, 5 * S, True),
        "b": Window(1_500_000_000, 1_500_000_000, 2_500_000_000, True),
    }
    assert found.chaos_ns == 10_500_000_000


def test_a_state_may_come_at_once_or_never() -> None:
    state = {"metric": "routes.converged", "op": "==", "value": 1, "give_up": "3s"}
    found = windows(
        [
            entry("a", at="2s", for_="1s"),
            entry("w", when={**state, "after": "a.ended"}, for_="1s"),
            entry("x", when=state, for_="1s"),
            entry("y", after=after("w.ended", "1s"), for_="1s"),
        ],
        None,
    )
    assert found.of["w"] == Window(3 * S, 6 * S, 7 * S, False)
    assert found.of["x"] == Window(0, 3 * S, 4 * S, False)
    assert found.of["y"] == Window(5 * S, 8 * S, 9 * S, False)
    assert found.chaos_ns == 14 * S


def test_a_very_long_chain_is_followed() -> None:
    chain = [entry("f0", at="1ms", for_="1ms")]
    chain += [
        entry(f"f{i}", after=after(f"f{i - 1}.started", "1ms"), for_="1ms") for i in range(1, 3000)
    ]
    assert windows(chain[::-1], None).of["f2999"].start_ns == 3000 * 1_000_000


@pytest.mark.parametrize(
    ("timeline", "path", "message"),
    [
        (
            [entry("a", after=after("b.ended"), for_="1s"), entry("b", after=after("a.ended"))],
            ("timeline", 1, "after", "event"),
            "faults wait for each other: a -> b -> a",
        ),
        (
            [entry("a", after=after("a.started"))],
            ("timeline", 0, "after", "event"),
            "faults wait for each other: a -> a",
        ),
        (
            [entry("cut-ap", at="1s"), entry("b", after=after("cutap.started"))],
            ("timeline", 1, "after", "event"),
            "names no fault: 'cutap'; did you mean 'cut-ap'?",
        ),
        (
            [entry("a", at="1s"), entry("b", after=after("a.ended"))],
            ("timeline", 1, "after", "event"),
            "'a' has no for:, so it ends with the chaos phase",
        ),
        (
            [entry("a", at="8s", for_="3s")],
            ("timeline", 0, "for"),
            "'a' runs past the chaos phase (11s > 10s)",
        ),
        (
            [entry("a", at="10s")],
            ("timeline", 0, "at"),
            "'a' starts at 10s, beyond the chaos phase (10s)",
        ),
        (
            [entry("a", at="8s", for_="1s"), entry("b", after=after("a.ended", "1s"), for_="1s")],
            ("timeline", 1, "after"),
            "'b' starts at 10s, beyond the chaos phase (10s)",
        ),
    ],
)
def test_impossible_times_are_told_with_their_place(
    timeline: list[TimelineEntry], path: tuple[str | int, ...], message: str
) -> None:
    assert windows(timeline, 10 * S).mistakes[0] == (path, message)


def test_one_circle_is_one_mistake() -> None:
    found = windows(
        [
            entry("a", after=after("b.started")),
            entry("b", after=after("c.started")),
            entry("c", after=after("a.started")),
            entry("d", after=after("c.started")),
        ],
        10 * S,
    )
    assert len(found.mistakes) == 1
