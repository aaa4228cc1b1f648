//! Which hook a request is for, who may call it, and by which method.

use http::Method;
use tower_webhook::RequestHead;
use tower_webhook::auth::Policy;
use tower_webhook::key::{Owner, Scope};
use tower_webhook::rate_limit::Quota;

pub(crate) fn policy(
    head: RequestHead<'_>,
    deploy: &Scope,
    owner: &Owner,
    limited: Quota,
) -> Option<Policy> {
    // The whole path, also where the router is nested in another one.
    let path = head.original_path().strip_prefix("/hook/")?;
    let (name, key) = path.split_once('/').map_or((path, None), |(name, key)| (name, Some(key)));
    // Behind the name there may be a key, and nothing else.
    if key.is_some_and(|key| key.is_empty() || key.contains('/')) {
        return None;
    }
    let token = || Policy::token().with_methods([Method::POST]).with_scope(deploy.clone());
    let policy = match name {
        // A client that announces a body and sends none is answered at once.
        "status" => Policy::public().with_methods([Method::GET, Method::HEAD]).without_body(),
        "echo" => Policy::public().with_methods([Method::POST]),
        // Senders try a hook out by HEAD before they use it.
        "deploy" => token().with_probe([Method::HEAD]),
        "deploy-any" => token(),
        // Each key has calls of its own.
        "limited" => token().with_rate_limit(limited),
        "report" => Policy::user().with_methods([Method::POST]).with_owner(owner.clone()),
        // A script with a key calls it, and a person who logs in.
        "any" => Policy::any_of([Policy::token(), Policy::user()])
            .with_methods([Method::POST])
            .with_scope(deploy.clone())
            .with_owner(owner.clone()),
        _ => return None,
    };
    Some(policy.with_hook(name))
}
