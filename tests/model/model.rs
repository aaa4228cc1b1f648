//! What a stack does with a request, by the rules of the docs alone. Each rule is a function.

use crate::cases::{
    Access, Body, Call, Caller, Key, Keys, Layer, List, Method, Owner, Place, Policy, Ring, Scope,
    Secret, Source, Stack, Users,
};
use crate::reading::{
    Either, all_places, body_fault, count, has_fields, has_second_in_body, is_beside,
    is_in_authorization, is_in_head, is_in_head_or_repeated, key_list, looks_into_body,
    one_of_each, one_of_either, places, reads_body, user_list,
};

/// What comes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The inner service is called once, with this request.
    Inside { caller: Option<Caller>, call: Call },
    /// A layer answers a probe: 200, and the inner service is not called.
    Probed,
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
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) call: Call,
    pub(crate) is_buffered: bool,
    proven: Proven,
}

/// Who calls, and where its key counts.
type Verdict = (Caller, Option<Realm>);

/// What is known about a request once a layer has let it in.
type Proven = Option<Verdict>;

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
            Ok(_) if is_probe(layer, &state.call) => return Answer::Probed,
            Ok(proven) => enter(layer, &mut state, proven),
        }
    }
    Answer::Inside { caller: state.proven.map(|(caller, _)| caller), call: state.call }
}

/// Order of checks: the hook, its methods, the number of credentials, the credential, owner and scopes.
fn decide(layer: &Layer, number: usize, state: &State) -> Result<Proven, Vec<Refusal>> {
    let emptied = without_body(state);
    let state = if is_left_unread(layer, state) { &emptied } else { state };
    // The body of a probe is not read.
    let body = body_fault(layer, state).filter(|_| !is_probe(layer, &state.call));
    if is_preflight(layer, &state.call) {
        return body.map_or(Ok(None), |status| Err(refuse(layer, Some(&PREFLIGHT), &[status])));
    }
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
        (Err(statuses), _) => Err(refuse(layer, Some(policy), &statuses)),
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
    // A body that goes no further is read where the credential may be in it alone.
    let is_of_use = !drops_body(layer, state, policy) || looks_into_body(layer, policy, state);
    let body = body.filter(|_| is_of_use);
    if proven.is_err()
        || !is_in_head(layer, policy, state) && body.is_some_and(|status| !is_ours(status))
    {
        ways.push(refusal(401, all_challenges(layer)));
    }
    let second = (is_of_use && has_second_in_body(layer, policy, state)).then_some(400);
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

/// What holds for preflight requests that are passed on.
static PREFLIGHT: Policy = Policy {
    access: Access::Public,
    methods: None,
    probes: Vec::new(),
    without_body: true,
    scopes: Vec::new(),
    owner: None,
    key: None,
};

/// A resolver picks the policy. `None`: there is no such hook.
fn policy<'a>(layer: &'a Layer, call: &Call) -> Option<&'a Policy> {
    match &layer.source {
        _ if is_preflight(layer, call) => Some(&PREFLIGHT),
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

fn is_preflight(layer: &Layer, call: &Call) -> bool {
    layer.preflight && call.method == Method::Options && call.preflight
}

fn is_probe(layer: &Layer, call: &Call) -> bool {
    policy(layer, call).is_some_and(|policy| policy.probes.contains(&call.method))
}

/// Probes are served too.
fn method_fault(policy: &Policy, method: Method) -> Option<u16> {
    let is_served = policy.methods.as_ref().is_none_or(|methods| methods.contains(&method));
    (!is_served && !policy.probes.contains(&method)).then_some(405)
}

/// Whether the inner service gets an empty body. A layer that does not buffer passes it on.
fn drops_body(layer: &Layer, state: &State, policy: &Policy) -> bool {
    policy.without_body && (state.is_buffered || layer.with_buffer)
}

/// Whether that is so before the verdict. Concealed hooks treat all bodies alike.
fn is_left_unread(layer: &Layer, state: &State) -> bool {
    let policy = policy(layer, &state.call);
    !is_concealed(layer, policy) && policy.is_some_and(|policy| drops_body(layer, state, policy))
}

/// The labels go with the body.
fn without_body(state: &State) -> State {
    let mut state = state.clone();
    state.call.body = Body::Empty;
    state
}

/// A policy that the layer cannot keep: a part of it is missing, or the layer asks for more than a public policy has.
fn configuration_fault(layer: &Layer, policy: &Policy) -> Option<u16> {
    let is_wired = match policy.access {
        Access::Public => layer.scope.is_none() && layer.owner.is_none(),
        Access::Token => layer.keys.is_some(),
        Access::User => layer.users.is_some(),
        Access::AnyOf | Access::AllOf => layer.keys.is_some() && layer.users.is_some(),
    };
    (!is_wired).then_some(500)
}

/// Who calls, or the statuses of the refusals of which one is seen. `None` is a public hook.
fn caller(
    layer: &Layer,
    number: usize,
    state: &State,
    policy: &Policy,
) -> Result<Proven, Vec<u16>> {
    let proven = match policy.access {
        Access::Public => return Ok(None),
        Access::Token => by_key(layer, number, state),
        Access::User => by_login(layer, state),
        Access::AnyOf => by_either(layer, number, state),
        Access::AllOf => by_both(layer, number, state),
    };
    let proven = proven.map_err(|status| vec![status])?;
    let statuses = faults_of_rights(layer, policy, &proven.0);
    if statuses.is_empty() { Ok(Some(proven)) } else { Err(statuses) }
}

fn by_key(layer: &Layer, number: usize, state: &State) -> Result<Verdict, u16> {
    let keys = layer.keys.as_ref().ok_or(500_u16)?;
    let found = count(layer, state, &keys.list, &user_list(layer))?;
    let verdict = key_verdict(keys, number, state, found)?;
    let relies = found.is_none();
    if relies && is_beside(layer, state, None, &user_list(layer)) { Err(400) } else { Ok(verdict) }
}

fn by_login(layer: &Layer, state: &State) -> Result<Verdict, u16> {
    let users = layer.users.as_ref().ok_or(500_u16)?;
    if users.list.places.is_empty() {
        let verdict = user_verdict(users, state, None)?;
        let is_mixed = is_beside(layer, state, None, &key_list(layer));
        return if is_mixed { Err(400) } else { Ok(verdict) };
    }
    user_verdict(users, state, count(layer, state, &users.list, &key_list(layer))?)
}

/// One credential of either kind. What may be either is a key if it has the format of one. Where there is none, what an
/// outer layer proved counts, or else the session.
fn by_either(layer: &Layer, number: usize, state: &State) -> Result<Verdict, u16> {
    let (keys, users) = (layer.keys.as_ref().ok_or(500_u16)?, layer.users.as_ref().ok_or(500_u16)?);
    match one_of_either(layer, state)? {
        Either::Key(key) | Either::OnePlace(key @ Secret::Key(..), _) => {
            key_verdict(keys, number, state, Some(key))
        }
        Either::User(user) | Either::OnePlace(_, user) => user_verdict(users, state, Some(user)),
        Either::Nothing => {
            key_verdict(keys, number, state, None).or_else(|_| user_verdict(users, state, None))
        }
    }
}

/// One credential of each kind. A concealing layer does not read a body for one beside a header field with the other.
fn by_both(layer: &Layer, number: usize, state: &State) -> Result<Verdict, u16> {
    let (keys, users) = (layer.keys.as_ref().ok_or(500_u16)?, layer.users.as_ref().ok_or(500_u16)?);
    let is_for_body = |list: &List, other: &List| {
        reads_body(list, state)
            && !is_in_head_or_repeated(layer, state, list)
            && is_beside(layer, state, None, other)
    };
    if layer.concealed
        && (is_for_body(&keys.list, &users.list) || is_for_body(&users.list, &keys.list))
    {
        return Err(401);
    }
    let (key, user) = one_of_each(layer, state)?;
    let (key, realm) = key_verdict(keys, number, state, key)?;
    let (user, _) = user_verdict(users, state, user)?;
    Ok((Caller { also: key.key, ..user }, realm))
}

/// Who has this key, or whom a layer around this one has let in by one.
fn key_verdict(
    keys: &Keys,
    number: usize,
    state: &State,
    found: Option<Secret>,
) -> Result<Verdict, u16> {
    match found {
        Some(secret) => {
            let key = verify(keys.ring, secret).ok_or(401_u16)?;
            Ok((owner_of(keys.ring, key), Some(realm(keys, number))))
        }
        None => relied_upon(keys, number, state).ok_or(401),
    }
}

/// Who has this password, or who is logged in where no placement is configured.
fn user_verdict(users: &Users, state: &State, found: Option<Secret>) -> Result<Verdict, u16> {
    let owner = match found {
        Some(Secret::Password(owner)) => Some(owner),
        None if users.list.places.is_empty() => state.call.session,
        _ => None,
    };
    let owner = owner.ok_or(401_u16)?;
    Ok((Caller { owner, key: None, also: None }, None))
}

/// What the caller lacks, by each of its credentials: another owner's key is an unknown one.
fn faults_of_rights(layer: &Layer, policy: &Policy, caller: &Caller) -> Vec<u16> {
    let asked = asked_owner(layer, policy);
    let mut statuses = Vec::new();
    for key in [caller.key, caller.also].into_iter().flatten() {
        let is_asked_for = policy.key.is_none_or(|asked| key == asked);
        let is_owned = asked.is_none_or(|owner| owner == owner_of(key.0, key.1).owner);
        if !is_asked_for || !is_owned {
            statuses.push(401);
        } else if !has_scopes(layer, policy, scopes_of(key.1)) {
            statuses.push(403);
        }
    }
    if caller.key.is_none() {
        let alice = &[Scope::A, Scope::B][..];
        let scopes = if caller.owner == Owner::Alice { alice } else { &[Scope::A] };
        let is_asked_for = asked.is_none_or(|asked| asked == caller.owner);
        if !is_asked_for || !has_scopes(layer, policy, scopes) {
            statuses.push(403);
        }
    }
    statuses
}

/// An inner layer accepts what an outer one proved, if both have clones of one verifier. Beside a user, it is the key
/// that counts.
fn relied_upon(keys: &Keys, number: usize, state: &State) -> Option<Verdict> {
    let (caller, proven) = state.proven.clone()?;
    let (ring, key) = caller.key.or(caller.also)?;
    (proven == Some(realm(keys, number))).then(|| (owner_of(ring, key), proven))
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
    Caller { owner, key: Some((ring, key)), also: None }
}

fn scopes_of(key: Key) -> &'static [Scope] {
    if key == Key::Narrow { &[Scope::A] } else { &[Scope::A, Scope::B] }
}

/// What a layer asks for holds for each of its policies.
fn asked_owner(layer: &Layer, policy: &Policy) -> Option<Owner> {
    layer.owner.or(policy.owner)
}

fn has_scopes(layer: &Layer, policy: &Policy, granted: &[Scope]) -> bool {
    policy.scopes.iter().chain(&layer.scope).all(|scope| granted.contains(scope))
}

/// What a configured place holds is removed from every request that is let in. What an outer layer has proven stays
/// where this one proves nothing.
fn enter(layer: &Layer, state: &mut State, proven: Proven) {
    if policy(layer, &state.call).is_some_and(|policy| drops_body(layer, state, policy)) {
        *state = without_body(state);
    }
    let mut cleaned = places(layer);
    if !has_fields(layer, state) {
        cleaned.retain(|place| *place != Place::Body);
    }
    let has_authorization = cleaned.iter().any(|place| is_in_authorization(*place));
    state.call.copies.retain_mut(|(place, secret)| match place {
        place if is_in_authorization(*place) => !has_authorization,
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
        Some(Access::User) => offered(&user_list(layer)).len().max(1),
        Some(Access::AnyOf | Access::AllOf) => all_challenges(layer),
        _ => offered(&key_list(layer)).len().max(1),
    }
}

fn all_challenges(layer: &Layer) -> usize {
    let mut all = offered(&key_list(layer));
    let users = offered(&user_list(layer));
    all.extend(users.into_iter().filter(|place| !offered(&key_list(layer)).contains(place)));
    all.len().max(1)
}

/// The schemes that are read, else the first place.
fn offered(list: &List) -> Vec<Place> {
    let mut places = all_places(list);
    match places.iter().any(|place| is_in_authorization(*place)) {
        true => places.retain(|place| is_in_authorization(*place)),
        false => places.truncate(1),
    }
    places
}
