//! The schemes of providers, one function each.
//!
//! A function says what the provider's page says, to which it links. Secrets are taken literally
//! ([`SigningSecret::raw`](super::SigningSecret::raw)) unless the function says otherwise. Where a provider publishes no
//! tolerance for its timestamp, it is 300 seconds, before and after; Discord has none.

use std::time::Duration;

use http::HeaderName;

use super::Algorithm::{HmacSha1, HmacSha256, Token};
use super::Encoding::{Base64, Hex, Text};
use super::Part::{self, Body, DecodedUrl, Id, Method, Parameters, Timestamp, Url};
use super::TimestampFormat::{Milliseconds, Rfc3339, Seconds};
use super::{Field, Scheme};

const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// All schemes here, without the variants that share their headers with another one.
pub(super) fn distinct() -> Vec<Scheme> {
    Vec::from([
        github(),
        gitlab(),
        stripe(),
        slack(),
        standard_webhooks(),
        svix(),
        shopify(),
        pagerduty(),
        zoom(),
        linear(),
        sentry(),
        paddle(),
        twitch(),
        bitbucket(),
        gitea(),
        forgejo(),
        docusign(),
        square(),
        hubspot(),
        mailgun(),
        dropbox(),
        intercom(),
        twilio(),
        jac(),
        #[cfg(feature = "ed25519")]
        discord(),
        #[cfg(feature = "ecdsa")]
        sendgrid(),
    ])
}

const fn header(name: &'static str) -> Field {
    Field::header(HeaderName::from_static(name))
}

/// [GitHub](https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries): the body alone.
pub fn github() -> Scheme {
    let signature = header("x-hub-signature-256").with_prefix("sha256=");
    Scheme::new("github", signature, HmacSha256, Hex)
        .with_id(header("x-github-delivery"))
        .with_event(header("x-github-event"))
}

/// [GitLab](https://docs.gitlab.com/user/project/integrations/webhooks/) with a secret token, which authenticates no part
/// of the message.
pub fn gitlab() -> Scheme {
    Scheme::new("gitlab", header("x-gitlab-token"), Token, Text)
        .with_id(header("x-gitlab-event-uuid"))
        .with_event(header("x-gitlab-event"))
}

/// [GitLab](https://docs.gitlab.com/user/project/integrations/webhooks/) with a signing token:
/// [Standard Webhooks](standard_webhooks), with its secrets.
pub fn gitlab_signed() -> Scheme {
    Scheme { name: "gitlab".into(), ..standard_webhooks() }.with_event(header("x-gitlab-event"))
}

/// [Stripe](https://docs.stripe.com/webhooks#verify-manually). `whsec_` belongs to the secret. The obsolete `v0` is
/// skipped.
pub fn stripe() -> Scheme {
    let item = |name: &'static str| header("stripe-signature").with_list(',').with_prefix(name);
    Scheme::new("stripe", item("v1="), HmacSha256, Hex)
        .with_signed([Timestamp, Part::text("."), Body])
        .with_timestamp(item("t="), Seconds)
        .with_tolerance(FIVE_MINUTES)
        .with_id(Field::body("/id"))
        .with_event(Field::body("/type"))
}

/// [Slack](https://docs.slack.dev/authentication/verifying-requests-from-slack/).
pub fn slack() -> Scheme {
    Scheme::new("slack", header("x-slack-signature").with_prefix("v0="), HmacSha256, Hex)
        .with_signed([Part::text("v0:"), Timestamp, Part::text(":"), Body])
        .with_timestamp(header("x-slack-request-timestamp"), Seconds)
        .with_tolerance(FIVE_MINUTES)
        .with_id(Field::body("/event_id"))
        .with_event(Field::body("/event/type"))
}

/// [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
/// `v1`, and with feature `ed25519` also `v1a`. Secrets: [`standard`](super::SigningSecret::standard), and
/// `ed25519_public`.
pub fn standard_webhooks() -> Scheme {
    standard("standard-webhooks", ["webhook-id", "webhook-timestamp", "webhook-signature"])
}

/// [Svix](https://docs.svix.com/receiving/verifying-payloads/how-manual): Standard Webhooks with other names of the
/// headers.
pub fn svix() -> Scheme {
    standard("svix", ["svix-id", "svix-timestamp", "svix-signature"])
}

fn standard(name: &'static str, [id, timestamp, signature]: [&'static str; 3]) -> Scheme {
    let version = |prefix: &'static str| header(signature).with_list(' ').with_prefix(prefix);
    let scheme = Scheme::new(name, version("v1,"), HmacSha256, Base64);
    #[cfg(feature = "ed25519")]
    let scheme = scheme.or_signature(version("v1a,"), super::Algorithm::Ed25519, Base64);
    scheme
        .with_signed([Id, Part::text("."), Timestamp, Part::text("."), Body])
        .with_timestamp(header(timestamp), Seconds)
        .with_tolerance(FIVE_MINUTES)
        .with_id(header(id))
        .with_event(Field::body("/type"))
}

/// [Shopify](https://shopify.dev/docs/apps/build/webhooks/subscribe/https#step-2-validate-the-origin-of-your-webhook-to-ensure-its-coming-from-shopify),
/// with the client secret of the app.
pub fn shopify() -> Scheme {
    Scheme::new("shopify", header("x-shopify-hmac-sha256"), HmacSha256, Base64)
        .with_id(header("x-shopify-webhook-id"))
        .with_event(header("x-shopify-topic"))
}

/// [PagerDuty](https://developer.pagerduty.com/docs/verifying-webhook-signatures), version 3.
pub fn pagerduty() -> Scheme {
    let signature = header("x-pagerduty-signature").with_list(',').with_prefix("v1=");
    Scheme::new("pagerduty", signature, HmacSha256, Hex)
        .with_id(Field::body("/event/id"))
        .with_event(Field::body("/event/event_type"))
}

/// [Zoom](https://developers.zoom.us/docs/api/webhooks/#verify-webhook-events), with its secret token.
pub fn zoom() -> Scheme {
    Scheme::new("zoom", header("x-zm-signature").with_prefix("v0="), HmacSha256, Hex)
        .with_signed([Part::text("v0:"), Timestamp, Part::text(":"), Body])
        .with_timestamp(header("x-zm-request-timestamp"), Seconds)
        .with_tolerance(FIVE_MINUTES)
        .with_event(Field::body("/event"))
}

/// [Linear](https://linear.app/developers/webhooks#securing-webhooks). Its time is in the body: the header
/// `linear-timestamp` is not signed.
pub fn linear() -> Scheme {
    Scheme::new("linear", header("linear-signature"), HmacSha256, Hex)
        .with_timestamp(Field::body("/webhookTimestamp"), Milliseconds)
        .with_tolerance(Duration::from_secs(60))
        .with_id(header("linear-delivery"))
        .with_event(Field::body("/type"))
}

/// [Sentry](https://docs.sentry.io/organization/integrations/integration-platform/webhooks/), with the client secret. Its
/// timestamp is not signed, and not read.
pub fn sentry() -> Scheme {
    Scheme::new("sentry", header("sentry-hook-signature"), HmacSha256, Hex)
        .with_id(header("request-id"))
        .with_event(header("sentry-hook-resource"))
}

/// [Paddle Billing](https://developer.paddle.com/webhooks/signature-verification).
pub fn paddle() -> Scheme {
    let item = |name: &'static str| header("paddle-signature").with_list(';').with_prefix(name);
    Scheme::new("paddle", item("h1="), HmacSha256, Hex)
        .with_signed([Timestamp, Part::text(":"), Body])
        .with_timestamp(item("ts="), Seconds)
        .with_tolerance(Duration::from_secs(5))
        .with_id(Field::body("/event_id"))
        .with_event(Field::body("/event_type"))
}

/// [Twitch EventSub](https://dev.twitch.tv/docs/eventsub/handling-webhook-events/#verifying-the-event-message).
pub fn twitch() -> Scheme {
    let signature = header("twitch-eventsub-message-signature").with_prefix("sha256=");
    Scheme::new("twitch", signature, HmacSha256, Hex)
        .with_signed([Id, Timestamp, Body])
        .with_timestamp(header("twitch-eventsub-message-timestamp"), Rfc3339)
        .with_tolerance(Duration::from_secs(600))
        .with_id(header("twitch-eventsub-message-id"))
        .with_event(Field::body("/subscription/type"))
}

/// [Bitbucket](https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/#Secure-webhooks). The header that
/// elsewhere holds SHA-1 holds SHA-256 here.
pub fn bitbucket() -> Scheme {
    Scheme::new("bitbucket", header("x-hub-signature").with_prefix("sha256="), HmacSha256, Hex)
        .with_id(header("x-request-uuid"))
        .with_event(header("x-event-key"))
}

/// [Jira](https://developer.atlassian.com/cloud/jira/platform/webhooks/#secure-admin-webhooks).
pub fn jira() -> Scheme {
    Scheme { name: "jira".into(), ..bitbucket() }
        .with_id(header("x-atlassian-webhook-identifier"))
        .with_event(Field::body("/webhookEvent"))
}

/// [Gitea](https://docs.gitea.com/usage/webhooks).
pub fn gitea() -> Scheme {
    forge("gitea", ["x-gitea-signature", "x-gitea-delivery", "x-gitea-event"])
}

/// [Forgejo](https://forgejo.org/docs/latest/user/webhooks/).
pub fn forgejo() -> Scheme {
    forge("forgejo", ["x-forgejo-signature", "x-forgejo-delivery", "x-forgejo-event"])
}

fn forge(name: &'static str, [signature, id, event]: [&'static str; 3]) -> Scheme {
    Scheme::new(name, header(signature), HmacSha256, Hex)
        .with_id(header(id))
        .with_event(header(event))
}

/// [DocuSign Connect](https://developers.docusign.com/platform/webhooks/connect/hmac/). It sends one header for each key
/// of the account.
pub fn docusign() -> Scheme {
    let signatures = Field::numbered_headers("x-docusign-signature-");
    Scheme::new("docusign", signatures, HmacSha256, Base64).with_event(Field::body("/event"))
}

/// [Square](https://developer.squareup.com/docs/webhooks/step3validate). It signs the address as it is registered.
pub fn square() -> Scheme {
    Scheme::new("square", header("x-square-hmacsha256-signature"), HmacSha256, Base64)
        .with_signed([Url, Body])
        .with_id(Field::body("/event_id"))
        .with_event(Field::body("/type"))
}

/// [HubSpot](https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation),
/// version 3, with the client secret of the app. A message has a list of events: id and type are those of the first.
pub fn hubspot() -> Scheme {
    Scheme::new("hubspot", header("x-hubspot-signature-v3"), HmacSha256, Base64)
        .with_signed([Method, DecodedUrl, Body, Timestamp])
        .with_timestamp(header("x-hubspot-request-timestamp"), Milliseconds)
        .with_tolerance(FIVE_MINUTES)
        .with_id(Field::body("/0/eventId"))
        .with_event(Field::body("/0/subscriptionType"))
}

/// [Mailgun](https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks). It signs a time and a
/// token, and not the event: a captured signature fits every event.
pub fn mailgun() -> Scheme {
    let token = Field::body("/signature/token").or_parameter("token");
    let signature = Field::body("/signature/signature").or_parameter("signature");
    let timestamp = Field::body("/signature/timestamp").or_parameter("timestamp");
    Scheme::new("mailgun", signature, HmacSha256, Hex)
        .with_signed([Timestamp, Id])
        .with_timestamp(timestamp, Seconds)
        .with_tolerance(FIVE_MINUTES)
        .with_id(token)
        .with_event(Field::body("/event-data/event").or_parameter("event"))
}

/// [Meta](https://developers.facebook.com/docs/graph-api/webhooks/getting-started#validate-payloads): Facebook, Instagram
/// and WhatsApp, with the secret of the app.
pub fn meta() -> Scheme {
    let signature = header("x-hub-signature-256").with_prefix("sha256=");
    Scheme::new("meta", signature, HmacSha256, Hex).with_event(Field::body("/object"))
}

/// [Dropbox](https://www.dropbox.com/developers/reference/webhooks#notifications), with the secret of the app. Two
/// notifications about one account have the same bytes, so a [replay guard](crate::replay) takes the second for a replay.
pub fn dropbox() -> Scheme {
    Scheme::new("dropbox", header("x-dropbox-signature"), HmacSha256, Hex)
}

/// [Intercom](https://developers.intercom.com/docs/webhooks/webhook-notifications#signed-notifications), with the client
/// secret of the app. It signs with SHA-1.
pub fn intercom() -> Scheme {
    Scheme::new("intercom", header("x-hub-signature").with_prefix("sha1="), HmacSha1, Hex)
        .with_id(Field::body("/id"))
        .with_event(Field::body("/topic"))
}

/// [Twilio](https://www.twilio.com/docs/usage/security#validating-requests), with the auth token of the account: the
/// address and, of a form, its parameters. Another body has its SHA-256 in the query.
pub fn twilio() -> Scheme {
    Scheme::new("twilio", header("x-twilio-signature"), HmacSha1, Base64)
        .with_signed([Url, Parameters])
        .with_body_digest_in_query("bodySHA256")
        .with_either_port()
        .with_id(header("i-twilio-idempotency-token"))
}

/// [Jac](https://docs.jaseci.org/): the webhooks of its versions after Jac Cloud.
pub fn jac() -> Scheme {
    let signature = header("x-webhook-signature");
    Scheme::new("jac", signature.clone().with_prefix("sha256="), HmacSha256, Hex)
        .or_signature(signature, HmacSha256, Hex)
        .with_signed([Timestamp, Part::text("."), Body])
        .with_timestamp(header("x-webhook-timestamp"), Seconds)
        .with_tolerance(FIVE_MINUTES)
}

/// [Discord](https://docs.discord.com/developers/interactions/overview#setting-up-an-endpoint-validating-security-request-headers),
/// with the public key of the app: [`ed25519_public`](super::SigningSecret::ed25519_public). It publishes no tolerance;
/// one can be [set](Scheme::with_tolerance).
#[cfg(feature = "ed25519")]
#[cfg_attr(docsrs, doc(cfg(feature = "ed25519")))]
pub fn discord() -> Scheme {
    Scheme::new("discord", header("x-signature-ed25519"), super::Algorithm::Ed25519, Hex)
        .with_signed([Timestamp, Body])
        .with_timestamp(header("x-signature-timestamp"), Seconds)
        .with_id(Field::body("/id"))
        .with_event(Field::body("/type"))
}

/// [SendGrid](https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features),
/// with its public key: [`ecdsa_p256_public`](super::SigningSecret::ecdsa_p256_public). A message has a list of events: id
/// and type are those of the first.
#[cfg(feature = "ecdsa")]
#[cfg_attr(docsrs, doc(cfg(feature = "ecdsa")))]
pub fn sendgrid() -> Scheme {
    let signature = header("x-twilio-email-event-webhook-signature");
    Scheme::new("sendgrid", signature, super::Algorithm::EcdsaP256, Base64)
        .with_signed([Timestamp, Body])
        .with_timestamp(header("x-twilio-email-event-webhook-timestamp"), Seconds)
        .with_tolerance(FIVE_MINUTES)
        .with_id(Field::body("/0/sg_event_id"))
        .with_event(Field::body("/0/event"))
}
