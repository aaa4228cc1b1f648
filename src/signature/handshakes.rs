//! The handshakes of providers, one function each.

use http::{HeaderName, Method};

use super::Encoding::{Base64, Hex};
use super::HandshakeValue::{Echo, Mac, Number, Text};
use super::{Field, Handshake};

const fn header(name: &'static str) -> Field {
    Field::header(HeaderName::from_static(name))
}

/// [Slack](https://docs.slack.dev/reference/events/url_verification): signed, answered with the challenge.
pub fn slack() -> Handshake {
    Handshake::new(Method::POST)
        .when(Field::body("/type"), "url_verification")
        .signed()
        .with_challenge(Field::body("/challenge"))
        .answer_text()
}

/// [Zoom](https://developers.zoom.us/docs/api/webhooks/#validate-your-webhook-endpoint): answered with the token and its
/// HMAC. A message with a signature has to have a good one.
pub fn zoom() -> Handshake {
    Handshake::new(Method::POST)
        .when(Field::body("/event"), "endpoint.url_validation")
        .signed_if_present()
        .with_challenge(Field::body("/payload/plainToken"))
        .with_alphabet(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_'))
        .answer_json([("plainToken", Echo), ("encryptedToken", Mac("", Hex))])
}

/// [Twitch EventSub](https://dev.twitch.tv/docs/eventsub/handling-webhook-events/#responding-to-a-challenge-request):
/// signed, answered with the challenge.
pub fn twitch() -> Handshake {
    Handshake::new(Method::POST)
        .when(header("twitch-eventsub-message-type"), "webhook_callback_verification")
        .signed()
        .with_challenge(Field::body("/challenge"))
        .answer_text()
}

/// The `PING` of [Discord](https://docs.discord.com/developers/interactions/overview#setting-up-an-endpoint-acknowledging-ping-requests):
/// signed, of interactions. That of webhook events is [another one](discord_events).
pub fn discord() -> Handshake {
    Handshake::new(Method::POST)
        .when(Field::body("/type"), "1")
        .unless_present(Field::body("/event/type"))
        .signed()
        .answer_json([("type", Number(1))])
}

/// The `PING` of [webhook events of Discord](https://docs.discord.com/developers/events/webhook-events#preparing-for-events):
/// signed, answered with 204.
pub fn discord_events() -> Handshake {
    Handshake::new(Method::POST).when(Field::body("/type"), "0").signed()
}

/// [Meta](https://developers.facebook.com/docs/graph-api/webhooks/getting-started#verification-requests): a token that the
/// receiver has chosen, answered with the challenge.
pub fn meta(verify_token: impl AsRef<[u8]>) -> Handshake {
    Handshake::new(Method::GET)
        .when(Field::query("hub.mode"), "subscribe")
        .with_token(Field::query("hub.verify_token"), verify_token)
        .with_challenge(Field::query("hub.challenge"))
        .answer_text()
}

/// [Microsoft Graph](https://learn.microsoft.com/graph/change-notifications-delivery-webhooks#notificationurl-validation):
/// not signed, answered with the token.
pub fn microsoft_graph() -> Handshake {
    Handshake::new(Method::POST)
        .when_present(Field::query("validationToken"))
        .with_challenge(Field::query("validationToken"))
        .with_alphabet(|char| char == ' ' || char.is_ascii_graphic() && !matches!(char, '<' | '>'))
        .with_max_len(1024)
        .answer_text()
}

/// [CloudEvents](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md#4-abuse-protection): allows one
/// origin to send, at any rate.
pub fn cloud_events(origin: &'static str) -> Handshake {
    Handshake::new(Method::OPTIONS)
        .when(header("webhook-request-origin"), origin)
        .with_challenge(header("webhook-request-origin"))
        .with_alphabet(|char| char.is_ascii_graphic())
        .answer_headers([
            (HeaderName::from_static("webhook-allowed-origin"), Echo),
            (HeaderName::from_static("webhook-allowed-rate"), Text("*".into())),
        ])
}

/// [Dropbox](https://www.dropbox.com/developers/reference/webhooks#documentation): not signed, answered with the challenge.
pub fn dropbox() -> Handshake {
    Handshake::new(Method::GET)
        .when_present(Field::query("challenge"))
        .with_challenge(Field::query("challenge"))
        .answer_text()
}

/// [Intercom](https://developers.intercom.com/docs/webhooks/setting-up-webhooks): a `HEAD` that is answered with 2xx.
pub fn intercom() -> Handshake {
    Handshake::new(Method::HEAD)
}

/// The challenge-response check of [X](https://docs.x.com/x-api/webhooks/introduction): answered with its HMAC.
///
/// # Security
///
/// X signs events with the same secret over the body alone. Only the alphabet keeps the answer from being the signature of
/// an event: a body of JSON has characters outside of it.
pub fn x() -> Handshake {
    Handshake::new(Method::GET)
        .when_present(Field::query("crc_token"))
        .with_challenge(Field::query("crc_token"))
        .answer_json([("response_token", Mac("sha256=", Base64))])
}
