//! What the hooks do. The envelope has no credential in it, wherever the caller put one.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use tower_webhook::envelope::Envelope;
use tower_webhook::hook::{ExecutorError, Invocation, Outcome};

/// What the `deploy` hook reads of a push. A call that names nothing deploys `main`.
#[derive(Deserialize)]
struct Push {
    #[serde(default = "main_branch")]
    r#ref: String,
    #[serde(default)]
    commits: Vec<IgnoredAny>,
}

fn main_branch() -> String {
    "refs/heads/main".to_owned()
}

/// GitHub sends a push as JSON or in a form.
#[derive(Deserialize)]
struct Form {
    payload: Option<Push>,
}

fn read_push(envelope: &Envelope) -> serde_json::Result<Push> {
    let form: Form = serde_json::from_str(envelope.post().unwrap_or("{}"))?;
    match form.payload {
        Some(push) => Ok(push),
        // A struct would be read from a list as well.
        None => serde_json::from_str::<Map<String, Value>>(envelope.json().unwrap_or("{}"))
            .and_then(|push| serde_json::from_value(push.into())),
    }
}

pub(crate) async fn run(invocation: Invocation) -> Result<Outcome, ExecutorError> {
    match invocation.hook() {
        Some("status") => Outcome::json(&json!({"healthy": true})),
        Some("deploy") => match read_push(invocation.envelope()) {
            Ok(push) => {
                Outcome::json(&json!({"deployed": push.r#ref, "commits": push.commits.len()}))
            }
            // The sender's mistake: a 422.
            Err(_) => Err(ExecutorError::invalid("the payload is no push")),
        },
        Some("report") => Outcome::json_text(invocation.envelope().post().unwrap_or_default()),
        // The others answer with their envelope.
        _ => Outcome::json_text(invocation.into_envelope().into_string()),
    }
}
