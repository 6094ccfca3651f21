---------------------------------------------------- MODULE tables -----------------------------------------------------
(* The tables of holdstate as operators: the machines of spec/input_lifecycle.py and
   spec/runtime_state.py, the command table of spec/commands.py, and the policy of spec/policy.py.
   Generated from them; edit those, not this.

   r, rt   the record of an input, of a runtime        p   the facts of the command (see NoFacts)
   X(r, p) what the event X makes of the record; Refused where the machine has no row for it
*)
EXTENDS Integers

CONSTANTS
    None,   \* no value
    Refused \* what a machine answers where it has no row

NoFacts ==
    [run_id |-> None, max_attempts |-> None, error |-> None, sequence |-> None, by |-> None, into |-> None,
     reason |-> None, receipt_lists |-> None, handed_out |-> None, consumes_on_accept |-> None, coalesces |-> None,
     alone |-> None, recoverable |-> None]

------------------------------------------------------------------------------------------------------------------------
\* The policy: what is stamped on an input of each kind when it is admitted.

AllKinds == {"prompt", "event", "steer", "progress", "replacing", "urgent", "operation", "fleeting"}

Kind(name) ==
    CASE name = "prompt" ->
            [lane |-> "queue", is_prompt |-> TRUE, is_first |-> FALSE, replaces |-> FALSE, coalesces |-> FALSE,
             consumes_on_accept |-> FALSE, has_key |-> FALSE, is_ephemeral |-> FALSE]
      [] name = "event" ->
            [lane |-> "queue", is_prompt |-> FALSE, is_first |-> FALSE, replaces |-> FALSE, coalesces |-> FALSE,
             consumes_on_accept |-> FALSE, has_key |-> TRUE, is_ephemeral |-> FALSE]
      [] name = "steer" ->
            [lane |-> "steer", is_prompt |-> TRUE, is_first |-> FALSE, replaces |-> FALSE, coalesces |-> FALSE,
             consumes_on_accept |-> FALSE, has_key |-> FALSE, is_ephemeral |-> FALSE]
      [] name = "progress" ->
            [lane |-> "steer", is_prompt |-> FALSE, is_first |-> FALSE, replaces |-> TRUE, coalesces |-> TRUE,
             consumes_on_accept |-> FALSE, has_key |-> FALSE, is_ephemeral |-> FALSE]
      [] name = "replacing" ->
            [lane |-> "queue", is_prompt |-> FALSE, is_first |-> FALSE, replaces |-> TRUE, coalesces |-> FALSE,
             consumes_on_accept |-> FALSE, has_key |-> FALSE, is_ephemeral |-> FALSE]
      [] name = "urgent" ->
            [lane |-> "queue", is_prompt |-> FALSE, is_first |-> TRUE, replaces |-> FALSE, coalesces |-> FALSE,
             consumes_on_accept |-> FALSE, has_key |-> FALSE, is_ephemeral |-> FALSE]
      [] name = "operation" ->
            [lane |-> "queue", is_prompt |-> FALSE, is_first |-> TRUE, replaces |-> FALSE, coalesces |-> FALSE,
             consumes_on_accept |-> TRUE, has_key |-> FALSE, is_ephemeral |-> FALSE]
      [] name = "fleeting" ->
            [lane |-> "queue", is_prompt |-> FALSE, is_first |-> FALSE, replaces |-> FALSE, coalesces |-> FALSE,
             consumes_on_accept |-> FALSE, has_key |-> FALSE, is_ephemeral |-> TRUE]

------------------------------------------------------------------------------------------------------------------------
\* The machine input_lifecycle: The life of one input, from admission to its end.

InputInitial == \* with what the record holds besides the fields of the machine: kind, key
    [state |-> "accepted", last_run_id |-> None, last_boundary_sequence |-> None, attempt_count |-> 0,
     failure_count |-> 0, terminal_outcome |-> None, successor_id |-> None, abandon_reason |-> None, error |-> None,
     kind |-> None, key |-> None]
InputTerminal == {"consumed", "superseded", "coalesced", "abandoned"}

InputQueue(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "accepted" THEN \* wait in a lane
        [r EXCEPT !.state = "queued"]
    ELSE Refused

InputConsumeOnAccept(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "accepted" THEN \* its policy has nothing to run
        [r EXCEPT !.state = "consumed", !.terminal_outcome = "consumed"]
    ELSE Refused

InputStage(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "queued" THEN \* a run takes it
        [r EXCEPT !.state = "staged", !.last_run_id = p.run_id, !.attempt_count = r.attempt_count + 1]
    ELSE Refused

InputRollback(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "staged" THEN \* back to its place, free of charge
        [r EXCEPT !.state = "queued"]
    ELSE Refused

InputRollbackFailed(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "staged" /\ r.failure_count + 1 < p.max_attempts THEN \* back to its place, one failure more
        [r EXCEPT !.state = "queued", !.failure_count = r.failure_count + 1, !.error = p.error]
    ELSE Refused

InputExhaust(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "staged" /\ ~(r.failure_count + 1 < p.max_attempts) THEN \* it failed as often as it may
        [r EXCEPT !.state = "abandoned", !.failure_count = r.failure_count + 1, !.terminal_outcome = "abandoned", !.abandon_reason = "attempts_exhausted", !.error = p.error]
    ELSE Refused

InputApply(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "staged" /\ r.last_run_id = p.run_id THEN \* its run got past it
        [r EXCEPT !.state = "applied"]
    ELSE Refused

InputMarkPending(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "applied" THEN \* a boundary receipt lists it
        [r EXCEPT !.state = "applied_pending_consumption", !.last_boundary_sequence = p.sequence]
    ELSE Refused

InputConsume(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "applied_pending_consumption" THEN \* done
        [r EXCEPT !.state = "consumed", !.terminal_outcome = "consumed"]
    ELSE Refused

InputSupersede(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "queued" THEN \* a newer input replaces it
        [r EXCEPT !.state = "superseded", !.terminal_outcome = "superseded", !.successor_id = p.by]
    ELSE Refused

InputCoalesce(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "queued" THEN \* a newer input takes it in
        [r EXCEPT !.state = "coalesced", !.terminal_outcome = "coalesced", !.successor_id = p.into]
    ELSE Refused

InputAbandon(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state \in {"accepted", "queued", "staged", "applied"} THEN \* somebody gave it up
        [r EXCEPT !.state = "abandoned", !.terminal_outcome = "abandoned", !.abandon_reason = p.reason, !.error = p.error]
    ELSE Refused

InputRecoverQueue(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "accepted" /\ ~(p.receipt_lists = TRUE) THEN \* admitted, never queued
        [r EXCEPT !.state = "queued", !.last_boundary_sequence = None]
    ELSE IF r.state \in {"staged", "applied", "applied_pending_consumption"} /\ ~(p.receipt_lists = TRUE) THEN \* its run left no boundary
        [r EXCEPT !.state = "queued", !.last_boundary_sequence = None, !.failure_count = r.failure_count + 1]
    ELSE Refused

InputRecoverConsume(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state \in {"applied", "applied_pending_consumption"} /\ p.receipt_lists = TRUE THEN \* its boundary is stored
        [r EXCEPT !.state = "consumed", !.terminal_outcome = "consumed"]
    ELSE Refused

------------------------------------------------------------------------------------------------------------------------
\* The machine runtime_state: The state of one runtime, from its first open to its end.

RuntimeInitial == \* with what the record holds besides the fields of the machine: contributors, boundary_count, shared_run, next_order
    [state |-> "initializing", current_run_id |-> None, pre_run_state |-> None, contributors |-> <<>>,
     boundary_count |-> 0, shared_run |-> FALSE, next_order |-> 1]
RuntimeTerminal == {"stopped", "destroyed"}

RuntimeInitialize(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "initializing" THEN \* the first open
        [r EXCEPT !.state = "idle"]
    ELSE Refused

RuntimeAttach(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "idle" THEN \* an executor comes
        [r EXCEPT !.state = "attached"]
    ELSE IF r.state = "running" /\ r.pre_run_state = "idle" THEN \* an executor comes during a run
        [r EXCEPT !.state = "running", !.pre_run_state = "attached"]
    ELSE Refused

RuntimeDetach(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "attached" THEN \* the executor goes
        [r EXCEPT !.state = "idle"]
    ELSE IF r.state = "running" /\ r.pre_run_state = "attached" THEN \* the executor goes during a run
        [r EXCEPT !.state = "running", !.pre_run_state = "idle"]
    ELSE Refused

RuntimeBeginRun(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "idle" /\ r.current_run_id = None THEN \* a run begins in idle
        [r EXCEPT !.state = "running", !.current_run_id = p.run_id, !.pre_run_state = "idle"]
    ELSE IF r.state = "attached" /\ r.current_run_id = None THEN \* a run begins in attached
        [r EXCEPT !.state = "running", !.current_run_id = p.run_id, !.pre_run_state = "attached"]
    ELSE IF r.state = "retired" /\ r.current_run_id = None THEN \* a run begins in retired
        [r EXCEPT !.state = "running", !.current_run_id = p.run_id, !.pre_run_state = "retired"]
    ELSE Refused

RuntimeRunCompleted(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "running" /\ r.current_run_id = p.run_id /\ r.pre_run_state = "idle" THEN \* back to idle
        [r EXCEPT !.state = "idle", !.current_run_id = None, !.pre_run_state = None]
    ELSE IF r.state = "running" /\ r.current_run_id = p.run_id /\ r.pre_run_state = "attached" THEN \* back to attached
        [r EXCEPT !.state = "attached", !.current_run_id = None, !.pre_run_state = None]
    ELSE IF r.state = "running" /\ r.current_run_id = p.run_id /\ r.pre_run_state = "retired" THEN \* back to retired
        [r EXCEPT !.state = "retired", !.current_run_id = None, !.pre_run_state = None]
    ELSE IF r.state = "retired" /\ r.current_run_id = p.run_id THEN \* retired since
        [r EXCEPT !.state = "retired", !.current_run_id = None, !.pre_run_state = None]
    ELSE Refused

RuntimeRunFailed(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "running" /\ r.current_run_id = p.run_id /\ r.pre_run_state = "idle" THEN \* back to idle
        [r EXCEPT !.state = "idle", !.current_run_id = None, !.pre_run_state = None]
    ELSE IF r.state = "running" /\ r.current_run_id = p.run_id /\ r.pre_run_state = "attached" THEN \* back to attached
        [r EXCEPT !.state = "attached", !.current_run_id = None, !.pre_run_state = None]
    ELSE IF r.state = "running" /\ r.current_run_id = p.run_id /\ r.pre_run_state = "retired" THEN \* back to retired
        [r EXCEPT !.state = "retired", !.current_run_id = None, !.pre_run_state = None]
    ELSE IF r.state = "retired" /\ r.current_run_id = p.run_id THEN \* retired since
        [r EXCEPT !.state = "retired", !.current_run_id = None, !.pre_run_state = None]
    ELSE Refused

RuntimeRunCancelled(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "running" /\ r.current_run_id = p.run_id /\ r.pre_run_state = "idle" THEN \* back to idle
        [r EXCEPT !.state = "idle", !.current_run_id = None, !.pre_run_state = None]
    ELSE IF r.state = "running" /\ r.current_run_id = p.run_id /\ r.pre_run_state = "attached" THEN \* back to attached
        [r EXCEPT !.state = "attached", !.current_run_id = None, !.pre_run_state = None]
    ELSE IF r.state = "running" /\ r.current_run_id = p.run_id /\ r.pre_run_state = "retired" THEN \* back to retired
        [r EXCEPT !.state = "retired", !.current_run_id = None, !.pre_run_state = None]
    ELSE IF r.state = "retired" /\ r.current_run_id = p.run_id THEN \* retired since
        [r EXCEPT !.state = "retired", !.current_run_id = None, !.pre_run_state = None]
    ELSE Refused

RuntimeRetire(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state \in {"idle", "attached", "running"} THEN \* no new input; a current run goes on
        [r EXCEPT !.state = "retired"]
    ELSE Refused

RuntimeReset(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state \in {"initializing", "idle", "attached", "recovering", "retired"} /\ r.current_run_id = None THEN \* start over
        [r EXCEPT !.state = "idle", !.pre_run_state = None]
    ELSE Refused

RuntimeStop(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state \in {"initializing", "idle", "attached", "running", "recovering", "retired"} THEN \* the end
        [r EXCEPT !.state = "stopped", !.current_run_id = None, !.pre_run_state = None]
    ELSE Refused

RuntimeDestroy(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state \in {"initializing", "idle", "attached", "running", "recovering", "retired", "stopped"} THEN \* the end, for good
        [r EXCEPT !.state = "destroyed", !.current_run_id = None, !.pre_run_state = None]
    ELSE Refused

RuntimeRecover(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state \in {"idle", "attached"} /\ p.handed_out = FALSE THEN \* settle what a crash left
        [r EXCEPT !.state = "recovering", !.pre_run_state = "idle"]
    ELSE IF r.state = "running" /\ p.handed_out = FALSE /\ r.pre_run_state # "retired" THEN \* its run is gone
        [r EXCEPT !.state = "recovering", !.pre_run_state = "idle"]
    ELSE IF r.state = "running" /\ p.handed_out = FALSE /\ r.pre_run_state = "retired" THEN \* its run is gone; it began in retired
        [r EXCEPT !.state = "recovering"]
    ELSE IF r.state = "retired" /\ p.handed_out = FALSE THEN \* stays retired
        [r EXCEPT !.state = "recovering", !.pre_run_state = "retired"]
    ELSE Refused

RuntimeRecovered(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "recovering" /\ r.pre_run_state = "retired" THEN \* retired it was
        [r EXCEPT !.state = "retired", !.current_run_id = None, !.pre_run_state = None]
    ELSE IF r.state = "recovering" /\ ~(r.pre_run_state = "retired") THEN \* ready
        [r EXCEPT !.state = "idle", !.current_run_id = None, !.pre_run_state = None]
    ELSE Refused

RuntimeRecycle(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state \in {"idle", "attached", "retired"} /\ r.current_run_id = None THEN \* back into service
        [r EXCEPT !.state = "recovering"]
    ELSE Refused

RuntimeRecycled(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "recovering" THEN \* ready
        [r EXCEPT !.state = "idle", !.current_run_id = None, !.pre_run_state = None]
    ELSE Refused

RuntimeResume(r, p) ==
    IF r = Refused THEN Refused
    ELSE IF r.state = "recovering" THEN \* leave a recovery that somebody else began
        [r EXCEPT !.state = "idle", !.current_run_id = None, !.pre_run_state = None]
    ELSE Refused

------------------------------------------------------------------------------------------------------------------------
\* The command table.

\* accept: Admit one input; the one it replaces ends in the same commit.
AcceptNeeds(rt, p) == rt.state \in {"idle", "attached"} \/ (rt.state = "running" /\ rt.pre_run_state # "retired")
AcceptDoneIn == {}
AcceptCommits == TRUE
AcceptRuntime(rt, p) == rt
AcceptNew(r, p) == \* for the input to admit
    IF r.state = "accepted" /\ p.consumes_on_accept = TRUE THEN
        InputConsumeOnAccept(r, p)
    ELSE IF r.state = "accepted" THEN
        InputQueue(r, p)
    ELSE r
AcceptReplaced(r, p) == \* for the queued inputs of the same scope
    IF r.state = "queued" /\ p.coalesces = TRUE THEN
        InputCoalesce(r, p)
    ELSE IF r.state = "queued" THEN
        InputSupersede(r, p)
    ELSE r

\* open: Claim the runtime, initialize it where new, settle what a crash left. A terminal runtime is sent nothing.
OpenNeeds(rt, p) == TRUE
OpenDoneIn == {"stopped", "destroyed"}
OpenCommits == TRUE
OpenRuntime(rt, p) == RuntimeRecovered(RuntimeRecover(RuntimeInitialize(rt, p), p), p)
OpenActive(r, p) == \* for every active input
    IF r.state = "accepted" /\ p.consumes_on_accept = TRUE THEN
        InputConsumeOnAccept(r, p)
    ELSE IF r.state = "accepted" THEN
        InputRecoverQueue(r, p)
    ELSE IF r.state \in {"applied", "applied_pending_consumption"} /\ p.receipt_lists = TRUE THEN
        InputRecoverConsume(r, p)
    ELSE IF r.state \in {"staged", "applied", "applied_pending_consumption"} THEN
        LET after1 == InputRecoverQueue(r, p) IN
        IF after1 = Refused THEN Refused ELSE
        IF after1.state = "queued" /\ after1.failure_count >= p.max_attempts THEN
            InputAbandon(after1, [p EXCEPT !.reason = "attempts_exhausted", !.error = None])
        ELSE after1
    ELSE r

\* attach: An executor comes.
AttachNeeds(rt, p) == TRUE
AttachDoneIn == {}
AttachCommits == FALSE
AttachRuntime(rt, p) == RuntimeAttach(rt, p)

\* detach: The executor goes.
DetachNeeds(rt, p) == TRUE
DetachDoneIn == {}
DetachCommits == FALSE
DetachRuntime(rt, p) == RuntimeDetach(rt, p)

\* begin_run: Stage a batch into a new run.
BeginRunNeeds(rt, p) == TRUE
BeginRunDoneIn == {}
BeginRunCommits == TRUE
BeginRunRuntime(rt, p) == RuntimeBeginRun(rt, p)
BeginRunBatch(r, p) == \* for the batch
    IF r.state = "queued" THEN
        InputStage(r, p)
    ELSE r

\* stage_more: Stage a prefix of the steer lane into the current run.
StageMoreNeeds(rt, p) == rt.current_run_id = p.run_id
StageMoreDoneIn == {}
StageMoreCommits == TRUE
StageMoreRuntime(rt, p) == rt
StageMoreBatch(r, p) == \* for the batch
    IF r.state = "queued" THEN
        InputStage(r, p)
    ELSE r

\* boundary_applied: Commit what the run has done so far, with a receipt that lists the staged contributors.
BoundaryAppliedNeeds(rt, p) == rt.current_run_id = p.run_id
BoundaryAppliedDoneIn == {}
BoundaryAppliedCommits == TRUE
BoundaryAppliedRuntime(rt, p) == rt
BoundaryAppliedStaged(r, p) == \* for the staged contributors of the current run
    IF r.state = "staged" THEN
        InputMarkPending(InputApply(r, p), p)
    ELSE r

\* run_completed: End the current run well; its contributors are consumed.
RunCompletedNeeds(rt, p) == rt.current_run_id = p.run_id
RunCompletedDoneIn == {}
RunCompletedCommits == TRUE
RunCompletedRuntime(rt, p) == RuntimeRunCompleted(rt, p)
RunCompletedContributors(r, p) == \* for the contributors of the current run
    IF r.state = "applied_pending_consumption" THEN
        InputConsume(r, p)
    ELSE r

\* run_failed: End the current run badly. What a boundary lists is consumed; the rest is tried again or given up.
RunFailedNeeds(rt, p) == rt.current_run_id = p.run_id
RunFailedDoneIn == {}
RunFailedCommits == TRUE
RunFailedRuntime(rt, p) == RuntimeRunFailed(rt, p)
RunFailedContributors(r, p) == \* for the contributors of the current run
    IF r.state = "applied_pending_consumption" THEN
        InputConsume(r, p)
    ELSE IF r.state = "staged" /\ p.recoverable = FALSE /\ p.alone = TRUE THEN
        InputAbandon(r, [p EXCEPT !.reason = "failed"])
    ELSE IF r.state = "staged" /\ r.failure_count + 1 >= p.max_attempts THEN
        InputExhaust(r, p)
    ELSE IF r.state = "staged" THEN
        InputRollbackFailed(r, p)
    ELSE r

\* run_cancelled: Call the current run off, free of charge.
RunCancelledNeeds(rt, p) == rt.current_run_id = p.run_id
RunCancelledDoneIn == {}
RunCancelledCommits == TRUE
RunCancelledRuntime(rt, p) == RuntimeRunCancelled(rt, p)
RunCancelledContributors(r, p) == \* for the contributors of the current run
    IF r.state = "applied_pending_consumption" THEN
        InputConsume(r, p)
    ELSE IF r.state = "staged" THEN
        InputRollback(r, p)
    ELSE r

\* rollback_staged: Named staged contributors go back to their places and leave the run.
RollbackStagedNeeds(rt, p) == rt.current_run_id # None
RollbackStagedDoneIn == {}
RollbackStagedCommits == TRUE
RollbackStagedRuntime(rt, p) == rt
RollbackStagedNamed(r, p) == \* for the named inputs
    IF r.state = "staged" THEN
        InputRollback(r, p)
    ELSE r

\* consume_inputs: Named pending contributors are consumed while the run goes on.
ConsumeInputsNeeds(rt, p) == rt.current_run_id = p.run_id
ConsumeInputsDoneIn == {}
ConsumeInputsCommits == TRUE
ConsumeInputsRuntime(rt, p) == rt
ConsumeInputsNamed(r, p) == \* for the named inputs
    IF r.state = "applied_pending_consumption" THEN
        InputConsume(r, p)
    ELSE r

\* cancel: Give one waiting input up.
CancelNeeds(rt, p) == TRUE
CancelDoneIn == {}
CancelCommits == TRUE
CancelRuntime(rt, p) == rt
CancelNamed(r, p) == \* for the named inputs
    IF r.state \in {"accepted", "queued"} THEN
        InputAbandon(r, [p EXCEPT !.reason = "cancelled", !.error = None])
    ELSE r

\* abandon_pending: Give everything up that is not in the current run.
AbandonPendingNeeds(rt, p) == TRUE
AbandonPendingDoneIn == {}
AbandonPendingCommits == TRUE
AbandonPendingRuntime(rt, p) == rt
AbandonPendingOutsideRun(r, p) == \* for every active input that is not in the current run
    IF r.state \in {"accepted", "queued", "staged", "applied"} THEN
        InputAbandon(r, p)
    ELSE r

\* retire: Take no new input; what is queued may still be worked off.
RetireNeeds(rt, p) == TRUE
RetireDoneIn == {"retired"}
RetireCommits == TRUE
RetireRuntime(rt, p) == RuntimeRetire(rt, p)

\* reset: Give everything up and start over.
ResetNeeds(rt, p) == TRUE
ResetDoneIn == {}
ResetCommits == TRUE
ResetRuntime(rt, p) == RuntimeReset(rt, p)
ResetActive(r, p) == \* for every active input
    IF r.state \in {"accepted", "queued", "staged", "applied"} THEN
        InputAbandon(r, [p EXCEPT !.reason = "reset", !.error = None])
    ELSE r

\* stop: End the runtime; it can still be read and destroyed.
StopNeeds(rt, p) == TRUE
StopDoneIn == {"stopped"}
StopCommits == TRUE
StopRuntime(rt, p) == RuntimeStop(rt, p)
StopActive(r, p) == \* for every active input
    IF r.state = "applied_pending_consumption" THEN
        InputConsume(r, p)
    ELSE IF r.state \in {"accepted", "queued", "staged", "applied"} THEN
        InputAbandon(r, [p EXCEPT !.reason = "stopped", !.error = None])
    ELSE r

\* destroy: End the runtime for good.
DestroyNeeds(rt, p) == TRUE
DestroyDoneIn == {"destroyed"}
DestroyCommits == TRUE
DestroyRuntime(rt, p) == RuntimeDestroy(rt, p)
DestroyActive(r, p) == \* for every active input
    IF r.state = "applied_pending_consumption" THEN
        InputConsume(r, p)
    ELSE IF r.state \in {"accepted", "queued", "staged", "applied"} THEN
        InputAbandon(r, [p EXCEPT !.reason = "destroyed", !.error = None])
    ELSE r

\* recycle: Back into service with all work kept.
RecycleNeeds(rt, p) == TRUE
RecycleDoneIn == {}
RecycleCommits == TRUE
RecycleRuntime(rt, p) == RuntimeRecycled(RuntimeRecycle(rt, p), p)
RecycleActive(r, p) == \* for every active input
    IF r.state = "accepted" /\ p.consumes_on_accept = TRUE THEN
        InputConsumeOnAccept(r, p)
    ELSE IF r.state = "accepted" THEN
        InputRecoverQueue(r, p)
    ELSE IF r.state \in {"applied", "applied_pending_consumption"} /\ p.receipt_lists = TRUE THEN
        InputRecoverConsume(r, p)
    ELSE IF r.state \in {"staged", "applied", "applied_pending_consumption"} THEN
        LET after1 == InputRecoverQueue(r, p) IN
        IF after1 = Refused THEN Refused ELSE
        IF after1.state = "queued" /\ after1.failure_count >= p.max_attempts THEN
            InputAbandon(after1, [p EXCEPT !.reason = "attempts_exhausted", !.error = None])
        ELSE after1
    ELSE r

\* recover: Settle what a crash left, without claiming. A terminal runtime is sent nothing.
RecoverNeeds(rt, p) == TRUE
RecoverDoneIn == {"stopped", "destroyed"}
RecoverCommits == TRUE
RecoverRuntime(rt, p) == RuntimeRecovered(RuntimeRecover(rt, p), p)
RecoverActive(r, p) == \* for every active input
    IF r.state = "accepted" /\ p.consumes_on_accept = TRUE THEN
        InputConsumeOnAccept(r, p)
    ELSE IF r.state = "accepted" THEN
        InputRecoverQueue(r, p)
    ELSE IF r.state \in {"applied", "applied_pending_consumption"} /\ p.receipt_lists = TRUE THEN
        InputRecoverConsume(r, p)
    ELSE IF r.state \in {"staged", "applied", "applied_pending_consumption"} THEN
        LET after1 == InputRecoverQueue(r, p) IN
        IF after1 = Refused THEN Refused ELSE
        IF after1.state = "queued" /\ after1.failure_count >= p.max_attempts THEN
            InputAbandon(after1, [p EXCEPT !.reason = "attempts_exhausted", !.error = None])
        ELSE after1
    ELSE r

\* resume: Leave recovering; done in every other state.
ResumeNeeds(rt, p) == TRUE
ResumeDoneIn == {"initializing", "idle", "attached", "running", "retired", "stopped", "destroyed"}
ResumeCommits == TRUE
ResumeRuntime(rt, p) == RuntimeResume(rt, p)

========================================================================================================================
