//! The invariants of all rows, as functions of one answer.

use http::{HeaderMap, Version};

use super::fixture::Fixture;
use super::request::Sent;
use super::row::{Code, Row, Via};
use super::run::{Answer, Seen};

/// Peak memory of a request beyond its bodies.
const PEAK: usize = 256 * 1024;
/// Peak memory of a request that is refused for its head.
const EARLY_PEAK: usize = 16 * 1024;

/// Every rule that the answer breaks.
pub(super) fn check(row: &Row, via: Via, answer: &Answer, fixture: &Fixture) -> Vec<String> {
    let mut problems = Vec::new();
    let status = answer.response.status().as_u16();
    if status != row.expected.status() {
        problems.push(format!(
            "{status} instead of {:?}: {:?}",
            row.expected,
            String::from_utf8_lossy(answer.response.body())
        ));
    }
    if problems.is_empty() {
        check_response(row, via, answer, &mut problems);
    }
    let runs = usize::from(row.expected == Code::Ok);
    if answer.seen.len() != runs {
        problems.push(format!("the inner service ran {} times", answer.seen.len()));
    }
    if answer.finds != row.finds || answer.finds > 1 {
        problems.push(format!("{} look-ups instead of {}", answer.finds, row.finds));
    }
    for envelope in answer.seen.iter().filter_map(Seen::envelope) {
        if serde_json::from_str::<serde::de::IgnoredAny>(envelope).is_err() {
            problems.push(format!("the envelope is no JSON: {envelope}"));
        }
    }
    check_leaks(row, via, answer, fixture, &mut problems);
    check_log(row, answer, &mut problems);
    check_body(row, via, answer, &mut problems);
    check_memory(row, via, answer, &mut problems);
    problems
}

/// Status, headers and body, as the table of refusals has them.
fn check_response(row: &Row, via: Via, answer: &Answer, problems: &mut Vec<String>) {
    let (code, headers) = (row.expected, answer.response.headers());
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            problems.push(format!("{what}: {headers:?} {:?}", answer.response.body()));
        }
    };
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|other| other == value);

    let challenges: Vec<_> = headers.get_all("www-authenticate").iter().collect();
    expect(challenges.is_empty() == (code.status() != 401), "401 if and only if a challenge");
    expect(headers.contains_key("allow") == matches!(code, Code::Method(_)), "405 and Allow");
    let is_503 = code == Code::Unavailable;
    expect(headers.contains_key("retry-after") == is_503, "503 and Retry-After");
    if code == Code::Ok {
        let is_buffered_or_layer = via != Via::Hooks;
        if answer.seen.iter().any(Seen::is_by_target) {
            expect(is("cache-control", "private, no-store"), "a key in the target is cached");
            expect(is("referrer-policy", "no-referrer"), "a key in the target is referred");
        } else if !is_buffered_or_layer {
            expect(is("cache-control", "no-store"), "a result is cached");
        }
        return;
    }
    if code == Code::Probe {
        expect(is("cache-control", "no-store"), "the answer to a probe is cached");
        expect(answer.response.body().is_empty(), "a probe is answered with content");
        return;
    }
    // An outer layer adds to the refusal of an inner one if the key was in the target.
    let is_stored = !is("cache-control", "no-store") && !is("cache-control", "private, no-store");
    expect(!is_stored, "a refusal is cached");
    expect(is("x-content-type-options", "nosniff"), "a refusal is sniffed");
    expect(is("content-type", "application/problem+json"), "a refusal is no problem document");
    let has_error = challenges
        .iter()
        .any(|challenge| challenge.to_str().unwrap().contains(r#"error="invalid_token""#));
    let is_by_bearer = code == Code::Invalid && has_bearer(&row.sent);
    let offers_bearer = challenges.iter().any(|c| c.to_str().unwrap().starts_with("Bearer"));
    expect(has_error == (is_by_bearer && offers_bearer), "error=\"invalid_token\"");
    match code {
        Code::Method(allow) => expect(is("allow", allow), "Allow"),
        Code::MediaType => expect(headers.contains_key("accept"), "Accept"),
        Code::Coding => expect(is("accept-encoding", "identity"), "Accept-Encoding"),
        Code::Unavailable => expect(is_a_few_seconds(headers), "Retry-After"),
        Code::TooLarge | Code::Timeout => {
            let closes = is("connection", "close");
            expect(closes == (answer.version < Version::HTTP_2), "Connection: close");
        }
        _ => {}
    }
    if row.sent.method == "HEAD" {
        expect(answer.response.body().is_empty(), "HEAD is answered with content");
        expect(headers["content-length"] != "0", "HEAD is answered with another length");
        return;
    }
    let document: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(answer.response.body()).unwrap_or_default();
    // A fixed text may say more about a body, and a caller who may not call learns which scope is missing.
    let more = match code {
        Code::MediaType | Code::Malformed => "detail",
        Code::Forbidden => "required_scope",
        _ => "",
    };
    let more = usize::from(document.contains_key(more));
    expect(document.len() == 4 + more, "type, title, status and code");
    expect(document.get("status").is_some_and(|it| *it == code.status()), "status");
    expect(document.get("code").is_some_and(|it| *it == code.text()), code.text());
}

fn is_a_few_seconds(headers: &HeaderMap) -> bool {
    let seconds: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    (1..=5).contains(&seconds)
}

/// Whether a credential came in `Authorization: Bearer`.
pub(super) fn has_bearer(sent: &Sent) -> bool {
    sent.headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("authorization")
            && value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
    })
}

/// No key comes out again, and none goes further in.
fn check_leaks(
    row: &Row,
    via: Via,
    answer: &Answer,
    fixture: &Fixture,
    problems: &mut Vec<String>,
) {
    let response = &answer.response;
    let mut texts = vec![
        ("the response's headers", format!("{:?}", response.headers())),
        ("the response's body", String::from_utf8_lossy(response.body()).into_owned()),
        ("the log", answer.logged.text.clone()),
        ("the log as JSON", answer.logged.json.clone()),
        ("the service's Debug", answer.debug.clone()),
        ("the manager's Debug", format!("{:?}", fixture.manager)),
        ("the verifier's Debug", format!("{:?}", fixture.manager.verifier())),
    ];
    // A layer does not touch places that are not configured.
    if !(row.is_stray && via != Via::Hooks) {
        texts.extend(answer.seen.iter().flat_map(Seen::texts));
    }
    let canaries = fixture.canaries();
    for (name, text) in texts {
        let text = text.to_ascii_lowercase();
        if canaries.iter().any(|canary| text.contains(canary)) {
            problems.push(format!("a key is in {name}: {text}"));
        }
    }
}

/// One event for a refusal, one for a proven caller, and nothing raw in either. A request has both only if
/// its body is refused after its caller was accepted.
fn check_log(row: &Row, answer: &Answer, problems: &mut Vec<String>) {
    let is_on = cfg!(feature = "tracing");
    let is_success = |event: &serde_json::Value| event["event"] == "authn_login_success";
    let (accepted, refused): (Vec<_>, Vec<_>) =
        answer.logged.events().into_iter().partition(is_success);
    if refused.len() != usize::from(is_on && row.expected.is_refusal()) {
        problems.push(format!("{} events of a refusal: {refused:?}", refused.len()));
    }
    for event in &refused {
        if event["http.response.status_code"] != row.expected.status() {
            problems.push(format!("the event of another refusal: {event}"));
        }
    }
    let proofs = |seen: &Seen| {
        seen.identity().map_or(0, |identity| 1 + usize::from(identity.also_proven().is_some()))
    };
    let seen: usize = answer.seen.iter().map(proofs).sum();
    let proven = seen + usize::from(row.expected == Code::Probe);
    let is_late = row.expected.is_refusal() && !row.expected.is_early();
    if accepted.len() != usize::from(is_on) * proven && !(is_late && accepted.len() == 1) {
        problems.push(format!("{} events of a success: {accepted:?}", accepted.len()));
    }
    if answer.logged.text.contains(['\u{1b}', '\r']) {
        problems.push("raw control characters in the log".to_owned());
    }
}

/// A body is polled no further than it has to be.
fn check_body(row: &Row, via: Via, answer: &Answer, problems: &mut Vec<String>) {
    let Some(taken) = &answer.taken else { return };
    if taken.polled_after_end() {
        problems.push("the body was polled after its end".to_owned());
    }
    let is_early = row.expected.is_early() && !row.setup.in_body;
    if (is_early || row.is_unread) && taken.polls() > 0 {
        problems.push(format!("the body was polled {} times", taken.polls()));
    }
    let limit = match row.setup.in_body {
        true => row.setup.pre_auth.min(row.setup.max_body),
        false => row.setup.max_body,
    };
    if via != Via::Layer && taken.bytes() > limit + taken.largest_frame() {
        problems.push(format!("{} bytes were taken from the body", taken.bytes()));
    }
}

/// Memory is bounded by the limit on bodies, and a refusal for the head takes next to none.
fn check_memory(row: &Row, via: Via, answer: &Answer, problems: &mut Vec<String>) {
    let Some(peak) = answer.peak else { return };
    let limit = match row.expected.is_early() && !row.setup.in_body {
        true => EARLY_PEAK,
        false => 2 * row.setup.max_body + PEAK,
    };
    if via != Via::Layer && peak > limit as u64 {
        problems.push(format!("{peak} bytes of memory at once, more than {limit}"));
    }
}
