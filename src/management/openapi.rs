//! The calls as an OpenAPI document.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::ManagementApi;
use super::idempotency;
use super::input::schema::{self, with};
use crate::credential::OpenApiSecurity;
use crate::key::KeyView;
use crate::rejection::{Rejection, RejectionKind as Kind, openapi};

/// A call: where it is, what is sent, and what is answered.
struct Call {
    method: &'static str,
    /// Behind the base path.
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    /// The schema of the body.
    body: Option<&'static str>,
    /// Status, description and schema of each response that is no refusal.
    answers: &'static [(StatusCode, &'static str, Option<&'static str>)],
    /// Refusals beside those of every call.
    refused: &'static [Kind],
}

/// What every call may be refused for: by the layer in front, or because of the store.
const ALWAYS: [Kind; 6] = [
    Kind::Ambiguous,
    Kind::Unknown,
    Kind::Forbidden,
    Kind::RateLimited,
    Kind::Internal,
    Kind::Unavailable,
];

/// What a call with a body may be refused for.
const BODY: [Kind; 6] = [
    Kind::MalformedBody,
    Kind::BodyTimeout,
    Kind::BodyTooLarge,
    Kind::UnsupportedMediaType,
    Kind::UnsupportedContentCoding,
    Kind::Invalid,
];

const CALLS: [Call; 9] = [
    Call {
        method: "post",
        path: "",
        id: "createKey",
        summary: "Creates a key",
        body: Some("NewKey"),
        answers: &[
            (StatusCode::CREATED, "The key, and its text, which is shown once.", Some("IssuedKey")),
            (
                StatusCode::OK,
                "The key that an earlier call with the same `Idempotency-Key` created.",
                Some("ReplayedKey"),
            ),
        ],
        refused: &[Kind::Conflict],
    },
    Call {
        method: "get",
        path: "",
        id: "listKeys",
        summary: "Lists keys, oldest first",
        body: None,
        answers: &[(StatusCode::OK, "A page of keys.", Some("KeyPage"))],
        refused: &[Kind::Invalid],
    },
    Call {
        method: "post",
        path: "/delete",
        id: "deleteKeys",
        summary: "Deletes keys: all of them, or none",
        body: Some("KeyIds"),
        answers: &[(StatusCode::NO_CONTENT, "All of them are deleted.", None)],
        refused: &[Kind::NotFound],
    },
    Call {
        method: "get",
        path: "/{id}",
        id: "getKey",
        summary: "Shows a key",
        body: None,
        answers: &[(StatusCode::OK, "The key.", Some("Key"))],
        refused: &[Kind::NotFound],
    },
    Call {
        method: "patch",
        path: "/{id}",
        id: "updateKey",
        summary: "Changes a key, in one step",
        body: Some("KeyUpdate"),
        answers: &[(StatusCode::OK, "The changed key.", Some("Key"))],
        refused: &[Kind::NotFound, Kind::Conflict, Kind::AlreadyRevoked],
    },
    Call {
        method: "delete",
        path: "/{id}",
        id: "deleteKey",
        summary: "Deletes a key",
        body: None,
        answers: &[(StatusCode::NO_CONTENT, "The key is deleted.", None)],
        refused: &[Kind::NotFound],
    },
    Call {
        method: "post",
        path: "/{id}/extend",
        id: "extendKey",
        summary: "Lets a key expire later, or so long from now if it has expired",
        body: Some("Extension"),
        answers: &[(StatusCode::OK, "The changed key.", Some("Key"))],
        refused: &[Kind::NotFound, Kind::Conflict, Kind::AlreadyRevoked],
    },
    Call {
        method: "post",
        path: "/{id}/rotate",
        id: "rotateKey",
        summary: "Gives a key a new text",
        body: Some("Rotation"),
        answers: &[(
            StatusCode::OK,
            "The key, and its new text, which is shown once.",
            Some("IssuedKey"),
        )],
        refused: &[Kind::NotFound, Kind::Conflict, Kind::AlreadyRevoked],
    },
    Call {
        method: "post",
        path: "/{id}/revoke",
        id: "revokeKey",
        summary: "Revokes a key, which is final",
        body: Some("Empty"),
        answers: &[(StatusCode::OK, "The revoked key.", Some("Key"))],
        refused: &[Kind::NotFound, Kind::Conflict],
    },
];

impl ManagementApi {
    /// This API as an OpenAPI 3.1 document: its calls with their parameters, bodies, responses and refusals.
    ///
    /// Paths begin with the base path; behind nested routers, give [`nested`](Self::nested) the whole one. `security` is
    /// that of the layer in front ([`AuthLayer::openapi`](crate::auth::AuthLayer::openapi)). Change the document as you
    /// like before you serve it: `info`, `servers`, operations of your own. Serve it beside the base path: below it, every
    /// segment is the id of a key.
    ///
    /// Where [`with_rejection_response`](Self::with_rejection_response) replaces the bodies of refusals, the document says
    /// nothing about them.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::Router;
    /// use axum::routing::get;
    /// use http::header::CONTENT_TYPE;
    /// use tower::Layer;
    /// use tower_webhook::auth::AuthLayer;
    /// # use tower_webhook::key::KeyManager;
    /// # use tower_webhook::store::MemoryKeyStore;
    /// use tower_webhook::management::ManagementApi;
    ///
    /// # fn app(keys: KeyManager) -> Result<(), Box<dyn std::error::Error>> {
    /// let auth = AuthLayer::bearer(&keys)?;
    /// let api = ManagementApi::nested(keys, "/keys")?;
    /// let mut document = api.openapi(&auth.openapi()?);
    /// document["info"]["title"] = "Keys of the build farm".into();
    /// assert_eq!(document["paths"]["/keys"]["post"]["operationId"], "createKey");
    /// assert_eq!(document["security"], serde_json::json!([{"bearer": []}]));
    ///
    /// let document = document.to_string();
    /// let router: Router = Router::new()
    ///     .route("/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], document)))
    ///     .nest_service("/keys", auth.layer(api));
    /// # Ok(())
    /// # }
    /// # app(KeyManager::new(MemoryKeyStore::new())).unwrap();
    /// ```
    #[must_use]
    pub fn openapi(&self, security: &OpenApiSecurity) -> Value {
        let mut paths = Map::new();
        for call in &CALLS {
            let path = match (self.base(), call.path) {
                ("", "") => "/".to_owned(),
                (base, path) => format!("{base}{path}"),
            };
            let item = paths.entry(path).or_insert_with(|| path_item(call.path));
            *item = with(item.take(), call.method, self.operation(call));
        }
        let description = [
            "Callers manage their own keys. Bodies and responses are JSON. Every `POST` and `PATCH` needs \
             `Content-Type: application/json`. After a 503 or a lost connection it is unknown whether something was \
             changed.",
            &security.description(),
        ];
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Keys",
                "version": env!("CARGO_PKG_VERSION"),
                "description": description.join(" ").trim_end(),
            },
            "paths": paths,
            "security": security.requirements(),
            "components": {
                "securitySchemes": security.schemes(),
                "schemas": schemas(),
                "responses": self.refusals(),
            },
        })
    }

    fn operation(&self, call: &Call) -> Value {
        let mut responses = Map::new();
        for (status, description, schema) in call.answers {
            let mut response = json!({"description": description});
            if let Some(schema) = schema {
                let content = json!({"application/json": {"schema": reference(schema)}});
                response = with(response, "content", content);
            }
            if call.makes_key() {
                let location = json!({
                    "description": "The path of the key.",
                    "required": true,
                    "schema": {"type": "string", "format": "uri-reference"},
                });
                response = with(response, "headers", json!({"Location": location}));
                response = with(response, "links", links());
            }
            responses.insert(status.as_str().to_owned(), response);
        }
        let body: &[Kind] = if call.body.is_some() { &BODY } else { &[] };
        for kind in ALWAYS.iter().chain(body).chain(call.refused) {
            let status = kind.status();
            responses.insert(status.as_str().to_owned(), openapi::reference(status));
        }
        let operation = json!({
            "operationId": call.id,
            "summary": call.summary,
            "tags": ["keys"],
            "parameters": call.parameters(),
            "responses": responses,
        });
        let Some(schema) = call.body else { return operation };
        let body = json!({
            "description": format!("At most {} bytes.", self.max_body_bytes()),
            "required": true,
            "content": {"application/json": {"schema": reference(schema)}},
        });
        with(operation, "requestBody", body)
    }

    /// The refusals of all calls, by their status.
    fn refusals(&self) -> Value {
        let kinds = ALWAYS.iter().chain(&BODY).chain(CALLS.iter().flat_map(|call| call.refused));
        openapi::responses(kinds.copied(), self.replaces_refusals())
    }
}

impl Call {
    fn makes_key(&self) -> bool {
        self.id == "createKey"
    }

    /// The parameters that are not in the path.
    fn parameters(&self) -> Value {
        match self.id {
            "createKey" => json!([idempotency::parameter()]),
            "listKeys" => schema::page_parameters(),
            _ => json!([]),
        }
    }
}

/// The parameters of all calls at a path.
fn path_item(path: &str) -> Value {
    if !path.contains("{id}") {
        return json!({});
    }
    json!({"parameters": [
        {"name": "id", "in": "path", "required": true, "schema": reference("KeyId")},
    ]})
}

/// What can be done with a new key.
fn links() -> Value {
    let of_one_key = CALLS.iter().filter(|call| call.path.contains("{id}"));
    let link = |call: &Call| {
        let parameters = json!({"id": "$response.body#/key/id"});
        (call.id.to_owned(), json!({"operationId": call.id, "parameters": parameters}))
    };
    Value::Object(of_one_key.map(link).collect())
}

fn schemas() -> Value {
    let text = json!({"type": "string", "description": "The text of the key."});
    let next = json!({
        "type": ["string", "null"],
        "description": "Where the next page begins. `null` on the last one.",
    });
    let object = |members: Value| {
        let required: Vec<_> = members.as_object().into_iter().flat_map(Map::keys).collect();
        json!({"type": "object", "required": required, "properties": members})
    };
    let key = reference("Key");
    let responses = [
        ("Key", KeyView::json_schema()),
        ("IssuedKey", object(json!({"key": key, "secret": text}))),
        ("ReplayedKey", object(json!({"key": key, "replayed": {"const": true}}))),
        ("KeyPage", object(json!({"keys": {"type": "array", "items": key}, "next": next}))),
        ("Problem", Rejection::json_schema()),
    ];
    let all = schema::parts().into_iter().chain(schema::bodies()).chain(responses);
    Value::Object(all.map(|(name, schema)| (name.to_owned(), schema)).collect())
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::auth::AuthLayer;
    use crate::key::{KeyManager, Scopes};
    use crate::management::input;
    use crate::management::route::Route;
    use crate::store::MemoryKeyStore;

    fn document(base: &str) -> Value {
        let keys = KeyManager::new(MemoryKeyStore::new());
        let auth = AuthLayer::bearer(&keys).unwrap();
        ManagementApi::new(keys, base).unwrap().openapi(&auth.openapi().unwrap())
    }

    fn members(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn paths_begin_with_the_base_path() {
        let paths = |base| members(&document(base)["paths"]).join(" ");
        let expected =
            "/a/k /a/k/delete /a/k/{id} /a/k/{id}/extend /a/k/{id}/revoke /a/k/{id}/rotate";
        assert_eq!(paths("/a/k"), expected);
        assert_eq!(paths("/"), expected.replace("/a/k/", "/").replace("/a/k", "/"));
    }

    #[test]
    fn the_operations_of_a_path_are_the_methods_that_are_served() {
        let document = document("/");
        let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in &methods {
                let documented = item.get(method.as_str().to_ascii_lowercase()).is_some();
                let found = Route::find(&path.replace("{id}", "k1"), method).ok();
                // Below the base path, `delete` is a call by `POST` and the id of a key otherwise.
                let is_id = path == "/delete" && *method != Method::POST;
                assert_eq!(documented, found.is_some() && !is_id, "{method} {path}");
                let has_body = documented
                    && item[&*method.as_str().to_ascii_lowercase()].get("requestBody").is_some();
                assert_eq!(
                    has_body,
                    documented && found.is_some_and(|route| route.has_body()),
                    "{method} {path}"
                );
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(object) => {
                    found.extend(object.get("$ref").and_then(Value::as_str));
                    object.values().for_each(|value| references(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document("/keys");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 50);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    /// The refusal of an unknown member lists those that are read.
    #[test]
    fn a_schema_has_the_members_that_are_read() {
        let document = document("/keys");
        let read = |name: &str| {
            let (body, all) = (br#"{"?":1}"#, &Scopes::ALL);
            let now = time::OffsetDateTime::UNIX_EPOCH;
            match name {
                "NewKey" => input::NewKeyInput::read(body, all, now).err(),
                "KeyUpdate" => input::UpdateInput::read(body, all).err(),
                "Extension" => input::read_extension(body).err(),
                "Rotation" => input::read_rotation(body).err(),
                "Empty" => input::read_nothing(body).err(),
                "KeyIds" => input::read_ids(body).err(),
                _ => None,
            }
        };
        for (name, _) in schema::bodies() {
            let rejection = read(name).unwrap();
            let reasons = rejection.violations().iter().map(|violation| violation.reason());
            let list = reasons.filter_map(|reason| reason.split_once("of this call: "));
            let mut read: Vec<_> = list.flat_map(|(_, list)| list.split(", ")).collect();
            read.retain(|member| *member != "none");
            read.sort_unstable();
            let schema = &document["components"]["schemas"][name];
            assert_eq!(members(&schema["properties"]), read, "{name}");
        }
    }

    #[test]
    fn replaced_bodies_of_refusals_are_not_described() {
        let keys = KeyManager::new(MemoryKeyStore::new());
        let security = AuthLayer::bearer(&keys).unwrap().openapi().unwrap();
        let api = ManagementApi::new(keys, "/keys").unwrap();
        let refusals =
            |api: &ManagementApi| api.openapi(&security)["components"]["responses"].clone();
        let own = api.clone().with_rejection_response(|_, _| http::Response::default());

        assert!(
            refusals(&api).as_object().unwrap().values().all(|each| each.get("content").is_some())
        );
        assert!(
            refusals(&own).as_object().unwrap().values().all(|each| each.get("content").is_none())
        );
    }
}
