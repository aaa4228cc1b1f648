//! What is answered at every address but those of hooks, once it is known who is calling.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use servers::Error;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_webhook::body::{BufferedBody, ReplayBody};
use tower_webhook::identity::Identity;

use crate::App;
use crate::rules::{Address, Fault, Target, object, page};
use crate::stacks::{Definition, Stack, present};
use crate::storage::{Storage, StorageError};
use crate::users::{COOKIE, LOGIN_TIME, Name};

type Answer = Result<Response, Fault>;

/// Answers a request whose credentials have been checked and taken out.
pub(crate) async fn answer(app: Arc<App>, request: Request) -> Result<Response, Infallible> {
    let answer = answer_head(app, request).await;
    Ok(answer.unwrap_or_else(Fault::into_response))
}

async fn answer_head(app: Arc<App>, request: Request) -> Answer {
    let target =
        request.extensions().get::<Target>().cloned().ok_or("a request without a target")?;
    let caller = caller(&request)?;
    match (&target.address, request.method()) {
        (Address::ById(_) | Address::ByName(_), _) => {
            json(&view(&app, target.visible_to(caller)?, caller).await?)
        }
        (Address::Stacks, &Method::GET) => {
            let page = page(request.uri().query().unwrap_or_default())?;
            json(&list(&app, caller, page).await?)
        }
        (Address::Exec(_), _) => {
            target.stack().ok_or(Fault::NotFound)?;
            let Ok(response) = app.exec.clone().oneshot(request).await;
            Ok(response.map(Body::new))
        }
        (Address::TokenRefresh(_), _) => {
            refresh(&app, target.stack().ok_or(Fault::NotFound)?).await
        }
        (Address::Stack(_), _) if target.stack().is_none() => Err(Fault::NotFound),
        // What is left has a body, which is read now.
        _ => {
            let inner = Arc::clone(&app);
            let service = service_fn(move |request: Request<ReplayBody>| {
                let (app, target) = (Arc::clone(&inner), target.clone());
                async move {
                    let (head, _) = request.into_parts();
                    let answer = answer_body(&app, &target, caller, &head).await;
                    Ok::<_, Infallible>(answer.unwrap_or_else(Fault::into_response))
                }
            });
            let Ok(response) = app.buffer.layer(service).oneshot(request).await;
            Ok(response.map(Body::new))
        }
    }
}

async fn answer_body(app: &App, target: &Target, caller: Option<i64>, head: &Parts) -> Answer {
    let body = head.extensions.get::<BufferedBody>().map(BufferedBody::bytes);
    let body = body.ok_or("a request without a body")?;
    let object = object(&head.headers, &body)?;
    match (&target.address, target.stack(), caller) {
        (Address::Authenticate, ..) => log_in(app, object).await,
        (Address::Stacks, _, Some(caller)) => create(app, caller, object).await,
        (Address::Stack(_), Some(stack), _) => change(app, stack, object).await,
        _ => Err(Fault::NotFound),
    }
}

/// The id of the user for whom a request speaks.
fn caller(request: &Request) -> Result<Option<i64>, Error> {
    let identity = Identity::of(request.extensions())?;
    Ok(identity.map(|identity| identity.owner().as_str().parse()).transpose()?)
}

/// `POST /authenticate`
async fn log_in(app: &App, object: &str) -> Answer {
    #[derive(Deserialize)]
    struct Login {
        #[serde(default, deserialize_with = "present")]
        username: Option<String>,
        #[serde(default, deserialize_with = "present")]
        email: Option<String>,
        password: String,
    }

    let login: Login = serde_json::from_str(object).map_err(|_| Fault::Unfit)?;
    let name = match (&login.username, &login.email) {
        (Some(username), _) => Name::Username(username),
        (None, Some(email)) => Name::Email(email),
        (None, None) => return Err(Fault::Unfit),
    };
    let user = app.users.check(name, &login.password)?.ok_or(Fault::Unauthorized)?;
    let ticket = app.users.log_in(user).await?;
    let cookie = format!(
        "{COOKIE}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict",
        ticket.expose_secret(),
        LOGIN_TIME.whole_seconds()
    );
    let mut response = json(&json!({"code": 0, "user_id": user}))?;
    let mut cookie = HeaderValue::try_from(cookie)?;
    cookie.set_sensitive(true);
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

/// `GET /blockstacks`
async fn list(
    app: &App,
    caller: Option<i64>,
    page: String,
) -> Result<impl Serialize + use<>, Fault> {
    #[derive(Serialize)]
    struct List {
        count: i64,
        pagesize: i64,
        page: Box<RawValue>,
        stacks: Vec<Box<RawValue>>,
    }

    // A page of more digits than a number has is past the end like any other.
    let (count, found) = app.storage.page(caller, page.parse().unwrap_or(i64::MAX)).await?;
    let mut stacks = Vec::with_capacity(found.len());
    for stack in &found {
        stacks.push(view(app, stack, caller).await?);
    }
    let page = RawValue::from_string(page)?;
    Ok(List { count, pagesize: Storage::PAGE_LEN, page, stacks })
}

/// A stack as the caller gets to see it.
async fn view(app: &App, stack: &Stack, caller: Option<i64>) -> Result<Box<RawValue>, Fault> {
    if caller == Some(stack.owner) {
        let token = app.tokens.of(stack).await?;
        Ok(to_raw_value(&stack.owner_view(token.as_ref()))?)
    } else {
        Ok(to_raw_value(&stack.public_view())?)
    }
}

/// `POST /blockstacks`
async fn create(app: &App, caller: i64, object: &str) -> Answer {
    let stack = app.storage.create(caller, Definition::parse_new(object)?).await?;
    // Makes the token, if the stack is to have one.
    app.tokens.of(&stack).await?;
    json(&json!({"id": stack.id}))
}

/// `PUT /blockstacks/<id>`
async fn change(app: &App, stack: &Stack, object: &str) -> Answer {
    let change = Definition::parse(object)?;
    let stack = app.storage.change(stack.id, change).await?.ok_or(Fault::NotFound)?;
    let token = app.tokens.of(&stack).await?;
    json(&stack.change_view(token.as_ref()))
}

/// `GET` or `POST /blockstacks/hook/token_refresh/<id>`
async fn refresh(app: &App, stack: &Stack) -> Answer {
    app.storage.note_token(stack.id).await?;
    let token = app.tokens.refresh(stack).await?;
    json(&json!({"token": token.expose_secret()}))
}

/// No answer is kept by a cache: many have a token in them.
fn json(value: &impl Serialize) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok((headers, serde_json::to_vec(value)?).into_response())
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NameTaken => Self::NameTaken,
            StorageError::Broken(error) => error.into(),
        }
    }
}

/// A fault of ours. What it is goes to standard error, and not to the caller.
impl<E: Into<Error>> From<E> for Fault {
    #[expect(clippy::print_stderr, reason = "the log of a program")]
    fn from(error: E) -> Self {
        let error = error.into();
        let causes = std::iter::successors(error.source(), |error| error.source());
        let causes: String = causes.map(|cause| format!(": {cause}")).collect();
        eprintln!("kragle: {error}{causes}");
        Self::Unavailable
    }
}
