use time::Duration;

use super::Rule;
use super::group::{Check, checks};
use super::sample::{at, changed, ids, owner, record_at, times};
use super::trial::{Checked, RuleScope, Trial};
use crate::key::WriteOutcome::Applied;
use crate::key::{KeyRecord, Owner, PageCursor};
use crate::util::conformance::{Call, together};

pub(super) const CHECKS: &[Check] = checks![
    the_order_is_by_time_of_creation,
    a_nanosecond_and_a_century_are_in_order,
    records_of_one_time_are_in_the_byte_order_of_their_ids,
    a_change_keeps_the_place,
    another_time_of_creation_is_another_place,
    every_cursor_and_every_limit_give_their_part,
    limits_without_end_are_no_fault,
    a_cursor_needs_no_record,
    a_cursor_beyond_the_end_gives_nothing,
    a_walk_shows_everything_once,
    a_long_list_is_walked_to_its_end,
    pages_are_stable_while_records_come_and_go,
    pages_are_stable_under_concurrent_changes,
];

/// Keeps the records in another order than that of the list, and returns them in that of the list.
async fn kept_shuffled(trial: &Trial, mut records: Vec<KeyRecord>) -> Checked<Vec<KeyRecord>> {
    let half = records.split_off(records.len() / 2);
    let shuffled: Vec<_> = half.into_iter().rev().chain(records).collect();
    trial.keep(&shuffled).await?;
    let mut sorted = shuffled;
    sorted.sort_by_key(PageCursor::of);
    Ok(sorted)
}

async fn is_listed_in_order(trial: &Trial, records: Vec<KeyRecord>) -> Checked {
    let sorted = kept_shuffled(trial, records).await?;
    let under = trial.under(Rule::ListIsInOrder);
    let expected: Vec<_> = sorted.iter().collect();
    under.list_is(&owner("ann"), None, sorted.len(), &expected).await?;
    let under = trial.under(Rule::ListGoesOnAfterTheCursor);
    let walked = walk(under, &owner("ann"), 3).await?;
    under.page_is(&walked, &expected)
}

/// All pages of this size, from the start to the first one that is not full.
async fn walk(under: RuleScope<'_>, owner: &Owner, size: usize) -> Checked<Vec<KeyRecord>> {
    let mut walked: Vec<KeyRecord> = Vec::new();
    for _ in 0..1_000 {
        let after = walked.last().map(PageCursor::of);
        let page = under.list(owner, after.as_ref(), size).await?;
        let full = page.len() == size;
        walked.extend(page);
        if !full {
            return Ok(walked);
        }
    }
    Err(under.rule(Rule::ListGoesOnAfterTheCursor).mismatch("a last page", "1000 full pages"))
}

async fn the_order_is_by_time_of_creation(trial: &Trial) -> Checked {
    // The ids run the other way round.
    let records = (0..9).map(|n| record_at(&format!("key-{}", 9 - n), "ann", at(n))).collect();
    is_listed_in_order(trial, records).await
}

async fn a_nanosecond_and_a_century_are_in_order(trial: &Trial) -> Checked {
    let mut times = times();
    times.sort();
    times.dedup();
    let last = times.len();
    let number = |index: usize| format!("key-{:04}", last - index);
    let made = times.iter().enumerate();
    let records = made.map(|(index, time)| record_at(&number(index), "ann", *time)).collect();
    is_listed_in_order(trial, records).await
}

async fn records_of_one_time_are_in_the_byte_order_of_their_ids(trial: &Trial) -> Checked {
    let records = ids().iter().map(|id| record_at(id, "ann", at(0))).collect();
    is_listed_in_order(trial, records).await
}

async fn a_change_keeps_the_place(trial: &Trial) -> Checked {
    let mut records: Vec<_> =
        (0..4).map(|n| record_at(&format!("key-{n}"), "ann", at(n / 2))).collect();
    trial.keep(&records).await?;
    for index in [2, 0, 3, 1] {
        if let Some(record) = records.get_mut(index) {
            let new = changed(record, 2);
            let under = trial.under(Rule::ReplaceComparesVersions);
            under.replace_is(&new, 1, Applied).await?;
            *record = new;
        }
        let under = trial.under(Rule::ListIsInOrder);
        under.list_is(&owner("ann"), None, 10, &Vec::from_iter(&records)).await?;
    }
    Ok(())
}

async fn another_time_of_creation_is_another_place(trial: &Trial) -> Checked {
    let others = [record_at("a", "ann", at(1)), record_at("c", "ann", at(9))];
    trial.keep(&others).await?;
    let [first, last] = &others;
    let mut new = record_at("b", "ann", at(5));
    trial.keep(std::slice::from_ref(&new)).await?;
    for (version, second) in [(2, 0), (3, 10), (4, 1), (5, 9), (6, 5)] {
        new = changed(&record_at("b", "ann", at(second)), version);
        let under = trial.under(Rule::ReplaceComparesVersions);
        under.replace_is(&new, version - 1, Applied).await?;
        let mut expected = [first, &new, last];
        expected.sort_by_key(|record| PageCursor::of(record));
        let under = trial.under(Rule::ListIsInOrder);
        under.list_is(first.owner(), None, 10, &expected).await?;
        let under = trial.under(Rule::ListGoesOnAfterTheCursor);
        under.page_is(&walk(under, first.owner(), 1).await?, &expected)?;
    }
    Ok(())
}

/// Seven records, of which some have the time of creation in common, among those of others.
async fn seven(trial: &Trial) -> Checked<Vec<KeyRecord>> {
    let seconds = [0, 0, 1, 2, 2, 2, 3];
    let made = seconds.into_iter().enumerate();
    let records = made.map(|(n, second)| record_at(&format!("key-{n}"), "ann", at(second)));
    let records = kept_shuffled(trial, records.collect()).await?;
    for second in 0..4 {
        trial.keep(&[record_at(&format!("key-2{second}"), "bob", at(second))]).await?;
    }
    Ok(records)
}

async fn every_cursor_and_every_limit_give_their_part(trial: &Trial) -> Checked {
    let records = seven(trial).await?;
    for start in 0..=records.len() {
        let after = start.checked_sub(1).and_then(|last| records.get(last)).map(PageCursor::of);
        for limit in [100, 8, 7, 6, 2, 1, 0] {
            let part: Vec<_> = records.iter().skip(start).take(limit).collect();
            let page = trial.under(Rule::ListKeepsToTheLimit);
            let page = page.list(&owner("ann"), after.as_ref(), limit).await?;
            let under = trial.under(Rule::ListKeepsToTheLimit);
            let expected = format!("at most {limit} records");
            under.ensure(page.len() <= limit, expected, || format!("{} records", page.len()))?;
            trial.under(Rule::ListGoesOnAfterTheCursor).page_is(&page, &part)?;
        }
    }
    Ok(())
}

async fn limits_without_end_are_no_fault(trial: &Trial) -> Checked {
    let records = seven(trial).await?;
    let under = trial.under(Rule::ListKeepsToTheLimit);
    let limits = [1_001, 65_536, u32::MAX as usize, i64::MAX as usize, usize::MAX - 1, usize::MAX];
    for limit in limits {
        under.list_is(&owner("ann"), None, limit, &Vec::from_iter(&records)).await?;
        let after = records.first().map(PageCursor::of);
        let rest = Vec::from_iter(records.iter().skip(1));
        under.list_is(&owner("ann"), after.as_ref(), limit, &rest).await?;
    }
    Ok(())
}

async fn a_cursor_needs_no_record(trial: &Trial) -> Checked {
    let records = seven(trial).await?;
    let under = trial.under(Rule::ListGoesOnAfterTheCursor);
    let nanosecond = Duration::NANOSECOND;
    // Before all of them, between two times, a nanosecond beside one, between two ids, of a record
    // of another owner, of an id at another place in the order.
    let places = [
        ("zzz", at(-1)),
        ("aaa", at(0) - nanosecond),
        ("aaa", at(0) + nanosecond),
        ("zzz", at(1) - nanosecond),
        ("key-31", at(2)),
        ("key-3:", at(2)),
        ("key-22", at(2)),
        ("key-0", at(2)),
        ("key-6", at(0)),
        ("KEY-4", at(2)),
    ];
    for (id, time) in places {
        let after = PageCursor::of(&record_at(id, "unknown", time));
        let rest: Vec<_> = records.iter().filter(|record| PageCursor::of(record) > after).collect();
        under.list_is(&owner("ann"), Some(&after), 10, &rest).await?;
    }
    let Some((first, rest)) = records.split_first() else { return Ok(()) };
    let removed = trial.under(Rule::RemoveIsAllOrNothing);
    removed.remove_is(first.owner(), &[first.id().clone()], Applied).await?;
    let after = PageCursor::of(first);
    under.list_is(first.owner(), Some(&after), 10, &Vec::from_iter(rest)).await
}

async fn a_cursor_beyond_the_end_gives_nothing(trial: &Trial) -> Checked {
    let records = seven(trial).await?;
    let under = trial.under(Rule::ListGoesOnAfterTheCursor);
    let mut ends: Vec<_> = records.last().map(PageCursor::of).into_iter().collect();
    let last = times().into_iter().max().unwrap_or(at(1_000));
    ends.extend(
        [("key-7", at(3)), ("a", at(4)), ("a", last), ("zzz", last)]
            .map(|(id, time)| PageCursor::of(&record_at(id, "ann", time))),
    );
    for after in &ends {
        for limit in [1, 10, usize::MAX] {
            under.list_is(&owner("ann"), Some(after), limit, &[]).await?;
            under.list_is(&owner("unknown"), Some(after), limit, &[]).await?;
        }
    }
    Ok(())
}

async fn a_walk_shows_everything_once(trial: &Trial) -> Checked {
    let records = seven(trial).await?;
    let under = trial.under(Rule::ListGoesOnAfterTheCursor);
    for size in 1..=records.len() + 1 {
        let walked = walk(under, &owner("ann"), size).await?;
        under.page_is(&walked, &Vec::from_iter(&records))?;
    }
    Ok(())
}

async fn a_long_list_is_walked_to_its_end(trial: &Trial) -> Checked {
    // Sixteen records of each time.
    let records: Vec<_> = (0..256_u32)
        .map(|n| record_at(&format!("key-{:03}", n * 37 % 256), "ann", at((n / 16).into())))
        .collect();
    let records = kept_shuffled(trial, records).await?;
    let expected: Vec<_> = records.iter().collect();
    let under = trial.under(Rule::ListGoesOnAfterTheCursor);
    for size in [10, 100, 256, 257] {
        let walked = walk(under, &owner("ann"), size).await?;
        under.page_is(&walked, &expected)?;
    }
    Ok(())
}

/// Between two pages, records come before and after the cursor, and the one of the cursor goes.
async fn pages_are_stable_while_records_come_and_go(trial: &Trial) -> Checked {
    let ann = owner("ann");
    let old: Vec<_> =
        (0..8).map(|n| record_at(&format!("old-{n}"), "ann", at(n / 2 * 10))).collect();
    trial.keep(&old).await?;
    let under = trial.under(Rule::PagesAreStable);
    let mut walked: Vec<KeyRecord> = Vec::new();
    for step in 0..20_i64 {
        let after = walked.last().map(PageCursor::of);
        let page = under.list(&ann, after.as_ref(), 2).await?;
        if page.is_empty() {
            break;
        }
        walked.extend(page);
        let Some(last) = walked.last() else { break };
        let (time, second) = (last.created_at(), Duration::SECOND);
        trial
            .keep(&[
                record_at(&format!("past-{step}"), "ann", time - second),
                record_at(&format!("a-{step}"), "ann", time),
                record_at(&format!("future-{step}"), "ann", at(1_000 + step)),
            ])
            .await?;
        let ids = [last.id().clone()];
        trial.under(Rule::RemoveIsAllOrNothing).remove_is(&ann, &ids, Applied).await?;
        if step >= 8 {
            break;
        }
    }
    shows_each_once(under, &walked, &old)?;
    let behind = walked.iter().find(|record| record.id().as_str().starts_with("past-"));
    under.ensure(behind.is_none(), "nothing from before the cursor", || {
        behind.map_or_else(String::new, |record| record.id().to_string())
    })
}

async fn pages_are_stable_under_concurrent_changes(trial: &Trial) -> Checked {
    let ann = owner("ann");
    let mut old: Vec<_> =
        (0..12).map(|n| record_at(&format!("old-{n:02}"), "ann", at(n))).collect();
    trial.keep(&old).await?;
    let under = trial.under(Rule::PagesAreStable);
    for round in 0..6_i64 {
        let version = round.unsigned_abs() + 2;
        let new: Vec<_> =
            (0..6).map(|n| record_at(&format!("new-{round}-{n}"), "ann", at(n * 2))).collect();
        let changes: Vec<_> = old.iter().map(|record| changed(record, version)).collect();
        let pages: Vec<_> = [2, 3, 5, 100].map(|size| walk(under, &ann, size)).into();

        let mut calls: Vec<Call<'_, Checked<Vec<KeyRecord>>>> = Vec::new();
        let mut inserts = new.iter();
        let mut replaces = changes.iter().zip(&old);
        for page in pages {
            calls.push(Box::pin(page));
            for record in inserts.by_ref().take(2) {
                calls.push(Box::pin(async move {
                    under.insert_is(record, Applied).await.map(|()| Vec::new())
                }));
            }
            for (new, old) in replaces.by_ref().take(3) {
                calls.push(Box::pin(async move {
                    under.replace_is(new, old.version(), Applied).await.map(|()| Vec::new())
                }));
            }
        }
        for walked in together(calls).await {
            let walked = walked?;
            if !walked.is_empty() {
                shows_each_once(under, &walked, &old)?;
            }
        }
        old = changes;
        let ids: Vec<_> = new.iter().map(|record| record.id().clone()).collect();
        under.remove_is(&ann, &ids, Applied).await?;
    }
    under.list_is(&ann, None, 100, &Vec::from_iter(&old)).await
}

/// Whether all of `old` are there exactly once, and in order.
fn shows_each_once(under: RuleScope<'_>, walked: &[KeyRecord], old: &[KeyRecord]) -> Checked {
    let seen = walked.iter().filter(|record| old.iter().any(|old| old.id() == record.id()));
    let seen: Vec<_> = seen.map(|record| record.id().as_str()).collect();
    let expected: Vec<_> = old.iter().map(|record| record.id().as_str()).collect();
    under.ensure(
        seen == expected,
        format!("pages that show each record which was there all along once: {expected:?}"),
        || format!("{seen:?}"),
    )
}
