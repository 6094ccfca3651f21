"""Models for the tests of the explorer: what they allow is known by heart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from attrs import frozen

from holdstate.spec import Field, Machine, Param, Transition, field, param
from holdstate.tools.explorer import Move, Progress

S = StrEnum("S", ["CART", "PAID", "SHIPPED", "CANCELLED"])
E = StrEnum("E", ["PAY", "SHIP", "CANCEL", "REFUND"])
Row = Transition[Any, Any]

PAY = Transition(E.PAY, S.CART, S.PAID, guard=param("amount").gt(0), sets={"paid": param("amount")})
SHIP = Transition(E.SHIP, S.PAID, S.SHIPPED)
CANCEL = Transition(E.CANCEL, S.CART, S.CANCELLED)
REFUND = Transition(E.REFUND, S.PAID, S.CANCELLED, guard=param("amount").le(field("paid")), sets={"paid": 0})


def order(*rows: Row) -> Machine[Any, Any]:
    """The order machine of the guide with other rows."""
    return Machine(
        name="order",
        states=S,
        initial=S.CART,
        terminal={S.SHIPPED, S.CANCELLED},
        fields=(Field("paid", int, default=0),),
        events={E.PAY: (Param("amount", int),), E.SHIP: (), E.CANCEL: (), E.REFUND: (Param("amount", int),)},
        transitions=rows,
    )


ORDER = order(PAY, SHIP, CANCEL, REFUND)
TRAPPED = order(PAY, CANCEL)


@frozen
class Counter:
    """Counts up to ``most``, and down where ``returns``; ``wrong`` breaks an invariant, ``trap`` has no way on."""

    most: int = 9
    wrong: int | None = None
    trap: int | None = None
    returns: bool = False
    progress: Progress = Progress.CAN_SETTLE
    name: str = "counter"

    @property
    def bounds(self) -> Mapping[str, Any]:
        return {"most": self.most}

    def initial(self) -> Sequence[int]:
        return (0,)

    def moves(self, state: int) -> Sequence[Move[int]]:
        if state in {self.most, self.trap}:
            return ()
        up = [Move("one up", state + 1, helps=True)]
        if state + 2 <= self.most and state + 2 != self.trap:
            up.append(Move("two up", state + 2, helps=True))
        if self.returns and state:
            up.append(Move("one down", state - 1, helps=True))
        return up

    def problems(self, state: int) -> Sequence[str]:
        return ("never: it is that",) if state == self.wrong else ()

    def is_settled(self, state: int) -> bool:
        return state == self.most

    def show(self, state: int) -> dict[str, Any]:
        return {"at": state}

    def dump(self, states: Sequence[int]) -> Any:
        return list(states)

    def load(self, dumped: Any) -> list[int]:
        return list(dumped)


COUNTER = Counter()
ENDLESS = Counter(most=10**9)
NO_MODEL = 5
