"""The text of TLA+: expressions, values, names, and how a machine reads. That TLC agrees is tested with the tools."""

from __future__ import annotations

from enum import Enum, StrEnum
from uuid import UUID

import pytest
from attrs import evolve

from holdstate.spec import (
    INPUT_LIFECYCLE,
    RUNTIME_STATE,
    Expression,
    Field,
    Machine,
    Param,
    Transition,
    const,
    field,
    param,
)
from holdstate.spec.expressions import Value
from holdstate.spec.tla import camel, names_of, tla_expression, tla_string, tla_value
from holdstate.spec.tla_machine import TlaBounds, counting_fields, domain_of, machine_module, read_fields, steps_module


class Light(StrEnum):
    RED = "red"
    GREEN = "green"
    OFF = "off"


class Turn(StrEnum):
    GO = "go"
    HALT = "init"
    BREAK = "break"


class Size(Enum):
    SMALL = 1


A, B = field("a"), param("b")

EXPRESSIONS = (
    (A.eq(1), "a = 1"),
    (A.ne(B), "a # b_"),
    (A.lt(1), "a < 1"),
    (A.le(1), "a <= 1"),
    (A.gt(1), "a > 1"),
    (A.ge(B.plus_one()), "a >= b_ + 1"),
    (A.plus_one().plus_one().eq(2), "a + 1 + 1 = 2"),
    (A.is_none(), "a = None"),
    (A.is_some(), "a # None"),
    (A.is_in(1, None), "a \\in {1, None}"),
    (~A.eq(1), "~(a = 1)"),
    (~const(True), "~TRUE"),
    (A.eq(1) & (B.eq(2) | const(False)), "a = 1 /\\ (b_ = 2 \\/ FALSE)"),
    (A.eq(1).eq(True), "(a = 1) = TRUE"),
    ((A.eq(1) & B.eq(2)) | A.is_none(), "(a = 1 /\\ b_ = 2) \\/ a = None"),
)


@pytest.mark.parametrize(("expression", "text"), EXPRESSIONS, ids=[text for _, text in EXPRESSIONS])
def test_an_expression_reads_as_in_tla(expression: Expression, text: str) -> None:
    """Operators hold their operands together as in ours, but that TLA+ wants and and or apart; names are as given."""
    assert tla_expression(expression, {"a": "a"}, {"b": "b_"}) == text


def test_a_node_of_another_language_is_refused() -> None:
    """The set of nodes is closed; nothing else is guessed at."""

    class Other(Expression):
        def evaluate(self, fields: object, params: object) -> object:
            return None

        def text(self) -> str:
            return ""

        def source(self, constants: dict[str, object], omissible: frozenset[str] = frozenset()) -> str:
            return ""

    with pytest.raises(TypeError, match="Other has no form in TLA"):
        tla_expression(Other(), {}, {})


VALUES: tuple[tuple[Value, str], ...] = (
    (None, "None"),
    (True, "TRUE"),
    (-3, "-3"),
    ("a b", '"a b"'),
    (Light.RED, '"red"'),
    (Size.SMALL, '"1"'),
    (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
)


@pytest.mark.parametrize(("value", "text"), VALUES)
def test_a_value_reads_as_in_tla(value: Value, text: str) -> None:
    """What is no number and no truth value is a string."""
    assert tla_value(value) == text


def test_strings_hold_what_modules_and_configurations_spell_alike() -> None:
    """Quotes, backslashes, percent signs and what is not ASCII are code points, so that no two texts meet."""
    assert tla_string('a"\\%é\n') == '"a%22;%5c;%25;%e9;%a;"'


def test_events_become_actions() -> None:
    """Whatever characters their names hold."""
    assert [camel(name) for name in ("rollback_failed", "run.started", "2nd-try", "")] == [
        "RollbackFailed",
        "RunStarted",
        "Do2ndTry",
        "Do",
    ]


ODD = Machine(
    name="traffic light",
    states=Light,
    initial=Light.RED,
    terminal={Light.OFF},
    fields=(
        Field("state", int, default=0),
        Field("IF", UUID, optional=True),
        Field("WF_x", str, default="x"),
        Field("_", int, optional=True),
    ),
    events={Turn.GO: (Param("state", int), Param("who", UUID, optional=True)), Turn.HALT: (), Turn.BREAK: ()},
    transitions=(
        Transition(Turn.GO, Light.RED, Light.GREEN, guard=param("state").gt(0) | param("who").is_none(), doc="go on"),
        Transition(
            Turn.GO, Light.RED, Light.RED, sets={"state": field("state").plus_one(), "_": param("state").plus_one()}
        ),
        Transition(Turn.HALT, (Light.RED, Light.GREEN), Light.OFF, sets={"state": 0, "IF": None, "WF_x": "y", "_": 1}),
    ),
)


def test_names_that_are_taken_get_another() -> None:
    """Those of the language, of the module, and of another part of the machine."""
    names = names_of(ODD)
    assert names.module == "traffic_light"
    assert dict(names.fields) == {"state": "field_state", "IF": "field_IF", "WF_x": "field_WF_x", "_": "field__"}
    assert dict(names.params) == {"state": "given_state", "who": "who"}
    assert dict(names.events) == {Turn.GO: "Go", Turn.HALT: "EventInit", Turn.BREAK: "Break"}


def test_rows_that_overlap_exclude_each_other() -> None:
    """The table takes the first row that holds, so a later one says that no earlier one does."""
    module = machine_module(ODD).module
    assert '    \\/ \\* go on\n       /\\ state = "red"\n       /\\ (given_state > 0 \\/ who = None)' in module
    assert '       /\\ ~(state = "red" /\\ (given_state > 0 \\/ who = None)) \\* an earlier row' in module
    assert "Break ==\n    FALSE" in module
    assert "(* The machine traffic light." in module
    assert "UNCHANGED <<>>" not in module
    assert "field__ = None \\/ field__ <= MaxInt" in module


def test_a_machine_without_ends_and_fields_has_no_checks_of_them() -> None:
    """Nor constants for types that it does not use."""
    plain = Machine(name="x", states=Light, initial=Light.RED, events=dict.fromkeys(Turn, ()), transitions=())
    written = machine_module(plain)
    assert set(written.files()) == {"x.tla", "x.cfg"}
    assert written.config.split() == ["SPECIFICATION", "Spec", "INVARIANT", "TypeOK", "CONSTANTS", "None", "=", "None"]
    assert "FinalStatesRefuse" not in written.module
    assert "Ids" not in written.module


def test_declared_exits_are_the_only_ones() -> None:
    """A terminal state with an exit is left by that event alone; the others are left by none."""
    written = machine_module(RUNTIME_STATE)
    assert 'ExitsAreDeclared_stopped == [][state = "stopped" => (Destroy)]_vars' in written.module
    assert 'Final == {"destroyed"}' in written.module
    assert "PROPERTY ExitsAreDeclared_stopped" in written.config


def test_domains_hold_what_rows_name_and_some_more() -> None:
    """As many ids and texts as asked for, besides those of the table; None where it may be left out."""
    bounds = TlaBounds(ids=1, texts=1, lowest=-1, highest=1)
    assert domain_of(Param("p", int), ODD, bounds) == (-1, 0, 1)
    assert domain_of(Param("p", bool, optional=True), ODD, bounds) == (False, True, None)
    assert domain_of(Param("p", str), ODD, bounds) == ("text1", "y", "x")
    assert domain_of(Param("p", Light), ODD, bounds) == tuple(Light)
    given = evolve(ODD, fields=(*ODD.fields, Field("by", UUID, default=UUID(int=3))))
    assert domain_of(Param("p", UUID), given, bounds) == ("id1", UUID(int=3))


def test_what_is_read_and_what_is_counted_is_told_apart() -> None:
    """Steps start from every value of what is read; what counts up is bounded."""
    assert [each.name for each in read_fields(ODD)] == ["state"]
    assert [each.name for each in counting_fields(ODD)] == ["state", "_"]
    assert 'field_WF_x = "x"' in steps_module(ODD).module
    assert "CONSTRAINT InBounds" in machine_module(ODD, TlaBounds()).config


def test_rows_are_told_with_their_words() -> None:
    """Each row of the shipped machines keeps its doc and its effects as a comment."""
    module = machine_module(INPUT_LIFECYCLE).module
    for row in INPUT_LIFECYCLE.transitions:
        assert row.doc in module
    assert "\\* a run takes it; emits input.staged" in module
    assert max(len(line) for line in module.splitlines()) <= 120
