use std::collections::BTreeMap;

use super::Rule;
use super::group::{Check, checks};
use super::sample::{at, changed, id, owner, record_at};
use super::trial::{Checked, Trial};
use crate::key::WriteOutcome::{Applied, Conflict};
use crate::key::{KeyId, KeyRecord, PageCursor};

pub(super) const CHECKS: &[Check] = checks![a_long_history_agrees_with_a_sorted_map];

/// Numbers that look random and are the same in every run (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit
    }

    fn of<T: Copy>(&mut self, values: &[T], otherwise: T) -> T {
        values.get(self.below(values.len())).copied().unwrap_or(otherwise)
    }
}

async fn a_long_history_agrees_with_a_sorted_map(trial: &Trial) -> Checked {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut model: BTreeMap<KeyId, KeyRecord> = BTreeMap::new();
    let names = ["a", "b", "c", "d", "e", "f"];
    let owners = ["ann", "bob", "cid"];
    for _ in 0..600 {
        let name = numbers.of(&names, "a");
        let owner_name = numbers.of(&owners, "ann");
        let second = numbers.of(&[0, 1, 2], 0);
        let made = record_at(name, owner_name, at(second));
        let stored = model.get(made.id()).cloned();
        match numbers.below(9) {
            0..3 => {
                let made = changed(&made, numbers.of(&[0, 1, 2], 0));
                let under = trial.under(Rule::InsertNeverOverwrites);
                under.insert_is(&made, if stored.is_some() { Conflict } else { Applied }).await?;
                model.entry(made.id().clone()).or_insert(made);
            }
            3..5 => {
                let right = stored.as_ref().map(KeyRecord::version);
                let right = right.filter(|_| numbers.below(2) > 0);
                let expected = right.unwrap_or(numbers.of(&[0, 1, 2, 3], 0));
                // Most changes keep owner and time of creation, and not all.
                let base = stored.clone().filter(|_| numbers.below(4) > 0).unwrap_or(made);
                let new = changed(&base, expected + numbers.of(&[1, 2], 1));
                let fits = stored.is_some_and(|stored| stored.version() == expected);
                let under = trial.under(Rule::ReplaceComparesVersions);
                under.replace_is(&new, expected, if fits { Applied } else { Conflict }).await?;
                if fits {
                    model.insert(new.id().clone(), new);
                }
            }
            5..7 => {
                let count = numbers.below(4);
                let batch: Vec<_> = (0..count).map(|_| id(numbers.of(&names, "a"))).collect();
                let owner = owner(owner_name);
                let fits = batch
                    .iter()
                    .all(|id| model.get(id).is_some_and(|record| *record.owner() == owner));
                let under = trial.under(Rule::RemoveIsAllOrNothing);
                under.remove_is(&owner, &batch, if fits { Applied } else { Conflict }).await?;
                if fits {
                    model.retain(|id, _| !batch.contains(id));
                }
            }
            _ => {
                let cursor = numbers.of(&names, "a");
                let after = PageCursor::of(&record_at(cursor, "unknown", at(second)));
                let after = Some(after).filter(|_| numbers.below(2) > 0);
                let limit = numbers.below(4);
                let mut expected: Vec<_> = model
                    .values()
                    .filter(|record| record.owner().as_str() == owner_name)
                    .filter(|record| after.as_ref().is_none_or(|a| PageCursor::of(record) > *a))
                    .collect();
                expected.sort_by_key(|record| PageCursor::of(record));
                expected.truncate(limit);
                let under = trial.under(Rule::ListGoesOnAfterTheCursor);
                under.list_is(&owner(owner_name), after.as_ref(), limit, &expected).await?;
            }
        }
        let under = trial.under(Rule::AppliedIsSeen);
        let seen = id(numbers.of(&names, "a"));
        under.find_is(&seen, model.get(&seen)).await?;
    }
    for name in names {
        let under = trial.under(Rule::AppliedIsSeen);
        under.find_is(&id(name), model.get(&id(name))).await?;
    }
    Ok(())
}
