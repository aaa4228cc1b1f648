use super::Rule;
use super::group::{Check, checks};
use super::sample::{id, owner, record};
use super::trial::{Checked, Trial};
use crate::key::KeyRecord;
use crate::key::WriteOutcome::{Applied, Conflict};

pub(super) const CHECKS: &[Check] = checks![
    a_batch_is_removed_whole,
    one_missing_id_keeps_the_whole_batch,
    an_id_that_occurs_twice_counts_once,
    an_empty_batch_is_done,
    a_long_batch_is_removed_whole,
];

fn records(count: usize) -> Vec<KeyRecord> {
    (0..count).map(|index| record(&format!("key-{index:03}"), "ann")).collect()
}

async fn a_batch_is_removed_whole(trial: &Trial) -> Checked {
    let records = records(5);
    trial.keep(&records).await?;
    let under = trial.under(Rule::RemoveIsAllOrNothing);
    // Not in the order in which they are kept.
    let batch = ["key-003", "key-000", "key-002"].map(id);
    under.remove_is(&owner("ann"), &batch, Applied).await?;
    let mut left = Vec::new();
    for record in &records {
        let gone = batch.contains(record.id());
        under.find_is(record.id(), Some(record).filter(|_| !gone)).await?;
        left.extend(Some(record).filter(|_| !gone));
    }
    under.owner_has(&owner("ann"), &left).await
}

async fn one_missing_id_keeps_the_whole_batch(trial: &Trial) -> Checked {
    let records = records(3);
    trial.keep(&records).await?;
    let under = trial.under(Rule::RemoveIsAllOrNothing);
    for place in 0..=records.len() {
        let mut batch: Vec<_> = records.iter().map(|record| record.id().clone()).collect();
        batch.insert(place, id("missing"));
        under.remove_is(&owner("ann"), &batch, Conflict).await?;
        for record in &records {
            under.find_is(record.id(), Some(record)).await?;
        }
        under.owner_has(&owner("ann"), &Vec::from_iter(&records)).await?;
    }
    Ok(())
}

async fn an_id_that_occurs_twice_counts_once(trial: &Trial) -> Checked {
    let records = records(3);
    trial.keep(&records).await?;
    let under = trial.under(Rule::RemoveIsAllOrNothing);
    under.remove_is(&owner("ann"), &["key-000", "missing", "key-000"].map(id), Conflict).await?;
    under.owner_has(&owner("ann"), &Vec::from_iter(&records)).await?;
    let batch = ["key-000", "key-001", "key-000", "key-000"].map(id);
    under.remove_is(&owner("ann"), &batch, Applied).await?;
    under.owner_has(&owner("ann"), &Vec::from_iter(records.get(2))).await
}

async fn an_empty_batch_is_done(trial: &Trial) -> Checked {
    let records = records(2);
    trial.keep(&records).await?;
    let under = trial.under(Rule::RemoveIsAllOrNothing);
    under.remove_is(&owner("ann"), &[], Applied).await?;
    under.remove_is(&owner("stranger"), &[], Applied).await?;
    under.owner_has(&owner("ann"), &Vec::from_iter(&records)).await
}

async fn a_long_batch_is_removed_whole(trial: &Trial) -> Checked {
    let records = records(150);
    trial.keep(&records).await?;
    let under = trial.under(Rule::RemoveIsAllOrNothing);
    let mut batch: Vec<_> = records.iter().skip(1).map(|record| record.id().clone()).collect();
    batch.push(id("missing"));
    under.remove_is(&owner("ann"), &batch, Conflict).await?;
    under.owner_has(&owner("ann"), &Vec::from_iter(&records)).await?;
    batch.pop();
    under.remove_is(&owner("ann"), &batch, Applied).await?;
    under.owner_has(&owner("ann"), &Vec::from_iter(records.first())).await
}
