//! What is shown of stacks.

use serde::Serialize;
use tower_webhook::credential::Secret;

use crate::stacks::{Block, Mode, Parameters, Stack, Verb};

/// What the owner sees of a stack.
#[derive(Serialize)]
pub(crate) struct OwnerView<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    webhook_token: Option<&'a str>,
    blocks: Vec<OwnerBlock>,
    jobs: [(); 0],
}

/// What everybody else sees.
#[derive(Serialize)]
pub(crate) struct PublicView<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    blocks: Vec<PublicBlock>,
}

/// The answer to a change by the owner.
#[derive(Serialize)]
pub(crate) struct ChangeView<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    is_approved: bool,
    needs_approval: bool,
    webhook_token: Option<&'a str>,
    instances: Vec<i64>,
    jobs: [(); 0],
}

#[derive(Serialize)]
struct Common<'a> {
    id: i64,
    owner: i64,
    name: &'a str,
    webhook: Option<&'static str>,
    webhook_method: Option<&'static str>,
}

#[derive(Serialize)]
struct OwnerBlock {
    #[serde(flatten)]
    common: PublicBlock,
    conversion: Parameters,
    state: State,
}

#[derive(Serialize)]
struct PublicBlock {
    id: i64,
    r#type: &'static str,
}

#[derive(Default, Serialize)]
struct State {
    input: Nothing,
    output: Nothing,
}

/// `{}`
#[derive(Default, Serialize)]
struct Nothing {}

impl Stack {
    pub(crate) fn owner_view<'a>(&'a self, token: Option<&'a Secret>) -> OwnerView<'a> {
        let block = |block: &Block| OwnerBlock {
            common: PublicBlock::of(block),
            conversion: block.kind.parameters(),
            state: State::default(),
        };
        OwnerView {
            common: self.common(),
            webhook_token: token.map(Secret::expose_secret),
            blocks: self.settings.blocks.iter().map(block).collect(),
            jobs: [],
        }
    }

    pub(crate) fn public_view(&self) -> PublicView<'_> {
        let blocks = self.settings.blocks.iter().map(PublicBlock::of).collect();
        PublicView { common: self.common(), blocks }
    }

    pub(crate) fn change_view<'a>(&'a self, token: Option<&'a Secret>) -> ChangeView<'a> {
        ChangeView {
            common: self.common(),
            is_approved: self.settings.public,
            needs_approval: self.settings.needs_approval,
            webhook_token: token.map(Secret::expose_secret),
            instances: self.settings.blocks.iter().map(|block| block.id).collect(),
            jobs: [],
        }
    }

    fn common(&self) -> Common<'_> {
        Common {
            id: self.id,
            owner: self.owner,
            name: &self.settings.name,
            webhook: self.settings.webhook.map(Mode::as_str),
            webhook_method: self.settings.method.map(Verb::as_str),
        }
    }
}

impl PublicBlock {
    fn of(block: &Block) -> Self {
        Self { id: block.id, r#type: block.kind.name() }
    }
}
