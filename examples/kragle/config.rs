//! The configuration: users, and the stacks that a new data folder starts with.

use std::collections::HashSet;
use std::hash::Hash;

use serde::Deserialize;
use serde_json::value::RawValue;
use servers::Error;
use tower_webhook::content::json::validate;

use crate::rules::JSON_LIMITS;
use crate::stacks::{Block, Kind, Mode, Parameters, Settings, Stack, Verb, present};

/// The configuration. Users are read at every start, stacks are imported once.
pub(crate) struct Config {
    pub(crate) users: Vec<User>,
    pub(crate) stacks: Vec<(Stack, Option<String>)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entries {
    users: Vec<User>,
    stacks: Vec<StackEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StackEntry {
    id: i64,
    owner: i64,
    name: String,
    webhook: Option<Mode>,
    webhook_method: Option<Verb>,
    webhook_token: Option<String>,
    #[serde(default)]
    public: bool,
    blocks: Vec<BlockEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockEntry {
    id: i64,
    r#type: String,
    #[serde(default, deserialize_with = "present")]
    value: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    message: Option<String>,
}

/// The longest token: what the library takes for a key.
const MAX_TOKEN_BYTES: usize = 256;

/// Ids are numbers that every reader of JSON keeps apart.
const MAX_ID: i64 = 1 << 53;

impl Config {
    /// # Errors
    ///
    /// Refuses what is no JSON, is of another shape, or contradicts itself. The error names the place and
    /// never the value, which may be a password.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        validate(text.as_bytes(), &JSON_LIMITS)
            .map_err(|error| format!("{error}, at byte {}", error.offset()))?;
        let Entries { users, stacks } = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("line {line}, column {column}: this is not the shape of a configuration")
        })?;

        unique(users.iter().map(|user| user.id), "two users have one id")?;
        unique(stacks.iter().map(|stack| stack.id), "two stacks have one id")?;
        let names = stacks.iter().map(|stack| (stack.owner, &stack.name));
        unique(names, "two stacks of one owner have one name")?;
        // A user may log in by either, so all of them are different.
        let logins = users.iter().flat_map(|user| HashSet::from([&user.username, &user.email]));
        unique(logins, "two users have one user name or e-mail address")?;
        let ids = users.iter().map(|user| user.id).chain(stacks.iter().map(|stack| stack.id));
        let blocks = stacks.iter().flat_map(|stack| &stack.blocks).map(|block| block.id);
        if ids.chain(blocks).any(|id| !(1..=MAX_ID).contains(&id)) {
            return Err("an id is a positive integer".into());
        }
        if stacks.iter().any(|stack| users.iter().all(|user| user.id != stack.owner)) {
            return Err("the owner of a stack is no user".into());
        }
        let stacks = stacks.into_iter().map(StackEntry::into_stack).collect::<Result<_, _>>()?;
        Ok(Self { users, stacks })
    }
}

fn unique<T: Eq + Hash>(
    mut items: impl Iterator<Item = T>,
    otherwise: &'static str,
) -> Result<(), &'static str> {
    let mut seen = HashSet::new();
    if items.all(|item| seen.insert(item)) { Ok(()) } else { Err(otherwise) }
}

impl StackEntry {
    /// The stack and its token, if one is given.
    fn into_stack(self) -> Result<(Stack, Option<String>), Error> {
        if self.name.is_empty() || self.blocks.is_empty() {
            return Err("a stack has a name and blocks".into());
        }
        let fits = |token: &String| (1..=MAX_TOKEN_BYTES).contains(&token.len());
        if !self.webhook_token.as_ref().is_none_or(fits) {
            return Err("a token has 1 to 256 bytes".into());
        }
        let blocks =
            self.blocks.into_iter().map(BlockEntry::into_block).collect::<Result<_, _>>()?;
        let settings = Settings {
            name: self.name,
            public: self.public,
            webhook: self.webhook,
            method: self.webhook_method,
            has_token: self.webhook_token.is_some(),
            enabled: true,
            needs_approval: false,
            blocks,
        };
        Ok((Stack::new(self.id, self.owner, settings.completed())?, self.webhook_token))
    }
}

impl BlockEntry {
    fn into_block(self) -> Result<Block, &'static str> {
        let parameters = Parameters { value: self.value, message: self.message };
        let kind = Kind::new(&self.r#type, parameters)
            .map_err(|_| "a block has an unknown type, or not the parameters of its type")?;
        Ok(Block { id: self.id, kind })
    }
}
