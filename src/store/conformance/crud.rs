use super::Rule;
use super::describe::written;
use super::group::{Check, checks};
use super::sample::{at, changed, id, owner, record, record_at};
use super::trial::{Checked, Trial};
use crate::key::WriteOutcome::{Applied, Conflict};

pub(super) const CHECKS: &[Check] = checks![
    a_fresh_store_is_empty,
    an_inserted_record_is_found,
    a_record_is_found_by_its_own_id_only,
    an_id_that_is_taken_is_a_conflict,
    a_replaced_record_is_found,
    replace_compares_with_the_stored_version,
    replace_of_a_missing_record_is_a_conflict,
    the_new_version_is_that_of_the_record,
    a_version_that_does_not_rise_is_kept_or_refused,
    a_removed_record_is_gone,
    remove_of_a_missing_record_is_a_conflict,
    an_id_can_be_used_again,
    a_version_of_an_earlier_record_is_a_conflict,
];

async fn a_fresh_store_is_empty(trial: &Trial) -> Checked {
    let under = trial.under(Rule::FindAnswersById);
    under.find_is(&id("a"), None).await?;
    trial.under(Rule::ListShowsOneOwner).list_is(&owner("ann"), None, 10, &[]).await
}

async fn an_inserted_record_is_found(trial: &Trial) -> Checked {
    let a = record("a", "ann");
    trial.keep(std::slice::from_ref(&a)).await?;
    let under = trial.under(Rule::AppliedIsSeen);
    under.find_is(a.id(), Some(&a)).await?;
    under.list_is(a.owner(), None, 10, &[&a]).await
}

async fn a_record_is_found_by_its_own_id_only(trial: &Trial) -> Checked {
    let records = ["b", "ab", "abc", "b2"].map(|id| record(id, "ann"));
    let under = trial.under(Rule::FindAnswersById);
    for (index, record) in records.iter().enumerate() {
        under.insert_is(record, Applied).await?;
        for (other, record) in records.iter().enumerate() {
            under.find_is(record.id(), Some(record).filter(|_| other <= index)).await?;
        }
    }
    for unknown in ["a", "c", "abcd", "B", "b1"] {
        under.find_is(&id(unknown), None).await?;
    }
    Ok(())
}

async fn an_id_that_is_taken_is_a_conflict(trial: &Trial) -> Checked {
    let a = record("a", "ann");
    trial.keep(std::slice::from_ref(&a)).await?;
    for other in [changed(&a, 2), changed(&a, 1), record("a", "bob"), a.clone()] {
        let under = trial.under(Rule::InsertNeverOverwrites);
        under.insert_is(&other, Conflict).await?;
        let under = trial.under(Rule::ConflictChangesNothing);
        under.find_is(a.id(), Some(&a)).await?;
        under.owner_has(&owner("ann"), &[&a]).await?;
        let under = trial.under(Rule::ListShowsOneOwner);
        under.owner_has(&owner("bob"), &[]).await?;
    }
    Ok(())
}

async fn a_replaced_record_is_found(trial: &Trial) -> Checked {
    let a = record("a", "ann");
    let other = record("other", "ann");
    trial.keep(&[a.clone(), other.clone()]).await?;
    let mut stored = a;
    for version in 2..6 {
        let new = changed(&stored, version);
        let under = trial.under(Rule::ReplaceComparesVersions);
        under.replace_is(&new, stored.version(), Applied).await?;
        let under = trial.under(Rule::AppliedIsSeen);
        under.find_is(new.id(), Some(&new)).await?;
        under.find_is(other.id(), Some(&other)).await?;
        under.owner_has(new.owner(), &[&new, &other]).await?;
        stored = new;
    }
    Ok(())
}

async fn replace_compares_with_the_stored_version(trial: &Trial) -> Checked {
    let a = record("a", "ann").with_version(5);
    trial.keep(std::slice::from_ref(&a)).await?;
    for wrong in [0, 1, 4, 6, 50, i64::MAX.unsigned_abs()] {
        // The version of the new record is not what is compared.
        for new in [changed(&a, 5), changed(&a, wrong), changed(&a, 6)] {
            let under = trial.under(Rule::ReplaceComparesVersions);
            under.replace_is(&new, wrong, Conflict).await?;
            let under = trial.under(Rule::ConflictChangesNothing);
            under.find_is(a.id(), Some(&a)).await?;
            under.owner_has(a.owner(), &[&a]).await?;
        }
    }
    let new = changed(&a, 6);
    trial.under(Rule::ReplaceComparesVersions).replace_is(&new, 5, Applied).await
}

async fn replace_of_a_missing_record_is_a_conflict(trial: &Trial) -> Checked {
    trial.keep(&[record("b", "ann")]).await?;
    let a = record("a", "ann");
    for expected in [0, 1] {
        let under = trial.under(Rule::ReplaceComparesVersions);
        under.replace_is(&a.clone().with_version(expected), expected, Conflict).await?;
        under.replace_is(&a.clone().with_version(expected + 1), expected, Conflict).await?;
    }
    let under = trial.under(Rule::ConflictChangesNothing);
    under.find_is(a.id(), None).await?;
    under.owner_has(a.owner(), &[&record("b", "ann")]).await
}

/// The store does not count.
async fn the_new_version_is_that_of_the_record(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ReplaceComparesVersions);
    let mut stored = record("a", "ann").with_version(3);
    trial.keep(std::slice::from_ref(&stored)).await?;
    for version in [4, 9, 10, 1_000] {
        let new = changed(&stored, version);
        under.replace_is(&new, stored.version(), Applied).await?;
        under.find_is(new.id(), Some(&new)).await?;
        under.replace_is(&changed(&new, 2_000), stored.version(), Conflict).await?;
        stored = new;
    }
    Ok(())
}

async fn a_version_that_does_not_rise_is_kept_or_refused(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ReplaceComparesVersions);
    let mut stored = record("a", "ann").with_version(3);
    trial.keep(std::slice::from_ref(&stored)).await?;
    for version in [3, 2, 0] {
        let new = changed(&stored, version);
        let expected = stored.version();
        let text = format!("replace(\"a\", version {version}, expected version {expected})");
        let call = trial.store().replace(new.clone(), expected);
        match under.raw(&text, call, written).await? {
            Ok(Applied) => stored = new,
            Ok(Conflict) => return Err(under.mismatch("replace: Applied or an error", "Conflict")),
            Err(_) => {}
        }
        under.find_is(stored.id(), Some(&stored)).await?;
        under.owner_has(stored.owner(), &[&stored]).await?;
    }
    Ok(())
}

async fn a_removed_record_is_gone(trial: &Trial) -> Checked {
    let (a, b) = (record("a", "ann"), record("b", "ann"));
    trial.keep(&[a.clone(), b.clone()]).await?;
    let under = trial.under(Rule::RemoveIsAllOrNothing);
    under.remove_is(a.owner(), &[a.id().clone()], Applied).await?;
    let under = trial.under(Rule::AppliedIsSeen);
    under.find_is(a.id(), None).await?;
    under.find_is(b.id(), Some(&b)).await?;
    under.owner_has(a.owner(), &[&b]).await?;
    let under = trial.under(Rule::ReplaceComparesVersions);
    under.replace_is(&changed(&a, 2), 1, Conflict).await?;
    trial.under(Rule::ConflictChangesNothing).find_is(a.id(), None).await
}

async fn remove_of_a_missing_record_is_a_conflict(trial: &Trial) -> Checked {
    let (a, b) = (record("a", "ann"), record("b", "ann"));
    trial.keep(std::slice::from_ref(&b)).await?;
    let under = trial.under(Rule::RemoveIsAllOrNothing);
    under.remove_is(a.owner(), &[a.id().clone()], Conflict).await?;
    trial.keep(std::slice::from_ref(&a)).await?;
    under.remove_is(a.owner(), &[a.id().clone()], Applied).await?;
    under.remove_is(a.owner(), &[a.id().clone()], Conflict).await?;
    trial.under(Rule::ConflictChangesNothing).owner_has(b.owner(), &[&b]).await
}

/// Nothing of the removed record is left, and nothing of it comes back.
async fn an_id_can_be_used_again(trial: &Trial) -> Checked {
    let first = changed(&record("a", "ann"), 9);
    trial.keep(std::slice::from_ref(&first)).await?;
    let under = trial.under(Rule::RemoveIsAllOrNothing);
    under.remove_is(first.owner(), &[first.id().clone()], Applied).await?;
    let second = record("a", "bob");
    trial.keep(std::slice::from_ref(&second)).await?;
    let under = trial.under(Rule::AppliedIsSeen);
    under.find_is(second.id(), Some(&second)).await?;
    under.owner_has(second.owner(), &[&second]).await?;
    trial.under(Rule::ListShowsOneOwner).owner_has(first.owner(), &[]).await
}

/// The next record of an id starts above the versions of the earlier one, and below them.
async fn a_version_of_an_earlier_record_is_a_conflict(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ReplaceKnowsNoEarlierRecord);
    for (index, start) in [1, 5_000, 1 << 40].into_iter().enumerate() {
        let first = record("a", "ann").with_version(1_000);
        let second = changed(&first, 1_001);
        trial.keep(std::slice::from_ref(&first)).await?;
        under.replace_is(&second, 1_000, Applied).await?;
        under.remove_is(first.owner(), &[first.id().clone()], Applied).await?;

        // The same owner at the same time of creation, and others.
        let mut next = record_at("a", "ann", at(i64::try_from(index).unwrap_or(0)));
        if index == 2 {
            next = record("a", "bob");
        }
        let next = next.with_version(start);
        for inserted in [false, true] {
            if inserted {
                under.insert_is(&next, Applied).await?;
            }
            for version in [1_000, 1_001] {
                under.replace_is(&changed(&first, version + 1), version, Conflict).await?;
                under.find_is(next.id(), Some(&next).filter(|_| inserted)).await?;
            }
        }
        let last = changed(&next, start + 1);
        under.replace_is(&last, start, Applied).await?;
        under.replace_is(&changed(&first, 1_002), 1_001, Conflict).await?;
        under.find_is(last.id(), Some(&last)).await?;
        under.remove_is(last.owner(), &[last.id().clone()], Applied).await?;
    }
    Ok(())
}
