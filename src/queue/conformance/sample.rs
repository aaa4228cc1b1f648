//! Jobs that the checks store.

use crate::key::Owner;
use crate::queue::{HookLimits, JobId, NewJob};

/// The limits of every queue on trial. Most jobs have the hook "free", which has none.
pub(super) fn limits() -> HookLimits {
    let limits = HookLimits::new().with("one", 1);
    limits.and_then(|limits| limits.with("two.a b*>", 2)).unwrap_or_default()
}

pub(super) fn id(name: &str) -> JobId {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(name.bytes()).for_each(|(byte, of_name)| *byte = of_name);
    JobId::from_bytes(bytes)
}

pub(super) fn job(name: &str) -> NewJob {
    let fingerprint = [u8::try_from(name.len()).unwrap_or_default(); 32];
    NewJob::new(id(name), format!("{{\"payload of\":\"{name}\"}}"))
        .with_hook("free")
        .with_fingerprint(fingerprint)
}

/// This many jobs of a hook, with names that begin like this.
pub(super) fn jobs(start: &str, count: usize, hook: &str) -> Vec<NewJob> {
    (0..count).map(|index| job(&format!("{start}{index:02}")).with_hook(hook)).collect()
}

pub(super) fn of(mut job: NewJob, owner: &str) -> NewJob {
    job.owner = Owner::new(owner).ok();
    job
}

/// Texts that are easily changed on the way to a database and back, or taken for a pattern, a subject or a statement.
pub(super) fn texts() -> Vec<String> {
    let texts = [
        "",
        " ",
        "a",
        "A",
        "a ",
        "a.b",
        "a..b.",
        "a*b",
        "*",
        ">",
        "a.>",
        "%",
        "_",
        "$1",
        "/a\\b",
        "it's \"x\"; --",
        "a\tb\r\nc",
        "\u{feff}a\u{200b}",
        "e\u{301}",
        "\u{e9}",
        "\u{1d11e}\u{10ffff}",
        "null",
        "007",
        "1e3",
    ];
    texts.map(str::to_owned).into_iter().chain(["x.y/z ".repeat(40)]).collect()
}

/// A text of 64 KiB.
pub(super) fn large() -> String {
    "0123456789abcd\u{e9}".repeat(4096)
}
