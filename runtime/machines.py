"""The two machines as python-statemachine classes, made from their tables.

The runtime itself steps the compiled tables; these are for listeners, diagrams, SCXML and for people who know that
library. See ``Machine.statechart``.
"""

from __future__ import annotations

from typing import Final

from ..spec.input_lifecycle import INPUT_LIFECYCLE
from ..spec.runtime_state import RUNTIME_STATE

InputLifecycle: Final = INPUT_LIFECYCLE.statechart()
RuntimeState: Final = RUNTIME_STATE.statechart()
