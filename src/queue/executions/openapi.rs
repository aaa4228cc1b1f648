//! The calls as an OpenAPI document.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::list::{DEFAULT_PAGE_LEN, MAX_PAGE_LEN};
use super::{Executions, view};
use crate::credential::OpenApiSecurity;
use crate::queue::JobState;
use crate::rejection::{Rejection, RejectionKind as Kind, openapi};

struct Call {
    method: &'static str,
    /// Behind the base path.
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    status: StatusCode,
    /// The schema of the response.
    schema: Option<&'static str>,
    /// Refusals beside those of every call.
    refused: &'static [Kind],
}

/// What every call may be refused for: by the layer in front, or because of the queue.
const ALWAYS: [Kind; 6] = [
    Kind::Ambiguous,
    Kind::Unknown,
    Kind::Forbidden,
    Kind::RateLimited,
    Kind::Internal,
    Kind::Unavailable,
];

const CALLS: [Call; 4] = [
    Call {
        method: "get",
        path: "",
        id: "listExecutions",
        summary: "Lists executions, newest first",
        status: StatusCode::OK,
        schema: Some("ExecutionPage"),
        refused: &[Kind::Invalid],
    },
    Call {
        method: "get",
        path: "/{id}",
        id: "getExecution",
        summary: "Shows an execution",
        status: StatusCode::OK,
        schema: Some("Execution"),
        refused: &[Kind::NotFound],
    },
    Call {
        method: "delete",
        path: "/{id}",
        id: "deleteExecution",
        summary: "Removes an execution that is not running",
        status: StatusCode::NO_CONTENT,
        schema: None,
        refused: &[Kind::NotFound, Kind::Conflict],
    },
    Call {
        method: "post",
        path: "/{id}/retry",
        id: "retryExecution",
        summary: "Queues a dead execution again",
        status: StatusCode::ACCEPTED,
        schema: Some("Execution"),
        refused: &[Kind::NotFound, Kind::Conflict],
    },
];

impl Executions {
    /// This service as an OpenAPI 3.1 document: its calls with their parameters, responses and refusals.
    ///
    /// Paths begin with the base path; behind nested routers, give [`nested`](Self::nested) the whole one. `security` is
    /// that of the layer in front ([`AuthLayer::openapi`](crate::auth::AuthLayer::openapi)).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::auth::AuthLayer;
    /// use tower_webhook::queue::{Executions, MemoryQueue};
    ///
    /// let executions = Executions::nested(MemoryQueue::new(), "/executions")?;
    /// let document = executions.openapi(&AuthLayer::public().openapi()?);
    /// assert_eq!(document["paths"]["/executions/{id}"]["get"]["operationId"], "getExecution");
    /// # Ok::<(), tower_webhook::ConfigError>(())
    /// ```
    #[must_use]
    pub fn openapi(&self, security: &OpenApiSecurity) -> Value {
        let mut paths = Map::new();
        for call in &CALLS {
            let path = match (self.base(), call.path) {
                ("", "") => "/".to_owned(),
                (base, path) => format!("{base}{path}"),
            };
            let item = paths.entry(path).or_insert_with(|| json!({}));
            if let Some(item) = item.as_object_mut() {
                item.insert(call.method.to_owned(), operation(call));
            }
        }
        let kinds = ALWAYS.iter().chain(CALLS.iter().flat_map(|call| call.refused));
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Executions",
                "version": env!("CARGO_PKG_VERSION"),
                "description": format!("Executions of hooks. {}", security.description()).trim_end(),
            },
            "paths": paths,
            "security": security.requirements(),
            "components": {
                "securitySchemes": security.schemes(),
                "schemas": {
                    "Execution": view::schema(),
                    "ExecutionPage": {
                        "type": "object",
                        "required": ["executions", "next"],
                        "properties": {
                            "executions": {"type": "array", "items": reference("Execution")},
                            "next": {
                                "type": ["string", "null"],
                                "description": "Where the next page begins. `null` on the last one.",
                            },
                        },
                    },
                    "Problem": Rejection::json_schema(),
                },
                "responses": openapi::responses(kinds.copied(), false),
            },
        })
    }
}

fn operation(call: &Call) -> Value {
    let mut response = Map::new();
    response.insert("description".to_owned(), format!("{}.", call.summary).into());
    if let Some(schema) = call.schema {
        let content = json!({"application/json": {"schema": reference(schema)}});
        response.insert("content".to_owned(), content);
    }
    let mut responses = Map::new();
    responses.insert(call.status.as_str().to_owned(), Value::Object(response));
    for kind in ALWAYS.iter().chain(call.refused) {
        let status = kind.status();
        responses.insert(status.as_str().to_owned(), openapi::reference(status));
    }
    json!({
        "operationId": call.id,
        "summary": call.summary,
        "tags": ["executions"],
        "parameters": parameters(call),
        "responses": responses,
    })
}

fn parameters(call: &Call) -> Value {
    let states: Vec<_> = JobState::ALL.into_iter().map(JobState::as_str).collect();
    let query = |name: &str, schema: Value| json!({"name": name, "in": "query", "schema": schema});
    if call.path.is_empty() {
        let limit = json!({
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_PAGE_LEN,
            "default": DEFAULT_PAGE_LEN,
        });
        return json!([
            query("state", json!({"enum": states})),
            query("hook", json!({"type": "string"})),
            query("limit", limit),
            query("after", json!({"type": "string", "description": "The `next` of a page."})),
        ]);
    }
    let id = json!({"type": "string", "pattern": "^[0-9a-f]{32}$"});
    json!([{"name": "id", "in": "path", "required": true, "schema": id}])
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::route::Route;
    use super::*;
    use crate::auth::AuthLayer;
    use crate::queue::{JobId, MemoryQueue};

    #[test]
    fn the_operations_of_a_path_are_the_methods_that_are_served() {
        let executions = Executions::new(MemoryQueue::new(), "/").unwrap();
        let document = executions.openapi(&AuthLayer::public().openapi().unwrap());
        let id = JobId::from_bytes([1; 16]).to_string();
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(paths.len(), 3);
        for (path, item) in paths {
            for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let is_documented = item.get(method.as_str().to_ascii_lowercase()).is_some();
                let route = Route::find(&path.replace("{id}", &id), &method);
                assert_eq!(is_documented, route.is_ok(), "{method} {path}");
            }
        }
    }
}
