//! The configuration: its shape, and the contradictions with which the server does not start.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::Hash;

use http::{HeaderName, Method, StatusCode};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tower_webhook::content::json::JsonKind;

use crate::fields::{Field, FieldType};
use crate::json::Json;

/// Everything that is read at every start. Nothing of it is stored.
#[derive(Debug, Deserialize)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) users: Vec<User>,
    #[serde(default)]
    pub(crate) nodes: Vec<Node>,
    #[serde(default)]
    pub(crate) walkers: Vec<Walker>,
    /// Whether the addresses are described at `/openapi.json`. Not part of the protocol of version 0.2.0.
    #[serde(default)]
    pub(crate) openapi: bool,
    /// Whether a key may be made with `rate_limit_per_minute`. Not part of that protocol either.
    #[serde(default)]
    pub(crate) rate_limits: bool,
}

/// A user, who manages keys. The walkers of a key run on the root of its user.
#[derive(Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) root_id: String,
}

/// A node of a user's graph.
#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) r#type: String,
    /// The name of a user.
    pub(crate) owner: String,
}

/// A handler that enters a node.
#[derive(Debug, Deserialize)]
pub(crate) struct Walker {
    pub(crate) name: String,
    /// Where its key sits. Without this the walker is not called from outside.
    #[serde(default)]
    pub(crate) webhook: Option<Webhook>,
    /// Whether a key is needed.
    #[serde(default = "yes")]
    pub(crate) auth: bool,
    #[serde(default)]
    path: Option<String>,
    #[serde(default = "post", deserialize_with = "methods")]
    pub(crate) methods: Vec<Method>,
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, Field>,
    /// What it reports, in this order.
    #[serde(default)]
    pub(crate) reports: Option<Vec<Box<RawValue>>>,
    #[serde(default)]
    pub(crate) report_fields: bool,
    #[serde(default)]
    pub(crate) report_node: bool,
    #[serde(default)]
    pub(crate) report_nothing: bool,
    #[serde(default = "ok", deserialize_with = "status")]
    pub(crate) status: StatusCode,
    /// The text of the error it fails with.
    #[serde(default)]
    pub(crate) raise: Option<String>,
}

/// Where a key sits.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Webhook {
    #[serde(default)]
    pub(crate) r#type: PlaceType,
    #[serde(default = "default_name")]
    pub(crate) name: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PlaceType {
    #[default]
    Header,
    Query,
    Path,
    Body,
}

impl Config {
    /// Reads a configuration and refuses one that contradicts itself.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let checked = Json::parse(text.as_bytes())
            .map_err(|error| format!("the configuration is no JSON: {error}"))?;
        if checked.kind() != JsonKind::Object {
            return Err("the configuration is no JSON object".to_owned());
        }
        let config: Self = serde_json::from_str(checked.as_str()).map_err(|error| shown(&error))?;
        config.check()?;
        Ok(config)
    }

    /// The user who is called so.
    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    fn check(&self) -> Result<(), String> {
        unique("user names", self.users.iter().map(|user| &user.name))?;
        unique("tokens", self.users.iter().map(|user| &user.token))?;
        unique("root ids", self.users.iter().map(|user| &user.root_id))?;
        let roots = self.users.iter().map(|user| &user.root_id);
        unique("ids of nodes and roots", self.nodes.iter().map(|node| &node.id).chain(roots))?;
        unique("walker names", self.walkers.iter().map(|walker| &walker.name))?;

        for user in &self.users {
            check_id(&user.root_id).map_err(|error| format!("user {:?}: {error}", user.name))?;
        }
        for (index, node) in self.nodes.iter().enumerate() {
            check_id(&node.id).map_err(|error| format!("node {index}: {error}"))?;
            if self.user(&node.owner).is_none() {
                return Err(format!("node {index}: the owner is no user"));
            }
        }
        self.walkers.iter().try_for_each(|walker| {
            walker.check().map_err(|error| format!("walker {:?}: {error}", walker.name))
        })
    }
}

impl Walker {
    fn check(&self) -> Result<(), &'static str> {
        if self.methods.is_empty() {
            return Err("there is no method");
        }
        let has_file = self.fields.values().any(|field| field.r#type == FieldType::File);
        if has_file && self.methods.contains(&Method::GET) {
            return Err("a file comes in a body, which GET does not have");
        }
        if matches!(self.status.as_u16(), 204 | 205 | 304) {
            return Err("an answer with this status has no body");
        }
        self.webhook.as_ref().map_or(Ok(()), |webhook| webhook.check(self.path.as_deref()))
    }
}

impl Webhook {
    fn check(&self, path: Option<&str>) -> Result<(), &'static str> {
        if self.name.is_empty() {
            return Err("the name of the key's place is empty");
        }
        match (self.r#type, path) {
            (PlaceType::Path, Some(path)) if path != format!("/{{{}}}", self.name) => {
                Err("the path does not name the key's place")
            }
            (PlaceType::Path, Some(_)) => Ok(()),
            (PlaceType::Path, None) => Err("a key in the path needs a path"),
            (_, Some(_)) => Err("there is a path, and the key is not in it"),
            (PlaceType::Header, None) if HeaderName::try_from(&self.name).is_err() => {
                Err("the name of the key's place is no header name")
            }
            _ => Ok(()),
        }
    }
}

fn unique<T: Eq + Hash>(what: &str, items: impl IntoIterator<Item = T>) -> Result<(), String> {
    let mut seen = HashSet::new();
    if items.into_iter().all(|item| seen.insert(item)) {
        Ok(())
    } else {
        Err(format!("the {what} are not unique"))
    }
}

fn check_id(id: &str) -> Result<(), &'static str> {
    let is_id = id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { Ok(()) } else { Err("the id does not have 24 hexadecimal digits") }
}

/// The text of an error, without the values that it quotes: one of them may be a token.
fn shown(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("unknown variant") || text.starts_with("missing field") {
        return format!("the configuration: {text}");
    }
    format!(
        "the configuration: a value does not fit at line {} column {}",
        error.line(),
        error.column()
    )
}

const fn yes() -> bool {
    true
}

const fn ok() -> StatusCode {
    StatusCode::OK
}

fn post() -> Vec<Method> {
    vec![Method::POST]
}

fn default_name() -> String {
    "X-API-KEY".to_owned()
}

fn methods<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Method>, D::Error> {
    #[derive(Clone, Copy, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Name {
        Get,
        Post,
        Put,
        Patch,
        Delete,
    }

    let mut methods = Vec::new();
    for name in Vec::<Name>::deserialize(deserializer)? {
        let method = match name {
            Name::Get => Method::GET,
            Name::Post => Method::POST,
            Name::Put => Method::PUT,
            Name::Patch => Method::PATCH,
            Name::Delete => Method::DELETE,
        };
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    Ok(methods)
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StatusCode, D::Error> {
    let status = u16::deserialize(deserializer)?;
    let status = Some(status).filter(|status| (200..=599).contains(status));
    status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| serde::de::Error::custom("a status is a number from 200 to 599"))
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "65f0a1b2c3d4e5f6a7b8c9d0";
    const ROOT_2: &str = "75f0a1b2c3d4e5f6a7b8c9d1";
    const NODE: &str = "85f0a1b2c3d4e5f6a7b8c9d2";

    fn walker(members: &str) -> Result<Config, String> {
        Config::parse(&format!(r#"{{"walkers": [{{"name": "w", {members}}}]}}"#))
    }

    #[test]
    fn the_demo_is_a_configuration() {
        assert!(!Config::parse(include_str!("demo.json")).unwrap().walkers.is_empty());
    }

    #[test]
    fn everything_has_a_default() {
        let config = walker(r#""webhook": {}"#).unwrap();
        let walker = &config.walkers[0];
        let webhook = walker.webhook.as_ref().unwrap();
        assert_eq!((webhook.r#type, webhook.name.as_str()), (PlaceType::Header, "X-API-KEY"));
        assert!(walker.auth);
        assert_eq!(walker.methods, [Method::POST]);
        assert_eq!(walker.status, StatusCode::OK);
        let config = self::walker(r#""webhook": null, "path": "/else""#).unwrap();
        assert!(config.walkers[0].webhook.is_none());
    }

    #[test]
    fn contradictions_of_a_walker_are_refused() {
        for members in [
            r#""webhook": {"type": "cookie"}"#,
            r#""webhook": {"type": "Header"}"#,
            r#""webhook": {"name": ""}"#,
            r#""webhook": {"name": "a b"}"#,
            r#""webhook": {"name": "é"}"#,
            r#""webhook": {"type": "query", "name": ""}"#,
            r#""webhook": {"type": "body", "name": ""}"#,
            r#""webhook": {"type": "path", "name": "k"}"#,
            r#""webhook": {"type": "path", "name": "k"}, "path": "/k""#,
            r#""webhook": {"type": "path", "name": "k"}, "path": "{k}""#,
            r#""webhook": {"type": "path", "name": "k"}, "path": "/{l}""#,
            r#""webhook": {"type": "path", "name": ""}, "path": "/{}""#,
            r#""webhook": {"name": "k"}, "path": "/{k}""#,
            r#""webhook": {"type": "query", "name": "k"}, "path": "/{k}""#,
            r#""webhook": {"type": "body", "name": "k"}, "path": "/{k}""#,
            r#""methods": ["head"]"#,
            r#""methods": ["POST"]"#,
            r#""methods": []"#,
            r#""fields": {"a": {"type": "complex"}}"#,
            r#""fields": {"a": {}}"#,
            r#""methods": ["post", "get"], "fields": {"a": {"type": "file"}}"#,
            r#""status": 199"#,
            r#""status": 600"#,
            r#""status": 204"#,
            r#""status": 205"#,
            r#""status": 304"#,
            r#""status": "200""#,
            r#""auth": 1"#,
            r#""name": "twice""#,
        ] {
            assert!(walker(members).is_err(), "{members}");
        }
        for members in [
            r#""webhook": {"type": "query", "name": "é k"}"#,
            r#""webhook": {"type": "path", "name": "k"}, "path": "/{k}""#,
            r#""methods": ["get", "post", "put", "patch", "delete"]"#,
            r#""status": 599"#,
            r#""fields": {"a": {"type": "file"}}, "methods": ["put"]"#,
        ] {
            assert!(walker(members).is_ok(), "{members}");
        }
    }

    #[test]
    fn contradictions_of_users_and_nodes_are_refused() {
        let config = |second: &str, nodes: &str| {
            Config::parse(&format!(
                r#"{{"users": [{{"name": "a", "token": "t", "root_id": "{ROOT}"}}, {second}],
                    "nodes": [{nodes}]}}"#
            ))
        };
        let user = |name: &str, token: &str, root: &str| {
            format!(r#"{{"name": "{name}", "token": "{token}", "root_id": "{root}"}}"#)
        };
        let node = |id: &str, owner: &str| {
            format!(r#"{{"id": "{id}", "type": "Nd", "owner": "{owner}"}}"#)
        };
        let fine = user("b", "u", ROOT_2);
        assert!(config(&fine, &node(NODE, "b")).is_ok());
        for second in [
            user("a", "u", ROOT_2),
            user("b", "t", ROOT_2),
            user("b", "u", ROOT),
            user("b", "u", "75f0"),
            user("b", "u", "75f0a1b2c3d4e5f6a7b8c9dg"),
        ] {
            assert!(config(&second, "").is_err(), "{second}");
        }
        for nodes in [
            node(NODE, "stranger"),
            node("zz", "a"),
            node(ROOT_2, "a"),
            [node(NODE, "a"), node(NODE, "b")].join(","),
        ] {
            assert!(config(&fine, &nodes).is_err(), "{nodes}");
        }
    }

    #[test]
    fn a_text_that_is_no_configuration_is_refused_and_not_shown() {
        for text in ["", "[]", "{", r#"{"users": [], "users": []}"#, r#"{"walkers": [{}]}"#] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
        let error = Config::parse(r#"{"users": ["user-token"]}"#).unwrap_err();
        assert!(!error.contains("user-token"), "{error}");
    }
}
