//! Stacks: what they are made of, and how they are defined in JSON.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use tower_webhook::key::{InvalidId, KeyId, Owner};

use crate::rules::Fault;

/// A stack.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) id: i64,
    pub(crate) owner: i64,
    /// The owner, as the library names them.
    pub(crate) account: Owner,
    /// The key of the stack's token, whether there is one or not.
    pub(crate) key: KeyId,
    pub(crate) settings: Settings,
}

impl Stack {
    pub(crate) fn new(id: i64, owner: i64, settings: Settings) -> Result<Self, InvalidId> {
        let key = KeyId::new(format!("stack-{id}"))?;
        Ok(Self { id, owner, account: account(owner)?, key, settings })
    }
}

/// A user, as the library names them.
pub(crate) fn account(user: i64) -> Result<Owner, InvalidId> {
    Owner::new(user.to_string())
}

/// What the owner of a stack decides about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) name: String,
    /// Whether everybody sees the stack. Says nothing about who may run it.
    pub(crate) public: bool,
    pub(crate) webhook: Option<Mode>,
    pub(crate) method: Option<Verb>,
    /// Whether the stack has had a token, which it then keeps.
    pub(crate) has_token: bool,
    pub(crate) enabled: bool,
    pub(crate) needs_approval: bool,
    pub(crate) blocks: Vec<Block>,
}

impl Settings {
    /// The settings after a change. New blocks are numbered from `first_block` on.
    pub(crate) fn changed(self, change: Definition, first_block: i64) -> Self {
        let number = |kinds: Vec<Kind>| {
            (first_block..).zip(kinds).map(|(id, kind)| Block { id, kind }).collect()
        };
        Self {
            name: change.name.unwrap_or(self.name),
            webhook: change.webhook.unwrap_or(self.webhook),
            method: change.method.or(self.method),
            enabled: change.enabled.unwrap_or(self.enabled),
            needs_approval: change.needs_approval.unwrap_or(self.needs_approval),
            blocks: change.blocks.map_or(self.blocks, number),
            ..self
        }
        .completed()
    }

    /// What follows from a webhook: a method, and a token for the mode that asks for one.
    pub(crate) fn completed(mut self) -> Self {
        if self.webhook.is_some() {
            self.method.get_or_insert(Verb::Post);
        }
        self.has_token |= self.webhook == Some(Mode::Token);
        self
    }
}

/// Who may call a stack as a webhook.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub(crate) enum Mode {
    Public,
    Token,
    User,
}

/// The method of a webhook.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub(crate) enum Verb {
    Get,
    Post,
}

/// A text that names none of the values it may name.
#[derive(Debug)]
pub(crate) struct UnknownName;

impl std::fmt::Display for UnknownName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no such mode or method")
    }
}

impl std::error::Error for UnknownName {}

impl Mode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Token => "token",
            Self::User => "user",
        }
    }
}

impl TryFrom<String> for Mode {
    type Error = UnknownName;

    fn try_from(name: String) -> Result<Self, UnknownName> {
        let modes = [Self::Public, Self::Token, Self::User];
        modes.into_iter().find(|mode| mode.as_str() == name).ok_or(UnknownName)
    }
}

impl Verb {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

impl TryFrom<String> for Verb {
    type Error = UnknownName;

    fn try_from(name: String) -> Result<Self, UnknownName> {
        [Self::Get, Self::Post].into_iter().find(|verb| verb.as_str() == name).ok_or(UnknownName)
    }
}

/// A step of a stack.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) id: i64,
    pub(crate) kind: Kind,
}

/// What a block does with its input.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Returns it.
    Echo,
    /// Returns a value of its own.
    Const(Box<RawValue>),
    /// Fails the stack.
    Fail(String),
}

/// The parameters of all types of blocks. A value is kept as it was written.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

impl Kind {
    pub(crate) fn new(name: &str, parameters: Parameters) -> Result<Self, Fault> {
        match (name, parameters.value, parameters.message) {
            ("echo", None, None) => Ok(Self::Echo),
            ("const", Some(value), None) => Ok(Self::Const(value)),
            ("fail", None, Some(message)) => Ok(Self::Fail(message)),
            ("echo" | "const" | "fail", ..) => Err(Fault::Unfit),
            _ => Err(Fault::UnknownBlock),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Const(_) => "const",
            Self::Fail(_) => "fail",
        }
    }

    pub(crate) fn parameters(&self) -> Parameters {
        match self.clone() {
            Self::Echo => Parameters::default(),
            Self::Const(value) => Parameters { value: Some(value), message: None },
            Self::Fail(message) => Parameters { value: None, message: Some(message) },
        }
    }

    /// Reads `[type, parameters]` or `[type, parameters, {"name": .., "state": ..}]`.
    fn parse(text: &RawValue) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Extra {
            #[serde(default, deserialize_with = "present")]
            #[expect(dead_code, reason = "allowed, and of no effect")]
            name: Option<String>,
            #[serde(default, deserialize_with = "present")]
            state: Option<Box<RawValue>>,
        }

        let parts: Vec<&RawValue> = read(text.get())?;
        let (name, parameters, extra) = match parts.as_slice() {
            [name, parameters] => (name, parameters, None),
            [name, parameters, extra] => (name, parameters, Some(extra)),
            _ => return Err(Fault::Unfit),
        };
        let name: String = read(name.get())?;
        if !["echo", "const", "fail"].contains(&name.as_str()) {
            return Err(Fault::UnknownBlock);
        }
        if let Some(extra) = extra {
            let extra: Extra = read_object(extra)?;
            if extra.state.is_some_and(|state| !is_object(&state)) {
                return Err(Fault::Unfit);
            }
        }
        Self::new(&name, read_object(parameters)?)
    }
}

/// What a body says about a stack. What is not said is `None`.
#[derive(Default)]
pub(crate) struct Definition {
    name: Option<String>,
    blocks: Option<Vec<Kind>>,
    webhook: Option<Option<Mode>>,
    method: Option<Verb>,
    enabled: Option<bool>,
    needs_approval: Option<bool>,
}

impl Definition {
    /// Reads a JSON object.
    pub(crate) fn parse(object: &str) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Members<'a> {
            #[serde(default, deserialize_with = "present")]
            name: Option<String>,
            #[serde(default, borrow, deserialize_with = "present")]
            blocks: Option<Vec<&'a RawValue>>,
            #[serde(default, deserialize_with = "present")]
            webhook: Option<Option<Mode>>,
            #[serde(default, deserialize_with = "present")]
            webhook_method: Option<Verb>,
            #[serde(default, deserialize_with = "present")]
            enabled: Option<bool>,
            #[serde(default, deserialize_with = "present")]
            needs_approval: Option<bool>,
            #[serde(default, deserialize_with = "present")]
            #[expect(dead_code, reason = "there are no schedules: it can be null only")]
            schedule_id: Option<()>,
        }

        let members: Members<'_> = read(object)?;
        let is_empty = members.name.as_ref().is_some_and(String::is_empty)
            || members.blocks.as_ref().is_some_and(Vec::is_empty);
        if is_empty {
            return Err(Fault::Unfit);
        }
        let blocks = members.blocks.map(|blocks| blocks.into_iter().map(Kind::parse).collect());
        Ok(Self {
            name: members.name,
            blocks: blocks.transpose()?,
            webhook: members.webhook,
            method: members.webhook_method,
            enabled: members.enabled,
            needs_approval: members.needs_approval,
        })
    }

    /// The definition of a new stack, which has a name and blocks.
    pub(crate) fn parse_new(object: &str) -> Result<Self, Fault> {
        let definition = Self::parse(object)?;
        match (&definition.name, &definition.blocks) {
            (Some(_), Some(_)) => Ok(definition),
            _ => Err(Fault::Unfit),
        }
    }

    pub(crate) fn block_count(&self) -> usize {
        self.blocks.as_ref().map_or(0, Vec::len)
    }
}

/// A member that is there: `null` is a value like any other.
pub(crate) fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|_| Fault::Unfit)
}

/// serde would take an array for a struct too.
fn read_object<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Result<T, Fault> {
    if is_object(value) { read(value.get()) } else { Err(Fault::Unfit) }
}

fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}
