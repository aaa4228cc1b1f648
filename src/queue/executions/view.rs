//! Jobs as JSON.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::list::cursor_text;
use crate::hook::Outcome;
use crate::key::Owner;
use crate::queue::{Job, JobCursor, JobState};

/// Who looks at a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Viewer {
    /// The caller of the job, or any client where the job has none.
    Caller,
    /// An operator, who sees whose job it is.
    Operator,
}

/// A job as a client sees it.
#[derive(Serialize)]
struct View<'a> {
    id: String,
    hook: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Option<&'a str>>,
    state: &'static str,
    attempts: u32,
    #[serde(serialize_with = "as_rfc_3339")]
    created_at: Option<OffsetDateTime>,
    #[serde(serialize_with = "as_rfc_3339")]
    started_at: Option<OffsetDateTime>,
    #[serde(serialize_with = "as_rfc_3339")]
    ended_at: Option<OffsetDateTime>,
}

/// The text of a job. The outcome is put in as it was given, digits and all.
pub(super) fn job(job: &Job, viewer: Viewer) -> String {
    text(job, viewer, &format!(r#""outcome":{},"#, outcome(job)))
}

pub(super) fn page(jobs: &[Job], next: Option<&JobCursor>, viewer: Viewer) -> String {
    let jobs: Vec<_> = jobs.iter().map(|job| text(job, viewer, "")).collect();
    let next = serde_json::to_string(&next.map(cursor_text)).unwrap_or_default();
    format!(r#"{{"executions":[{}],"next":{next}}}"#, jobs.join(","))
}

fn text(job: &Job, viewer: Viewer, outcome: &str) -> String {
    let view = View {
        id: job.id.to_string(),
        hook: Some(&*job.hook).filter(|hook| !hook.is_empty()),
        owner: (viewer == Viewer::Operator).then(|| job.owner.as_ref().map(Owner::as_str)),
        state: job.state.as_str(),
        attempts: job.attempts,
        created_at: Some(job.created_at),
        started_at: job.started_at,
        ended_at: job.ended_at,
    };
    // Texts and numbers are always JSON.
    let view = serde_json::to_string(&view).unwrap_or_default();
    let error = serde_json::to_string(&job.error).unwrap_or_default();
    format!(r#"{},{outcome}"error":{error}}}"#, view.trim_end_matches('}'))
}

/// The value of an outcome; `null` if the job has none.
fn outcome(job: &Job) -> String {
    let stored = job.outcome.as_deref().filter(|_| job.state == JobState::Succeeded);
    let outcome = stored.and_then(|text| Outcome::decode(text).ok());
    match outcome {
        Some(outcome) => outcome.shown(),
        None => "null".to_owned(),
    }
}

fn as_rfc_3339<S: Serializer>(
    time: &Option<OffsetDateTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.and_then(|time| time.format(&Rfc3339).ok()).serialize(serializer)
}

/// JSON Schema (2020-12) of a job.
pub(super) fn schema() -> Value {
    let time = json!({"type": ["string", "null"], "format": "date-time"});
    let states: Vec<_> = JobState::ALL.into_iter().map(JobState::as_str).collect();
    json!({
        "type": "object",
        "required": [
            "id", "hook", "state", "attempts", "created_at", "started_at", "ended_at", "error",
        ],
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "hook": {"type": ["string", "null"]},
            "owner": {
                "type": ["string", "null"],
                "description": "The caller of the hook. Only operators see it.",
            },
            "state": {"enum": states},
            "attempts": {"type": "integer", "minimum": 0},
            "created_at": {"type": "string", "format": "date-time"},
            "started_at": time,
            "ended_at": time,
            "outcome": {"description": "The value that the hook has returned. A list does not have it."},
            "error": {"type": ["string", "null"]},
        },
    })
}
