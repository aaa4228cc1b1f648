//! The service that shows jobs.

mod list;
mod openapi;
mod route;
mod service;
mod view;

pub use self::service::Executions;
