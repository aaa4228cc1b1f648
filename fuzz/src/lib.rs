//! What every reader of the crate has to hold on any input, as functions that panic where it does not.
//!
//! The reference is another library wherever there is one, and a second reading by the RFC otherwise. libFuzzer
//! calls these functions (`fuzz_targets/`), and so does a test of the main package (`tests/fuzz/main.rs`).

pub mod credentials;
pub mod forms;
pub mod json;
pub mod management;
pub mod media;
pub mod multipart;
pub mod signatures;
pub mod texts;

/// The names that are looked for although an input may not have them.
const NAMES: [&str; 2] = ["api_key", "session"];

/// A byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// One byte order mark, or none, and what is behind it.
fn split_mark(data: &[u8]) -> (&[u8], &[u8]) {
    data.split_at(if data.starts_with(MARK) { MARK.len() } else { 0 })
}

/// No more names of one input are tried, so that an input stays cheap.
const MOST_NAMES: usize = 8;

/// The first names of an input, and those that it may not have.
fn names_to_try<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut tried: Vec<String> = names.into_iter().take(MOST_NAMES).map(String::from).collect();
    tried.extend(NAMES.map(String::from));
    tried.sort_unstable();
    tried.dedup();
    tried
}
