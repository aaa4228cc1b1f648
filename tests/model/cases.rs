//! What a stack of layers is made of, and what a request has in it. Plain values without any rule.

/// A place that a layer can be configured with, and that a request can have something in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Header,
    OtherHeader,
    Bearer,
    Basic,
    /// `Authorization` with a scheme of the app.
    Scheme,
    /// Among the protocols of a WebSocket.
    WebSocket,
    Cookie,
    Query,
    Path,
    Body,
}

impl Place {
    pub(crate) const ALL: [Self; 10] = [
        Self::Header,
        Self::OtherHeader,
        Self::Bearer,
        Self::Basic,
        Self::Scheme,
        Self::WebSocket,
        Self::Cookie,
        Self::Query,
        Self::Path,
        Self::Body,
    ];
}

/// When a place is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Condition {
    Always,
    /// The method is GET or HEAD.
    Reading,
    /// The request says who is logged in.
    LoggedIn,
}

/// A list of placements.
#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    pub(crate) places: Vec<(Place, Condition)>,
    /// Whether it is for keys, whose texts have a format.
    pub(crate) of_keys: bool,
    /// `with_insecure_equal_copies`.
    pub(crate) merges_copies: bool,
}

/// A set of keys with a store of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ring {
    /// The store answers at once.
    Ready,
    /// The store answers later.
    Later,
}

/// The keys of each ring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Key {
    /// Of alice, for both scopes.
    Alice,
    /// Of alice, for scope `a` alone.
    Narrow,
    /// Of bob, for both scopes.
    Bob,
    Expired,
    Revoked,
    Disabled,
}

impl Key {
    pub(crate) const ALL: [Self; 6] =
        [Self::Alice, Self::Narrow, Self::Bob, Self::Expired, Self::Revoked, Self::Disabled];
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Owner {
    Alice,
    Bob,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scope {
    A,
    B,
}

/// What a place holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Secret {
    Key(Ring, Key),
    /// A key of alice with another last character.
    Mistyped(Ring),
    /// The password of a user. Alice may do everything, bob has scope `a`.
    Password(Owner),
    /// No password at all.
    Guess,
    /// Nothing: an empty header, an empty parameter.
    Empty,
    /// What a layer leaves in the path.
    Redacted,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Put,
    Options,
}

impl Method {
    pub(crate) const ALL: [Self; 5] = [Self::Get, Self::Head, Self::Post, Self::Put, Self::Options];
}

/// How the body is labelled and what is wrong with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Body {
    /// No bytes and no label.
    Empty,
    Json,
    /// A media type that ends in `+json`.
    JsonSuffix,
    Form,
    Multipart,
    Text,
    Unlabelled,
    /// JSON with a content coding.
    Coded,
    /// JSON that ends too early.
    BrokenJson,
    /// An object with a name twice.
    TwiceJson,
    DeepJson,
    LongForm,
    LatinForm,
    BrokenMultipart,
    /// Two media types in two lines.
    TwoLabels,
    /// Two media types in one line.
    ListedLabels,
    UnreadableLabel,
}

impl Body {
    pub(crate) const ALL: [Self; 17] = [
        Self::Empty,
        Self::Json,
        Self::JsonSuffix,
        Self::Form,
        Self::Multipart,
        Self::Text,
        Self::Unlabelled,
        Self::Coded,
        Self::BrokenJson,
        Self::TwiceJson,
        Self::DeepJson,
        Self::LongForm,
        Self::LatinForm,
        Self::BrokenMultipart,
        Self::TwoLabels,
        Self::ListedLabels,
        Self::UnreadableLabel,
    ];
}

/// How many hooks a resolver has to choose from.
pub(crate) const HOOKS: usize = 3;

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Which hook resolvers take it for.
    pub(crate) hook: usize,
    /// What is where. The path holds at most one.
    pub(crate) copies: Vec<(Place, Secret)>,
    /// Whether a proxy has joined the fields of each name with commas.
    pub(crate) joined: bool,
    /// Whether a protocol is offered for a WebSocket that is no key.
    pub(crate) offers: bool,
    /// Whether it has the header fields of a preflight request.
    pub(crate) preflight: bool,
    pub(crate) body: Body,
    /// Who is logged in, for authenticators that need no placement.
    pub(crate) session: Option<Owner>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Access {
    Public,
    Token,
    User,
    /// A key or a user.
    AnyOf,
    /// A key and a user.
    AllOf,
}

#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) access: Access,
    pub(crate) methods: Option<Vec<Method>>,
    /// `with_probe`.
    pub(crate) probes: Vec<Method>,
    pub(crate) without_body: bool,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) owner: Option<Owner>,
    pub(crate) key: Option<(Ring, Key)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Fixed(Policy),
    PerRequest {
        hooks: [Option<Policy>; HOOKS],
        /// Whether the resolver has to be waited for.
        later: bool,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) ring: Ring,
    pub(crate) list: List,
    /// Whether the layer has a clock of its own.
    pub(crate) own_clock: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Users {
    /// Empty: the authenticator looks at the session.
    pub(crate) list: List,
    /// Whether the authenticator has to be waited for.
    pub(crate) later: bool,
}

/// One `AuthLayer`.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) source: Source,
    pub(crate) keys: Option<Keys>,
    pub(crate) users: Option<Users>,
    pub(crate) stripped: Vec<Place>,
    /// Asked for by the layer, of every request.
    pub(crate) scope: Option<Scope>,
    pub(crate) owner: Option<Owner>,
    pub(crate) concealed: bool,
    /// `with_preflight_passed_on`.
    pub(crate) preflight: bool,
    /// `with_buffer`.
    pub(crate) with_buffer: bool,
    /// A `BodyBufferLayer` around this layer.
    pub(crate) buffer_outside: bool,
}

/// Layers, outermost first.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) layers: Vec<Layer>,
    /// A `BodyBufferLayer` inside all layers.
    pub(crate) buffer_inside: bool,
    /// A `DrainLayer` outside of all layers.
    pub(crate) drain_outside: bool,
}

/// Who calls, as the inner service sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Caller {
    pub(crate) owner: Owner,
    pub(crate) key: Option<(Ring, Key)>,
    /// The key that a user has proven beside.
    pub(crate) also: Option<(Ring, Key)>,
}
