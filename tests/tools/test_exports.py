"""Machines in other languages: what is written says the same as the table."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import pytest
from markdown_it import MarkdownIt
from statemachine.io import load

from holdstate.spec import INPUT_LIFECYCLE, RUNTIME_STATE, Field, Machine, Param, Transition, field, param
from holdstate.tools.machine_document import json_of, json_schema, read_document
from holdstate.tools.machine_markdown import machine_markdown
from holdstate.tools.machine_scxml import data_id, param_ids, scxml_of

from .four_sides import cases, compiled
from .json_schema import errors
from .machines import TICKET
from .support import call

SHIPPED = (INPUT_LIFECYCLE, RUNTIME_STATE)
by_name = pytest.mark.parametrize("machine", SHIPPED, ids=lambda machine: machine.name)

Lamp = StrEnum("Lamp", {"ON": "on", "HIDDEN": "_hidden.state"})
Mode = StrEnum("Mode", {"NULL": "null", "AND": "a &amp; b"})
Act = StrEnum("Act", {"SWAP": "swap", "SAY": "say", "NUDGE": "nudge"})
TRICKY = Machine(
    name="tricky one",
    states=Lamp,
    initial=Lamp.ON,
    fields=(
        Field("state", int, default=1),
        Field("b", int, default=2),
        Field("text", str, default="true"),
        Field("mode", Mode, optional=True),
    ),
    events={Act.SWAP: (), Act.SAY: (Param("said", str), Param("mode", Mode, optional=True)), Act.NUDGE: ()},
    transitions=(
        Transition(Act.SWAP, Lamp.ON, Lamp.ON, sets={"state": field("b"), "b": field("state")}),
        Transition(Act.SAY, Lamp.ON, Lamp.ON, guard=param("said").eq("null && &lt;"), sets={"text": "x === 'y'"}),
        Transition(
            Act.SAY, Lamp.ON, Lamp.ON, guard=~param("mode").is_in(Mode.NULL, Mode.AND), sets={"mode": param("mode")}
        ),
        Transition(
            Act.NUDGE,
            Lamp.ON,
            Lamp.ON,
            guard=(field("state").ne(1) & field("text").eq("true") & field("text").ne("p | q"))
            | field("b").plus_one().ge(9)
            | field("mode").is_some(),
            doc="a -- b < c",
        ),
    ),
)
"""Names that mean something to the reader, texts that it may take for code, and fields that change places."""


def _scxml_step(chart: type[Any], machine: Machine[Any, Any], case: Any) -> Any:
    """The state and the fields after a case, by python-statemachine from SCXML; values are texts where they were."""
    sm = chart(start_value=str(case.state))
    for name, value in case.fields.items():
        setattr(sm.model, data_id(name), _plain(value))
    declared = {each.name: None for each in machine.events[case.event]} | case.params
    names = param_ids(machine)
    sm.send(str(case.event), **{names[name]: _plain(value) for name, value in declared.items()})
    (state,) = sm.configuration_values
    return state, {name: getattr(sm.model, data_id(name)) for name in case.fields}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int) else str(value)


@by_name
def test_scxml_steps_like_the_table_in_every_cell(
    machine: Machine[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every (state, event, outcome of the guards) ends in the same state with the same fields; refused is unchanged."""
    chart, step = load(scxml_of(machine), format="scxml", name="Loaded"), compiled(machine)
    cells, refused = set(), 0
    for case in cases(machine):
        if case.cell in cells:
            continue
        cells.add(case.cell)
        expected = step(case)
        refused += expected is None
        state, fields = expected or (case.state, case.fields)
        assert _scxml_step(chart, machine, case) == (str(state), {name: _plain(each) for name, each in fields.items()})
    assert len(cells) > len(machine.matrix())
    assert 0 < refused < len(cells)
    capsys.readouterr()


def test_scxml_survives_names_and_texts_that_mean_something_to_its_reader() -> None:
    """A text that looks like code stays a text, a taken name gets a prefix, and two fields change places."""
    chart = load(scxml_of(TRICKY), format="scxml", name="Tricky")
    sm: Any = chart()
    assert (sm.model.field_state, sm.model.b, sm.model.text, sm.model.mode) == (1, 2, "true", None)
    sm.send("nudge")
    sm.send("swap")
    assert (sm.model.field_state, sm.model.b) == (2, 1)
    sm.send("say", said="null && &lt;", param_mode=None)
    assert sm.model.text == "x === 'y'"
    sm.send("say", said="", param_mode="a &amp; b")
    assert sm.model.mode is None
    sm.send("say", said="", param_mode="true")
    assert sm.model.mode == "true"


@pytest.mark.parametrize(
    ("held", "given"),
    [
        *(("n", each) for each in ("from", "None", "null", "source", "event", "delay", "get", "key", "_p", "n")),
        *(("from", "from"), ("null", "n"), ("param_n", "n"), ("state", "field_state")),
    ],
)
def test_scxml_survives_every_name_of_a_field_and_a_parameter(
    held: str, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keywords, what the reader takes for itself, private ones, and a parameter that is called like a field."""
    machine = Machine(
        name="named",
        states=Lamp,
        initial=Lamp.ON,
        fields=(Field(held, int, default=1), Field("before", int, default=0)),
        events={Act.SWAP: (Param(given, int),), Act.SAY: (), Act.NUDGE: ()},
        transitions=(
            Transition(
                Act.SWAP,
                Lamp.ON,
                Lamp.HIDDEN,
                guard=field(held).lt(param(given)),
                sets={"before": field(held), held: param(given)},
            ),
        ),
    )
    text, name = scxml_of(machine), param_ids(machine)[given]
    sm: Any = load(text, format="scxml", name="Named")()
    sm.send("swap", **{name: 1})
    assert set(sm.configuration_values) == {"on"}
    sm.send("swap", **{name: 5})
    assert set(sm.configuration_values) == {"_hidden.state"}
    assert (getattr(sm.model, data_id(held)), sm.model.before) == (5, 1)
    assert (f"<!-- parameter {given} is sent as {name} -->" in text) == (name != given)
    capsys.readouterr()


def test_scxml_refuses_names_that_it_cannot_hold() -> None:
    """Told with what to do, as a usage error."""
    result = call("spec", "export", "tests.tools.machines:TICKET", "--format", "scxml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "give the member another value" in result.stderr


@pytest.mark.parametrize("machine", [*SHIPPED, TICKET, TRICKY], ids=lambda machine: machine.name)
def test_json_fits_its_schema_and_can_be_read(machine: Machine[Any, Any]) -> None:
    """The schema is the one that is committed, and says so where something does not fit."""
    schema, document = json.loads(json_schema()), json.loads(json_of(machine))
    assert errors(document, schema, schema) == []
    assert read_document(json_of(machine)).name == machine.name
    assert len(document["transitions"]) == len(machine.transitions)


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (("version",), 2, "$.version"),
        (("unknown",), 1, "$.unknown"),
        (("states", 0, "terminal"), 1, "$.states[0].terminal"),
        (("transitions", 0, "source"), "accepted", "$.transitions[0].source"),
        (("transitions", 6, "guard"), {"op": "call"}, "$.transitions[6].guard"),
    ],
)
def test_what_does_not_fit_the_schema_is_not_read(path: tuple[Any, ...], value: object, place: str) -> None:
    """The schema and the reader agree on what is wrong."""
    schema, document = json.loads(json_schema()), json.loads(json_of(INPUT_LIFECYCLE))
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    assert [each.partition(":")[0] for each in errors(document, schema, schema)] == [place]
    with pytest.raises(msgspec.ValidationError):
        read_document(json.dumps(document))


@pytest.mark.parametrize("machine", [*SHIPPED, TICKET, TRICKY], ids=lambda machine: machine.name)
def test_markdown_has_every_state_field_event_and_row(machine: Machine[Any, Any]) -> None:
    """In tables that Markdown reads back: no cell breaks a row."""
    tokens = MarkdownIt("commonmark").enable("table").parse(machine_markdown(machine))
    rows = sum(token.type == "tr_open" for token in tokens)
    tables = sum(token.type == "table_open" for token in tokens)
    parts = [machine.states.__members__, machine.fields, machine.events, machine.transitions]
    assert rows == tables + sum(len(part) for part in parts)
    told = [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]
    for row in machine.transitions:
        assert row.guard.text() in (*told, "true")
        assert all(f"{name} = {value.text()}" in told for name, value in row.sets)


@pytest.mark.parametrize("form", ["md", "mermaid", "dot", "scxml", "json"])
def test_every_language_is_written_to_a_file_or_to_stdout(form: str, tmp_path: Path) -> None:
    """The same text, for a machine of one's own too."""
    path = tmp_path / "folder" / "exported"
    printed = call("spec", "export", "runtime_state", "--format", form)
    written = call("spec", "export", "holdstate.spec:RUNTIME_STATE", "--format", form, "-o", path)
    assert (printed.exit_code, written.exit_code, written.stdout) == (0, 0, "")
    assert path.read_text(encoding="utf-8") == printed.stdout != ""


@pytest.mark.parametrize(
    "words", [("whole", "--format", "json"), ("runtime_state", "--format", "md", "--json"), ("runtime_state",)]
)
def test_what_one_language_does_not_have_is_a_usage_error(words: tuple[str, ...]) -> None:
    """The whole is TLA+ alone, and TLA+ takes a folder."""
    result = call("spec", "export", *words)
    assert (result.exit_code, result.stdout) == (2, "")
