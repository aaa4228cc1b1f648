//! Random stacks and random requests.

use crate::cases::{
    Access, Body, Call, Condition, HOOKS, Key, Keys, Layer, List, Method, Owner, Place, Policy,
    Ring, Scope, Secret, Source, Stack, Users,
};

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// True once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    fn some<T>(&mut self, once_in: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.once_in(once_in).then(|| make(self))
    }

    pub(crate) fn stack(&mut self) -> Stack {
        let count = self.pick(&[1, 1, 2, 2, 3]);
        Stack {
            layers: (0..count).map(|_| self.layer()).collect(),
            buffer_inside: self.once_in(4),
            drain_outside: self.once_in(6),
        }
    }

    fn layer(&mut self) -> Layer {
        let kind = self.pick(&[
            Some(Access::Public),
            Some(Access::Token),
            Some(Access::Token),
            Some(Access::User),
            Some(Access::AnyOf),
            Some(Access::AllOf),
            None,
            None,
            None,
        ]);
        let restricted = kind != Some(Access::Public) && self.once_in(4);
        let scope = if restricted { self.some(2, Self::scope) } else { None };
        let owner = if restricted { self.some(2, Self::owner) } else { None };
        // Where both ask for an owner, they ask for the same.
        let source = match kind {
            Some(access) => Source::Fixed(self.policy(access, owner)),
            None => Source::PerRequest {
                hooks: [(); HOOKS].map(|()| {
                    let access = self.pick(&[
                        Some(Access::Public),
                        Some(Access::Token),
                        Some(Access::Token),
                        Some(Access::User),
                        Some(Access::AnyOf),
                        Some(Access::AllOf),
                        None,
                    ]);
                    access.map(|access| self.policy(access, owner))
                }),
                later: self.once_in(4),
            },
        };
        let (has_keys, has_users) = match kind {
            Some(Access::Public) => (false, false),
            Some(Access::Token) => (true, self.once_in(3)),
            Some(Access::User) => (self.once_in(3), true),
            Some(Access::AnyOf | Access::AllOf) => (!self.once_in(12), !self.once_in(12)),
            None => (!self.once_in(8), !self.once_in(3)),
        };
        let keys = has_keys.then(|| Keys {
            ring: self.pick(&[Ring::Ready, Ring::Ready, Ring::Later]),
            list: self.list(true),
            own_clock: self.once_in(6),
        });
        let users = has_users.then(|| Users {
            list: if self.once_in(4) { List::default() } else { self.list(false) },
            later: self.once_in(2),
        });
        Layer {
            source,
            keys,
            users,
            stripped: if self.once_in(3) { self.places() } else { Vec::new() },
            scope,
            owner,
            concealed: self.once_in(4),
            preflight: self.once_in(4),
            with_buffer: self.once_in(2),
            buffer_outside: self.once_in(4),
        }
    }

    fn policy(&mut self, access: Access, owner: Option<Owner>) -> Policy {
        let is_public = access == Access::Public;
        let mut methods = self.some(4, |random| {
            Method::ALL.into_iter().filter(|_| random.once_in(2)).collect::<Vec<_>>()
        });
        let probes = [Method::Head, Method::Get].into_iter().filter(|_| self.once_in(6));
        let probes: Vec<_> = probes.collect();
        if let Some(methods) = &mut methods {
            methods.retain(|method| !probes.contains(method));
            methods.is_empty().then(|| methods.push(Method::Post));
        }
        Policy {
            access,
            methods,
            probes,
            without_body: self.once_in(6),
            scopes: if is_public { Vec::new() } else { Vec::from_iter(self.some(4, Self::scope)) },
            owner: if is_public {
                None
            } else {
                self.some(4, |random| owner.unwrap_or_else(|| random.owner()))
            },
            key: match access {
                Access::Token => self.some(6, |random| (random.ring(), random.pick(&Key::ALL))),
                _ => None,
            },
        }
    }

    fn list(&mut self, of_keys: bool) -> List {
        let conditions = [Condition::Reading, Condition::LoggedIn];
        let places = self.places().into_iter().map(|place| {
            let condition = self.some(8, |random| random.pick(&conditions));
            (place, condition.unwrap_or(Condition::Always))
        });
        List { places: places.collect(), of_keys, merges_copies: self.once_in(4) }
    }

    /// Some places, none of them twice.
    fn places(&mut self) -> Vec<Place> {
        let count = self.pick(&[1, 1, 2, 2, 3, 4]);
        let mut places = Vec::new();
        while places.len() < count {
            let place = self.pick(&Place::ALL);
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    fn scope(&mut self) -> Scope {
        self.pick(&[Scope::A, Scope::B])
    }

    fn owner(&mut self) -> Owner {
        self.pick(&[Owner::Alice, Owner::Alice, Owner::Bob])
    }

    fn ring(&mut self) -> Ring {
        self.pick(&[Ring::Ready, Ring::Ready, Ring::Later])
    }

    /// What a place holds, mostly what the list of the place is good for.
    fn secret(&mut self, kind: Kind) -> Secret {
        let good = [Key::Alice, Key::Alice, Key::Alice, Key::Narrow, Key::Bob];
        match (kind, self.below(10)) {
            (Kind::Keys(ring), 0..=6) => Secret::Key(ring, self.pick(&good)),
            (Kind::Users, 0..=6) | (_, 8) => Secret::Password(self.owner()),
            (_, 7) => self.pick(&[Secret::Mistyped(Ring::Ready), Secret::Guess, Secret::Empty]),
            _ => Secret::Key(self.ring(), self.pick(&Key::ALL)),
        }
    }

    /// A request to a stack: mostly with credentials where its layers look for them.
    pub(crate) fn call(&mut self, stack: &Stack) -> Call {
        let configured: Vec<_> = stack.layers.iter().flat_map(configured).collect();
        let copies = self.pick(&[0, 1, 1, 1, 1, 1, 1, 2, 2, 3]);
        let mut call = Call {
            method: self.pick(&[
                Method::Post,
                Method::Post,
                Method::Post,
                Method::Put,
                Method::Get,
                Method::Head,
                Method::Options,
            ]),
            hook: self.below(HOOKS),
            copies: Vec::new(),
            joined: self.once_in(3),
            offers: !self.once_in(4),
            preflight: self.once_in(3),
            body: self.pick(&[
                Body::Empty,
                Body::Json,
                Body::Json,
                Body::JsonSuffix,
                Body::Form,
                Body::Form,
                Body::Multipart,
                Body::Multipart,
            ]),
            session: self.some(3, Self::owner),
        };
        if self.once_in(3) {
            call.body = self.pick(&Body::ALL);
        }
        for _ in 0..copies {
            let (place, kind) = if configured.is_empty() || self.once_in(6) {
                (self.pick(&Place::ALL), Kind::Other)
            } else {
                self.pick(&configured)
            };
            let is_taken = call.copies.iter().any(|(taken, _)| *taken == place);
            let fits = match place {
                Place::Path => !is_taken,
                // A name twice is seen before the end of the text is.
                Place::Body => {
                    call.body != Body::Empty && !(is_taken && call.body == Body::BrokenJson)
                }
                _ => true,
            };
            if !fits {
                continue;
            }
            let copied = call.copies.iter().find(|(at, _)| *at == place && self.once_in(2));
            let secret = match copied.map_or_else(|| self.secret(kind), |(_, secret)| *secret) {
                // A path without the segment is another path.
                Secret::Empty if place == Place::Path => Secret::Guess,
                secret => secret,
            };
            call.copies.push((place, secret));
        }
        call
    }
}

/// What a place is configured for.
#[derive(Clone, Copy)]
enum Kind {
    Keys(Ring),
    Users,
    Other,
}

fn configured(layer: &Layer) -> Vec<(Place, Kind)> {
    let keys = layer.keys.iter().flat_map(|keys| {
        let kind = Kind::Keys(keys.ring);
        keys.list.places.iter().map(move |(place, _)| (*place, kind))
    });
    let users = layer.users.iter().flat_map(|users| &users.list.places);
    let users = users.map(|(place, _)| (*place, Kind::Users));
    let stripped = layer.stripped.iter().map(|place| (*place, Kind::Other));
    keys.chain(users).chain(stripped).collect()
}
