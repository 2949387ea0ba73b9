"""When a flow sends: the same instants in every engine, from the plan and its seed alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from x0mesh.scenarios.draws import stream
from x0mesh.scenarios.plan import FlowPlan

MAX_PROBES = 5_000_000


def probe_instants(flow: FlowPlan, seed: int, end_ns: int) -> npt.NDArray[np.int64]:
    """Sending times in [start_ns, end_ns), int64 ns, rising.

    cbr and request: every `interval_ns`, with a phase drawn once per flow so that probes do not
    march in step with faults planned at round times. poisson: exponential gaps with that mean.
    bulk has no schedule of its own: empty. More than `MAX_PROBES` is a ValueError.
    """
    if flow.kind == "bulk":
        return np.empty(0, dtype=np.int64)
    expected = (end_ns - flow.start_ns) / flow.interval_ns
    if expected > MAX_PROBES:
        raise ValueError(f"flow {flow.name}: {expected:.0f} probes, at most {MAX_PROBES}")
    random = stream(seed, flow.name, "probe instants")
    if flow.kind == "poisson":
        count = int(expected + 8 * np.sqrt(max(expected, 1)) + 16)
        times = flow.start_ns + np.cumsum(random.exponential(flow.interval_ns, count))
        return times[times < end_ns].astype(np.int64)
    phase = int(random.integers(flow.interval_ns))
    return np.arange(flow.start_ns + phase, end_ns, flow.interval_ns, dtype=np.int64)
