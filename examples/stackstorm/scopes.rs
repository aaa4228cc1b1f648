//! What an API key may do.

use crate::address::registered_hook;
use crate::json::Value;

/// Something that a caller may or may not do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Permission {
    WebhookList,
    WebhookView,
    WebhookSend,
    WebhookCreate,
    RuleList,
    RuleCreate,
    RuleView,
    RuleModify,
    RuleDelete,
    ApiKeyList,
    ApiKeyCreate,
    ApiKeyView,
    ApiKeyModify,
    ApiKeyDelete,
    TriggerInstanceList,
}

impl Permission {
    const ALL: [Self; 15] = [
        Self::WebhookList,
        Self::WebhookView,
        Self::WebhookSend,
        Self::WebhookCreate,
        Self::RuleList,
        Self::RuleCreate,
        Self::RuleView,
        Self::RuleModify,
        Self::RuleDelete,
        Self::ApiKeyList,
        Self::ApiKeyCreate,
        Self::ApiKeyView,
        Self::ApiKeyModify,
        Self::ApiKeyDelete,
        Self::TriggerInstanceList,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::WebhookList => "webhook_list",
            Self::WebhookView => "webhook_view",
            Self::WebhookSend => "webhook_send",
            Self::WebhookCreate => "webhook_create",
            Self::RuleList => "rule_list",
            Self::RuleCreate => "rule_create",
            Self::RuleView => "rule_view",
            Self::RuleModify => "rule_modify",
            Self::RuleDelete => "rule_delete",
            Self::ApiKeyList => "api_key_list",
            Self::ApiKeyCreate => "api_key_create",
            Self::ApiKeyView => "api_key_view",
            Self::ApiKeyModify => "api_key_modify",
            Self::ApiKeyDelete => "api_key_delete",
            Self::TriggerInstanceList => "trigger_instance_list",
        }
    }

    /// Whether it can be limited to one hook.
    const fn is_about_a_hook(self) -> bool {
        matches!(self, Self::WebhookView | Self::WebhookSend | Self::WebhookCreate)
    }
}

/// One entry of a key's list: a permission, for one hook or for everything.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Scope {
    permission: Permission,
    hook: Option<String>,
}

impl Scope {
    /// Reads `PERMISSION` or `PERMISSION:HOOK`. `None` if there is no such scope.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (name, hook) = match text.split_once(':') {
            Some((name, hook)) => (name, Some(registered_hook(hook)?)),
            None => (text, None),
        };
        let permission = *Permission::ALL.iter().find(|permission| permission.as_str() == name)?;
        if hook.is_some() && !permission.is_about_a_hook() {
            return None;
        }
        Some(Self { permission, hook: hook.map(str::to_owned) })
    }

    fn allows(&self, permission: Permission, hook: Option<&str>) -> bool {
        self.permission == permission && (self.hook.is_none() || self.hook.as_deref() == hook)
    }
}

/// Everything that a credential allows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Grants {
    /// No limit.
    All,
    /// What the list names, and nothing else.
    Only(Vec<Scope>),
}

impl Grants {
    /// Reads a list of scopes.
    ///
    /// # Errors
    ///
    /// Returns an error if the value is no list of texts, or if one of them is no scope. It shows none of them.
    pub(crate) fn read(scopes: Value<'_>) -> Result<Self, String> {
        let texts = scopes.as_texts().ok_or("'scopes' is a list of texts")?;
        let scopes: Option<Vec<Scope>> = texts.iter().map(|text| Scope::read(text)).collect();
        scopes.map(Self::Only).ok_or_else(|| "'scopes' has an unknown scope in it".to_owned())
    }

    pub(crate) fn allow(&self, permission: Permission, hook: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Only(scopes) => scopes.iter().any(|scope| scope.allows(permission, hook)),
        }
    }

    /// Whether these grants allow everything that others allow.
    pub(crate) fn cover(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(_), Self::Only(others)) => {
                others.iter().all(|other| self.allow(other.permission, other.hook.as_deref()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(scopes: &[&str]) -> Grants {
        Grants::Only(scopes.iter().map(|text| Scope::read(text).unwrap()).collect())
    }

    #[test]
    fn a_scope_is_a_permission_or_one_on_a_hook() {
        for permission in Permission::ALL {
            assert!(Scope::read(permission.as_str()).is_some());
            let on_hook = Scope::read(&format!("{}:a", permission.as_str()));
            assert_eq!(on_hook.is_some(), permission.is_about_a_hook());
        }
        for text in
            ["", "fly", "webhook_send:", "webhook_send://", "Webhook_list", " webhook_list", ":a"]
        {
            assert_eq!(Scope::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_hook_is_compared_as_it_is_registered() {
        let grants = only(&["webhook_send:/my/nested/hook/"]);
        for (hook, allowed) in [
            ("my/nested/hook", true),
            ("/my/nested/hook", false),
            ("my/nested/hook/", false),
            ("My/nested/hook", false),
            ("my/nested", false),
        ] {
            assert_eq!(grants.allow(Permission::WebhookSend, Some(hook)), allowed, "{hook}");
        }
        assert!(!grants.allow(Permission::WebhookView, Some("my/nested/hook")));
        assert!(only(&["webhook_send"]).allow(Permission::WebhookSend, Some("any")));
        assert!(only(&["webhook_send:a:b"]).allow(Permission::WebhookSend, Some("a:b")));
    }

    #[test]
    fn nothing_is_granted_by_an_empty_list() {
        for permission in Permission::ALL {
            assert!(!only(&[]).allow(permission, Some("a")));
            assert!(Grants::All.allow(permission, Some("a")));
        }
    }

    #[test]
    fn a_list_covers_narrower_ones() {
        let wide = only(&["webhook_send", "webhook_view:a"]);
        for (scopes, covered) in [
            (&[][..], true),
            (&["webhook_send"], true),
            (&["webhook_send:a", "webhook_send:b"], true),
            (&["webhook_view:/a/"], true),
            (&["webhook_view"], false),
            (&["webhook_view:b"], false),
            (&["webhook_send", "webhook_list"], false),
        ] {
            assert_eq!(wide.cover(&only(scopes)), covered, "{scopes:?}");
        }
        assert!(Grants::All.cover(&wide) && Grants::All.cover(&Grants::All));
        assert!(!wide.cover(&Grants::All));
    }
}
