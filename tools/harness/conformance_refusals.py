"""The conformance suite: what a store must not write, whoever asks, and what stays while somebody needs it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve

from ...runtime.errors import Fenced, StoreCorruption, StoreError
from ...runtime.ids import RunId
from ...runtime.records import RunBoundaryReceipt
from ...runtime.store import Claim, Commit, InputWrite, LoadedRuntime, ResultRef, RuntimeStore, Written
from ...spec.errors import HoldstateError
from .conformance_base import ConformanceBase, Home, assert_sound, run
from .conformance_reads import answers_of
from .hand_commits import opening, touched, two_runtimes
from .workload import PIXELS_ID, RUNTIME, Scribe, event, input_id, inputs_of, opened, pictured, taken

Settle = Callable[[LoadedRuntime | None], Commit]


class RefusalsConformance(ConformanceBase):
    """Commits and claims that a store refuses, groups, and blobs that are needed."""

    # -- claims and epochs ----------------------------------------------------------------------------------------

    def test_claim_that_does_not_raise_its_runtime_s_epoch_by_one_is_refused(self, home: Home) -> None:
        """By none, by two, from an older revision, or for another runtime: of a stored runtime and of a new one."""
        run(two_runtimes(home.store))
        before = answers_of(home.store)
        for name in ("one", "new"):
            for wrong, settle in _wrong_claims(name).items():
                (result,) = home.store.commit([Claim(name, settle)])
                assert isinstance(result, StoreError), f"a claim of {name!r} with {wrong} was answered {result!r}"
                assert result.applied is False
                with pytest.raises(StoreError):
                    home.store.claim(name, settle)
                assert answers_of(home.store) == before, f"a claim with {wrong} changed the store"

    def test_claim_returns_the_runtime_as_it_committed_it(self, home: Home) -> None:
        """Of a new runtime and of one that was there."""
        for epoch in (1, 2):
            loaded = home.store.claim(RUNTIME, opening(RUNTIME))
            assert loaded.record.epoch == epoch
            assert home.store.load_runtime(RUNTIME) == loaded

    def test_claim_that_settles_nothing_fails_alone(self, home: Home) -> None:
        """An error of holdstate's in ``settle`` is the answer of that member; its neighbours are written."""
        run(two_runtimes(home.store))

        def unsettled(_loaded: LoadedRuntime | None) -> Commit:
            raise StoreError("not to be settled")

        good = touched(home.store, "two")
        results = home.store.commit([Claim("one", unsettled), good])
        assert [type(each) for each in results] == [StoreError, Written]
        loaded = home.store.load_runtime("two")
        assert loaded is not None
        assert loaded.record == good.runtime

    def test_commit_of_an_epoch_that_nobody_claimed_is_refused(self, home: Home) -> None:
        """A newer epoch than the stored one on the stored revision: only a claim raises the epoch (C32)."""
        run(two_runtimes(home.store))
        before = answers_of(home.store)
        newer = touched(home.store, "one")
        newer.epoch += 1
        newer.runtime = evolve(newer.runtime, epoch=newer.epoch)
        (result,) = home.store.commit([newer])
        assert isinstance(result, HoldstateError), f"it was answered {result!r}"
        assert answers_of(home.store) == before

    def test_fenced_commit_is_answered_as_fenced(self, home: Home) -> None:
        """With the epochs in question, and not as a failure of the store: it is never tried again (C32)."""
        run(two_runtimes(home.store))
        stale = touched(home.store, "one")
        home.store.claim("one", opening("one"))
        (result,) = home.store.commit([stale])
        assert isinstance(result, Fenced)
        assert (result.runtime_id, result.epoch, result.stored_epoch) == ("one", stale.epoch, stale.epoch + 1)

    def test_prepared_commit_is_compared_when_it_is_written(self, home: Home) -> None:
        """What was written between ``prepare`` and the writing counts, revision and epoch (C32)."""
        run(two_runtimes(home.store))
        late, fenced = (home.store.prepare([touched(home.store, name)]) for name in ("one", "two"))
        home.store.commit([touched(home.store, "one")])
        home.store.claim("two", opening("two"))
        before = answers_of(home.store)
        assert [type(each) for each in (*late(), *fenced())] == [StoreError, Fenced]
        assert answers_of(home.store) == before

    # -- rows -----------------------------------------------------------------------------------------------------

    def test_id_key_or_order_that_is_taken_is_refused(self, home: Home) -> None:
        """By an input that ended: whoever holds the runtime has the active ones in memory (C5, C6)."""
        run(two_runtimes(home.store))
        run(_keyed(home.store))
        ended = next(each for each in inputs_of(home.store, "keyed") if each.admission.idempotency_key is not None)
        loaded = home.store.load_runtime("keyed")
        assert ended.is_terminal
        assert loaded is not None
        order = loaded.record.next_order
        taken_already = {
            "id": evolve(ended.admission, order=order, idempotency_key=None),
            "key": evolve(ended.admission, order=order, input_id=input_id(77)),
            "order key": evolve(ended.admission, input_id=input_id(77), idempotency_key=None),
        }
        for what, admission in taken_already.items():
            write = InputWrite(evolve(ended, admission=admission), is_new=True, drop_body=True)
            self._refused(home, evolve(touched(home.store, "keyed"), inputs=[write]), f"an input whose {what} is taken")

    def test_input_that_ended_is_never_written_again(self, home: Home) -> None:
        """Nor one that is not there: what is not new is an active input of the runtime (C4)."""
        run(two_runtimes(home.store))
        ended = next(each for each in inputs_of(home.store, "one") if each.is_terminal)
        absent = evolve(ended, admission=evolve(ended.admission, input_id=input_id(77), order=77))
        for record in (evolve(ended, recovery_count=9), absent):
            commit = evolve(touched(home.store, "one"), inputs=[InputWrite(record, is_new=False)])
            self._refused(home, commit, "an input that is not active")

    def test_receipt_and_event_that_are_stored_are_never_overwritten(self, home: Home) -> None:
        """A boundary is committed once, and the log only grows (C20, C45)."""
        run(two_runtimes(home.store))
        receipt = _a_receipt(home.store, "one")
        again = evolve(receipt, message_count=99)
        self._refused(home, evolve(touched(home.store, "one"), receipts=[again]), "a receipt that is stored")
        first, last = home.store.load_events("one", None, 1)[0], home.store.load_events("one")[-1]
        for logged in (first, last):
            self._refused(home, evolve(touched(home.store, "one"), events=[logged]), "an event that is stored")

    def test_input_that_needs_a_blob_that_is_not_stored_is_refused(self, home: Home) -> None:
        """A body never refers to what is not there (C41)."""
        run(two_runtimes(home.store))
        loaded = home.store.load_runtime("one")
        assert loaded is not None
        (queued,) = loaded.inputs
        missing = "sha256:" + "0" * 64
        admission = evolve(queued.admission, input_id=input_id(77), order=loaded.record.next_order, blobs=(missing,))
        write = InputWrite(evolve(queued, admission=admission), is_new=True, body=b"{}")
        self._refused(home, evolve(touched(home.store, "one"), inputs=[write]), "an input without its blob")

    def _refused(self, home: Home, commit: Commit, what: str) -> None:
        before = answers_of(home.store)
        (result,) = home.store.commit([commit])
        assert isinstance(result, StoreError), f"{what} was answered {result!r}"
        assert result.applied is False, f"{what} was refused and told as {result.applied}"
        assert answers_of(home.store) == before, f"{what} was refused and left something behind"

    def test_rows_that_are_missing_are_told(self, home: Home) -> None:
        """An active input or an event that the record counts and that is not there is never None (C38)."""
        run(two_runtimes(home.store))
        for name, lost in (("one", {"active": 1}), ("two", {"events": 1})):
            commit = touched(home.store, name)
            counts = commit.runtime.counts
            more = {field: getattr(counts, field) + number for field, number in lost.items()}
            home.store.commit([evolve(commit, runtime=evolve(commit.runtime, counts=evolve(counts, **more)))])
        with pytest.raises(StoreCorruption):
            home.store.load_runtime("one")
        counted = _counted_events(home.store, "two")
        assert len(home.store.load_events("two", None, counted - 1)) == counted - 1
        with pytest.raises(StoreCorruption):
            home.store.load_events("two", counted - 2)
        assert home.store.verify() != []

    # -- groups ---------------------------------------------------------------------------------------------------

    def test_members_of_one_runtime_in_a_group_see_each_other_in_their_order(self, home: Home) -> None:
        """The second builds on the first; a third on the same revision as the second is refused; answers keep the order
        of the group.
        """
        run(two_runtimes(home.store))
        first = touched(home.store, "one")
        second = Commit(evolve(first.runtime, revision=first.runtime.revision + 1), first.epoch, first.runtime.revision)
        third = evolve(second, runtime=evolve(second.runtime, has_snapshot=True))
        other = touched(home.store, "two", late=1)
        results = home.store.commit([other, first, second, third, Claim("one", opening("one")), second])
        assert [type(each) for each in results] == [StoreError, Written, Written, StoreError, Written, Fenced]
        loaded = home.store.load_runtime("one")
        assert loaded is not None
        assert (loaded.record.epoch, loaded.record.revision) == (first.epoch + 1, second.runtime.revision + 1)

    def test_group_is_one_transaction_in_the_books(self, home: Home) -> None:
        """``stats`` counts a commit for a group, however many members it has, and the rows that it wrote."""
        run(two_runtimes(home.store))
        before = home.store.stats()
        home.store.commit([touched(home.store, "one"), touched(home.store, "two")])
        after = home.store.stats()
        assert (after.commits, after.generation) == (before.commits + 1, before.generation)
        assert after.rows_written >= before.rows_written + 2

    def test_refused_member_leaves_no_row_of_any_kind(self, home: Home) -> None:
        """Neither inputs nor receipts, results, snapshot, events or blobs of it (C2, C19)."""
        run(two_runtimes(home.store))
        before = answers_of(home.store)
        loaded = home.store.load_runtime("one")
        assert loaded is not None
        (queued,) = loaded.inputs
        receipt = evolve(_a_receipt(home.store, "one"), run_id=RunId(input_id(88)))
        (event_row,) = home.store.load_events("one", None, 1)
        everything = evolve(
            touched(home.store, "one", late=1),
            inputs=[InputWrite(evolve(queued, recovery_count=9), is_new=False)],
            receipts=[receipt],
            results=[(ResultRef(receipt.run_id), b"result")],
            blobs=[(PIXELS_ID, b"pixels")],
            snapshot=b"snapshot",
            events=[evolve(event_row, offset=loaded.record.counts.events)],
        )
        (result, written) = home.store.commit([everything, touched(home.store, "two")])
        assert isinstance(result, StoreError)
        assert isinstance(written, Written)
        after = answers_of(home.store, runs=[receipt.run_id])
        left = [what for what, answer in before.items() if "two" not in what and after[what] != answer]
        assert [what for what in left if not what.startswith("runtimes")] == []
        assert not home.store.blob_exists(PIXELS_ID)
        assert home.store.load_receipt("one", receipt.run_id, receipt.sequence) is None

    # -- blobs ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("names", [("one", "one"), ("one", "two")], ids=["one runtime", "two runtimes"])
    def test_shared_blob_stays_until_the_last_input_that_needs_it(self, home: Home, names: tuple[str, str]) -> None:
        """Also over a sweep; then it is gone with that input (C41)."""

        async def play() -> None:
            drivers = {name: await opened(home.store, name, seed=name) for name in names}
            for number, name in enumerate(names):
                await taken(drivers[name], pictured(number))
            await drivers[names[0]].cancel_input(input_id(0))
            assert home.store.get_blob(PIXELS_ID) == b"pixels", "a blob went with the first of two inputs that need it"
            assert home.store.sweep_blobs() == 0
            assert home.store.get_blob(PIXELS_ID) == b"pixels", "a sweep took a blob that an input needs"
            await drivers[names[1]].cancel_input(input_id(1))
            assert not home.store.blob_exists(PIXELS_ID), "a blob that nobody needs is left"

        run(play())
        assert_sound(home.store)

    @pytest.mark.parametrize("first", [True, False], ids=["before the input", "after the input"])
    def test_blob_that_was_put_by_itself_stays_until_it_is_swept(self, home: Home, *, first: bool) -> None:
        """Whatever becomes of an input that needs it too (C41)."""

        async def play() -> None:
            driver = await opened(home.store)
            if first:
                assert home.store.put_blob(b"pixels") == PIXELS_ID
            await taken(driver, pictured(1))
            assert home.store.put_blob(b"pixels") == PIXELS_ID
            await driver.cancel_input(input_id(1))

        run(play())
        assert home.store.get_blob(PIXELS_ID) == b"pixels", "a blob that was put by itself went with an input"
        assert home.crash().get_blob(PIXELS_ID) == b"pixels"
        assert home.store.sweep_blobs() == 1
        assert not home.store.blob_exists(PIXELS_ID)
        assert_sound(home.store)


async def _keyed(store: RuntimeStore) -> None:
    driver = await opened(store, "keyed", seed="keyed")
    await taken(driver, event(1, idempotency_key="key"))
    await Scribe().work_off(driver)


def _counted_events(store: RuntimeStore, name: str) -> int:
    loaded = store.load_runtime(name)
    assert loaded is not None
    return loaded.record.counts.events


def _a_receipt(store: RuntimeStore, name: str) -> RunBoundaryReceipt:
    run_id = next(each.last_run_id for each in inputs_of(store, name) if each.last_run_id is not None)
    receipt = store.load_receipt(name, run_id, 0)
    assert receipt is not None
    return receipt


def _wrong_claims(name: str) -> dict[str, Settle]:
    right = opening(name)

    def otherwise(change: Callable[[Commit], Commit]) -> Settle:
        return lambda loaded: change(right(loaded))

    def raised(commit: Commit, by: int) -> Commit:
        epoch = commit.epoch + by
        return evolve(commit, epoch=epoch, runtime=evolve(commit.runtime, epoch=epoch))

    return {
        "the same epoch": otherwise(lambda commit: raised(commit, -1)),
        "an epoch left out": otherwise(lambda commit: raised(commit, 1)),
        "another base revision": otherwise(lambda commit: evolve(commit, base_revision=commit.base_revision + 1)),
        "the record of another runtime": otherwise(
            lambda commit: evolve(commit, runtime=evolve(commit.runtime, runtime_id="two"))
        ),
    }
