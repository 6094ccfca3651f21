"""A machine of a user: an order that is paid, shipped, cancelled or refunded."""

from __future__ import annotations

from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdstate.spec import Field, Machine, Param, Transition, TransitionRefused, field, param


class Order(StrEnum):
    CART = "cart"
    PAID = "paid"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class Event(StrEnum):
    PAY = "pay"
    SHIP = "ship"
    CANCEL = "cancel"
    REFUND = "refund"


_AMOUNT = Param("amount", int)
_covered = param("amount").le(field("paid"))

ORDER = Machine(
    name="order",
    states=Order,
    initial=Order.CART,
    terminal={Order.SHIPPED, Order.CANCELLED},
    fields=(Field("paid", int, default=0),),
    events={Event.PAY: (_AMOUNT,), Event.SHIP: (), Event.CANCEL: (), Event.REFUND: (_AMOUNT,)},
    transitions=(
        Transition(Event.PAY, Order.CART, Order.PAID, guard=param("amount").gt(0), sets={"paid": param("amount")}),
        Transition(Event.SHIP, Order.PAID, Order.SHIPPED, emits=("parcel",)),
        Transition(Event.CANCEL, Order.CART, Order.CANCELLED),
        Transition(Event.REFUND, Order.PAID, Order.CANCELLED, guard=_covered, sets={"paid": 0}, emits=("money",)),
    ),
)

# A hand-written matrix: what each pair does when its guard holds; "-" is refused.
MATRIX = """
            pay   ship     cancel     refund
cart        paid  -        cancelled  -
paid        -     shipped  -          cancelled
shipped     -     -        -          -
cancelled   -     -        -          -
"""


def test_the_matrix_is_as_written_by_hand() -> None:
    """Every cell of states × events has the target that was written down, or is refused."""
    header, *lines = (line.split() for line in MATRIX.strip().splitlines())
    by_hand = {
        (state, event): target for state, *targets in lines for event, target in zip(header, targets, strict=True)
    }
    compiled = {(state, event): rows[0].target if rows else "-" for (state, event), rows in ORDER.matrix().items()}
    assert compiled == by_hand


def test_lint_finds_nothing() -> None:
    """The example is a good machine."""
    assert ORDER.lint() == ()


def test_an_order_is_paid_and_shipped() -> None:
    """Assignments and effects of the rows come out in order."""
    table = ORDER.compile()
    fields = table.initial_fields()
    paid = table.step(Order.CART, Event.PAY, fields, {"amount": 30})
    assert (paid.target, paid.sets, paid.emits, paid.row) == (Order.PAID, {"paid": 30}, (), 0)
    shipped = table.step(paid.target, Event.SHIP, fields | paid.sets)
    assert (shipped.target, shipped.sets, shipped.emits, shipped.row) == (Order.SHIPPED, {}, ("parcel",), 1)


@given(paid=st.integers(0, 50), amount=st.integers(0, 50))
def test_no_more_is_refunded_than_was_paid(paid: int, amount: int) -> None:
    """A refund that is not covered is refused with the values, and the fields stay as they were."""
    fields = {"paid": paid}
    if amount <= paid:
        assert ORDER.compile().step(Order.PAID, Event.REFUND, fields, {"amount": amount}).emits == ("money",)
    else:
        with pytest.raises(TransitionRefused) as refused:
            ORDER.compile().step(Order.PAID, Event.REFUND, fields, {"amount": amount})
        assert refused.value.reason == f"guard not met: amount <= paid (paid = {paid}, amount = {amount})"
    assert fields == {"paid": paid}
