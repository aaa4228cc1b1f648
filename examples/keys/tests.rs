//! The whole program, called with lines of arguments.

use std::ffi::OsString;

use serde_json::json;
use time::OffsetDateTime;
use time::macros::datetime;
use tower_webhook::Clock;
use tower_webhook::key::Owner;

use crate::{Opened, Streams, run};

pub(crate) const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

/// What a run wrote, and how it ended.
pub(crate) struct Ended {
    pub(crate) code: u8,
    pub(crate) output: String,
    pub(crate) remarks: String,
}

pub(crate) async fn run_with(keys: &Opened, line: &str, input: &str) -> Ended {
    let (mut output, mut remarks) = (Vec::new(), Vec::new());
    let streams =
        Streams { input: &mut input.as_bytes(), output: &mut output, remarks: &mut remarks };
    let open = async |_: Option<&str>, _: bool| Ok(keys.clone());
    let code = run(line.split(' ').map(OsString::from), open, streams).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code, output: text(output), remarks: text(remarks) }
}

pub(crate) fn memory() -> Opened {
    let opened = Opened::in_memory();
    Opened { keys: opened.keys.with_clock(Clock::from_fn(|| NOW)), ..opened }
}

pub(crate) async fn id_of(keys: &Opened) -> String {
    let page = keys.keys.list(&Owner::new("alice").unwrap(), None, 1).await.unwrap();
    page.keys()[0].id().to_string()
}

#[tokio::test]
async fn a_key_has_the_rate_limit_that_was_asked_for() {
    let keys = memory();
    let line = "generate --owner alice --name laptop --rate-limit 60/m";
    assert_eq!(run_with(&keys, line, "").await.code, 0);
    let shown = run_with(&keys, &format!("show {}", id_of(&keys).await), "").await;
    assert!(
        shown.output.contains("rate limit  60 at once, then one each 1s\n"),
        "{}",
        shown.output
    );
    for limit in ["60", "0/m", "-1/m", "60/d", "/m", "4294967296/h"] {
        let line = format!("generate --owner alice --name b --rate-limit {limit}");
        assert_eq!(run_with(&keys, &line, "").await.code, 2, "{limit}");
    }
}

#[tokio::test]
async fn a_key_lives_through_all_commands() {
    let keys = memory();
    let line =
        "generate --owner alice --name laptop --scope deploy,read --scope a --expires-in 60d";
    let made = run_with(&keys, line, "").await;
    assert_eq!(made.code, 0);
    let secret = made.output.strip_suffix('\n').unwrap().to_owned();
    assert!(!secret.contains(char::is_whitespace) && !made.remarks.contains(&secret));
    let id = id_of(&keys).await;

    let listed = run_with(&keys, "list --owner alice", "").await;
    let expected = format!(
        "ID                OWNER  NAME    SCOPES         STATE   EXPIRES               LAST USED\n\
         {id}  alice  laptop  a deploy read  active  2027-01-23T12:00:00Z  -\n"
    );
    assert_eq!((listed.code, listed.output), (0, expected));

    let verified = run_with(&keys, "verify", &format!("{secret}\n")).await;
    assert_eq!((verified.code, verified.remarks.as_str()), (0, ""));
    assert!(verified.output.contains("owner       alice\n"), "{}", verified.output);

    for (line, expected) in [
        ("disable", "disabled"),
        ("enable", "active"),
        ("extend --by 1w", "2027-01-30T12:00:00Z"),
        ("show", "works from  at once"),
    ] {
        let shown = run_with(&keys, &format!("{line} --owner alice {id}"), "").await;
        assert_eq!(shown.code, 0, "{line} {}", shown.remarks);
        assert!(shown.output.contains(expected), "{line} {}", shown.output);
        assert!(!shown.output.contains(&secret));
    }

    let rotated = run_with(&keys, &format!("rotate --overlap 1h --owner alice {id}"), "").await;
    assert_ne!(rotated.output.trim_end(), secret);
    for text in [rotated.output.trim_end(), &secret] {
        assert_eq!(run_with(&keys, "verify", text).await.code, 0);
    }

    let revoked = run_with(&keys, &format!("revoke --owner alice {id}"), "").await;
    assert_eq!(revoked.code, 0);
    let refused = run_with(&keys, "verify", rotated.output.trim_end()).await;
    assert_eq!((refused.code, refused.output.as_str()), (1, ""));
    assert_eq!(refused.remarks, "tower-webhook-keys: the key was revoked\n");
    let refused = run_with(&keys, &format!("rotate --owner alice {id}"), "").await;
    assert_eq!((refused.code, refused.output.as_str()), (1, ""));

    let gone = run_with(&keys, &format!("delete --owner alice {id} {id}"), "").await;
    assert_eq!((gone.code, gone.output.as_str()), (0, ""));
    let gone = run_with(&keys, &format!("show --owner alice {id}"), "").await;
    assert_eq!(
        (gone.code, gone.remarks.as_str()),
        (1, "tower-webhook-keys: the key is not found\n")
    );
}

#[tokio::test]
async fn programs_read_json() {
    let keys = memory();
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let line = "--json generate --owner alice --name ci --all-scopes";
    let made = run_with(&keys, line, "").await;
    assert_eq!(made.remarks, "");
    let made = json(&made.output);
    assert_eq!(made["key"]["scopes"], "all");
    let secret = made["secret"].as_str().unwrap();

    let listed = run_with(&keys, "list --json --owner alice", "").await;
    let mut expected = made["key"].clone();
    expected["last_used"] = json!(null);
    assert_eq!(json(&listed.output), json!([expected]));
    assert!(!listed.output.contains(secret));
    let verified = run_with(&keys, "verify --json", secret).await;
    assert_eq!(json(&verified.output)["owner"], "alice");
    let none = run_with(&keys, "list --json --owner bob", "").await;
    assert_eq!(none.output, "[]\n");
}

#[tokio::test]
async fn another_owners_key_is_not_found() {
    let keys = memory();
    assert_eq!(run_with(&keys, "generate --owner alice --name a", "").await.code, 0);
    let id = id_of(&keys).await;
    for command in ["show", "extend --by 1h", "rotate", "disable", "enable", "revoke", "delete"] {
        let refused = run_with(&keys, &format!("{command} --owner bob {id}"), "").await;
        assert_eq!((refused.code, refused.output.as_str()), (1, ""), "{command}");
        assert_eq!(refused.remarks, "tower-webhook-keys: the key is not found\n");
    }
}

#[tokio::test]
async fn a_leaked_key_is_found_and_revoked_without_its_owner() {
    let keys = memory();
    let made = run_with(&keys, "generate --owner alice --name laptop", "").await;
    let secret = made.output.trim_end();
    let id = id_of(&keys).await;
    let by_text = format!("find {secret}");
    let finds = [
        (format!("find {id}"), ""),
        (by_text.clone(), ""),
        ("find".to_owned(), made.output.as_str()),
        (format!("show {id}"), ""),
    ];
    for (line, input) in finds {
        let found = run_with(&keys, &line, input).await;
        assert_eq!((found.code, found.remarks.as_str()), (0, ""));
        assert!(found.output.contains("owner       alice\n"), "{}", found.output);
        assert!(!found.output.contains(secret));
    }
    assert_eq!(run_with(&keys, &format!("revoke {id}"), "").await.code, 0);
    assert_eq!(run_with(&keys, "verify", secret).await.code, 1);
    let found = run_with(&keys, &by_text, "").await;
    assert!(found.output.contains("state       revoked\n"), "{}", found.output);

    // The check of the text and the look-up of the id decide, and neither is repeated.
    for text in ["CANARY", "", "CANARY\u{e9}", &secret.replace(&id, "CANARYCANARYCANA")] {
        for (line, input) in [(format!("find {text}"), ""), ("find".to_owned(), text)] {
            let missing = run_with(&keys, &line, input).await;
            assert_eq!((missing.code, missing.output.as_str()), (1, ""), "{text}");
            assert_eq!(missing.remarks, "tower-webhook-keys: the key is not found\n");
        }
    }
    assert_eq!(run_with(&keys, "revoke CANARY", "").await.code, 1);
}

#[tokio::test]
async fn a_list_of_all_owners_is_ordered_by_owner() {
    let keys = memory();
    for owner in ["bob", "alice", "bob"] {
        run_with(&keys, &format!("generate --owner {owner} --name a"), "").await;
    }
    let listed = run_with(&keys, "list --all", "").await;
    let owners: Vec<_> = listed.output.lines().map(|line| line[18..].split(' ').next()).collect();
    assert_eq!(owners, ["OWNER", "alice", "bob", "bob"].map(Some));
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn keys_in_a_file_outlive_the_process() {
    use crate::open;

    let folder = std::env::temp_dir().join(format!("tower-webhook-keys-{}", std::process::id()));
    let text = format!("sqlite:{}", folder.join("keys.db").display());
    let manager = async || open(Some(&text), true).await.unwrap();

    let made = run_with(&manager().await, "generate --owner alice --name a", "").await;
    let verified = run_with(&manager().await, "verify", &made.output).await;
    std::fs::remove_dir_all(&folder).unwrap();

    assert_eq!((made.code, verified.code), (0, 0));
    let nowhere = open(Some("sqlite:/nowhere/at/all/keys.db"), true).await.map(|_| ()).unwrap_err();
    assert_eq!(nowhere.code, 3);
}
