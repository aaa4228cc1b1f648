//! Rules: which hook a rule registers, and what a rule has to look like.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use servers::Error;
use tower_webhook::content::json::JsonKind;
use uuid::Uuid;

use crate::address::registered_hook;
use crate::json::{Object, Value, sent};
use crate::schema::{Schema, not_of_type};

/// The type of the triggers that hooks have.
pub(crate) const WEBHOOK: &str = "core.st2.webhook";

/// The payload of a hook's trigger.
const WEBHOOK_SCHEMA: &str = r#"{"type": "object", "properties": {
    "headers": {"type": "object"}, "headers_lower": {"type": "object"}, "body": {"type": ["object", "array"]}}}"#;

/// The trigger types that are known, and what the payload of each has to look like.
#[derive(Clone, Debug, Default)]
pub(crate) struct TriggerTypes(BTreeMap<String, Option<Schema>>);

impl TriggerTypes {
    /// The type of hooks alone.
    pub(crate) fn new() -> Result<Self, String> {
        let schema = Value::read(WEBHOOK_SCHEMA.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self(BTreeMap::from([(WEBHOOK.to_owned(), Some(Schema::read(schema)?))])))
    }

    /// Adds a type. `false` if there is one of that name.
    pub(crate) fn add(&mut self, name: String, schema: Option<Schema>) -> bool {
        self.0.insert(name, schema).is_none()
    }

    fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Checks the payload of a trigger. No payload counts as `null`.
    ///
    /// # Errors
    ///
    /// Says which rule is broken, and nothing of the payload.
    pub(crate) fn check(&self, name: &str, payload: Option<Value<'_>>) -> Result<(), String> {
        let Some(schema) = self.0.get(name) else {
            return Err(format!(
                "Trigger type with reference \"{name}\" doesn't exist in the database"
            ));
        };
        match (schema, payload) {
            (None, _) => Ok(()),
            (Some(schema), Some(payload)) => schema.check(payload),
            (Some(schema), None) => match Value::read(b"null") {
                Ok(null) => schema.check(null),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

/// A rule. What it does when its trigger fires is kept and given back, and nothing here evaluates it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) pack: String,
    pub(crate) description: String,
    pub(crate) enabled: bool,
    pub(crate) trigger_type: String,
    /// A JSON object, as it was sent.
    pub(crate) parameters: String,
    /// The hook that the rule registers.
    pub(crate) hook: Option<String>,
    /// A JSON text, as it was sent.
    pub(crate) criteria: Option<String>,
    /// A JSON text, as it was sent.
    pub(crate) action: Option<String>,
}

impl Rule {
    /// Reads a new rule, and gives it an id.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it, and shows none of its values.
    pub(crate) fn new(record: Value<'_>, types: &TriggerTypes) -> Result<Self, String> {
        Self::read(Uuid::new_v4().simple().to_string(), None, record, types)
    }

    /// The rule after a change. Members that are not sent stay, and a trigger is replaced as a whole.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the change, and shows none of its values.
    pub(crate) fn changed(&self, record: Value<'_>, types: &TriggerTypes) -> Result<Self, String> {
        Self::read(self.id.clone(), Some(self), record, types)
    }

    pub(crate) fn reference(&self) -> String {
        format!("{}.{}", self.pack, self.name)
    }

    /// The `ref` in the action.
    pub(crate) fn action_ref(&self) -> Option<String> {
        let action = Value::read(self.action.as_ref()?.as_bytes()).ok()?;
        sent(&action.as_object()?, "ref")?.as_text()
    }

    /// The rule as a JSON text.
    pub(crate) fn record(&self) -> String {
        let trigger =
            Object::new().text("type", &self.trigger_type).raw("parameters", &self.parameters);
        Object::new()
            .text("id", &self.id)
            .text("ref", &self.reference())
            .text("name", &self.name)
            .text("pack", &self.pack)
            .text("description", &self.description)
            .bool("enabled", self.enabled)
            .raw("trigger", &trigger.finish())
            .maybe("criteria", self.criteria.as_deref())
            .maybe("action", self.action.as_deref())
            .finish()
    }

    /// A member that is not sent comes from the old rule, or has its default.
    fn read(
        id: String,
        old: Option<&Self>,
        record: Value<'_>,
        types: &TriggerTypes,
    ) -> Result<Self, String> {
        let members = record.as_object().ok_or("a rule is not of type 'object'")?;
        let text = |name: &str, old: Option<&String>| match (sent(&members, name), old) {
            (Some(value), _) => value.as_text().map(Some).ok_or_else(|| wrong(name, "string")),
            (None, old) => Ok(old.cloned()),
        };
        let raw = |name: &str, old: Option<&String>| match sent(&members, name) {
            Some(value) => Some(value.text().to_owned()),
            None => old.cloned(),
        };
        let name = text("name", old.map(|old| &old.name))?.ok_or_else(|| required("name"))?;
        let pack = text("pack", old.map(|old| &old.pack))?.unwrap_or_else(|| "default".to_owned());
        if name.is_empty() || pack.is_empty() {
            return Err("a name and a pack are not empty".to_owned());
        }
        let enabled = match (sent(&members, "enabled"), old) {
            (Some(value), _) => value.as_bool().ok_or_else(|| wrong("enabled", "boolean"))?,
            (None, old) => old.is_none_or(|old| old.enabled),
        };
        let trigger = match (sent(&members, "trigger"), old) {
            (Some(trigger), _) => Trigger::read(trigger, types)?,
            (None, Some(old)) => Trigger::of(old),
            (None, None) => return Err(required("trigger")),
        };
        Ok(Self {
            id,
            name,
            pack,
            description: text("description", old.map(|old| &old.description))?.unwrap_or_default(),
            enabled,
            trigger_type: trigger.name,
            parameters: trigger.parameters,
            hook: trigger.hook,
            criteria: raw("criteria", old.and_then(|old| old.criteria.as_ref())),
            action: raw("action", old.and_then(|old| old.action.as_ref())),
        })
    }
}

struct Trigger {
    name: String,
    parameters: String,
    hook: Option<String>,
}

impl Trigger {
    fn of(rule: &Rule) -> Self {
        Self {
            name: rule.trigger_type.clone(),
            parameters: rule.parameters.clone(),
            hook: rule.hook.clone(),
        }
    }

    fn read(trigger: Value<'_>, types: &TriggerTypes) -> Result<Self, String> {
        let members = trigger.as_object().ok_or_else(|| wrong("trigger", "object"))?;
        let name = sent(&members, "type").ok_or_else(|| required("type"))?;
        let name = name.as_text().ok_or_else(|| wrong("type", "string"))?;
        if !types.contains(&name) {
            return Err("the trigger type doesn't exist in the database".to_owned());
        }
        let parameters = sent(&members, "parameters");
        if parameters.is_some_and(|parameters| parameters.kind() != JsonKind::Object) {
            return Err(wrong("parameters", "object"));
        }
        let hook = match name.as_str() {
            WEBHOOK => Some(read_hook(parameters)?),
            _ => None,
        };
        let parameters = parameters.map_or("{}", Value::text).to_owned();
        Ok(Self { name, parameters, hook })
    }
}

/// The name of the hook in a trigger's parameters.
fn read_hook(parameters: Option<Value<'_>>) -> Result<String, String> {
    let members = parameters.and_then(Value::as_object).unwrap_or_default();
    let url = members.iter().find(|(name, _)| name == "url").map(|(_, value)| *value);
    let url = url.ok_or_else(|| required("url"))?;
    if members.len() > 1 {
        return Err("Additional properties are not allowed in the trigger's parameters".to_owned());
    }
    let url = url.as_text().ok_or_else(|| wrong("url", "string"))?;
    let hook = registered_hook(&url).ok_or("the url of a hook has more than slashes in it")?;
    Ok(hook.to_owned())
}

fn required(name: &str) -> String {
    format!("'{name}' is a required property")
}

fn wrong(name: &str, kind: &str) -> String {
    format!("'{name}' {}", not_of_type([kind]))
}

/// The rules in the YAML files of a folder.
///
/// # Errors
///
/// The folder or a file cannot be read, or a file is no valid rule.
pub(crate) fn read_folder(folder: &Path, types: &TriggerTypes) -> Result<Vec<Rule>, Error> {
    let entries = fs::read_dir(folder).map_err(|error| fault(folder, error))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut paths = paths.map_err(|error| fault(folder, error))?;
    paths.retain(|path| path.extension().is_some_and(|name| name == "yaml" || name == "yml"));
    paths.sort();
    paths.iter().map(|path| read_file(path, types)).collect()
}

fn read_file(path: &Path, types: &TriggerTypes) -> Result<Rule, Error> {
    let text = fs::read_to_string(path).map_err(|error| fault(path, error))?;
    let record: serde_json::Value =
        serde_saphyr::from_str(&text).map_err(|error| fault(path, no_yaml(&error)))?;
    let record = record.to_string();
    let record = Value::read(record.as_bytes()).map_err(|error| fault(path, error))?;
    Rule::new(record, types).map_err(|reason| fault(path, reason))
}

fn fault(path: &Path, error: impl std::fmt::Display) -> Error {
    format!("{}: {error}", path.display()).into()
}

/// Where a file stops being YAML. Its text is not shown.
fn no_yaml(error: &serde_saphyr::Error) -> String {
    match error.location() {
        Some(place) => format!("the file is no YAML from line {} on", place.line()),
        None => "the file is no YAML".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types() -> TriggerTypes {
        let mut types = TriggerTypes::new().unwrap();
        assert!(types.add("git.push".to_owned(), None));
        types
    }

    fn rule(record: &str) -> Result<Rule, String> {
        Rule::read("1".to_owned(), None, Value::read(record.as_bytes()).unwrap(), &types())
    }

    const HOOK: &str =
        r#"{"name":"r","trigger":{"type":"core.st2.webhook","parameters":{"url":"/a/b/"}}}"#;

    #[test]
    fn what_is_not_sent_has_its_default() {
        let record = r#"{"id":"1","ref":"default.r","name":"r","pack":"default","description":"","enabled":true,"trigger":{"type":"core.st2.webhook","parameters":{"url":"/a/b/"}}}"#;
        let rule = rule(HOOK).unwrap();
        assert_eq!(rule.record(), record);
        assert_eq!(rule.hook.as_deref(), Some("a/b"));
    }

    #[test]
    fn members_of_its_own_are_kept_and_others_are_not() {
        let record = r#"{"id":"x","name":"r","pack":"p","description":"d","enabled":false,"other":1,
            "criteria":{"n":1.10},"action":{"ref":"core.local"},
            "trigger":{"type":"git.push","parameters":{"n":1e400},"other":1}}"#;
        let expected = r#"{"id":"1","ref":"p.r","name":"r","pack":"p","description":"d","enabled":false,"trigger":{"type":"git.push","parameters":{"n":1e400}},"criteria":{"n":1.10},"action":{"ref":"core.local"}}"#;
        let rule = rule(record).unwrap();
        assert_eq!(rule.record(), expected);
        assert_eq!(rule.action_ref().as_deref(), Some("core.local"));
        assert_eq!(rule.hook, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let trigger = |trigger: &str| format!(r#"{{"name":"r","trigger":{trigger}}}"#);
        let webhook = |parameters: &str| {
            trigger(&format!(r#"{{"type":"core.st2.webhook","parameters":{parameters}}}"#))
        };
        for (record, reason) in [
            (r#"{"trigger":{}}"#.to_owned(), "'name' is a required property"),
            (r#"{"name":null}"#.to_owned(), "'name' is a required property"),
            (r#"{"name":"r"}"#.to_owned(), "'trigger' is a required property"),
            (trigger("null"), "'trigger' is a required property"),
            (webhook("{}"), "'url' is a required property"),
            (webhook("null"), "'url' is a required property"),
            (trigger(r#"{"type":"core.st2.webhook"}"#), "'url' is a required property"),
            (webhook(r#"{"url":1}"#), "is not of type 'string'"),
            (webhook(r#"{"url":null}"#), "is not of type 'string'"),
            (r#"{"name":1,"trigger":{}}"#.to_owned(), "is not of type 'string'"),
            (webhook(r#"{"url":"a","x":1}"#), "Additional properties are not allowed"),
            (webhook(r#"{"url":""}"#), ""),
            (webhook(r#"{"url":"//"}"#), ""),
            (webhook("[]"), "is not of type 'object'"),
            (trigger(r#"{"type":"no.such"}"#), ""),
            (trigger(r#"{"type":1}"#), "is not of type 'string'"),
            (trigger("{}"), ""),
            (trigger("[]"), "is not of type 'object'"),
            (trigger(r#"{"type":"git.push","parameters":1}"#), "is not of type 'object'"),
            (HOOK.replace(r#""r""#, r#""""#), ""),
            (HOOK.replace(r#""r""#, r#""r","pack":"""#), ""),
            (HOOK.replace(r#""r""#, r#""r","pack":1"#), "is not of type 'string'"),
            (HOOK.replace(r#""r""#, r#""r","description":1"#), "is not of type 'string'"),
            (HOOK.replace(r#""r""#, r#""r","enabled":"x""#), "is not of type 'boolean'"),
            ("[]".to_owned(), "is not of type 'object'"),
        ] {
            let refused = rule(&record).unwrap_err();
            assert!(refused.contains(reason), "{record}: {refused}");
        }
    }

    #[test]
    fn a_change_keeps_what_is_not_sent() {
        let old = rule(HOOK).unwrap();
        let change = |change: &str| old.changed(Value::read(change.as_bytes()).unwrap(), &types());

        assert_eq!(change(r#"{"name":null,"id":"2"}"#).unwrap(), old);
        let changed = change(r#"{"enabled":false,"action":{}}"#).unwrap();
        assert_eq!((changed.hook.as_deref(), changed.enabled), (Some("a/b"), false));
        assert_eq!(changed.action.as_deref(), Some("{}"));
        assert!(change(r#"{"trigger":{"type":"core.st2.webhook"}}"#).is_err());
        assert_eq!(change(r#"{"trigger":{"type":"git.push"}}"#).unwrap().hook, None);
    }

    #[test]
    fn a_missing_payload_fits_where_nothing_is_asked_for() {
        let types = types();
        assert_eq!(types.check("git.push", None), Ok(()));
        assert!(types.check(WEBHOOK, None).unwrap_err().contains("is not of type 'object'"));
        let unknown = "Trigger type with reference \"doesnt.exist\" doesn't exist in the database";
        assert_eq!(types.check("doesnt.exist", None), Err(unknown.to_owned()));
        for (payload, fits) in [
            ("{}", true),
            (r#"{"headers":{},"headers_lower":{},"body":[]}"#, true),
            (r#"{"headers":[]}"#, false),
            (r#"{"body":"x"}"#, false),
        ] {
            let payload = Value::read(payload.as_bytes()).unwrap();
            assert_eq!(types.check(WEBHOOK, Some(payload)).is_ok(), fits);
        }
    }
}
