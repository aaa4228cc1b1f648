//! What a stack does with a request, by the rules of the docs alone. Each rule is a function.

use crate::cases::{
    Access, Body, Call, Caller, Key, Keys, Layer, Method, Owner, Place, Policy, Ring, Scope,
    Secret, Source, Stack,
};

/// What comes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The inner service is called once, with this request.
    Inside { caller: Option<Caller>, call: Call },
    /// The layer with this number refuses, in one of these ways. There are several where faults of different stages
    /// come together and no rule says which of them is seen.
    Refused { layer: usize, concealed: bool, ways: Vec<Refusal> },
}

/// A response, as far as the rules fix it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) challenges: usize,
}

/// Which proofs a layer takes over from one around it: those of clones of its own verifier.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Realm {
    Shared(Ring),
    /// Of the layer with this number alone.
    Own(usize),
}

/// A request on its way in.
struct State {
    call: Call,
    is_buffered: bool,
    proven: Option<(Caller, Option<Realm>)>,
}

/// What is known about a request once a layer has let it in.
type Proven = Option<(Caller, Option<Realm>)>;

/// The request goes through the layers one by one.
pub(crate) fn answer(stack: &Stack, call: &Call) -> Answer {
    let mut state = State { call: call.clone(), is_buffered: false, proven: None };
    for (number, layer) in stack.layers.iter().enumerate() {
        state.is_buffered |= layer.buffer_outside;
        match decide(layer, number, &state) {
            Err(ways) => {
                let concealed = is_concealed(layer, policy(layer, &state.call));
                return Answer::Refused { layer: number, concealed, ways };
            }
            Ok(proven) => enter(layer, &mut state, proven),
        }
    }
    Answer::Inside { caller: state.proven.map(|(caller, _)| caller), call: state.call }
}

/// Order of checks: the hook, its methods, the number of credentials, the credential, owner and scopes.
fn decide(layer: &Layer, number: usize, state: &State) -> Result<Proven, Vec<Refusal>> {
    let body = body_fault(layer, state);
    let Some(policy) = policy(layer, &state.call) else {
        let mut statuses = vec![404];
        statuses.extend(body.filter(|status| is_concealed(layer, None) && is_ours(*status)));
        return Err(refuse(layer, None, &statuses));
    };
    let method = method_fault(policy, state.call.method);
    if let Some(fault) = configuration_fault(layer, policy) {
        let statuses: Vec<u16> = [Some(fault), method, body].into_iter().flatten().collect();
        return Err(refuse(layer, Some(policy), &statuses));
    }
    if is_concealed(layer, Some(policy)) {
        return decide_concealed(layer, number, state, policy, method, body);
    }
    if let Some(status) = method {
        return Err(refuse(layer, Some(policy), &[status]));
    }
    let caller = caller(layer, number, state, policy);
    match (caller, body) {
        // The body is only read for a credential where the head has none.
        (_, Some(fault)) if looks_into_body(layer, policy, state) => {
            Err(refuse(layer, Some(policy), &[fault]))
        }
        (Err(status), _) => Err(refuse(layer, Some(policy), &[status])),
        (Ok(_), Some(fault)) => Err(refuse(layer, Some(policy), &[fault])),
        (Ok(_), None) if has_second_in_body(layer, policy, state) => {
            Err(refuse(layer, Some(policy), &[400]))
        }
        (Ok(proven), None) => Ok(proven),
    }
}

/// Without a good credential, a concealing layer has one answer. Only faults of ours differ.
fn decide_concealed(
    layer: &Layer,
    number: usize,
    state: &State,
    policy: &Policy,
    method: Option<u16>,
    body: Option<u16>,
) -> Result<Proven, Vec<Refusal>> {
    let proven = caller(layer, number, state, policy);
    let refusal = |status, challenges| Refusal { status, challenges };
    let mut ways = Vec::new();
    let is_in_head = holds_any(layer, state, &head_places(&accepted(layer, policy)));
    if proven.is_err() || !is_in_head && body.is_some_and(|status| !is_ours(status)) {
        ways.push(refusal(401, all_challenges(layer)));
    }
    let second = has_second_in_body(layer, policy, state).then_some(400);
    match (&proven, method, body.or(second)) {
        (Ok(_), Some(status), None) => ways.push(refusal(status, 0)),
        (Ok(_), method, Some(fault)) => {
            ways.push(refusal(fault, 0));
            ways.extend(method.map(|status| refusal(status, 0)));
        }
        (Err(_), _, Some(fault)) if is_ours(fault) => ways.push(refusal(fault, 0)),
        _ => {}
    }
    match proven {
        Ok(proven) if ways.is_empty() => Ok(proven),
        _ => Err(ways),
    }
}

/// A fault of the server, which is seen in every case.
fn is_ours(status: u16) -> bool {
    status >= 500
}

/// A resolver picks the policy. `None`: there is no such hook.
fn policy<'a>(layer: &'a Layer, call: &Call) -> Option<&'a Policy> {
    match &layer.source {
        Source::Fixed(policy) => Some(policy),
        Source::PerRequest { hooks, .. } => hooks[call.hook].as_ref(),
    }
}

/// Public hooks of a concealing layer are no secret. Those that do not exist look like those that ask for a credential,
/// if there can be such hooks.
fn is_concealed(layer: &Layer, policy: Option<&Policy>) -> bool {
    let has_lists = layer.keys.is_some() || layer.users.is_some();
    layer.concealed && policy.map_or(has_lists, |policy| policy.access != Access::Public)
}

fn method_fault(policy: &Policy, method: Method) -> Option<u16> {
    let is_served = policy.methods.as_ref().is_none_or(|methods| methods.contains(&method));
    (!is_served).then_some(405)
}

/// A policy that the layer cannot keep: a part of it is missing, or the layer asks for more than a public policy has.
fn configuration_fault(layer: &Layer, policy: &Policy) -> Option<u16> {
    let is_wired = match policy.access {
        Access::Public => layer.scope.is_none() && layer.owner.is_none(),
        Access::Token => layer.keys.is_some(),
        Access::User => layer.users.is_some(),
    };
    (!is_wired).then_some(500)
}

/// Who calls, or the status of the refusal. `None` is a public hook.
fn caller(layer: &Layer, number: usize, state: &State, policy: &Policy) -> Result<Proven, u16> {
    match policy.access {
        Access::Public => Ok(None),
        Access::Token => by_key(layer, number, state, policy),
        Access::User => by_login(layer, state, policy),
    }
}

fn by_key(layer: &Layer, number: usize, state: &State, policy: &Policy) -> Result<Proven, u16> {
    let Some(keys) = &layer.keys else { return Err(500) };
    let found = count(layer, state, &keys.places, &user_places(layer))?;
    let (caller, realm) = match found {
        Some(secret) => {
            let key = verify(keys.ring, secret).ok_or(401_u16)?;
            (owner_of(keys.ring, key), Some(realm(keys, number)))
        }
        None => {
            let proven = relied_upon(keys, number, state).ok_or(401_u16)?;
            if is_beside(layer, state, None, &user_places(layer)) {
                return Err(400);
            }
            proven
        }
    };
    let scopes = caller.key.map_or(&[][..], |(_, key)| scopes_of(key));
    let is_asked_for = policy.key.is_none_or(|key| caller.key == Some(key));
    if !is_asked_for || asked_owner(layer, policy).is_some_and(|owner| owner != caller.owner) {
        return Err(401);
    }
    check_scopes(layer, policy, scopes)?;
    Ok(Some((caller, realm)))
}

fn by_login(layer: &Layer, state: &State, policy: &Policy) -> Result<Proven, u16> {
    let Some(users) = &layer.users else { return Err(500) };
    let owner = if users.places.is_empty() {
        let owner = state.call.session.ok_or(401_u16)?;
        if is_beside(layer, state, None, &key_places(layer)) {
            return Err(400);
        }
        owner
    } else {
        match count(layer, state, &users.places, &key_places(layer))? {
            Some(Secret::Password(owner)) => owner,
            _ => return Err(401),
        }
    };
    if asked_owner(layer, policy).is_some_and(|asked| asked != owner) {
        return Err(403);
    }
    let scopes = if owner == Owner::Alice { &[Scope::A, Scope::B][..] } else { &[Scope::A] };
    check_scopes(layer, policy, scopes)?;
    Ok(Some((Caller { owner, key: None }, None)))
}

/// An inner layer accepts what an outer one proved, if both have clones of one verifier.
fn relied_upon(keys: &Keys, number: usize, state: &State) -> Option<(Caller, Option<Realm>)> {
    state.proven.clone().filter(|(_, proven)| *proven == Some(realm(keys, number)))
}

/// A clock of its own makes another verifier.
fn realm(keys: &Keys, number: usize) -> Realm {
    if keys.own_clock { Realm::Own(number) } else { Realm::Shared(keys.ring) }
}

fn verify(ring: Ring, secret: Secret) -> Option<Key> {
    match secret {
        Secret::Key(of, key @ (Key::Alice | Key::Narrow | Key::Bob)) if of == ring => Some(key),
        _ => None,
    }
}

fn owner_of(ring: Ring, key: Key) -> Caller {
    let owner = if key == Key::Bob { Owner::Bob } else { Owner::Alice };
    Caller { owner, key: Some((ring, key)) }
}

fn scopes_of(key: Key) -> &'static [Scope] {
    if key == Key::Narrow { &[Scope::A] } else { &[Scope::A, Scope::B] }
}

/// What a layer asks for holds for each of its policies.
fn asked_owner(layer: &Layer, policy: &Policy) -> Option<Owner> {
    layer.owner.or(policy.owner)
}

fn check_scopes(layer: &Layer, policy: &Policy, granted: &[Scope]) -> Result<(), u16> {
    let mut asked = policy.scopes.iter().chain(&layer.scope);
    if asked.all(|scope| granted.contains(scope)) { Ok(()) } else { Err(403) }
}

/// The one credential of the kind that the policy accepts: in the head, or in the body where the head has none. More than
/// one is refused, and so is one with a credential of the other kind in a header beside it.
fn count(
    layer: &Layer,
    state: &State,
    accepted: &[Place],
    other: &[Place],
) -> Result<Option<Secret>, u16> {
    let mut found: Option<(Place, Secret)> = None;
    let head = head_places(accepted);
    let is_in_head = holds_any(layer, state, &head);
    for place in if is_in_head { &head } else { accepted } {
        let read = read(layer, state, *place);
        if read.len() > 1 {
            return Err(400);
        }
        if let Some(Some(secret)) = read.first()
            && found.replace((*place, *secret)).is_some()
        {
            return Err(400);
        }
    }
    match found {
        Some((place, _)) if is_beside(layer, state, Some(place), other) => Err(400),
        found => Ok(found.map(|(_, secret)| secret)),
    }
}

/// Whether a credential of the other kind is in a header, in another place than the accepted one was found in.
fn is_beside(layer: &Layer, state: &State, found: Option<Place>, other: &[Place]) -> bool {
    let is_in_header = |place: &&Place| {
        matches!(place, Place::Header | Place::OtherHeader | Place::Bearer | Place::Basic)
    };
    let mut beside = other.iter().filter(is_in_header).filter(|place| found != Some(**place));
    beside.any(|place| read(layer, state, *place).iter().any(Option::is_some))
}

/// What a place holds. An empty value is nothing. In `Authorization`, another scheme takes the place of a credential
/// and is none. In the path, what a layer around this one has left is nothing.
fn read(layer: &Layer, state: &State, place: Place) -> Vec<Option<Secret>> {
    let call = &state.call;
    let is_something = |secret: &Secret| !matches!(secret, Secret::Empty | Secret::Redacted);
    let copies = call.copies.iter().filter(|(_, secret)| is_something(secret));
    match place {
        Place::Bearer | Place::Basic => copies
            .filter(|(at, _)| matches!(at, Place::Bearer | Place::Basic))
            .map(|(at, secret)| (*at == place).then_some(*secret))
            .collect(),
        // A form that is sent with GET or HEAD is no credential (RFC 6750, section 2.2).
        Place::Body if matches!(call.method, Method::Get | Method::Head) => Vec::new(),
        Place::Body if !has_fields(layer, state) => Vec::new(),
        _ => copies.filter(|(at, _)| *at == place).map(|(_, secret)| Some(*secret)).collect(),
    }
}

fn user_places(layer: &Layer) -> Vec<Place> {
    layer.users.iter().flat_map(|users| users.places.clone()).collect()
}

fn key_places(layer: &Layer) -> Vec<Place> {
    layer.keys.iter().flat_map(|keys| keys.places.clone()).collect()
}

/// All places that a layer is configured with.
fn places(layer: &Layer) -> Vec<Place> {
    [key_places(layer), user_places(layer), layer.stripped.clone()].concat()
}

/// The places of the credentials that a policy accepts.
fn accepted(layer: &Layer, policy: &Policy) -> Vec<Place> {
    match policy.access {
        Access::Public => Vec::new(),
        Access::Token => key_places(layer),
        Access::User => user_places(layer),
    }
}

fn head_places(places: &[Place]) -> Vec<Place> {
    places.iter().copied().filter(|place| *place != Place::Body).collect()
}

/// Whether a credential is in any of these places.
fn holds_any(layer: &Layer, state: &State, places: &[Place]) -> bool {
    places.iter().any(|place| read(layer, state, *place).iter().any(Option::is_some))
}

/// Whether a credential is looked for in the body before the verdict: the head has none.
fn looks_into_body(layer: &Layer, policy: &Policy, state: &State) -> bool {
    let accepted = accepted(layer, policy);
    let head = head_places(&accepted);
    // Two `Authorization` lines are too many, with any content.
    let is_repeated = head.iter().any(|place| read(layer, state, *place).len() > 1);
    let is_read = !matches!(state.call.method, Method::Get | Method::Head);
    let is_in_head = is_repeated || holds_any(layer, state, &head);
    is_read && accepted.contains(&Place::Body) && !is_in_head
}

/// Whether the body has a second credential of the kind that the policy accepts, beside one in the head.
fn has_second_in_body(layer: &Layer, policy: &Policy, state: &State) -> bool {
    let accepted = accepted(layer, policy);
    let is_in_head = holds_any(layer, state, &head_places(&accepted));
    is_in_head && accepted.contains(&Place::Body) && holds_any(layer, state, &[Place::Body])
}

/// Media types that are read. Others, and other codings, pass untouched.
fn is_read(body: Body) -> bool {
    match body {
        Body::Empty | Body::Text | Body::Unlabelled | Body::Coded => false,
        Body::Multipart | Body::BrokenMultipart => cfg!(feature = "multipart"),
        _ => true,
    }
}

/// Why the places of a layer in the body cannot be cleaned. The policy does not matter.
fn body_fault(layer: &Layer, state: &State) -> Option<u16> {
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
fn has_fields(layer: &Layer, state: &State) -> bool {
    let body = state.call.body;
    is_read(body) && body != Body::BrokenJson && body_fault(layer, state).is_none()
}

/// What a configured place holds is removed from every request that is let in. What an outer layer has proven stays
/// where this one proves nothing.
fn enter(layer: &Layer, state: &mut State, proven: Proven) {
    let mut cleaned = places(layer);
    if !has_fields(layer, state) {
        cleaned.retain(|place| *place != Place::Body);
    }
    let has_authorization = cleaned.contains(&Place::Bearer) || cleaned.contains(&Place::Basic);
    state.call.copies.retain_mut(|(place, secret)| match place {
        Place::Bearer | Place::Basic => !has_authorization,
        Place::Path if cleaned.contains(place) && *secret != Secret::Empty => {
            *secret = Secret::Redacted;
            true
        }
        _ => *place == Place::Path || !cleaned.contains(place),
    });
    state.is_buffered |= layer.with_buffer;
    if proven.is_some() {
        state.proven = proven;
    }
}

/// A response for each of these statuses. A concealing layer turns all that are not faults of ours into one.
fn refuse(layer: &Layer, policy: Option<&Policy>, statuses: &[u16]) -> Vec<Refusal> {
    let concealed = is_concealed(layer, policy);
    let refusal = |status: &u16| match *status {
        status if concealed && !is_ours(status) => {
            Refusal { status: 401, challenges: all_challenges(layer) }
        }
        401 => Refusal { status: 401, challenges: challenges(layer, policy) },
        status => Refusal { status, challenges: 0 },
    };
    statuses.iter().map(refusal).collect()
}

/// The schemes that would let a caller in under this policy.
fn challenges(layer: &Layer, policy: Option<&Policy>) -> usize {
    match policy.map(|policy| policy.access) {
        Some(Access::User) => offered(&user_places(layer)).len().max(1),
        _ => offered(&key_places(layer)).len().max(1),
    }
}

fn all_challenges(layer: &Layer) -> usize {
    let mut all = offered(&key_places(layer));
    let users = offered(&user_places(layer));
    all.extend(users.into_iter().filter(|place| !offered(&key_places(layer)).contains(place)));
    all.len().max(1)
}

/// The schemes that are read, else the first place.
fn offered(places: &[Place]) -> Vec<Place> {
    let is_scheme = |place: &&Place| matches!(place, Place::Bearer | Place::Basic);
    let schemes: Vec<Place> = places.iter().filter(is_scheme).copied().collect();
    if schemes.is_empty() { places.first().copied().into_iter().collect() } else { schemes }
}
