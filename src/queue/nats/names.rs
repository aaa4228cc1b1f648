//! The names of streams, consumers and subjects.

use sha2::{Digest, Sha256};

use crate::ConfigError;
use crate::queue::JobId;
use crate::util::hex;

/// The names of one queue, which all begin with its prefix.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

/// Why a message is in the stream of jobs. The second part of its subject.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// It may run now.
    Due,
    /// It waits for the end of a delay, or for a worker that puts a dead job back.
    Later,
    /// It is the payload of a dead job. No consumer reads it.
    Dead,
}

impl Place {
    const ALL: [Self; 3] = [Self::Due, Self::Later, Self::Dead];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Later => "later",
            Self::Dead => "dead",
        }
    }
}

/// A hook in a subject: the first 128 bits of the SHA-256 of its name, which is any text.
pub(super) fn token(hook: &str) -> String {
    let hash = Sha256::digest(hook.as_bytes());
    hex::encode(hash.get(..16).unwrap_or_default())
}

/// The consumer of the messages that wait.
pub(super) const LATER: &str = "later";

impl Default for Names {
    fn default() -> Self {
        Self { prefix: "tower-webhook".to_owned() }
    }
}

impl Names {
    pub(super) fn new(prefix: &str) -> Result<Self, ConfigError> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(is_fit) {
            return Err(ConfigError::new(
                "the prefix of a NATS queue is 1 to 64 letters, digits, `-` or `_`",
            ));
        }
        Ok(Self { prefix: prefix.to_owned() })
    }

    pub(super) fn jobs(&self) -> String {
        format!("{}-jobs", self.prefix)
    }

    pub(super) fn bucket(&self) -> String {
        format!("{}-state", self.prefix)
    }

    /// The stream that is the bucket.
    pub(super) fn states(&self) -> String {
        format!("KV_{}-state", self.prefix)
    }

    /// The subject of a job's state.
    pub(super) fn state(&self, id: &JobId) -> String {
        format!("$KV.{}-state.{id}", self.prefix)
    }

    /// The subjects of all states.
    pub(super) fn all_states(&self) -> String {
        format!("$KV.{}-state.*", self.prefix)
    }

    /// All subjects of the stream of jobs.
    pub(super) fn all(&self) -> Vec<String> {
        Place::ALL.map(|place| self.everywhere(place)).to_vec()
    }

    /// The subject of a message.
    pub(super) fn job(&self, place: Place, hook: &str, id: &JobId) -> String {
        format!("{}.{}.{}.{id}", self.prefix, place.as_str(), token(hook))
    }

    /// The subjects of the messages of a hook, by its token.
    pub(super) fn of_hook(&self, place: Place, token: &str) -> String {
        format!("{}.{}.{token}.*", self.prefix, place.as_str())
    }

    /// The subject of a job whose hook is not known.
    pub(super) fn of_any_hook(&self, place: Place, id: &JobId) -> String {
        format!("{}.{}.*.{id}", self.prefix, place.as_str())
    }

    /// The subjects of the messages of all hooks.
    pub(super) fn everywhere(&self, place: Place) -> String {
        format!("{}.{}.*.*", self.prefix, place.as_str())
    }
}

/// The id of the job in a subject.
pub(super) fn id(subject: &str) -> Option<JobId> {
    subject.rsplit('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_four_parts_for_every_hook() {
        let names = Names::new("app").unwrap();
        let job = JobId::from_bytes([1; 16]);
        for hook in ["", "deploy", "a.b", "*", ">", "ä b\n", &"x".repeat(1000)] {
            let subject = names.job(Place::Due, hook, &job);
            assert_eq!(subject.split('.').count(), 4, "{hook:?}");
            assert_eq!(id(&subject), Some(job), "{hook:?}");
            assert!(!subject.contains(['*', '>', ' ']), "{hook:?}");
        }
        // Stored jobs keep their subjects.
        assert_eq!(token("deploy"), "b7bd55c11b781b0ccc43aa6e57f9dadf");
    }

    #[test]
    fn a_prefix_is_a_plain_word() {
        for wrong in ["", "a.b", "a b", "*", ">", "ä", &"x".repeat(65)] {
            assert!(Names::new(wrong).is_err(), "{wrong:?}");
        }
        assert!(Names::new("tower-webhook_2").is_ok());
    }
}
