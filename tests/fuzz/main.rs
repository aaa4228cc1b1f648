//! Property tests: the functions of the fuzz targets, on the seeds and on mutations of them. Needs no fuzzer.
//!
//! `FUZZ_CASES` sets how many inputs each target gets. `.ci/fuzz` runs the same functions with libFuzzer.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{TestError, TestRunner};

#[path = "../../fuzz/src/lib.rs"]
mod targets;

const CASES: u32 = 3_000;

/// A dictionary: pieces of all the languages that are read.
const PIECES: [&str; 40] = [
    "\"",
    "\\",
    "\\u0061",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "1e400",
    "=",
    "&",
    "+",
    "%",
    "%61",
    "%ff",
    "\r\n",
    "--b",
    "--b--",
    ";",
    "; name=a",
    "; name*=x",
    "; filename=\"",
    "api_key",
    "session",
    "token",
    "\n",
    "\0",
    " ",
    "\t",
    "é",
    "bearer ",
    "Basic dTpw",
    "x-key: 1",
    "/h/a",
    "cookie: session=1",
    "charset=utf-8",
    "boundary=b",
    "/json",
];

#[derive(Clone, Debug)]
enum Edit {
    Insert(Index, &'static str),
    Replace(Index, u8),
    Remove(Index, usize),
    Repeat(Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (any::<Index>(), proptest::sample::select(&PIECES[..]))
            .prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        (any::<Index>(), 1_usize..20).prop_map(|(at, length)| Edit::Remove(at, length)),
        (any::<Index>(), 1_usize..40).prop_map(|(at, length)| Edit::Repeat(at, length)),
    ]
}

impl Edit {
    fn apply(&self, input: &mut Vec<u8>) {
        let (Self::Insert(at, _)
        | Self::Replace(at, _)
        | Self::Remove(at, _)
        | Self::Repeat(at, _)) = self;
        let at = at.index(input.len() + 1);
        let end = |length: usize| (at + length).min(input.len());
        match self {
            Self::Insert(_, piece) => drop(input.splice(at..at, piece.bytes())),
            Self::Replace(_, byte) => drop(input.splice(at..end(1), [*byte])),
            Self::Remove(_, length) => drop(input.drain(at..end(*length))),
            Self::Repeat(_, length) => {
                let copy = input[at..end(*length)].to_vec();
                input.splice(at..at, copy);
            }
        }
    }
}

/// Every seed, then seeds with edits. The input that fails is shown.
fn run(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!seeds.is_empty());
    for (file, seed) in files.iter().zip(&seeds) {
        println!("{}", file.display());
        check(seed);
    }

    let cases = std::env::var("FUZZ_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let inputs = (proptest::sample::select(seeds), proptest::collection::vec(edit(), 0..6));
    let inputs = inputs.prop_map(|(mut input, edits)| {
        edits.iter().for_each(|edit| edit.apply(&mut input));
        input
    });
    let checked = TestRunner::new(config).run(&inputs, |input| {
        check(&input);
        Ok(())
    });
    match checked {
        Ok(()) => {}
        Err(TestError::Fail(reason, input)) => panic!("{reason}: b\"{}\"", input.escape_ascii()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn json_is_read_as_serde_json_reads_it() {
    run("json", targets::json::check);
}

#[test]
fn forms_are_read_as_form_urlencoded_reads_them() {
    run("forms", targets::forms::check);
}

#[test]
fn multipart_is_read_as_multer_reads_it_or_refused() {
    run("multipart", targets::multipart::check);
}

#[test]
fn media_types_are_read_as_mime_reads_them_or_refused() {
    run("media", targets::media::check);
}

#[test]
fn texts_are_written_as_they_were_read() {
    run("texts", targets::texts::check);
}

#[test]
fn no_credential_is_missed_and_none_is_left() {
    run("credentials", targets::credentials::check);
}

#[test]
fn management_never_gives_more_than_the_caller_has() {
    run("management", targets::management::check);
}

#[test]
fn no_signature_is_good_without_its_secret() {
    run("signatures", targets::signatures::check);
}
