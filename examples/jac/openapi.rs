//! The addresses of the server as an OpenAPI document, if the configuration asks for it.

use std::collections::BTreeMap;

use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tower_webhook::ConfigError;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::{Credentials, OpenApiSecurity, Placement};

use crate::answers::{self, json};
use crate::config::{PlaceType, Walker, Webhook};
use crate::fields::{Field, FieldType};

/// The document while it grows.
#[derive(Debug, Default)]
pub(crate) struct Document {
    paths: Map<String, Value>,
    schemes: Map<String, Value>,
}

impl Document {
    /// The management of keys, for users.
    pub(crate) fn add_management(&mut self) -> Result<(), ConfigError> {
        let user = Credentials::new([Placement::bearer()])?.openapi();
        let body = json!({"content": {"application/json": {"schema": {"type": "object"}}}});
        for (path, method, status) in [
            ("/webhook/generate-key", "post", "201"),
            ("/webhook", "get", "200"),
            ("/webhook/extend/{id}", "patch", "200"),
            ("/webhook/delete", "delete", "200"),
        ] {
            let mut operation = self.operation(&user, status);
            if method != "get" {
                operation.insert("requestBody".to_owned(), body.clone());
            }
            operation.insert("parameters".to_owned(), parameters(path).into());
            self.paths.insert(path.to_owned(), json!({ method: operation }));
        }
        Ok(())
    }

    /// A walker, which enters the root of the key's owner, or a node.
    pub(crate) fn add_walker(
        &mut self,
        walker: &Walker,
        webhook: &Webhook,
        security: &OpenApiSecurity,
    ) {
        // In a template, a brace in a name would be a parameter.
        let name = walker.name.replace('{', "%7B").replace('}', "%7D");
        let key = if webhook.r#type == PlaceType::Path { "/{key}" } else { "" };
        let nodes: &[&str] = if walker.auth { &["", "/{node}"] } else { &[""] };
        for node in nodes {
            let path = format!("/webhook/walker/{name}{node}{key}");
            let mut operations = Map::new();
            for method in &walker.methods {
                let mut operation = self.operation(security, walker.status.as_str());
                let (in_query, body) = fields(method, &walker.fields);
                let parameters = [parameters(&path), in_query].concat();
                operation.insert("parameters".to_owned(), parameters.into());
                operation.extend(body.map(|body| ("requestBody".to_owned(), body)));
                operations.insert(method.as_str().to_ascii_lowercase(), operation.into());
            }
            self.paths.insert(path, operations.into());
        }
    }

    fn operation(&mut self, security: &OpenApiSecurity, status: &str) -> Map<String, Value> {
        self.schemes.extend(security.schemes().clone());
        let responses = [(status, "Done."), ("default", "Refused.")];
        let responses =
            responses.map(|(status, text)| (status.to_owned(), json!({"description": text})));
        Map::from_iter([
            ("security".to_owned(), security.requirements()),
            ("responses".to_owned(), Map::from_iter(responses).into()),
        ])
    }

    /// The service of the document.
    pub(crate) fn service(self) -> Result<Router, ConfigError> {
        let document = json!({
            "openapi": "3.1.0",
            "info": {"title": "Walkers", "version": "0.2.0"},
            "paths": self.paths,
            "components": {"securitySchemes": self.schemes},
        });
        let methods = AuthLayer::new(Policy::public().with_methods([Method::GET]))?;
        let service = Router::new().fallback(show).layer(Extension(document.to_string()));
        Ok(service.layer(methods.with_rejection_response(answers::rejection)))
    }
}

async fn show(Extension(document): Extension<String>) -> Response {
    json(StatusCode::OK, document).into_response()
}

/// The parameters that a path names.
fn parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameter =
        |name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
    names.map(parameter).collect()
}

/// The fields of a walker: parameters of the query for GET, and otherwise a body.
fn fields(method: &Method, fields: &BTreeMap<String, Field>) -> (Vec<Value>, Option<Value>) {
    let is_required = |field: &Field| field.default.is_none();
    if *method == Method::GET {
        let in_query = |(name, field): (&String, &Field)| {
            let (required, schema) = (is_required(field), schema(field.r#type));
            json!({"name": name, "in": "query", "required": required, "schema": schema})
        };
        return (fields.iter().map(in_query).collect(), None);
    }
    if fields.is_empty() {
        return (Vec::new(), None);
    }
    let properties: Map<_, _> =
        fields.iter().map(|(name, field)| (name.clone(), schema(field.r#type))).collect();
    let required: Vec<_> =
        fields.iter().filter(|(_, field)| is_required(field)).map(|(name, _)| name).collect();
    let has_file = fields.values().any(|field| field.r#type == FieldType::File);
    let media = if has_file { "multipart/form-data" } else { "application/json" };
    let schema = json!({"type": "object", "properties": properties, "required": required});
    (Vec::new(), Some(json!({"content": {media: {"schema": schema}}})))
}

fn schema(r#type: FieldType) -> Value {
    let name = match r#type {
        FieldType::Any => return json!({}),
        FieldType::File | FieldType::Str => "string",
        FieldType::Int => "integer",
        FieldType::Float => "number",
        FieldType::Bool => "boolean",
        FieldType::List => "array",
        FieldType::Dict => "object",
    };
    json!({"type": name})
}
