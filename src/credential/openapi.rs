//! Placements as security schemes of OpenAPI.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::placement::Place;
use super::scheme::Scheme;
use super::{Credentials, Placement};
use crate::key::Scope;

/// What callers present, as the security of an operation in OpenAPI 3.1: [Security Scheme Objects] and a list of
/// [Security Requirement Objects].
///
/// | place | security scheme | its name |
/// |---|---|---|
/// | [`header`](Placement::header) | `apiKey` in `header` | `header-x-api-key` |
/// | [`query`](Placement::query) | `apiKey` in `query` | `query-token` |
/// | [`cookie`](Placement::cookie) | `apiKey` in `cookie` | `cookie-session` |
/// | [`bearer`](Placement::bearer), [`basic`](Placement::basic) | `http`, `bearer` or `basic` | `bearer`, `basic` |
/// | [`authorization`](Placement::authorization) | `apiKey` in the header `Authorization`, with a description: the value begins with the scheme | `authorization-apikey` |
/// | [`path`](Placement::path), [`body`](Placement::body), [`websocket_protocol`](Placement::websocket_protocol), [`custom`](Placement::custom) | none: OpenAPI has none. Such a credential is a parameter or a part of the body, which the operation describes itself | |
///
/// 1. The list of [requirements](Self::requirements) is a choice, and each requirement names all schemes that it takes.
///    A place without a scheme, and a public route, are the empty requirement `{}`: a request without any of the schemes
///    may be accepted.
/// 2. A name says the place, so that equal names are equal schemes, in every layer and in every version of this crate.
///    Every character other than letters, digits, `-` and `_` is its UTF-8 in hexadecimal behind points:
///    `query-a.2Eb` is the parameter `a.b`.
/// 3. A requirement lists the scopes that the policy asks for as roles ([section 4.8.30.1][Security Requirement Objects];
///    in OpenAPI 3.0, such a list has to be empty).
/// 4. What the schemes cannot say is in the [description](Self::description).
///
/// [Security Scheme Objects]: https://spec.openapis.org/oas/v3.1.1.html#security-scheme-object
/// [Security Requirement Objects]: https://spec.openapis.org/oas/v3.1.1.html#security-requirement-object
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use tower_webhook::credential::{Credentials, Placement};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let credentials = Credentials::new([Placement::header("x-api-key")?, Placement::bearer()])?;
/// let security = credentials.openapi();
///
/// let document = json!({
///     "openapi": "3.1.0",
///     "info": {"title": "Jobs", "version": "1"},
///     "paths": {"/jobs": {"post": {
///         "security": security.requirements(),
///         "responses": {"200": {"description": "Done."}},
///     }}},
///     "components": {"securitySchemes": security.schemes()},
/// });
/// assert_eq!(document["paths"]["/jobs"]["post"]["security"], json!([{"header-x-api-key": []}, {"bearer": []}]));
/// assert_eq!(
///     document["components"]["securitySchemes"],
///     json!({
///         "header-x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
///         "bearer": {"type": "http", "scheme": "bearer"},
///     })
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct OpenApiSecurity {
    schemes: Map<String, Value>,
    /// Disjunctive normal form: alternatives, each with the names of all schemes that it takes.
    alternatives: Vec<Alternative>,
    scopes: Vec<Scope>,
    /// Sentences about what the schemes do not say.
    notes: Vec<String>,
}

/// The names of schemes, in order.
type Alternative = BTreeMap<String, ()>;

impl OpenApiSecurity {
    /// No credential is needed.
    pub(crate) fn public() -> Self {
        Self {
            schemes: Map::new(),
            alternatives: vec![Alternative::new()],
            scopes: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The app finds the credential.
    pub(crate) fn unknown() -> Self {
        let mut security = Self::public();
        security.note("The server looks for a credential in a way of its own.".into());
        security
    }

    /// One credential of one of the two.
    #[must_use]
    pub(crate) fn or(mut self, other: Self) -> Self {
        let alternatives = other.alternatives.clone();
        self.add(other);
        alternatives.into_iter().for_each(|alternative| self.alternative(alternative));
        self
    }

    /// One credential of each of the two.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        let ours = std::mem::take(&mut self.alternatives);
        for first in ours {
            for second in &other.alternatives {
                let mut both = first.clone();
                both.extend(second.clone());
                self.alternative(both);
            }
        }
        self.add(other);
        self
    }

    /// The caller needs these scopes too.
    #[must_use]
    pub(crate) fn with_scopes<'a>(mut self, scopes: impl IntoIterator<Item = &'a Scope>) -> Self {
        for scope in scopes {
            if !self.scopes.contains(scope) {
                self.scopes.push(scope.clone());
            }
        }
        self
    }

    /// The security schemes by name, for `securitySchemes` of the document's `components`.
    #[must_use]
    pub const fn schemes(&self) -> &Map<String, Value> {
        &self.schemes
    }

    /// The list of requirements, for `security` of an operation, or of the whole document.
    #[must_use]
    pub fn requirements(&self) -> Value {
        let scopes: Vec<_> = self.scopes.iter().map(Scope::as_str).collect();
        let requirement = |names: &Alternative| {
            let names = names.keys().map(|name| (name.clone(), json!(scopes)));
            Value::Object(names.collect())
        };
        self.alternatives.iter().map(requirement).collect()
    }

    /// What the schemes do not say: places that OpenAPI has no scheme for, conditions, scopes. Empty if there is nothing.
    /// CommonMark, for the `description` of an operation.
    #[must_use]
    pub fn description(&self) -> String {
        let mut text = self.notes.join(" ");
        if !self.scopes.is_empty() {
            let scopes: Vec<_> =
                self.scopes.iter().map(|scope| format!("`{}`", scope.as_str())).collect();
            let blank = if text.is_empty() { "" } else { " " };
            // Writing to a string does not fail.
            let _ = write!(text, "{blank}The caller needs the scopes {}.", scopes.join(", "));
        }
        text
    }

    /// Everything of the other one but its alternatives.
    fn add(&mut self, other: Self) {
        self.schemes.extend(other.schemes);
        other.notes.into_iter().for_each(|note| self.note(note));
        for scope in other.scopes {
            if !self.scopes.contains(&scope) {
                self.scopes.push(scope);
            }
        }
    }

    fn alternative(&mut self, alternative: Alternative) {
        if !self.alternatives.contains(&alternative) {
            self.alternatives.push(alternative);
        }
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

impl Credentials {
    /// These places as the security of an operation in OpenAPI: one credential, in one of them.
    ///
    /// [`AuthLayer::openapi`](crate::auth::AuthLayer::openapi) also knows the policy. The example of
    /// [`OpenApiSecurity`] shows a document.
    #[must_use]
    pub fn openapi(&self) -> OpenApiSecurity {
        let mut security =
            OpenApiSecurity { alternatives: Vec::new(), ..OpenApiSecurity::public() };
        for placement in &self.placements {
            security = security.or(placement.openapi());
        }
        security
    }
}

impl Placement {
    fn openapi(&self) -> OpenApiSecurity {
        let mut security = OpenApiSecurity::public();
        if let Some((name, scheme)) = self.place.openapi_scheme() {
            security.alternatives = vec![Alternative::from([(name.clone(), ())])];
            security.schemes.insert(name, scheme);
        }
        let (condition, place) = (self.is_conditional(), self.place.in_words());
        if condition {
            security.note(format!("In some requests, a credential may be in {place}."));
        } else if security.schemes.is_empty() {
            security.note(format!("A credential may be in {place}."));
        }
        security
    }
}

impl Place {
    /// The name and the object of the security scheme.
    fn openapi_scheme(&self) -> Option<(String, Value)> {
        let api_key = |part: &str, name: &str| {
            (
                format!("{part}-{}", component_name(name)),
                json!({"type": "apiKey", "in": part, "name": name}),
            )
        };
        match self {
            Self::Header(name) => Some(api_key("header", name.as_str())),
            Self::Cookie(name) => Some(api_key("cookie", name)),
            Self::Query(name) => Some(api_key("query", name)),
            Self::Authorization(Scheme::Own(scheme)) => {
                let name =
                    format!("authorization-{}", component_name(&scheme.to_ascii_lowercase()));
                let description = format!("`{scheme}`, a blank, and the key.");
                let scheme = json!({
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": description,
                });
                Some((name, scheme))
            }
            Self::Authorization(scheme @ (Scheme::Bearer | Scheme::Basic)) => {
                Some((scheme.name().to_owned(), json!({"type": "http", "scheme": scheme.name()})))
            }
            Self::Path(_) | Self::Body(_) | Self::WebSocketProtocol | Self::Custom(_) => None,
        }
    }

    /// The place, for a sentence.
    fn in_words(&self) -> String {
        match self {
            Self::Header(name) => format!("the header field `{name}`"),
            Self::Cookie(name) => format!("the cookie `{name}`"),
            Self::Query(name) => format!("the query parameter `{name}`"),
            Self::Authorization(scheme) => {
                format!("`Authorization` with the scheme `{}`", scheme.name())
            }
            Self::Path(template) => format!("the parameter `{}` of the path", template.parameter()),
            Self::Body(name) => format!("the member or field `{name}` of the body"),
            Self::WebSocketProtocol => "the WebSocket protocol `key.<credential>`".to_owned(),
            Self::Custom(_) => "a place that only this server reads".to_owned(),
        }
    }
}

/// Injective escape into the characters of names in `components`: `^[a-zA-Z0-9._-]+$` (OpenAPI 3.1, section 4.8.7.1).
fn component_name(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'-' | b'_' => escaped.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            _ => {
                // Writing to a string does not fail.
                let _ = write!(escaped, ".{byte:02X}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn security(placement: Placement) -> OpenApiSecurity {
        Credentials::new([placement]).unwrap().openapi()
    }

    #[test]
    fn each_place_has_its_scheme_or_a_sentence() {
        let cases = [
            (
                Placement::header("X-API-Key").unwrap(),
                json!({"header-x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"}}),
                "",
            ),
            (Placement::bearer(), json!({"bearer": {"type": "http", "scheme": "bearer"}}), ""),
            (Placement::basic(), json!({"basic": {"type": "http", "scheme": "basic"}}), ""),
            (
                Placement::authorization("ApiKey").unwrap(),
                json!({"authorization-apikey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`ApiKey`, a blank, and the key.",
                }}),
                "",
            ),
            (
                Placement::cookie("sid").unwrap(),
                json!({"cookie-sid": {"type": "apiKey", "in": "cookie", "name": "sid"}}),
                "",
            ),
            (
                Placement::query("a.key").unwrap().only_if(|_| true),
                json!({"query-a.2Ekey": {"type": "apiKey", "in": "query", "name": "a.key"}}),
                "In some requests, a credential may be in the query parameter `a.key`.",
            ),
            (
                Placement::path("/hook/{id}/{key}").unwrap(),
                json!({}),
                "A credential may be in the parameter `key` of the path.",
            ),
            (
                Placement::body("token").unwrap(),
                json!({}),
                "A credential may be in the member or field `token` of the body.",
            ),
            (
                Placement::websocket_protocol(),
                json!({}),
                "A credential may be in the WebSocket protocol `key.<credential>`.",
            ),
            (
                Placement::custom(|_| Vec::new()),
                json!({}),
                "A credential may be in a place that only this server reads.",
            ),
        ];
        for (placement, schemes, description) in cases {
            let kind = placement.kind();
            let security = security(placement);
            assert_eq!(Value::Object(security.schemes().clone()), schemes, "{kind:?}");
            assert_eq!(security.description(), description, "{kind:?}");
            let names: Vec<_> = security.schemes().keys().collect();
            let expected = match names.as_slice() {
                [name] => json!([{*name: []}]),
                _ => json!([{}]),
            };
            assert_eq!(security.requirements(), expected, "{kind:?}");
        }
    }

    #[test]
    fn places_are_alternatives_in_their_order() {
        let places = [
            Placement::header("x-api-key").unwrap(),
            Placement::body("key").unwrap(),
            Placement::path("/{key}").unwrap(),
            Placement::bearer(),
        ];
        let security = Credentials::new(places).unwrap().openapi();
        // Both places without a scheme are one alternative.
        assert_eq!(security.requirements(), json!([{"header-x-api-key": []}, {}, {"bearer": []}]));
    }

    #[test]
    fn either_is_a_list_and_both_are_one_object() {
        let keys = || {
            let places =
                [Placement::header("x-api-key").unwrap(), Placement::query("key").unwrap()];
            Credentials::new(places).unwrap().openapi()
        };
        let users = || security(Placement::bearer());

        let either = keys().or(users());
        let expected = json!([{"header-x-api-key": []}, {"query-key": []}, {"bearer": []}]);
        assert_eq!(either.requirements(), expected);
        assert_eq!(either.schemes().len(), 3);

        let both = keys().and(users());
        let expected =
            json!([{"header-x-api-key": [], "bearer": []}, {"query-key": [], "bearer": []}]);
        assert_eq!(both.requirements(), expected);
        assert_eq!(both.schemes().len(), 3);

        // What needs nothing adds nothing to what is needed, and is an alternative to it.
        assert_eq!(OpenApiSecurity::public().and(users()), users());
        assert_eq!(
            OpenApiSecurity::public().or(users()).requirements(),
            json!([{}, {"bearer": []}])
        );
        assert_eq!(users().or(users()), users());
        assert_eq!(users().and(users()), users());
    }

    #[test]
    fn scopes_are_roles_and_in_the_description() {
        let scope = |text| Scope::new(text).unwrap();
        let security = security(Placement::bearer()).with_scopes([
            &scope("deploy"),
            &scope("b"),
            &scope("deploy"),
        ]);

        assert_eq!(security.requirements(), json!([{"bearer": ["deploy", "b"]}]));
        assert_eq!(security.description(), "The caller needs the scopes `deploy`, `b`.");
    }

    proptest! {
        #[test]
        fn a_name_is_one_of_openapi_and_of_one_place(a in "\\PC{1,8}", b in "\\PC{1,8}") {
            let name = |text: &str| {
                let place = security(Placement::query(text).unwrap());
                place.schemes().keys().next().unwrap().clone()
            };
            let (first, second) = (name(&a), name(&b));
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            prop_assert!(first.bytes().all(allowed), "{first}");
            prop_assert_eq!(first == second, a == b);
        }
    }
}
