------------------------------------------------------ MODULE whole ------------------------------------------------------
(* The whole of holdstate: one runtime, its store, and the drivers that hold it, with crashes, commits of which nobody
   knows whether they landed, recovery, and a second opener that fences the first.

   Written by hand: who may do what when, which inputs a command selects, the commit and what can become of it, opening,
   fencing, and what has to hold. What a command needs, what it sends to the runtime and to each selected input, what
   the two machines make of that, and what the policy stamps on an input comes from the module tables, which is generated.

   An input is its number, which is also its place in its lane: order keys are given out in this order and never change.
   A run is its number too. Left out: backoff (time that passes), payloads, results, snapshots, events, histories.

   To compare with another exploration of the same runtime, count the distinct values of Projection (near the end): it
   leaves out what nothing decides by, how often an input was staged and the texts of errors, what follows from the rest,
   the key index and the counts, and what callers were told; of epochs and revisions it keeps how they compare. TLC counts
   these values where a configuration says VIEW Projection.
*)
EXTENDS tables, Naturals, FiniteSets, Sequences, TLC

CONSTANTS
    Drivers,       \* who may open the runtime
    Kinds,         \* the kinds of inputs that are sent, a subset of AllKinds
    Commands,      \* the commands that are given
    Fates,         \* what can become of a commit, a subset of AllFates
    Inputs,        \* how many inputs are admitted
    Runs,          \* how many runs are begun
    Crashes,       \* how many crashes there are; None: any number
    Faults,        \* how many commits go wrong otherwise; None: any number
    Revisions,     \* after how many the count of revisions starts over; None: never. Two are enough to tell them apart
    Boundaries,    \* after how many a run takes no further checkpoint
    EmptyReceipts, \* how many receipts list nothing
    MaxAttempts,   \* the cap on failures
    MaxBatch       \* how many inputs a run takes at most

VARIABLES
    store,   \* what is stored: epoch, revision, the runtime record, the inputs, the receipts, the key index, the counts
    memory,  \* what each driver has: epoch, revision, the runtime record, the active inputs, the run that an executor
             \* holds, whether it has to read the store before anything else (behind), a commit in doubt; None: not open
    acked,   \* the stored inputs whose callers were told so
    runs,    \* how many runs were begun, or tried to
    crashes, \* how many crashes there were, where they are counted
    faults,  \* how many commits went wrong otherwise, where they are counted
    misfit   \* a command that the runtime takes and one of its inputs refuses; None where the tables fit

vars == <<store, memory, acked, runs, crashes, faults, misfit>>

AllFates ==
    {"done",            \* it landed, and the caller is told
     "caller gone",     \* it landed, and nobody is there to take the run that it began
     "refused",         \* the disk refused it, and the caller is told
     "crash before",    \* nobody is told
     "crash after",     \* it landed, and nobody is told
     "unknown, landed", \* the result is unknown; the store is read again at once, and the caller is told
     "unknown, lost",   \* the same
     "doubt, landed",   \* the result is unknown and the store cannot be read: nobody knows
     "doubt, lost"}     \* the same
Told == {"done", "unknown, landed"}
Landing == Told \cup {"caller gone", "crash after", "doubt, landed"}
Crashing == {"crash before", "crash after"}
Doubtful == {"doubt, landed", "doubt, lost"}

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

AcceptChange(img, kind, key) ==
    LET n == img.rt.next_order
        stamp == Kind(kind)
        p == [Facts EXCEPT !.by = n, !.into = n, !.coalesces = stamp.coalesces,
                           !.consumes_on_accept = stamp.consumes_on_accept]
        new == AcceptNew([InputInitial EXCEPT !.kind = kind, !.key = key], p)
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

Following(revision) == IF Revisions = None THEN revision + 1 ELSE (revision + 1) % Revisions

\* Rows change, indexes and counts are kept up: nothing is counted anew.
Written(change) ==
    LET rows == Where(change.in, IsDurable)
        new == DOMAIN rows \ DOMAIN store.in
        ended == {n \in DOMAIN rows : ~IsActive(rows[n])}
        keyed == {n \in new : rows[n].key # None}
    IN [store EXCEPT !.revision = Following(@),
                     !.rt = StoredRuntime(change.rt),
                     !.in = rows @@ @,
                     !.receipts = @ \cup change.receipts,
                     !.keys = [key \in {rows[n].key : n \in keyed} |-> CHOOSE n \in keyed : rows[n].key = key] @@ @,
                     !.counts = [active |-> @.active + Cardinality(new) - Cardinality(ended),
                                 ended |-> @.ended + Cardinality(ended),
                                 keys |-> @.keys + Cardinality(keyed),
                                 receipts |-> @.receipts + Cardinality(change.receipts)]]

Loaded == [rt |-> store.rt, in |-> Where(store.in, IsActive)]
Image(d) == [rt |-> memory[d].rt, in |-> memory[d].in]
IsFenced(d) == memory[d].epoch < store.epoch
IsReady(d) == memory[d] # None /\ memory[d].doubt = None /\ ~memory[d].behind

With(d, img, held) == [memory[d] EXCEPT !.rt = img.rt, !.in = img.in, !.held = held]
StillHeld(d, rt) == IF memory[d].held = rt.current_run_id THEN memory[d].held ELSE None

IsCounted(bound, counter) == bound # None => counter < bound
Counted(bound, counter) == IF bound = None THEN counter ELSE counter + 1

\* A run that nobody was handed is called off by the next command, whichever it is, in the same commit.
IsOrphaned(d) == memory[d].rt.current_run_id \notin {None, memory[d].held}
CareChange(d) == CancelRunChange(Image(d))
CareFails(d) == IsOrphaned(d) /\ (CareChange(d) = Refused \/ IsMisfit(CareChange(d)))
Cared(d) == IF IsOrphaned(d) /\ ~CareFails(d) THEN After(Image(d), CareChange(d)) ELSE Image(d)
Joined(d, change) ==
    IF IsOrphaned(d)
    THEN [change EXCEPT !.in = @ @@ CareChange(d).in, !.receipts = @ \cup CareChange(d).receipts]
    ELSE change

\* What ends a call: a commit, and what becomes of it. The store compares epochs before it takes anything. "takes" is what
\* the caller takes from it: no run, the run that it begins, or a run that is called off again if the caller is gone.
Commit(d, change, admits, takes) ==
    IF IsFenced(d)
    THEN /\ memory' = [memory EXCEPT ![d] = None] \* it is finished
         /\ UNCHANGED <<store, acked, crashes, faults>>
    ELSE \E fate \in Fates :
         LET after == After(Image(d), change)
             landed == [With(d, after, IF takes = "nothing" \/ fate = "caller gone" THEN StillHeld(d, after.rt)
                                       ELSE after.rt.current_run_id) EXCEPT !.revision = Following(@)]
         IN
         /\ fate = "caller gone" => takes = "a run or nothing"
         /\ fate \in Crashing => IsCounted(Crashes, crashes)
         /\ fate \notin Crashing \cup {"done"} => IsCounted(Faults, faults)
         /\ crashes' = IF fate \in Crashing THEN Counted(Crashes, crashes) ELSE crashes
         /\ faults' = IF fate \in Crashing \cup {"done"} THEN faults ELSE Counted(Faults, faults)
         /\ store' = IF fate \in Landing THEN Written(change) ELSE store
         /\ acked' = IF fate \in Told THEN acked \cup admits ELSE acked
         /\ memory' = [memory EXCEPT ![d] =
                CASE fate \in {"done", "caller gone"} -> landed
                  [] fate = "refused" -> @
                  [] fate \in Crashing -> None
                  [] fate = "unknown, landed" -> [landed EXCEPT !.behind = TRUE]
                  [] fate = "unknown, lost" -> [@ EXCEPT !.behind = TRUE]
                  [] fate \in Doubtful ->
                         [@ EXCEPT !.doubt = [revision |-> Following(memory[d].revision), rt |-> after.rt, in |-> after.in]]]

\* A command that is stored commits; another one changes memory alone.
Do(d, name, change, isStored, admits, takes) ==
    /\ name \in Commands
    /\ change # Refused
    /\ IF CareFails(d) \/ IsMisfit(change)
       THEN misfit' = name /\ UNCHANGED <<store, memory, acked, crashes, faults>>
       ELSE /\ UNCHANGED misfit
            /\ IF isStored \/ IsOrphaned(d) THEN Commit(d, Joined(d, change), admits, takes)
               ELSE LET img == After(Image(d), change) IN
                    /\ memory' = [memory EXCEPT ![d] = With(d, img, StillHeld(d, img.rt))]
                    /\ UNCHANGED <<store, acked, crashes, faults>>

Simply(d, name, change, isStored) == Do(d, name, change, isStored, {}, "nothing") /\ UNCHANGED runs

IsSeen(change) == \E n \in DOMAIN change.in : change.in[n] # Refused /\ IsDurable(change.in[n])
IsNews(img, change) == IsSeen(change) \/ StoredRuntime(change.rt) # StoredRuntime(img.rt)

\* A caller who comes again with a key finds the input that has it, active or ended, and nothing changes.
IsIndexed(key) == key \in DOMAIN store.keys
KeysFor(n) == {n} \cup {key \in {store.in[m].key : m \in DOMAIN store.in} \ {None} : ~IsIndexed(key)}

Accept(d) ==
    /\ IsReady(d)
    /\ \E kind \in Kinds : \E key \in IF Kind(kind).has_key THEN KeysFor(memory[d].rt.next_order) ELSE {None} :
           LET n == memory[d].rt.next_order
               change == AcceptChange(Cared(d), kind, key)
           IN /\ n <= Inputs
              /\ Kind(kind).is_ephemeral => ~IsFenced(d) \* what a fenced driver keeps to itself is not followed
              /\ Do(d, "accept", change, AcceptCommits /\ IsSeen(change), IF Kind(kind).is_ephemeral THEN {} ELSE {n},
                    "nothing")
    /\ UNCHANGED runs

BeginRun(d) ==
    /\ IsReady(d)
    /\ runs < Runs
    /\ LET batches == Batches(Cared(d)) IN
       \E batch \in batches :
           LET change == BeginRunChange(Cared(d), runs, batch)
               isWhole == \A other \in batches : Len(other) <= Len(batch)
           IN Do(d, "begin_run", change, BeginRunCommits, {}, IF isWhole THEN "a run or nothing" ELSE "a run")
    /\ runs' = runs + 1

IsWithinReceipts(change) ==
    LET listing == {receipt \in store.receipts \cup change.receipts : receipt.inputs \o receipt.ephemeral = <<>>} IN
    Cardinality(listing) <= EmptyReceipts

StageMore(d) ==
    /\ IsReady(d)
    /\ \E batch \in MoreBatches(Cared(d)) :
           Simply(d, "stage_more", StageMoreChange(Cared(d), batch), StageMoreCommits)

Boundary(d) ==
    /\ IsReady(d)
    /\ memory[d].rt.boundary_count < Boundaries
    /\ LET change == BoundaryChange(Cared(d)) IN
       /\ change # Refused => IsWithinReceipts(change)
       /\ Simply(d, "boundary_applied", change, BoundaryAppliedCommits)

Complete(d) ==
    /\ IsReady(d)
    /\ LET change == CompleteChange(Cared(d)) IN
       /\ change # Refused => IsWithinReceipts(change)
       /\ Simply(d, "run_completed", change, RunCompletedCommits)

Fail(d) ==
    /\ IsReady(d)
    /\ \E recoverable \in BOOLEAN : Simply(d, "run_failed", FailChange(Cared(d), recoverable), RunFailedCommits)

CancelRun(d) == IsReady(d) /\ Simply(d, "run_cancelled", CancelRunChange(Cared(d)), RunCancelledCommits)

RollbackStaged(d) ==
    /\ IsReady(d)
    /\ \E n \in Active(Cared(d)) :
           /\ Cared(d).in[n].state = "staged"
           /\ Simply(d, "rollback_staged", RollbackStagedChange(Cared(d), n), RollbackStagedCommits)

ConsumeInputs(d) ==
    /\ IsReady(d)
    /\ \E n \in Active(Cared(d)) :
           /\ Cared(d).in[n].state = "applied_pending_consumption"
           /\ Simply(d, "consume_inputs", ConsumeInputsChange(Cared(d), n), ConsumeInputsCommits)

Cancel(d) ==
    /\ IsReady(d)
    /\ \E n \in Active(Cared(d)) :
           LET change == CancelChange(Cared(d), n) IN Simply(d, "cancel", change, CancelCommits /\ IsSeen(change))

AbandonPending(d) ==
    /\ IsReady(d)
    /\ LET change == AbandonPendingChange(Cared(d)) IN
       Simply(d, "abandon_pending", change, AbandonPendingCommits /\ IsSeen(change))

Attach(d) ==
    IsReady(d) /\ Simply(d, "attach", Change(Cared(d), AttachRuntime(Cared(d).rt, Facts), Nothing), AttachCommits)
Detach(d) ==
    IsReady(d) /\ Simply(d, "detach", Change(Cared(d), DetachRuntime(Cared(d).rt, Facts), Nothing), DetachCommits)
Retire(d) == IsReady(d) /\ Simply(d, "retire", RetireChange(Cared(d)), RetireCommits)
Reset(d) == IsReady(d) /\ Simply(d, "reset", ResetChange(Cared(d)), ResetCommits)
Stop(d) == IsReady(d) /\ Simply(d, "stop", StopChange(Cared(d)), StopCommits)
Destroy(d) == IsReady(d) /\ Simply(d, "destroy", DestroyChange(Cared(d)), DestroyCommits)
Resume(d) == IsReady(d) /\ Simply(d, "resume", ResumeChange(Cared(d)), ResumeCommits)
Recycle(d) ==
    /\ IsReady(d)
    /\ LET change == RecycleChange(Cared(d)) IN
       Simply(d, "recycle", change, RecycleCommits /\ change # Refused /\ IsNews(Cared(d), change))

\* On request: it reads the store first, and learns of a fence there. A run is not in its way unless somebody holds it; one
\* that nobody holds is called off, and that is all there is to recover then.
Recover(d) ==
    /\ IsReady(d)
    /\ ~IsOrphaned(d)
    /\ memory[d].rt.current_run_id = None
    /\ LET change == RecoverChange(Image(d)) IN
       IF IsFenced(d)
       THEN /\ "recover" \in Commands
            /\ memory' = [memory EXCEPT ![d] = None]
            /\ UNCHANGED <<store, acked, runs, crashes, faults, misfit>>
       ELSE Simply(d, "recover", change, RecoverCommits /\ change # Refused /\ IsNews(Image(d), change))

\* A command that is refused, or finds all done, and yet calls an orphaned run off.
Care(d) ==
    /\ IsReady(d)
    /\ IsOrphaned(d)
    /\ IF CareFails(d) THEN misfit' = "care" /\ UNCHANGED <<store, memory, acked, crashes, faults>>
       ELSE Commit(d, CareChange(d), {}, "nothing") /\ UNCHANGED misfit
    /\ UNCHANGED runs

\* One transaction claims the runtime, settles what a crash left, and fences whoever held it.
Open(d) ==
    /\ memory[d] = None
    /\ LET change == OpenChange(Loaded)
           claimed == [Written(change) EXCEPT !.epoch = @ + 1]
           img == After(Loaded, change)
       IN
       /\ change # Refused
       /\ IF IsMisfit(change) THEN misfit' = "open" /\ UNCHANGED <<store, memory, crashes>>
          ELSE /\ UNCHANGED misfit
               /\ store' = claimed
               /\ \/ /\ memory' = [memory EXCEPT ![d] =
                            [epoch |-> claimed.epoch, revision |-> claimed.revision, rt |-> img.rt, in |-> img.in,
                             held |-> None, behind |-> FALSE, doubt |-> None]]
                     /\ UNCHANGED crashes
                  \/ /\ "crash after" \in Fates
                     /\ IsCounted(Crashes, crashes)
                     /\ crashes' = Counted(Crashes, crashes)
                     /\ UNCHANGED memory
    /\ UNCHANGED <<acked, runs, faults>>

\* The store can be read again: the epoch tells whether somebody else has opened the runtime, and then the revision
\* whether the commit landed.
ReadBack(d) ==
    /\ memory[d] # None
    /\ ~IsReady(d)
    /\ LET doubt == memory[d].doubt
           read == [memory[d] EXCEPT !.doubt = None, !.behind = FALSE]
       IN memory' = [memory EXCEPT ![d] =
              IF IsFenced(d) THEN None
              ELSE IF doubt # None /\ store.revision = doubt.revision
              THEN [read EXCEPT !.revision = doubt.revision, !.rt = doubt.rt, !.in = doubt.in,
                                !.held = StillHeld(d, doubt.rt)]
              ELSE read]
    /\ UNCHANGED <<store, acked, runs, crashes, faults, misfit>>

Crash(d) ==
    /\ memory[d] # None
    /\ Crashing \cap Fates # {}
    /\ IsCounted(Crashes, crashes)
    /\ crashes' = Counted(Crashes, crashes)
    /\ memory' = [memory EXCEPT ![d] = None]
    /\ UNCHANGED <<store, acked, runs, faults, misfit>>

Init ==
    /\ store = [epoch |-> 0, revision |-> 0, rt |-> RuntimeInitial, in |-> Nothing, receipts |-> {}, keys |-> Nothing,
                counts |-> [active |-> 0, ended |-> 0, keys |-> 0, receipts |-> 0]]
    /\ memory = [d \in Drivers |-> None]
    /\ acked = {}
    /\ runs = 0
    /\ crashes = 0
    /\ faults = 0
    /\ misfit = None

Next ==
    \E d \in Drivers :
        \/ Open(d) \/ Crash(d) \/ ReadBack(d) \/ Care(d)
        \/ Accept(d) \/ Cancel(d) \/ AbandonPending(d)
        \/ BeginRun(d) \/ StageMore(d) \/ Boundary(d) \/ Complete(d) \/ Fail(d) \/ CancelRun(d)
        \/ RollbackStaged(d) \/ ConsumeInputs(d)
        \/ Attach(d) \/ Detach(d) \/ Retire(d) \/ Reset(d) \/ Stop(d) \/ Destroy(d)
        \/ Resume(d) \/ Recover(d) \/ Recycle(d)

Spec == Init /\ [][Next]_vars

--------------------------------------------------------------------------------------------------------------------------
\* What explorations are compared over: what is stored, and of each driver, whatever its name, what it has in memory, with
\* what it would find when it reads the store.

InputRow(r) ==
    [kind |-> r.kind, state |-> r.state, last_run_id |-> r.last_run_id, failure_count |-> r.failure_count,
     last_boundary_sequence |-> r.last_boundary_sequence, terminal_outcome |-> r.terminal_outcome,
     successor_id |-> r.successor_id, abandon_reason |-> r.abandon_reason]
Rows(in) == [n \in DOMAIN in |-> InputRow(in[n])]

StoreView == IF store.epoch = 0 THEN None ELSE [rt |-> store.rt, in |-> Rows(store.in), receipts |-> store.receipts]
DoubtView(d) ==
    LET doubt == memory[d].doubt IN
    IF doubt = None THEN None
    ELSE [rt |-> doubt.rt, in |-> Rows(doubt.in), landed |-> ~IsFenced(d) /\ store.revision = doubt.revision]
DriverView(d) ==
    [rt |-> memory[d].rt, in |-> Rows(memory[d].in), held |-> memory[d].held, fenced |-> IsFenced(d),
     behind |-> memory[d].behind, doubt |-> DoubtView(d)]
DriverViews ==
    LET open == {d \in Drivers : memory[d] # None} IN
    [view \in {DriverView(d) : d \in open} |-> Cardinality({d \in open : DriverView(d) = view})]

Projection == <<StoreView, DriverViews, runs, crashes, faults, misfit>>

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
    /\ store.epoch > 0 => store.rt.state \notin {"attached", "recovering", "initializing"}
    /\ (store.rt.pre_run_state = None) <=> (store.rt.current_run_id = None)
    /\ store.rt.pre_run_state \in {None, "idle", "retired"}

one_input_per_key ==
    \A n, m \in Stored : store.in[n].key = store.in[m].key /\ store.in[n].key # None => n = m

index_equals_rows ==
    /\ DOMAIN store.keys = {store.in[n].key : n \in Stored} \ {None}
    /\ \A key \in DOMAIN store.keys : store.keys[key] \in Stored /\ store.in[store.keys[key]].key = key

counts_equal_rows ==
    /\ store.counts.active = Cardinality(StoredActive)
    /\ store.counts.ended = Cardinality(Stored \ StoredActive)
    /\ store.counts.keys = Cardinality({n \in Stored : store.in[n].key # None})
    /\ store.counts.receipts = Cardinality(store.receipts)
    /\ \A n \in Stored : n < store.rt.next_order

Holding == {d \in Drivers : memory[d] # None /\ ~IsFenced(d)}

\* Who holds the runtime has what is stored, apart from the volatile part, unless a commit is in doubt: then it has one of
\* two, and the store has the one that reading it back will tell.
memory_equals_store ==
    \A d \in Holding :
        LET doubt == memory[d].doubt
            img == IF doubt # None /\ store.revision = doubt.revision THEN doubt ELSE memory[d]
            rt == StoredRuntime(img.rt)
        IN /\ memory[d].epoch = store.epoch
           /\ img.revision = store.revision
           /\ [rt EXCEPT !.next_order = store.rt.next_order] = store.rt
           /\ rt.next_order >= store.rt.next_order
           /\ Where(img.in, IsDurable) = Where(store.in, IsActive)

handed_out_run_is_current ==
    \A d \in Drivers : memory[d] # None /\ memory[d].held # None => memory[d].held = memory[d].rt.current_run_id

tables_fit == misfit = None

\* What a run began in says so only while it is what the run returns to.
IsAttached(rt) == (IF rt.state = "running" THEN rt.pre_run_state ELSE rt.state) = "attached"

\* Of the commands about the runtime, and of accept, whatever becomes of their commit.
command_ends_in_its_state ==
    \A d \in Drivers : IsReady(d) =>
        LET img == Cared(d)
            isWell(change) == change # Refused /\ ~IsMisfit(change)
            attached == Change(img, AttachRuntime(img.rt, Facts), Nothing)
            detached == Change(img, DetachRuntime(img.rt, Facts), Nothing)
            leads(change, states) == isWell(change) => change.rt.state \in states
            empties(change) == isWell(change) => After(img, change).in = Nothing
            settles(change) == isWell(change) =>
                /\ change.rt.current_run_id = None
                /\ \A n \in DOMAIN After(img, change).in : After(img, change).in[n].state = "queued"
        IN /\ leads(RetireChange(img), {"retired"})
           /\ leads(ResetChange(img), {"idle"}) /\ empties(ResetChange(img))
           /\ leads(StopChange(img), {"stopped"}) /\ empties(StopChange(img))
           /\ leads(DestroyChange(img), {"destroyed"}) /\ empties(DestroyChange(img))
           /\ leads(RecoverChange(img), {"idle", "retired"}) /\ settles(RecoverChange(img))
           /\ leads(RecycleChange(img), {"idle"}) /\ settles(RecycleChange(img))
           /\ isWell(attached) => IsAttached(attached.rt)
           /\ isWell(detached) => ~IsAttached(detached.rt)
           /\ \A kind \in Kinds :
                  LET n == img.rt.next_order
                      change == AcceptChange(img, kind, None)
                  IN Kind(kind).replaces /\ isWell(change) => InScope(After(img, change), kind) \subseteq {n}
           /\ img.rt.state \notin {"stopped", "destroyed"} => StopChange(img) # Refused
           /\ img.rt.state # "destroyed" => DestroyChange(img) # Refused

\* What holds of every step.

terminal_inputs_are_frozen ==
    [][\A n \in Stored : n \in DOMAIN store'.in /\ (~IsActive(store.in[n]) => store'.in[n] = store.in[n])]_vars

acked_is_durable == [][acked' \subseteq DOMAIN store'.in]_vars

\* What is staged of a lane is its front. Ephemeral inputs are not stored, so they are not spoken of.
batch_is_a_prefix ==
    [][LET was(n) == n \in Stored /\ store.in[n].state = "queued"
           staged == {n \in DOMAIN store'.in : store'.in[n].state = "staged" /\ was(n)}
           ahead(m, n) ==
               LET one == Stamp(store.in[m])
                   two == Stamp(store.in[n])
               IN one.lane = two.lane /\ ((one.is_first = two.is_first /\ m < n) \/ (one.is_first /\ ~two.is_first))
       IN /\ \A n \in staged : \A m \in Stored : was(m) /\ ahead(m, n) => m \in staged
          /\ \A n, m \in staged : Stamp(store.in[n]).lane = Stamp(store.in[m]).lane
          /\ staged # {} => \E d \in Drivers : BeginRun(d) \/ StageMore(d)]_vars

epoch_never_falls ==
    [][/\ store'.epoch >= store.epoch
       /\ store'.revision >= store.revision
       /\ store'.epoch # store.epoch => \E d \in Drivers : Open(d)]_vars

attempts_never_fall ==
    [][\A n \in Stored :
           /\ store'.in[n].attempt_count >= store.in[n].attempt_count
           /\ store'.in[n].failure_count >= store.in[n].failure_count]_vars

retired_is_sticky ==
    [][store.rt.state = "retired" =>
           /\ store'.rt.state \in {"retired", "running", "idle", "stopped", "destroyed"}
           /\ store'.rt.state = "running" => store'.rt.pre_run_state = "retired"
           /\ store'.rt.state = "idle" => \E d \in Drivers : Reset(d) \/ Recycle(d)]_vars

\* A run that is called off with the next command ends within that step.
run_end_returns_where_it_began ==
    [][LET returns(rt) == rt.state = IF store.rt.state = "retired" THEN "retired" ELSE store.rt.pre_run_state IN
       store.rt.current_run_id # None /\ store'.rt.current_run_id = None =>
           \/ store'.rt.state \in {"stopped", "destroyed"}
           \/ returns(store'.rt)
           \/ \E d \in Holding : IsOrphaned(d) /\ returns(StoredRuntime(Cared(d).rt))]_vars

--------------------------------------------------------------------------------------------------------------------------
\* Liveness: every durable input of a runtime ends, with somebody who opens the runtime when nobody holds it, a store that can
\* be read again, a driver that takes what it may take, an executor that ends every run, and finitely many crashes.

CanOpen == Holding = {}
InDoubt == \E d \in Holding : ~IsReady(d)
CanBegin ==
    \E d \in Holding :
        /\ IsReady(d)
        /\ runs < Runs
        /\ Batches(Cared(d)) # {}
        /\ BeginRunRuntime(Cared(d).rt, [Facts EXCEPT !.run_id = runs]) # Refused
IsRunning == \E d \in Holding : memory[d].rt.current_run_id # None

\* None of these lasts for ever.
Fairness == []<>~CanOpen /\ []<>~InDoubt /\ []<>~CanBegin /\ []<>~IsRunning
FairSpec == Spec /\ Fairness

IsOpen(n) == n \in Stored /\ IsActive(store.in[n])
every_input_ends == \A n \in 1..Inputs : IsOpen(n) ~> ~IsOpen(n)
==========================================================================================================================
