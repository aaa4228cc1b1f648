//! Which address a request is for.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::scopes::Permission;

/// An address that is served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Address {
    /// All hooks.
    Hooks,
    /// The hook of this name.
    Hook(String),
    /// All rules.
    Rules,
    /// The rule with this id, ref or name.
    Rule(String),
    /// The caller's API keys.
    Keys,
    /// The API key with this id.
    Key(String),
    /// What the hooks have dispatched.
    Events,
}

impl Address {
    /// Reads a path. Each segment is percent-decoded once, and nothing is normalised beyond one slash at
    /// the end: of the addresses without a name, and of a hook's name. The hooks are served without `/v1`
    /// as well.
    ///
    /// `None` if nothing is served there: also for a `POST` that names no hook.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        let (first, rest) = segment(path.strip_prefix('/')?)?;
        let (versioned, (name, rest)) = match (first.as_str(), rest) {
            ("v1", Some(rest)) => (true, segment(rest)?),
            _ => (false, (first, rest)),
        };
        let rest = rest.filter(|rest| !rest.is_empty());
        match (name.as_str(), rest) {
            ("webhooks", None) if method != Method::POST => Some(Self::Hooks),
            ("webhooks", Some(rest)) => requested_hook(rest).map(Self::Hook),
            _ if !versioned => None,
            ("rules", None) => Some(Self::Rules),
            ("rules", Some(rest)) => last_segment(rest).map(Self::Rule),
            ("apikeys", None) => Some(Self::Keys),
            ("apikeys", Some(rest)) => last_segment(rest).map(Self::Key),
            ("triggerinstances", None) => Some(Self::Events),
            _ => None,
        }
    }

    /// The methods that are served here. All others are refused before anything else is looked at.
    pub(crate) fn methods(&self) -> &'static [Method] {
        match self {
            Self::Hooks | Self::Events => &[Method::GET],
            Self::Hook(_) | Self::Rules | Self::Keys => &[Method::GET, Method::POST],
            Self::Rule(_) | Self::Key(_) => &[Method::GET, Method::PUT, Method::DELETE],
        }
    }

    /// What a caller needs for a call, and on which hook. `None` for a method that is not served.
    pub(crate) fn permission(&self, method: &Method) -> Option<(Permission, Option<&str>)> {
        let (permission, hook) = match (self, method) {
            (Self::Hooks, &Method::GET) => (Permission::WebhookList, None),
            (Self::Hook(hook), &Method::GET) => (Permission::WebhookView, Some(hook.as_str())),
            (Self::Hook(hook), &Method::POST) => (Permission::WebhookSend, Some(hook.as_str())),
            (Self::Rules, &Method::GET) => (Permission::RuleList, None),
            (Self::Rules, &Method::POST) => (Permission::RuleCreate, None),
            (Self::Rule(_), &Method::GET) => (Permission::RuleView, None),
            (Self::Rule(_), &Method::PUT) => (Permission::RuleModify, None),
            (Self::Rule(_), &Method::DELETE) => (Permission::RuleDelete, None),
            (Self::Keys, &Method::GET) => (Permission::ApiKeyList, None),
            (Self::Keys, &Method::POST) => (Permission::ApiKeyCreate, None),
            (Self::Key(_), &Method::GET) => (Permission::ApiKeyView, None),
            (Self::Key(_), &Method::PUT) => (Permission::ApiKeyModify, None),
            (Self::Key(_), &Method::DELETE) => (Permission::ApiKeyDelete, None),
            (Self::Events, &Method::GET) => (Permission::TriggerInstanceList, None),
            _ => return None,
        };
        Some((permission, hook))
    }
}

/// The name of a hook in a rule: the url without the slashes around it. `None` if nothing is left.
pub(crate) fn registered_hook(url: &str) -> Option<&str> {
    Some(url.trim_matches('/')).filter(|name| !name.is_empty())
}

/// The name of a hook in a path: decoded, then without one slash at its end.
fn requested_hook(raw: &str) -> Option<String> {
    let mut name = decoded(raw)?;
    if name.ends_with('/') {
        name.pop();
    }
    Some(name)
}

/// The first segment, decoded, and what follows its slash.
fn segment(path: &str) -> Option<(String, Option<&str>)> {
    match path.split_once('/') {
        Some((segment, rest)) => Some((decoded(segment)?, Some(rest))),
        None => Some((decoded(path)?, None)),
    }
}

fn last_segment(path: &str) -> Option<String> {
    if path.contains('/') { None } else { decoded(path) }
}

/// `None` if the bytes are not UTF-8: they name nothing.
fn decoded(raw: &str) -> Option<String> {
    percent_decode_str(raw).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Option<Address> {
        Address::of(&Method::GET, path)
    }

    fn hook(name: &str) -> Option<Address> {
        Some(Address::Hook(name.to_owned()))
    }

    #[test]
    fn an_address_without_a_name_may_end_in_one_slash() {
        for (path, address) in [
            ("/v1/webhooks", Address::Hooks),
            ("/webhooks", Address::Hooks),
            ("/v1/rules", Address::Rules),
            ("/v1/apikeys", Address::Keys),
            ("/v1/triggerinstances", Address::Events),
            ("/%761/%72ules", Address::Rules),
        ] {
            assert_eq!(get(path), Some(address.clone()), "{path}");
            assert_eq!(get(&format!("{path}/")), Some(address.clone()), "{path}/");
            assert_eq!(Address::of(&Method::DELETE, &format!("{path}/")), Some(address));
        }
    }

    #[test]
    fn other_paths_name_nothing() {
        for path in [
            "",
            "/",
            "//",
            "*",
            "/v1",
            "/v1/",
            "/v1//webhooks",
            "//v1/webhooks",
            "/V1/webhooks",
            "/v2/webhooks",
            "/v1/Webhooks",
            "/v1%2Fwebhooks",
            "/rules",
            "/rules/a",
            "/apikeys",
            "/triggerinstances",
            "/v1/rules//",
            "/v1/rules/a/",
            "/v1/rules/a/b",
            "/v1/apikeys/a/",
            "/v1/triggerinstances/a",
            "/v1/triggerinstances//",
            "/v1/../v1/rules",
            "/v1/webhooks/%ff",
            "/v1/rules/%C3",
            "/v1/v1/webhooks",
        ] {
            assert_eq!(get(path), None, "{path}");
        }
    }

    #[test]
    fn a_post_without_a_hook_names_nothing() {
        for path in ["/v1/webhooks", "/v1/webhooks/", "/webhooks", "/webhooks/"] {
            assert_eq!(Address::of(&Method::POST, path), None);
        }
    }

    #[test]
    fn a_hook_is_decoded_once_and_loses_one_slash() {
        for (path, name) in [
            ("/v1/webhooks/a", "a"),
            ("/webhooks/a/", "a"),
            ("/v1/webhooks/a//", "a/"),
            ("/v1/webhooks//a", "/a"),
            ("/v1/webhooks/my/nested/hook", "my/nested/hook"),
            ("/v1/webhooks/my%2Fnested%2fhook", "my/nested/hook"),
            ("/v1/webhooks/my%2Fnested%2Fhook%2F", "my/nested/hook"),
            ("/v1/webhooks/my%252Fnested", "my%2Fnested"),
            ("/v1/webhooks/a/../b", "a/../b"),
            ("/v1/webhooks/caf%C3%A9+x", "café+x"),
            ("/v1/webhooks//", ""),
        ] {
            assert_eq!(get(path), hook(name), "{path}");
        }
    }

    #[test]
    fn a_rule_may_have_a_slash_in_its_name() {
        assert_eq!(get("/v1/rules/a%2Fb"), Some(Address::Rule("a/b".to_owned())));
        assert_eq!(get("/v1/apikeys/a%2Fb"), Some(Address::Key("a/b".to_owned())));
    }

    #[test]
    fn every_served_method_needs_a_permission() {
        let name = || "a".to_owned();
        for address in [
            Address::Hooks,
            Address::Hook(name()),
            Address::Rules,
            Address::Rule(name()),
            Address::Keys,
            Address::Key(name()),
            Address::Events,
        ] {
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD] {
                let served = address.methods().contains(&method);
                assert_eq!(address.permission(&method).is_some(), served, "{method} {address:?}");
            }
        }
    }

    #[test]
    fn a_registered_url_loses_the_slashes_around_it() {
        for (url, name) in [
            ("a", Some("a")),
            ("//my//nested/", Some("my//nested")),
            ("", None),
            ("///", None),
            (" ", Some(" ")),
        ] {
            assert_eq!(registered_hook(url), name, "{url}");
        }
    }
}
