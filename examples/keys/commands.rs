//! What the commands do, and what they write.

use std::io::Read;

use serde_json::json;
use time::{Duration, OffsetDateTime};
use tower_webhook::key::{
    IssuedKey, KeyId, KeyManager, KeyRecord, KeyView, NewKey, Owner, PageCursor,
};
use tower_webhook::store::{KeyScan, LastUsedSource};

use crate::failure::Failure;
use crate::tables::{details, moment, overview};
use crate::{Opened, Streams};

/// What is to be done.
pub(crate) enum Command {
    Generate(Owner, NewKey),
    /// The keys of one owner or of all.
    List {
        owner: Option<Owner>,
        unused_for: Option<Duration>,
    },
    /// By an id or a text, which standard input has if it is not here.
    Find(Option<String>),
    Show(One),
    Extend(One, Duration),
    Rotate(One, Duration),
    Disable(One),
    Enable(One),
    Revoke(One),
    Delete(Owner, Vec<KeyId>),
    Verify,
    Init,
}

/// A key, of this owner if there is one here.
pub(crate) struct One {
    pub(crate) owner: Option<Owner>,
    pub(crate) id: KeyId,
}

impl Command {
    pub(crate) async fn execute(
        self,
        opened: &Opened,
        json: bool,
        streams: &mut Streams<'_>,
    ) -> Result<(), Failure> {
        let keys = &opened.keys;
        let now = || keys.clock().now();
        let record = match self {
            Self::Generate(owner, new) => {
                return show_once(&keys.generate(&owner, new).await?, json, now(), streams);
            }
            Self::Rotate(key, overlap) => {
                let (owner, id) = key.owned(keys).await?;
                return show_once(&keys.rotate(&owner, &id, overlap).await?, json, now(), streams);
            }
            Self::List { owner, unused_for } => {
                return list(opened, owner.as_ref(), unused_for, json, streams).await;
            }
            Self::Delete(owner, ids) => return Ok(keys.delete(&owner, &ids).await?),
            Self::Verify => return verify(keys, json, streams).await,
            // The store was set up when it was opened.
            Self::Init => return Ok(()),
            Self::Find(text) => find(keys, text, streams).await?,
            Self::Show(key) => {
                let (owner, id) = key.owned(keys).await?;
                keys.get(&owner, &id).await?
            }
            Self::Extend(key, by) => {
                let (owner, id) = key.owned(keys).await?;
                keys.extend(&owner, &id, by).await?
            }
            Self::Disable(key) => {
                let (owner, id) = key.owned(keys).await?;
                keys.disable(&owner, &id).await?
            }
            Self::Enable(key) => {
                let (owner, id) = key.owned(keys).await?;
                keys.enable(&owner, &id).await?
            }
            Self::Revoke(key) => {
                let (owner, id) = key.owned(keys).await?;
                keys.revoke(&owner, &id).await?
            }
        };
        let view = KeyView::new(&record, now());
        if json {
            writeln!(streams.output, "{}", view.to_json())?;
        } else {
            write!(streams.output, "{}", details(&view))?;
        }
        Ok(())
    }
}

impl One {
    /// The id, and the owner that was given or that the key has.
    async fn owned(self, keys: &KeyManager) -> Result<(Owner, KeyId), Failure> {
        let owner = match self.owner {
            Some(owner) => owner,
            None => keys.find(&self.id).await?.owner().clone(),
        };
        Ok((owner, self.id))
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
    opened: &Opened,
    owner: Option<&Owner>,
    unused_for: Option<Duration>,
    json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let records = match owner {
        Some(owner) => all_keys(&opened.keys, owner).await?,
        None => keys_of_all_owners(&*opened.scan).await?,
    };
    let now = opened.keys.clock().now();
    let used = last_used(opened.last_used.as_deref(), &records).await?;
    let mut keys: Vec<_> = records.iter().zip(used).collect();
    if let Some(unused_for) = unused_for {
        if opened.last_used.is_none() {
            return Err(Failure::usage("this store does not keep when keys were last used"));
        }
        // A new key has had no time to be used.
        let is_unused = |record: &KeyRecord, used: Option<OffsetDateTime>| {
            record.revoked_at().is_none() && now - used.unwrap_or(record.created_at()) >= unused_for
        };
        keys.retain(|(record, used)| is_unused(record, *used));
    }
    let views = keys.into_iter().map(|(record, used)| (KeyView::new(record, now), used));
    if json {
        let objects: Vec<_> = views.map(|(view, used)| with_last_used(&view, used)).collect();
        writeln!(streams.output, "[{}]", objects.join(","))?;
    } else {
        write!(streams.output, "{}", overview(views))?;
    }
    Ok(())
}

/// Owner by owner, oldest first. A scan may visit a record twice.
async fn keys_of_all_owners(scan: &dyn KeyScan) -> Result<Vec<KeyRecord>, Failure> {
    let mut records = Vec::new();
    let scanned = scan.scan(&mut |record| records.push(record)).await;
    scanned.map_err(|error| Failure::fault(&error))?;
    let place = |record: &KeyRecord| (record.owner().clone(), PageCursor::of(record));
    records.sort_by_cached_key(place);
    records.dedup_by(|one, other| one.id() == other.id());
    Ok(records)
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
    source: Option<&dyn LastUsedSource>,
    records: &[KeyRecord],
) -> Result<Vec<Option<OffsetDateTime>>, Failure> {
    let Some(source) = source else {
        return Ok(vec![None; records.len()]);
    };
    let mut used = Vec::with_capacity(records.len());
    for page in records.chunks(KeyManager::MAX_PAGE_LEN) {
        let ids: Vec<KeyId> = page.iter().map(|record| record.id().clone()).collect();
        let times = source.last_used(&ids).await;
        used.extend(times.map_err(|error| Failure::fault(&error))?);
    }
    Ok(used)
}

/// The view as an object with one member more. Metadata in it stays as it is, digit by digit.
fn with_last_used(view: &KeyView<'_>, used: Option<OffsetDateTime>) -> String {
    let object = view.to_json();
    let used = json!(used.map(|used| moment(Some(used), "")));
    format!(r#"{},"last_used":{used}}}"#, object.strip_suffix('}').unwrap_or_default())
}

/// The text of a key, from standard input.
fn read_text(streams: &mut Streams<'_>) -> Result<Vec<u8>, Failure> {
    // More than any key has.
    let mut text = Vec::with_capacity(1024);
    (&mut *streams.input).take(1024).read_to_end(&mut text)?;
    if text.ends_with(b"\n") {
        text.pop();
    }
    if text.ends_with(b"\r") {
        text.pop();
    }
    Ok(text)
}

/// Whose key the input is.
async fn verify(keys: &KeyManager, json: bool, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let verified = keys.verifier().verify(&read_text(streams)?).await?;
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

/// The key of an id, or of a text that may be refused: one that leaked is to be found when it is revoked, too.
async fn find(
    keys: &KeyManager,
    text: Option<String>,
    streams: &mut Streams<'_>,
) -> Result<KeyRecord, Failure> {
    let text = match text {
        Some(text) => text.into_bytes(),
        None => read_text(streams)?,
    };
    let named = match keys.verifier().verify(&text).await {
        Ok(verified) => Some(verified.id().clone()),
        Err(error) => error.key_id().cloned(),
    };
    // What is no text of a key is an id.
    let id = named.or_else(|| KeyId::new(std::str::from_utf8(&text).ok()?).ok());
    let id = id.ok_or_else(|| Failure::refused("the key is not found"))?;
    Ok(keys.find(&id).await?)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::io;
    use std::sync::Arc;

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
        let keys = Opened { last_used: Some(Arc::new(Noon)), ..memory() };
        run_with(&keys, "generate --owner alice --name ci", "").await;
        for (line, expected) in [
            ("list --owner alice", "  never    2026-11-24T12:00:00Z\n"),
            ("list --json --all", ",\"last_used\":\"2026-11-24T12:00:00Z\"}]\n"),
            ("list --all --unused-for 0s", "  never    2026-11-24T12:00:00Z\n"),
            ("list --json --all --unused-for 1s", "[]\n"),
        ] {
            let listed = run_with(&keys, line, "").await;
            assert!(listed.output.ends_with(expected), "{line} {}", listed.output);
        }
        run_with(&keys, &format!("revoke {}", id_of(&keys).await), "").await;
        let listed = run_with(&keys, "list --json --all --unused-for 0s", "").await;
        assert_eq!(listed.output, "[]\n");
    }

    #[tokio::test]
    async fn without_times_of_use_no_key_is_called_unused() {
        let listed = run_with(&memory(), "list --all --unused-for 90d", "").await;
        assert_eq!((listed.code, listed.output.as_str()), (2, ""));
        assert!(listed.remarks.contains("last used"), "{}", listed.remarks);
    }

    #[tokio::test]
    async fn a_list_goes_on_after_the_first_page() {
        let keys = memory();
        let alice = Owner::new("alice").unwrap();
        for _ in 0..=KeyManager::MAX_PAGE_LEN {
            keys.keys.generate(&alice, NewKey::new("ci")).await.unwrap();
        }
        for line in ["list --owner alice", "list --all"] {
            let listed = run_with(&keys, line, "").await;
            let mut ids: Vec<_> = listed.output.lines().skip(1).map(|line| &line[..16]).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), KeyManager::MAX_PAGE_LEN + 1);
        }
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
        let open = async |_: Option<&str>, _: bool| Ok(keys.clone());
        assert_eq!(run(line, open, streams).await, 3);
        let remarks = String::from_utf8(remarks).unwrap();
        assert!(remarks.contains(&id_of(&keys).await), "{remarks}");
    }
}
