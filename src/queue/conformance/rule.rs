use crate::util::conformance::NumberedRule;

/// A rule of [`JobQueue`](crate::queue::JobQueue). The order is that of its docs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rule {
    NewIsDurable,
    IdIsOneJob,
    ClaimIsExclusive,
    ClaimIsAnAttempt,
    LeaseEnds,
    HeartbeatExtends,
    LeasesAreFenced,
    EndIsFinal,
    RetryWaits,
    ReleasedDoesNotCount,
    StateShowsTheJob,
    ListIsNewestFirst,
    DeadIsRetriedFromTheStart,
    RemoveLeavesRunning,
    PurgeRemovesEnded,
    LimitsHold,
    ClaimWaits,
    FaultIsAnError,
    DroppedCallIsWholeOrNothing,
}

/// The sentence with which the docs of [`JobQueue`](crate::queue::JobQueue) begin each rule.
const NAMES: [&str; 19] = [
    "`New` is durable",
    "An id is one job",
    "A claim is exclusive",
    "A claim is an attempt",
    "A lease ends",
    "A heartbeat extends",
    "Leases are fenced",
    "An end is final",
    "A retry waits",
    "A released attempt does not count",
    "`state` shows the job",
    "`list` is newest first",
    "A dead job is retried from the start",
    "`remove` leaves running jobs",
    "`purge` removes ended jobs alone",
    "Limits hold",
    "A claim waits for work",
    "A fault is an error",
    "A dropped call is whole or nothing",
];

impl NumberedRule for Rule {
    const SUBJECT: &'static str = "job queue";
    const TRAIT: &'static str = "tower_webhook::queue::JobQueue";

    fn number(self) -> usize {
        self as usize + 1
    }

    fn name(self) -> &'static str {
        NAMES.get(self as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_of_the_trait_have_every_rule_under_its_number() {
        let docs = include_str!("../job_queue.rs");
        for (index, name) in NAMES.iter().enumerate() {
            let line = format!("/// {}. **{name}.**", index + 1);
            assert!(docs.contains(&line), "{line}");
        }
        assert!(!docs.contains("/// 20. **"));
        assert_eq!(Rule::NewIsDurable.name(), "`New` is durable");
        let last = Rule::DroppedCallIsWholeOrNothing;
        assert_eq!((last.number(), last.name()), (19, "A dropped call is whole or nothing"));
    }
}
