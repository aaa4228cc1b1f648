//! What a walker does: the configuration says what it reports, or that it fails.

use axum::response::Response;
use http::StatusCode;

use crate::answers::{completed, json};
use crate::config::Walker;
use crate::graph::Node;
use crate::json::quoted;

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
    /// Its error is nobody else's business.
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
        let node = self.report_node.then(|| visit.node.map_or("null".to_owned(), node));
        Outcome::Reports(fixed.chain(fields).chain(node).collect())
    }

    /// The answer to whoever called.
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

fn node(node: &Node) -> String {
    format!(r#"{{"id":{},"context":{{}}}}"#, quoted(&node.reference()))
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
}
