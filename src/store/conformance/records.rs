use time::OffsetDateTime;

use super::Rule;
use super::describe::written;
use super::group::{Check, checks};
use super::sample::{
    at, changed, digest, digests, id, ids, metadata, names, owner, peppered, record, record_at,
    scopes, stamped, times, valid, versions,
};
use super::trial::{Checked, Trial};
use crate::key::WriteOutcome::{Applied, Conflict};
use crate::key::{KeyDigest, KeyRecord};

pub(super) const CHECKS: &[Check] = checks![
    every_part_comes_back,
    a_part_can_be_set_and_unset,
    names_come_back_byte_for_byte,
    scopes_come_back_and_none_is_not_all,
    metadata_comes_back_byte_for_byte,
    digests_come_back,
    previous_digests_come_back,
    deadlines_are_kept_to_the_nanosecond,
    times_of_creation_are_kept_to_the_nanosecond,
    versions_come_back_and_are_compared_exactly,
    a_version_beyond_the_limit_is_kept_or_refused,
    ids_are_compared_byte_for_byte,
];

const LAST_VERSION: u64 = i64::MAX.unsigned_abs();

/// A record for each value. Each is kept and read; then each record takes over the value of the next
/// one by `replace`, and is read again.
async fn come_back<V>(
    trial: &Trial,
    values: &[V],
    make: impl Fn(&str, &V) -> KeyRecord,
) -> Checked {
    let under = trial.under(Rule::RecordsComeBackAsGiven);
    let id = |index: usize| format!("key-{index:04}");
    let mut stored: Vec<KeyRecord> = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let record = make(&id(index), value);
        under.insert_is(&record, Applied).await?;
        under.find_is(record.id(), Some(&record)).await?;
        stored.push(record);
    }
    let ann = owner("ann");
    under.owner_has(&ann, &Vec::from_iter(&stored)).await?;

    let nexts = values.iter().cycle().skip(1);
    for (index, (record, next)) in stored.iter_mut().zip(nexts).enumerate() {
        let new = make(&id(index), next);
        // Versions rise.
        let new = match record.version() {
            LAST_VERSION => continue,
            version => new.clone().with_version(new.version().max(version + 1)),
        };
        under.replace_is(&new, record.version(), Applied).await?;
        under.find_is(new.id(), Some(&new)).await?;
        *record = new;
    }
    under.owner_has(&ann, &Vec::from_iter(&stored)).await
}

async fn every_part_comes_back(trial: &Trial) -> Checked {
    let numbers: Vec<u8> = (1..=4).collect();
    come_back(trial, &numbers, |id, number| stamped(id, "ann", *number)).await
}

/// A part that is not there stays away, and one that goes leaves nothing behind.
async fn a_part_can_be_set_and_unset(trial: &Trial) -> Checked {
    let parts: Vec<usize> = (0..8).flat_map(|part| [part, usize::MAX]).collect();
    come_back(trial, &parts, |id, part| {
        let record = record(id, "ann");
        match part {
            0 => record.with_previous_digest(Some((digest(1), at(1)))),
            1 => record.with_previous_digest(Some((peppered("p1", 1), at(1)))),
            2 => record.with_not_before(Some(at(2))),
            3 => record.with_expires_at(Some(at(3))),
            4 => record.with_revoked_at(Some(at(4))),
            5 => record.with_disabled(true),
            6 => valid(record.with_metadata(Some("{}"))),
            7 => record.with_digest(peppered("p1", 1)),
            _ => record,
        }
    })
    .await
}

async fn names_come_back_byte_for_byte(trial: &Trial) -> Checked {
    come_back(trial, &names(), |id, name| valid(record(id, "ann").with_name(name))).await
}

async fn scopes_come_back_and_none_is_not_all(trial: &Trial) -> Checked {
    come_back(trial, &scopes(), |id, scopes| record(id, "ann").with_scopes(scopes.clone())).await
}

async fn metadata_comes_back_byte_for_byte(trial: &Trial) -> Checked {
    come_back(trial, &metadata(), |id, text| {
        valid(record(id, "ann").with_metadata(text.as_deref()))
    })
    .await
}

async fn digests_come_back(trial: &Trial) -> Checked {
    come_back(trial, &digests(), |id, digest| record(id, "ann").with_digest(digest.clone())).await
}

async fn previous_digests_come_back(trial: &Trial) -> Checked {
    let digests = digests();
    let swapped = digests.iter().rev();
    let pairs: Vec<(KeyDigest, KeyDigest)> =
        digests.iter().cloned().zip(swapped.cloned()).collect();
    come_back(trial, &pairs, |id, (digest, previous)| {
        record(id, "ann")
            .with_digest(digest.clone())
            .with_previous_digest(Some((previous.clone(), at(9))))
    })
    .await
}

async fn deadlines_are_kept_to_the_nanosecond(trial: &Trial) -> Checked {
    let times = times();
    let others = times.iter().cycle().skip(7);
    let pairs: Vec<(OffsetDateTime, OffsetDateTime)> =
        times.iter().copied().zip(others.copied()).collect();
    come_back(trial, &pairs, |id, (time, other)| {
        record(id, "ann")
            .with_previous_digest(Some((digest(1), *time)))
            .with_not_before(Some(*other))
            .with_expires_at(Some(*time))
            .with_revoked_at(Some(*other))
    })
    .await
}

async fn times_of_creation_are_kept_to_the_nanosecond(trial: &Trial) -> Checked {
    come_back(trial, &times(), |id, time| record_at(id, "ann", *time)).await
}

async fn versions_come_back_and_are_compared_exactly(trial: &Trial) -> Checked {
    come_back(trial, &versions(), |id, version| record(id, "ann").with_version(*version)).await?;
    let under = trial.under(Rule::ReplaceComparesVersions);
    for version in versions() {
        let stored = record(&format!("version-{version}"), "bob").with_version(version);
        trial.keep(std::slice::from_ref(&stored)).await?;
        let neighbours = [version.checked_sub(1), version.checked_add(1)];
        let new = changed(&stored, version.saturating_add(1).min(LAST_VERSION));
        for wrong in neighbours.into_iter().flatten().filter(|wrong| *wrong <= LAST_VERSION) {
            under.replace_is(&new, wrong, Conflict).await?;
            under.find_is(stored.id(), Some(&stored)).await?;
        }
        if version < LAST_VERSION {
            under.replace_is(&new, version, Applied).await?;
            under.find_is(new.id(), Some(&new)).await?;
        }
    }
    Ok(())
}

async fn a_version_beyond_the_limit_is_kept_or_refused(trial: &Trial) -> Checked {
    let under = trial.under(Rule::RecordsComeBackAsGiven);
    let small = record("small", "ann");
    trial.keep(std::slice::from_ref(&small)).await?;
    for version in [LAST_VERSION + 1, u64::MAX - 1, u64::MAX] {
        let large = record(&format!("key-{version}"), "ann").with_version(version);
        let text = format!("insert({}, version {version})", large.id());
        let answer = under.raw(&text, trial.store().insert(large.clone()), written).await?;
        match answer {
            Ok(Applied) => under.find_is(large.id(), Some(&large)).await?,
            Ok(Conflict) => return Err(under.mismatch("Applied or an error", "Conflict")),
            Err(_) => under.find_is(large.id(), None).await?,
        }
        let new = changed(&small, 2);
        let text = format!("replace({}, expected version {version})", new.id());
        let answer = under.raw(&text, trial.store().replace(new, version), written).await?;
        under.ensure(!matches!(answer, Ok(Applied)), "Conflict or an error", || {
            "Applied".to_owned()
        })?;
        under.find_is(small.id(), Some(&small)).await?;
    }
    Ok(())
}

async fn ids_are_compared_byte_for_byte(trial: &Trial) -> Checked {
    let under = trial.under(Rule::FindAnswersById);
    let records: Vec<_> = ids().iter().map(|id| record(id, "ann")).collect();
    for record in &records {
        under.find_is(record.id(), None).await?;
        under.insert_is(record, Applied).await?;
        under.find_is(record.id(), Some(record)).await?;
    }
    for record in &records {
        under.find_is(record.id(), Some(record)).await?;
    }
    under.owner_has(&owner("ann"), &Vec::from_iter(&records)).await?;
    let (gone, left): (Vec<_>, Vec<_>) =
        records.iter().enumerate().partition(|(index, _)| index % 2 == 0);
    let gone: Vec<_> = gone.into_iter().map(|(_, record)| record.id().clone()).collect();
    under.remove_is(&owner("ann"), &gone, Applied).await?;
    for id in &gone {
        under.find_is(id, None).await?;
    }
    let left: Vec<_> = left.into_iter().map(|(_, record)| record).collect();
    for record in &left {
        under.find_is(record.id(), Some(record)).await?;
    }
    under.find_is(&id("never"), None).await?;
    under.owner_has(&owner("ann"), &left).await
}
