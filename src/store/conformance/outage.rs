use super::Rule;
use super::describe::{described, listed, written};
use super::group::{Check, checks};
use super::sample::{changed, id, owner, record};
use super::trial::{Checked, RuleScope, Trial};
use crate::key::StoreError;

pub(super) const CHECKS: &[Check] = checks![
    find_is_an_error,
    try_find_now_does_not_answer,
    insert_is_an_error,
    replace_is_an_error,
    remove_is_an_error,
    list_is_an_error,
];

fn is_error<T>(
    under: RuleScope<'_>,
    answer: Result<T, StoreError>,
    tell: impl FnOnce(&T) -> String,
) -> Checked {
    match answer {
        Ok(answer) => Err(under.mismatch("an error: the store cannot answer", tell(&answer))),
        Err(_) => Ok(()),
    }
}

async fn find_is_an_error(trial: &Trial) -> Checked {
    let under = trial.under(Rule::FaultIsAnError);
    let tell = |found: &Option<_>| found.as_ref().map_or("None".to_owned(), described);
    let a = id("a");
    // Not only the first time.
    for _ in 0..3 {
        let answer = under.raw("find(\"a\")", trial.store().find(&a), tell).await?;
        is_error(under, answer, tell)?;
    }
    Ok(())
}

async fn try_find_now_does_not_answer(trial: &Trial) -> Checked {
    let under = trial.under(Rule::FaultIsAnError);
    under.ensure(under.try_find_now(&id("a"))?.is_none(), "try_find_now: false", || {
        "true".to_owned()
    })
}

async fn insert_is_an_error(trial: &Trial) -> Checked {
    let under = trial.under(Rule::FaultIsAnError);
    let call = trial.store().insert(record("a", "ann"));
    let answer = under.raw("insert(\"a\" of \"ann\")", call, written).await?;
    is_error(under, answer, written)
}

async fn replace_is_an_error(trial: &Trial) -> Checked {
    let under = trial.under(Rule::FaultIsAnError);
    let call = trial.store().replace(changed(&record("a", "ann"), 2), 1);
    let answer = under.raw("replace(\"a\" of \"ann\", expected version 1)", call, written).await?;
    is_error(under, answer, written)
}

async fn remove_is_an_error(trial: &Trial) -> Checked {
    let under = trial.under(Rule::FaultIsAnError);
    let (ann, ids) = (owner("ann"), [id("a")]);
    let call = trial.store().remove(&ann, &ids);
    let answer = under.raw("remove(\"ann\", [\"a\"])", call, written).await?;
    is_error(under, answer, written)
}

async fn list_is_an_error(trial: &Trial) -> Checked {
    let under = trial.under(Rule::FaultIsAnError);
    let tell = |page: &Vec<_>| listed(page);
    let ann = owner("ann");
    let call = trial.store().list(&ann, None, 10);
    let answer = under.raw("list(\"ann\", limit 10)", call, tell).await?;
    is_error(under, answer, tell)
}
