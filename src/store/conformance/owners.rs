use super::Rule;
use super::group::{Check, checks};
use super::sample::{at, changed, id, owner, owners, record, record_at};
use super::trial::{Checked, Trial};
use crate::key::WriteOutcome::{Applied, Conflict};
use crate::key::{KeyRecord, PageCursor};

pub(super) const CHECKS: &[Check] = checks![
    list_shows_no_record_of_another_owner,
    remove_of_another_owners_record_is_a_conflict,
    a_mixed_batch_removes_nothing,
    owners_that_look_alike_are_strangers,
    owner_and_id_do_not_run_together,
    a_record_that_changes_hands_is_listed_once,
];

async fn list_shows_no_record_of_another_owner(trial: &Trial) -> Checked {
    let under = trial.under(Rule::ListShowsOneOwner);
    let owners = ["ann", "bob", "cid"].map(owner);
    let mut records = Vec::new();
    for second in 0..4 {
        for (index, owner) in owners.iter().enumerate() {
            let id = format!("key-{second}-{index}");
            records.push(record_at(&id, owner.as_str(), at(second)));
        }
    }
    trial.keep(&records).await?;
    for owner in &owners {
        let own: Vec<_> = records.iter().filter(|record| record.owner() == owner).collect();
        under.owner_has(owner, &own).await?;
        // A cursor of another owner is a place in the order and no more.
        for record in &records {
            let after = PageCursor::of(record);
            let page = under.list(owner, Some(&after), 100).await?;
            let foreign = page.iter().find(|record| record.owner() != owner);
            under.ensure(foreign.is_none(), format!("records of {owner} only"), || {
                foreign.map_or_else(String::new, |record| format!("one of {}", record.owner()))
            })?;
        }
    }
    under.owner_has(&owner("dan"), &[]).await
}

async fn remove_of_another_owners_record_is_a_conflict(trial: &Trial) -> Checked {
    let (a, b) = (record("a", "ann"), record("b", "bob"));
    trial.keep(&[a.clone(), b.clone()]).await?;
    let under = trial.under(Rule::RemoveAsksForTheOwner);
    for stranger in ["bob", "cid", "Ann", "ann "].map(owner) {
        under.remove_is(&stranger, &[a.id().clone()], Conflict).await?;
        under.find_is(a.id(), Some(&a)).await?;
    }
    under.owner_has(a.owner(), &[&a]).await?;
    under.owner_has(b.owner(), &[&b]).await
}

async fn a_mixed_batch_removes_nothing(trial: &Trial) -> Checked {
    let records = [record("a", "ann"), record("b", "bob"), record("c", "ann")];
    trial.keep(&records).await?;
    let under = trial.under(Rule::RemoveAsksForTheOwner);
    for batch in [["a", "b"], ["b", "a"], ["b", "c"]] {
        for owner in ["ann", "bob"].map(owner) {
            under.remove_is(&owner, &batch.map(id), Conflict).await?;
            for record in &records {
                under.find_is(record.id(), Some(record)).await?;
            }
        }
    }
    let [a, b, c] = &records;
    under.owner_has(a.owner(), &[a, c]).await?;
    under.owner_has(b.owner(), &[b]).await
}

async fn owners_that_look_alike_are_strangers(trial: &Trial) -> Checked {
    let made = owners().into_iter().enumerate();
    let records: Vec<_> =
        made.map(|(index, owner)| record(&format!("key-{index:03}"), &owner)).collect();
    trial.keep(&records).await?;
    for record in &records {
        let under = trial.under(Rule::ListShowsOneOwner);
        under.owner_has(record.owner(), &[record]).await?;
        under.find_is(record.id(), Some(record)).await?;
    }
    let others = records.iter().cycle().skip(1);
    for (record, other) in records.iter().zip(others) {
        let under = trial.under(Rule::RemoveAsksForTheOwner);
        under.remove_is(record.owner(), &[other.id().clone()], Conflict).await?;
        under.remove_is(record.owner(), &[record.id().clone()], Applied).await?;
        under.find_is(record.id(), None).await?;
        under.owner_has(record.owner(), &[]).await?;
        trial.keep(std::slice::from_ref(record)).await?;
    }
    Ok(())
}

/// A store that joins owner and id into one text has to tell them apart again.
async fn owner_and_id_do_not_run_together(trial: &Trial) -> Checked {
    let pairs = [("a", "b:c"), ("a:b", "c"), ("a:b:c", "d"), ("a", "b"), ("a:", "x")];
    let records: Vec<KeyRecord> = pairs.iter().map(|(owner, id)| record(id, owner)).collect();
    trial.keep(&records).await?;
    let under = trial.under(Rule::ListShowsOneOwner);
    for record in &records {
        under.find_is(record.id(), Some(record)).await?;
        let own: Vec<_> = records.iter().filter(|other| other.owner() == record.owner()).collect();
        under.owner_has(record.owner(), &own).await?;
    }
    under.owner_has(&owner("a:b:c:d"), &[]).await
}

/// `replace` puts the whole record in the place of the other, its owner included.
async fn a_record_that_changes_hands_is_listed_once(trial: &Trial) -> Checked {
    let (old, other) = (record("b", "ann"), record("a", "bob"));
    trial.keep(&[old.clone(), other.clone()]).await?;
    for (version, owner) in [(2, "bob"), (3, "bob"), (4, "ann"), (5, "bob"), (6, "ann")] {
        let new = changed(&record("b", owner), version);
        let under = trial.under(Rule::ReplaceComparesVersions);
        under.replace_is(&new, version - 1, Applied).await?;
        under.find_is(new.id(), Some(&new)).await?;
        let under = trial.under(Rule::ListShowsOneOwner);
        let (anns, bobs): (&[&KeyRecord], &[&KeyRecord]) =
            if owner == "ann" { (&[&new], &[&other]) } else { (&[], &[&other, &new]) };
        under.owner_has(old.owner(), anns).await?;
        under.owner_has(other.owner(), bobs).await?;
    }
    let under = trial.under(Rule::RemoveAsksForTheOwner);
    under.remove_is(other.owner(), &[old.id().clone()], Conflict).await?;
    under.remove_is(old.owner(), &[old.id().clone()], Applied).await?;
    let under = trial.under(Rule::ListShowsOneOwner);
    under.owner_has(old.owner(), &[]).await?;
    under.owner_has(other.owner(), &[&other]).await
}
