use std::fmt::Write as _;

use http::HeaderValue;

use crate::error::ConfigError;

/// The authentication schemes that a challenge can name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ChallengeScheme {
    /// A key elsewhere than in `Authorization`: in which part of the request, and under which name.
    ApiKey(Option<(&'static str, Box<str>)>),
    /// A scheme of the app.
    Own(Box<str>),
    /// RFC 7617.
    Basic,
    /// RFC 6750.
    Bearer,
}

/// The `WWW-Authenticate` values of a layer, made once when the layer is built.
#[derive(Clone, Debug)]
pub(crate) struct Challenges {
    plain: Vec<HeaderValue>,
    /// The same, after a credential that came by `Bearer` and is not good (RFC 6750, section 3.1).
    invalid_token: Vec<HeaderValue>,
}

impl Challenges {
    /// # Errors
    ///
    /// Returns an error if the realm has a character that a quoted string of a header cannot hold.
    pub(crate) fn new(schemes: &[ChallengeScheme], realm: &str) -> Result<Self, ConfigError> {
        let realm = quote(realm)?;
        let mut challenges = Self { plain: Vec::new(), invalid_token: Vec::new() };
        for scheme in distinct(schemes) {
            let (plain, invalid) = match scheme {
                ChallengeScheme::ApiKey(place) => {
                    (format!("ApiKey realm={realm}{}", parameters(place.as_ref())), None)
                }
                ChallengeScheme::Own(scheme) => (format!("{scheme} realm={realm}"), None),
                ChallengeScheme::Basic => (format!("Basic realm={realm}, charset=\"UTF-8\""), None),
                ChallengeScheme::Bearer => (
                    format!("Bearer realm={realm}"),
                    Some(format!("Bearer realm={realm}, error=\"invalid_token\"")),
                ),
            };
            let plain = header_value(plain)?;
            challenges.invalid_token.push(match invalid {
                Some(invalid) => header_value(invalid)?,
                None => plain.clone(),
            });
            challenges.plain.push(plain);
        }
        Ok(challenges)
    }

    pub(super) fn values(&self, invalid_token: bool) -> &[HeaderValue] {
        if invalid_token { &self.invalid_token } else { &self.plain }
    }
}

/// What is offered where no placement says more, so that a 401 always has a challenge.
impl Default for Challenges {
    fn default() -> Self {
        let plain = vec![HeaderValue::from_static("ApiKey realm=\"webhook\"")];
        Self { invalid_token: plain.clone(), plain }
    }
}

/// Each scheme once, in order of first appearance; a key alone where no scheme is known, so that a 401
/// always has a challenge.
fn distinct(schemes: &[ChallengeScheme]) -> Vec<ChallengeScheme> {
    let mut seen = Vec::with_capacity(3);
    for scheme in schemes {
        if !seen.contains(scheme) {
            seen.push(scheme.clone());
        }
    }
    if seen.is_empty() {
        seen.push(ChallengeScheme::ApiKey(None));
    }
    seen
}

/// The parameters that say where a key goes. A name that no header can hold is left out.
fn parameters(place: Option<&(&'static str, Box<str>)>) -> String {
    let Some((part, name)) = place else { return String::new() };
    match quote(name) {
        Ok(name) => format!(", in=\"{part}\", name={name}"),
        Err(_) => format!(", in=\"{part}\""),
    }
}

/// A quoted string (RFC 9110, section 5.6.4).
fn quote(text: &str) -> Result<String, ConfigError> {
    if text.chars().any(|character| !matches!(character, ' '..='~')) {
        return Err(ConfigError::new("a realm consists of printable ASCII characters"));
    }
    let mut quoted = String::with_capacity(text.len().saturating_add(2));
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        // Writing to a string does not fail.
        let _ = quoted.write_char(character);
    }
    quoted.push('"');
    Ok(quoted)
}

fn header_value(text: String) -> Result<HeaderValue, ConfigError> {
    HeaderValue::try_from(text).map_err(|_| ConfigError::new("a challenge is not a header value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_is_quoted() {
        let challenges = Challenges::new(&[ChallengeScheme::Bearer], r#"a "b" \c"#).unwrap();

        assert_eq!(challenges.values(false), [r#"Bearer realm="a \"b\" \\c""#]);
        assert_eq!(
            challenges.values(true),
            [r#"Bearer realm="a \"b\" \\c", error="invalid_token""#]
        );
    }

    #[test]
    fn a_realm_that_no_header_can_hold_is_refused() {
        for realm in ["a\nb", "ä", "\u{7f}"] {
            assert!(Challenges::new(&[], realm).is_err(), "{realm:?}");
        }
    }

    fn key_in(part: &'static str, name: &str) -> ChallengeScheme {
        ChallengeScheme::ApiKey(Some((part, name.into())))
    }

    #[test]
    fn each_scheme_is_offered_once() {
        use ChallengeScheme::{Basic, Bearer, Own};

        let schemes = [Own("Token".into()), Bearer, Own("Token".into()), Basic];
        let challenges = Challenges::new(&schemes, "r").unwrap();

        assert_eq!(
            challenges.values(false),
            [r#"Token realm="r""#, r#"Bearer realm="r""#, r#"Basic realm="r", charset="UTF-8""#]
        );
    }

    #[test]
    fn a_challenge_says_where_a_key_goes() {
        for (scheme, expected) in [
            (ChallengeScheme::ApiKey(None), r#"ApiKey realm="r""#),
            (key_in("header", "x-key"), r#"ApiKey realm="r", in="header", name="x-key""#),
            (key_in("query", r#"a"\b"#), r#"ApiKey realm="r", in="query", name="a\"\\b""#),
            (key_in("body", "\u{e4}"), r#"ApiKey realm="r", in="body""#),
        ] {
            assert_eq!(Challenges::new(&[scheme], "r").unwrap().values(true), [expected]);
        }
    }

    #[test]
    fn there_is_always_a_challenge() {
        assert_eq!(Challenges::new(&[], "r").unwrap().values(true), [r#"ApiKey realm="r""#]);
    }
}
