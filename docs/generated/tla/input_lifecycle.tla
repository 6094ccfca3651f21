-------------------------------------- MODULE input_lifecycle --------------------------------------
(* The life of one input, from admission to its end.

   Generated from the table of the machine; edit that, not this.
   One action for each event, one disjunct for each row.
*)
EXTENDS Integers

CONSTANTS
    None,   \* no value
    Ids,    \* the ids that fields and parameters may have
    Texts,  \* the texts that they may have
    MinInt, \* the least int of a parameter
    MaxInt  \* the greatest, and how far counting is followed

States == {"accepted", "queued", "staged", "applied", "applied_pending_consumption", "consumed",
          "superseded", "coalesced", "abandoned"}
Terminal == {"consumed", "superseded", "coalesced", "abandoned"}
Final == {"consumed", "superseded", "coalesced", "abandoned"} \* terminal, and no exit is declared
OutcomeKind == {"consumed", "superseded", "coalesced", "abandoned"}
AbandonReason == {"retired", "reset", "stopped", "destroyed", "cancelled", "attempts_exhausted",
                 "failed"}
Ints == MinInt..MaxInt

VARIABLES state, last_run_id, last_boundary_sequence, attempt_count, failure_count,
          terminal_outcome, successor_id, abandon_reason, error
vars == <<state, last_run_id, last_boundary_sequence, attempt_count, failure_count,
        terminal_outcome, successor_id, abandon_reason, error>>

TypeOK ==
    /\ state \in States
    /\ last_run_id \in Ids \cup {None}
    /\ last_boundary_sequence \in Int \cup {None}
    /\ attempt_count \in Int
    /\ failure_count \in Int
    /\ terminal_outcome \in OutcomeKind \cup {None}
    /\ successor_id \in Ids \cup {None}
    /\ abandon_reason \in AbandonReason \cup {None}
    /\ error \in Texts \cup {None}

Init ==
    /\ state = "accepted"
    /\ last_run_id = None
    /\ last_boundary_sequence = None
    /\ attempt_count = 0
    /\ failure_count = 0
    /\ terminal_outcome = None
    /\ successor_id = None
    /\ abandon_reason = None
    /\ error = None

Queue ==
    \* wait in a lane; emits input.accepted
    /\ state = "accepted"
    /\ state' = "queued"
    /\ UNCHANGED <<last_run_id, last_boundary_sequence, attempt_count, failure_count,
                 terminal_outcome, successor_id, abandon_reason, error>>

ConsumeOnAccept ==
    \* its policy has nothing to run; emits input.accepted, input.consumed
    /\ state = "accepted"
    /\ state' = "consumed"
    /\ terminal_outcome' = "consumed"
    /\ UNCHANGED <<last_run_id, last_boundary_sequence, attempt_count, failure_count, successor_id,
                 abandon_reason, error>>

Stage(run_id) ==
    \* a run takes it; emits input.staged
    /\ state = "queued"
    /\ state' = "staged"
    /\ last_run_id' = run_id
    /\ attempt_count' = attempt_count + 1
    /\ UNCHANGED <<last_boundary_sequence, failure_count, terminal_outcome, successor_id,
                 abandon_reason, error>>

Rollback ==
    \* back to its place, free of charge; emits input.rolled_back
    /\ state = "staged"
    /\ state' = "queued"
    /\ UNCHANGED <<last_run_id, last_boundary_sequence, attempt_count, failure_count,
                 terminal_outcome, successor_id, abandon_reason, error>>

RollbackFailed(max_attempts, given_error) ==
    \* back to its place, one failure more; emits input.rolled_back
    /\ state = "staged"
    /\ failure_count + 1 < max_attempts
    /\ state' = "queued"
    /\ failure_count' = failure_count + 1
    /\ error' = given_error
    /\ UNCHANGED <<last_run_id, last_boundary_sequence, attempt_count, terminal_outcome,
                 successor_id, abandon_reason>>

Exhaust(max_attempts, given_error) ==
    \* it failed as often as it may; emits input.abandoned
    /\ state = "staged"
    /\ ~(failure_count + 1 < max_attempts)
    /\ state' = "abandoned"
    /\ failure_count' = failure_count + 1
    /\ terminal_outcome' = "abandoned"
    /\ abandon_reason' = "attempts_exhausted"
    /\ error' = given_error
    /\ UNCHANGED <<last_run_id, last_boundary_sequence, attempt_count, successor_id>>

Apply(run_id) ==
    \* its run got past it; emits input.applied
    /\ state = "staged"
    /\ last_run_id = run_id
    /\ state' = "applied"
    /\ UNCHANGED <<last_run_id, last_boundary_sequence, attempt_count, failure_count,
                 terminal_outcome, successor_id, abandon_reason, error>>

MarkPending(sequence) ==
    \* a boundary receipt lists it
    /\ state = "applied"
    /\ state' = "applied_pending_consumption"
    /\ last_boundary_sequence' = sequence
    /\ UNCHANGED <<last_run_id, attempt_count, failure_count, terminal_outcome, successor_id,
                 abandon_reason, error>>

Consume ==
    \* done; emits input.consumed
    /\ state = "applied_pending_consumption"
    /\ state' = "consumed"
    /\ terminal_outcome' = "consumed"
    /\ UNCHANGED <<last_run_id, last_boundary_sequence, attempt_count, failure_count, successor_id,
                 abandon_reason, error>>

Supersede(by) ==
    \* a newer input replaces it; emits input.superseded
    /\ state = "queued"
    /\ state' = "superseded"
    /\ terminal_outcome' = "superseded"
    /\ successor_id' = by
    /\ UNCHANGED <<last_run_id, last_boundary_sequence, attempt_count, failure_count,
                 abandon_reason, error>>

Coalesce(into) ==
    \* a newer input takes it in; emits input.coalesced
    /\ state = "queued"
    /\ state' = "coalesced"
    /\ terminal_outcome' = "coalesced"
    /\ successor_id' = into
    /\ UNCHANGED <<last_run_id, last_boundary_sequence, attempt_count, failure_count,
                 abandon_reason, error>>

Abandon(reason, given_error) ==
    \* somebody gave it up; emits input.abandoned
    /\ state \in {"accepted", "queued", "staged", "applied"}
    /\ state' = "abandoned"
    /\ terminal_outcome' = "abandoned"
    /\ abandon_reason' = reason
    /\ error' = given_error
    /\ UNCHANGED <<last_run_id, last_boundary_sequence, attempt_count, failure_count, successor_id>>

RecoverQueue(receipt_lists) ==
    \/ \* admitted, never queued; emits input.recovered
       /\ state = "accepted"
       /\ ~(receipt_lists = TRUE)
       /\ state' = "queued"
       /\ last_boundary_sequence' = None
       /\ UNCHANGED <<last_run_id, attempt_count, failure_count, terminal_outcome, successor_id,
                    abandon_reason, error>>
    \/ \* its run left no boundary; emits input.recovered
       /\ state \in {"staged", "applied", "applied_pending_consumption"}
       /\ ~(receipt_lists = TRUE)
       /\ state' = "queued"
       /\ last_boundary_sequence' = None
       /\ failure_count' = failure_count + 1
       /\ UNCHANGED <<last_run_id, attempt_count, terminal_outcome, successor_id, abandon_reason,
                    error>>

RecoverConsume(receipt_lists) ==
    \* its boundary is stored; emits input.recovered, input.consumed
    /\ state \in {"applied", "applied_pending_consumption"}
    /\ receipt_lists = TRUE
    /\ state' = "consumed"
    /\ terminal_outcome' = "consumed"
    /\ UNCHANGED <<last_run_id, last_boundary_sequence, attempt_count, failure_count, successor_id,
                 abandon_reason, error>>

Next ==
    \/ Queue
    \/ ConsumeOnAccept
    \/ \E run_id \in Ids : Stage(run_id)
    \/ Rollback
    \/ \E max_attempts \in Ints, given_error \in Texts \cup {None} : RollbackFailed(max_attempts, given_error)
    \/ \E max_attempts \in Ints, given_error \in Texts \cup {None} : Exhaust(max_attempts, given_error)
    \/ \E run_id \in Ids : Apply(run_id)
    \/ \E sequence \in Ints : MarkPending(sequence)
    \/ Consume
    \/ \E by \in Ids : Supersede(by)
    \/ \E into \in Ids : Coalesce(into)
    \/ \E reason \in AbandonReason, given_error \in Texts \cup {None} : Abandon(reason, given_error)
    \/ \E receipt_lists \in BOOLEAN : RecoverQueue(receipt_lists)
    \/ \E receipt_lists \in BOOLEAN : RecoverConsume(receipt_lists)

Spec == Init /\ [][Next]_vars

\* A terminal state has no successor, but for the exits that are declared.
FinalStatesRefuse == state \in Final => ~ENABLED Next

\* How far counting is followed.
InBounds ==
    /\ attempt_count <= MaxInt
    /\ failure_count <= MaxInt
====================================================================================================
