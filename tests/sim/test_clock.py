from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.sim.clock import DELIVERY, TIMER, Clock


def test_entries_run_by_time_class_rank_and_own_counter_whatever_the_insertion() -> None:
    seen: list[str] = []
    clock = Clock()
    clock.push(5, Clock.order(TIMER, 0), seen.append, "timer of 0 at 5")
    clock.push(5, Clock.order(DELIVERY, 1) + 1, seen.append, "second delivery of 1 at 5")
    clock.push(5, Clock.order(DELIVERY, 1), seen.append, "first delivery of 1 at 5")
    clock.push(5, Clock.order(DELIVERY, 0), seen.append, "delivery of 0 at 5")
    clock.push(3, Clock.order(TIMER, 7), seen.append, "timer at 3")
    clock.run_until(6)
    assert seen == [
        "timer at 3",
        "delivery of 0 at 5",
        "first delivery of 1 at 5",
        "second delivery of 1 at 5",
        "timer of 0 at 5",
    ]
    assert clock.now_ns == 6
    assert clock.entries == 5
    assert clock.backlog == 0


@settings(derandomize=True, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2**23), st.integers(0, 2**22)), max_size=60),
    st.lists(st.integers(1, 2**23), max_size=8),
)
def test_any_mix_of_pushes_from_inside_and_outside_runs_in_order(
    entries: list[tuple[int, int]], stops: list[int]
) -> None:
    clock = Clock()
    seen: list[tuple[int, int]] = []
    counter = iter(range(10**6))

    def act(argument: tuple[int, int]) -> None:
        order, again_ns = argument
        seen.append((clock.now_ns, order))
        if again_ns:
            mine = Clock.order(DELIVERY, 0) + next(counter)
            clock.push(clock.now_ns + again_ns, mine, act, (mine, 0))

    for time_ns, again_ns in entries:
        order = Clock.order(TIMER, 1) + next(counter)
        clock.push(time_ns, order, act, (order, again_ns))
    for stop in sorted(stops):
        clock.run_until(stop)
        assert all(time_ns < stop for time_ns, _ in seen)
    clock.run_until(2**25)
    times = [time_ns for time_ns, _ in seen]
    assert times == sorted(times)
    assert len(seen) == len(entries) + sum(1 for _, again in entries if again)
    assert clock.backlog == 0


def test_processes_and_entries_share_the_clock_and_processes_go_first() -> None:
    clock = Clock()
    seen: list[tuple[int, str]] = []

    def process(name: str, delay_ns: int) -> Generator[Any, Any, None]:
        for _ in range(2):
            yield clock.timeout(delay_ns)
            seen.append((clock.now_ns, name))
            clock.push(clock.now_ns + 1, Clock.order(TIMER, 9), entry, f"after {name}")

    def entry(name: str) -> None:
        seen.append((clock.now_ns, name))

    clock.spawn(2, process("b", 10))
    clock.push(10, Clock.order(TIMER, 1), entry, "entry")
    clock.spawn(1, process("a", 20))
    clock.run_until(21)
    assert seen == [(10, "b"), (10, "entry"), (11, "after b"), (20, "a"), (20, "b")]


def test_an_entry_may_wake_a_process_at_its_own_instant() -> None:
    clock = Clock()
    seen: list[str] = []
    door = clock.event()

    def waiting() -> Generator[Any, Any, None]:
        yield door
        seen.append(f"woken at {clock.now_ns}")

    clock.spawn(1, waiting())
    clock.push(7, Clock.order(TIMER, 1), lambda _: door.succeed(), None)
    clock.push(8, Clock.order(TIMER, 2), lambda _: seen.append("later entry"), None)
    clock.run_until(9)
    assert seen == ["woken at 7", "later entry"]


def test_the_past_and_fractions_of_a_nanosecond_are_programmer_errors() -> None:
    clock = Clock()
    clock.run_until(5_000_000)
    clock.push(5_000_001, Clock.order(TIMER, 1), lambda _: None, None)
    clock.run_until(5_000_002)
    with pytest.raises(AssertionError, match="past"):
        clock.push(4_900_000, Clock.order(TIMER, 1), lambda _: None, None)
    with pytest.raises(AssertionError, match="integer"):
        clock.timeout(0.5)
