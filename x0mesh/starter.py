"""The scenario that `x0mesh init` writes."""

STARTER = """\
# x0mesh run scenario.yaml            `x0mesh list faults` shows what else can go wrong
schema: x0mesh.scenario/1
name: my-first
title: Does traffic survive the loss of any one link?

run: {warmup: 6s, settle: 5s, seeds: {base: 1, sim: 20}}

topology:
  generator: {kind: random-geometric, nodes: 16, degree: 4, seed: 7}

traffic:
  - {id: probes, from: n0, to: n9, kind: cbr, rate: 100/s, size: 256B}

timeline:
  - {id: cut, at: 2s, for: 6s, fault: link.blackhole, target: {links: {graph: not-bridge, pick: 1}}}

steady_state:
  - {id: all-reach, metric: reachability.ratio, op: "==", value: 100%}

checks:
  - {id: heals, kind: within, metric: detect.time, limit: 400ms}
  - {id: delivers, kind: slo, metric: traffic.delivered_ratio, op: ">=", value: 90%}
"""
