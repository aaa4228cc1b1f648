use crate::util::conformance::numbered_rules;

numbered_rules!("job queue", "tower_webhook::queue::JobQueue", "../job_queue.rs", {
    NewIsDurable: "`New` is durable",
    IdIsOneJob: "An id is one job",
    ClaimIsExclusive: "A claim is exclusive",
    ClaimIsAnAttempt: "A claim is an attempt",
    LeaseEnds: "A lease ends",
    HeartbeatExtends: "A heartbeat extends",
    LeasesAreFenced: "Leases are fenced",
    EndIsFinal: "An end is final",
    RetryWaits: "A retry waits",
    ReleasedDoesNotCount: "A released attempt does not count",
    StateShowsTheJob: "`state` shows the job",
    ListIsNewestFirst: "`list` is newest first",
    DeadIsRetriedFromTheStart: "A dead job is retried from the start",
    RemoveLeavesRunning: "`remove` leaves running jobs",
    PurgeRemovesEnded: "`purge` removes ended jobs alone",
    LimitsHold: "Limits hold",
    ClaimWaits: "A claim waits for work",
    FaultIsAnError: "A fault is an error",
    DroppedCallIsWholeOrNothing: "A dropped call is whole or nothing",
});
