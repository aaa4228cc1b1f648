//! Limiters that fail, and limits that nothing counts.

use std::time::Duration;

use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::key::NewKey;
use tower_webhook::rejection::{Rejection, RejectionKind};

use super::{Answer, KINDS, Spy, call, layer, limited, limits, one, post};
#[cfg(feature = "tracing")]
use crate::support::Logs;
use crate::support::{Keys, Mode, owner};

#[tokio::test(start_paused = true)]
async fn a_limiter_that_fails_is_a_fault_of_ours() {
    let keys = Keys::new().await;
    for kind in KINDS {
        for store in [Mode::Ready, Mode::Later] {
            keys.store.set_mode(store);
            for (answer, expected) in [
                (Answer::Error, RejectionKind::Unavailable),
                (Answer::Nothing, RejectionKind::Unavailable),
                (Answer::Hang, RejectionKind::Unavailable),
                (Answer::Panic, RejectionKind::Internal),
                (Answer::PanicNow, RejectionKind::Internal),
            ] {
                let context = format!("{kind:?} {store:?} {answer:?}");
                let spy = Spy::default().answers(answer);
                let deadline = Duration::from_millis(1500);
                let auth = limited(&keys, &spy).with_decision_deadline(deadline);
                let started = tokio::time::Instant::now();
                let response = call(kind, &auth, post("/deploy", &keys.text)).await;
                let rejection = response.extensions().get::<Rejection>().unwrap();
                assert_eq!(rejection.kind(), expected, "{context}");
                assert_eq!(response.status(), expected.status(), "{context}");
                let waited = if answer == Answer::Hang { deadline } else { Duration::ZERO };
                assert_eq!(started.elapsed(), waited, "{context}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_may_let_calls_in_but_a_panic_does_not() {
    let keys = Keys::new().await;
    for kind in KINDS {
        for (answer, expected) in [
            (Answer::Error, 200),
            (Answer::Nothing, 200),
            (Answer::Hang, 200),
            (Answer::Panic, 500),
            (Answer::PanicNow, 500),
        ] {
            let spy = Spy::default().answers(answer);
            let open = limits(&spy).with_insecure_open_on_outage();
            let auth = layer(&keys).with_rate_limits(open).unwrap();
            #[cfg(feature = "tracing")]
            let logs = Logs::default();
            #[cfg(feature = "tracing")]
            let guard = logs.capture();
            let response = call(kind, &auth, post("/deploy", &keys.text)).await;
            assert_eq!(response.status(), expected, "{kind:?} {answer:?}");
            #[cfg(feature = "tracing")]
            {
                drop(guard);
                let (text, is_in) = (logs.text(), expected == 200);
                assert_eq!(text.contains("call not counted"), is_in, "{text}");
                assert!(text.contains("ERROR") && text.contains("sys_fault"), "{text}");
            }
            // A refusal is no outage.
            let spy = spy.answers(Answer::Ready);
            for _ in 0..5 {
                call(kind, &auth, post("/deploy", &keys.text)).await;
            }
            assert_eq!(call(kind, &auth, post("/deploy", &keys.text)).await.status(), 429);
            spy.take();
        }
    }
}

#[tokio::test]
async fn a_limit_that_nothing_counts_is_a_fault_and_never_dropped() {
    let keys = Keys::new().await;
    let slow = NewKey::new("slow").with_all_scopes().with_rate_limit(one());
    let slow = keys.manager.generate(&owner("alice"), slow).await.unwrap();
    let slow = slow.secret().expose_secret();
    for kind in KINDS {
        for store in [Mode::Ready, Mode::Later] {
            keys.store.set_mode(store);
            let auth = layer(&keys);
            for (path, key, expected) in [
                ("/deploy", &*keys.text, 200),
                ("/deploy", slow, 500),
                ("/once", &*keys.text, 500),
                ("/once", "junk", 401),
            ] {
                let response = call(kind, &auth, post(path, key)).await;
                assert_eq!(response.status(), expected, "{kind:?} {store:?} {path}");
                if expected == 500 {
                    let rejection = response.extensions().get::<Rejection>().unwrap();
                    assert_eq!(rejection.kind(), RejectionKind::Misconfigured);
                }
            }
        }
    }
}

#[tokio::test]
async fn limits_that_cannot_work_are_refused() {
    let keys = Keys::new().await;
    assert!(AuthLayer::new(Policy::public().with_rate_limit(one())).is_err());
    let twice = limited(&keys, &Spy::default()).with_rate_limits(limits(&Spy::default()));
    assert!(twice.is_err());
}
