//! Walkers: the nodes that they enter, what they do there, and what the log says of it. The
//! configuration says what a walker reports, or that it fails.

use std::collections::HashMap;

use axum::response::Response;
use http::StatusCode;
use tower_webhook::key::{InvalidId, Owner};

use crate::answers::{completed, json};
use crate::config::{Config, Walker};
use crate::json::quoted;

/// The configured nodes, and a root for each user.
#[derive(Debug)]
pub(crate) struct Graph(HashMap<String, Node>);

/// A node in its stored form.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    id: String,
    /// `None` for a root.
    r#type: Option<String>,
    owner: Owner,
}

impl Graph {
    /// Keys and nodes belong to a user by the id of the user's root.
    pub(crate) fn new(config: &Config) -> Result<Self, InvalidId> {
        let mut nodes = HashMap::new();
        for user in &config.users {
            let (id, owner) = (user.root_id.clone(), Owner::new(&user.root_id)?);
            nodes.insert(id.clone(), Node { id, r#type: None, owner });
        }
        for node in &config.nodes {
            let Some(user) = config.user(&node.owner) else { continue };
            let (id, owner) = (node.id.clone(), Owner::new(&user.root_id)?);
            nodes.insert(id.clone(), Node { id, r#type: Some(node.r#type.clone()), owner });
        }
        Ok(Self(nodes))
    }

    /// The root of an owner. There is none for one who is not configured any more.
    pub(crate) fn root(&self, owner: &Owner) -> Option<&Node> {
        self.0.get(owner.as_str()).filter(|node| node.r#type.is_none())
    }

    /// The node of a reference `n:<type>:<id>`. The id alone selects.
    pub(crate) fn find(&self, reference: &str) -> Option<&Node> {
        let mut parts = reference.split(':');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("n"), Some(_), Some(id), None) => self.0.get(id),
            _ => None,
        }
    }
}

impl Node {
    /// The type by which keys are limited.
    pub(crate) fn r#type(&self) -> &str {
        self.r#type.as_deref().unwrap_or("root")
    }

    pub(crate) fn belongs_to(&self, owner: &Owner) -> bool {
        self.owner == *owner
    }

    /// `n:<type>:<id>`, and `n::<id>` for a root.
    pub(crate) fn reference(&self) -> String {
        format!("n:{}:{}", self.r#type.as_deref().unwrap_or_default(), self.id)
    }

    fn reported(&self) -> String {
        format!(r#"{{"id":{},"context":{{}}}}"#, quoted(&self.reference()))
    }
}

/// What a walker is given.
#[derive(Debug)]
pub(crate) struct Visit<'a> {
    /// An open walker has no owner, and no node to enter.
    pub(crate) node: Option<&'a Node>,
    /// A JSON object.
    pub(crate) fields: &'a str,
}

/// What a walker comes back with.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// JSON values.
    Reports(Vec<String>),
    /// Its error is not shown.
    Raised,
}

impl Walker {
    pub(crate) fn run(&self, visit: &Visit<'_>) -> Outcome {
        if self.raise.is_some() {
            return Outcome::Raised;
        }
        if self.report_nothing {
            return Outcome::Reports(Vec::new());
        }
        let fixed = self.reports.iter().flatten().map(|report| report.get().to_owned());
        let fields = self.report_fields.then(|| visit.fields.to_owned());
        let node = self.report_node.then(|| visit.node.map_or("null".to_owned(), Node::reported));
        Outcome::Reports(fixed.chain(fields).chain(node).collect())
    }

    /// The answer to the caller.
    pub(crate) fn answer(&self, outcome: &Outcome) -> Response {
        let response = match outcome {
            Outcome::Raised => {
                json(StatusCode::INTERNAL_SERVER_ERROR, r#"{"errors":["Internal Server Error"]}"#)
            }
            Outcome::Reports(reports) => {
                let status = self.status.as_u16();
                let body = match reports.as_slice() {
                    [] => format!(r#"{{"status":{status}}}"#),
                    some => format!(r#"{{"status":{status},"reports":[{}]}}"#, some.join(",")),
                };
                json(self.status, body)
            }
        };
        completed(response, &self.methods)
    }
}

/// The line of the execution log: what a walker was given.
pub(crate) fn log_entry(walker: &str, visit: &Visit<'_>) -> String {
    let node = visit.node.map_or("null".to_owned(), |node| quoted(&node.reference()));
    format!("{{\"walker\":{},\"node\":{node},\"fields\":{}}}", quoted(walker), visit.fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(members: &str) -> Outcome {
        let walker: Walker =
            serde_json::from_str(&format!(r#"{{"name": "w", {members}}}"#)).unwrap();
        walker.run(&Visit { node: None, fields: r#"{"a":1.0}"# })
    }

    #[test]
    fn reports_come_in_their_order() {
        let all = r#""report_node": true, "report_fields": true, "reports": [1.10, "x"]"#;
        let expected = ["1.10", "\"x\"", r#"{"a":1.0}"#, "null"].map(str::to_owned);
        assert_eq!(run(all), Outcome::Reports(expected.into()));
        assert_eq!(run(r#""webhook": {}"#), Outcome::Reports(Vec::new()));
        let none = format!(r#""report_nothing": true, {all}"#);
        assert_eq!(run(&none), Outcome::Reports(Vec::new()));
        assert_eq!(run(&format!(r#""raise": "", {none}"#)), Outcome::Raised);
    }

    const ROOT: &str = "65f0a1b2c3d4e5f6a7b8c9d0";
    const NODE: &str = "85f0a1b2c3d4e5f6a7b8c9d2";

    fn graph() -> Graph {
        let text = format!(
            r#"{{"users": [{{"name": "ann", "token": "t", "root_id": "{ROOT}"}}],
                "nodes": [{{"id": "{NODE}", "type": "Nd", "owner": "ann"}}]}}"#
        );
        Graph::new(&Config::parse(&text).unwrap()).unwrap()
    }

    #[test]
    fn the_id_selects_and_the_stored_type_counts() {
        let graph = graph();
        for r#type in ["", "root", "Nd", "é x"] {
            let root = graph.find(&format!("n:{type}:{ROOT}")).unwrap();
            assert_eq!((root.reference(), root.r#type()), (format!("n::{ROOT}"), "root"));
            let node = graph.find(&format!("n:{type}:{NODE}")).unwrap();
            assert_eq!((node.reference(), node.r#type()), (format!("n:Nd:{NODE}"), "Nd"));
        }
    }

    #[test]
    fn anything_else_names_nothing() {
        let upper = NODE.to_uppercase();
        for reference in ["", "n", "n:", "n::", NODE, "n:Nd:zz", &format!("N:Nd:{NODE}")] {
            assert!(graph().find(reference).is_none(), "{reference}");
        }
        for reference in [
            format!("n:Nd:{upper}"),
            format!("n:a:b:{NODE}"),
            format!("n:Nd:{NODE}:"),
            format!("n:{NODE}"),
        ] {
            assert!(graph().find(&reference).is_none(), "{reference}");
        }
    }

    #[test]
    fn a_node_is_no_root() {
        assert!(graph().root(&Owner::new(ROOT).unwrap()).is_some());
        assert!(graph().root(&Owner::new(NODE).unwrap()).is_none());
    }

    #[test]
    fn the_log_says_what_a_walker_was_given() {
        let visit = Visit { node: None, fields: r#"{"a":1.0}"# };
        let expected = r#"{"walker":"w\"","node":null,"fields":{"a":1.0}}"#;
        assert_eq!(log_entry("w\"", &visit), expected);
    }
}
