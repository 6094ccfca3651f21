------------------------------------------------------ MODULE whole ------------------------------------------------------
(* The whole of holdstate: one runtime, its store, and the drivers that hold it, with crashes, commits of which nobody
   knows whether they landed, recovery, and a second opener that fences the first.

   Written by hand: who may do what when, which inputs a command selects, the commit and what can become of it, opening,
   fencing, and what has to hold. What a command needs, what it sends to the runtime and to each selected input, what
   the two machines make of that, and what the policy stamps on an input comes from the module tables, which is generated.

   An input is its number, which is also its place in its lane: order keys are given out in this order and never change.
   A run is its number too. Of epochs only who has the newest one is kept (holder), of revisions only whether a commit in
   doubt landed, as reading them back would tell. Left out: idempotency keys (a retry that is recognised changes nothing,
   and is no step here), backoff (time that passes), payloads, results, snapshots, events, histories, and the counts and
   indexes of the store.

   To compare with another exploration of the same runtime, count the distinct values of
       Projection == store
   over all states: the runtime record (state, run, where it returns to, contributors, boundaries, whether the run is or was
   shared, the next order key), the stored inputs with the fields of their machine, and the receipts. Leave attempt_count
   and error out where the other one does, and count a store that nobody has opened (initializing) as one. The projection
   does not speak of drivers, so it does not matter how many there are and what they remember.
*)
EXTENDS tables, Naturals, FiniteSets, Sequences, TLC

CONSTANTS
    Drivers,       \* who may open the runtime
    Kinds,         \* the kinds of inputs that are sent, a subset of AllKinds
    Commands,      \* the commands that are given
    Fates,         \* what can become of a commit, a subset of AllFates
    Inputs,        \* how many inputs are admitted
    Runs,          \* how many runs are begun
    Crashes,       \* how many crashes and commits in doubt there are
    Boundaries,    \* after how many a run takes no further checkpoint
    EmptyReceipts, \* how many receipts list nothing
    Stagings,      \* how often an input is staged, as far as this is followed
    MaxAttempts,   \* the cap on failures
    MaxBatch       \* how many inputs a run takes at most

VARIABLES
    store,   \* what is stored: the runtime record, the inputs, the receipts
    holder,  \* the driver whose epoch is the newest one; None when it is gone
    memory,  \* what each driver has: the runtime record, the active inputs, and a commit in doubt; None: it is not open
    acked,   \* the stored inputs whose callers were told so
    runs,    \* how many runs were begun, or tried to
    crashes, \* how many crashes and doubts there were
    misfit   \* a command that the runtime takes and one of its inputs refuses; None where the tables fit

vars == <<store, holder, memory, acked, runs, crashes, misfit>>

AllFates ==
    {"done",          \* it landed, and the caller is told
     "refused",       \* the disk refused it, and the caller is told
     "crash before",  \* nobody is told
     "crash after",   \* it landed, and nobody is told
     "doubt, landed", \* the store cannot be read: nobody knows
     "doubt, lost"}   \* the same
Landing == {"done", "crash after", "doubt, landed"}
Crashing == {"crash before", "crash after"}

ASSUME Kinds \subseteq AllKinds /\ Fates \subseteq AllFates

Facts == [NoFacts EXCEPT !.max_attempts = MaxAttempts]

--------------------------------------------------------------------------------------------------------------------------
\* Inputs of an image, which is [rt |-> the runtime record, in |-> the active inputs by number].

Stamp(r) == Kind(r.kind)
IsActive(r) == r.state \notin InputTerminal
Where(f, Test(_)) == [n \in {n \in DOMAIN f : Test(f[n])} |-> f[n]]
Range(s) == {s[i] : i \in DOMAIN s}

Active(img) == DOMAIN img.in
OutsideRun(img) == DOMAIN img.in \ Range(img.rt.contributors)
StagedOnes(img) == SelectSeq(img.rt.contributors, LAMBDA n : img.in[n].state = "staged")
InScope(img, kind) == {n \in DOMAIN img.in : img.in[n].state = "queued" /\ img.in[n].kind = kind}
Lane(img, lane) == {n \in DOMAIN img.in : img.in[n].state = "queued" /\ Stamp(img.in[n]).lane = lane}

IsAhead(img, a, b) ==
    LET first(n) == Stamp(img.in[n]).is_first IN
    (first(a) /\ ~first(b)) \/ (first(a) = first(b) /\ a < b)
InOrder(img, numbers) ==
    CHOOSE s \in [1..Cardinality(numbers) -> numbers] : \A i, j \in DOMAIN s : i < j => IsAhead(img, s[i], s[j])

\* What the next run may take: from the front of the steer lane, or of the queue lane where nobody steers. What failed
\* before runs alone, and so does a prompt in the queue lane, and everything where one failure is the end.
Batches(img) ==
    LET lane == IF Lane(img, "steer") # {} THEN "steer" ELSE "queue"
        s == InOrder(img, Lane(img, lane))
        limit == IF MaxAttempts = 1 THEN 1 ELSE MaxBatch
        alone(n) == img.in[n].failure_count > 0 \/ (lane = "queue" /\ Stamp(img.in[n]).is_prompt)
    IN {SubSeq(s, 1, k) : k \in {k \in DOMAIN s : k = 1 \/ (k <= limit /\ \A i \in 1..k : ~alone(s[i]))}}

\* What may join the current run: the front of the steer lane, none that failed before.
MoreBatches(img) ==
    LET s == InOrder(img, Lane(img, "steer"))
        staged == StagedOnes(img)
        limit == IF MaxAttempts = 1 THEN 1 - Len(staged) ELSE MaxBatch
        failed(n) == img.in[n].failure_count > 0
    IN IF \E n \in Range(staged) : failed(n) THEN {}
       ELSE {SubSeq(s, 1, k) : k \in {k \in DOMAIN s : k <= limit /\ \A i \in 1..k : ~failed(s[i])}}

--------------------------------------------------------------------------------------------------------------------------
\* What a command comes to: a change [rt, in, receipts], or Refused. "in" holds the inputs that change.

\* A run that ends takes its contributors along.
Closed(before, after) ==
    IF before.current_run_id # None /\ after.current_run_id = None
    THEN [after EXCEPT !.contributors = <<>>, !.boundary_count = 0, !.shared_run = FALSE]
    ELSE after

Change(img, rt, given) ==
    IF rt = Refused THEN Refused
    ELSE [rt |-> Closed(img.rt, rt), receipts |-> {},
          in |-> [n \in {n \in DOMAIN given : n \notin DOMAIN img.in \/ given[n] # img.in[n]} |-> given[n]]]

IsMisfit(change) == change # Refused /\ \E n \in DOMAIN change.in : change.in[n] = Refused

\* The image after a change; what ended leaves it.
After(img, change) == [rt |-> change.rt, in |-> Where(change.in @@ img.in, IsActive)]

Given(img, numbers, Gets(_, _), p) == [n \in numbers |-> Gets(img.in[n], p)]
Nothing == [n \in {} |-> n]

AcceptChange(img, kind) ==
    LET n == img.rt.next_order
        stamp == Kind(kind)
        p == [Facts EXCEPT !.by = n, !.into = n, !.coalesces = stamp.coalesces,
                           !.consumes_on_accept = stamp.consumes_on_accept]
        new == AcceptNew([InputInitial EXCEPT !.kind = kind], p)
        old == IF stamp.replaces THEN InScope(img, kind) ELSE {}
    IN IF ~AcceptNeeds(img.rt, p) THEN Refused
       ELSE Change(img, [AcceptRuntime(img.rt, p) EXCEPT !.next_order = n + 1],
                   (n :> new) @@ Given(img, old, AcceptReplaced, p))

BeginRunChange(img, run, batch) ==
    LET p == [Facts EXCEPT !.run_id = run]
        rt == BeginRunRuntime(img.rt, p)
    IN Change(img, IF rt = Refused THEN Refused
                   ELSE [rt EXCEPT !.contributors = batch, !.boundary_count = 0, !.shared_run = Len(batch) > 1],
              Given(img, Range(batch), BeginRunBatch, p))

StageMoreChange(img, batch) ==
    LET p == [Facts EXCEPT !.run_id = img.rt.current_run_id]
        all == img.rt.contributors \o batch
    IN IF img.rt.current_run_id = None \/ ~StageMoreNeeds(img.rt, p) THEN Refused
       ELSE Change(img, [StageMoreRuntime(img.rt, p) EXCEPT !.contributors = all,
                                                            !.shared_run = img.rt.shared_run \/ Len(all) > 1],
                   Given(img, Range(batch), StageMoreBatch, p))

BoundaryChange(img) ==
    LET p == [Facts EXCEPT !.run_id = img.rt.current_run_id, !.sequence = img.rt.boundary_count]
        staged == StagedOnes(img)
        fleeting(n) == Stamp(img.in[n]).is_ephemeral
        receipt == [run_id |-> p.run_id, sequence |-> p.sequence,
                    inputs |-> SelectSeq(staged, LAMBDA n : ~fleeting(n)),
                    ephemeral |-> SelectSeq(staged, LAMBDA n : fleeting(n))]
    IN IF img.rt.current_run_id = None \/ ~BoundaryAppliedNeeds(img.rt, p) THEN Refused
       ELSE [Change(img, [BoundaryAppliedRuntime(img.rt, p) EXCEPT !.boundary_count = @ + 1],
                    Given(img, Range(staged), BoundaryAppliedStaged, p))
             EXCEPT !.receipts = {receipt}]

\* A run that ends well, with a boundary in the same commit where something is left to list, or there was none yet.
CompleteChange(img) ==
    LET p == [Facts EXCEPT !.run_id = img.rt.current_run_id]
        bounded == IF StagedOnes(img) # <<>> \/ img.rt.boundary_count = 0 THEN BoundaryChange(img)
                   ELSE Change(img, img.rt, Nothing)
        between == After(img, bounded)
        ended == Change(between, RunCompletedRuntime(between.rt, p),
                        Given(between, Range(between.rt.contributors), RunCompletedContributors, p))
    IN IF img.rt.current_run_id = None \/ bounded = Refused \/ IsMisfit(bounded) THEN bounded
       ELSE IF ended = Refused THEN Refused
       ELSE [ended EXCEPT !.in = ended.in @@ bounded.in, !.receipts = bounded.receipts]

FailChange(img, recoverable) ==
    LET p == [Facts EXCEPT !.run_id = img.rt.current_run_id, !.recoverable = recoverable, !.alone = ~img.rt.shared_run]
    IN IF img.rt.current_run_id = None \/ ~RunFailedNeeds(img.rt, p) THEN Refused
       ELSE Change(img, RunFailedRuntime(img.rt, p),
                   Given(img, Range(img.rt.contributors), RunFailedContributors, p))

CancelRunChange(img) ==
    LET p == [Facts EXCEPT !.run_id = img.rt.current_run_id]
    IN IF img.rt.current_run_id = None \/ ~RunCancelledNeeds(img.rt, p) THEN Refused
       ELSE Change(img, RunCancelledRuntime(img.rt, p),
                   Given(img, Range(img.rt.contributors), RunCancelledContributors, p))

Leaving(rt, n) == [rt EXCEPT !.contributors = SelectSeq(@, LAMBDA each : each # n)]

RollbackStagedChange(img, n) ==
    IF ~RollbackStagedNeeds(img.rt, Facts) THEN Refused
    ELSE Change(img, Leaving(RollbackStagedRuntime(img.rt, Facts), n), Given(img, {n}, RollbackStagedNamed, Facts))

ConsumeInputsChange(img, n) ==
    LET p == [Facts EXCEPT !.run_id = img.rt.current_run_id]
    IN IF ~ConsumeInputsNeeds(img.rt, p) THEN Refused
       ELSE Change(img, Leaving(ConsumeInputsRuntime(img.rt, p), n), Given(img, {n}, ConsumeInputsNamed, p))

CancelChange(img, n) == Change(img, CancelRuntime(img.rt, Facts), Given(img, {n}, CancelNamed, Facts))

AbandonPendingChange(img) ==
    LET p == [Facts EXCEPT !.reason = "failed"]
    IN Change(img, AbandonPendingRuntime(img.rt, p), Given(img, OutsideRun(img), AbandonPendingOutsideRun, p))

IsDone(img, states) == img.rt.state \in states
RetireChange(img) ==
    IF IsDone(img, RetireDoneIn) THEN Refused ELSE Change(img, RetireRuntime(img.rt, Facts), Nothing)
ResetChange(img) ==
    IF IsDone(img, ResetDoneIn) THEN Refused
    ELSE Change(img, ResetRuntime(img.rt, Facts), Given(img, Active(img), ResetActive, Facts))
StopChange(img) ==
    IF IsDone(img, StopDoneIn) THEN Refused
    ELSE Change(img, StopRuntime(img.rt, Facts), Given(img, Active(img), StopActive, Facts))
DestroyChange(img) ==
    IF IsDone(img, DestroyDoneIn) THEN Refused
    ELSE Change(img, DestroyRuntime(img.rt, Facts), Given(img, Active(img), DestroyActive, Facts))
ResumeChange(img) ==
    IF IsDone(img, ResumeDoneIn) THEN Refused ELSE Change(img, ResumeRuntime(img.rt, Facts), Nothing)

\* Recovery knows an input from what is durable alone: its state, and the stored receipts of its last run.
Lists(n, r) == \E receipt \in store.receipts : receipt.run_id = r.last_run_id /\ n \in Range(receipt.inputs)
Settled(img, Gets(_, _)) ==
    [n \in Active(img) |-> Gets(img.in[n], [Facts EXCEPT !.receipt_lists = Lists(n, img.in[n]),
                                                         !.consumes_on_accept = Stamp(img.in[n]).consumes_on_accept])]
NotHeld == [Facts EXCEPT !.handed_out = FALSE]

OpenChange(img) ==
    IF IsDone(img, OpenDoneIn) THEN Change(img, img.rt, Nothing)
    ELSE IF img.rt.state = RuntimeInitial.state
    THEN Change(img, OpenRuntime(img.rt, NotHeld), Settled(img, OpenActive))
    ELSE Change(img, RecoverRuntime(img.rt, NotHeld), Settled(img, OpenActive)) \* it is initialized already
RecoverChange(img) ==
    LET p == [Facts EXCEPT !.handed_out = img.rt.current_run_id # None] \* a run that nobody holds is called off before
    IN IF IsDone(img, RecoverDoneIn) THEN Refused
       ELSE Change(img, RecoverRuntime(img.rt, p), Settled(img, RecoverActive))
RecycleChange(img) ==
    IF IsDone(img, RecycleDoneIn) THEN Refused
    ELSE Change(img, RecycleRuntime(img.rt, Facts), Settled(img, RecycleActive))

--------------------------------------------------------------------------------------------------------------------------
\* The store and its drivers.

\* Attached is volatile: it is stored as idle.
AtRest(state) == IF state = "attached" THEN "idle" ELSE state
StoredRuntime(rt) == [rt EXCEPT !.state = AtRest(@), !.pre_run_state = AtRest(@)]
IsDurable(r) == ~Stamp(r).is_ephemeral

Written(change) ==
    [rt |-> StoredRuntime(change.rt), in |-> Where(change.in, IsDurable) @@ store.in,
     receipts |-> store.receipts \cup change.receipts]

Loaded == [rt |-> store.rt, in |-> Where(store.in, IsActive)]
Image(d) == [rt |-> memory[d].rt, in |-> memory[d].in]
With(img, doubt) == [rt |-> img.rt, in |-> img.in, doubt |-> doubt]
IsReady(d) == memory[d] # None /\ memory[d].doubt = None

\* What ends a call: a commit, and what becomes of it.
Commit(d, change, admits) ==
    IF holder # d
    THEN /\ memory' = [memory EXCEPT ![d] = None] \* fenced: it is finished
         /\ UNCHANGED <<store, holder, acked, crashes>>
    ELSE \E fate \in Fates :
         LET after == After(Image(d), change) IN
         /\ fate \notin {"done", "refused"} => crashes < Crashes
         /\ crashes' = IF fate \in {"done", "refused"} THEN crashes ELSE crashes + 1
         /\ store' = IF fate \in Landing THEN Written(change) ELSE store
         /\ holder' = IF fate \in Crashing THEN None ELSE holder
         /\ acked' = IF fate = "done" THEN acked \cup admits ELSE acked
         /\ memory' = [memory EXCEPT ![d] =
                CASE fate = "done" -> With(after, None)
                  [] fate = "refused" -> @
                  [] fate \in Crashing -> None
                  [] OTHER -> With(Image(d), [landed |-> fate \in Landing, after |-> after, admits |-> admits])]

\* A command that is stored commits; another one changes memory alone.
Do(d, name, change, isStored, admits) ==
    /\ name \in Commands
    /\ IsReady(d)
    /\ change # Refused
    /\ IF IsMisfit(change)
       THEN misfit' = name /\ UNCHANGED <<store, holder, memory, acked, crashes>>
       ELSE /\ UNCHANGED misfit
            /\ IF isStored THEN Commit(d, change, admits)
               ELSE /\ memory' = [memory EXCEPT ![d] = With(After(Image(d), change), None)]
                    /\ UNCHANGED <<store, holder, acked, crashes>>

IsSeen(change) == \E n \in DOMAIN change.in : change.in[n] # Refused /\ IsDurable(change.in[n])
IsNews(d, change) == IsSeen(change) \/ StoredRuntime(change.rt) # StoredRuntime(memory[d].rt)

Accept(d) ==
    \E kind \in Kinds :
        LET n == memory[d].rt.next_order
            change == AcceptChange(Image(d), kind)
        IN /\ IsReady(d)
           /\ n <= Inputs
           /\ Do(d, "accept", change, AcceptCommits /\ IsSeen(change), IF Kind(kind).is_ephemeral THEN {} ELSE {n})
           /\ UNCHANGED runs

BeginRun(d) ==
    /\ IsReady(d)
    /\ runs < Runs
    /\ \E batch \in Batches(Image(d)) :
           LET change == BeginRunChange(Image(d), runs, batch) IN
           Do(d, "begin_run", change, BeginRunCommits, {})
    /\ runs' = runs + 1

Simply(d, name, change, isStored) == Do(d, name, change, isStored, {}) /\ UNCHANGED runs

IsWithinReceipts(change) ==
    LET listing == {receipt \in store.receipts \cup change.receipts : receipt.inputs \o receipt.ephemeral = <<>>} IN
    Cardinality(listing) <= EmptyReceipts

StageMore(d) ==
    /\ IsReady(d)
    /\ \E batch \in MoreBatches(Image(d)) :
           Simply(d, "stage_more", StageMoreChange(Image(d), batch), StageMoreCommits)

Boundary(d) ==
    /\ IsReady(d)
    /\ memory[d].rt.boundary_count < Boundaries
    /\ LET change == BoundaryChange(Image(d)) IN
       /\ change # Refused => IsWithinReceipts(change)
       /\ Simply(d, "boundary_applied", change, BoundaryAppliedCommits)

Complete(d) ==
    /\ IsReady(d)
    /\ memory[d].rt.current_run_id # None
    /\ LET change == CompleteChange(Image(d)) IN
       /\ change # Refused => IsWithinReceipts(change)
       /\ Simply(d, "run_completed", change, RunCompletedCommits)

Fail(d) ==
    /\ IsReady(d)
    /\ \E recoverable \in BOOLEAN : Simply(d, "run_failed", FailChange(Image(d), recoverable), RunFailedCommits)

CancelRun(d) == IsReady(d) /\ Simply(d, "run_cancelled", CancelRunChange(Image(d)), RunCancelledCommits)

RollbackStaged(d) ==
    /\ IsReady(d)
    /\ \E n \in Active(Image(d)) :
           /\ memory[d].in[n].state = "staged"
           /\ Simply(d, "rollback_staged", RollbackStagedChange(Image(d), n), RollbackStagedCommits)

ConsumeInputs(d) ==
    /\ IsReady(d)
    /\ \E n \in Active(Image(d)) :
           /\ memory[d].in[n].state = "applied_pending_consumption"
           /\ Simply(d, "consume_inputs", ConsumeInputsChange(Image(d), n), ConsumeInputsCommits)

Cancel(d) ==
    /\ IsReady(d)
    /\ \E n \in Active(Image(d)) :
           LET change == CancelChange(Image(d), n) IN Simply(d, "cancel", change, CancelCommits /\ IsSeen(change))

AbandonPending(d) ==
    /\ IsReady(d)
    /\ LET change == AbandonPendingChange(Image(d)) IN
       Simply(d, "abandon_pending", change, AbandonPendingCommits /\ IsSeen(change))

Attach(d) ==
    IsReady(d) /\ Simply(d, "attach", Change(Image(d), AttachRuntime(memory[d].rt, Facts), Nothing), AttachCommits)
Detach(d) ==
    IsReady(d) /\ Simply(d, "detach", Change(Image(d), DetachRuntime(memory[d].rt, Facts), Nothing), DetachCommits)
Retire(d) == IsReady(d) /\ Simply(d, "retire", RetireChange(Image(d)), RetireCommits)
Reset(d) == IsReady(d) /\ Simply(d, "reset", ResetChange(Image(d)), ResetCommits)
Stop(d) == IsReady(d) /\ Simply(d, "stop", StopChange(Image(d)), StopCommits)
Destroy(d) == IsReady(d) /\ Simply(d, "destroy", DestroyChange(Image(d)), DestroyCommits)
Resume(d) == IsReady(d) /\ Simply(d, "resume", ResumeChange(Image(d)), ResumeCommits)
Recover(d) ==
    /\ IsReady(d)
    /\ LET change == RecoverChange(Image(d)) IN
       Simply(d, "recover", change, RecoverCommits /\ change # Refused /\ IsNews(d, change))
Recycle(d) ==
    /\ IsReady(d)
    /\ LET change == RecycleChange(Image(d)) IN
       Simply(d, "recycle", change, RecycleCommits /\ change # Refused /\ IsNews(d, change))

\* One transaction claims the runtime, settles what a crash left, and fences whoever held it.
Open(d) ==
    /\ memory[d] = None
    /\ LET change == OpenChange(Loaded) IN
       /\ change # Refused
       /\ IF IsMisfit(change) THEN misfit' = "open" /\ UNCHANGED <<store, holder, memory, crashes>>
          ELSE /\ UNCHANGED misfit
               /\ store' = Written(change)
               /\ \/ /\ holder' = d
                     /\ memory' = [memory EXCEPT ![d] = With(After(Loaded, change), None)]
                     /\ UNCHANGED crashes
                  \/ /\ "crash after" \in Fates /\ crashes < Crashes
                     /\ crashes' = crashes + 1
                     /\ holder' = None
                     /\ UNCHANGED memory
    /\ UNCHANGED <<acked, runs>>

\* The store can be read again: the revision tells whether the commit landed.
ReadBack(d) ==
    /\ memory[d] # None
    /\ memory[d].doubt # None
    /\ LET doubt == memory[d].doubt
           landed == doubt.landed /\ holder = d
       IN /\ memory' = [memory EXCEPT ![d] = With(IF landed THEN doubt.after ELSE Image(d), None)]
          /\ acked' = IF landed THEN acked \cup doubt.admits ELSE acked
    /\ UNCHANGED <<store, holder, runs, crashes, misfit>>

Crash(d) ==
    /\ memory[d] # None
    /\ {"crash before", "crash after"} \cap Fates # {}
    /\ crashes < Crashes
    /\ crashes' = crashes + 1
    /\ memory' = [memory EXCEPT ![d] = None]
    /\ holder' = IF holder = d THEN None ELSE holder
    /\ UNCHANGED <<store, acked, runs, misfit>>

Init ==
    /\ store = [rt |-> RuntimeInitial, in |-> Nothing, receipts |-> {}]
    /\ holder = None
    /\ memory = [d \in Drivers |-> None]
    /\ acked = {}
    /\ runs = 0
    /\ crashes = 0
    /\ misfit = None

Next ==
    \E d \in Drivers :
        \/ Open(d) \/ Crash(d) \/ ReadBack(d)
        \/ Accept(d) \/ Cancel(d) \/ AbandonPending(d)
        \/ BeginRun(d) \/ StageMore(d) \/ Boundary(d) \/ Complete(d) \/ Fail(d) \/ CancelRun(d)
        \/ RollbackStaged(d) \/ ConsumeInputs(d)
        \/ Attach(d) \/ Detach(d) \/ Retire(d) \/ Reset(d) \/ Stop(d) \/ Destroy(d)
        \/ Resume(d) \/ Recover(d) \/ Recycle(d)

Spec == Init /\ [][Next]_vars

\* A run may roll a contributor back and take it again as often as it likes.
InBounds ==
    \A d \in Drivers : memory[d] # None => \A n \in DOMAIN memory[d].in : memory[d].in[n].attempt_count <= Stagings

--------------------------------------------------------------------------------------------------------------------------
\* What holds in every state: the invariants of spec/invariants.py and spec/relations.py that this model can speak of,
\* under their names. They are written by hand, of states alone: no operator of the module tables is used in them but the
\* names of the terminal states and the stamps of the policy.

Stored == DOMAIN store.in
StoredActive == {n \in Stored : IsActive(store.in[n])}
InFlight == {"staged", "applied", "applied_pending_consumption"}
IsFleeting(n) == n \notin Stored
ReceiptsOf(n) == {receipt \in store.receipts : n \in Range(receipt.inputs)}
EndedByARun == {n \in Stored : store.in[n].state = "consumed" /\ ~Stamp(store.in[n]).consumes_on_accept}

terminal_runtime_has_no_active_inputs == store.rt.state \in {"stopped", "destroyed"} => StoredActive = {}

running_has_a_current_run ==
    /\ store.rt.state = "running" => store.rt.current_run_id # None
    /\ store.rt.current_run_id # None => store.rt.state \in {"running", "retired"}

in_flight_belongs_to_current_run ==
    /\ store.rt.current_run_id = None => store.rt.contributors = <<>>
    /\ \A i, j \in DOMAIN store.rt.contributors : store.rt.contributors[i] = store.rt.contributors[j] => i = j
    /\ \A n \in Stored : store.in[n].state \in InFlight =>
           n \in Range(store.rt.contributors) /\ store.in[n].last_run_id = store.rt.current_run_id
    /\ \A n \in Range(store.rt.contributors) : IsFleeting(n) \/ store.in[n].state \in InFlight

accepted_is_untouched ==
    \A n \in Stored : store.in[n].state = "accepted" =>
        store.in[n].last_run_id = None /\ store.in[n].last_boundary_sequence = None

boundary_needs_application ==
    \A n \in Stored : store.in[n].last_boundary_sequence # None =>
        store.in[n].state \in {"applied_pending_consumption", "consumed"}

outcome_matches_state ==
    \A n \in Stored : LET r == store.in[n] IN
        /\ r.terminal_outcome = IF r.state \in {"consumed", "superseded", "coalesced", "abandoned"} THEN r.state ELSE None
        /\ (r.abandon_reason # None) <=> (r.state = "abandoned")
        /\ (r.successor_id # None) <=> (r.state \in {"superseded", "coalesced"})

attempts_are_bounded ==
    \A n \in Stored : LET r == store.in[n] IN
        /\ r.failure_count <= MaxAttempts
        /\ IsActive(r) => r.failure_count < MaxAttempts
        /\ r.abandon_reason = "attempts_exhausted" => r.failure_count = MaxAttempts

consumed_has_a_receipt == \A n \in EndedByARun : ReceiptsOf(n) # {}

consumed_exactly ==
    /\ \A n \in EndedByARun : ReceiptsOf(n) # {} =>
           \E receipt \in ReceiptsOf(n) :
               receipt.run_id = store.in[n].last_run_id /\ receipt.sequence = store.in[n].last_boundary_sequence
    /\ \A n \in Stored : Stamp(store.in[n]).consumes_on_accept =>
           store.in[n].last_run_id = None /\ store.in[n].attempt_count = 0

receipt_is_accounted_for ==
    \A n \in Stored : ReceiptsOf(n) # {} => store.in[n].state \in {"applied_pending_consumption", "consumed"}

one_boundary_per_input ==
    /\ \A n \in Stored : Cardinality(ReceiptsOf(n)) <= 1
    /\ \A run \in 0..Runs - 1 :
           LET found == {receipt \in store.receipts : receipt.run_id = run} IN
           /\ {receipt.sequence : receipt \in found} = 0..Cardinality(found) - 1
           /\ run = store.rt.current_run_id => store.rt.boundary_count = Cardinality(found)

successor_exists == \A n \in Stored : store.in[n].successor_id # None => store.in[n].successor_id \in Stored

stored_state_is_resumable ==
    /\ holder # None => store.rt.state \notin {"attached", "recovering", "initializing"}
    /\ (store.rt.pre_run_state = None) <=> (store.rt.current_run_id = None)
    /\ store.rt.pre_run_state \in {None, "idle", "retired"}

acked_is_durable == acked \subseteq Stored

\* The holder has what is stored, apart from the volatile part, unless a commit is in doubt: then it has one of two, and
\* the store has the one that reading it back will tell.
memory_equals_store ==
    holder # None =>
        LET doubt == memory[holder].doubt
            img == IF doubt # None /\ doubt.landed THEN doubt.after ELSE Image(holder)
            rt == StoredRuntime(img.rt)
        IN /\ [rt EXCEPT !.next_order = store.rt.next_order] = store.rt
           /\ rt.next_order >= store.rt.next_order
           /\ Where(img.in, IsDurable) = Where(store.in, IsActive)

tables_fit == misfit = None

\* command_ends_in_its_state, of the commands about the runtime, whatever becomes of their commit.
command_ends_in_its_state ==
    \A d \in Drivers : IsReady(d) =>
        LET img == Image(d)
            leads(change, states) == change # Refused /\ ~IsMisfit(change) => change.rt.state \in states
            empties(change) == change # Refused /\ ~IsMisfit(change) => After(img, change).in = Nothing
            settles(change) == change # Refused /\ ~IsMisfit(change) =>
                /\ change.rt.current_run_id = None
                /\ \A n \in DOMAIN After(img, change).in : After(img, change).in[n].state = "queued"
        IN /\ leads(RetireChange(img), {"retired"})
           /\ leads(ResetChange(img), {"idle"}) /\ empties(ResetChange(img))
           /\ leads(StopChange(img), {"stopped"}) /\ empties(StopChange(img))
           /\ leads(DestroyChange(img), {"destroyed"}) /\ empties(DestroyChange(img))
           /\ leads(RecoverChange(img), {"idle", "retired"}) /\ settles(RecoverChange(img))
           /\ leads(RecycleChange(img), {"idle"}) /\ settles(RecycleChange(img))
           /\ img.rt.state \notin {"stopped", "destroyed"} => StopChange(img) # Refused
           /\ img.rt.state # "destroyed" => DestroyChange(img) # Refused

\* What holds of every step.

terminal_inputs_are_frozen ==
    [][\A n \in Stored : n \in DOMAIN store'.in /\ (~IsActive(store.in[n]) => store'.in[n] = store.in[n])]_vars

attempts_never_fall ==
    [][\A n \in Stored :
           /\ store'.in[n].attempt_count >= store.in[n].attempt_count
           /\ store'.in[n].failure_count >= store.in[n].failure_count]_vars

retired_is_sticky ==
    [][store.rt.state = "retired" =>
           /\ store'.rt.state \in {"retired", "running", "idle", "stopped", "destroyed"}
           /\ store'.rt.state = "running" => store'.rt.pre_run_state = "retired"
           /\ store'.rt.state = "idle" => \E d \in Drivers : Reset(d) \/ Recycle(d)]_vars

run_end_returns_where_it_began ==
    [][store.rt.current_run_id # None /\ store'.rt.current_run_id = None =>
           \/ store'.rt.state \in {"stopped", "destroyed"}
           \/ store'.rt.state = IF store.rt.state = "retired" THEN "retired" ELSE store.rt.pre_run_state]_vars

--------------------------------------------------------------------------------------------------------------------------
\* Liveness: every durable input of a runtime ends, with somebody who opens the runtime when nobody holds it, a store that can
\* be read again, a driver that takes what it may take, an executor that ends every run, and finitely many crashes.

CanOpen == holder = None
InDoubt == holder # None /\ memory[holder].doubt # None
CanBegin ==
    /\ holder # None /\ ~InDoubt
    /\ runs < Runs
    /\ Batches(Image(holder)) # {}
    /\ BeginRunRuntime(memory[holder].rt, [Facts EXCEPT !.run_id = runs]) # Refused
IsRunning == holder # None /\ memory[holder].rt.current_run_id # None

\* None of these lasts for ever.
Fairness == []<>~CanOpen /\ []<>~InDoubt /\ []<>~CanBegin /\ []<>~IsRunning
FairSpec == Spec /\ Fairness

IsOpen(n) == n \in Stored /\ IsActive(store.in[n])
every_input_ends == \A n \in 1..Inputs : IsOpen(n) ~> ~IsOpen(n)
==========================================================================================================================
