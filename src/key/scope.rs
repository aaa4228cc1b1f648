use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use super::id::checked_text;

/// One permission. The application defines its meaning.
///
/// 1 to 128 visible ASCII characters without space, `"` and `\`: a scope-token of RFC 6749 section
/// 3.3. Scopes are compared byte for byte; no character is a wildcard.
///
/// # Examples
///
/// ```
/// use tower_webhook::key::Scope;
///
/// let scope = Scope::new("deploy:write")?;
/// assert_eq!(scope.as_str(), "deploy:write");
/// assert!(Scope::new("deploy write").is_err());
/// # Ok::<(), tower_webhook::key::InvalidScope>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Scope(SmolStr);

impl Scope {
    /// The most bytes of a scope.
    pub const MAX_LEN: usize = 128;

    /// Checks the text and takes a copy of it.
    ///
    /// # Errors
    ///
    /// Refuses a text that is empty, longer than [`MAX_LEN`](Self::MAX_LEN) or no scope-token.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidScope> {
        let text = text.as_ref();
        let allowed = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.as_bytes().iter().all(allowed) {
            return Err(InvalidScope(()));
        }
        Ok(Self(SmolStr::new(text)))
    }

    /// The scope as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

checked_text!(Scope, InvalidScope);

/// A text that is no [`Scope`].
#[derive(Clone, Debug)]
pub struct InvalidScope(());

impl fmt::Display for InvalidScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text is no scope: 1 to 128 visible characters without space, \" and \\")
    }
}

impl Error for InvalidScope {}

/// The granted scopes: all of them, or a set.
///
/// 1. [`Scopes::ALL`] grants every scope. No other value converts to it.
/// 2. A set grants its members, compared byte for byte, without prefixes and wildcards.
/// 3. The empty set, [`Scopes::NONE`], grants nothing. It is the default.
///
/// In JSON, `ALL` is the string `"all"` and a set is an array of strings. A scope that is called
/// `all` is an ordinary member of a set.
///
/// # Examples
///
/// ```
/// use tower_webhook::key::{Scope, Scopes};
///
/// let scopes = Scopes::parse(["deploy", "rollback"])?;
/// assert!(scopes.contains(&Scope::new("deploy")?));
/// assert!(!scopes.contains(&Scope::new("deploy:now")?));
/// assert!(Scopes::ALL.covers(&scopes) && !scopes.covers(&Scopes::ALL));
/// assert!(!Scopes::NONE.contains(&Scope::new("deploy")?));
/// # Ok::<(), tower_webhook::key::InvalidScope>(())
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Scopes(Granted);

/// The set is sorted, has no repeats, and is `None` when it is empty.
#[derive(Clone, Eq, Hash, PartialEq)]
enum Granted {
    All,
    Set(Option<Arc<[Scope]>>),
}

impl Scopes {
    /// Every scope, those of later versions of the application included.
    pub const ALL: Self = Self(Granted::All);

    /// No scope.
    pub const NONE: Self = Self(Granted::Set(None));

    /// The set of these scopes. Order and repeats do not matter.
    #[must_use]
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let set: BTreeSet<Scope> = scopes.into_iter().collect();
        if set.is_empty() {
            Self::NONE
        } else {
            Self(Granted::Set(Some(set.into_iter().collect())))
        }
    }

    /// The set of the scopes with these texts.
    ///
    /// # Errors
    ///
    /// Refuses a text that is no [`Scope`].
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, InvalidScope> {
        let scopes = texts.into_iter().map(Scope::new).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(scopes))
    }

    /// Whether every scope is granted.
    #[must_use]
    pub fn is_all(&self) -> bool {
        matches!(self.0, Granted::All)
    }

    /// Whether no scope is granted.
    #[must_use]
    pub fn is_none(&self) -> bool {
        !self.is_all() && self.as_slice().is_empty()
    }

    /// Whether `scope` is granted.
    #[must_use]
    pub fn contains(&self, scope: &Scope) -> bool {
        self.is_all() || self.as_slice().binary_search(scope).is_ok()
    }

    /// Whether everything that `other` grants is granted here too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.is_all() || (!other.is_all() && other.iter().all(|scope| self.contains(scope)))
    }

    /// The members of the set in ascending order. Nothing for [`ALL`](Self::ALL), which names none.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Scope> {
        self.as_slice().iter()
    }

    fn as_slice(&self) -> &[Scope] {
        match &self.0 {
            Granted::Set(Some(set)) => set,
            Granted::All | Granted::Set(None) => &[],
        }
    }
}

impl Default for Scopes {
    fn default() -> Self {
        Self::NONE
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self::new(scopes)
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() { f.write_str("ALL") } else { f.debug_set().entries(self.iter()).finish() }
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_all() {
            serializer.serialize_str("all")
        } else {
            serializer.collect_seq(self.iter())
        }
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScopesVisitor;

        impl<'de> Visitor<'de> for ScopesVisitor {
            type Value = Scopes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the string \"all\" or an array of scopes")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Scopes, E> {
                if text == "all" { Ok(Scopes::ALL) } else { Err(E::custom("no list of scopes")) }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scopes, A::Error> {
                let mut scopes = Vec::new();
                while let Some(scope) = seq.next_element()? {
                    scopes.push(scope);
                }
                Ok(Scopes::new(scopes))
            }
        }

        deserializer.deserialize_any(ScopesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(text: &str) -> Scope {
        Scope::new(text).unwrap()
    }

    #[test]
    fn a_scope_is_a_scope_token() {
        for text in ["a", "!", "~", "deploy:write", "*", "all", &"a".repeat(128)] {
            assert_eq!(scope(text).as_str(), text);
        }
        for text in ["", " ", "a b", "a\"", "a\\", "é", "\u{7f}", "a\t", &"a".repeat(129)] {
            assert!(Scope::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_scope_is_granted_by_exact_match_only() {
        let cases: &[(&[&str], &str, bool)] = &[
            (&[], "a", false),
            (&["a"], "ab", false),
            (&["ab"], "a", false),
            (&["A"], "a", false),
            (&["a*"], "ab", false),
            (&["*"], "a", false),
            (&["*"], "*", true),
            (&["all"], "a", false),
            (&["b", "a", "b"], "b", true),
        ];
        for (granted, wanted, expected) in cases {
            let scopes = Scopes::parse(*granted).unwrap();
            assert_eq!(scopes.contains(&scope(wanted)), *expected, "{granted:?} {wanted}");
        }
        assert!(Scopes::ALL.contains(&scope("a")));
    }

    #[test]
    fn the_default_grants_nothing() {
        assert!(Scopes::default().is_none());
        assert_eq!(Scopes::default(), Scopes::new([]));
    }

    #[test]
    fn a_list_that_is_emptied_does_not_become_all() {
        let emptied = serde_json::from_str::<Scopes>("[]").unwrap();

        assert_eq!(emptied, Scopes::NONE);
        assert!(!emptied.is_all());
    }

    #[test]
    fn all_is_a_string_and_a_set_is_an_array() {
        assert_eq!(serde_json::to_string(&Scopes::ALL).unwrap(), r#""all""#);
        let set = Scopes::parse(["b", "a"]).unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["a","b"]"#);
        assert_eq!(serde_json::from_str::<Scopes>(r#""all""#).unwrap(), Scopes::ALL);
        assert_eq!(serde_json::from_str::<Scopes>(r#"["b","a"]"#).unwrap(), set);
        assert_eq!(
            serde_json::from_str::<Scopes>(r#"["all"]"#).unwrap(),
            Scopes::parse(["all"]).unwrap()
        );
        for text in [r#""ALL""#, r#""*""#, r#""""#, "null", "true", r#"["a b"]"#, "[1]", "{}"] {
            assert!(serde_json::from_str::<Scopes>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn covers_means_a_subset(
            left in proptest::collection::btree_set("[a-c]{1,2}", 0..8),
            right in proptest::collection::btree_set("[a-c]{1,2}", 0..8),
        ) {
            let a = Scopes::parse(&left).unwrap();
            let b = Scopes::parse(&right).unwrap();
            prop_assert_eq!(a.covers(&b), right.is_subset(&left));
            prop_assert!(Scopes::ALL.covers(&a) && a.covers(&Scopes::NONE) && a.covers(&a));
            prop_assert!(!a.covers(&Scopes::ALL));
        }
    }
}
