//! What each address does, once the caller is known and may do it.

use axum::response::Response;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use tower_webhook::body::BufferedBody;

use crate::accounts::{Accounts, Caller};
use crate::address::Address;
use crate::answer::{Refusal, json};
use crate::json::{Value, array};
use crate::payload::{Accepts, read_body};
use crate::query::{Page, Query};
use crate::rules::TriggerTypes;
use crate::storage::Storage;

mod events;
mod hooks;
mod keys;
mod rules;

type Answer = Result<Response, Refusal>;

/// What all requests have in common.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) accounts: Accounts,
    pub(crate) storage: Storage,
    pub(crate) types: TriggerTypes,
    pub(crate) validate_payload: bool,
    /// Changes of API keys take turns: a key is a record in the key store and details beside it.
    pub(crate) key_changes: tokio::sync::Mutex<()>,
}

/// A request of a caller who may make it, with its whole body.
struct Call<'a> {
    head: &'a Parts,
    caller: &'a Caller,
    body: Bytes,
}

impl Server {
    /// Answers a request whose caller has been let through.
    pub(crate) async fn answer(&self, head: &Parts) -> Answer {
        let not_found = || Refusal::not_found("The resource could not be found.");
        let address = Address::of(&head.method, head.uri.path()).ok_or_else(not_found)?;
        let caller = caller(head)?;
        let body = head.extensions.get::<BufferedBody>().map(BufferedBody::bytes);
        let call = Call { head, caller, body: body.unwrap_or_default() };
        match (&address, &head.method) {
            (Address::Hooks, _) => self.list_hooks().await,
            (Address::Hook(name), &Method::POST) => self.send(&call, name).await,
            (Address::Hook(name), _) => self.view_hook(name).await,
            (Address::Rules, &Method::POST) => self.create_rule(&call).await,
            (Address::Rules, _) => self.list_rules(&call).await,
            (Address::Rule(rule), &Method::PUT) => self.change_rule(&call, rule).await,
            (Address::Rule(rule), &Method::DELETE) => self.delete_rule(rule).await,
            (Address::Rule(rule), _) => self.view_rule(rule).await,
            (Address::Keys, &Method::POST) => self.create_key(&call).await,
            (Address::Keys, _) => self.list_keys(&call).await,
            (Address::Key(id), &Method::PUT) => self.change_key(&call, id).await,
            (Address::Key(id), &Method::DELETE) => self.delete_key(&call, id).await,
            (Address::Key(id), _) => self.view_key(&call, id).await,
            (Address::Events, _) => self.list_events(&call).await,
        }
    }
}

impl Call<'_> {
    /// The body, as a JSON text.
    fn read(&self, accepts: Accepts) -> Result<String, Refusal> {
        read_body(&self.head.headers, &self.body, accepts).map_err(Refusal::invalid)
    }

    fn query(&self) -> Query {
        Query::of(&self.head.uri)
    }
}

/// The caller of a request that has been let through.
pub(crate) fn caller(head: &Parts) -> Result<&Caller, Refusal> {
    let unknown = || Refusal::internal("a request came past the authentication");
    head.extensions.get::<Caller>().ok_or_else(unknown)
}

/// The value of a text that [`Call::read`] has given.
fn value(text: &str) -> Result<Value<'_>, Refusal> {
    Value::read(text.as_bytes()).map_err(Refusal::internal)
}

/// A page of a list of JSON texts.
fn page_of(list: Vec<String>, page: Page) -> Response {
    let total = list.len();
    list_answer(total, page.of(list))
}

/// An array, and how many records there are beyond it.
fn list_answer(total: usize, records: Vec<String>) -> Response {
    const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");
    let mut response = json(StatusCode::OK, array(records));
    response.headers_mut().insert(TOTAL_COUNT, HeaderValue::from(total));
    response
}
