"""A file becomes a Scenario, or every mistake in it with its line, column and hint."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from x0mesh.scenarios.checks import Agree, Never, Not, Within
from x0mesh.scenarios.loader import load, loads
from x0mesh.scenarios.problems import ScenarioError
from x0mesh.scenarios.yaml_reader import MAX_BYTES

S = 1_000_000_000
EXAMPLES = Path(__file__).parent / "examples"
SHARED = Path(os.environ.get("X0MESH_SHARED", Path(__file__).parents[3] / "shared"))

FIVE_LINES = """\
schema: x0mesh.scenario/1
name: link-cut
topology: {import: "topohub:sndlib/germany50"}
timeline: [{id: cut, at: 2s, for: 5s, fault: link.down, target: {links: {pick: 1}}}]
checks: [{id: heals, kind: within, metric: heal.time, limit: 500ms}]
"""

HEAD = "schema: x0mesh.scenario/1\nname: x\n"
RING = HEAD + "topology: {generator: {kind: ring, nodes: 6}}\n"
CUT = "timeline: [{id: cut, at: 2s, for: 5s, fault: link.down, target: {links: {pick: 1}}}]\n"


def problems(text: str, **sets: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        loads(text, "f.yaml", sets=sets)
    return [str(problem) for problem in caught.value.problems]


def test_five_lines_are_a_scenario_with_sensible_defaults() -> None:
    scenario = loads(FIVE_LINES)
    assert scenario.engines == ("sim", "emulation")
    assert (scenario.run.warmup, scenario.run.chaos, scenario.run.settle) == (6 * S, None, 5 * S)
    seeds = scenario.run.seeds
    assert (seeds.base, seeds.sim, seeds.emulation) == (1, 20, 3)
    assert scenario.run.routes is None
    assert [scenario.run.routes_for(n) for n in (300, 301)] == ["all", "in-use"]
    assert scenario.run.start_for(300) == "cold"
    assert scenario.run.start_for(301) == "converged"
    assert scenario.topology.import_ == "topohub:sndlib/germany50"
    assert scenario.traffic == ()
    assert scenario.identity.trust_domain == "mesh.test"
    assert scenario.protocol.plan().repairs
    check = scenario.checks[0]
    assert isinstance(check, Within)
    assert check.limit == 0.5
    assert check.across.sim.stat == check.across.emulation.stat == "max"


@pytest.mark.skipif(
    not (SHARED / "scenario-example.yaml").exists(), reason="no worked example beside the checkout"
)
def test_the_worked_example_is_valid() -> None:
    scenario = load(SHARED / "scenario-example.yaml")
    assert [entry.id for entry in scenario.timeline][-1] == "random-flaps"
    assert scenario.topology.generator is not None
    assert scenario.topology.generator.model_dump()["nodes"] == 12
    assert load(SHARED / "scenario-example.yaml", {"size": "16"}).params["size"] == 16


def test_a_scenario_with_every_section_keeps_what_was_written() -> None:
    scenario = load(EXAMPLES / "full.yaml")
    assert scenario.title == "Every section: 9 nodes"
    assert scenario.run.time_limit.emulation == 120 * S
    assert scenario.topology.add.links[1].name == "last-mile"
    assert scenario.topology.profiles["wan"].loss == 0.02
    assert dict(scenario.protocol.plan().liveness) == {
        "interval_ns": 50_000_000,
        "multiplier": 3,
        "adaptive": False,
    }
    flow = scenario.traffic[1].flow("questions:n8>n0", "n8", "n0")
    assert (flow.kind, flow.interval_ns, flow.reply_bytes) == ("poisson", 200_000_000, 4096)
    assert scenario.timeline[1].with_.model_dump() == {"restart": "warm"}
    assert scenario.timeline[3].prob == 0.4
    assert scenario.engines_of(scenario.timeline[3]) == ("sim",)
    never = scenario.checks[4]
    assert isinstance(never, Never)
    assert never.where == {"trust_domain": Not.model_validate({"not": "mesh.test"})}
    agree = scenario.checks[7]
    assert isinstance(agree, Agree)
    assert (agree.margin, agree.on_disagree) == (0.01, "warn")
    assert scenario.safety.max_blast.nodes == 0.4
    assert scenario.safety.max_blast.links == 8


def test_a_scenario_knows_where_it_came_from() -> None:
    path = EXAMPLES / "full.yaml"
    scenario = load(path)
    assert scenario.source == str(path)
    assert scenario.base_dir == scenario.import_dir == EXAMPLES
    assert scenario.raw["topology"]["profiles"]["wan"]["loss"] == "2%"
    place = scenario.problem(("timeline", 0, "target"), "matches nothing")
    line = path.read_text().splitlines()[place.line - 1]
    assert line[place.column - 1 :].startswith("{links:")
    again = pickle.loads(pickle.dumps(scenario))
    assert (again.sha256, again.raw) == (scenario.sha256, scenario.raw)


def test_the_hash_follows_what_is_run_and_not_how_it_is_written() -> None:
    one = loads(FIVE_LINES)
    lines = FIVE_LINES.splitlines()
    moved = "\n".join(["# a comment", lines[1], lines[0], *lines[2:]])
    assert loads(moved).sha256 == one.sha256
    assert loads(FIVE_LINES.replace("500ms", "501ms")).sha256 != one.sha256
    set_so = loads(FIVE_LINES.replace("500ms", "1s"), sets={"checks.heals.limit": "500ms"})
    assert set_so.sha256 == one.sha256


def test_an_import_from_the_command_line_is_relative_to_the_working_directory(
    tmp_path: Path,
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(HEAD + 'params: {topo: net.json}\ntopology: {import: "${topo}"}\n' + CUT)
    assert load(file, working_dir="/elsewhere").import_dir == tmp_path
    by_parameter = load(file, {"topo": "a.graphml"}, working_dir="/elsewhere")
    by_path = load(file, {"topology.import": "a${topo}"}, working_dir="/elsewhere")
    assert by_parameter.import_dir == by_path.import_dir == Path("/elsewhere")
    assert by_parameter.base_dir == tmp_path


MISTAKES = [
    # (text, the one line it gives)
    ("nam: x\n" + RING, "f.yaml:1:1: nam: unknown key 'nam'; did you mean 'name'?"),
    (
        RING + "timelin: []\n",
        "f.yaml:4:1: timelin: unknown key 'timelin'; did you mean 'timeline'?",
    ),
    (HEAD, "f.yaml:1:1: topology: topology is missing"),
    (
        RING.replace("/1", "/2"),
        "f.yaml:1:9: schema: this version reads 'x0mesh.scenario/1', not 'x0mesh.scenario/2'",
    ),
    (
        RING + "run: {warmup: 5}\n",
        "f.yaml:4:15: run.warmup: expected a duration such as '250ms' or '5s', got 5",
    ),
    (
        RING + "run: {settle: -5s}\n",
        "f.yaml:4:15: run.settle: duration cannot be negative, got '-5s'",
    ),
    (
        RING + CUT.replace("at: 2s", "at: -2s"),
        "f.yaml:4:26: timeline.0.at: duration cannot be negative, got '-2s'",
    ),
    (
        RING + CUT.replace("link.down", "link.dwn"),
        "f.yaml:4:46: timeline.0.fault: unknown fault 'link.dwn'; did you mean 'link.down'?",
    ),
    (
        RING
        + CUT.replace("link.down", "net.impair")
        .replace("}}]", "}, with: {jiter: 2ms, loss: 1%}}]")
        .replace("{pick: 1, with", "{pick: 1}, with")
        .replace("{links: {pick: 1}, with", "{links: {pick: 1}}, with"),
        "f.yaml:4:93: timeline.0.with.jiter: unknown key 'jiter'; did you mean 'jitter'?",
    ),
    (
        RING + CUT.replace("{pick: 1}", "{pik: 1}"),
        "f.yaml:4:74: timeline.0.target.links.pik: unknown key 'pik'; did you mean 'pick'?",
    ),
    (
        RING + CUT.replace("links: {pick: 1}", "nodes: n1"),
        "f.yaml:4:73: timeline.0.target.nodes: link.down needs a target of links",
    ),
    (
        RING + CUT.replace("at: 2s, ", ""),
        "f.yaml:4:12: timeline.0: exactly one of at / after / when is needed, got none",
    ),
    (
        RING + CUT.replace("at: 2s", "at: 2s, after: {event: cut.ended}"),
        "f.yaml:4:37: timeline.0.after: exactly one of at / after / when is needed, "
        "got at and after",
    ),
    (
        RING + CUT.replace("link.down", "identity.revoke").replace("links: {pick: 1}", "nodes: n1"),
        "f.yaml:4:35: timeline.0.for: identity.revoke cannot be undone, so it takes no for:",
    ),
    (
        RING + CUT.replace("fault", "engines: [sim], fault"),
        "f.yaml:4:48: timeline.0.engines: engines narrows the fault, so reason: is needed "
        "(it is printed as the skip)",
    ),
    (
        RING
        + CUT.replace(
            "link.down, target: {links: {pick: 1}}",
            "attack.replay, target: {nodes: n1}, with: {capture: 1s, rate: 5/s}, "
            "engines: [sim], reason: why not",
        ),
        "f.yaml:4:123: timeline.0.engines: attack.replay does not run on sim",
    ),
    (
        RING
        + "engines: [sim]\n"
        + CUT.replace("link.down", "xdp.detach").replace("links: {pick: 1}", "nodes: n1"),
        "f.yaml:5:12: timeline.0: xdp.detach does not run on sim, so 'cut' would never happen",
    ),
    (
        RING + CUT.replace("at: 2s", "after: {event: cutt.ended}").replace("id: cut", "id: b"),
        "f.yaml:4:35: timeline.0.after.event: names no fault: 'cutt'",
    ),
    (
        RING
        + CUT.replace(
            "}]", "}, {id: b, after: {event: ct.ended}, fault: node.drain, target: {nodes: n1}}]"
        ),
        "f.yaml:4:109: timeline.1.after.event: names no fault: 'ct'; did you mean 'cut'?",
    ),
    (
        RING + CUT.replace("at: 2s", "after: {event: cut.ended}"),
        "f.yaml:4:37: timeline.0.after.event: faults wait for each other: cut -> cut",
    ),
    (
        RING + "run: {chaos: 6s}\n" + CUT,
        "f.yaml:5:35: timeline.0.for: 'cut' runs past the chaos phase (7s > 6s)",
    ),
    (
        RING + "run: {chaos: 1s}\n" + CUT.replace("for: 5s, ", ""),
        "f.yaml:5:26: timeline.0.at: 'cut' starts at 2s, beyond the chaos phase (1s)",
    ),
    (
        RING + CUT.replace("}]", "}, {id: cut, at: 1s, fault: node.drain, target: {nodes: n1}}]"),
        "f.yaml:4:91: timeline.1.id: duplicate fault id 'cut'",
    ),
    (
        RING + CUT.replace("{pick: 1}", "{between: ['@x', '*']}"),
        "f.yaml:4:84: timeline.0.target.links.between.0: nothing is named '@x' by as:",
    ),
    (
        RING + "checks: [{id: a, kind: within, metric: heal.tme, limit: 1s}]\n",
        "f.yaml:4:40: checks.0.metric: unknown metric 'heal.tme'; did you mean 'heal.time'?",
    ),
    (
        RING + "checks: [{id: a, kind: witin, metric: detect.time, limit: 1s}]\n",
        "f.yaml:4:24: checks.0.kind: unknown kind of check 'witin'; did you mean 'within'?",
    ),
    (
        RING + "checks: [{id: a, kind: never, event: packet.acepted}]\n",
        "f.yaml:4:38: checks.0.event: unknown event 'packet.acepted'; "
        "did you mean 'packet.accepted'?",
    ),
    (
        RING + "checks: [{id: a, kind: never, event: spf.run, where: {nod: n1}}]\n",
        "f.yaml:4:60: checks.0.where.nod: events have no field 'nod'; did you mean 'node'?",
    ),
    (
        RING + "checks: [{id: a, kind: never, event: spf.run, where: {peer: '@y'}}]\n",
        "f.yaml:4:61: checks.0.where.peer: nothing is named '@y' by as:",
    ),
    (
        RING + "steady_state: [{id: a, metric: heal.time, op: '==', value: 1s}]\n",
        "f.yaml:4:32: steady_state.0.metric: 'heal.time' is no metric an engine can answer "
        "while it runs",
    ),
    (
        RING + "checks: [{id: a, kind: within, metric: control.bytes, limit: 1s}]\n",
        "f.yaml:4:62: checks.0.limit: expected a size such as '256B' or '1KiB', got '1s'",
    ),
    (
        RING
        + CUT
        + "checks: [{id: a, kind: within, metric: heal.time, limit: 1s, scope: {faults: [ct]}}]\n",
        "f.yaml:5:79: checks.0.scope.faults.0: names no fault: 'ct'; did you mean 'cut'?",
    ),
    (
        RING
        + CUT
        + "checks: [{id: a, kind: within, metric: heal.time, limit: 1s, scope: {traffic: rpc}}]\n",
        "f.yaml:5:79: checks.0.scope.traffic.0: names no traffic: 'rpc'",
    ),
    (
        RING
        + CUT
        + "checks: [{id: a, kind: within, metric: microloops, limit: 1, scope: {faults: cut}}]\n",
        "f.yaml:5:78: checks.0.scope.faults: microloops is counted per replication, "
        "so scope cannot name fault",
    ),
    (
        RING + "checks: [{id: a, kind: within, metric: heal.time, limit: 1s}]\n",
        "f.yaml:4:40: checks.0.metric: heal.time is counted per fault and flow, "
        "and there is no fault",
    ),
    (
        RING
        + "checks: [{id: a, kind: never, event: spf.run, from: {event: cut.ended, grace: 1s}}]\n",
        "f.yaml:4:61: checks.0.from.event: names no fault: 'cut'",
    ),
    (
        RING + "engines: [sim]\nchecks: [{id: a, kind: agree, metric: microloops, margin: 3}]\n",
        "f.yaml:5:24: checks.0.kind: 'a' compares engines, so it needs both",
    ),
    (
        RING + "run: {seeds: {sim: 0}}\n",
        "f.yaml:4:20: run.seeds.sim: engines has sim, which needs at least one replication",
    ),
    (
        HEAD + "topology: {generator: {kind: rng, nodes: 6}}\n",
        "f.yaml:3:30: topology.generator.kind: unknown generator 'rng'; did you mean 'ring'?",
    ),
    (
        HEAD + "topology: {generator: {kind: ring, nodes: 0}}\n",
        "f.yaml:3:43: topology.generator.nodes: a topology needs at least one node, got 0",
    ),
    (
        HEAD + "topology: {nodes: {}, links: []}\n",
        "f.yaml:3:11: topology: no nodes: give a generator, an import, or nodes and links",
    ),
    (
        HEAD + "topology: {nodes: [alice, bob], links: [{endpoints: [alice, bop]}]}\n",
        "f.yaml:3:61: topology.links.0.endpoints.1: there is no node 'bop'; did you mean 'bob'?",
    ),
    (
        HEAD + "topology: {nodes: [alice], links: [{endpoints: [alice]}]}\n",
        "f.yaml:3:48: topology.links.0.endpoints.1: an entry is missing",
    ),
    (
        HEAD + "topology: {nodes: [a, b], links: [{endpoints: [a, a]}]}\n",
        "f.yaml:3:47: topology.links.0.endpoints: a link needs two different ends, got 'a' twice",
    ),
    (
        HEAD + "topology: {import: x.json, generator: {kind: ring, nodes: 5}}\n",
        "f.yaml:3:20: topology.import: generator and import are both given; keep one",
    ),
    (
        HEAD + "topology: {nodes: [a, b], links: [{endpoints: [a, b], profile: wam}],\n"
        "  profiles: {wan: {delay: 1ms}}}\n",
        "f.yaml:3:64: topology.links.0.profile: unknown profile 'wam'; did you mean 'wan'?",
    ),
    (
        HEAD + "topology: {generator: {kind: ring, nodes: 3}, nodes: {n3: {role: x}}}\n",
        "f.yaml:3:59: topology.nodes.n3: there is no node 'n3' to change",
    ),
    (
        HEAD + "topology: {generator: {kind: ring, nodes: 3}, add: {nodes: [ca]}}\n",
        "f.yaml:3:60: topology.add.nodes.ca: new node 'ca' has no link",
    ),
    (
        RING + "safety: {never: [n7]}\n",
        "f.yaml:4:18: safety.never.0: there is no node 'n7'",
    ),
    (
        RING + "title: ${who}\nparams: {whom: me}\ntags: ['${whom}']\n",
        "f.yaml:4:8: title: unknown parameter 'who'; did you mean 'whom'?",
    ),
    (
        RING + "params: {a: 1}\n",
        "f.yaml:4:10: params.a: parameter 'a' is used nowhere (write ${a} where it belongs)",
    ),
    (
        RING + "params: {w: 5}\nrun: {warmup: '${w}'}\n",
        "f.yaml:5:15: run.warmup: expected a duration such as '250ms' or '5s', got 5 "
        "(parameter w = 5)",
    ),
    (RING + "name: y\n", "f.yaml:4:1: duplicate key 'name', first on line 2"),
    (
        "- a\n",
        "f.yaml:1:1: a scenario is a mapping that begins with 'schema: x0mesh.scenario/1'",
    ),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_a_mistake_gives_its_line_its_column_and_a_hint(text: str, expected: str) -> None:
    assert problems(text) == [expected]


def test_mistakes_of_every_sort_come_together() -> None:
    text = (
        RING
        + "titel: x\n"
        + "run: {warmup: 5, warmup: 6s}\n"
        + "timeline:\n"
        + "  - {id: cut, at: 2s, for: 5s, fault: link.dwn, target: {links: {pick: 1}}}\n"
        + "  - {id: b, after: {event: cut.ended}, fault: node.drain, target: {nodes: n1}}\n"
        + "  - {id: c, after: {event: d.ended}, for: 1s, fault: node.drain, target: {nodes: n1}}\n"
        + "  - {id: d, after: {event: c.ended}, for: 1s, fault: node.drain, target: {nodes: n1}}\n"
        + "checks:\n"
        + "  - {id: a, kind: within, metric: heal.time, limit: 5}\n"
        + "  - {id: a, kind: never, event: spf.run, where: {fault: e}}\n"
    )
    assert problems(text) == [
        "f.yaml:4:1: titel: unknown key 'titel'; did you mean 'title'?",
        "f.yaml:5:15: run.warmup: expected a duration such as '250ms' or '5s', got 5",
        "f.yaml:5:18: run: duplicate key 'warmup', first on line 5",
        "f.yaml:7:39: timeline.0.fault: unknown fault 'link.dwn'; did you mean 'link.down'?",
        "f.yaml:10:28: timeline.3.after.event: faults wait for each other: c -> d -> c",
        "f.yaml:12:53: checks.0.limit: expected a duration such as '250ms' or '5s', got 5",
        "f.yaml:13:10: checks.1.id: duplicate check id 'a'",
        "f.yaml:13:57: checks.1.where.fault: names no fault: 'e'",
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"\x00\x01\x02", "not a text file in UTF-8: a NUL byte here"),
        (FIVE_LINES[:-20].encode(), "the file ends inside what begins on line 5"),
        (b"#" * (MAX_BYTES + 5), "1048581 bytes; a scenario has at most 1048576 (1 MiB)"),
    ],
)
def test_a_file_that_is_no_scenario_is_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(content)
    with pytest.raises(ScenarioError) as caught:
        load(file)
    (problem,) = caught.value.problems
    assert problem.file == str(file)
    assert says in problem.message


def test_a_file_that_cannot_be_read_is_a_problem_too(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ScenarioError, match=says):
            load(path)


CLAIM = (
    RING
    + CUT
    + (
        "checks:\n"
        "  - {id: a, kind: within, metric: heal.time, limit: 1s, engines: [sim],\n"
        "     across: {stat: p95, confidence: 95%}}\n"
    )
)


def test_a_claim_beyond_the_samples_is_refused_with_the_number_it_needs() -> None:
    assert problems(CLAIM) == [
        "f.yaml:7:14: checks.0.across.sim: 20 sim replications cannot carry p95 at 95% "
        "confidence: it needs 59 (run.seeds.sim)"
    ]
    assert loads(CLAIM + "run: {seeds: {sim: 59}}\n").checks
    assert len(problems(CLAIM + "run: {seeds: {sim: 58}}\n")) == 1


def test_seeds_lowered_on_the_command_line_do_not_make_the_file_wrong() -> None:
    text = CLAIM + "run: {seeds: {sim: 60}}\n"
    assert loads(text, seeds={"sim": 5}).run.seeds.sim == 5
    assert loads(text, sets={"run.seeds.sim": "5"}).run.seeds.sim == 5


@pytest.mark.parametrize(
    ("check", "needs"),
    [
        ("kind: never, event: spf.run, across: {at_most: 5%}", 59),
        ("kind: never, event: spf.run, across: {at_most: 1%}", 299),
        ("kind: sometimes, event: spf.run, at_least: 90%, confidence: 95%", 29),
        ("kind: slo, metric: traffic.jitter, op: '<', value: 1ms, across: {stat: p99, "
         "confidence: 99%}", 459),
    ],
)  # fmt: skip
def test_rates_and_quantiles_say_how_many_replications_they_need(check: str, needs: int) -> None:
    text = (
        RING
        + f"checks: [{{id: a, engines: [sim], {check}}}]\nrun: {{seeds: {{sim: REPLICATIONS}}}}\n"
    )
    assert loads(text.replace("REPLICATIONS", str(needs))).checks
    (problem,) = problems(text.replace("REPLICATIONS", str(needs - 1)))
    assert f"it needs {needs} (run.seeds.sim)" in problem


def test_agreement_by_bootstrap_needs_replications_of_both_engines() -> None:
    text = RING + "checks: [{id: a, kind: agree, metric: microloops, margin: 3}]\n"
    (problem,) = problems(text)
    assert "3 emulation replications cannot carry an equivalence test" in problem


def test_a_target_that_needs_itself_cannot_be_chosen() -> None:
    text = RING + (
        "timeline:\n"
        "  - {id: a, at: 1s, fault: node.drain, target: {nodes: '@y'}, as: x}\n"
        "  - {id: b, at: 1s, fault: node.drain, target: {nodes: {not: ['@x'], pick: 1}}, as: y}\n"
    )
    assert problems(text) == [
        "f.yaml:5:56: timeline.0.target.nodes: '@x' cannot be chosen: it needs '@y', "
        "which needs it in turn",
        "f.yaml:6:63: timeline.1.target.nodes.not.0: '@y' cannot be chosen: it needs '@x', "
        "which needs it in turn",
    ]
