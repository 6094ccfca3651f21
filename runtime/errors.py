"""What the runtime raises on purpose: one class per cause, facts as attributes, the sentence written here."""

from __future__ import annotations

from typing import final

from ..spec.errors import HoldstateError


@final
class InvalidInput(HoldstateError, ValueError):
    """A value from outside is not what it must be.

    ``path`` names the place (``header.source.step_index``; empty for the whole), ``problem`` says what is wrong and what
    is wanted, ``code`` is the word for it (see ``RejectionCode``).
    """

    def __init__(self, path: str, problem: str, code: str = "invalid_field") -> None:
        self.path = path
        self.problem = problem
        self.code = code
        super().__init__(f"{path or 'input'}: {problem}")

    def __reduce__(self) -> tuple[type[InvalidInput], tuple[str, str, str]]:
        return type(self), (self.path, self.problem, self.code)
