use super::Rule;
use super::group::{Check, checks};
use super::ready::MOST_POLLS;
use super::sample::{id, owner, record, stamped};
use super::trial::{Checked, RuleScope, Trial};
use crate::key::KeyRecord;
use crate::key::WriteOutcome::{Applied, Conflict};
use crate::util::conformance::{Call, dropped_after, together};

pub(super) const CHECKS: &[Check] = checks![
    a_dropped_find_leaves_nothing_behind,
    a_dropped_list_leaves_nothing_behind,
    a_dropped_insert_happens_whole_or_not_at_all,
    a_dropped_replace_happens_whole_or_not_at_all,
    a_dropped_remove_happens_whole_or_not_at_all,
    many_dropped_calls_use_nothing_up,
];

/// How often every number of polls is tried. Where a server answers, chance decides what a poll meets.
const ROUNDS: usize = 3;

/// Records that no dropped call is about.
struct Bystanders {
    records: [KeyRecord; 2],
}

impl Bystanders {
    async fn kept(trial: &Trial) -> Checked<Self> {
        let records = [stamped("by-1", "bystander", 1), stamped("by-2", "bystander", 2)];
        trial.keep(&records).await?;
        Ok(Self { records })
    }

    /// Every call answers its own question, and changes are made.
    async fn are_served(&self, under: RuleScope<'_>, name: &str) -> Checked {
        let [one, two] = &self.records;
        under.find_is(one.id(), Some(one)).await?;
        under.find_is(&id("nothing"), None).await?;
        under.list_is(two.owner(), None, 10, &[one, two]).await?;
        let new = stamped(name, "passer-by", 3);
        under.insert_is(&new, Applied).await?;
        under.find_is(two.id(), Some(two)).await?;
        under.insert_is(&new, Conflict).await?;
        under.remove_is(new.owner(), &[new.id().clone()], Applied).await?;
        under.owner_has(new.owner(), &[]).await
    }
}

async fn a_dropped_find_leaves_nothing_behind(trial: &Trial) -> Checked {
    let under = trial.under(Rule::DroppedCallIsWholeOrNothing);
    let bystanders = Bystanders::kept(trial).await?;
    let a = stamped("a", "ann", 4);
    trial.keep(std::slice::from_ref(&a)).await?;
    for round in 0..ROUNDS {
        for polls in 0..MOST_POLLS {
            let over = under.dropped_find(polls, a.id()).await?;
            // The very next question is another one.
            under.find_is(&id("nothing"), None).await?;
            under.dropped_find(polls, &id("nothing")).await?;
            under.find_is(a.id(), Some(&a)).await?;
            bystanders.are_served(under, &format!("new-{round}-{polls}")).await?;
            if over {
                break;
            }
        }
    }
    Ok(())
}

async fn a_dropped_list_leaves_nothing_behind(trial: &Trial) -> Checked {
    let under = trial.under(Rule::DroppedCallIsWholeOrNothing);
    let bystanders = Bystanders::kept(trial).await?;
    let records = ["a", "b", "c"].map(|id| record(id, "ann"));
    trial.keep(&records).await?;
    for round in 0..ROUNDS {
        for polls in 0..MOST_POLLS {
            let over = under.dropped_list(polls, &owner("ann")).await?;
            under.list_is(&owner("unknown"), None, 10, &[]).await?;
            under.dropped_list(polls, &owner("unknown")).await?;
            under.owner_has(&owner("ann"), &Vec::from_iter(&records)).await?;
            bystanders.are_served(under, &format!("new-{round}-{polls}")).await?;
            if over {
                break;
            }
        }
    }
    Ok(())
}

async fn a_dropped_insert_happens_whole_or_not_at_all(trial: &Trial) -> Checked {
    let under = trial.under(Rule::DroppedCallIsWholeOrNothing);
    let bystanders = Bystanders::kept(trial).await?;
    for round in 0..ROUNDS {
        for polls in 0..MOST_POLLS {
            let name = format!("{round}-{polls}");
            let new = stamped(&format!("key-{name}"), &format!("ann-{name}"), 5);
            let over = under.dropped_insert(polls, &new).await?;
            bystanders.are_served(under, &format!("new-{name}")).await?;
            if let Some(write) = over {
                under.ensure(write == Applied, "insert: Applied", || "Conflict".to_owned())?;
                under.find_is(new.id(), Some(&new)).await?;
                under.owner_has(new.owner(), &[&new]).await?;
                break;
            }
            under.settles(|| Box::pin(is_whole(under, &new, &[]))).await?;
            // With either outcome, the next calls are not blocked.
            let _ = under.insert(&new).await?;
            under.settles(|| Box::pin(is_whole(under, &new, std::slice::from_ref(&new)))).await?;
            under.remove_is(new.owner(), &[new.id().clone()], Applied).await?;
            // What was dropped may come as late as this.
            under.settles(|| Box::pin(is_whole(under, &new, &[]))).await?;
        }
    }
    Ok(())
}

async fn a_dropped_replace_happens_whole_or_not_at_all(trial: &Trial) -> Checked {
    let under = trial.under(Rule::DroppedCallIsWholeOrNothing);
    let bystanders = Bystanders::kept(trial).await?;
    for round in 0..ROUNDS {
        for polls in 0..MOST_POLLS {
            let name = format!("{round}-{polls}");
            let stamped = |number| stamped(&format!("key-{name}"), &format!("ann-{name}"), number);
            let (old, new, next) = (stamped(1), stamped(2), stamped(3));
            trial.keep(std::slice::from_ref(&old)).await?;
            let over = under.dropped_replace(polls, &new, 1).await?;
            bystanders.are_served(under, &format!("new-{name}")).await?;
            if let Some(write) = over {
                under.ensure(write == Applied, "replace: Applied", || "Conflict".to_owned())?;
                under.find_is(new.id(), Some(&new)).await?;
                break;
            }
            let both = [old, new];
            under.settles(|| Box::pin(is_whole(under, &next, &both))).await?;
            // One of the two versions is the stored one, and can be replaced.
            let mut done = false;
            for _ in 0..2 {
                let stored = under.find(next.id()).await?;
                let version = stored.map_or(0, |record| record.version());
                if !done && under.replace(&next, version).await? == Applied {
                    done = true;
                }
            }
            under.ensure(done, "replace: Applied", || "Conflict".to_owned())?;
            under.find_is(next.id(), Some(&next)).await?;
            under.owner_has(next.owner(), &[&next]).await?;
        }
    }
    Ok(())
}

async fn a_dropped_remove_happens_whole_or_not_at_all(trial: &Trial) -> Checked {
    let under = trial.under(Rule::DroppedCallIsWholeOrNothing);
    let bystanders = Bystanders::kept(trial).await?;
    for round in 0..ROUNDS {
        for polls in 0..MOST_POLLS {
            let name = format!("{round}-{polls}");
            let made = ["a", "b", "c"];
            let made = made.map(|id| record(&format!("{id}-{name}"), &format!("ann-{name}")));
            trial.keep(&made).await?;
            let [a, b, c] = &made;
            let ids = [a.id().clone(), c.id().clone()];
            let (every, only) = ([a, b, c], [b]);
            let over = under.dropped_remove(polls, a.owner(), &ids).await?;
            bystanders.are_served(under, &format!("new-{name}")).await?;
            if let Some(write) = over {
                under.ensure(write == Applied, "remove: Applied", || "Conflict".to_owned())?;
                under.find_is(a.id(), None).await?;
                under.owner_has(b.owner(), &[b]).await?;
                break;
            }
            under
                .settles(|| {
                    Box::pin(async {
                        let left = under.list(a.owner(), None, 10).await?;
                        let all = left.len() != 1;
                        under.page_is(&left, if all { &every } else { &only })?;
                        for record in [a, c] {
                            under.find_is(record.id(), Some(record).filter(|_| all)).await?;
                        }
                        under.find_is(b.id(), Some(b)).await
                    })
                })
                .await?;
            let _ = under.remove(a.owner(), &ids).await?;
            under.settles(|| Box::pin(under.owner_has(b.owner(), &only))).await?;
            trial.keep(std::slice::from_ref(a)).await?;
        }
    }
    Ok(())
}

/// More at once than a pool of connections usually has, and more in all than any has.
async fn many_dropped_calls_use_nothing_up(trial: &Trial) -> Checked {
    let under = trial.under(Rule::DroppedCallIsWholeOrNothing);
    let bystanders = Bystanders::kept(trial).await?;
    let a = stamped("a", "ann", 6);
    trial.keep(std::slice::from_ref(&a)).await?;
    let ids = [id("b")];
    for polls in 0..12 {
        let new: Vec<_> = (0..8).map(|n| record(&format!("key-{polls}-{n}"), "dropped")).collect();
        let mut calls: Vec<Call<'_, Checked>> = Vec::new();
        for record in &new {
            calls.push(Box::pin(async move { under.find(record.id()).await.map(drop) }));
            calls.push(Box::pin(async move { under.insert(record).await.map(drop) }));
            calls.push(Box::pin(async { under.replace(&a, 1).await.map(drop) }));
            calls.push(Box::pin(async { under.remove(a.owner(), &ids).await.map(drop) }));
            calls.push(Box::pin(async { under.list(a.owner(), None, 5).await.map(drop) }));
        }
        trial.note(format!("{} calls at once, dropped after {polls} polls", calls.len()));
        if let Some(outcomes) = dropped_after(polls, Box::pin(together(calls))).await {
            outcomes.into_iter().collect::<Checked>()?;
        }
        bystanders.are_served(under, &format!("new-{polls}")).await?;
    }
    under.find_is(a.id(), Some(&a)).await
}

/// Whether the record with the id of `like` is one of `allowed`, or, if there are none of them, `like`
/// or nothing; and whether `find` and `list` agree about it.
async fn is_whole(under: RuleScope<'_>, like: &KeyRecord, allowed: &[KeyRecord]) -> Checked {
    let found = under.find(like.id()).await?;
    let expected = match (&found, allowed) {
        (None, []) => None,
        (Some(found), [_, ..]) => {
            let same = allowed.iter().find(|record| record.version() == found.version());
            same.or(allowed.first())
        }
        (None, [first, ..]) => Some(first),
        (Some(_), []) => Some(like),
    };
    under.record_is("find", found.as_ref(), expected)?;
    under.owner_has(like.owner(), &Vec::from_iter(expected)).await
}
