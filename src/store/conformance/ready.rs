use super::Rule;
use super::group::{Check, checks};
use super::sample::{id, record, stamped};
use super::trial::{Checked, RuleScope, Trial};
use crate::key::KeyRecord;
use crate::key::WriteOutcome::{Applied, Conflict};
use crate::util::conformance::interleaved;

pub(super) const CHECKS: &[Check] = checks![
    try_find_now_visits_once_or_not_at_all,
    try_find_now_follows_every_change,
    try_find_now_knows_ids_apart,
    a_find_that_a_change_overtakes_leaves_nothing_stale,
];

/// The most polls after which the suite lets another call come between.
pub(super) const MOST_POLLS: usize = 64;

/// `try_find_now` alone. `find_is` asks it too, and fills what it answers from.
fn ready_is(under: RuleScope<'_>, record: &KeyRecord, expected: Option<&KeyRecord>) -> Checked {
    match under.try_find_now(record.id())? {
        Some(ready) => under.record_is("try_find_now", ready.as_ref(), expected),
        None => Ok(()),
    }
}

async fn try_find_now_visits_once_or_not_at_all(trial: &Trial) -> Checked {
    let under = trial.under(Rule::TryFindNowAgreesWithFind);
    let a = record("a", "ann");
    for _ in 0..3 {
        ready_is(under, &a, None)?;
        under.find_is(a.id(), None).await?;
    }
    under.insert_is(&a, Applied).await?;
    for _ in 0..3 {
        ready_is(under, &a, Some(&a))?;
        under.find_is(a.id(), Some(&a)).await?;
    }
    Ok(())
}

async fn try_find_now_follows_every_change(trial: &Trial) -> Checked {
    let under = trial.under(Rule::TryFindNowAgreesWithFind);
    // With and without a look-up between the changes.
    for (id, looked_up) in [("a", false), ("b", true)] {
        let old = stamped(id, "ann", 1);
        let see = async |expected: Option<&KeyRecord>| {
            ready_is(under, &old, expected)?;
            if looked_up { under.find_is(old.id(), expected).await } else { Ok(()) }
        };
        see(None).await?;
        under.insert_is(&old, Applied).await?;
        see(Some(&old)).await?;
        for (number, owner) in [(2, "ann"), (3, "bob"), (4, "ann")] {
            let new = stamped(id, owner, number);
            under.replace_is(&new, u64::from(number) - 1, Applied).await?;
            see(Some(&new)).await?;
            under.replace_is(&old, 1, Conflict).await?;
            under.insert_is(&old, Conflict).await?;
            see(Some(&new)).await?;
        }
        under.remove_is(old.owner(), &[old.id().clone()], Applied).await?;
        see(None).await?;
        under.insert_is(&old, Applied).await?;
        see(Some(&old)).await?;
        under.find_is(old.id(), Some(&old)).await?;
    }
    Ok(())
}

async fn try_find_now_knows_ids_apart(trial: &Trial) -> Checked {
    let under = trial.under(Rule::TryFindNowAgreesWithFind);
    let records = ["a", "A", "aa", "a.a", "a:a"].map(|id| record(id, "ann"));
    trial.keep(&records).await?;
    for _ in 0..2 {
        for record in &records {
            ready_is(under, record, Some(record))?;
            under.find_is(record.id(), Some(record)).await?;
        }
        under.find_is(&id("aaa"), None).await?;
    }
    Ok(())
}

/// A cache that is filled by a look-up must not keep what was true before a change that is done.
async fn a_find_that_a_change_overtakes_leaves_nothing_stale(trial: &Trial) -> Checked {
    let under = trial.under(Rule::TryFindNowAgreesWithFind);
    for polls in 0..MOST_POLLS {
        let replaced = stamped(&format!("replaced-{polls}"), "ann", 1);
        let removed = stamped(&format!("removed-{polls}"), "ann", 1);
        trial.keep(&[replaced.clone(), removed.clone()]).await?;
        let new = stamped(replaced.id().as_str(), "ann", 2);
        let look = Box::pin(under.find(replaced.id()));
        let change = Box::pin(under.replace_is(&new, 1, Applied));
        let Some((found, done, over)) = interleaved(polls, look, change).await else { break };
        done?;
        either(under, found?.as_ref(), &[Some(&replaced), Some(&new)])?;
        ready_is(under, &new, Some(&new))?;
        under.find_is(new.id(), Some(&new)).await?;

        let ids = [removed.id().clone()];
        let look = Box::pin(under.find(removed.id()));
        let change = Box::pin(under.remove_is(removed.owner(), &ids, Applied));
        let Some((found, done, _)) = interleaved(polls, look, change).await else { break };
        done?;
        either(under, found?.as_ref(), &[Some(&removed), None])?;
        ready_is(under, &removed, None)?;
        under.find_is(removed.id(), None).await?;

        let look = Box::pin(under.find(removed.id()));
        let change = Box::pin(under.insert_is(&removed, Applied));
        let Some((found, done, _)) = interleaved(polls, look, change).await else { break };
        done?;
        either(under, found?.as_ref(), &[Some(&removed), None])?;
        ready_is(under, &removed, Some(&removed))?;
        under.find_is(removed.id(), Some(&removed)).await?;
        if over {
            break;
        }
    }
    Ok(())
}

/// Whether a look-up beside a change has seen what was there before or after it, and no mixture.
pub(super) fn either(
    under: RuleScope<'_>,
    found: Option<&KeyRecord>,
    allowed: &[Option<&KeyRecord>],
) -> Checked {
    let under = under.rule(Rule::ChangeIsOneStep);
    let mut outcome = Ok(());
    for expected in allowed {
        outcome = under.record_is("find", found, *expected);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
