//! Changes of jobs: compare-and-set on the revision of the entry first, and the messages afterwards.

use std::time::Duration;

use futures_util::future::try_join;

use super::Inner;
use super::claim::TRIES;
use super::link::Written;
use super::names::Place;
use super::read::Found;
use super::record::{Entry, Hold, JobMessage, Stored};
use crate::queue::{
    Enqueued, Job, JobChange, JobId, JobState, Lease, LeaseState, NewJob, QueueError,
};

impl Inner {
    /// Publishes the message of a job. It is the job until a worker claims it.
    pub(super) async fn enqueue(&self, job: NewJob) -> Result<Enqueued, QueueError> {
        let (id, hook, fingerprint) = (job.id, job.hook.clone(), job.fingerprint);
        let mut is_fresh = job.is_fresh;
        self.know(&job.hook).await?;
        let subject = self.link.names.job(Place::Due, &job.hook, &id);
        let message = JobMessage::new(job).encode().map_err(QueueError::unavailable)?;
        self.link.check_new(&message)?;
        for _ in 0..TRIES {
            if !is_fresh {
                // A message of another hook is found here alone, one of this hook by the sequence too.
                let (stored, found) =
                    try_join(self.link.stored(&id), self.any_message(&id)).await?;
                match (stored, found) {
                    (Some(stored), _) if !stored.entry.is_removed => {
                        let known = &stored.entry.job;
                        if (&known.hook, known.fingerprint) == (&hook, fingerprint) {
                            self.repair(known, message).await?;
                        }
                        return Ok(Enqueued::Known(Box::new(stored.entry.job)));
                    }
                    (Some(removed), _) => {
                        self.erase_entry(&removed).await?;
                    }
                    (None, Some(found)) => {
                        return Ok(Enqueued::Known(Box::new(unclaimed(id, &found)?)));
                    }
                    (None, None) => {}
                }
            }
            // Compare-and-set: for one of two callers the sequence of the subject is not 0.
            let written = self.link.publish(subject.clone(), message.clone(), Some(0)).await?;
            if written == Written::Stored {
                return Ok(Enqueued::New);
            }
            is_fresh = false;
        }
        Err(contention())
    }

    /// Publishes the message of a job again that has an entry alone, because the server has lost the message.
    async fn repair(&self, job: &Job, message: Vec<u8>) -> Result<(), QueueError> {
        if job.state.is_ended() || self.is_under_way(job).await? {
            return Ok(());
        }
        // If the job has ended in between, its entry says so to the worker that gets this message.
        let subject = self.link.names.job(Place::Due, &job.hook, &job.id);
        let _ = self.link.publish(subject, message, Some(0)).await?;
        Ok(())
    }

    /// What is known about a job: its entry, or its message if it was never claimed.
    pub(super) async fn job(&self, id: &JobId) -> Result<Option<Job>, QueueError> {
        let shown = |stored: Stored| (!stored.entry.is_removed).then_some(stored.entry.job);
        if let Some(stored) = self.link.stored(id).await? {
            return Ok(shown(stored));
        }
        if let Some(found) = self.any_message(id).await? {
            return unclaimed(*id, &found).map(Some);
        }
        // A worker may have taken it between the two looks.
        Ok(self.link.stored(id).await?.and_then(shown))
    }

    async fn any_message(&self, id: &JobId) -> Result<Option<Found>, QueueError> {
        let subject = self.link.names.of_any_hook(Place::Due, id);
        self.link.last(&self.link.names.jobs(), &subject).await
    }

    async fn message(
        &self,
        place: Place,
        hook: &str,
        id: &JobId,
    ) -> Result<Option<Found>, QueueError> {
        self.link.last(&self.link.names.jobs(), &self.link.names.job(place, hook, id)).await
    }

    /// Changes an entry under a lease, and returns what the lease was.
    async fn under(
        &self,
        lease: &Lease,
        change: impl Fn(&mut Entry),
    ) -> Result<Option<(Hold, Entry)>, QueueError> {
        for _ in 0..TRIES {
            let Some(stored) = self.link.stored(&lease.job()).await? else { return Ok(None) };
            let mut entry = stored.entry;
            let hold = entry.hold.clone().filter(|hold| hold.token == lease.token());
            let Some(hold) = hold else { return Ok(None) };
            change(&mut entry);
            if self.link.write(&entry, stored.revision).await? == Written::Stored {
                return Ok(Some((hold, entry)));
            }
        }
        Err(contention())
    }

    pub(super) async fn heartbeat(
        &self,
        lease: &Lease,
        lasts: Duration,
    ) -> Result<LeaseState, QueueError> {
        let Some((hold, _)) = self.under(lease, |entry| entry.lasts = lasts).await? else {
            return Ok(LeaseState::Lost);
        };
        self.link.again_after(&hold.ack, lasts).await;
        Ok(LeaseState::Held)
    }

    pub(super) async fn complete(
        &self,
        lease: &Lease,
        outcome: &str,
    ) -> Result<LeaseState, QueueError> {
        let end = |entry: &mut Entry| {
            entry.leave(JobState::Succeeded, Duration::ZERO);
            (entry.job.outcome, entry.job.error) = (Some(outcome.to_owned()), None);
        };
        let Some((hold, _)) = self.under(lease, end).await? else { return Ok(LeaseState::Lost) };
        self.link.acknowledge(&hold.ack).await;
        Ok(LeaseState::Held)
    }

    /// Gives a job back. Its message is published anew, at the end of the line or among those that wait, because one
    /// that is only not acknowledged keeps a place under the limit of its hook.
    pub(super) async fn give_back(
        &self,
        lease: &Lease,
        delay: Duration,
        change: impl Fn(&mut Job),
    ) -> Result<LeaseState, QueueError> {
        let leave = |entry: &mut Entry| {
            entry.leave(JobState::Queued, delay);
            change(&mut entry.job);
        };
        let Some((hold, entry)) = self.under(lease, leave).await? else {
            return Ok(LeaseState::Lost);
        };
        let job = &entry.job;
        if let Some(found) = self.message(Place::Due, &job.hook, &job.id).await? {
            let place = if delay.is_zero() { Place::Due } else { Place::Later };
            let subject = self.link.names.job(place, &job.hook, &job.id);
            self.copy(&found, job, subject, None).await?;
            self.link.acknowledge(&hold.ack).await;
        }
        Ok(LeaseState::Held)
    }

    async fn copy(
        &self,
        found: &Found,
        job: &Job,
        subject: String,
        revives: Option<u64>,
    ) -> Result<(), QueueError> {
        let message =
            JobMessage::decode(job.id, &found.payload).map_err(QueueError::unavailable)?;
        let message = JobMessage { created_at: Some(job.created_at), revives, ..message };
        let message = message.encode().map_err(QueueError::unavailable)?;
        let _ = self.link.publish(subject, message, None).await?;
        Ok(())
    }

    /// Ends a job. Its payload is kept first, for another start.
    pub(super) async fn bury(
        &self,
        lease: &Lease,
        error: &str,
        ran: bool,
    ) -> Result<LeaseState, QueueError> {
        let stored = self.link.stored(&lease.job()).await?;
        let held = |stored: &Stored| {
            stored.entry.hold.as_ref().is_some_and(|hold| hold.token == lease.token())
        };
        let Some(stored) = stored.filter(held) else { return Ok(LeaseState::Lost) };
        let job = &stored.entry.job;
        if let Some(found) = self.message(Place::Due, &job.hook, &job.id).await? {
            let subject = self.link.names.job(Place::Dead, &job.hook, &job.id);
            self.copy(&found, job, subject, None).await?;
        }
        let end = |entry: &mut Entry| {
            entry.leave(JobState::Dead, Duration::ZERO);
            entry.job.error = Some(error.to_owned());
            entry.job.attempts = entry.job.attempts.saturating_sub(u32::from(!ran));
        };
        let Some((hold, _)) = self.under(lease, end).await? else { return Ok(LeaseState::Lost) };
        self.link.acknowledge(&hold.ack).await;
        Ok(LeaseState::Held)
    }

    /// Puts a dead job back. A message that says so is published first: if this process dies afterwards, the worker
    /// that gets the message makes the change.
    pub(super) async fn retry(&self, id: &JobId) -> Result<JobChange, QueueError> {
        for _ in 0..TRIES {
            let Some(stored) = self.link.stored(id).await? else {
                let job = self.job(id).await?;
                return Ok(job.map_or(JobChange::NotFound, |_| JobChange::WrongState));
            };
            let job = &stored.entry.job;
            if stored.entry.is_removed {
                return Ok(JobChange::NotFound);
            }
            if job.state != JobState::Dead {
                return Ok(JobChange::WrongState);
            }
            let found = self.message(Place::Dead, &job.hook, id).await?;
            let found = found
                .ok_or_else(|| QueueError::unavailable("the payload of a dead job is lost"))?;
            let subject = self.link.names.job(Place::Later, &job.hook, id);
            self.copy(&found, job, subject, Some(stored.revision)).await?;
            if self.revive(stored).await? == Written::Stored {
                return Ok(JobChange::Changed);
            }
        }
        Err(contention())
    }

    /// Makes a dead job start again, and deletes the payload that was kept.
    pub(super) async fn revive(&self, stored: Stored) -> Result<Written, QueueError> {
        let mut entry = stored.entry;
        entry.revive();
        let job = &entry.job;
        let kept = self.message(Place::Dead, &job.hook, &job.id).await?;
        let written = self.link.write(&entry, stored.revision).await?;
        if let (Written::Stored, Some(kept)) = (written, kept) {
            self.erase_message(Place::Dead, &job.hook, &job.id, kept.sequence).await?;
        }
        Ok(written)
    }

    /// Removes a job. The entry of one that may be under way to a worker is replaced by one that says so.
    pub(super) async fn remove(&self, id: &JobId) -> Result<JobChange, QueueError> {
        for _ in 0..TRIES {
            let Some(stored) = self.link.stored(id).await? else {
                let Some(job) = self.job(id).await? else { return Ok(JobChange::NotFound) };
                if self.withdraw(Entry::new(job), 0).await? {
                    return Ok(JobChange::Changed);
                }
                continue;
            };
            if stored.entry.is_removed {
                return Ok(JobChange::NotFound);
            }
            let is_removed = match stored.entry.job.state {
                JobState::Running => return Ok(JobChange::WrongState),
                JobState::Queued => self.withdraw(stored.entry, stored.revision).await?,
                JobState::Succeeded | JobState::Dead => self.erase_ended(&stored).await?,
            };
            if is_removed {
                return Ok(JobChange::Changed);
            }
        }
        Err(contention())
    }

    /// Removes a job that waits, if it is at this revision.
    async fn withdraw(&self, mut entry: Entry, revision: u64) -> Result<bool, QueueError> {
        let (hook, id) = (entry.job.hook.clone(), entry.job.id);
        // Looked up before, so that no message of a later job under this id is deleted.
        let mut messages = Vec::new();
        for place in [Place::Due, Place::Later] {
            let found = self.message(place, &hook, &id).await?;
            messages.extend(found.map(|found| (place, found.sequence)));
        }
        entry.is_removed = true;
        entry.lasts = Duration::ZERO;
        if self.link.write(&entry, revision).await? == Written::Conflict {
            return Ok(false);
        }
        for (place, sequence) in messages {
            self.erase_message(place, &hook, &id, sequence).await?;
        }
        Ok(true)
    }

    /// Removes a job that has ended, if it is at this revision.
    pub(super) async fn erase_ended(&self, stored: &Stored) -> Result<bool, QueueError> {
        let job = &stored.entry.job;
        let kept = match job.state {
            JobState::Dead => self.message(Place::Dead, &job.hook, &job.id).await?,
            _ => None,
        };
        let is_removed = self.erase_entry(stored).await?;
        if let (true, Some(kept)) = (is_removed, kept) {
            self.erase_message(Place::Dead, &job.hook, &job.id, kept.sequence).await?;
        }
        Ok(is_removed)
    }

    /// Compare-and-delete: an entry that was changed in between has another sequence.
    pub(super) async fn erase_entry(&self, stored: &Stored) -> Result<bool, QueueError> {
        let subject = self.link.names.state(&stored.entry.job.id);
        Ok(self.link.erase(&self.link.names.states(), &subject, stored.revision).await? > 0)
    }

    async fn erase_message(
        &self,
        place: Place,
        hook: &str,
        id: &JobId,
        sequence: u64,
    ) -> Result<(), QueueError> {
        let subject = self.link.names.job(place, hook, id);
        self.link.erase(&self.link.names.jobs(), &subject, sequence).await?;
        Ok(())
    }

    /// Whether a job has a message that a worker gets.
    pub(super) async fn is_under_way(&self, job: &Job) -> Result<bool, QueueError> {
        for place in [Place::Due, Place::Later] {
            if self.message(place, &job.hook, &job.id).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A job that has a message alone.
pub(super) fn unclaimed(id: JobId, found: &Found) -> Result<Job, QueueError> {
    let message = JobMessage::decode(id, &found.payload).map_err(QueueError::unavailable)?;
    Ok(Job::queued(&message.job, message.created_at.unwrap_or(found.time)))
}

fn contention() -> QueueError {
    QueueError::unavailable("other changes kept coming in between")
}
