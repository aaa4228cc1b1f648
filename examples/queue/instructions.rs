//! `curl` lines with the answers to expect: `-s` for an answer, `-si` for a refusal.

use servers::Error;
use tower_webhook::queue::JobId;

pub(crate) fn text(address: &str) -> Result<String, Error> {
    // Another start has jobs of its own.
    let [first, failing] = [JobId::random()?, JobId::random()?].map(|key| key.to_string());
    // The key of a request makes the id of its job, so that lines can name it.
    let [job, dead] = [&first, &failing].map(|key| JobId::derived(None, "slow", key));
    let hook = format!("http://{address}/hook");
    let executions = format!("http://{address}/executions");
    Ok(format!(
        r#"listening on http://{address}

A job that runs for 0.5 s. Answer: 202, {{"id":"..","state":"queued"}}
  curl -s --json '{{"ms": 500}}' -H 'Idempotency-Key: {first}' {hook}/slow
The same request again runs nothing. Answer: the same, and when the job has ended its outcome
  curl -s --json '{{"ms": 500}}' -H 'Idempotency-Key: {first}' {hook}/slow
  sleep 1; curl -s --json '{{"ms": 500}}' -H 'Idempotency-Key: {first}' {hook}/slow
Its state, times and outcome
  curl -s {executions}/{job}

Jobs whose outcome is waited for, up to 2 s. Answers: {{"attempt":1,"ms":500}}, and as above
  curl -s --json '{{"ms": 500}}' {hook}/wait
  curl -s --json '{{"ms": 3000}}' {hook}/wait

A job that fails: after 1, 2, 4 and 8 s it is tried again, then it is dead
  curl -s --json '{{"fail": true}}' -H 'Idempotency-Key: {failing}' {hook}/slow
  curl -s {executions}/{dead}
  sleep 16; curl -s '{executions}?state=dead'
The same once more
  curl -s -X POST {executions}/{dead}/retry

All jobs, the newest first. One that has ended is removed: 204
  curl -s '{executions}?limit=10'
  curl -s -X DELETE {executions}/{job}

Refused: the key of another request (422), what is no job (422), a retry of a job that is not dead (409), no such job (404)
  curl -si --json '{{"ms": 1}}' -H 'Idempotency-Key: {failing}' {hook}/slow
  curl -si --json '{{"ms": "long"}}' {hook}/slow
  curl -si -X POST {executions}/{dead}/retry
  curl -si {executions}/{job}

With "abort": true a job ends its process in the middle, as a crash would. Other workers take it over:
cargo run --example queue -- --worker"#
    ))
}
