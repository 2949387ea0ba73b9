"""Runs one part once, in a process of its own, and prints its measurement as one line of JSON."""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import asdict

from benchmarks.catalogue import find
from benchmarks.meter import Meter


def main(name: str, part_name: str, amount: str) -> None:
    part = find(name).parts[part_name]
    if part.gc_off:
        gc.disable()
    meter = Meter()
    counts = part.run(int(amount), meter)
    print(json.dumps(asdict(meter.measurement(counts))))


if __name__ == "__main__":
    main(*sys.argv[1:])
