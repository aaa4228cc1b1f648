//! The configuration file.

use std::collections::BTreeSet;

use servers::Error;
use tower_webhook::content::json::JsonKind;
use tower_webhook::credential::Secret;
use tower_webhook::key::Owner;

use crate::json::{Members, Value, sent};
use crate::rules::{Rule, TriggerTypes};
use crate::schema::Schema;
use crate::scopes::Grants;

/// How long a token works if nothing else is said.
const DAY: i64 = 86_400;

/// What a configuration file says.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) validate_payload: bool,
    pub(crate) users: BTreeSet<String>,
    pub(crate) tokens: Vec<NewToken>,
    pub(crate) api_keys: Vec<NewApiKey>,
    pub(crate) types: TriggerTypes,
    pub(crate) rules: Vec<Rule>,
}

/// A token that is to be imported.
#[derive(Debug)]
pub(crate) struct NewToken {
    pub(crate) token: Secret,
    pub(crate) user: Owner,
    /// Seconds after the import.
    pub(crate) expires_in: i64,
}

/// An API key that is to be imported.
#[derive(Debug)]
pub(crate) struct NewApiKey {
    pub(crate) key: Secret,
    pub(crate) user: Owner,
    pub(crate) enabled: bool,
    /// A JSON object.
    pub(crate) metadata: String,
    /// A JSON array; `None` for a key that may do everything.
    pub(crate) scopes: Option<String>,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    ///
    /// The text is no JSON, or contradicts itself. The error shows no credential.
    pub(crate) fn read(text: &str) -> Result<Self, Error> {
        let config = Value::read(text.as_bytes())?;
        let members = config.as_object().ok_or("the configuration is not of type 'object'")?;
        let mut types = TriggerTypes::new()?;
        for value in list(&members, "trigger_types")? {
            let (name, schema) = read_type(value)?;
            if !types.add(name, schema) {
                return Err("a trigger type is there twice".into());
            }
        }
        let validate_payload = match sent(&members, "validate_trigger_payload") {
            Some(value) => value.as_bool().ok_or("'validate_trigger_payload' is a boolean")?,
            None => true,
        };
        let users = match sent(&members, "users") {
            Some(users) => users.as_texts().ok_or("'users' is a list of texts")?,
            None => Vec::new(),
        };
        let read_all = |name| list(&members, name);
        let tokens = read_all("tokens")?.into_iter().map(read_token);
        let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
        let api_keys = read_all("api_keys")?.into_iter().map(read_api_key);
        let api_keys = api_keys.collect::<Result<Vec<_>, _>>()?;
        let rules = read_all("rules")?.into_iter().map(|value| Rule::new(value, &types));
        let rules = rules.collect::<Result<Vec<_>, _>>();
        let rules = rules.map_err(|reason| format!("a rule is not valid: {reason}"))?;
        check_distinct("token", tokens.iter().map(|new| new.token.expose_secret()))?;
        check_distinct("API key", api_keys.iter().map(|new| new.key.expose_secret()))?;
        check_distinct("rule name", rules.iter().map(|rule| rule.name.as_str()))?;
        let users = users.into_iter().collect();
        Ok(Self { validate_payload, users, tokens, api_keys, types, rules })
    }
}

/// # Errors
///
/// Returns an error if one of the texts is there twice, and does not show it.
pub(crate) fn check_distinct<'a>(
    what: &str,
    mut texts: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    if texts.all(|text| seen.insert(text)) {
        Ok(())
    } else {
        Err(format!("a {what} is there twice"))
    }
}

fn list<'a>(members: &Members<'a>, name: &str) -> Result<Vec<Value<'a>>, String> {
    match sent(members, name) {
        Some(value) => value.as_array().ok_or_else(|| format!("'{name}' is a list")),
        None => Ok(Vec::new()),
    }
}

fn read_type(value: Value<'_>) -> Result<(String, Option<Schema>), String> {
    let members = value.as_object().ok_or("a trigger type is an object")?;
    let name = sent(&members, "ref").and_then(Value::as_text);
    let name =
        name.filter(|name| !name.is_empty()).ok_or("the 'ref' of a trigger type is a text")?;
    let schema = sent(&members, "payload_schema").map(Schema::read).transpose();
    Ok((name.clone(), schema.map_err(|reason| format!("trigger type {name}: {reason}"))?))
}

fn read_token(value: Value<'_>) -> Result<NewToken, String> {
    let members = known_members("token", value, &["token", "user", "expires_in"])?;
    let expires_in = match sent(&members, "expires_in") {
        None => DAY,
        Some(value) if value.is_integer() => {
            // What is too large for the type is never, or was always, over.
            let limit = if value.text().starts_with('-') { i64::MIN } else { i64::MAX };
            value.text().parse().unwrap_or(limit)
        }
        Some(_) => return Err("the 'expires_in' of a token is an integer".to_owned()),
    };
    let (token, user) = (secret(&members, "token")?, user(&members)?);
    Ok(NewToken { token, user, expires_in })
}

fn read_api_key(value: Value<'_>) -> Result<NewApiKey, String> {
    let names = ["key", "user", "enabled", "scopes", "metadata"];
    let members = known_members("API key", value, &names)?;
    let enabled = match sent(&members, "enabled") {
        Some(value) => value.as_bool().ok_or("the 'enabled' of an API key is a boolean")?,
        None => true,
    };
    let metadata = match sent(&members, "metadata") {
        Some(value) if value.kind() == JsonKind::Object => value.text(),
        Some(_) => return Err("the 'metadata' of an API key is an object".to_owned()),
        None => "{}",
    };
    let scopes = sent(&members, "scopes");
    scopes.map(Grants::read).transpose()?;
    Ok(NewApiKey {
        key: secret(&members, "key")?,
        user: user(&members)?,
        enabled,
        metadata: metadata.to_owned(),
        scopes: scopes.map(|scopes| scopes.text().to_owned()),
    })
}

fn known_members<'a>(what: &str, value: Value<'a>, names: &[&str]) -> Result<Members<'a>, String> {
    let members =
        value.as_object().ok_or_else(|| format!("a member of the {what}s is no object"))?;
    match members.iter().all(|(name, _)| names.contains(&&**name)) {
        true => Ok(members),
        false => Err(format!("a {what} has a member that is not known")),
    }
}

fn secret(members: &Members<'_>, name: &str) -> Result<Secret, String> {
    let text = sent(members, name).and_then(Value::as_text).filter(|text| !text.is_empty());
    text.map(Secret::new).ok_or_else(|| format!("a '{name}' is a text that is not empty"))
}

fn user(members: &Members<'_>) -> Result<Owner, String> {
    let text = sent(members, "user").and_then(Value::as_text).unwrap_or_default();
    Owner::new(text).map_err(|_| "a 'user' is a text of 1 to 255 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_has_its_default() {
        let config = Config::read("{}").unwrap();
        assert!(config.validate_payload && config.users.is_empty() && config.rules.is_empty());

        let config = Config::read(
            r#"{"tokens":[{"token":"t","user":"u"}],"api_keys":[{"key":"k","user":"u"}],"other":1}"#,
        )
        .unwrap();
        assert_eq!(config.tokens[0].expires_in, 86_400);
        assert!(config.api_keys[0].enabled && config.api_keys[0].scopes.is_none());
        assert_eq!(config.api_keys[0].metadata, "{}");
    }

    #[test]
    fn the_demo_is_valid() {
        assert_eq!(Config::read(crate::DEMO).unwrap().rules.len(), 2);
    }

    #[test]
    fn contradictions_are_refused() {
        let rule = r#"{"name":"r","trigger":{"type":"core.st2.webhook","parameters":{"url":"a"}}}"#;
        for text in [
            "",
            "[]",
            "{",
            r#"{"users":[],"users":[]}"#,
            r#"{"users":[1]}"#,
            r#"{"users":"bill"}"#,
            r#"{"validate_trigger_payload":"no"}"#,
            r#"{"tokens":[{"token":"t","user":"u"},{"token":"t","user":"v"}]}"#,
            r#"{"tokens":[{"token":"t"}]}"#,
            r#"{"tokens":[{"user":"u"}]}"#,
            r#"{"tokens":[{"token":"","user":"u"}]}"#,
            r#"{"tokens":[{"token":"t","user":"u","scopes":[]}]}"#,
            r#"{"tokens":[{"token":"t","user":"u","expires_in":"1"}]}"#,
            r#"{"api_keys":[{"key":"k","user":"u"},{"key":"k","user":"u"}]}"#,
            r#"{"api_keys":[{"key":"k","user":"u","scope":[]}]}"#,
            r#"{"api_keys":[{"key":"k","user":"u","scopes":["fly"]}]}"#,
            r#"{"api_keys":[{"key":"k","user":"u","scopes":["webhook_send:"]}]}"#,
            r#"{"api_keys":[{"key":"k","user":"u","scopes":"webhook_send"}]}"#,
            r#"{"api_keys":[{"key":"k","user":"u","metadata":[]}]}"#,
            r#"{"api_keys":[{"key":"k","user":"u","enabled":1}]}"#,
            r#"{"trigger_types":[{"ref":"a"},{"ref":"a"}]}"#,
            r#"{"trigger_types":[{"ref":"core.st2.webhook"}]}"#,
            r#"{"trigger_types":[{"ref":"a","payload_schema":{"minimum":1}}]}"#,
            r#"{"trigger_types":[{}]}"#,
            r#"{"rules":[{}]}"#,
            r#"{"rules":{}}"#,
            &format!(r#"{{"rules":[{rule},{rule}]}}"#),
        ] {
            assert!(Config::read(text).is_err(), "{text}");
        }
        assert!(Config::read(&format!(r#"{{"rules":[{rule}]}}"#)).is_ok());
    }

    #[test]
    fn a_token_and_a_key_may_have_one_text() {
        let text = r#"{"tokens":[{"token":"t","user":"u"}],"api_keys":[{"key":"t","user":"u"}]}"#;
        assert!(Config::read(text).is_ok());
    }

    #[test]
    fn an_expiry_of_any_size_is_read() {
        for (seconds, expected) in [
            ("-60", -60),
            ("0", 0),
            ("99999999999999999999", i64::MAX),
            ("-99999999999999999999", i64::MIN),
        ] {
            let text =
                format!(r#"{{"tokens":[{{"token":"t","user":"u","expires_in":{seconds}}}]}}"#);
            assert_eq!(Config::read(&text).unwrap().tokens[0].expires_in, expected);
        }
    }
}
