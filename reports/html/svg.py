"""Figures as inline SVG: drawn by matplotlib without a display, the same bytes every time.

Colours are drawn as placeholders and become CSS variables, so that one picture serves light and
dark pages; text stays text in the page's font.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart, in style.css.
INK: Final = "#010101"
MUTED: Final = "#010102"
FAINT: Final = "#010103"
PAPER: Final = "#010104"
BAD: Final = "#010105"
GOOD: Final = "#010106"
WARN: Final = "#010107"
SERIES: Final = ("#010111", "#010112", "#010113", "#010114", "#010115", "#010116")

_VARIABLES: Final = {
    INK: "ink",
    MUTED: "muted",
    FAINT: "faint",
    PAPER: "paper",
    BAD: "bad",
    GOOD: "good",
    WARN: "warn",
    **{colour: f"series-{i}" for i, colour in enumerate(SERIES)},
}

_STYLE: Final[dict[Any, Any]] = {
    # A user's own matplotlibrc must not change the pictures.
    **{k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith(("backend", "toolbar"))},
    "svg.fonttype": "none",
    "svg.hashsalt": "x0mesh",
    "font.size": 11,
    "font.family": ["DejaVu Sans"],
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.grid": False,
    "path.simplify": True,
}


@contextmanager
def drawing(width_px: float, height_px: float) -> Iterator[Figure]:
    """An empty figure; its units are CSS pixels at scale 1."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width_px / 72, height_px / 72), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure


def inline(figure: Figure, name: str, title: str) -> str:
    """The figure as an `<svg>` element that scales; `name` keeps its ids apart from others'."""
    with mpl.rc_context(_STYLE):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    head, _, rest = text.partition(">")
    box = re.search(r'viewBox="([^"]+)"', head)
    assert box is not None
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box[1]}" role="img" aria-label="{_escaped(title)}"'
    )
    used = set(re.findall(r"url\(#([^)]+)\)", rest)) | set(re.findall(r'href="#([^"]+)"', rest))
    rest = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", rest)
    rest = re.sub(r"url\(#", f"url(#{name}-", rest)
    rest = re.sub(r'href="#', f'href="#{name}-', rest)
    rest = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", rest)
    for colour, variable in _VARIABLES.items():
        rest = rest.replace(colour, f"var(--{variable})")
    rest = re.sub(r"<!--.*?-->\s*", "", rest, flags=re.S)
    return re.sub(r"\n\s*", "\n", f"{head}>{rest}").strip()


def _escaped(text: str) -> str:
    table = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
    return "".join(table.get(c, c) for c in text)


def series_colour(index: int) -> str:
    return SERIES[index % len(SERIES)]
