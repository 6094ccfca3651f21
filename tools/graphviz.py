"""Graphviz, where it is installed: SVG in its layout, which can be dark too, and PNG."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Final, final

from ..spec.errors import HoldstateError

_SECONDS: Final = 60
_DARK: Final = """<style>@media (prefers-color-scheme: dark) {
.graph > polygon { fill: #0d1117; } .cluster path, .cluster polygon { fill: #151b23; stroke: #30363d; }
.node path, .node polygon { fill: #0d1117; stroke: #9198a1; } text { fill: #e6edf3; }
.node ellipse { fill: #9198a1; stroke: #9198a1; }
.first path { fill: #0c2d4f; stroke: #4493f8; } .end path { fill: #212830; }
.edge path { stroke: #9198a1; } .edge polygon { fill: #9198a1; stroke: #9198a1; }
.recovery path { stroke: #4493f8; } .recovery polygon { fill: #4493f8; stroke: #4493f8; }
.giving_up path { stroke: #f0883e; } .giving_up polygon { fill: #f0883e; stroke: #f0883e; }
.recovery text { fill: #79c0ff; } .giving_up text { fill: #ffa657; } }</style>"""


@final
class GraphvizMissing(HoldstateError):
    """``dot`` is not on the PATH, or did not take what it was given."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"{problem}; install Graphviz, or take --format svg without --graphviz")


def rendered(text: str, form: str) -> bytes:
    """What ``dot`` makes of a graph, as ``svg`` or ``png``. Raises GraphvizMissing."""
    program = shutil.which("dot")
    if program is None:
        raise GraphvizMissing("the program `dot` of Graphviz is not installed")
    command = [program, f"-T{form}", *(["-Gdpi=144"] if form == "png" else [])]
    done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise GraphvizMissing(f"`dot` failed: {' '.join(done.stderr.decode(errors='replace').split())}")
    if form != "svg":
        return done.stdout
    # Its version and date are left out, so that the same graph gives the same bytes for longer.
    drawn = re.sub(r"<!--.*?-->\n?", "", done.stdout.decode(), flags=re.DOTALL)
    return re.sub(r"(<svg\b[^>]*>)", lambda match: f"{match[1]}\n{_DARK}", drawn, count=1).encode()
