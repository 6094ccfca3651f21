"""Mutants are noticed: a seeded sample in every run, all of ``holdstate test run mutate`` by hand."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from holdstate.runtime import core, stepper
from holdstate.runtime.turn import Member
from holdstate.spec.commands import COMMANDS
from holdstate.spec.errors import SpecError
from holdstate.spec.input_lifecycle import INPUT_LIFECYCLE
from holdstate.spec.runtime_state import RUNTIME_STATE
from holdstate.spec.vocabulary import InputState
from holdstate.stores.memory_store import MemoryStore
from holdstate.tools import mutation_run
from holdstate.tools.mutation import CONSTRUCTION, Mutant, Part, Score, Tables, Trial, replaced, tried
from holdstate.tools.mutation_checks import CHECKS
from holdstate.tools.mutation_equivalents import EQUIVALENTS
from holdstate.tools.mutation_run import control, mutants, sample, trials
from holdstate.tools.stories import all_told, expected

from .support import call

SEED, TABLES, SAMPLE = 7, 400, 24
BY_NAME = {check.name: check for check in CHECKS}
STORED_IN_MEMORY, EXPLORED = BY_NAME["stories in memory"], BY_NAME["whole explorer"]


def test_every_label_is_one_mutant() -> None:
    """A survivor is named without doubt, and an explanation is of a mutant that there is."""
    labels = [mutant.label for mutant in mutants()]
    assert len(set(labels)) == len(labels)
    assert set(EQUIVALENTS) <= set(labels)


def test_there_are_mutants_of_every_part() -> None:
    """Every row of every table is changed, and at least 25 steps of commit and recovery are."""
    machine = [mutant.name for mutant in mutants(Part.MACHINE)]
    for each in (INPUT_LIFECYCLE, RUNTIME_STATE):
        for number in range(len(each.transitions)):
            assert f"{each.name} {each.place(number)}: dropped" in machine
    commands = [mutant.name for mutant in mutants(Part.COMMANDS)]
    assert all(f"{name}: dropped" in commands for name in COMMANDS)
    assert len(mutants(Part.CODE)) >= 100
    assert len(mutants(Part.POLICY)) >= 300


def test_without_a_change_no_check_notices_anything() -> None:
    """The control: all checks pass on what is shipped, so what they notice is the mutant."""
    assert control() == []


def test_the_stories_are_told_as_written() -> None:
    """stories.txt is what the stories come to, and no line of it tells of something wrong."""
    lines = [line for lines in expected().values() for line in lines]
    assert [line for line in all_told() if not line.startswith("## ")] == lines
    assert not [line for line in lines if line.startswith("!!")]


def test_a_mutant_that_changes_nothing_survives() -> None:
    """The control of the checks: they say nothing of a mutant that is none."""
    for part, check in ((Part.MACHINE, BY_NAME["matrices"]), (Part.CODE, STORED_IN_MEMORY)):
        assert tried(Mutant(part, "nothing at all"), [BY_NAME["lint"], check]).survived


def test_a_mutant_is_gone_when_it_was_tried() -> None:
    """Tables and code are as before, whether the mutant was noticed, survived or could not be built."""
    before = (stepper.INPUTS, stepper.RUNTIMES, vars(core)["COMMANDS"], vars(Member)["undo"], core.step)
    for mutant in (mutants(Part.MACHINE)[0], mutants(Part.COMMANDS)[0], mutants(Part.CODE)[0]):
        tried(mutant, [STORED_IN_MEMORY])
    assert before == (stepper.INPUTS, stepper.RUNTIMES, vars(core)["COMMANDS"], vars(Member)["undo"], core.step)


def test_a_table_that_cannot_be_built_is_noticed_by_construction() -> None:
    """A SpecError counts, and names the place."""

    def ill_formed() -> Tables:
        return Tables(inputs=evolve(INPUT_LIFECYCLE, initial=InputState.CONSUMED))

    trial = tried(Mutant(Part.MACHINE, "ill-formed", ill_formed), ())
    assert trial.noticed is not None
    assert trial.noticed[0] == CONSTRUCTION
    with pytest.raises(SpecError):
        ill_formed()


def test_tables_are_noticed_by_lint_or_the_matrices() -> None:
    """Mutants of the machines and of the policy, but for those of an effect, take milliseconds each."""
    chosen = sample([*mutants(Part.MACHINE), *mutants(Part.POLICY)], TABLES, SEED)
    cheap = [BY_NAME["lint"], BY_NAME["matrices"]]
    survivors = [each.name for each in chosen if " emit" not in each.name and tried(each, cheap).survived]
    assert survivors == []


def test_a_seeded_sample_of_commands_and_steps_is_noticed() -> None:
    """What lint and matrices say nothing of is noticed by the stories."""
    rest = [*mutants(Part.COMMANDS), *mutants(Part.CODE)]
    chosen = [mutant for mutant in sample(rest, SAMPLE, SEED) if mutant.label not in EQUIVALENTS]
    quick = [mutant for mutant in chosen if mutant.label not in _SLOW]
    assert Score(trials(quick), {}).survivors == []


_SLOW = frozenset(
    {"code: flush: any call may join a group", "code: flush: a thread's commit answers the first call alone"}
)
"""Noticed by an answer that never comes, which takes seconds."""


@pytest.mark.parametrize("name", ["memory: no fence", "turn: a failed commit is not undone", "lmdb: keys are not put"])
def test_known_bugs_are_noticed_by_name(name: str) -> None:
    """A lost fence, a commit that is not taken back, a row that is not put."""
    (mutant,) = [mutant for mutant in mutants(Part.CODE) if mutant.name == name]
    (trial,) = trials([mutant])
    assert trial.noticed is not None
    assert trial.noticed[0] == ("stories on lmdb" if name.startswith("lmdb") else "stories in memory")


def test_the_explorer_alone_notices_a_broken_rule() -> None:
    """The slowest check is no ornament: it finds by itself that an input fails for ever."""
    (mutant,) = [
        mutant for mutant in mutants(Part.COMMANDS) if mutant.name == "open: [active] rule 3 (recover_queue) dropped"
    ]
    trial = tried(mutant, [EXPLORED])
    assert trial.noticed is not None


def test_a_story_that_raises_tells_so() -> None:
    """Whatever a mutant raises is a line of its story, and not the end of the campaign."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with replaced((Member, "commit", broken)):
        found = STORED_IN_MEMORY.notices(Tables())
    assert found is not None
    assert MemoryStore().verify() == []


def test_the_score_leaves_the_equivalent_ones_out() -> None:
    """Of three mutants one is noticed, one is explained, one survives: 50 %."""
    one, two, three = (Mutant(Part.CODE, name) for name in ("one", "two", "three"))
    score = Score([Trial(one, ("lint", "x")), Trial(two), Trial(three)], {"code: two": "why"})
    assert (score.percent, score.unexplained, score.explained) == (50.0, ["code: three"], {"code: two": "why"})
    assert score.noticed == {"lint": 1}
    assert Score([], {}).percent == 100.0


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    """It keeps the order, and another seed draws others."""
    found = mutants(Part.MACHINE)
    drawn = sample(found, 10, 3)
    assert [each.label for each in sample(mutants(Part.MACHINE), 10, 3)] == [each.label for each in drawn]
    assert [each.label for each in sample(found, 10, 4)] != [each.label for each in drawn]
    assert sample(found, None, 1) == found


def _without_control(monkeypatch: pytest.MonkeyPatch, found: list[str]) -> None:
    monkeypatch.setattr("holdstate.tools.mutate_command.control", lambda: found)


def test_the_command_tells_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a sample noticed: exit 0; as JSON each mutant with the check that noticed it."""
    _without_control(monkeypatch, [])
    given = ("test", "run", "mutate", "--only", "policy", "--limit", 5, "--seed", 2)
    result = call(*given)
    assert result.exit_code == 0
    assert "100.00 % of 5 mutants are noticed" in result.stdout
    result = call(*given, "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert (document["mutants"], document["percent"], document["survivors"]) == (5, 100.0, [])
    assert {each["check"] for each in document["trials"]} <= {CONSTRUCTION, "matrices"}


def test_a_survivor_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 1, and it is named."""
    _without_control(monkeypatch, [])
    monkeypatch.setattr(mutation_run, "CHECKS", ())
    result = call("test", "run", "mutate", "--only", "code", "--limit", 1)
    assert result.exit_code == 1
    assert "survived: code: " in result.stdout


def test_a_change_whose_process_died_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3, and it is named with its end; it counts neither as noticed nor as equivalent."""
    _without_control(monkeypatch, [])
    chosen = sample(mutants(Part.CODE), 4, 1)
    noticed = [Trial(each, ("lint", "-")) for each in chosen[1:]]
    told = [Trial(chosen[0], died="its process was killed by SIGKILL"), *noticed]
    monkeypatch.setattr("holdstate.tools.mutate_command.trials", lambda *_given, **_named: told)
    given = ("test", "run", "mutate", "--only", "code", "--limit", 4)
    result = call(*given)
    assert result.exit_code == 3
    assert f"died: {chosen[0].label}: its process was killed by SIGKILL" in result.stdout
    assert "75.00 % of 4 mutants are noticed" in result.stdout
    document = json.loads(call(*given, "--json").stdout)
    assert document["died"] == {chosen[0].label: "its process was killed by SIGKILL"}
    assert document["by_part"]["code"] == {"mutants": 4, "noticed": 3, "equivalent": 0, "survived": 0, "died": 1}
    assert (document["survivors"], document["trials"][0]["check"]) == ([], None)


def test_a_check_that_finds_something_without_any_change_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """No score is told then."""
    _without_control(monkeypatch, ["lint: something"])
    result = call("test", "run", "mutate", "--limit", 1)
    assert result.exit_code == 1
    assert "without any change, lint: something" in result.stderr
    assert result.stdout == ""


def test_the_group_knows_its_verbs() -> None:
    """An unknown verb is a mistake of usage."""
    assert "mutate" in call("test", "run", "--help").stdout
    assert call("test", "run", "nothing").exit_code == 2
