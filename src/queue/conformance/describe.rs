//! Answers in words.

use crate::queue::{
    ClaimedJob, Enqueued, HookStats, Job, JobChange, JobFilter, JobId, JobState, LeaseState,
};
use crate::util::conformance::excerpts;
use crate::util::hex;

/// The text in quotes, cut if it is long.
pub(super) fn cut(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(MOST).collect();
    format!("{start:?}.. ({} bytes)", text.len())
}

/// The name that the suite has made the id of, or its digits.
pub(super) fn shown(id: JobId) -> String {
    let text = std::str::from_utf8(id.as_bytes()).unwrap_or_default().trim_end_matches('\0');
    let is_name = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    if is_name { format!("{text:?}") } else { id.to_string() }
}

/// The first field in which two jobs differ, as the first and as the second has it.
pub(super) fn difference(one: &Job, other: &Job) -> Option<(String, String)> {
    let mut pairs = fields(one).into_iter().zip(fields(other));
    let ((name, one), (_, other)) = pairs.find(|(one, other)| one != other)?;
    Some(excerpts(name, &one, &other))
}

fn fields(job: &Job) -> [(&'static str, String); 11] {
    #[rustfmt::skip]
    let Job {
        id, hook, owner, fingerprint, state, attempts,
        created_at, started_at, ended_at, outcome, error,
    } = job;
    [
        ("id", shown(*id)),
        ("hook", format!("{hook:?}")),
        ("owner", format!("{owner:?}")),
        ("fingerprint", hex::encode(fingerprint)),
        ("state", state.as_str().to_owned()),
        ("attempts", attempts.to_string()),
        ("created_at", created_at.to_string()),
        ("started_at", format!("{started_at:?}")),
        ("ended_at", format!("{ended_at:?}")),
        ("outcome", format!("{outcome:?}")),
        ("error", format!("{error:?}")),
    ]
}

pub(super) trait Describe {
    fn describe(&self) -> String;
}

macro_rules! as_debug {
    ($($type:ty),*) => {$(
        impl Describe for $type {
            fn describe(&self) -> String {
                format!("{self:?}")
            }
        }
    )*};
}

as_debug!(LeaseState, JobChange, u32, u64, usize, (JobState, u32), HookStats, Vec<HookStats>);

impl Describe for String {
    fn describe(&self) -> String {
        self.clone()
    }
}

impl Describe for Enqueued {
    fn describe(&self) -> String {
        match self {
            Self::New => "New".to_owned(),
            Self::Known(job) => format!("Known({})", job.describe()),
        }
    }
}

impl Describe for ClaimedJob {
    fn describe(&self) -> String {
        format!("{} attempt {}", shown(self.lease.job()), self.attempt)
    }
}

impl Describe for Job {
    fn describe(&self) -> String {
        format!("{} {} after {} attempts", shown(self.id), self.state.as_str(), self.attempts)
    }
}

impl<T: Describe> Describe for Option<T> {
    fn describe(&self) -> String {
        self.as_ref().map_or("None".to_owned(), T::describe)
    }
}

macro_rules! as_list {
    ($($type:ty),*) => {$(
        impl Describe for Vec<$type> {
            fn describe(&self) -> String {
                const SHOWN: usize = 12;
                let shown: Vec<_> = self.iter().take(SHOWN).map(Describe::describe).collect();
                let more = if self.len() > SHOWN { ", .." } else { "" };
                format!("{} jobs [{}{more}]", self.len(), shown.join(", "))
            }
        }
    )*};
}

as_list!(ClaimedJob, Job);

impl Describe for JobFilter {
    fn describe(&self) -> String {
        let state = self.state.map(|state| format!("state {}", state.as_str()));
        let hook = self.hook.as_ref().map(|hook| format!("hook {}", cut(hook)));
        let owner = self.owner.as_ref().map(|owner| format!("owner {}", cut(owner.as_str())));
        let parts: Vec<_> = state.into_iter().chain(hook).chain(owner).collect();
        if parts.is_empty() { "all".to_owned() } else { parts.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::conformance::sample::{id, job};

    #[test]
    fn a_change_of_any_field_is_a_difference() {
        let now = time::OffsetDateTime::UNIX_EPOCH;
        let one = Job::queued(&job("a"), now);
        let text = || Some("a".to_owned());
        for (name, other) in [
            ("id", Job { id: id("b"), ..one.clone() }),
            ("hook", Job { hook: "b".to_owned(), ..one.clone() }),
            ("owner", Job { owner: crate::key::Owner::new("ann").ok(), ..one.clone() }),
            ("fingerprint", Job { fingerprint: [9; 32], ..one.clone() }),
            ("state", Job { state: JobState::Dead, ..one.clone() }),
            ("attempts", Job { attempts: 1, ..one.clone() }),
            ("created_at", Job { created_at: now + time::Duration::DAY, ..one.clone() }),
            ("started_at", Job { started_at: Some(now), ..one.clone() }),
            ("ended_at", Job { ended_at: Some(now), ..one.clone() }),
            ("outcome", Job { outcome: text(), ..one.clone() }),
            ("error", Job { error: text(), ..one.clone() }),
        ] {
            let (wanted, actual) = difference(&one, &other).unwrap();
            assert!(wanted.starts_with(&format!("{name} ")), "{wanted}");
            assert!(wanted != actual && actual.starts_with(&format!("{name} ")), "{actual}");
        }
        assert!(difference(&one, &one.clone()).is_none());
    }
}
