"""Expressions: data that evaluates, reads, compiles and is typed in one way only."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdstate.spec import TRUE, Expression, ExpressionError, HoldstateError, Names, const, field, param
from holdstate.spec.expression_types import type_of
from holdstate.spec.expressions import And, Const, Or, PlusOne, bind, value_text


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


ONE, TWO = UUID(int=1), UUID(int=2)
FIELDS = {"count": int, "maybe": int, "flag": bool, "color": Color, "owner": UUID, "note": str}
PARAMS = {"limit": int, "listed": bool, "by": UUID}

_ints = st.recursive(
    st.sampled_from([field("count"), field("maybe"), param("limit"), const(0), const(3)]),
    lambda inner: inner.map(lambda each: each.plus_one()),
    max_leaves=3,
)
_orders: list[Callable[[Expression, Expression], Expression]] = [
    lambda a, b: a.eq(b), lambda a, b: a.ne(b), lambda a, b: a.lt(b),
    lambda a, b: a.le(b), lambda a, b: a.gt(b), lambda a, b: a.ge(b),
]  # fmt: skip
_atoms = st.one_of(
    st.builds(lambda compare, a, b: compare(a, b), st.sampled_from(_orders), _ints, _ints),
    _ints.map(lambda each: each.is_none()),
    _ints.map(lambda each: each.is_some()),
    _ints.map(lambda each: each.is_in(0, 2, None)),
    st.sampled_from(
        [field("flag"), param("listed"), TRUE, field("color").eq(Color.RED), field("owner").ne(param("by"))]
    ),
)
conditions = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        inner.map(lambda each: ~each),
    ),
    max_leaves=6,
)
_small = st.integers(-1, 4)
_fields = st.fixed_dictionaries(
    {
        "count": _small,
        "maybe": st.none() | _small,
        "flag": st.booleans(),
        "color": st.sampled_from(Color),
        "owner": st.sampled_from([None, ONE, TWO]),
    }
)
_params = st.fixed_dictionaries({"limit": _small, "listed": st.booleans(), "by": st.sampled_from([ONE, TWO])})


def _outcome(run: Callable[[], object]) -> object:
    try:
        return run()
    except TypeError:
        return TypeError


def _compiled(expression: Expression, fields: dict[str, Any], params: dict[str, Any]) -> object:
    constants: dict[str, object] = {}
    code = expression.source(constants)
    return eval(code, {**constants, "fields": fields, "params": params})


@given(conditions, _fields, _params)
def test_evaluated_and_compiled_expressions_agree(
    expression: Expression, fields: dict[str, Any], params: dict[str, Any]
) -> None:
    """Both give the same value, or neither gives one (C50)."""
    evaluated = _outcome(lambda: expression.evaluate(fields, params))
    assert _outcome(lambda: _compiled(expression, fields, params)) == evaluated
    assert evaluated in (True, False, TypeError)


@given(conditions)
def test_a_condition_is_typed_named_and_hashable(expression: Expression) -> None:
    """Each generated condition is a bool by its types and reads declared names only."""
    assert type_of(expression, FIELDS, PARAMS) is bool
    assert expression.names().fields <= set(FIELDS)
    assert expression.names().params <= set(PARAMS)
    assert {expression: 1}[expression] == 1


@given(conditions, _fields, _params)
def test_the_text_means_what_the_expression_does(
    expression: Expression, fields: dict[str, Any], params: dict[str, Any]
) -> None:
    """Read by Python's own grammar, words for values aside, the text has the same value: no parenthesis is missing."""
    code = re.sub(r"\b(\d+)\b", r"int(\1)", expression.text()).replace(" = ", " == ")
    names = {**fields, **params, "none": None, "true": True, "red": Color.RED}
    assert _outcome(lambda: eval(code, names)) == _outcome(lambda: expression.evaluate(fields, params))


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (field("failure_count").plus_one().lt(param("max_attempts")), "failure_count + 1 < max_attempts"),
        (field("last_run_id").is_none(), "last_run_id is none"),
        (field("last_run_id").is_some(), "last_run_id is not none"),
        (field("a").is_in(1, None, "x", Color.RED), "a in {1, none, 'x', red}"),
        (field("a").eq(TRUE) & (field("b").ne(1) | ~field("c")), "a = true and (b != 1 or not c)"),
        (~(field("a").ge(1) & field("b").le(2)), "not (a >= 1 and b <= 2)"),
        (~field("a").gt(1), "not (a > 1)"),
        (field("a").eq(field("b").gt(1)), "a = (b > 1)"),
        (field("a") | field("b") & field("c"), "a or b and c"),
        (field("a").plus_one().plus_one(), "a + 1 + 1"),
        (const(ONE), str(ONE)),
    ],
)
def test_text_reads_as_a_person_writes_it(expression: Expression, text: str) -> None:
    """Operators bind as in prose; parentheses only where they are needed."""
    assert expression.text() == text


def test_expressions_are_compared_by_structure() -> None:
    """Two builds of the same condition are equal; joined conditions are flat; 1 and True are different constants."""
    assert field("a").eq(1) == field("a").eq(const(1))
    assert field("a") != param("a")
    assert const(1) != const(True)
    assert hash(const(1)) == hash(Const(1))
    a, b, c = field("a"), field("b"), field("c")
    assert (a & b) & c == a & (b & c) == And((a, b, c))
    assert (a | b) | c == a | (b | c) == Or((a, b, c))
    assert a & TRUE == a & True


def test_walk_and_names_cover_the_tree() -> None:
    """Every node is met, parents first."""
    expression = field("a").plus_one().lt(param("p")) & field("b").is_in(1)
    assert expression.names() == Names(frozenset({"a", "b"}), frozenset({"p"}))
    assert [type(node).__name__ for node in expression.walk()] == [
        "And", "Comparison", "PlusOne", "FieldRef", "ParamRef", "IsIn", "FieldRef", "Const",
    ]  # fmt: skip
    assert PlusOne(field("a")).children == (field("a"),)


def test_omissible_params_read_as_none() -> None:
    """A parameter that may be left out is None where it was."""
    source = param("error").is_none().source({}, frozenset({"error"}))
    assert eval(source, {"params": {}}) is True


def test_constants_are_bound_by_name() -> None:
    """A value never becomes source, whatever it says."""
    constants: dict[str, object] = {}
    assert const("__import__('os')").source(constants) == "c0"
    assert bind(constants, 7) == "c1"
    assert constants == {"c0": "__import__('os')", "c1": 7}


def test_an_expression_has_no_truth_value() -> None:
    """``a and b`` would lose a condition silently; it is loud."""
    with pytest.raises(ExpressionError, match=r"use & \| ~") as raised:
        bool(field("a"))
    assert isinstance(raised.value, TypeError)
    assert isinstance(raised.value, HoldstateError)
    assert raised.value.expression == "a"


@pytest.mark.parametrize(
    "build",
    [
        lambda: field("no name"),
        lambda: param("größe"),
        lambda: field(3),  # type: ignore[arg-type]
        lambda: const(1.5),  # type: ignore[arg-type]
        lambda: field("a").eq([]),  # type: ignore[arg-type]
        lambda: field("a").is_in(),
    ],
)
def test_what_is_no_expression_is_refused(build: Callable[[], Expression]) -> None:
    """Names are ASCII identifiers, constants come from the closed set, membership needs a member."""
    with pytest.raises(ExpressionError):
        build()


def test_membership_in_a_list_says_how_it_is_written() -> None:
    """Values are given one by one."""
    with pytest.raises(ExpressionError, match=r"\[1, 2\]: give is_in the values one by one: is_in\(1, 2\)"):
        field("a").is_in([1, 2])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        (field("nope"), "no such field of the machine; declared are count"),
        (param("nope"), "no such parameter of the event; declared are limit"),
        (field("note").plus_one(), "only an int has a plus_one"),
        (field("owner").lt(param("by")), "only ints are ordered, not UUID"),
        (field("count").lt(None), "only ints are ordered, not int and NoneType"),
        (field("count").eq(True), "never equal: int and bool"),
        (field("color").is_in("red"), "never equal: Color and str"),
        (field("count") & field("flag"), "only conditions are joined"),
        (~field("count"), "only conditions are joined"),
    ],
)
def test_types_that_do_not_fit_are_refused(expression: Expression, problem: str) -> None:
    """A comparison that could never hold is a mistake, not a false condition."""
    with pytest.raises(ExpressionError, match=problem):
        type_of(expression, FIELDS, PARAMS)


def test_types_of_values() -> None:
    """None compares with everything; a plus_one is an int; nothing declared is said so."""
    assert type_of(field("owner").eq(None), FIELDS, PARAMS) is bool
    assert type_of(field("color").is_in(Color.RED, None), FIELDS, PARAMS) is bool
    assert type_of(field("count").plus_one(), FIELDS, PARAMS) is int
    with pytest.raises(ExpressionError, match="declared are none"):
        type_of(field("count"), {}, {})


def test_values_read_like_the_tables() -> None:
    """None, booleans and enum members appear as words."""
    assert [value_text(value) for value in (None, True, 3, "x", Color.RED, ONE)] == [
        "none", "true", "3", "'x'", "red", str(ONE),
    ]  # fmt: skip
