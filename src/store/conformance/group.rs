//! The groups of checks, and how one is run.

use std::time::Duration;

use super::trial::{Checked, Trial};
use super::{
    Violation, batches, cancellation, crud, histories, owners, paging, races, ready, records,
};
use crate::key::KeyStore;
use crate::util::conformance::{Call, contained};

/// A check: the sentence that it proves, and how.
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) run: for<'a> fn(&'a Trial) -> Call<'a, Checked>,
}

/// The list of these functions.
macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        &[$(crate::store::conformance::group::Check {
            name: stringify!($name),
            run: |trial| Box::pin($name(trial)),
        }),*]
    };
}

pub(super) use checks;

pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) checks: &'static [Check],
}

pub(super) const CRUD: Group = Group { name: "crud", checks: crud::CHECKS };
pub(super) const RECORDS: Group = Group { name: "records", checks: records::CHECKS };
pub(super) const OWNERS: Group = Group { name: "owners", checks: owners::CHECKS };
pub(super) const BATCHES: Group = Group { name: "batches", checks: batches::CHECKS };
pub(super) const PAGING: Group = Group { name: "paging", checks: paging::CHECKS };
pub(super) const READY: Group = Group { name: "ready", checks: ready::CHECKS };
pub(super) const RACES: Group = Group { name: "races", checks: races::CHECKS };
pub(super) const CANCELLATION: Group = Group { name: "cancellation", checks: cancellation::CHECKS };
pub(super) const HISTORIES: Group = Group { name: "histories", checks: histories::CHECKS };

/// From the plain to the intricate, so that the first violation is the one to look at first.
pub(super) const ALL: [Group; 9] =
    [CRUD, RECORDS, BATCHES, OWNERS, READY, RACES, PAGING, CANCELLATION, HISTORIES];

/// Runs the checks of these groups, each on a store of its own, until one fails.
pub(super) async fn run<S: KeyStore>(
    groups: &[Group],
    fresh: impl AsyncFn() -> S,
    call_timeout: Duration,
) -> Result<(), Violation> {
    for Group { name: group, checks } in groups {
        for Check { name, run } in *checks {
            let trial = Trial::new(Box::new(fresh().await), call_timeout);
            outcome(&trial, run(&trial), || sentence(group, name)).await?;
        }
    }
    Ok(())
}

/// What a check has found, a panic of the store included.
pub(super) async fn outcome(
    trial: &Trial,
    check: impl Future<Output = Checked>,
    name: impl FnOnce() -> String,
) -> Result<(), Violation> {
    let mismatch = match contained(check).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(mismatch)) => mismatch,
        Err(text) => Trial::panicked(&text),
    };
    Err(trial.violation(name(), mismatch))
}

pub(super) fn sentence(group: &str, name: &str) -> String {
    format!("{group}: {}", name.replace('_', " "))
}
