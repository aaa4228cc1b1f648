use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::key::{KeyRecord, KeyState, Scopes};
use crate::rate_limit::Quota;

/// The public view of a key: its record without digests and sealed text.
///
/// In JSON, as in the responses of the management API:
///
/// | member | value |
/// |---|---|
/// | `id`, `name`, `owner` | texts |
/// | `scopes` | a list of texts, or `"all"` |
/// | `created_at` | a time of RFC 3339, in UTC |
/// | `not_before`, `expires_at`, `revoked_at` | the same, or `null` |
/// | `disabled` | `true` or `false` |
/// | `state` | [`KeyState::as_str`]: `active`, `not_yet_valid`, `expired`, `disabled` or `revoked` |
/// | `rate_limit` | `{"burst": 60, "period": 1.0}`: calls at once, and seconds until one more; or `null` |
/// | `last_used` | a time, or `null`: only after [`with_last_used`](Self::with_last_used) |
/// | `metadata` | the application's own data, or `null` |
///
/// # Examples
///
/// ```
/// use tower_webhook::key::{KeyManager, KeyView, NewKey, Owner};
/// use tower_webhook::store::MemoryKeyStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = KeyManager::new(MemoryKeyStore::new());
/// let new = NewKey::new("laptop").with_metadata(r#"{"cost": 1.10}"#);
/// let issued = keys.generate(&Owner::new("ann")?, new).await?;
///
/// let text = KeyView::new(issued.record(), keys.clock().now()).to_json();
/// assert!(text.ends_with(r#""rate_limit":null,"metadata":{"cost": 1.10}}"#));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KeyView<'a> {
    record: &'a KeyRecord,
    state: KeyState,
    last_used: Option<Option<OffsetDateTime>>,
}

impl<'a> KeyView<'a> {
    /// The key as it is at the time `now`.
    #[must_use]
    pub fn new(record: &'a KeyRecord, now: OffsetDateTime) -> Self {
        Self { record, state: record.state_at(now), last_used: None }
    }

    /// Adds when the key was last used, as a [`LastUsedSource`](crate::store::LastUsedSource) says. `None`: no use is known.
    #[must_use]
    pub const fn with_last_used(mut self, last_used: Option<OffsetDateTime>) -> Self {
        self.last_used = Some(last_used);
        self
    }

    /// The record.
    #[must_use]
    pub const fn record(&self) -> &'a KeyRecord {
        self.record
    }

    /// The state of the key.
    #[must_use]
    pub const fn state(&self) -> KeyState {
        self.state
    }

    /// The JSON text, with the metadata as it was stored, byte for byte.
    ///
    /// `Serialize` gives the same value, without the digits of numbers and the order of members in the
    /// metadata.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Cannot fail: the members are texts, booleans, finite numbers and lists of texts.
        let mut text = serde_json::to_string(&self.members(None)).unwrap_or_default();
        text.pop();
        text.push_str(r#","metadata":"#);
        text.push_str(self.record.metadata().unwrap_or("null"));
        text.push('}');
        text
    }

    /// JSON Schema (2020-12, as in OpenAPI 3.1) of the JSON text.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::key::KeyView;
    ///
    /// let schema = KeyView::json_schema();
    /// assert_eq!(schema["properties"]["disabled"]["type"], "boolean");
    /// ```
    #[must_use]
    pub fn json_schema() -> Value {
        let states = [
            KeyState::Active,
            KeyState::NotYetValid,
            KeyState::Expired,
            KeyState::Disabled,
            KeyState::Revoked,
        ];
        let text = json!({"type": "string"});
        let time = json!({"type": "string", "format": "date-time"});
        let time_or_null = json!({"type": ["string", "null"], "format": "date-time"});
        let rate_limit = json!({
            "description": "Calls at once, and seconds until one more. `null`: the server decides.",
            "type": ["object", "null"],
            "required": ["burst", "period"],
            "properties": {
                "burst": {"type": "integer", "minimum": 1},
                "period": {"type": "number", "exclusiveMinimum": 0},
            },
        });
        let members = json!({
            "id": text,
            "name": text,
            "owner": text,
            "scopes": {"oneOf": [{"const": "all"}, {"type": "array", "items": text}]},
            "created_at": time,
            "not_before": time_or_null,
            "expires_at": time_or_null,
            "disabled": {"type": "boolean"},
            "revoked_at": time_or_null,
            "state": {"enum": states.map(KeyState::as_str)},
            "rate_limit": rate_limit,
            "last_used": {
                "type": ["string", "null"],
                "format": "date-time",
                "description": "When the key was last used, where that is known and asked for.",
            },
            "metadata": {"description": "Any value, as it was set. `null` is none."},
        });
        let names = members.as_object().into_iter().flat_map(Map::keys);
        let required: Vec<_> = names.filter(|name| *name != "last_used").collect();
        json!({"type": "object", "required": required, "properties": members})
    }

    fn members(&self, metadata: Option<Metadata<'a>>) -> Members<'a> {
        Members {
            id: self.record.id().as_str(),
            name: self.record.name(),
            owner: self.record.owner().as_str(),
            scopes: self.record.scopes(),
            created_at: rfc3339(self.record.created_at()),
            not_before: self.record.not_before().map(rfc3339),
            expires_at: self.record.expires_at().map(rfc3339),
            disabled: self.record.disabled(),
            revoked_at: self.record.revoked_at().map(rfc3339),
            state: self.state.as_str(),
            rate_limit: self.record.rate_limit().map(RateLimit::from),
            last_used: self.last_used.map(|time| time.map(rfc3339)),
            metadata,
        }
    }
}

impl Serialize for KeyView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.members(Some(Metadata(self.record.metadata()))).serialize(serializer)
    }
}

#[derive(Serialize)]
struct Members<'a> {
    id: &'a str,
    name: &'a str,
    owner: &'a str,
    scopes: &'a Scopes,
    created_at: String,
    not_before: Option<String>,
    expires_at: Option<String>,
    disabled: bool,
    revoked_at: Option<String>,
    state: &'static str,
    rate_limit: Option<RateLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
}

#[derive(Serialize)]
struct RateLimit {
    burst: u32,
    period: f64,
}

impl From<Quota> for RateLimit {
    fn from(quota: Quota) -> Self {
        Self { burst: quota.burst(), period: quota.period().as_secs_f64() }
    }
}

/// A JSON text as a value. One with a number that no `f64` can hold stays a text.
struct Metadata<'a>(Option<&'a str>);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.map(|text| (serde_json::from_str::<Value>(text), text)) {
            None => serializer.serialize_none(),
            Some((Ok(value), _)) => value.serialize(serializer),
            Some((Err(_), text)) => serializer.serialize_str(text),
        }
    }
}

/// Cannot fail: times of records are in the years of RFC 3339.
fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Owner;
    use crate::key::fixtures::{at, digest, id};

    fn record() -> KeyRecord {
        let owner = Owner::new("a\"b").unwrap();
        KeyRecord::new(id("k1"), owner, "laptop", digest("a"), at(0)).unwrap()
    }

    #[test]
    fn every_member_is_there_and_no_digest() {
        let plain = KeyView::new(&record(), at(0)).to_json();
        let expected = concat!(
            r#"{"id":"k1","name":"laptop","owner":"a\"b","scopes":[],"#,
            r#""created_at":"1970-01-01T00:00:00Z","not_before":null,"expires_at":null,"#,
            r#""disabled":false,"revoked_at":null,"state":"active","rate_limit":null,"metadata":null}"#
        );
        assert_eq!(plain, expected);

        let record = record()
            .with_scopes(Scopes::ALL)
            .with_previous_digest(Some((record().digest().clone(), at(9))))
            .with_expires_at(Some(at(5)))
            .with_not_before(Some(at(1)))
            .with_disabled(true)
            .with_revoked_at(Some(at(3)))
            .with_rate_limit(Some(Quota::per_minute(7).unwrap()))
            .with_metadata(Some(r#"{"b": 1.10, "a": 1}"#))
            .unwrap();
        let full = KeyView::new(&record, at(0)).to_json();
        let expected = concat!(
            r#"{"id":"k1","name":"laptop","owner":"a\"b","scopes":"all","#,
            r#""created_at":"1970-01-01T00:00:00Z","not_before":"1970-01-01T00:00:01Z","#,
            r#""expires_at":"1970-01-01T00:00:05Z","disabled":true,"#,
            r#""revoked_at":"1970-01-01T00:00:03Z","state":"revoked","#,
            r#""rate_limit":{"burst":7,"period":8.571429},"metadata":{"b": 1.10, "a": 1}}"#
        );
        assert_eq!(full, expected);
    }

    #[test]
    fn the_schema_has_the_members_of_the_text() {
        let record = record();
        let members = |view: KeyView<'_>| -> Vec<String> {
            let text: Map<String, Value> = serde_json::from_str(&view.to_json()).unwrap();
            text.keys().cloned().collect()
        };
        let (plain, schema) = (KeyView::new(&record, at(0)), KeyView::json_schema());
        let all = schema["properties"].as_object().unwrap();
        assert!(all.keys().eq(&members(plain.with_last_used(None))), "{schema}");
        assert_eq!(schema["required"], serde_json::json!(members(plain)));
    }

    #[test]
    fn the_last_use_is_there_where_it_was_asked_for() {
        let record = record();
        let view = KeyView::new(&record, at(0));
        for (view, expected) in [
            (view, r#""state":"active","rate_limit":null,"metadata":null}"#),
            (view.with_last_used(None), r#""last_used":null,"metadata":null}"#),
            (
                view.with_last_used(Some(at(7))),
                r#""last_used":"1970-01-01T00:00:07Z","metadata":null}"#,
            ),
        ] {
            assert!(view.to_json().ends_with(expected), "{}", view.to_json());
            let text: Value = serde_json::from_str(&view.to_json()).unwrap();
            assert_eq!(serde_json::to_value(view).unwrap(), text);
        }
    }

    #[test]
    fn the_serialized_value_is_that_of_the_text() {
        for metadata in ["{}", "null", "[1, {\"a\": \"b\"}]", "\"text\""] {
            let record = record().with_metadata(Some(metadata)).unwrap();
            let view = KeyView::new(&record, at(0));
            let text: Value = serde_json::from_str(&view.to_json()).unwrap();
            assert_eq!(serde_json::to_value(view).unwrap(), text, "{metadata}");
        }
        let record = record().with_metadata(Some("[1e999]")).unwrap();
        let value = serde_json::to_value(KeyView::new(&record, at(0))).unwrap();
        if serde_json::from_str::<Value>("[1e999]").is_err() {
            assert_eq!(value["metadata"], json!("[1e999]"));
        }
    }
}
