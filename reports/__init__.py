"""From Records to verdicts and files; reads Plans and Records only, whichever engine ran."""

from x0mesh.reports.checks import Finding, Verdict
from x0mesh.reports.html import write_html
from x0mesh.reports.index import write_index
from x0mesh.reports.result import Environment
from x0mesh.reports.run_folder import load_environment, load_run, write_run
from x0mesh.reports.store import RunFolderError
from x0mesh.reports.verdict import CheckVerdict, Judgement, exit_code, judge

__all__ = [
    "CheckVerdict",
    "Environment",
    "Finding",
    "Judgement",
    "RunFolderError",
    "Verdict",
    "exit_code",
    "judge",
    "load_environment",
    "load_run",
    "write_html",
    "write_index",
    "write_run",
]
