//! Running a stack.

use serde_json::value::RawValue;
use servers::ExecLog;
use tower_webhook::hook::{ExecutorError, Invocation};

use crate::envelope;
use crate::rules::Target;
use crate::stacks::Kind;

/// Runs stacks, and writes down what each was given.
#[derive(Debug, Default)]
pub(crate) struct Runner {
    log: ExecLog,
}

/// What a stack has done.
pub(crate) struct Run {
    /// What the last block has returned.
    pub(crate) output: Box<RawValue>,
    /// The blocks that ran.
    pub(crate) blocks: Vec<i64>,
}

impl Runner {
    pub(crate) fn new(log: ExecLog) -> Self {
        Self { log }
    }

    /// Runs the stack that a request is for, with its envelope as the input.
    pub(crate) fn run(&self, invocation: &Invocation) -> Result<Run, ExecutorError> {
        let target = invocation.extensions().get::<Target>().cloned();
        let stack = target.as_ref().and_then(Target::stack).ok_or("no stack to run")?;
        let input = envelope::input(invocation)?;
        self.log.append(|| format!(r#"{{"stack":{},"input":{input}}}"#, stack.id))?;

        let blocks = stack.settings.blocks.iter().map(|block| block.id).collect();
        let step = |input, kind: &Kind| match kind {
            Kind::Echo => Ok(input),
            Kind::Const(value) => Ok(value.clone()),
            Kind::Fail(message) => Err(ExecutorError::public(message.clone())),
        };
        let output = stack.settings.blocks.iter().map(|block| &block.kind).try_fold(input, step)?;
        Ok(Run { output, blocks })
    }
}
