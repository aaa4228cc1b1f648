//! Redaction by place: the value in the place of a credential is hidden, without a look at it.

use std::borrow::Cow;

use super::Credentials;
use super::path_template::REDACTED;
use super::placement::Place;

impl Credentials {
    /// The path with the parameter of every path placement replaced, with a key in it or not.
    ///
    /// A template also fits the end of the path, since the layer may be behind a nested router, and a path
    /// with empty segments, which no router serves and a client may send by mistake.
    pub(crate) fn redacted_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        let mut redacted = Cow::Borrowed(path);
        for placement in &self.placements {
            let Place::Path(template) = &placement.place else { continue };
            let tidy = without_empty_segments(&redacted);
            let ends = tidy.match_indices('/').filter_map(|(start, _)| tidy.get(start..));
            let Some(raw) = ends.filter_map(|end| template.raw(end)).next() else { continue };
            // `raw` is a part of `tidy`, so its place follows from the two addresses.
            let start = raw.as_ptr() as usize - tidy.as_ptr() as usize;
            let before = tidy.get(..start).unwrap_or_default();
            let after = tidy.get(start + raw.len()..).unwrap_or_default();
            redacted = Cow::Owned([before, REDACTED, after].concat());
        }
        redacted
    }
}

fn without_empty_segments(path: &str) -> String {
    path.split('/').filter(|segment| !segment.is_empty()).fold(
        String::with_capacity(path.len()),
        |mut tidy, segment| {
            tidy.push('/');
            tidy.push_str(segment);
            tidy
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::Placement;

    #[test]
    fn a_parameter_is_replaced_wherever_the_template_fits() {
        let places = ["/h/{key}", "/hook/{id}/{key}/run"].map(|t| Placement::path(t).unwrap());
        let credentials = Credentials::new(places).unwrap();
        for (path, expected) in [
            ("/h/abc", "/h/redacted"),
            ("/h/%61bc", "/h/redacted"),
            ("/h/a%2Fb", "/h/redacted"),
            ("/h/%FF", "/h/redacted"),
            ("/api/v1/h/abc", "/api/v1/h/redacted"),
            ("/h/abc/", "/h/redacted"),
            ("//h//abc", "/h/redacted"),
            ("/hook/7/abc/run", "/hook/7/redacted/run"),
            ("/api/hook/7/abc/run", "/api/hook/7/redacted/run"),
            ("/h/h/abc", "/h/h/redacted"),
            ("/h", "/h"),
            ("/h/", "/h/"),
            ("/", "/"),
            ("", ""),
            ("*", "*"),
            ("/other//abc", "/other//abc"),
        ] {
            assert_eq!(credentials.redacted_path(path), expected, "{path}");
        }
    }
}
