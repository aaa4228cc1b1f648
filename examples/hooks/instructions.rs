//! `curl` lines with the answers to expect: `-s` for an answer, `-si` for a refusal, `-sI` for `HEAD`.

use crate::app::Credentials;

pub(crate) fn text(address: &str, credentials: &Credentials) -> String {
    let Credentials { key, expired, revoked, without_scope, hourly, login } = credentials;
    let deployed = r#"{"commits":20,"deployed":"refs/heads/main"}"#;
    let push = "--json @examples/payloads/github-push.json";
    let hook = format!("http://{address}/hook");
    format!(
        r#"listening on http://{address}

A public hook. Answer: {{"healthy":true}}
  curl -s {hook}/status

A token hook, with a GitHub push. Answer: {deployed}
  curl -s -H 'X-Webhook-Token: {key}' {push} {hook}/deploy
  curl -s -H 'Authorization: Bearer {key}' {push} {hook}/deploy
  curl -s -H 'Authorization: ApiKey {key}' {push} {hook}/deploy
  curl -s {push} '{hook}/deploy?token={key}'
  curl -s {push} {hook}/deploy/{key}

The same with the key in the body. Answer: {{"commits":0,"deployed":"v1"}}
  curl -s --json '{{"token":"{key}","ref":"v1"}}' {hook}/deploy

A user hook. Answer: {{"week":"47"}}
  curl -s -u 'alice:{login}' -d week=47 {hook}/report

A hook for a key or a user: the first call is by key, the second by user. Answers: the envelope
  curl -s -H 'X-Webhook-Token: {key}' --json '{{"ref":"v1"}}' {hook}/any
  curl -s -u 'alice:{login}' --json '{{"ref":"v1"}}' {hook}/any
Refused: both at once (400), neither (401, with the challenges of both)
  curl -si -u 'alice:{login}' -H 'X-Webhook-Token: {key}' --json '{{}}' {hook}/any
  curl -si --json '{{}}' {hook}/any

A hook that a key may call five times at once, then once in 12 seconds. Answer: the envelope
  curl -s -H 'X-Webhook-Token: {key}' --json '{{"ref":"v1"}}' {hook}/limited
A key that may call once an hour. Answers: the envelope, then 429 with retry-after and ratelimit
  curl -s -H 'X-Webhook-Token: {hourly}' --json '{{"ref":"v1"}}' {hook}/limited
  curl -si -H 'X-Webhook-Token: {hourly}' --json '{{"ref":"v1"}}' {hook}/limited

Hooks that answer with their envelope: the first is public, the second takes the key
  curl -s --json '{{"amount": 1.10}}' '{hook}/echo?a=1'
  curl -s -H 'X-Webhook-Token: {key}' --json '{{"amount": 1.10}}' {hook}/deploy-any

JSON that says it is text, as AWS SNS sends it, is in JSON. Other text, and bytes, are in BODY
  curl -s -H 'Content-Type: text/plain; charset=UTF-8' -d '{{"Type":"Notification"}}' {hook}/echo
  curl -s -H 'Content-Type: text/plain' -d 'hello' {hook}/echo
  curl -s -H 'Content-Type: application/octet-stream' --data-binary @examples/payloads/github-push.json {hook}/echo

JSON lines are an array in JSON
  printf '{{"a":1}}\n{{"a":2}}\n' | curl -s -H 'Content-Type: application/x-ndjson' --data-binary @- {hook}/echo

GitHub's form: the JSON in `payload` is inlined in POST
  curl -s --data-urlencode 'payload={{"ref":"v1"}}' {hook}/echo

What a sender checks first: does the hook exist, and is the key good? Nothing runs. Answers: 200, 401
  curl -sI -H 'X-Webhook-Token: {key}' {hook}/deploy
  curl -sI {hook}/deploy

What a browser asks first. Answer: 200 with access-control-allow-headers: x-webhook-token
  curl -s -i -X OPTIONS -H 'Origin: https://a.example' -H 'Access-Control-Request-Method: POST' -H 'Access-Control-Request-Headers: x-webhook-token' {hook}/deploy

Refused: no key (401), a wrong one (401), an expired one (401), a revoked one (401), one without the scope
(403), two keys (400), copies that a proxy joined (400), a second one in the body (400), another method (405), no
such hook (404), no JSON (400), JSON in UTF-16 (415), a form that is not UTF-8 (400)
  curl -si --json '{{}}' {hook}/deploy
  curl -si -H 'X-Webhook-Token: wrong' --json '{{}}' {hook}/deploy
  curl -si -H 'X-Webhook-Token: {expired}' --json '{{}}' {hook}/deploy
  curl -si -H 'X-Webhook-Token: {revoked}' --json '{{}}' {hook}/deploy
  curl -si -H 'X-Webhook-Token: {without_scope}' --json '{{}}' {hook}/deploy
  curl -si -H 'X-Webhook-Token: {key}' --json '{{}}' '{hook}/deploy?token={key}'
  curl -si -H 'X-Webhook-Token: {key}, {key}' --json '{{}}' {hook}/deploy
  curl -si -H 'X-Webhook-Token: {key}' --json '{{"token":"{key}"}}' {hook}/deploy
  curl -si {hook}/deploy
  curl -si {hook}/unknown
  curl -si --json '{{' {hook}/echo
  curl -si -H 'Content-Type: application/json; charset=utf-16' -d '{{}}' {hook}/echo
  curl -si -d 'a=%FF' {hook}/echo

More than 64 KiB from a stranger (413), and more than 1 MiB from a caller with a key (413)
  head -c 70000 /dev/zero | curl -si --json @- {hook}/deploy
  head -c 1100000 /dev/zero | curl -si -H 'X-Webhook-Token: {key}' --json @- {hook}/deploy

A refusal arrives although the upload goes on (401)
  head -c 20000000 /dev/zero | curl -si -H 'Expect:' -H 'X-Webhook-Token: wrong' --json @- {hook}/deploy

A refusal that a gRPC client reads: 200 with grpc-status 16
  curl -si -H 'Content-Type: application/grpc' -d '' {hook}/deploy"#
    )
}
