"""Mutants that change nothing that anybody could notice, each with the reason why."""

from __future__ import annotations

from typing import Final

from ..spec.vocabulary import CommandName
from .mutation import Part

_N = CommandName

_NO_ERROR: Final = "an optional parameter that is left out is None, and this command brings no error along"
_OUTSIDE: Final = "what is outside the current run is never in that state: such an input is a contributor"
_SAME_ROWS: Final = "both rows lead from recovering to idle, with the same assignments and effects"
_KEYED: Final = "what a commit holds are rows under keys of their own, so it does not matter which is put first"

_COMMANDS: Final = {
    f"{_N.CANCEL}: [named] rule 0 (abandon) sends: abandon without error": _NO_ERROR,
    f"{_N.RESET}: [active] rule 0 (abandon) sends: abandon without error": _NO_ERROR,
    f"{_N.STOP}: [active] rule 1 (abandon) sends: abandon without error": _NO_ERROR,
    f"{_N.DESTROY}: [active] rule 1 (abandon) sends: abandon without error": _NO_ERROR,
    **{
        f"{name}: [active] rule 3 (recover_queue) then rule 0 (abandon) sends: abandon without error": _NO_ERROR
        for name in (_N.OPEN, _N.RECYCLE, _N.RECOVER)
    },
    f"{_N.RECYCLE}: runtime events: recycled is resume": _SAME_ROWS,
    f"{_N.ABANDON_PENDING}: [outside_run] rule 0 (abandon) not of staged": _OUTSIDE,
    f"{_N.ABANDON_PENDING}: [outside_run] rule 0 (abandon) not of applied": _OUTSIDE,
}
_CODE: Final = {
    "turn: inputs are written the other way round": _KEYED,
    "turn: the log is written backwards": _KEYED,
}

EQUIVALENTS: Final[dict[str, str]] = {
    **{f"{Part.COMMANDS}: {name}": reason for name, reason in _COMMANDS.items()},
    **{f"{Part.CODE}: {name}": reason for name, reason in _CODE.items()},
}
"""By the label of the mutant."""
