--------------------------------------- MODULE runtime_state ---------------------------------------
(* The state of one runtime, from its first open to its end.

   Generated from the table of the machine; edit that, not this.
   One action for each event, one disjunct for each row.
*)
EXTENDS Integers

CONSTANTS
    None,   \* no value
    Ids     \* the ids that fields and parameters may have

States == {"initializing", "idle", "attached", "running", "recovering", "retired", "stopped",
          "destroyed"}
Terminal == {"stopped", "destroyed"}
Final == {"destroyed"} \* terminal, and no exit is declared

VARIABLES state, current_run_id, pre_run_state
vars == <<state, current_run_id, pre_run_state>>

TypeOK ==
    /\ state \in States
    /\ current_run_id \in Ids \cup {None}
    /\ pre_run_state \in States \cup {None}

Init ==
    /\ state = "initializing"
    /\ current_run_id = None
    /\ pre_run_state = None

Initialize ==
    \* the first open; emits runtime.state_changed
    /\ state = "initializing"
    /\ state' = "idle"
    /\ UNCHANGED <<current_run_id, pre_run_state>>

Attach ==
    \/ \* an executor comes; emits runtime.state_changed
       /\ state = "idle"
       /\ state' = "attached"
       /\ UNCHANGED <<current_run_id, pre_run_state>>
    \/ \* an executor comes during a run
       /\ state = "running"
       /\ pre_run_state = "idle"
       /\ state' = "running"
       /\ pre_run_state' = "attached"
       /\ UNCHANGED <<current_run_id>>

Detach ==
    \/ \* the executor goes; emits runtime.state_changed
       /\ state = "attached"
       /\ state' = "idle"
       /\ UNCHANGED <<current_run_id, pre_run_state>>
    \/ \* the executor goes during a run
       /\ state = "running"
       /\ pre_run_state = "attached"
       /\ state' = "running"
       /\ pre_run_state' = "idle"
       /\ UNCHANGED <<current_run_id>>

BeginRun(run_id) ==
    \/ \* a run begins in idle; emits run.started, runtime.state_changed
       /\ state = "idle"
       /\ current_run_id = None
       /\ state' = "running"
       /\ current_run_id' = run_id
       /\ pre_run_state' = "idle"
    \/ \* a run begins in attached; emits run.started, runtime.state_changed
       /\ state = "attached"
       /\ current_run_id = None
       /\ state' = "running"
       /\ current_run_id' = run_id
       /\ pre_run_state' = "attached"
    \/ \* a run begins in retired; emits run.started, runtime.state_changed
       /\ state = "retired"
       /\ current_run_id = None
       /\ state' = "running"
       /\ current_run_id' = run_id
       /\ pre_run_state' = "retired"

RunCompleted(run_id) ==
    \/ \* back to idle; emits run.completed, runtime.state_changed
       /\ state = "running"
       /\ current_run_id = run_id /\ pre_run_state = "idle"
       /\ state' = "idle"
       /\ current_run_id' = None
       /\ pre_run_state' = None
    \/ \* back to attached; emits run.completed, runtime.state_changed
       /\ state = "running"
       /\ current_run_id = run_id /\ pre_run_state = "attached"
       /\ state' = "attached"
       /\ current_run_id' = None
       /\ pre_run_state' = None
    \/ \* back to retired; emits run.completed, runtime.state_changed
       /\ state = "running"
       /\ current_run_id = run_id /\ pre_run_state = "retired"
       /\ state' = "retired"
       /\ current_run_id' = None
       /\ pre_run_state' = None
    \/ \* retired since; emits run.completed
       /\ state = "retired"
       /\ current_run_id = run_id
       /\ state' = "retired"
       /\ current_run_id' = None
       /\ pre_run_state' = None

RunFailed(run_id) ==
    \/ \* back to idle; emits run.failed, runtime.state_changed
       /\ state = "running"
       /\ current_run_id = run_id /\ pre_run_state = "idle"
       /\ state' = "idle"
       /\ current_run_id' = None
       /\ pre_run_state' = None
    \/ \* back to attached; emits run.failed, runtime.state_changed
       /\ state = "running"
       /\ current_run_id = run_id /\ pre_run_state = "attached"
       /\ state' = "attached"
       /\ current_run_id' = None
       /\ pre_run_state' = None
    \/ \* back to retired; emits run.failed, runtime.state_changed
       /\ state = "running"
       /\ current_run_id = run_id /\ pre_run_state = "retired"
       /\ state' = "retired"
       /\ current_run_id' = None
       /\ pre_run_state' = None
    \/ \* retired since; emits run.failed
       /\ state = "retired"
       /\ current_run_id = run_id
       /\ state' = "retired"
       /\ current_run_id' = None
       /\ pre_run_state' = None

RunCancelled(run_id) ==
    \/ \* back to idle; emits run.cancelled, runtime.state_changed
       /\ state = "running"
       /\ current_run_id = run_id /\ pre_run_state = "idle"
       /\ state' = "idle"
       /\ current_run_id' = None
       /\ pre_run_state' = None
    \/ \* back to attached; emits run.cancelled, runtime.state_changed
       /\ state = "running"
       /\ current_run_id = run_id /\ pre_run_state = "attached"
       /\ state' = "attached"
       /\ current_run_id' = None
       /\ pre_run_state' = None
    \/ \* back to retired; emits run.cancelled, runtime.state_changed
       /\ state = "running"
       /\ current_run_id = run_id /\ pre_run_state = "retired"
       /\ state' = "retired"
       /\ current_run_id' = None
       /\ pre_run_state' = None
    \/ \* retired since; emits run.cancelled
       /\ state = "retired"
       /\ current_run_id = run_id
       /\ state' = "retired"
       /\ current_run_id' = None
       /\ pre_run_state' = None

Retire ==
    \* no new input; a current run goes on; emits runtime.state_changed
    /\ state \in {"idle", "attached", "running"}
    /\ state' = "retired"
    /\ UNCHANGED <<current_run_id, pre_run_state>>

Reset ==
    \* start over; emits runtime.state_changed
    /\ state \in {"initializing", "idle", "attached", "recovering", "retired"}
    /\ current_run_id = None
    /\ state' = "idle"
    /\ pre_run_state' = None
    /\ UNCHANGED <<current_run_id>>

Stop ==
    \* the end; emits runtime.state_changed
    /\ state \in {"initializing", "idle", "attached", "running", "recovering", "retired"}
    /\ state' = "stopped"
    /\ current_run_id' = None
    /\ pre_run_state' = None

Destroy ==
    \* the end, for good; emits runtime.state_changed
    /\ state \in {"initializing", "idle", "attached", "running", "recovering", "retired", "stopped"}
    /\ state' = "destroyed"
    /\ current_run_id' = None
    /\ pre_run_state' = None

Recover(handed_out) ==
    \/ \* settle what a crash left
       /\ state \in {"idle", "attached"}
       /\ handed_out = FALSE
       /\ state' = "recovering"
       /\ pre_run_state' = "idle"
       /\ UNCHANGED <<current_run_id>>
    \/ \* its run is gone
       /\ state = "running"
       /\ handed_out = FALSE /\ pre_run_state # "retired"
       /\ state' = "recovering"
       /\ pre_run_state' = "idle"
       /\ UNCHANGED <<current_run_id>>
    \/ \* its run is gone; it began in retired
       /\ state = "running"
       /\ handed_out = FALSE /\ pre_run_state = "retired"
       /\ state' = "recovering"
       /\ UNCHANGED <<current_run_id, pre_run_state>>
    \/ \* stays retired
       /\ state = "retired"
       /\ handed_out = FALSE
       /\ state' = "recovering"
       /\ pre_run_state' = "retired"
       /\ UNCHANGED <<current_run_id>>

Recovered ==
    \/ \* retired it was; emits runtime.state_changed
       /\ state = "recovering"
       /\ pre_run_state = "retired"
       /\ state' = "retired"
       /\ current_run_id' = None
       /\ pre_run_state' = None
    \/ \* ready; emits runtime.state_changed
       /\ state = "recovering"
       /\ ~(pre_run_state = "retired")
       /\ state' = "idle"
       /\ current_run_id' = None
       /\ pre_run_state' = None

Recycle ==
    \* back into service
    /\ state \in {"idle", "attached", "retired"}
    /\ current_run_id = None
    /\ state' = "recovering"
    /\ UNCHANGED <<current_run_id, pre_run_state>>

Recycled ==
    \* ready; emits runtime.state_changed
    /\ state = "recovering"
    /\ state' = "idle"
    /\ current_run_id' = None
    /\ pre_run_state' = None

Resume ==
    \* leave a recovery that somebody else began; emits runtime.state_changed
    /\ state = "recovering"
    /\ state' = "idle"
    /\ current_run_id' = None
    /\ pre_run_state' = None

Next ==
    \/ Initialize
    \/ Attach
    \/ Detach
    \/ \E run_id \in Ids : BeginRun(run_id)
    \/ \E run_id \in Ids : RunCompleted(run_id)
    \/ \E run_id \in Ids : RunFailed(run_id)
    \/ \E run_id \in Ids : RunCancelled(run_id)
    \/ Retire
    \/ Reset
    \/ Stop
    \/ Destroy
    \/ \E handed_out \in BOOLEAN : Recover(handed_out)
    \/ Recovered
    \/ Recycle
    \/ Recycled
    \/ Resume

Spec == Init /\ [][Next]_vars

\* A terminal state has no successor, but for the exits that are declared.
FinalStatesRefuse == state \in Final => ~ENABLED Next
ExitsAreDeclared_stopped == [][state = "stopped" => (Destroy)]_vars
====================================================================================================
