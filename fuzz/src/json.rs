//! The JSON scanner against `serde_json`.

use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use tower_webhook::content::json::{self, JsonErrorKind, JsonKind, JsonLimits};
use tower_webhook::content::{ContentLimits, FieldValue, MediaType, find_field, remove_field};

/// How `serde_json` with `arbitrary_precision` shows a number.
const NUMBER: &str = "$serde_json::private::Number";

/// `serde_json` opens one array less than its limit of 128.
const LIMITS: JsonLimits = JsonLimits::new().with_depth(127).with_nodes(usize::MAX);

/// Both accept the same texts and see the same members in them, and removal takes out one member and nothing else.
pub fn check(data: &[u8]) {
    if data.windows(NUMBER.len()).any(|window| window == NUMBER.as_bytes()) {
        return;
    }
    let ours = json::validate(data, &LIMITS).map_err(|error| error.kind());
    let theirs = serde_json::from_slice::<Tree>(data);
    let tree = match (&ours, theirs) {
        (Ok(text), Ok(tree)) => {
            assert!(tree.is_distinct(), "a name twice was accepted");
            assert_eq!(text.kind(), tree.kind());
            tree
        }
        (Ok(_), Err(error)) => {
            // Without `arbitrary_precision`, numbers have a range.
            assert!(error.to_string().contains("out of range"), "{error}");
            return;
        }
        (Err(kind), Ok(tree)) => {
            assert_eq!(*kind, JsonErrorKind::DuplicateName, "a text was refused");
            assert!(!tree.is_distinct(), "a name was taken for another");
            return;
        }
        (Err(_), Err(_)) => return,
    };
    check_elements(data, &tree);
    let Tree::Object(members) = &tree else { return };
    check_members(data, members);
    for name in super::names_to_try(members.iter().map(|(name, _)| name.as_str())) {
        check_field(data, &name, members);
    }
}

fn check_elements(data: &[u8], tree: &Tree) {
    let mut elements = Vec::new();
    json::visit_elements(data, &LIMITS, |element| elements.push(parse(element.value())))
        .expect("the text was accepted");
    match tree {
        Tree::Array(expected) => assert_eq!(elements, *expected),
        _ => assert!(elements.is_empty()),
    }
}

fn check_members(data: &[u8], expected: &[(String, Tree)]) {
    let mut members = Vec::new();
    json::visit_members(data, &LIMITS, |member| {
        let value = parse(member.value());
        assert_eq!(member.kind(), value.kind());
        assert_eq!(member.as_text().as_deref(), value.text());
        members.push((member.name().into_owned(), value));
    })
    .expect("the text was accepted");
    assert_eq!(members, expected);
}

fn check_field(data: &[u8], name: &str, members: &[(String, Tree)]) {
    let limits = ContentLimits::new().with_json(LIMITS);
    let own = members.iter().find(|(other, _)| other == name).map(|(_, value)| value);

    let found = find_field(&MediaType::Json, data, name, &limits).expect("the text was accepted");
    let expected = own.map(|value| match value {
        Tree::Null => FieldValue::Text("".into()),
        Tree::Text(text) => FieldValue::Text(text.into()),
        _ => FieldValue::NotText,
    });
    assert_eq!(found, Vec::from_iter(expected));

    // One byte order mark changes nothing.
    let marked = Bytes::from([super::MARK, data].concat());
    assert_eq!(find_field(&MediaType::Json, &marked, name, &limits).expect("accepted"), found);
    let body = Bytes::copy_from_slice(data);
    let rest = remove_field(&MediaType::Json, &body, name, &limits).expect("it was accepted");
    let marked = remove_field(&MediaType::Json, &marked, name, &limits).expect("accepted");
    assert_eq!(marked.strip_prefix(super::MARK), Some(&*rest));
    let kept: Vec<_> = members.iter().filter(|(other, _)| other != name).cloned().collect();
    assert_eq!(
        serde_json::from_slice::<Tree>(&rest).expect("the rest is JSON"),
        Tree::Object(kept)
    );
    if own.is_none() {
        assert_eq!(rest, body);
    }
}

fn parse(text: &str) -> Tree {
    serde_json::from_str(text).expect("a value is JSON")
}

/// A JSON text as `serde_json` reads it, with every member of every object.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Tree {
    /// Whether no object at any depth has a name twice.
    fn is_distinct(&self) -> bool {
        match self {
            Self::Array(elements) => elements.iter().all(Self::is_distinct),
            Self::Object(members) => {
                let mut names = HashSet::new();
                members.iter().all(|(name, value)| names.insert(name) && value.is_distinct())
            }
            _ => true,
        }
    }

    fn kind(&self) -> JsonKind {
        match self {
            Self::Null => JsonKind::Null,
            Self::Boolean(_) => JsonKind::Boolean,
            Self::Number(_) => JsonKind::Number,
            Self::Text(_) => JsonKind::String,
            Self::Array(_) => JsonKind::Array,
            Self::Object(_) => JsonKind::Object,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element()? {
            elements.push(element);
        }
        Ok(Tree::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = access.next_key::<String>()? {
            let value: Tree = access.next_value()?;
            if let (NUMBER, Tree::Text(digits)) = (name.as_str(), &value) {
                return Ok(Tree::Number(digits.clone()));
            }
            members.push((name, value));
        }
        Ok(Tree::Object(members))
    }
}
