------------------------------------ MODULE runtime_state_steps ------------------------------------
(* Every single step of the machine, from anywhere. Generated from its table. *)
EXTENDS runtime_state

VARIABLE step

Anywhere ==
    /\ state \in States
    /\ current_run_id \in Ids \cup {None}
    /\ pre_run_state \in States \cup {None}

Take ==
    \/ Initialize /\ step' = <<"initialize">>
    \/ Attach /\ step' = <<"attach">>
    \/ Detach /\ step' = <<"detach">>
    \/ \E run_id \in Ids : BeginRun(run_id) /\ step' = <<"begin_run", run_id>>
    \/ \E run_id \in Ids : RunCompleted(run_id) /\ step' = <<"run_completed", run_id>>
    \/ \E run_id \in Ids : RunFailed(run_id) /\ step' = <<"run_failed", run_id>>
    \/ \E run_id \in Ids : RunCancelled(run_id) /\ step' = <<"run_cancelled", run_id>>
    \/ Retire /\ step' = <<"retire">>
    \/ Reset /\ step' = <<"reset">>
    \/ Stop /\ step' = <<"stop">>
    \/ Destroy /\ step' = <<"destroy">>
    \/ \E handed_out \in BOOLEAN : Recover(handed_out) /\ step' = <<"recover", handed_out>>
    \/ Recovered /\ step' = <<"recovered">>
    \/ Recycle /\ step' = <<"recycle">>
    \/ Recycled /\ step' = <<"recycled">>
    \/ Resume /\ step' = <<"resume">>

StepInit == Anywhere /\ step = <<>>
StepNext == step = <<>> /\ Take
====================================================================================================
