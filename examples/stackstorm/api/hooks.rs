//! Hooks are listed, read and called.

use http::StatusCode;
use tower_webhook::content::json::JsonKind;

use super::{Answer, Call, Server, value};
use crate::answer::{Refusal, json};
use crate::json::{Value, array, sent};
use crate::payload::{Accepts, check_shape, payload, trace_tag};
use crate::schema::not_of_type;
use crate::storage::{Event, Hook};

/// The hook that dispatches any trigger, as its body says.
const GENERIC: &str = "st2";

impl Server {
    pub(super) async fn list_hooks(&self) -> Answer {
        let hooks = self.storage.hooks().await?;
        Ok(json(StatusCode::OK, array(hooks.iter().map(Hook::record))))
    }

    pub(super) async fn view_hook(&self, name: &str) -> Answer {
        let hook = self.hook(name).await?;
        Ok(json(StatusCode::OK, hook.record()))
    }

    /// Dispatches a trigger, and answers with the body when that is on the disk.
    pub(super) async fn send(&self, call: &Call<'_>, name: &str) -> Answer {
        let text = call.read(Accepts::Anything)?;
        let body = value(&text)?;
        check_shape(body).map_err(Refusal::invalid)?;
        let tag = trace_tag(&call.head.headers, name);
        if name == GENERIC {
            let (trigger, payload) = self.read_trigger(body)?;
            let payload = payload.map(Value::text);
            let event = Event { trigger: &trigger, payload, trace_tag: &tag };
            self.storage.add_event(&event).await?;
        } else {
            let trigger = self.hook(name).await?.reference();
            let payload = payload(&call.head.headers, &text).map_err(Refusal::internal)?;
            let event = Event { trigger: &trigger, payload: Some(&payload), trace_tag: &tag };
            self.storage.add_event(&event).await?;
        }
        Ok(json(StatusCode::ACCEPTED, text))
    }

    async fn hook(&self, name: &str) -> Result<Hook, Refusal> {
        let hook = self.storage.hook(name).await?;
        hook.ok_or_else(|| Refusal::not_found(format!("Webhook {name} not registered with st2")))
    }

    /// The trigger and the payload that a body of the generic hook names.
    fn read_trigger<'a>(&self, body: Value<'a>) -> Result<(String, Option<Value<'a>>), Refusal> {
        let members = body.as_object();
        let members = members
            .ok_or_else(|| Refusal::invalid("Webhook body needs to be an object, got: array"))?;
        let trigger = match sent(&members, "trigger") {
            Some(trigger) => trigger.as_text().ok_or_else(|| {
                Refusal::invalid(format!("'trigger' {}", not_of_type(["string"])))
            })?,
            None => String::new(),
        };
        if trigger.is_empty() {
            return Err(Refusal::invalid("Trigger not specified."));
        }
        let payload = sent(&members, "payload");
        let checked = match payload {
            Some(payload) if payload.kind() != JsonKind::Object => Err(not_of_type(["object"])),
            _ if self.validate_payload => self.types.check(&trigger, payload),
            _ => Ok(()),
        };
        let failed = |reason| format!("Trigger payload validation failed: {reason}");
        checked.map_err(|reason| Refusal::invalid(failed(reason)))?;
        Ok((trigger, payload))
    }
}
