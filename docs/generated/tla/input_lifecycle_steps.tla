----------------------------------- MODULE input_lifecycle_steps -----------------------------------
(* Every single step of the machine, from anywhere. Generated from its table. *)
EXTENDS input_lifecycle

VARIABLE step

Anywhere ==
    /\ state \in States
    /\ last_run_id \in Ids \cup {None}
    /\ last_boundary_sequence = None
    /\ attempt_count \in Ints
    /\ failure_count \in Ints
    /\ terminal_outcome = None
    /\ successor_id = None
    /\ abandon_reason = None
    /\ error = None

Take ==
    \/ Queue /\ step' = <<"queue">>
    \/ ConsumeOnAccept /\ step' = <<"consume_on_accept">>
    \/ \E run_id \in Ids : Stage(run_id) /\ step' = <<"stage", run_id>>
    \/ Rollback /\ step' = <<"rollback">>
    \/ \E max_attempts \in Ints, given_error \in Texts \cup {None} : RollbackFailed(max_attempts, given_error) /\ step' = <<"rollback_failed", max_attempts, given_error>>
    \/ \E max_attempts \in Ints, given_error \in Texts \cup {None} : Exhaust(max_attempts, given_error) /\ step' = <<"exhaust", max_attempts, given_error>>
    \/ \E run_id \in Ids : Apply(run_id) /\ step' = <<"apply", run_id>>
    \/ \E sequence \in Ints : MarkPending(sequence) /\ step' = <<"mark_pending", sequence>>
    \/ Consume /\ step' = <<"consume">>
    \/ \E by \in Ids : Supersede(by) /\ step' = <<"supersede", by>>
    \/ \E into \in Ids : Coalesce(into) /\ step' = <<"coalesce", into>>
    \/ \E reason \in AbandonReason, given_error \in Texts \cup {None} : Abandon(reason, given_error) /\ step' = <<"abandon", reason, given_error>>
    \/ \E receipt_lists \in BOOLEAN : RecoverQueue(receipt_lists) /\ step' = <<"recover_queue", receipt_lists>>
    \/ \E receipt_lists \in BOOLEAN : RecoverConsume(receipt_lists) /\ step' = <<"recover_consume", receipt_lists>>

StepInit == Anywhere /\ step = <<>>
StepNext == step = <<>> /\ Take
====================================================================================================
