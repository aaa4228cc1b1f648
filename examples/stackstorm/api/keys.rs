//! API keys are made, listed, read, changed and deleted, by their owner.

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use tower_webhook::content::json::JsonKind;
use tower_webhook::key::{KeyId, KeyRecord, KeyUpdate, NewKey, Owner};

use super::{Answer, Call, Server, page_of, value};
use crate::answer::{Refusal, json, no_content};
use crate::json::{Members, Object, Value, sent};
use crate::payload::Accepts;
use crate::schema::not_of_type;
use crate::scopes::Grants;
use crate::storage::{KeyDetails, timestamp};

/// The mask of a text that is not shown.
const MASK: &str = "********";

/// The members that a new key may have.
const NEW: [&str; 4] = ["user", "metadata", "enabled", "scopes"];

/// The members of a change: all that a record has, so that it can be sent back as it was read.
const CHANGED: [&str; 9] =
    ["enabled", "metadata", "key_hash", "user", "scopes", "id", "uid", "key", "created_at"];

impl Server {
    /// Oldest first.
    pub(super) async fn list_keys(&self, call: &Call<'_>) -> Answer {
        let query = call.query();
        let page = query.page().map_err(Refusal::invalid)?;
        let user = &call.caller.user;
        if !query.filter("user").fits(user.as_str()) {
            return Ok(page_of(Vec::new(), page));
        }
        let records = self.accounts.api_keys_of(user).await?;
        let ids = records.iter().map(|record| record.id().as_str());
        let mut details = self.storage.details_of_keys(ids).await?;
        let shown = |record: KeyRecord| {
            // A key without details is being made or deleted.
            let details = details.remove(record.id().as_str())?;
            Some(ApiKey { record, details }.masked())
        };
        Ok(page_of(records.into_iter().filter_map(shown).collect(), page))
    }

    pub(super) async fn view_key(&self, call: &Call<'_>, id: &str) -> Answer {
        let key = self.key(&call.caller.user, id).await?;
        Ok(json(StatusCode::OK, key.masked()))
    }

    pub(super) async fn create_key(&self, call: &Call<'_>) -> Answer {
        let text = call.read(Accepts::JsonOnly)?;
        let members = object(&text)?;
        let change = Change::read(&members, &NEW).map_err(Refusal::invalid)?;
        let caller = call.caller;
        if change.user.is_some_and(|user| user != caller.user.as_str()) {
            return Err(Refusal::forbidden("A key is made for its caller alone."));
        }
        let grants = change.scopes.as_ref().map_or(&Grants::All, |(_, grants)| grants);
        if !caller.grants.cover(grants) {
            return Err(Refusal::forbidden("A key cannot do more than the one that makes it."));
        }
        let details = KeyDetails {
            metadata: change.metadata.unwrap_or_else(|| "{}".to_owned()),
            scopes: change.scopes.map(|(text, _)| text),
        };
        let new = NewKey::new("api key").with_disabled(change.enabled == Some(false));
        let issued = self.accounts.api_keys().generate(&caller.user, new).await?;
        let (record, secret) = issued.into_parts();
        self.storage.put_key_details(record.id().as_str(), &details).await?;
        let uid = format!("api_key:{}", record.id());
        let shown = ApiKey { record, details }.common(&uid).text("key", secret.expose_secret());
        let mut response = json(StatusCode::CREATED, shown.finish());
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    pub(super) async fn change_key(&self, call: &Call<'_>, id: &str) -> Answer {
        let text = call.read(Accepts::JsonOnly)?;
        let members = object(&text)?;
        let _turn = self.key_changes.lock().await;
        let ApiKey { record, mut details } = self.key(&call.caller.user, id).await?;
        let change = Change::read(&members, &CHANGED).map_err(Refusal::invalid)?;
        change.check(&record, &details).map_err(Refusal::invalid)?;
        if let Some(metadata) = change.metadata {
            details.metadata = metadata;
            self.storage.put_key_details(record.id().as_str(), &details).await?;
        }
        let record = match change.enabled {
            None => record,
            Some(enabled) => {
                let update = KeyUpdate::new().with_disabled(!enabled);
                self.accounts.api_keys().update(record.owner(), record.id(), update).await?
            }
        };
        Ok(json(StatusCode::OK, ApiKey { record, details }.masked()))
    }

    pub(super) async fn delete_key(&self, call: &Call<'_>, id: &str) -> Answer {
        let _turn = self.key_changes.lock().await;
        let ApiKey { record, .. } = self.key(&call.caller.user, id).await?;
        self.accounts.api_keys().delete(record.owner(), &[record.id().clone()]).await?;
        self.storage.delete_key_details(record.id().as_str()).await?;
        Ok(no_content())
    }

    /// The key of this user with this id.
    async fn key(&self, user: &Owner, id: &str) -> Result<ApiKey, Refusal> {
        let unknown = || Refusal::not_found("The API key is not found.");
        let id = KeyId::new(id).map_err(|_| unknown())?;
        let record = self.accounts.api_keys().get(user, &id).await?;
        let details = self.storage.key_details(id.as_str()).await?.ok_or_else(unknown)?;
        Ok(ApiKey { record, details })
    }
}

/// A key, as its owner sees it.
struct ApiKey {
    record: KeyRecord,
    details: KeyDetails,
}

impl ApiKey {
    /// The key as a JSON text that shows no part of it.
    fn masked(&self) -> String {
        self.common(MASK).text("key_hash", MASK).finish()
    }

    fn common(&self, uid: &str) -> Object {
        Object::new()
            .text("id", self.record.id().as_str())
            .text("uid", uid)
            .text("user", self.record.owner().as_str())
            .raw("metadata", &self.details.metadata)
            .text("created_at", &timestamp(self.record.created_at()))
            .bool("enabled", !self.record.disabled())
            .maybe("scopes", self.details.scopes.as_deref())
    }
}

/// What is to be made, or to be changed.
struct Change {
    user: Option<String>,
    enabled: Option<bool>,
    /// A JSON object, as it was sent.
    metadata: Option<String>,
    /// A JSON array, as it was sent, and what it allows.
    scopes: Option<(String, Grants)>,
}

impl Change {
    fn read(members: &Members<'_>, known: &[&str]) -> Result<Self, String> {
        if !members.iter().all(|(name, _)| known.contains(&&**name)) {
            return Err("An API key has no member of this name.".to_owned());
        }
        let is_masked = |hash: String| hash.is_empty() || hash == MASK;
        if let Some(hash) = sent(members, "key_hash")
            && !hash.as_text().is_some_and(is_masked)
        {
            return Err("Update of key_hash is not allowed.".to_owned());
        }
        let wrong = |name: &str, kind: &str| format!("'{name}' {}", not_of_type([kind]));
        let user = match sent(members, "user") {
            Some(user) => Some(user.as_text().ok_or_else(|| wrong("user", "string"))?),
            None => None,
        };
        let enabled = match sent(members, "enabled") {
            Some(enabled) => Some(enabled.as_bool().ok_or_else(|| wrong("enabled", "boolean"))?),
            None => None,
        };
        let metadata = match sent(members, "metadata") {
            Some(metadata) if metadata.kind() == JsonKind::Object => Some(metadata.text()),
            Some(_) => return Err(wrong("metadata", "object")),
            None => None,
        };
        let scopes = match sent(members, "scopes") {
            Some(scopes) => Some((scopes.text().to_owned(), Grants::read(scopes)?)),
            None => None,
        };
        Ok(Self { user, enabled, metadata: metadata.map(str::to_owned), scopes })
    }

    /// Owner and scopes stay what they are.
    fn check(&self, record: &KeyRecord, details: &KeyDetails) -> Result<(), String> {
        if self.user.as_ref().is_some_and(|user| user != record.owner().as_str()) {
            return Err("Update of user is not allowed.".to_owned());
        }
        let texts = |scopes: &str| Value::read(scopes.as_bytes()).ok()?.as_texts();
        let stays = |(scopes, _): &(String, Grants)| {
            details.scopes.as_ref().is_some_and(|stored| texts(stored) == texts(scopes))
        };
        if !self.scopes.as_ref().is_none_or(stays) {
            return Err("Update of scopes is not allowed.".to_owned());
        }
        Ok(())
    }
}

/// The members of the record in a body that are sent: `null` is not.
fn object(text: &str) -> Result<Members<'_>, Refusal> {
    let not_an_object = || Refusal::invalid(format!("The API key {}", not_of_type(["object"])));
    let mut members = value(text)?.as_object().ok_or_else(not_an_object)?;
    members.retain(|(_, value)| value.kind() != JsonKind::Null);
    Ok(members)
}
