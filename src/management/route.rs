//! Routes: path and method.

use http::{HeaderValue, Method};
use percent_encoding::percent_decode_str;

use crate::key::KeyId;
use crate::rejection::{Rejection, RejectionKind};

/// One of the calls of the API.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Route {
    Generate,
    List,
    DeleteMany,
    Show(KeyId),
    Update(KeyId),
    Delete(KeyId),
    Extend(KeyId),
    Rotate(KeyId),
    Revoke(KeyId),
}

impl Route {
    /// Finds the call for a path without the base path.
    ///
    /// # Errors
    ///
    /// Refuses an unknown path, then a method that is not allowed there.
    pub(super) fn find(path: &str, method: &Method) -> Result<Self, Rejection> {
        let mut segments = path.split('/').skip(1);
        let first = segments.next().unwrap_or_default();
        let second = segments.next();
        if segments.next().is_some() {
            return Err(Rejection::new(RejectionKind::NotFound));
        }
        match (first, second, method) {
            ("", None, &Method::POST) => Ok(Self::Generate),
            ("", None, &Method::GET | &Method::HEAD) => Ok(Self::List),
            ("", None, _) => Err(not_served("GET, HEAD, POST")),
            ("delete", None, &Method::POST) => Ok(Self::DeleteMany),
            (id, None, method) => match (id, key_id(id)?, method) {
                (_, id, &Method::GET | &Method::HEAD) => Ok(Self::Show(id)),
                (_, id, &Method::PATCH) => Ok(Self::Update(id)),
                (_, id, &Method::DELETE) => Ok(Self::Delete(id)),
                ("delete", _, _) => Err(not_served("GET, HEAD, POST, PATCH, DELETE")),
                _ => Err(not_served("GET, HEAD, PATCH, DELETE")),
            },
            (id, Some(action), method) => {
                let id = key_id(id)?;
                let route = match action {
                    "extend" => Self::Extend(id),
                    "rotate" => Self::Rotate(id),
                    "revoke" => Self::Revoke(id),
                    _ => return Err(Rejection::new(RejectionKind::NotFound)),
                };
                if method == Method::POST { Ok(route) } else { Err(not_served("POST")) }
            }
        }
    }

    /// Whether the call is a change.
    pub(super) const fn changes(&self) -> bool {
        !matches!(self, Self::List | Self::Show(_))
    }

    /// Whether the call needs a JSON media type, which protects against CSRF.
    pub(super) const fn has_body(&self) -> bool {
        match self {
            Self::Generate
            | Self::DeleteMany
            | Self::Update(_)
            | Self::Extend(_)
            | Self::Rotate(_)
            | Self::Revoke(_) => true,
            Self::List | Self::Show(_) | Self::Delete(_) => false,
        }
    }
}

/// An invalid id is not found, like one that does not exist.
fn key_id(segment: &str) -> Result<KeyId, Rejection> {
    let decoded = percent_decode_str(segment).decode_utf8().ok();
    let id = decoded.and_then(|text| KeyId::new(text).ok());
    id.ok_or(Rejection::new(RejectionKind::NotFound))
}

fn not_served(allow: &'static str) -> Rejection {
    Rejection::new(RejectionKind::MethodNotAllowed).with_allow(HeaderValue::from_static(allow))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: &Method, path: &str) -> Result<Route, RejectionKind> {
        Route::find(path, method).map_err(|rejection| rejection.kind())
    }

    #[test]
    fn each_call_has_its_path_and_method() {
        let id = || KeyId::new("k:1").unwrap();
        let cases = [
            (Method::POST, "/", Route::Generate),
            (Method::POST, "", Route::Generate),
            (Method::GET, "/", Route::List),
            (Method::HEAD, "/", Route::List),
            (Method::GET, "/k:1", Route::Show(id())),
            (Method::HEAD, "/k%3a1", Route::Show(id())),
            (Method::PATCH, "/k:1", Route::Update(id())),
            (Method::DELETE, "/k:1", Route::Delete(id())),
            (Method::POST, "/k:1/extend", Route::Extend(id())),
            (Method::POST, "/k:1/rotate", Route::Rotate(id())),
            (Method::POST, "/k:1/revoke", Route::Revoke(id())),
            (Method::POST, "/delete", Route::DeleteMany),
            (Method::GET, "/delete", Route::Show(KeyId::new("delete").unwrap())),
            (Method::GET, "/openapi.json", Route::Show(KeyId::new("openapi.json").unwrap())),
        ];
        for (method, path, expected) in cases {
            assert_eq!(find(&method, path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_is_not_found_by_any_method() {
        for path in ["//", "/k1/", "/k1/show", "/k1/extend/", "/a%2fb", "/%ff", "/a%00", "/a b"] {
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
                assert_eq!(find(&method, path), Err(RejectionKind::NotFound), "{path}");
            }
        }
        assert_eq!(find(&Method::GET, &"/a".repeat(65)), Err(RejectionKind::NotFound));
        assert_eq!(find(&Method::POST, "/a%2fb/extend"), Err(RejectionKind::NotFound));
    }

    #[test]
    fn reads_change_nothing_and_other_methods_are_not_served() {
        for path in ["/", "/k1", "/delete", "/k1/extend", "/k1/rotate", "/k1/revoke"] {
            for method in [Method::GET, Method::HEAD] {
                let route = find(&method, path);
                let reads = matches!(route, Ok(Route::List | Route::Show(_)));
                assert!(reads || route == Err(RejectionKind::MethodNotAllowed), "{path}");
            }
            for method in [Method::PUT, Method::OPTIONS, Method::TRACE, Method::CONNECT] {
                assert_eq!(find(&method, path), Err(RejectionKind::MethodNotAllowed), "{path}");
            }
        }
    }
}
