//! The rules of `JobQueue`.

use std::cell::RefCell;

use tower_webhook::queue::conformance;

use super::{open, open_damaged};
use crate::support::folder::Folder;

#[tokio::test]
async fn the_queue_keeps_the_rules() {
    let folder = RefCell::new(Folder::new());
    conformance::check(async |limits| {
        let next = Folder::new();
        let queue = open(&next).await.with_hook_limits(limits);
        // The folder before is removed.
        folder.replace(next);
        queue
    })
    .await;
}

#[tokio::test]
async fn jobs_are_there_when_the_file_is_opened_again() {
    let folder = Folder::new();
    conformance::check_durable(async || open(&folder).await).await;
}

#[tokio::test]
async fn every_call_on_a_damaged_file_is_an_error() {
    let folder = RefCell::new(Folder::new());
    conformance::check_outage(async || {
        let next = Folder::new();
        let queue = open_damaged(&next).await;
        folder.replace(next);
        queue
    })
    .await;
}
