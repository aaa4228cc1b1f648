//! The service that shows jobs.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use tower::{Layer, ServiceExt};
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::hook::Outcome;
use tower_webhook::key::{NewKey, Scopes};
use tower_webhook::queue::{
    Executions, JobId, JobQueue, JobState, LeaseState, MemoryQueue, NewJob,
};

use super::seconds;
use super::unreliable::Unreliable;
use crate::support::{Keys, owner, scope};

async fn job(queue: &impl JobQueue, of: Option<&str>, hook: &str) -> JobId {
    let id = JobId::random().unwrap();
    let job = NewJob::new(id, "{}").with_hook(hook);
    let job = match of {
        Some(of) => job.with_owner(owner(of)),
        None => job,
    };
    let _ = queue.enqueue(job).await.unwrap();
    id
}

/// Claims the one job that is due, and ends it.
async fn end(queue: &impl JobQueue, state: JobState) {
    let claimed = queue.claim(1, seconds(60), seconds(1)).await.unwrap();
    let lease = claimed[0].lease;
    let held = match state {
        JobState::Succeeded => {
            let outcome = Outcome::json_text(r#"{"b":1,"a":1e400}"#).unwrap().encode();
            queue.complete(&lease, &outcome).await
        }
        JobState::Dead => queue.bury(&lease, "no \"branch\"", true).await,
        JobState::Queued => queue.retry_after(&lease, seconds(100), "later").await,
        JobState::Running => Ok(LeaseState::Held),
    };
    assert_eq!(held.unwrap(), LeaseState::Held);
}

/// Status, `Allow` or `Location`, and body of a call without a credential, or with one.
async fn call<S>(
    service: &S,
    key: &str,
    method: Method,
    target: &str,
) -> (StatusCode, String, String)
where
    S: tower_service::Service<
            Request<Full<Bytes>>,
            Response = http::Response<
                tower_webhook::rejection::ResponseBody<
                    tower_webhook::rejection::ResponseBody<Full<Bytes>>,
                >,
            >,
            Error = std::convert::Infallible,
        > + Clone,
{
    let mut request = Request::builder().method(method).uri(target);
    if !key.is_empty() {
        request = request.header("x-api-key", key);
    }
    let response = service.clone().oneshot(request.body(Full::default()).unwrap()).await.unwrap();
    let header = response.headers().get("location").or(response.headers().get("allow"));
    let header = header.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let status = response.status();
    assert_eq!(response.headers()["cache-control"], "no-store");
    (status, header, super::text(response).await)
}

fn ids(page: &str) -> Vec<String> {
    let page: Value = serde_json::from_str(page).unwrap();
    let all = page["executions"].as_array().unwrap().iter();
    all.map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_job_is_shown_in_each_state() {
    let queue = MemoryQueue::new();
    let service = AuthLayer::public().layer(Executions::new(queue.clone(), "/executions").unwrap());
    for (state, text) in [
        (JobState::Succeeded, r#""outcome":{"b":1,"a":1e400},"error":null}"#),
        (JobState::Dead, r#""outcome":null,"error":"no \"branch\""}"#),
        (JobState::Queued, r#""outcome":null,"error":"later"}"#),
        (JobState::Running, r#""outcome":null,"error":null}"#),
    ] {
        let id = job(&queue, None, "deploy").await;
        end(&queue, state).await;
        let (status, _, body) = call(&service, "", Method::GET, &format!("/executions/{id}")).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.ends_with(text), "{body}");
        let shown: Value = serde_json::from_str(&body.replace("1e400", "1")).unwrap();
        let members: Vec<_> = shown.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = vec![
            "id",
            "hook",
            "state",
            "attempts",
            "created_at",
            "started_at",
            "ended_at",
            "outcome",
            "error",
        ];
        expected.sort_unstable();
        let mut members = members;
        members.sort_unstable();
        assert_eq!(members, expected);
        assert_eq!(shown["id"], id.to_string());
        assert_eq!(shown["hook"], "deploy");
        assert_eq!(shown["state"], state.as_str());
        assert_eq!(shown["attempts"], 1);
        assert_eq!(shown["ended_at"].is_null(), !state.is_ended());
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_job_is_repeated_and_others_are_not() {
    let queue = MemoryQueue::new();
    let service = AuthLayer::public().layer(Executions::new(queue.clone(), "/executions").unwrap());
    let id = job(&queue, None, "").await;
    let (one, retry) = (format!("/executions/{id}"), format!("/executions/{id}/retry"));
    let (status, _, body) = call(&service, "", Method::POST, &retry).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(body.contains("in a state that does not allow this"), "{body}");
    end(&queue, JobState::Dead).await;
    let (status, location, body) = call(&service, "", Method::POST, &retry).await;
    assert_eq!((status, location), (StatusCode::ACCEPTED, one.clone()));
    let shown: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&shown["state"], &shown["attempts"], &shown["hook"]),
        (&"queued".into(), &0.into(), &Value::Null)
    );

    end(&queue, JobState::Running).await;
    assert_eq!(call(&service, "", Method::DELETE, &one).await.0, StatusCode::CONFLICT);
    let other = job(&queue, None, "").await;
    let other = format!("/executions/{other}");
    assert_eq!(call(&service, "", Method::DELETE, &other).await.0, StatusCode::NO_CONTENT);
    for (method, path) in [(Method::GET, &other), (Method::DELETE, &other)] {
        assert_eq!(call(&service, "", method, path).await.0, StatusCode::NOT_FOUND);
    }
    let (status, allow, _) = call(&service, "", Method::PUT, &one).await;
    assert_eq!((status, allow.as_str()), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, DELETE"));
    for path in ["/executions/x", "/execution", "/executionsx", "/"] {
        assert_eq!(call(&service, "", Method::GET, path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_caller_sees_its_own_jobs_and_an_operator_all() {
    let queue = MemoryQueue::new();
    let keys = Keys::new().await;
    let generate = async |name: &str, scopes: Scopes| {
        let key = keys.manager.generate(&owner(name), NewKey::new("a").with_scopes(scopes)).await;
        key.unwrap().secret().expose_secret().to_owned()
    };
    let ann = generate("ann", Scopes::NONE).await;
    let operator = generate("op", Scopes::from_iter([scope("operate")])).await;
    let jobs = [
        job(&queue, Some("ann"), "a").await,
        job(&queue, Some("bob"), "b").await,
        job(&queue, None, "b").await,
    ];
    let layer = AuthLayer::token(&keys.manager, [Placement::header("x-api-key").unwrap()]).unwrap();
    let executions = Executions::new(queue.clone(), "/").unwrap();
    let service = layer.layer(executions.clone().with_operator_scope(scope("operate")));
    let expect = async |key: &str, expected: [bool; 3]| {
        for (id, sees) in jobs.iter().zip(expected) {
            let status = if sees { StatusCode::OK } else { StatusCode::NOT_FOUND };
            let path = format!("/{id}");
            assert_eq!(call(&service, key, Method::GET, &path).await.0, status);
            if !sees {
                assert_eq!(call(&service, key, Method::DELETE, &path).await.0, status);
                let retry = format!("{path}/retry");
                assert_eq!(call(&service, key, Method::POST, &retry).await.0, status);
            }
        }
    };
    expect(&ann, [true, false, true]).await;
    expect(&operator, [true; 3]).await;
    assert_eq!(call(&service, "", Method::GET, "/").await.0, StatusCode::UNAUTHORIZED);
    let list = async |key: &str, query: &str| ids(&call(&service, key, Method::GET, query).await.2);
    assert_eq!(list(&ann, "/").await, [jobs[0].to_string()]);
    assert_eq!(list(&operator, "/").await.len(), 3);
    assert_eq!(list(&operator, "/?hook=b").await.len(), 2);
    assert_eq!(list(&operator, "/?state=dead").await.len(), 0);
    // Operators see whose jobs they are, and others do not.
    let shown = async |key: &str, target: &str| {
        let (.., body) = call(&service, key, Method::GET, target).await;
        serde_json::from_str::<Value>(&body).unwrap()
    };
    for (id, of) in jobs.iter().zip([Some("ann"), Some("bob"), None]) {
        let job = shown(&operator, &format!("/{id}")).await;
        assert_eq!(job.as_object().unwrap().get("owner"), Some(&of.into()), "{job}");
    }
    assert_eq!(shown(&operator, "/").await["executions"][1]["owner"], "bob");
    assert!(shown(&ann, &format!("/{}", jobs[0])).await.get("owner").is_none());
    assert!(shown(&ann, "/").await["executions"][0].get("owner").is_none());
    // Without the setting the scope means nothing.
    let service = layer.layer(executions);
    assert_eq!(ids(&call(&service, &operator, Method::GET, "/").await.2).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn strangers_list_nothing_unless_a_setting_says_so() {
    let queue = MemoryQueue::new();
    let (own, public) = (job(&queue, Some("ann"), "").await, job(&queue, None, "").await);
    let executions = Executions::new(queue.clone(), "/").unwrap();
    let service = AuthLayer::public().layer(executions.clone());
    assert_eq!(call(&service, "", Method::GET, "/").await.0, StatusCode::FORBIDDEN);
    assert_eq!(call(&service, "", Method::GET, &format!("/{own}")).await.0, StatusCode::NOT_FOUND);
    let service = AuthLayer::public().layer(executions.with_insecure_public_list());
    assert_eq!(ids(&call(&service, "", Method::GET, "/").await.2), [public.to_string()]);
}

#[tokio::test(start_paused = true)]
async fn a_list_has_pages() {
    let queue = MemoryQueue::new();
    for _ in 0..5 {
        job(&queue, None, "").await;
    }
    let executions = Executions::new(queue.clone(), "/e").unwrap().with_insecure_public_list();
    let service = AuthLayer::public().layer(executions);
    let mut seen = Vec::new();
    let mut target = "/e?limit=2".to_owned();
    loop {
        let (status, _, body) = call(&service, "", Method::GET, &target).await;
        assert_eq!(status, StatusCode::OK);
        seen.extend(ids(&body));
        let page: Value = serde_json::from_str(&body).unwrap();
        let Some(next) = page["next"].as_str() else { break };
        target = format!("/e?limit=2&after={next}");
    }
    assert_eq!(seen.len(), 5);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 5);
    let (status, _, body) = call(&service, "", Method::GET, "/e?limit=0&state=x").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        body.contains(r#""parameter":"state""#) && body.contains(r#""parameter":"limit""#),
        "{body}"
    );
}

/// What a stranger may not see shortens no page, and is in no cursor.
#[tokio::test(start_paused = true)]
async fn pages_of_strangers_are_full_and_name_no_job_of_another() {
    let queue = MemoryQueue::new();
    let mut public = Vec::new();
    for number in 0..1500 {
        let of = (number % 300 != 7).then_some("ann");
        let id = job(&queue, of, "").await;
        public.extend(of.is_none().then(|| id.to_string()));
    }
    public.reverse();
    let executions = Executions::new(queue, "/").unwrap().with_insecure_public_list();
    let service = AuthLayer::public().layer(executions);
    let mut after = String::new();
    for (page, has_next) in public.chunks(2).zip([true, true, false]) {
        let target = format!("/?limit=2{after}");
        let (_, _, body) = call(&service, "", Method::GET, &target).await;
        assert_eq!(ids(&body), page);
        let body: Value = serde_json::from_str(&body).unwrap();
        let next = body["next"].as_str();
        assert_eq!(next.is_some(), has_next);
        assert!(next.is_none_or(|next| next.ends_with(&page[1])), "{next:?}");
        after = format!("&after={}", next.unwrap_or_default());
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_has_errors_and_no_outcomes() {
    let queue = MemoryQueue::new();
    for state in [JobState::Succeeded, JobState::Dead] {
        job(&queue, None, "").await;
        end(&queue, state).await;
    }
    let executions = Executions::new(queue, "/").unwrap().with_insecure_public_list();
    let service = AuthLayer::public().layer(executions);
    let (.., page) = call(&service, "", Method::GET, "/").await;
    assert!(page.contains(r#""error":"no \"branch\""}"#), "{page}");
    assert!(page.contains("succeeded") && !page.contains("outcome"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_away_is_503_and_a_missing_layer_500() {
    let queue = Unreliable::default();
    let id = job(&queue, None, "").await;
    let executions = Executions::new(queue.clone(), "/").unwrap().with_insecure_public_list();
    let service = AuthLayer::public().layer(executions.clone());
    queue.set_down(true);
    for (method, path) in [
        (Method::GET, "/".to_owned()),
        (Method::GET, format!("/{id}")),
        (Method::DELETE, format!("/{id}")),
        (Method::POST, format!("/{id}/retry")),
    ] {
        let (status, ..) = call(&service, "", method, &path).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    let request = Request::get("/").body(Full::<Bytes>::default()).unwrap();
    let response = executions.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}
