//! `curl` lines with good signatures.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use time::OffsetDateTime;

use crate::providers::Provider;

pub(crate) fn text(
    address: &str,
    public_url: &str,
    providers: &[Provider],
) -> Result<String, servers::Error> {
    let mut text = String::from(
        "\nNo secret is set, so these were made. A signature with a time is good for 5 minutes, that of Paddle \
         for 5 s.\n\n",
    );
    for Provider { slug, signer, .. } in providers {
        let Some(signer) = signer else { continue };
        let request = Request::post(format!("{public_url}/{slug}"));
        let mut request =
            request.header(CONTENT_TYPE, "application/json").body(Bytes::from(body(slug)))?;
        signer.sign(&mut request, &format!("delivery-of-{slug}"), OffsetDateTime::now_utc())?;

        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        write!(text, "  curl -s 'http://{address}{target}'")?;
        for (name, value) in request.headers() {
            write!(text, " -H '{name}: {}'", value.to_str()?)?;
        }
        writeln!(text, " -d '{}'", str::from_utf8(request.body())?)?;
    }
    writeln!(text, "\nThe answer to a bad signature is a 401:\n")?;
    writeln!(
        text,
        "  curl -si http://{address}/github -H 'x-hub-signature-256: sha256=00' -d '{{}}'"
    )?;
    writeln!(text, "\nHandshakes:\n")?;
    writeln!(text, "  curl -s 'http://{address}/dropbox?challenge=abc'")?;
    let query = "hub.mode=subscribe&hub.verify_token=verify-me&hub.challenge=1158201444";
    writeln!(text, "  curl -s 'http://{address}/meta?{query}'")?;
    let body =
        r#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#;
    writeln!(
        text,
        "  curl -s http://{address}/zoom -H 'content-type: application/json' -d '{body}'"
    )?;
    Ok(text)
}

/// What a provider sends, in little.
fn body(slug: &str) -> &'static str {
    match slug {
        "stripe" => r#"{"id":"evt_1","type":"charge.succeeded"}"#,
        "slack" => r#"{"type":"event_callback","event_id":"Ev1","event":{"type":"app_mention"}}"#,
        "pagerduty" => r#"{"event":{"id":"e1","event_type":"incident.triggered"}}"#,
        "zoom" => r#"{"event":"meeting.started"}"#,
        "linear" => r#"{"action":"create","type":"Issue","webhookTimestamp":0}"#,
        "paddle" => r#"{"event_id":"evt_1","event_type":"transaction.paid"}"#,
        "twitch" => r#"{"subscription":{"type":"stream.online"}}"#,
        "jira" => r#"{"webhookEvent":"jira:issue_created"}"#,
        "docusign" => r#"{"event":"envelope-completed"}"#,
        "square" => r#"{"event_id":"e1","type":"payment.created"}"#,
        "hubspot" => r#"[{"eventId":1,"subscriptionType":"contact.creation"}]"#,
        "mailgun" => r#"{"event-data":{"event":"opened"}}"#,
        "meta" => r#"{"object":"page","entry":[]}"#,
        "intercom" => r#"{"id":"notif_1","topic":"user.created"}"#,
        "discord" => r#"{"id":"1","type":2}"#,
        "sendgrid" => r#"[{"sg_event_id":"e1","event":"delivered"}]"#,
        "standard-webhooks" | "svix" => r#"{"type":"invoice.paid"}"#,
        _ => r#"{"hello":"world"}"#,
    }
}
