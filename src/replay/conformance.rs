//! The rules of [`ReplayGuard`] as a check that the author of a guard calls from their tests.
//!
//! # Examples
//!
//! ```
//! use tower_webhook::replay::{MemoryReplayGuard, conformance};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_webhook::ConfigError> {
//! conformance::check(MemoryReplayGuard::new(100)?).await;
//! # Ok(())
//! # }
//! ```

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Claim, ClaimId, ReplayGuard, ReplayKey, StoredResponse};
use crate::BoxError;

/// Checks a guard against the rules of [`ReplayGuard`].
///
/// Deliveries have keys that no run before has used, so the place that a guard shares with others need not be empty. It
/// takes about a second.
///
/// # Panics
///
/// With the rule, if the guard breaks one or returns an error.
pub async fn check(guard: impl ReplayGuard) {
    let trial = Trial { run: getrandom::u64().unwrap_or_default(), guard: Arc::new(guard) };
    trial.one_claim_at_a_time().await;
    trial.an_answer_is_kept_as_it_was().await;
    trial.an_abort_frees_the_delivery().await;
    trial.a_lease_ends_and_fences_its_holder().await;
    trial.an_answer_ends_with_its_time().await;
    trial.of_many_claims_one_is_held().await;
}

struct Trial {
    run: u64,
    guard: Arc<dyn ReplayGuard>,
}

const LONG: Duration = Duration::from_secs(60);
/// More than a call takes, and less than a user of the check waits for.
const SHORT: Duration = Duration::from_millis(200);

impl Trial {
    fn key(&self, name: &str) -> ReplayKey {
        ReplayKey::new(&[b"conformance", &self.run.to_be_bytes(), name.as_bytes()])
    }

    async fn claim(&self, key: &ReplayKey, lease: Duration) -> Claim {
        must(self.guard.claim(key, lease).await)
    }

    async fn new_claim(&self, key: &ReplayKey, lease: Duration) -> ClaimId {
        match self.claim(key, lease).await {
            Claim::New(id) => id,
            claim => fails("1: a delivery that is not claimed is new", claim),
        }
    }

    async fn one_claim_at_a_time(&self) {
        let key = self.key("one");
        self.new_claim(&key, LONG).await;
        let second = self.claim(&key, LONG).await;
        assert_eq!(second, Claim::InFlight, "rule 1: a claimed delivery is in flight");
        self.new_claim(&self.key("other"), LONG).await;
    }

    async fn an_answer_is_kept_as_it_was(&self) {
        let key = self.key("answer");
        let id = self.new_claim(&key, LONG).await;
        assert!(
            must(self.guard.commit(&key, id, &answer(), LONG).await),
            "rule 3: a held claim commits"
        );
        let claim = self.claim(&key, LONG).await;
        assert_eq!(claim, Claim::Done(answer()), "rule 3: the answer is kept, byte for byte");
        must(self.guard.abort(&key, id).await);
        let claim = self.claim(&key, LONG).await;
        assert_eq!(
            claim,
            Claim::Done(answer()),
            "rule 3: an abort after the commit changes nothing"
        );
    }

    async fn an_abort_frees_the_delivery(&self) {
        let key = self.key("abort");
        let id = self.new_claim(&key, LONG).await;
        must(self.guard.abort(&key, id).await);
        let second = self.new_claim(&key, LONG).await;
        must(self.guard.abort(&key, id).await);
        let claim = self.claim(&key, LONG).await;
        assert_eq!(claim, Claim::InFlight, "rule 2: an abort ends its own claim alone");
        must(self.guard.abort(&key, second).await);
    }

    async fn a_lease_ends_and_fences_its_holder(&self) {
        let key = self.key("lease");
        let first = self.new_claim(&key, SHORT).await;
        sleep(SHORT * 2).await;
        let second = self.new_claim(&key, LONG).await;
        let late = must(self.guard.commit(&key, first, &answer(), LONG).await);
        assert!(!late, "rule 2: a claim whose lease has ended does not commit");
        let claim = self.claim(&key, LONG).await;
        assert_eq!(claim, Claim::InFlight, "rule 2: the claim of another is not touched");
        assert!(
            must(self.guard.commit(&key, second, &answer(), LONG).await),
            "rule 2: the holder commits"
        );
    }

    async fn an_answer_ends_with_its_time(&self) {
        let key = self.key("time");
        let id = self.new_claim(&key, LONG).await;
        assert!(must(self.guard.commit(&key, id, &answer(), SHORT).await));
        sleep(SHORT * 2).await;
        self.new_claim(&key, LONG).await;
    }

    async fn of_many_claims_one_is_held(&self) {
        let key = self.key("many");
        let mut claims = JoinSet::new();
        for _ in 0..20 {
            let guard = Arc::clone(&self.guard);
            claims.spawn(async move { must(guard.claim(&key, LONG).await) });
        }
        let claims = claims.join_all().await;
        let held = claims.iter().filter(|claim| matches!(claim, Claim::New(_))).count();
        assert_eq!(held, 1, "rule 1: of 20 claims at the same time one is held");
    }
}

/// An answer with every byte in its body, and a header that is no text.
fn answer() -> StoredResponse {
    let mut response = Response::new(Bytes::from_iter(0..=255));
    *response.status_mut() = StatusCode::CREATED;
    for value in [&b"one"[..], b"two", b"\xe9"] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            response.headers_mut().append("x-conformance", value);
        }
    }
    StoredResponse::of(&response)
}

fn must<T>(result: Result<T, BoxError>) -> T {
    result.unwrap_or_else(|error| fails("4: a guard that works returns no error", error))
}

#[expect(clippy::panic, reason = "a check of a test")]
#[track_caller]
fn fails<T>(rule: &str, found: impl Debug) -> T {
    panic!("rule {rule}: {found:?}")
}
