"""Runs: how they begin, grow, commit boundaries and end."""

from __future__ import annotations

from holdstate.runtime import commands as c

from .cores import Core, event, progress


def test_a_run_that_gives_its_inputs_back_raises_a_wake() -> None:
    """There is work again after a failed or a cancelled run, whoever asked for it first (C16)."""
    for given in (event(), progress()):
        core = Core()
        core.accept(given)
        core.begin()
        core.fail()
        assert core.last.wake
        core.begin()
        core.do(c.CancelRun(core.at, core.run))
        assert core.last.wake


def test_a_run_that_gives_nothing_back_raises_no_wake() -> None:
    """A failure that ends the input, or that comes after the boundary, leaves no work behind."""
    core = Core()
    core.accept(event())
    core.begin()
    core.fail(recoverable=False)
    assert not core.last.wake
    core.accept(event())
    core.begin()
    core.boundary()
    core.do(c.CancelRun(core.at, core.run))
    assert not core.last.wake
