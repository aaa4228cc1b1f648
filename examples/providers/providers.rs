//! The providers: how each signs, and what its secrets look like.

use tower_webhook::ConfigError;
use tower_webhook::signature::{Handshake, Scheme, Signer, SigningSecret, handshakes, presets};

type Result<T> = std::result::Result<T, servers::Error>;

/// A provider with its secrets.
pub(crate) struct Provider {
    /// The name in the path.
    pub(crate) slug: &'static str,
    pub(crate) scheme: Scheme,
    pub(crate) secrets: Vec<SigningSecret>,
    pub(crate) handshakes: Vec<Handshake>,
    /// What signs for the provider, if the secret was made here.
    pub(crate) signer: Option<Signer>,
}

/// How a provider shows its secret.
#[derive(Clone, Copy)]
enum Form {
    Literal,
    Standard,
    Ed25519,
    EcdsaP256,
}

const SLUGS: [&str; 26] = [
    "paddle",
    "github",
    "gitlab",
    "stripe",
    "slack",
    "standard-webhooks",
    "svix",
    "shopify",
    "pagerduty",
    "zoom",
    "linear",
    "sentry",
    "twitch",
    "jira",
    "gitea",
    "docusign",
    "square",
    "hubspot",
    "mailgun",
    "meta",
    "dropbox",
    "intercom",
    "twilio",
    "jac",
    "discord",
    "sendgrid",
];

/// The providers that have secrets in the environment.
pub(crate) fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Provider>> {
    let mut providers = Vec::new();
    for slug in SLUGS {
        let name = format!("{}_SECRET", slug.to_uppercase().replace('-', "_"));
        let Some(texts) = variable(&name) else { continue };
        let (scheme, form) = scheme(slug, variable)?;
        let secrets = texts.split_whitespace().map(|text| form.read(text));
        let secrets = secrets
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| format!("{name}: {error}"))?;
        let handshakes = handshakes_of(slug, variable("META_VERIFY_TOKEN"));
        providers.push(Provider { slug, scheme, secrets, handshakes, signer: None });
    }
    Ok(providers)
}

/// All providers, with secrets that are made here.
pub(crate) fn made_up(variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Provider>> {
    let make = |slug| {
        let (scheme, form) = scheme(slug, variable)?;
        let (secret, signer) = form.make(&scheme)?;
        let token = variable("META_VERIFY_TOKEN").unwrap_or_else(|| "verify-me".to_owned());
        let handshakes = handshakes_of(slug, Some(token));
        Ok(Provider { slug, scheme, secrets: vec![secret], handshakes, signer: Some(signer) })
    };
    SLUGS.into_iter().map(make).collect()
}

fn scheme(slug: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<(Scheme, Form)> {
    Ok(match slug {
        "gitlab" => match variable("GITLAB_MODE").as_deref() {
            None | Some("token") => (presets::gitlab(), Form::Literal),
            Some("standard") => (presets::gitlab_signed(), Form::Standard),
            Some(_) => return Err("GITLAB_MODE is neither `token` nor `standard`".into()),
        },
        "standard-webhooks" => (presets::standard_webhooks(), Form::Standard),
        "svix" => (presets::svix(), Form::Standard),
        "discord" => (presets::discord(), Form::Ed25519),
        "sendgrid" => (presets::sendgrid(), Form::EcdsaP256),
        "github" => (presets::github(), Form::Literal),
        "stripe" => (presets::stripe(), Form::Literal),
        "slack" => (presets::slack(), Form::Literal),
        "shopify" => (presets::shopify(), Form::Literal),
        "pagerduty" => (presets::pagerduty(), Form::Literal),
        "zoom" => (presets::zoom(), Form::Literal),
        "linear" => (presets::linear(), Form::Literal),
        "sentry" => (presets::sentry(), Form::Literal),
        "paddle" => (presets::paddle(), Form::Literal),
        "twitch" => (presets::twitch(), Form::Literal),
        "jira" => (presets::jira(), Form::Literal),
        "gitea" => (presets::gitea(), Form::Literal),
        "docusign" => (presets::docusign(), Form::Literal),
        "square" => (presets::square(), Form::Literal),
        "hubspot" => (presets::hubspot(), Form::Literal),
        "mailgun" => (presets::mailgun(), Form::Literal),
        "meta" => (presets::meta(), Form::Literal),
        "dropbox" => (presets::dropbox(), Form::Literal),
        "intercom" => (presets::intercom(), Form::Literal),
        "twilio" => (presets::twilio(), Form::Literal),
        "jac" => (presets::jac(), Form::Literal),
        _ => return Err(format!("no provider is called {slug}").into()),
    })
}

fn handshakes_of(slug: &str, verify_token: Option<String>) -> Vec<Handshake> {
    match (slug, verify_token) {
        ("slack", _) => vec![handshakes::slack()],
        ("zoom", _) => vec![handshakes::zoom()],
        ("twitch", _) => vec![handshakes::twitch()],
        ("discord", _) => vec![handshakes::discord(), handshakes::discord_events()],
        ("meta", Some(token)) => vec![handshakes::meta(token)],
        ("dropbox", _) => vec![handshakes::dropbox()],
        ("intercom", _) => vec![handshakes::intercom()],
        _ => Vec::new(),
    }
}

impl Form {
    /// Reads a secret. The user has chosen it, so that a short one is warned about and taken.
    #[expect(clippy::print_stderr, reason = "a warning of a program")]
    fn read(self, text: &str) -> std::result::Result<SigningSecret, ConfigError> {
        match self {
            Self::Standard => SigningSecret::standard(text),
            Self::Ed25519 => SigningSecret::ed25519_public(text),
            Self::EcdsaP256 => SigningSecret::ecdsa_p256_public(text),
            Self::Literal if text.len() < 16 => {
                eprintln!("warning: a secret of fewer than 16 characters can be tried out");
                SigningSecret::insecure_short(text)
            }
            Self::Literal => SigningSecret::raw(text),
        }
    }

    /// Makes a secret, and what signs with it.
    fn make(self, scheme: &Scheme) -> Result<(SigningSecret, Signer)> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        let scheme = scheme.clone();
        Ok(match self {
            Self::Literal | Self::Standard => {
                let secret = match self {
                    Self::Standard => SigningSecret::hex(&hex)?,
                    _ => SigningSecret::raw(&hex)?,
                };
                let signer = Signer::new(scheme, &secret)?;
                (secret, signer)
            }
            Self::Ed25519 => {
                let signer = Signer::ed25519(scheme, &seed)?;
                (signer.to_secret(), signer)
            }
            Self::EcdsaP256 => {
                let signer = Signer::ecdsa_p256(scheme, &seed)?;
                (signer.to_secret(), signer)
            }
        })
    }
}
