"""A machine of a user with parameters of every type, a system that keeps to it, and the same with one bug each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, StrEnum
from typing import Any, ClassVar, final
from uuid import UUID

from holdstate.spec import Field, Machine, Param, Transition, field, param


class Order(StrEnum):
    CART = "cart"
    PAID = "paid"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class Event(StrEnum):
    PAY = "pay"
    TAG = "tag"
    SHIP = "ship"
    CANCEL = "cancel"
    REFUND = "refund"


class Speed(Enum):
    SLOW = 1
    FAST = 2


ORDER = Machine(
    name="order",
    states=Order,
    initial=Order.CART,
    terminal={Order.SHIPPED, Order.CANCELLED},
    fields=(
        Field("paid", int, default=0),
        Field("payer", UUID, optional=True),
        Field("speed", Speed, optional=True),
        Field("tag", str, default=""),
    ),
    events={
        Event.PAY: (Param("amount", int), Param("payer", UUID, optional=True)),
        Event.TAG: (Param("tag", str),),
        Event.SHIP: (Param("speed", Speed), Param("insured", bool)),
        Event.CANCEL: (),
        Event.REFUND: (Param("amount", int), Param("payer", UUID)),
    },
    transitions=(
        Transition(
            Event.PAY,
            Order.CART,
            Order.PAID,
            guard=param("amount").gt(0),
            sets={"paid": param("amount"), "payer": param("payer")},
        ),
        Transition(
            Event.TAG, (Order.CART, Order.PAID), Order.PAID, guard=param("tag").ne(""), sets={"tag": param("tag")}
        ),
        Transition(Event.SHIP, Order.PAID, Order.SHIPPED, guard=param("insured"), sets={"speed": param("speed")}),
        Transition(Event.CANCEL, Order.CART, Order.CANCELLED),
        Transition(
            Event.REFUND,
            Order.PAID,
            Order.CANCELLED,
            guard=param("amount").le(field("paid")) & param("payer").eq(field("payer")),
            sets={"paid": 0},
        ),
    ),
)


class Refused(Exception):
    """The shop says no."""


class Shop:
    """The system, and its adapter. ``stored`` is what a crash leaves."""

    refusals: ClassVar[tuple[type[Exception], ...]] = (Refused,)

    def start(self) -> None:
        self.row: dict[str, Any] = {"state": Order.CART, "paid": 0, "payer": None, "speed": None, "tag": ""}
        self.stored = dict(self.row)

    def state(self) -> object:
        return self.row["state"]

    def fields(self) -> Mapping[str, object]:
        return {name: value for name, value in self.row.items() if name != "state"}

    def fire(self, event: str, params: Mapping[str, Any]) -> None:
        getattr(self, event)(**params)
        self.stored = dict(self.row)

    def crash(self) -> None:
        self.row = {}

    def restart(self) -> None:
        self.row = dict(self.stored)

    def need(self, *holds: bool) -> None:
        if not all(holds):
            raise Refused

    def become(self, state: Order, **changes: object) -> None:
        self.row |= {"state": state, **changes}

    def pay(self, amount: int, payer: UUID | None = None) -> None:
        self.need(self.row["state"] is Order.CART, amount > 0)
        self.become(Order.PAID, paid=amount, payer=payer)

    def tag(self, tag: str) -> None:
        self.need(self.row["state"] in {Order.CART, Order.PAID}, tag != "")
        self.become(Order.PAID, tag=tag)

    def ship(self, *, speed: Speed, insured: bool) -> None:
        self.need(self.row["state"] is Order.PAID, insured)
        self.become(Order.SHIPPED, speed=speed)

    def cancel(self) -> None:
        self.need(self.row["state"] is Order.CART)
        self.become(Order.CANCELLED)

    def refund(self, amount: int, payer: UUID) -> None:
        self.need(self.row["state"] is Order.PAID, amount <= self.row["paid"], payer == self.row["payer"])
        self.become(Order.CANCELLED, paid=0)


@final
class AsyncShop:
    """The same, async from start to end."""

    refusals = (Refused,)

    def __init__(self) -> None:
        self.shop = Shop()
        self.stopped = False

    async def start(self) -> None:
        self.shop.start()

    async def state(self) -> object:
        return str(self.shop.state())

    async def fire(self, event: str, params: Mapping[str, Any]) -> None:
        self.shop.fire(event, params)

    async def stop(self) -> None:
        self.stopped = True


@final
class Generous(Shop):
    """Takes a refund of one more than was paid."""

    def refund(self, amount: int, payer: UUID) -> None:
        self.need(self.row["state"] is Order.PAID, amount <= self.row["paid"] + 1, payer == self.row["payer"])
        self.become(Order.CANCELLED, paid=0)


@final
class Stubborn(Shop):
    """Ships nothing."""

    def ship(self, *, speed: Speed, insured: bool) -> None:
        self.need(False)


@final
class Lost(Shop):
    """Cancels into the wrong state."""

    def cancel(self) -> None:
        self.need(self.row["state"] is Order.CART)
        self.become(Order.SHIPPED)


@final
class Forgetful(Shop):
    """Forgets what was paid when it is tagged."""

    def tag(self, tag: str) -> None:
        super().tag(tag)
        self.row["paid"] = 0


@final
class Hasty(Shop):
    """Changes before it refuses."""

    def pay(self, amount: int, payer: UUID | None = None) -> None:
        if self.row["state"] is Order.CART:
            self.row["payer"] = payer
        super().pay(amount, payer)


@final
class Leaky(Shop):
    """Does not store tags."""

    def fire(self, event: str, params: Mapping[str, Any]) -> None:
        kept = dict(self.stored)
        super().fire(event, params)
        if event == Event.TAG:
            self.stored = kept


@final
class Crashing(Shop):
    """Breaks on a second tag."""

    def tag(self, tag: str) -> None:
        if self.row["tag"]:
            raise ZeroDivisionError("two tags")
        super().tag(tag)


@final
class Misplaced(Shop):
    """Starts elsewhere."""

    def start(self) -> None:
        super().start()
        self.row["state"] = Order.PAID


@final
class Unrestartable(Shop):
    """Does not come back once it was paid."""

    def restart(self) -> None:
        if self.stored["state"] is Order.PAID:
            raise OSError("no such file")
        super().restart()


class Unmakeable(Shop):
    """Cannot be made."""

    def __init__(self) -> None:
        raise OSError("no base")


class Mute(Shop):
    """Cannot be looked at."""

    def state(self) -> object:
        raise OSError("no line")


BUGS: dict[Callable[[], Shop], str] = {
    Generous: "the system took a refused event",
    Stubborn: "the system refused an event of the table",
    Lost: "the states differ",
    Forgetful: "the fields differ",
    Hasty: "a refused event changed the system",
    Leaky: "differ after a crash",
    Crashing: "fire raised",
    Misplaced: "the states differ",
    Unrestartable: "restart raised",
}


def nobody_pays_much(moment: Any) -> bool:
    """An invariant that the machine itself breaks."""
    return bool(moment.fields["paid"] < 100)


def paid_is_shown(moment: Any) -> None:
    """An invariant that always holds."""
    assert moment.shown["paid"] == moment.adapter.row["paid"]
