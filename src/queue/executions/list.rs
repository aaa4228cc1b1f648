//! The parameters of a list.

use time::OffsetDateTime;

use crate::content::form;
use crate::queue::{JobCursor, JobFilter, JobState};
use crate::rejection::{Place, Rejection, RejectionKind, Violation};

pub(super) const DEFAULT_PAGE_LEN: usize = 50;
pub(super) const MAX_PAGE_LEN: usize = 200;

#[derive(Debug)]
pub(super) struct ListInput {
    pub(super) filter: JobFilter,
    pub(super) after: Option<JobCursor>,
    pub(super) limit: usize,
}

impl ListInput {
    /// Reads `state`, `hook`, `limit` and `after`, and ignores other parameters.
    ///
    /// # Errors
    ///
    /// Refuses a repeated parameter, a limit that is not 1 to 200, an unknown state, and an invalid cursor.
    pub(super) fn read(query: Option<&str>) -> Result<Self, Rejection> {
        let mut input = Self { filter: JobFilter::all(), after: None, limit: DEFAULT_PAGE_LEN };
        let mut violations = Vec::new();
        for name in ["state", "hook", "limit", "after"] {
            let pairs = form::pairs(query.unwrap_or_default().as_bytes());
            let mut values = pairs.filter(|pair| *pair.name() == *name.as_bytes());
            let Some(value) = values.next() else { continue };
            let value = value.value_lossy();
            let reason = if values.next().is_some() {
                Some("the parameter is there more than once")
            } else {
                input.set(name, &value).err()
            };
            violations.extend(reason.map(|reason| Violation::new(Place::Parameter(name), reason)));
        }
        if violations.is_empty() {
            return Ok(input);
        }
        Err(Rejection::new(RejectionKind::Invalid).with_violations(violations))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "state" => {
                let state = JobState::from_name(value);
                self.filter.state =
                    Some(state.ok_or("`queued`, `running`, `succeeded` or `dead`")?);
            }
            "hook" => self.filter.hook = Some(value.to_owned()),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_PAGE_LEN).contains(limit));
                self.limit = limit.ok_or("an integer from 1 to 200")?;
            }
            _ => self.after = Some(read_cursor(value).ok_or("the `next` of an earlier response")?),
        }
        Ok(())
    }
}

/// The text of a cursor, which needs no escaping in a query. It is no secret.
pub(super) fn cursor_text(cursor: &JobCursor) -> String {
    format!("{}.{}", cursor.created_at().unix_timestamp_nanos(), cursor.id())
}

fn read_cursor(text: &str) -> Option<JobCursor> {
    let (nanoseconds, id) = text.split_once('.')?;
    let nanoseconds = nanoseconds.parse::<u64>().ok()?;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into()).ok()?;
    Some(JobCursor::new(time, id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::JobId;

    #[test]
    fn a_query_is_read() {
        let cursor = JobCursor::new(OffsetDateTime::UNIX_EPOCH, JobId::from_bytes([9; 16]));
        let query = format!("state=dead&hook=a+b&limit=200&after={}&other=1", cursor_text(&cursor));
        let input = ListInput::read(Some(&query)).unwrap();
        let filter = JobFilter::all().with_state(JobState::Dead).with_hook("a b");
        assert_eq!((input.filter, input.after, input.limit), (filter, Some(cursor), 200));

        let input = ListInput::read(None).unwrap();
        assert_eq!((input.filter, input.after, input.limit), (JobFilter::all(), None, 50));
    }

    #[test]
    fn faults_are_reported_together() {
        let query = "state=Dead&limit=0&after=1&hook=a&hook=b";
        let rejection = ListInput::read(Some(query)).unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::Invalid);
        assert_eq!(rejection.violations().len(), 4);
        // Times before 1970 are those of no job, and more than some engines take.
        let early = &format!("after=-1.{}", JobId::from_bytes([9; 16]));
        for query in ["limit=201", "limit=-1", "limit=", "after=1.2", "after=x.y", "state=", early]
        {
            assert!(ListInput::read(Some(query)).is_err(), "{query}");
        }
    }
}
