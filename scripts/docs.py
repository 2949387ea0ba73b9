"""Writes what the documentation takes from the code: docs/faults.md, docs/metrics.md and the
library's table in README.md. `--check` only says whether they are up to date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from x0mesh import library, pages
from x0mesh.catalogue import markdown_table
from x0mesh.scenarios.loader import load

ROOT = Path(__file__).resolve().parent.parent
TABLE = re.compile(r"(?<=<!-- library -->\n).*?(?=<!-- /library -->)", re.DOTALL)


def library_table() -> str:
    """Name, question and, from the comment that opens the file, what happens."""
    rows = []
    for name in library.names():
        path = library.find(name)
        comment = path.read_text(encoding="utf-8").split("schema:")[0]
        story = " ".join(line.lstrip("# ") for line in comment.splitlines())
        story = story.split(" `x0mesh run")[0].strip()
        rows.append((f"`{name}`", load(path).title, story))
    return markdown_table(("scenario", "question", "what happens"), rows)


def wanted() -> dict[Path, str]:
    """Content by file."""
    readme = ROOT / "README.md"
    return {
        ROOT / "docs" / "faults.md": pages.markdown("faults"),
        ROOT / "docs" / "metrics.md": pages.markdown("metrics"),
        readme: TABLE.sub(lambda _: f"{library_table()}\n", readme.read_text(encoding="utf-8")),
    }


def main() -> None:
    stale = [path for path, text in wanted().items() if path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        if stale:
            names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
            sys.exit(f"{names}: not up to date; run `make docs`")
        return
    for path, text in wanted().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
