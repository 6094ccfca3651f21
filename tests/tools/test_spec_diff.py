"""``holdstate spec diff``: every kind of change is told, and which of them break stored records."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from holdstate.spec import INPUT_LIFECYCLE, Field, Machine, Param, RowGroup, Transition, param
from holdstate.tools.machine_difference import Change, differences, is_breaking
from holdstate.tools.machine_document import document_of, json_of

from .support import call

S = StrEnum("S", {"CART": "CART", "PAID": "PAID", "SHIPPED": "SHIPPED", "CANCELLED": "CANCELLED"})
E = StrEnum("E", {"PAY": "PAY", "SHIP": "SHIP", "CANCEL": "CANCEL"})
COLOUR = StrEnum("COLOUR", {"RED": "RED", "BLUE": "BLUE"})

PAY = Transition(E.PAY, S.CART, S.PAID, guard=param("amount").gt(0), sets={"paid": param("amount")})
SHIP = Transition(E.SHIP, S.PAID, S.SHIPPED, emits=("parcel",))
CANCEL = Transition(E.CANCEL, (S.CART, S.PAID), S.CANCELLED)
ORDER = Machine(
    name="order",
    states=S,
    initial=S.CART,
    terminal={S.SHIPPED, S.CANCELLED},
    fields=(Field("paid", int, default=0), Field("colour", COLOUR, optional=True)),
    events={E.PAY: (Param("amount", int),), E.SHIP: (), E.CANCEL: (Param("colour", COLOUR, optional=True),)},
    transitions=(PAY, SHIP, CANCEL),
)


def but(row: Transition[Any, Any], **changed: Any) -> Transition[Any, Any]:
    """The row with something else in it."""
    given: dict[str, Any] = {
        "source": row.source,
        "guard": row.guard,
        "sets": dict(row.sets),
        "emits": row.emits,
    } | changed
    return Transition(row.event, target=row.target, **given)


def changes(**changed: Any) -> list[tuple[str, str, str]]:
    """Kind, part and place of each change of ``ORDER``, and whether it breaks: ``!`` at the end of the place."""
    return told(differences(document_of(ORDER), document_of(evolve(ORDER, **changed))))


def told(found: tuple[Change, ...]) -> list[tuple[str, str, str]]:
    return [(each.kind.value, each.part, each.place + ("!" if each.breaks else "")) for each in found]


def test_a_machine_does_not_differ_from_itself() -> None:
    """Nor from what was exported of it."""
    assert changes() == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"transitions": (PAY, SHIP)}, [("removed", "row", "3: CART, PAID --CANCEL--> CANCELLED")]),
        (
            {"transitions": (PAY, SHIP, CANCEL, Transition(E.CANCEL, S.PAID, S.CART))},
            [("added", "row", "4: PAID --CANCEL--> CART")],
        ),
        (
            {"transitions": (but(PAY, guard=param("amount").ge(0)), SHIP, CANCEL)},
            [("changed", "row", "1: CART --PAY--> PAID")],
        ),
        ({"transitions": (but(PAY, sets={"paid": 1}), SHIP, CANCEL)}, [("changed", "row", "1: CART --PAY--> PAID")]),
        ({"transitions": (PAY, but(SHIP, emits=()), CANCEL)}, [("changed", "row", "2: PAID --SHIP--> SHIPPED")]),
        (
            {"transitions": (PAY, SHIP, but(CANCEL, source=(S.CART,)))},
            [("changed", "row", "3: CART, PAID --CANCEL--> CANCELLED")],
        ),
        (
            {"transitions": (PAY, SHIP, but(CANCEL, group=RowGroup.GIVING_UP))},
            [("changed", "row", "3: CART, PAID --CANCEL--> CANCELLED")],
        ),
        ({"transitions": (SHIP, CANCEL, PAY)}, []),
        ({"name": "other"}, [("changed", "name", "")]),
        ({"initial": S.PAID}, [("changed", "initial", "")]),
        ({"terminal_exits": {(S.SHIPPED, E.CANCEL)}}, [("changed", "terminal_exits", "")]),
        ({"events": {**ORDER.events, E.SHIP: (Param("by", str),)}}, [("changed", "event", "SHIP")]),
        ({"fields": (*ORDER.fields, Field("note", str, optional=True))}, [("added", "field", "note")]),
        ({"fields": (Field("paid", int, default=1), ORDER.fields[1])}, [("changed", "field", "paid")]),
        ({"fields": (Field("paid", int, default=0, optional=True), ORDER.fields[1])}, [("changed", "field", "paid")]),
    ],
)
def test_what_changes_behaviour_alone_does_not_break_records(
    changed: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    """Rows, events, guards, defaults and new fields: every stored state and value still means the same."""
    assert changes(**changed) == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"terminal": {S.SHIPPED, S.CANCELLED, S.PAID}}, [("changed", "state", "PAID!")]),
        ({"terminal": {S.SHIPPED}}, [("changed", "state", "CANCELLED!"), ("changed", "state", "CANCELLED!")]),
        (
            {"transitions": (but(CANCEL, source=(S.CART,)),)},
            [
                ("changed", "state", "PAID!"),
                ("removed", "row", "1: CART --PAY--> PAID"),
                ("removed", "row", "2: PAID --SHIP--> SHIPPED"),
                ("changed", "row", "3: CART, PAID --CANCEL--> CANCELLED"),
            ],
        ),
        ({"fields": ORDER.fields[:1]}, [("removed", "field", "colour!")]),
        (
            {"fields": (ORDER.fields[0], Field("colour", COLOUR, default=COLOUR.RED))},
            [("changed", "field", "colour!")],
        ),
        ({"fields": (ORDER.fields[0], Field("colour", int, optional=True))}, [("changed", "field", "colour!")]),
    ],
)
def test_what_stored_records_do_not_fit_is_breaking(
    changed: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    """A state that ends, lives again or leads nowhere; a field that is lost, of another type, or not optional."""
    assert changes(**changed) == expected


def _without(machine: Machine[Any, Any], old: str, new: str) -> str:
    """The exported machine with a text replaced everywhere."""
    return json_of(machine).replace(f'"{old}"', f'"{new}"')


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "SHIPPED",
            "SENT",
            [
                ("removed", "state", "SHIPPED!"),
                ("added", "state", "SENT"),
                ("removed", "row", "2: PAID --SHIP--> SHIPPED"),
                ("added", "row", "2: PAID --SHIP--> SENT"),
            ],
        ),
        ("RED", "GREEN", [("removed", "member", "COLOUR.RED!"), ("added", "member", "COLOUR.GREEN")]),
        (
            "SHIP",
            "SEND",
            [
                ("removed", "event", "SHIP"),
                ("added", "event", "SEND"),
                ("removed", "row", "2: PAID --SHIP--> SHIPPED"),
                ("added", "row", "2: PAID --SEND--> SHIPPED"),
            ],
        ),
    ],
)
def test_a_name_that_is_changed_is_removed_and_added(
    tmp_path: Path, old: str, new: str, expected: list[tuple[str, str, str]]
) -> None:
    """Files that were exported are compared like machines; a member counts where a field holds it."""
    path = tmp_path / "after.json"
    path.write_text(_without(ORDER, old, new), encoding="utf-8")
    result = call("spec", "diff", f"{__name__}:ORDER", path, "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [
        (each["change"], each["part"], each["place"] + ("!" if each["breaks"] else "")) for each in document["changes"]
    ] == expected
    assert document["breaking"] is any(place.endswith("!") for _, _, place in expected)


def test_one_change_is_told_as_one(tmp_path: Path) -> None:
    """And no more."""
    path = tmp_path / "after.json"
    path.write_text(json_of(evolve(ORDER, doc="Other words.")), encoding="utf-8")
    result = call("spec", "diff", f"{__name__}:ORDER", path)
    assert result.stdout.splitlines()[-1].startswith("1 change; ")


def test_a_member_that_no_field_holds_does_not_break_records() -> None:
    """It only ever came with an event."""
    before = evolve(ORDER, fields=ORDER.fields[:1])
    other = StrEnum("COLOUR", {"BLUE": "BLUE"})  # type: ignore[misc]  # the name is what is compared
    after = evolve(before, events={**ORDER.events, E.CANCEL: (Param("colour", other, optional=True),)})
    found = differences(document_of(before), document_of(after))
    assert told(found) == [("removed", "member", "COLOUR.RED")]
    assert not is_breaking(found)


def test_the_order_of_rows_that_are_tried_for_one_event_counts() -> None:
    """Rows of different events may stand in any order."""
    first = but(PAY, guard=param("amount").gt(10))
    before, after = (document_of(evolve(ORDER, transitions=rows)) for rows in ((first, PAY), (PAY, first)))
    assert told(differences(before, after)) == [("changed", "row", "PAY")]


def pay(source: S, target: S, least: int) -> Transition[S, E]:
    """A row that its place and its guard tell from others."""
    return Transition(E.PAY, source, target, guard=param("amount").ge(least))


A, B = S.CART, S.PAID
ONE, TWO = pay(A, B, 1), pay(A, B, 2)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((ONE, TWO), (TWO,), [("removed", "row", "1: CART --PAY--> PAID")]),
        (
            (pay(A, A, 1), pay(B, A, 2)),
            (pay(B, A, 3), pay(A, A, 4)),
            [
                ("changed", "row", "1: CART --PAY--> CART"),
                ("changed", "row", "2: PAID --PAY--> CART"),
                ("changed", "row", "PAY"),
            ],
        ),
        (
            (pay(A, A, 1), pay(B, A, 2)),
            (pay(S.SHIPPED, A, 2), pay(S.CANCELLED, A, 1)),
            [
                ("changed", "row", "1: CART --PAY--> CART"),
                ("changed", "row", "2: PAID --PAY--> CART"),
                ("changed", "row", "PAY"),
            ],
        ),
        ((pay(A, A, 1),), (pay(B, A, 2),), [("changed", "row", "1: CART --PAY--> CART")]),
        (
            (pay(A, A, 1),),
            (pay(A, B, 1),),
            [("removed", "row", "1: CART --PAY--> CART"), ("added", "row", "1: CART --PAY--> PAID")],
        ),
    ],
)
def test_rows_belong_together_by_what_is_most_alike(
    before: tuple[Transition[S, E], ...],
    after: tuple[Transition[S, E], ...],
    expected: list[tuple[str, str, str]],
) -> None:
    """The same row, then one of the same places, then one of the same guard; another target is another row."""
    documents = [document_of(evolve(ORDER, transitions=(SHIP, CANCEL, *rows))) for rows in (before, after)]
    found = [each for each in told(differences(*documents)) if each[1] == "row"]
    assert found == [(kind, part, _shifted(place)) for kind, part, place in expected]


def _shifted(place: str) -> str:
    """The place with its number two further on."""
    number, colon, rest = place.partition(":")
    return f"{int(number) + 2}{colon}{rest}" if colon else place


def test_the_exit_code_says_whether_they_differ(tmp_path: Path) -> None:
    """0 for the same, 1 for a difference; the table has every change, and whether records fit."""
    same = call("spec", "diff", "input_lifecycle", "holdstate.spec:INPUT_LIFECYCLE")
    assert (same.exit_code, same.stdout) == (0, "the same\n")
    path = tmp_path / "old.json"
    path.write_text(json_of(INPUT_LIFECYCLE), encoding="utf-8")
    assert call("spec", "diff", path, "input_lifecycle").exit_code == 0
    other = call("spec", "diff", f"{__name__}:ORDER", "runtime_state")
    assert other.exit_code == 1
    assert "stored records do not all fit" in other.stdout
    path.write_text(_without(ORDER, "PAY", "BUY"), encoding="utf-8")
    assert "stored records fit" in call("spec", "diff", f"{__name__}:ORDER", path).stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Input data was truncated"),
        ("[]", "Expected `object`"),
        (json_of(ORDER).replace('"initial": "CART"', '"initial": "NOWHERE"'), "state 'NOWHERE' is not declared"),
        (json_of(ORDER).replace('"event": "PAY"', '"event": "BUY"'), "event 'BUY' is not declared"),
        (json_of(ORDER).replace('"field": "paid"', '"field": "due"'), "field 'due' is not declared"),
    ],
)
def test_what_cannot_be_read_is_a_usage_error(tmp_path: Path, content: str, said: str) -> None:
    """A file that is no machine; told in one line."""
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="utf-8")
    result = call("spec", "diff", path, "runtime_state")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


@pytest.mark.parametrize("name", ["missing.json", "no_such_machine", "no.such.module:NAME"])
def test_what_is_not_there_is_a_usage_error(name: str) -> None:
    """Neither a file nor a machine."""
    result = call("spec", "diff", "runtime_state", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert name.split(":", maxsplit=1)[0] in result.stderr
