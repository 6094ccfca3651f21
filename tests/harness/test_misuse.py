"""What a test gets wrong is told before anything is played, in terms of the test."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st

from holdstate.spec import SpecError
from holdstate.tools.harness import Broken, Moment, Move, all_paths, check_paths, machine_harness, transition_cover
from holdstate.tools.harness.machine_tests import FAILURES_VARIABLE
from holdstate.tools.harness.misuse import HarnessMisused
from holdstate.tools.harness.replay import file_name

from .shop import ORDER, Event, Refused, Shop


@pytest.fixture(autouse=True)
def folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where failures go."""
    monkeypatch.setenv(FAILURES_VARIABLE, str(tmp_path))


class Stateless:
    def start(self) -> None: ...

    def fire(self, event: str, params: object) -> None: ...


class Odd(Shop):
    def fields(self) -> Any:
        return {"payed": 0}


class Silent(Shop):
    def fields(self) -> Any:
        return None


class Unclear(Shop):
    def panes(self) -> Any:
        return {"store": "paid"}


class Fielded(Shop):
    fields: Any = MappingProxyType({"paid": 0})


class Mortal:
    """It can be crashed, and not come back."""

    def start(self) -> None: ...

    def fire(self, event: str, params: object) -> None:
        raise Refused

    def state(self) -> str:
        return "cart"

    def crash(self) -> None: ...


class Reborn(Mortal):
    crash: Any = None

    def restart(self) -> None: ...


class Wordy(Shop):
    refusals: ClassVar[Any] = ("Refused",)


def played(adapter: Any) -> None:
    check_paths(ORDER, adapter, [(Move(Event.PAY, {"amount": 1, "payer": None}),)])


MISTAKES: list[tuple[Callable[[], object], str]] = [
    (lambda: check_paths(ORDER, Stateless, []), r"adapter Stateless: it has no method state\(\)"),  # type: ignore[arg-type]
    (lambda: played(Odd), r"adapter Odd: fields\(\) tells of 'payed', the fields of the machine are: paid, payer"),
    (lambda: played(Silent), r"adapter Silent: fields\(\) returned None"),
    (
        lambda: played(Unclear),
        r"adapter Unclear: panes\(\) returned {'store': 'paid'}; it returns what is shown of each",
    ),
    (lambda: played(Fielded), r"adapter Fielded: fields is .*, not a method"),
    (lambda: played(Mortal), r"adapter Mortal: it has crash\(\) and no restart\(\)"),
    (lambda: played(Reborn), r"adapter Reborn: it has restart\(\) and no crash\(\)"),
    (lambda: played(Wordy), r"adapter Wordy: refusals holds 'Refused'"),
    (lambda: played(Shop()), r"adapter: a Shop cannot be called; give the class"),
    (lambda: machine_harness(ORDER, Shop()), r"adapter: a Shop cannot be called"),  # type: ignore[arg-type]
    (lambda: machine_harness(ORDER, Shop, params={"amount": [1]}), r"\[1\] is not a strategy"),  # type: ignore[dict-item]
    (lambda: machine_harness(ORDER.compile(), Shop), r"machine: a TransitionTable is no Machine"),  # type: ignore[arg-type]
    (lambda: machine_harness(type(ORDER), Shop), r"machine: the class Machine is no Machine"),  # type: ignore[arg-type]
    (lambda: check_paths(ORDER, Shop, [], values={"amount": st.integers()}), r"is not a list of values"),  # type: ignore[dict-item]
    (lambda: list(all_paths(ORDER, 1, values={"amount": []})), r"\[\] is not a list of values"),
    (lambda: transition_cover(ORDER, values={"tag": "abc"}), r"'abc' is not a list of values"),
    (lambda: check_paths(ORDER, Shop, [Move(Event.CANCEL)]), r"paths: Move\(.*\) is no path"),  # type: ignore[list-item]
    (lambda: check_paths(ORDER, Shop, [(("cancel", {}),)]), r"paths: .* is no path"),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("mistake", "told"), MISTAKES, ids=[told[:40] for _mistake, told in MISTAKES])
def test_a_mistake_of_the_test_says_what_to_give(mistake: Callable[[], object], told: str) -> None:
    """An adapter, a machine, values or paths that cannot be played: a TypeError that names what it is about."""
    with pytest.raises(HarnessMisused, match=told) as caught:
        mistake()
    assert isinstance(caught.value, TypeError)
    assert str(caught.value) == f"{caught.value.what}: {caught.value.problem}"


def test_values_for_check_paths_are_named_like_those_of_paths() -> None:
    """A name that no event declares is refused there too."""
    with pytest.raises(SpecError, match="amont"):
        check_paths(ORDER, Shop, [], values={"amont": [1]})


def test_a_refusal_can_be_one_class() -> None:
    """``refusals`` without the tuple."""

    class Single(Shop):
        refusals: ClassVar[Any] = Refused

    assert check_paths(ORDER, Single, [(Move(Event.CANCEL),)]) == 2


def test_an_exception_that_means_refused_and_is_not_named_is_pointed_at() -> None:
    """The failure says where refusals are named."""

    class Unnamed(Shop):
        refusals: ClassVar[Any] = ()

    with pytest.raises(Broken, match="name it in the adapter's refusals"):
        check_paths(ORDER, Unnamed, [])


def test_an_invariant_that_raises_is_a_failure_with_a_trace() -> None:
    """Whatever it raises."""

    def careless(moment: Moment) -> object:
        raise LookupError(moment.state)

    with pytest.raises(Broken, match="invariant careless: it raised LookupError") as caught:
        check_paths(ORDER, Shop, [], invariants=[careless])
    assert isinstance(caught.value.__cause__, LookupError)
    assert any("replay it: " in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("name", "file"), [("order", "order"), ("a b/c: d", "a-b-c-d"), ("../x", "x"), ("é 1.2", "é-1.2"), ("?", "machine")]
)
def test_a_failure_is_a_file_in_its_folder_whatever_its_name(name: str, file: str) -> None:
    """One word for a shell, and no path."""
    assert file_name(name) == file
