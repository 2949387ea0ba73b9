"""junit.xml for CI: a suite per engine, a case per check, and one for the replications.

Doubt must not look green: an inconclusive check is an `error` of type `inconclusive`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jinja2 import Environment as Templates

from x0mesh.reports.checks import Verdict
from x0mesh.reports.verdict import CheckVerdict, Judgement
from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.plan import EngineName

_PAGE = """<?xml version="1.0" encoding="utf-8"?>
<testsuites>
{%- for suite in suites %}
  <testsuite name="{{ suite.name }}" tests="{{ suite.cases | length }}"
   failures="{{ suite.count('failure') }}" errors="{{ suite.count('error') }}"
   skipped="{{ suite.count('skipped') }}">
  {%- for case in suite.cases %}
    <testcase classname="{{ suite.name }}" name="{{ case.name }}">
    {%- if case.tag %}
      <{{ case.tag }} type="{{ case.type }}" message="{{ case.message }}">{{ case.text }}</{{
        case.tag }}>
    {%- endif %}
    </testcase>
  {%- endfor %}
  </testsuite>
{%- endfor %}
</testsuites>
"""

# Characters that XML 1.0 cannot carry, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class _Case:
    name: str
    tag: str = ""
    type: str = ""
    message: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Suite:
    name: str
    cases: list[_Case]

    def count(self, tag: str) -> int:
        return sum(case.tag == tag for case in self.cases)


def junit(scenario: Scenario, judgement: Judgement) -> str:
    """The file's text."""
    engines: list[EngineName] = list(dict.fromkeys(run.engine for run in judgement.runs))
    engines += [c.engine for c in judgement.checks if c.engine not in engines]
    suites = [
        _Suite(
            f"{scenario.name}.{engine}",
            [_case(check) for check in judgement.checks if check.engine == engine]
            + _replications(judgement, engine),
        )
        for engine in dict.fromkeys(engines)
    ]
    page = Templates(autoescape=True).from_string(_PAGE).render(suites=suites)
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", page)


def _tag(verdict: Verdict) -> str:
    match verdict:
        case "pass":
            return ""
        case "fail":
            return "failure"
        case "skipped":
            return "skipped"
        case _:
            return "error"


def _case(check: CheckVerdict) -> _Case:
    found = check.finding
    tag = _tag(found.verdict)
    if not tag:
        return _Case(check.id)
    lines = [found.reason]
    if found.worst_seed is not None:
        lines.append(f"seed: {found.worst_seed}")
    if found.seconds is not None:
        lines.append(f"time: {found.seconds:.6f} s")
    if check.replay:
        lines.append(f"replay: {check.replay}")
    kind = check.kind if found.verdict == "fail" else found.verdict
    return _Case(check.id, tag, kind, found.reason, "\n".join(lines))


def _replications(judgement: Judgement, engine: EngineName) -> list[_Case]:
    """Faults without evidence, errors and aborts belong to no check; here CI sees them."""
    runs = [run for run in judgement.runs if run.engine == engine]
    if not runs:
        return []
    bad = [run for run in runs if run.verdict not in ("pass", "fail")]
    unarmed = [
        f"fault {fault.id} was armed in no replication"
        for fault in judgement.faults
        if fault.engine == engine and fault.evidence == "not-armed"
    ]
    if not bad and not unarmed:
        return [_Case("replications")]
    kind = bad[0].verdict if bad else "inconclusive"
    lines = unarmed + [f"seed {run.seed}: {run.verdict}: {run.reason}" for run in bad]
    return [_Case("replications", "error", kind, lines[0], "\n".join(lines))]
