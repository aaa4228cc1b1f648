//! What a list of placements finds in a request, by the rules of the docs alone.

use crate::cases::{Access, Body, Call, Condition, Layer, List, Method, Place, Policy, Secret};
use crate::model::State;

/// The one credential of the kind that the policy accepts: in the head, or in the body where the head has none. More
/// than one is refused, and so is one with a credential of the other kind in a header beside it.
pub(crate) fn count(
    layer: &Layer,
    state: &State,
    accepted: &List,
    other: &List,
) -> Result<Option<Secret>, u16> {
    match find(layer, state, accepted)? {
        Some((place, _)) if is_beside(layer, state, Some(place), other) => Err(400),
        found => Ok(found.map(|(_, secret)| secret)),
    }
}

/// What one list finds: in the head, or in the body where the head has none.
fn find(layer: &Layer, state: &State, list: &List) -> Result<Option<(Place, Secret)>, u16> {
    match find_among(layer, state, list, &head_places(list))? {
        None => find_among(layer, state, list, &[Place::Body]),
        found => Ok(found),
    }
}

fn find_among(
    layer: &Layer,
    state: &State,
    list: &List,
    places: &[Place],
) -> Result<Option<(Place, Secret)>, u16> {
    let mut found: Option<(Place, Secret)> = None;
    for place in places {
        let read = read(layer, state, list, *place);
        let Some(first) = read.first() else { continue };
        // A browser fails a connection for which no protocol is picked.
        let is_alone = *place == Place::WebSocket && !state.call.offers;
        if read.len() > 1 || is_alone {
            return Err(400);
        }
        if let Some(secret) = first
            && found.replace((*place, *secret)).is_some()
        {
            return Err(400);
        }
    }
    Ok(found)
}

/// The one credential of a request that may have a key or that of a user.
pub(crate) enum Either {
    Nothing,
    Key(Secret),
    User(Secret),
    /// In a place of both lists: as that of keys reads it, and as that of users does.
    OnePlace(Secret, Secret),
}

/// What a policy for a key or a user finds: one credential of any kind, in the head or in the body where the head has
/// none.
pub(crate) fn one_of_either(layer: &Layer, state: &State) -> Result<Either, u16> {
    let (keys, users) = (key_list(layer), user_list(layer));
    let among = |list: &List, places: &[Place]| find_among(layer, state, list, places);
    let mut found = (among(&keys, &head_places(&keys))?, among(&users, &head_places(&users))?);
    if found == (None, None) {
        found = (among(&keys, &[Place::Body])?, among(&users, &[Place::Body])?);
    }
    Ok(match found {
        (None, None) => Either::Nothing,
        (Some((_, key)), None) => Either::Key(key),
        (None, Some((_, user))) => Either::User(user),
        (Some((place, key)), Some((other, user))) if place == other => Either::OnePlace(key, user),
        (Some(_), Some(_)) => return Err(400),
    })
}

/// What a policy for a key and a user finds: one of each kind, which have places of their own.
pub(crate) fn one_of_each(
    layer: &Layer,
    state: &State,
) -> Result<(Option<Secret>, Option<Secret>), u16> {
    let (key, user) =
        (find(layer, state, &key_list(layer))?, find(layer, state, &user_list(layer))?);
    match (key, user) {
        (Some((place, _)), Some((other, _))) if place == other => Err(401),
        (key, user) => Ok((key.map(|(_, secret)| secret), user.map(|(_, secret)| secret))),
    }
}

/// Whether a credential of the other kind is in a header, in another place than the accepted one was found in.
pub(crate) fn is_beside(layer: &Layer, state: &State, found: Option<Place>, other: &List) -> bool {
    let is_in_header = |place: &Place| {
        is_in_authorization(*place)
            || matches!(place, Place::Header | Place::OtherHeader | Place::WebSocket)
    };
    let mut beside = all_places(other).into_iter().filter(is_in_header);
    beside.any(|place| found != Some(place) && holds_any(layer, state, other, &[place]))
}

pub(crate) fn is_in_authorization(place: Place) -> bool {
    matches!(place, Place::Bearer | Place::Basic | Place::Scheme)
}

/// What a list of placements finds in a place. `None` is another scheme, which takes the place of a credential and is
/// none.
fn read(layer: &Layer, state: &State, list: &List, place: Place) -> Vec<Option<Secret>> {
    let call = &state.call;
    let copies = present(call, list, place);
    match place {
        _ if !is_read_in(list, place, call) => Vec::new(),
        // A form that is sent with GET or HEAD is no credential (RFC 6750, section 2.2).
        Place::Body if matches!(call.method, Method::Get | Method::Head) => Vec::new(),
        Place::Body if !has_fields(layer, state) => Vec::new(),
        // Values that are joined and are no list of credentials are one value, which begins as the first of them.
        _ if is_one_value(call, list, place, &copies) => copies
            .first()
            .map(|(at, _)| (*at == place).then_some(Secret::Guess))
            .into_iter()
            .collect(),
        _ => {
            let are_equal = copies.windows(2).all(|pair| pair[0] == pair[1]);
            let count = if list.merges_copies && are_equal { 1 } else { copies.len() };
            let counted = copies.into_iter().take(count);
            counted.map(|(at, secret)| (at == place).then_some(secret)).collect()
        }
    }
}

/// What is sent in a place. An empty value is nothing, and so is a scheme alone that is known. In the path, what a
/// layer around this one has left is nothing. All schemes share one field.
fn present(call: &Call, list: &List, place: Place) -> Vec<(Place, Secret)> {
    let is_here = |at: Place| at == place || is_in_authorization(at) && is_in_authorization(place);
    let is_something = |at: Place, secret: Secret| match secret {
        Secret::Empty => !call.joined && is_in_authorization(at) && !is_known_scheme(list, at),
        secret => secret != Secret::Redacted,
    };
    let copies = call.copies.iter().copied();
    copies.filter(|(at, secret)| is_here(*at) && is_something(*at, *secret)).collect()
}

/// A proxy joins fields of one name with commas. In a header of its own, the parts count if each has the format of a
/// key; in `Authorization`, if the scheme of each is known.
fn is_one_value(call: &Call, list: &List, place: Place, copies: &[(Place, Secret)]) -> bool {
    let is_joined = call.joined && copies.len() > 1;
    is_joined
        && match place {
            Place::Header | Place::OtherHeader => {
                let is_key = |secret| matches!(secret, Secret::Key(..));
                !list.of_keys || !copies.iter().all(|(_, secret)| is_key(*secret))
            }
            _ if is_in_authorization(place) => {
                !copies.iter().all(|(at, _)| is_known_scheme(list, *at))
            }
            _ => false,
        }
}

/// `Bearer` and `Basic` are always known, a scheme of the app where it is read.
fn is_known_scheme(list: &List, at: Place) -> bool {
    at != Place::Scheme || all_places(list).contains(&Place::Scheme)
}

/// Whether the list reads the place in this request.
fn is_read_in(list: &List, place: Place, call: &Call) -> bool {
    let holds = |condition: Condition| match condition {
        Condition::Always => true,
        Condition::Reading => matches!(call.method, Method::Get | Method::Head),
        Condition::LoggedIn => call.session.is_some(),
    };
    list.places.iter().any(|(at, condition)| *at == place && holds(*condition))
}

pub(crate) fn user_list(layer: &Layer) -> List {
    layer.users.as_ref().map(|users| users.list.clone()).unwrap_or_default()
}

pub(crate) fn key_list(layer: &Layer) -> List {
    layer.keys.as_ref().map(|keys| keys.list.clone()).unwrap_or_default()
}

pub(crate) fn all_places(list: &List) -> Vec<Place> {
    list.places.iter().map(|(place, _)| *place).collect()
}

/// All places that a layer is configured with, in every request.
pub(crate) fn places(layer: &Layer) -> Vec<Place> {
    let (keys, users) = (all_places(&key_list(layer)), all_places(&user_list(layer)));
    [keys, users, layer.stripped.clone()].concat()
}

/// The lists of placements of the credentials that a policy accepts.
pub(crate) fn accepted(layer: &Layer, policy: &Policy) -> Vec<List> {
    match policy.access {
        Access::Public => Vec::new(),
        Access::Token => vec![key_list(layer)],
        Access::User => vec![user_list(layer)],
        Access::AnyOf | Access::AllOf => vec![key_list(layer), user_list(layer)],
    }
}

/// Whether the head has the credentials that a policy accepts. A list without places has none.
pub(crate) fn is_in_head(layer: &Layer, policy: &Policy, state: &State) -> bool {
    let mut lists = accepted(layer, policy);
    lists.retain(|list| !list.places.is_empty());
    let holds = |list: &List| holds_any(layer, state, list, &head_places(list));
    match policy.access {
        Access::AllOf => lists.iter().all(holds),
        _ => lists.iter().any(holds),
    }
}

pub(crate) fn head_places(list: &List) -> Vec<Place> {
    all_places(list).into_iter().filter(|place| *place != Place::Body).collect()
}

/// Whether a list finds a credential in any of these places.
pub(crate) fn holds_any(layer: &Layer, state: &State, list: &List, places: &[Place]) -> bool {
    places.iter().any(|place| read(layer, state, list, *place).iter().any(Option::is_some))
}

/// Whether a credential is looked for in the body before the verdict: the head has none.
pub(crate) fn looks_into_body(layer: &Layer, policy: &Policy, state: &State) -> bool {
    let lists = accepted(layer, policy);
    let has_none = |list: &List| !is_in_head_or_repeated(layer, state, list);
    let reads = |list: &List| reads_body(list, state);
    match policy.access {
        // Each kind is looked for, unless the head has too many of one.
        Access::AllOf => {
            let is_fine = |list: &List| find_among(layer, state, list, &head_places(list)).is_ok();
            lists.iter().all(is_fine) && lists.iter().any(|list| reads(list) && has_none(list))
        }
        _ => lists.iter().any(reads) && lists.iter().all(has_none),
    }
}

/// Whether a list finds something in the head. Two `Authorization` lines are too many, with any content.
pub(crate) fn is_in_head_or_repeated(layer: &Layer, state: &State, list: &List) -> bool {
    let head = head_places(list);
    let is_repeated = head.iter().any(|place| read(layer, state, list, *place).len() > 1);
    is_repeated || holds_any(layer, state, list, &head)
}

pub(crate) fn reads_body(list: &List, state: &State) -> bool {
    let is_read = !matches!(state.call.method, Method::Get | Method::Head);
    is_read && is_read_in(list, Place::Body, &state.call)
}

/// Whether the body has a second credential of a kind that the policy accepts, beside one in the head.
pub(crate) fn has_second_in_body(layer: &Layer, policy: &Policy, state: &State) -> bool {
    let lists = accepted(layer, policy);
    let in_head = |list: &List| holds_any(layer, state, list, &head_places(list));
    let in_body = |list: &List| holds_any(layer, state, list, &[Place::Body]);
    match policy.access {
        // A second one of its own kind.
        Access::AllOf => lists.iter().any(|list| in_head(list) && in_body(list)),
        _ => lists.iter().any(in_head) && lists.iter().any(in_body),
    }
}

/// Media types that are read. Others, and other codings, pass untouched.
fn is_read(body: Body) -> bool {
    let is_multipart = matches!(body, Body::Multipart | Body::BrokenMultipart);
    !matches!(body, Body::Empty | Body::Text | Body::Unlabelled | Body::Coded)
        && (cfg!(feature = "multipart") || !is_multipart)
}

/// Why the places of a layer in the body cannot be cleaned. The policy does not matter.
pub(crate) fn body_fault(layer: &Layer, state: &State) -> Option<u16> {
    let body = state.call.body;
    if !places(layer).contains(&Place::Body) || !is_read(body) {
        return None;
    }
    let copies = state.call.copies.iter().filter(|(place, _)| *place == Place::Body).count();
    match body {
        Body::TwoLabels | Body::ListedLabels => Some(400),
        Body::UnreadableLabel | Body::LatinForm => Some(415),
        _ if !state.is_buffered && !layer.with_buffer => Some(500),
        Body::TwiceJson | Body::DeepJson | Body::LongForm | Body::BrokenMultipart => Some(400),
        Body::Json | Body::JsonSuffix if copies > 1 => Some(400),
        // JSON that breaks off, too: no credential is found in it, and it passes untouched.
        _ => None,
    }
}

/// Whether the layer sees fields in the body.
pub(crate) fn has_fields(layer: &Layer, state: &State) -> bool {
    let body = state.call.body;
    is_read(body) && body != Body::BrokenJson && body_fault(layer, state).is_none()
}
