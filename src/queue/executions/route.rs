//! Routes: path and method.

use http::{HeaderValue, Method};

use crate::queue::JobId;
use crate::rejection::{Rejection, RejectionKind};

/// One of the calls of the service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Route {
    List,
    Show(JobId),
    Remove(JobId),
    Retry(JobId),
}

impl Route {
    /// Finds the call for a path without the base path.
    ///
    /// # Errors
    ///
    /// Refuses an unknown path, then a method that is not allowed there.
    pub(super) fn find(path: &str, method: &Method) -> Result<Self, Rejection> {
        let not_found = || Rejection::new(RejectionKind::NotFound);
        let mut segments = path.split('/').skip(1);
        let (first, second) = (segments.next().unwrap_or_default(), segments.next());
        if segments.next().is_some() {
            return Err(not_found());
        }
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match (first, second) {
            ("", None) if reads => Ok(Self::List),
            ("", None) => Err(not_served("GET, HEAD")),
            (id, second) => {
                // An invalid id is not found, like one that does not exist.
                let id = id.parse().map_err(|_| not_found())?;
                match second {
                    None if reads => Ok(Self::Show(id)),
                    None if method == Method::DELETE => Ok(Self::Remove(id)),
                    None => Err(not_served("GET, HEAD, DELETE")),
                    Some("retry") if method == Method::POST => Ok(Self::Retry(id)),
                    Some("retry") => Err(not_served("POST")),
                    Some(_) => Err(not_found()),
                }
            }
        }
    }
}

fn not_served(allow: &'static str) -> Rejection {
    Rejection::new(RejectionKind::MethodNotAllowed).with_allow(HeaderValue::from_static(allow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_its_path_and_method() {
        let id = JobId::from_bytes([7; 16]);
        let find = |method: Method, path: &str| {
            Route::find(path, &method).map_err(|rejection| rejection.kind())
        };
        let one = format!("/{id}");
        let retry = format!("/{id}/retry");
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(find(method.clone(), ""), Ok(Route::List));
            assert_eq!(find(method.clone(), "/"), Ok(Route::List));
            assert_eq!(find(method, &one), Ok(Route::Show(id)));
        }
        assert_eq!(find(Method::DELETE, &one), Ok(Route::Remove(id)));
        assert_eq!(find(Method::POST, &retry), Ok(Route::Retry(id)));
        for (method, path) in [
            (Method::POST, "/"),
            (Method::DELETE, ""),
            (Method::POST, &one),
            (Method::PUT, &one),
            (Method::GET, &retry),
        ] {
            assert_eq!(find(method, path), Err(RejectionKind::MethodNotAllowed), "{path}");
        }
        for path in
            ["/x", "//", &format!("{one}/"), &format!("{retry}/"), &one.to_uppercase()[..20]]
        {
            assert_eq!(find(Method::GET, path), Err(RejectionKind::NotFound), "{path}");
        }
    }
}
