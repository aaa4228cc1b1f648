//! The public interface itself: auto traits, and names that do not get in the way.

use std::fmt::Debug;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower_webhook::auth::{Auth, AuthLayer, BufferedAuthLayer, Policy, User};
use tower_webhook::body::{BodyBuffer, BodyBufferLayer, BufferedBody, ReadError, ReplayBody};
use tower_webhook::content::{ContentError, ContentLimits, MediaType};
use tower_webhook::credential::{
    Credentials, ExtractError, Placement, PresentedCredential, Secret,
};
use tower_webhook::envelope::{BuildError, Envelope, EnvelopeBuilder};
use tower_webhook::hook::{ExecutorError, Failure, Hooks, Invocation, Outcome, ResponseFormat};
use tower_webhook::identity::{Identity, MissingAuthLayer};
use tower_webhook::key::{
    KeyDigest, KeyHasher, KeyManager, KeyRecord, KeyVerifier, ManageError, StoreError, VerifiedKey,
    VerifyError,
};
#[cfg(feature = "management")]
use tower_webhook::management::{KeyView, ManagementApi};
use tower_webhook::rejection::{Rejection, ResponseBody, Violation};
use tower_webhook::store::MemoryKeyStore;
use tower_webhook::{Clock, ConfigError, RequestHead};

use crate::support::Recorder;

#[test]
fn public_types_cross_threads_and_can_be_printed() {
    fn check<T: Debug + Send + Sync>() {}

    check::<Auth<()>>();
    check::<AuthLayer>();
    check::<BodyBuffer<()>>();
    check::<BodyBufferLayer>();
    check::<BufferedAuthLayer>();
    check::<BufferedBody>();
    check::<BuildError>();
    check::<PresentedCredential<'_>>();
    check::<Clock>();
    check::<ConfigError>();
    check::<ContentError>();
    check::<ContentLimits>();
    check::<Credentials>();
    check::<Envelope>();
    check::<EnvelopeBuilder>();
    check::<ExecutorError>();
    check::<Failure>();
    check::<ExtractError>();
    check::<Hooks>();
    check::<Identity>();
    check::<Invocation>();
    check::<KeyDigest>();
    check::<KeyHasher>();
    check::<KeyManager>();
    check::<KeyRecord>();
    check::<KeyVerifier>();
    #[cfg(feature = "management")]
    check::<KeyView<'_>>();
    check::<ManageError>();
    #[cfg(feature = "management")]
    check::<ManagementApi>();
    check::<MediaType>();
    check::<MemoryKeyStore>();
    check::<MissingAuthLayer>();
    check::<Outcome>();
    check::<Placement>();
    check::<Policy>();
    check::<ReadError>();
    check::<Rejection>();
    check::<ReplayBody>();
    check::<RequestHead<'_>>();
    check::<ResponseBody<Full<Bytes>>>();
    check::<ResponseFormat>();
    check::<Secret>();
    check::<StoreError>();
    check::<User>();
    check::<VerifiedKey>();
    check::<VerifyError>();
    check::<Violation>();
}

#[test]
fn response_futures_cross_threads() {
    fn check<S: tower::Service<Request<Full<Bytes>>>>(_: &S)
    where
        S::Future: Send,
    {
    }

    use tower::Layer as _;
    check(&AuthLayer::public().layer(Recorder::default()));
    check(&BodyBufferLayer::new().layer(Recorder::default()));
    check(&AuthLayer::public().with_buffer(BodyBufferLayer::new()).layer(Recorder::default()));
    #[cfg(feature = "management")]
    check(&ManagementApi::new(KeyManager::new(MemoryKeyStore::new()), "/").unwrap());
}

/// Everything at once, next to the crates that users glob-import as well.
mod glob_import {
    #![allow(unused_imports)]

    use axum::*;
    use http::*;
    use tower::*;
    use tower_webhook::*;

    #[test]
    fn names_do_not_collide() {
        let _: fn() -> Clock = Clock::system;
        let _: fn() -> Router = Router::new;
        let _: fn(()) -> Request<()> = Request::new;
        let _: fn() -> ServiceBuilder<layer::util::Identity> = ServiceBuilder::new;
    }
}
