"""The scenario that `x0mesh init` writes."""

STARTER = """\
# Run it with `x0mesh run`, look at it before with `x0mesh plan`.
# What else can go wrong: x0mesh list faults. What else can be asked: x0mesh list metrics.
schema: x0mesh.scenario/1
name: my-first
title: Does traffic survive the silent loss of any one link?

# Three phases; each seed draws its own link to cut.
run: {warmup: 6s, chaos: 10s, settle: 5s, seeds: {base: 1, sim: 20}}

topology:
  generator: {kind: random-geometric, nodes: 12, degree: 4, seed: 7}

traffic:
  - {id: probes, from: n0, to: n9, kind: cbr, rate: 100/s, size: 256B}

timeline:
  - {id: cut, at: 2s, for: 6s, fault: link.blackhole, target: {links: {graph: not-bridge, pick: 1}}}

# Must hold at the end of warmup, and again at the end of settle.
steady_state:
  - {id: all-reach, metric: reachability.ratio, op: "==", value: 100%}

checks:
  - {id: detects, kind: within, metric: detect.time, limit: 400ms}
  - {id: delivers, kind: slo, metric: traffic.delivered_ratio, op: ">=", value: 95%}
"""
