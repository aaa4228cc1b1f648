use super::Rule;
use super::group::{Check, checks};
use super::ready::{MOST_POLLS, either};
use super::sample::{changed, id, owner, record, stamped};
use super::trial::{Checked, RuleScope, Trial};
use crate::key::WriteOutcome::{self, Applied, Conflict};
use crate::key::{KeyId, KeyRecord};
use crate::util::conformance::{Call, interleaved, together};

pub(super) const CHECKS: &[Check] = checks![
    of_two_inserts_one_is_done,
    of_two_replaces_of_one_version_one_is_done,
    a_replace_does_not_bring_back_what_is_removed,
    of_two_removes_of_one_record_one_is_done,
    of_two_batches_with_a_record_in_common_one_is_done,
    a_remove_does_not_hit_the_next_owner_of_an_id,
    a_replace_does_not_hit_the_next_record_of_an_id,
    of_many_inserts_one_is_done,
    of_many_replaces_one_is_done_for_each_version,
    no_increment_is_lost,
    of_many_removes_one_is_done,
    a_reader_sees_whole_records,
];

/// How many calls are made at once.
const MANY: u8 = 24;

/// Which of two calls was done.
fn one_is_done(under: RuleScope<'_>, first: WriteOutcome, second: WriteOutcome) -> Checked<bool> {
    let kept = (first == Applied) != (second == Applied);
    let actual = || format!("{first:?} and {second:?}");
    under.ensure(kept, "one of the two calls is Applied, the other one Conflict", actual)?;
    Ok(first == Applied)
}

/// Which of many calls was done.
fn index_of_done(under: RuleScope<'_>, writes: Vec<Checked<WriteOutcome>>) -> Checked<usize> {
    let mut done = Vec::new();
    for (index, write) in writes.into_iter().enumerate() {
        if write? == Applied {
            done.push(index);
        }
    }
    match done.as_slice() {
        [index] => Ok(*index),
        _ => Err(under.mismatch(
            "exactly one of the calls is Applied, the others Conflict",
            format!("{} of them are Applied", done.len()),
        )),
    }
}

async fn of_two_inserts_one_is_done(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ChangeIsOneStep);
    for polls in 0..MOST_POLLS {
        let id = format!("key-{polls}");
        let (a, b) = (stamped(&id, "ann", 1), stamped(&id, "bob", 2));
        let calls = interleaved(polls, Box::pin(under.insert(&a)), Box::pin(under.insert(&b)));
        let Some((first, second, over)) = calls.await else { break };
        let (winner, loser) =
            if one_is_done(under, first?, second?)? { (&a, &b) } else { (&b, &a) };
        under.find_is(winner.id(), Some(winner)).await?;
        let lost = under.list(loser.owner(), None, 1_000).await?;
        under.ensure(
            lost.iter().all(|record| record.id() != loser.id()),
            format!("list({}) does not show {}", loser.owner(), loser.id()),
            || "it is shown".to_owned(),
        )?;
        if over {
            break;
        }
    }
    Ok(())
}

async fn of_two_replaces_of_one_version_one_is_done(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ChangeIsOneStep);
    for polls in 0..MOST_POLLS {
        let old = record(&format!("key-{polls}"), "ann");
        trial.keep(std::slice::from_ref(&old)).await?;
        // The second leads to the version that the first leads to, and to another one.
        for (version, next) in [(1, 2), (2, 9)] {
            let a = changed(&old, 2 * version).with_disabled(true);
            let b = changed(&old, 2 * version).with_version(if next == 2 { 2 } else { next });
            let first = Box::pin(under.replace(&a, version));
            let second = Box::pin(under.replace(&b, version));
            let Some((first, second, _)) = interleaved(polls, first, second).await else { break };
            let winner = if one_is_done(under, first?, second?)? { &a } else { &b };
            under.find_is(winner.id(), Some(winner)).await?;
            if winner.version() != 2 {
                break;
            }
        }
        let last = changed(&old, 77);
        let stored = under.find(old.id()).await?;
        let version = stored.map_or(0, |record| record.version());
        let first = Box::pin(under.replace(&last, version));
        let second = Box::pin(under.find(last.id()));
        let Some((done, found, over)) = interleaved(polls, first, second).await else { break };
        under.ensure(done? == Applied, "replace: Applied", || "Conflict".to_owned())?;
        let found = found?;
        under.ensure(found.is_some(), "find beside replace: the record", || "None".to_owned())?;
        if over {
            break;
        }
    }
    Ok(())
}

async fn a_replace_does_not_bring_back_what_is_removed(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ChangeIsOneStep);
    for polls in 0..MOST_POLLS {
        let mut all_over = true;
        for replace_first in [true, false] {
            let old = record(&format!("key-{polls}-{replace_first}"), "ann");
            trial.keep(std::slice::from_ref(&old)).await?;
            let (new, ids) = (changed(&old, 2), [old.id().clone()]);
            let replace: Call<'_, _> = Box::pin(under.replace(&new, 1));
            let remove: Call<'_, _> = Box::pin(under.remove(old.owner(), &ids));
            let (first, second) = if replace_first { (replace, remove) } else { (remove, replace) };
            let Some((first, second, over)) = interleaved(polls, first, second).await else {
                break;
            };
            let removed = if replace_first { second? } else { first? };
            under.ensure(removed == Applied, "remove beside replace: Applied", || {
                "Conflict".to_owned()
            })?;
            under.find_is(old.id(), None).await?;
            under.owner_has(old.owner(), &[]).await?;
            all_over &= over;
        }
        if all_over {
            break;
        }
    }
    Ok(())
}

async fn of_two_removes_of_one_record_one_is_done(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ChangeIsOneStep);
    for polls in 0..MOST_POLLS {
        let old = record(&format!("key-{polls}"), "ann");
        trial.keep(std::slice::from_ref(&old)).await?;
        let ids = [old.id().clone()];
        let first = Box::pin(under.remove(old.owner(), &ids));
        let second = Box::pin(under.remove(old.owner(), &ids));
        let Some((first, second, over)) = interleaved(polls, first, second).await else { break };
        one_is_done(under, first?, second?)?;
        under.find_is(old.id(), None).await?;
        if over {
            break;
        }
    }
    Ok(())
}

async fn of_two_batches_with_a_record_in_common_one_is_done(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ChangeIsOneStep);
    for polls in 0..MOST_POLLS {
        let name = format!("ann-{polls}");
        let records = ["a", "b", "c"].map(|id| record(&format!("{id}-{polls}"), &name));
        trial.keep(&records).await?;
        let [a, b, c] = &records;
        let early = [a.id().clone(), b.id().clone()];
        let late = [c.id().clone(), b.id().clone()];
        let first = Box::pin(under.remove(a.owner(), &early));
        let second = Box::pin(under.remove(a.owner(), &late));
        let Some((first, second, over)) = interleaved(polls, first, second).await else { break };
        let left = if one_is_done(under, first?, second?)? { c } else { a };
        under.find_is(left.id(), Some(left)).await?;
        under.owner_has(left.owner(), &[left]).await?;
        if over {
            break;
        }
    }
    Ok(())
}

/// Between the look at the owner and the removal, the record goes and another owner takes the id.
async fn a_remove_does_not_hit_the_next_owner_of_an_id(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ChangeIsOneStep);
    for polls in 0..MOST_POLLS {
        let id = format!("key-{polls}");
        let (old, new) = (record(&id, "ann"), record(&id, &format!("bob-{polls}")));
        trial.keep(std::slice::from_ref(&old)).await?;
        let ids = [old.id().clone()];
        let first = Box::pin(under.remove(old.owner(), &ids));
        let second = Box::pin(async {
            let removed = under.remove(old.owner(), &ids).await?;
            under.insert_is(&new, Applied).await?;
            Ok(removed)
        });
        let Some((first, second, over)) = interleaved(polls, first, second).await else { break };
        one_is_done(under, first?, second?)?;
        under.find_is(new.id(), Some(&new)).await?;
        under.owner_has(new.owner(), &[&new]).await?;
        if over {
            break;
        }
    }
    Ok(())
}

/// Between the look at the version and the replacement, the record goes and another one takes the id, at a
/// version below that of the earlier one or above it.
async fn a_replace_does_not_hit_the_next_record_of_an_id(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ReplaceKnowsNoEarlierRecord);
    for polls in 0..MOST_POLLS {
        let mut all_over = true;
        for start in [7, 1 << 40] {
            let (id, name) = (format!("key-{polls}-{start}"), format!("ann-{polls}-{start}"));
            let (old, new) = (record(&id, &name).with_version(50), record(&id, &name));
            let (changed, new) = (changed(&old, 51), changed(&new, start));
            trial.keep(std::slice::from_ref(&old)).await?;
            let ids = [old.id().clone()];
            let first = Box::pin(under.replace(&changed, 50));
            let second = Box::pin(async {
                under.remove_is(old.owner(), &ids, Applied).await?;
                under.insert_is(&new, Applied).await
            });
            let Some((first, second, over)) = interleaved(polls, first, second).await else {
                break;
            };
            let _ = first?;
            second?;
            under.find_is(new.id(), Some(&new)).await?;
            under.owner_has(new.owner(), &[&new]).await?;
            all_over &= over;
        }
        if all_over {
            break;
        }
    }
    Ok(())
}

async fn of_many_inserts_one_is_done(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ChangeIsOneStep);
    for round in 0..4 {
        let id = format!("key-{round}");
        let records: Vec<_> = (1..=MANY)
            .map(|number| stamped(&id, &format!("owner-{round}-{number}"), number))
            .collect();
        let calls = records.iter().map(|record| boxed(under.insert(record))).collect();
        let index = index_of_done(under, together(calls).await)?;
        for (number, record) in records.iter().enumerate() {
            let listed: &[&KeyRecord] = if number == index { &[record] } else { &[] };
            under.owner_has(record.owner(), listed).await?;
        }
        under.find_is(&self::id(&id), records.get(index)).await?;
    }
    Ok(())
}

async fn of_many_replaces_one_is_done_for_each_version(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ChangeIsOneStep);
    let mut stored = record("a", "ann");
    trial.keep(std::slice::from_ref(&stored)).await?;
    for version in 1..=6 {
        let records: Vec<_> = (1..=MANY)
            .map(|number| stamped("a", "ann", number).with_version(version + 1))
            .collect();
        let calls = records.iter().map(|record| boxed(under.replace(record, version))).collect();
        let index = index_of_done(under, together(calls).await)?;
        if let Some(winner) = records.get(index) {
            stored = winner.clone();
        }
        under.find_is(stored.id(), Some(&stored)).await?;
        under.owner_has(stored.owner(), &[&stored]).await?;
    }
    Ok(())
}

/// Everybody reads, adds one and writes, again and again.
async fn no_increment_is_lost(trial: &Trial) -> Checked {
    const TIMES: u64 = 4;
    const WRITERS: u64 = 8;
    let under = trial.under(Rule::ChangeIsOneStep);
    let first = record("a", "ann").with_version(0);
    trial.keep(std::slice::from_ref(&first)).await?;
    let increment = async || {
        let mut attempts = 0;
        let mut written = 0;
        while written < TIMES {
            let Some(stored) = under.find(first.id()).await? else {
                return Err(under.mismatch("find beside replace: the record", "None"));
            };
            let new = changed(&stored, stored.version() + 1);
            if under.replace(&new, stored.version()).await? == Applied {
                written += 1;
            }
            // A call that fails was overtaken by one that did not.
            attempts += 1;
            under.ensure(attempts <= TIMES * WRITERS, "a Conflict only after a change", || {
                format!("{} conflicts", attempts - written)
            })?;
        }
        Ok(())
    };
    let calls = (0..WRITERS).map(|_| boxed(increment())).collect();
    together(calls).await.into_iter().collect::<Checked>()?;
    under.find_is(first.id(), Some(&changed(&first, TIMES * WRITERS))).await
}

async fn of_many_removes_one_is_done(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ChangeIsOneStep);
    let ann = owner("ann");
    for _ in 0..4 {
        let records = ["a", "b", "c"].map(|id| record(id, "ann"));
        trial.keep(&records).await?;
        let batches: [&[&str]; 3] = [&["a", "b"], &["b", "c"], &["b"]];
        let batches = batches.map(|ids| ids.iter().copied().map(id).collect::<Vec<KeyId>>());
        let calls = batches.iter().cycle().take(MANY.into());
        let calls = calls.map(|ids| boxed(under.remove(&ann, ids))).collect();
        let index = index_of_done(under, together(calls).await)?;
        let removed = batches.iter().cycle().nth(index).map_or(&[][..], Vec::as_slice);
        let left: Vec<_> = records.iter().filter(|record| !removed.contains(record.id())).collect();
        under.owner_has(&ann, &left).await?;
        let ids: Vec<_> = left.iter().map(|record| record.id().clone()).collect();
        under.remove_is(&ann, &ids, Applied).await?;
    }
    Ok(())
}

async fn a_reader_sees_whole_records(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ChangeIsOneStep);
    let versions: Vec<_> = (1..=40).map(|number| stamped("a", "ann", number)).collect();
    trial.keep(versions.get(..1).unwrap_or_default()).await?;
    let write = async {
        for new in versions.iter().skip(1) {
            under.replace_is(new, new.version() - 1, Applied).await?;
        }
        Ok(())
    };
    let is_whole = |found: Option<&KeyRecord>| {
        let number = found.map_or(1, KeyRecord::version).saturating_sub(1);
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let expected = versions.get(number).or(versions.first());
        either(under, found, &[expected])
    };
    let find = async || {
        for _ in 0..40 {
            is_whole(under.find(&id("a")).await?.as_ref())?;
        }
        Ok(())
    };
    let list = async || {
        for _ in 0..40 {
            let page = under.list(&owner("ann"), None, 5).await?;
            under.ensure(page.len() == 1, "list beside replace: one record", || {
                format!("{} records", page.len())
            })?;
            is_whole(page.first())?;
        }
        Ok(())
    };
    let calls = vec![boxed(find()), boxed(write), boxed(list()), boxed(find())];
    together(calls).await.into_iter().collect::<Checked>()?;
    under.find_is(&id("a"), versions.last()).await?;
    under.replace_is(&stamped("a", "ann", 1), 1, Conflict).await
}

fn boxed<'a, T>(call: impl Future<Output = T> + Send + 'a) -> Call<'a, T> {
    Box::pin(call)
}
