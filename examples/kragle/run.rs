//! Running a stack.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::value::RawValue;
use servers::Error;
use tower_webhook::executor::{ExecutorError, Invocation};

use crate::rules::Target;
use crate::stacks::{Kind, Stack};

/// Runs stacks, and writes down what each was given if there is a log.
#[derive(Debug, Default)]
pub(crate) struct Runner {
    log: Option<Mutex<File>>,
}

/// What a stack has done.
pub(crate) struct Run {
    /// What the last block has returned.
    pub(crate) output: Box<RawValue>,
    /// The blocks that ran.
    pub(crate) blocks: Vec<i64>,
}

#[derive(Serialize)]
struct Entry<'a> {
    stack: i64,
    input: &'a RawValue,
}

impl Runner {
    pub(crate) fn new(log: Option<&Path>) -> Result<Self, Error> {
        let open = |path: &Path| {
            let file = OpenOptions::new().append(true).create(true).open(path);
            file.map_err(|error| format!("{}: {error}", path.display()))
        };
        Ok(Self { log: log.map(open).transpose()?.map(Mutex::new) })
    }

    /// Runs the stack that a request is for, with its envelope as the input.
    pub(crate) fn run(&self, invocation: Invocation) -> Result<Run, ExecutorError> {
        let target = invocation.extensions().get::<Target>().cloned();
        let stack = target.as_ref().and_then(Target::stack).ok_or("no stack to run")?;
        // Every value stays the text that it is, so numbers keep their digits.
        let input = RawValue::from_string(invocation.into_envelope().into_string())?;
        self.write_down(stack, &input)?;

        let blocks = stack.settings.blocks.iter().map(|block| block.id).collect();
        let step = |input, kind: &Kind| match kind {
            Kind::Echo => Ok(input),
            Kind::Const(value) => Ok(value.clone()),
            Kind::Fail(message) => Err(ExecutorError::public(message.clone())),
        };
        let output = stack.settings.blocks.iter().map(|block| &block.kind).try_fold(input, step)?;
        Ok(Run { output, blocks })
    }

    /// One line, complete before the stack runs.
    fn write_down(&self, stack: &Stack, input: &RawValue) -> Result<(), ExecutorError> {
        let Some(log) = &self.log else { return Ok(()) };
        let line = serde_json::to_string(&Entry { stack: stack.id, input })?;
        // The JSON of a sender may have line breaks between its values. Inside of texts they are escaped.
        let line = line.replace(['\n', '\r'], " ") + "\n";
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(log.write_all(line.as_bytes())?)
    }
}
