//! What the commands do, and what they write.

use std::io::Read;

use serde_json::json;
use time::{Duration, OffsetDateTime};
use tower_webhook::key::KeyView;
use tower_webhook::key::{IssuedKey, KeyId, KeyManager, KeyRecord, NewKey, Owner};
use tower_webhook::store::LastUsedSource;

use crate::Streams;
use crate::failure::Failure;
use crate::tables::{details, moment, overview};

/// What is to be done.
pub(crate) enum Command {
    Generate(Owner, NewKey),
    List(Owner),
    Show(Owner, KeyId),
    Extend(Owner, KeyId, Duration),
    Rotate(Owner, KeyId, Duration),
    Disable(Owner, KeyId),
    Enable(Owner, KeyId),
    Revoke(Owner, KeyId),
    Delete(Owner, Vec<KeyId>),
    Verify,
    Init,
}

impl Command {
    pub(crate) async fn execute(
        self,
        keys: &KeyManager,
        usage: Option<&dyn LastUsedSource>,
        json: bool,
        streams: &mut Streams<'_>,
    ) -> Result<(), Failure> {
        let now = || keys.clock().now();
        let shown = match self {
            Self::Generate(owner, new) => {
                return show_once(&keys.generate(&owner, new).await?, json, now(), streams);
            }
            Self::Rotate(owner, id, overlap) => {
                return show_once(&keys.rotate(&owner, &id, overlap).await?, json, now(), streams);
            }
            Self::List(owner) => return list(keys, usage, &owner, json, streams).await,
            Self::Delete(owner, ids) => return Ok(keys.delete(&owner, &ids).await?),
            Self::Verify => return verify(keys, json, streams).await,
            // The store was set up when it was opened.
            Self::Init => return Ok(()),
            Self::Show(owner, id) => keys.get(&owner, &id).await,
            Self::Extend(owner, id, by) => keys.extend(&owner, &id, by).await,
            Self::Disable(owner, id) => keys.disable(&owner, &id).await,
            Self::Enable(owner, id) => keys.enable(&owner, &id).await,
            Self::Revoke(owner, id) => keys.revoke(&owner, &id).await,
        };
        let record = shown?;
        let view = KeyView::new(&record, now());
        if json {
            writeln!(streams.output, "{}", view.to_json())?;
        } else {
            write!(streams.output, "{}", details(&view))?;
        }
        Ok(())
    }
}

/// The one place that writes a secret.
fn show_once(
    issued: &IssuedKey,
    json: bool,
    now: OffsetDateTime,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let view = KeyView::new(issued.record(), now);
    let secret = issued.secret().expose_secret();
    let written = if json {
        let secret = json!(secret);
        writeln!(streams.output, r#"{{"key":{},"secret":{secret}}}"#, view.to_json())
    } else {
        writeln!(streams.output, "{secret}")
    };
    let written = written.and_then(|()| streams.output.flush());
    if let Err(error) = written {
        let id = issued.record().id();
        let text = format!("the key {id} is made and its text could not be written: {error}");
        return Err(Failure { code: 3, text });
    }
    if !json {
        write!(streams.remarks, "{}", details(&view))?;
        writeln!(streams.remarks, "Keep the text of the key: it is not shown again.")?;
    }
    Ok(())
}

async fn list(
    keys: &KeyManager,
    usage: Option<&dyn LastUsedSource>,
    owner: &Owner,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let records = all_keys(keys, owner).await?;
    let used = last_used(usage, &records).await?;
    let now = keys.clock().now();
    let views = records.iter().map(|record| KeyView::new(record, now)).zip(used);
    if json {
        let objects: Vec<_> = views.map(|(view, used)| with_last_used(&view, used)).collect();
        writeln!(streams.output, "[{}]", objects.join(","))?;
    } else {
        write!(streams.output, "{}", overview(views))?;
    }
    Ok(())
}

/// The keys of an owner, page after page.
async fn all_keys(keys: &KeyManager, owner: &Owner) -> Result<Vec<KeyRecord>, Failure> {
    let mut records = Vec::new();
    let mut after = None;
    loop {
        let page = keys.list(owner, after, KeyManager::MAX_PAGE_LEN).await?;
        after = page.next().cloned();
        records.extend(page.into_keys());
        if after.is_none() {
            return Ok(records);
        }
    }
}

/// When each key was last used. Without a store that knows, none was.
async fn last_used(
    usage: Option<&dyn LastUsedSource>,
    records: &[KeyRecord],
) -> Result<Vec<Option<OffsetDateTime>>, Failure> {
    let Some(usage) = usage else {
        return Ok(vec![None; records.len()]);
    };
    let ids: Vec<KeyId> = records.iter().map(|record| record.id().clone()).collect();
    usage.last_used(&ids).await.map_err(|error| Failure::fault(&error))
}

/// The view as an object with one member more. Metadata in it stays as it is, digit by digit.
fn with_last_used(view: &KeyView<'_>, used: Option<OffsetDateTime>) -> String {
    let object = view.to_json();
    let used = json!(used.map(|used| moment(Some(used), "")));
    format!(r#"{},"last_used":{used}}}"#, object.strip_suffix('}').unwrap_or_default())
}

/// Whose key the input is.
async fn verify(keys: &KeyManager, json: bool, streams: &mut Streams<'_>) -> Result<(), Failure> {
    // More than any key has.
    let mut text = Vec::with_capacity(1024);
    streams.input.take(1024).read_to_end(&mut text)?;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let verified = keys.verifier().verify(text).await?;
    if json {
        let answer = json!({
            "id": verified.id(),
            "name": verified.name(),
            "owner": verified.owner(),
            "scopes": verified.scopes(),
        });
        writeln!(streams.output, "{answer}")?;
    } else {
        let record = keys.get(verified.owner(), verified.id()).await?;
        write!(streams.output, "{}", details(&KeyView::new(&record, keys.clock().now())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::io;

    use super::*;
    use crate::run;
    use crate::tests::{NOW, id_of, memory, run_with};

    struct Noon;

    #[async_trait::async_trait]
    impl LastUsedSource for Noon {
        async fn last_used(
            &self,
            ids: &[KeyId],
        ) -> Result<Vec<Option<OffsetDateTime>>, tower_webhook::key::StoreError> {
            Ok(vec![Some(NOW); ids.len()])
        }
    }

    #[tokio::test]
    async fn a_list_tells_when_keys_were_last_used() {
        let keys = memory();
        run_with(&keys, "generate --owner alice --name ci", "").await;
        for (json, expected) in [
            (false, "  never    2026-11-24T12:00:00Z\n"),
            (true, ",\"last_used\":\"2026-11-24T12:00:00Z\"}]\n"),
        ] {
            let mut output = Vec::new();
            let mut streams =
                Streams { input: &mut io::empty(), output: &mut output, remarks: &mut io::sink() };
            let alice = Owner::new("alice").unwrap();
            list(&keys, Some(&Noon), &alice, json, &mut streams).await.unwrap();
            let output = String::from_utf8(output).unwrap();
            assert!(output.ends_with(expected), "{output}");
        }
    }

    #[tokio::test]
    async fn a_list_goes_on_after_the_first_page() {
        let keys = memory();
        let alice = Owner::new("alice").unwrap();
        for _ in 0..=KeyManager::MAX_PAGE_LEN {
            keys.generate(&alice, NewKey::new("ci")).await.unwrap();
        }
        let listed = run_with(&keys, "list --owner alice", "").await;
        let mut ids: Vec<_> = listed.output.lines().skip(1).map(|line| &line[..16]).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), KeyManager::MAX_PAGE_LEN + 1);
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_written_is_told() {
        let keys = memory();
        let (mut none, mut remarks) = ([0_u8; 0], Vec::new());
        let streams = Streams {
            input: &mut io::empty(),
            output: &mut none.as_mut_slice(),
            remarks: &mut remarks,
        };
        let line = "generate --owner alice --name a".split(' ').map(OsString::from);
        let open = async |_: Option<&str>, _: bool| Ok((keys.clone(), None));
        assert_eq!(run(line, open, streams).await, 3);
        let remarks = String::from_utf8(remarks).unwrap();
        assert!(remarks.contains(&id_of(&keys).await), "{remarks}");
    }
}
