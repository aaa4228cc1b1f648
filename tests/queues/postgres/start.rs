//! What a process sees that starts.

use std::error::Error;
use std::time::Duration;

use tower_webhook::queue::{JobQueue, PostgresQueue};

use super::{fresh_schema, server};
use crate::support::Logs;
use crate::support::port::Port;

/// The error that a queue gives as its cause.
fn cause(error: &impl Error) -> String {
    error.source().unwrap().to_string()
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_as_what_is_wrong() {
    let port = Port::reserve();
    let url = format!("postgres://app@127.0.0.1:{}/app", port.number());
    let error = PostgresQueue::connect(&url).await.unwrap_err();
    assert!(cause(&error).contains("refused"), "{error:?}");
}

#[tokio::test]
async fn missing_tables_are_named_as_what_is_wrong() {
    let server = server::shared();
    let queue = PostgresQueue::connect(&server.url()).await.unwrap();
    let queue = queue.with_schema(&fresh_schema()).unwrap();
    let error = queue.claim(1, Duration::from_secs(1), Duration::ZERO).await.unwrap_err();
    assert_eq!(cause(&error), "the tables are missing: call PostgresQueue::migrate");
}

#[tokio::test]
async fn tables_that_are_there_are_no_event() {
    let server = server::shared();
    let queue = PostgresQueue::connect(&server.url()).await.unwrap();
    let queue = queue.with_schema(&fresh_schema()).unwrap();
    let logs = Logs::default();
    let guard = logs.capture();
    queue.migrate().await.unwrap();
    queue.migrate().await.unwrap();
    drop(guard);
    let text = logs.text();
    assert!(!text.contains("already exists"), "{text}");
}
