"""The pictures in the README are the machines that run."""

from __future__ import annotations

from pathlib import Path

from holdstate.spec import INPUT_LIFECYCLE, RUNTIME_STATE
from holdstate.tools.diagrams import mermaid

from .pages import blocks


def test_the_readme_draws_the_two_machines_as_they_run(project_root: Path) -> None:
    """Each Mermaid block of the README equals what is made from the rows."""
    drawn = [block.content.rstrip("\n") for block in blocks(project_root / "README.md") if block.language == "mermaid"]
    assert drawn == [mermaid(INPUT_LIFECYCLE), mermaid(RUNTIME_STATE)]


def test_an_event_of_every_live_state_is_drawn_once() -> None:
    """Stop leads from the box of all live states, not from each of them; the input lifecycle has no such event."""
    lines = mermaid(RUNTIME_STATE).splitlines()
    assert [line.strip() for line in lines if line.endswith(": stop")] == ["live --> stopped: stop"]
    assert "    state live {" in lines
    assert "live" not in mermaid(INPUT_LIFECYCLE)
