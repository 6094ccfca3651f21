"""Tables that say what may happen, and the language they are written in. Nothing here does any I/O.

``expressions``   conditions and values over fields and parameters, as data
``machine``       ``Machine``: states, fields, events, rows
``table``         ``TransitionTable``: a machine compiled, one dict lookup per step
``lint``          what is well formed in a machine and still wrong
``vocabulary``    every closed set of the system
``errors``        ``HoldstateError``, ``SpecError``, ``TransitionRefused``
"""

from .errors import HoldstateError, SpecError, TransitionRefused
from .expressions import TRUE, Expression, ExpressionError, Names, const, field, param
from .lint import Finding, FindingCode
from .machine import Field, Machine, Param, Transition
from .table import Step, TransitionTable

__all__ = [
    "TRUE",
    "Expression",
    "ExpressionError",
    "Field",
    "Finding",
    "FindingCode",
    "HoldstateError",
    "Machine",
    "Names",
    "Param",
    "SpecError",
    "Step",
    "Transition",
    "TransitionRefused",
    "TransitionTable",
    "const",
    "field",
    "param",
]
