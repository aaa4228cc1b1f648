//! Rules are made, listed, read, changed and deleted.

use http::StatusCode;

use super::{Answer, Call, Server, page_of, value};
use crate::accounts::Caller;
use crate::answer::{Refusal, json, no_content};
use crate::json::Value;
use crate::payload::Accepts;
use crate::rules::Rule;
use crate::schema::not_of_type;
use crate::scopes::Permission;
use crate::storage::Saved;

impl Server {
    /// By pack, then by name.
    pub(super) async fn list_rules(&self, call: &Call<'_>) -> Answer {
        let query = call.query();
        let page = query.page().map_err(Refusal::invalid)?;
        let enabled = query.truth("enabled").map_err(Refusal::invalid)?;
        let (name, pack) = (query.filter("name"), query.filter("pack"));
        let (trigger, action) = (query.filter("trigger"), query.filter("action"));
        let is_wanted = |rule: &Rule| {
            name.fits(&rule.name)
                && pack.fits(&rule.pack)
                && trigger.fits(&rule.trigger_type)
                && action.fits_any(rule.action_ref().as_deref())
                && enabled.iter().all(|enabled| *enabled == rule.enabled)
        };
        let rules = self.storage.rules().await?.into_iter().filter(is_wanted);
        Ok(page_of(rules.map(|rule| rule.record()).collect(), page))
    }

    pub(super) async fn view_rule(&self, reference: &str) -> Answer {
        let rule = self.storage.rule(reference).await?.ok_or_else(unknown)?;
        Ok(json(StatusCode::OK, rule.record()))
    }

    pub(super) async fn create_rule(&self, call: &Call<'_>) -> Answer {
        let text = call.read(Accepts::JsonOnly)?;
        let record = object(&text)?;
        let rule = Rule::new(record, &self.types).map_err(Refusal::invalid)?;
        check_hook(call.caller, rule.hook.as_deref())?;
        match self.storage.create_rule(&rule).await? {
            Saved::Done => Ok(json(StatusCode::CREATED, rule.record())),
            Saved::Taken(id) => Err(Refusal::taken(id)),
        }
    }

    pub(super) async fn change_rule(&self, call: &Call<'_>, reference: &str) -> Answer {
        let text = call.read(Accepts::JsonOnly)?;
        let record = object(&text)?;
        let change = |old: Option<Rule>| {
            let old = old.ok_or_else(unknown)?;
            let new = old.changed(record, &self.types).map_err(Refusal::invalid)?;
            if new.hook != old.hook {
                check_hook(call.caller, new.hook.as_deref())?;
            }
            Ok::<_, Refusal>(new)
        };
        match self.storage.change_rule(reference, change).await? {
            (rule, Saved::Done) => Ok(json(StatusCode::OK, rule.record())),
            (_, Saved::Taken(id)) => Err(Refusal::taken(id)),
        }
    }

    pub(super) async fn delete_rule(&self, reference: &str) -> Answer {
        match self.storage.delete_rule(reference).await? {
            true => Ok(no_content()),
            false => Err(unknown()),
        }
    }
}

/// The record in a body.
fn object(text: &str) -> Result<Value<'_>, Refusal> {
    let record = value(text)?;
    match record.as_object() {
        Some(_) => Ok(record),
        None => Err(Refusal::invalid(format!("The rule {}", not_of_type(["object"])))),
    }
}

/// Whether the caller may register a hook.
fn check_hook(caller: &Caller, hook: Option<&str>) -> Result<(), Refusal> {
    match hook {
        Some(hook) if !caller.grants.allow(Permission::WebhookCreate, Some(hook)) => {
            let user = &caller.user;
            Err(Refusal::forbidden(format!(
                "User \"{user}\" doesn't have required permission (webhook_create) to use trigger \
                 core.st2.webhook"
            )))
        }
        _ => Ok(()),
    }
}

fn unknown() -> Refusal {
    Refusal::not_found("The rule is not found.")
}
