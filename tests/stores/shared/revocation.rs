//! How long a key opens after it was revoked in another process, which is a real one: this program again,
//! with a cache in front of the store and maybe a subscription to changes.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tower_webhook::key::{KeyManager, KeyStore, NewKey, Owner, VerifyErrorKind};
use tower_webhook::store::{CachedKeyStore, InvalidationStream};

/// What a scheduler that has other things to do may add.
const SLACK: Duration = Duration::from_millis(700);

const VARIABLE: &str = "TOWER_WEBHOOK_VERIFIER";

/// The place that a parent process gave to this one.
pub(crate) fn given_place() -> Option<String> {
    env::var(VARIABLE).ok()
}

/// What the child does: it takes keys from its input, verifies each in a loop, and says when it is
/// refused as revoked. The place ends with the time to live in milliseconds, after a blank.
pub(crate) async fn verify_what_is_given<S: KeyStore, I: InvalidationStream>(
    place: &str,
    store: S,
    changes: Option<I>,
) {
    let ttl = place.rsplit(' ').next().unwrap().parse().unwrap();
    let cache = CachedKeyStore::new(store).with_ttl(Duration::from_millis(ttl)).unwrap();
    if let Some(changes) = changes {
        tokio::spawn(cache.follow(changes));
    }
    let verifier = KeyManager::new(cache.clone()).verifier();
    println!("\nready");
    loop {
        let line = tokio::task::spawn_blocking(|| std::io::stdin().lines().next());
        let Some(line) = line.await.unwrap() else { return };
        let secret = line.unwrap();
        let mut is_first = true;
        loop {
            match verifier.verify(secret.as_bytes()).await {
                Ok(_) if is_first => println!("opens"),
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), VerifyErrorKind::Revoked);
                    println!("refused {}", now().as_nanos());
                    break;
                }
            }
            is_first = false;
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    }
}

/// The processes of one machine have one clock.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// A process that verifies keys.
pub(crate) struct Verifier {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Verifier {
    /// Starts this program again, to run only the test `name`.
    pub(crate) fn start(name: &str, place: &str, ttl: Duration) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
        command.env(VARIABLE, format!("{place} {}", ttl.as_millis()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut verifier = Self { child, input, output };
        verifier.wait_for("ready");
        verifier
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// What follows on the next line that begins with this word.
    fn wait_for(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the process has ended");
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    /// How long a key opens in that process after `revoke` has returned in this one.
    async fn round(&mut self, keys: &KeyManager, pause: Duration) -> Duration {
        let ann = Owner::new("ann").unwrap();
        let issued = keys.generate(&ann, NewKey::new("laptop")).await.unwrap();
        writeln!(self.input, "{}", issued.secret().expose_secret()).unwrap();
        self.wait_for("opens");
        // Records that have been cached for various times.
        sleep(pause);
        keys.revoke(&ann, issued.record().id()).await.unwrap();
        let acknowledged = now();
        let refused: u64 = self.wait_for("refused ").parse().unwrap();
        Duration::from_nanos(refused).saturating_sub(acknowledged)
    }
}

/// How long a key opens in a process that was paused while it was revoked, for longer than the time to
/// live, after that process goes on.
pub(crate) async fn refusal_after_a_pause(
    verifier: &mut Verifier,
    keys: &KeyManager,
    pause: Duration,
) -> Duration {
    let ann = Owner::new("ann").unwrap();
    let issued = keys.generate(&ann, NewKey::new("laptop")).await.unwrap();
    writeln!(verifier.input, "{}", issued.secret().expose_secret()).unwrap();
    verifier.wait_for("opens");
    verifier.signal("STOP");
    keys.revoke(&ann, issued.record().id()).await.unwrap();
    sleep(pause);
    let resumed = now();
    verifier.signal("CONT");
    let refused: u64 = verifier.wait_for("refused ").parse().unwrap();
    Duration::from_nanos(refused).saturating_sub(resumed)
}

impl Drop for Verifier {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was measured in some rounds.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) median: Duration,
    pub(crate) most: Duration,
}

/// `TOWER_WEBHOOK_ROUNDS`, or 20.
pub(crate) fn rounds() -> u32 {
    env::var("TOWER_WEBHOOK_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// Measures and prints. That no key opens for longer than the time to live is asserted in any case.
pub(crate) async fn measure(
    what: &str,
    verifier: &mut Verifier,
    keys: &KeyManager,
    ttl: Duration,
    rounds: u32,
) -> Times {
    let mut times = Vec::new();
    for round in 0..rounds {
        // Fractions of the time to live that are spread evenly.
        let pause = ttl.min(Duration::from_millis(500)).mul_f64(f64::from(round) * 0.618 % 1.0);
        times.push(verifier.round(keys, pause).await);
    }
    times.sort();
    let (least, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{what}, ttl {ttl:?}: refused after {least:.1?} (least), {median:.1?} (median), {most:.1?} \
         (most) in {rounds} rounds"
    );
    assert!(most <= ttl + SLACK, "{what}: {most:?}");
    Times { median, most }
}
