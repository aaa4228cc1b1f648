//! The calls of [`KeyStore`](crate::key::KeyStore), as commands.

use redis::Value;

use super::commands::{Lua, Written, list, text};
use super::names::{member, member_at, member_id};
use super::{RedisKeyStore, RedisStoreError, RedisStoreErrorKind};
use crate::key::{KeyId, KeyRecord, Owner, PageCursor, WriteOutcome};

/// How often a change is tried whose record changes in between. The second time its version does.
const MAX_ATTEMPTS: usize = 16;
/// How many records of a list are read in one round trip.
const CHUNK_LEN: usize = 64;

impl RedisKeyStore {
    pub(super) async fn find_record(
        &self,
        id: &KeyId,
    ) -> Result<Option<KeyRecord>, RedisStoreError> {
        let mut pipeline = self.pipeline();
        pipeline.arg("GET", self.names().record(id));
        let mut answers = pipeline.query(self.link()).await?;
        let Some(text) = text(answers.pop().unwrap_or_default())? else {
            return Ok(None);
        };
        Ok(Some(decode(&text, id)?))
    }

    /// The records of these ids, without those that were removed.
    pub(super) async fn records_that_are_there(
        &self,
        ids: &[KeyId],
    ) -> Result<Vec<KeyRecord>, RedisStoreError> {
        let mut records = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(CHUNK_LEN) {
            let mut pipeline = self.pipeline();
            for id in chunk {
                pipeline.arg("GET", self.names().record(id));
            }
            for (id, answer) in chunk.iter().zip(pipeline.query(self.link()).await?) {
                if let Some(text) = text(answer)? {
                    records.push(decode(&text, id)?);
                }
            }
        }
        Ok(records)
    }

    /// The records and their texts, or `None` if one of them is not there. Whether the connection is
    /// alive shows as well, before a change that is sent only once goes over it.
    async fn read_for_change(
        &self,
        ids: &[KeyId],
    ) -> Result<Option<Vec<(KeyRecord, String)>>, RedisStoreError> {
        let mut pipeline = self.pipeline();
        for id in ids {
            pipeline.arg("GET", self.names().record(id));
        }
        let answers = pipeline.query(self.change_link()).await?;
        let mut records = Vec::with_capacity(ids.len());
        for (id, answer) in ids.iter().zip(answers) {
            let Some(text) = text(answer)? else {
                return Ok(None);
            };
            let record = decode(&text, id)?;
            let text = String::from_utf8(text).map_err(|_| RedisStoreErrorKind::InvalidRecord)?;
            records.push((record, text));
        }
        Ok(Some(records))
    }

    pub(super) async fn insert_record(
        &self,
        record: &KeyRecord,
    ) -> Result<WriteOutcome, RedisStoreError> {
        self.read_for_change(&[]).await?;
        let call = self
            .script(Lua::insert())
            .keys([self.names().record(record.id()), self.names().index(record.owner())])
            .arguments([record.id().to_string(), record.encode(), member(record)]);
        match call.execute(self.change_link(), self.wait).await? {
            Written::Done => Ok(WriteOutcome::Applied),
            Written::Mismatch => Ok(WriteOutcome::Conflict),
        }
    }

    pub(super) async fn replace_record(
        &self,
        record: &KeyRecord,
        expected_version: u64,
    ) -> Result<WriteOutcome, RedisStoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let stored = self.read_for_change(std::slice::from_ref(record.id())).await?;
            let Some((old, text)) = stored.and_then(|mut stored| stored.pop()) else {
                return Ok(WriteOutcome::Conflict);
            };
            if old.version() != expected_version {
                return Ok(WriteOutcome::Conflict);
            }
            let call = self
                .script(Lua::replace())
                .keys([
                    self.names().record(record.id()),
                    self.names().index(old.owner()),
                    self.names().index(record.owner()),
                ])
                .arguments([
                    record.id().to_string(),
                    text,
                    record.encode(),
                    member(&old),
                    member(record),
                ]);
            if call.execute(self.change_link(), self.wait).await? == Written::Done {
                return Ok(WriteOutcome::Applied);
            }
        }
        Err(RedisStoreErrorKind::Contention.into())
    }

    pub(super) async fn remove_records(
        &self,
        owner: &Owner,
        ids: &[KeyId],
    ) -> Result<WriteOutcome, RedisStoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(stored) = self.read_for_change(ids).await? else {
                return Ok(WriteOutcome::Conflict);
            };
            if stored.iter().any(|(record, _)| record.owner() != owner) {
                return Ok(WriteOutcome::Conflict);
            }
            let mut call =
                self.script(Lua::remove()).keys([self.names().index(owner), self.names().usage()]);
            for (record, text) in &stored {
                call = call.keys([self.names().record(record.id())]).arguments([
                    record.id().to_string(),
                    text.clone(),
                    member(record),
                ]);
            }
            if call.execute(self.change_link(), self.wait).await? == Written::Done {
                return Ok(WriteOutcome::Applied);
            }
        }
        Err(RedisStoreErrorKind::Contention.into())
    }

    pub(super) async fn list_records(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, RedisStoreError> {
        let mut records = Vec::new();
        let mut start =
            after.map_or_else(|| "-".to_owned(), |after| format!("({}", member_at(after)));
        while records.len() < limit {
            let wanted = limit - records.len();
            let members = self.members(owner, &start, wanted).await?;
            for chunk in members.chunks(CHUNK_LEN) {
                self.read_members(owner, chunk, &mut records).await?;
            }
            match members.last() {
                Some((last, _)) if members.len() == wanted => start = format!("({last}"),
                _ => break,
            }
        }
        Ok(records)
    }

    /// The next members of an owner's index, and the ids in them.
    async fn members(
        &self,
        owner: &Owner,
        start: &str,
        limit: usize,
    ) -> Result<Vec<(String, KeyId)>, RedisStoreError> {
        let mut pipeline = self.pipeline();
        let index = self.names().index(owner);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        pipeline.arg("ZRANGE", (&index, start, "+", "BYLEX", "LIMIT", 0, limit));
        let mut answers = pipeline.query(self.link()).await?;
        let invalid = || RedisStoreError::new(RedisStoreErrorKind::InvalidRecord);
        let mut members = Vec::new();
        for answer in list(answers.pop().unwrap_or_default())? {
            let member = text(answer)?.ok_or_else(invalid)?;
            let id = member_id(&member).ok_or_else(invalid)?;
            members.push((String::from_utf8(member).map_err(|_| invalid())?, id));
        }
        Ok(members)
    }

    /// The records of members, in their order, without those that were removed since.
    async fn read_members(
        &self,
        owner: &Owner,
        members: &[(String, KeyId)],
        records: &mut Vec<KeyRecord>,
    ) -> Result<(), RedisStoreError> {
        let mut pipeline = self.pipeline();
        for (_, id) in members {
            pipeline.arg("GET", self.names().record(id));
        }
        // Whether the index still has them, asked after the records: what is in the index and was not
        // found before is lost.
        let names: Vec<&str> = members.iter().map(|(member, _)| member.as_str()).collect();
        pipeline.arg("ZMSCORE", (self.names().index(owner), names));
        let mut answers = pipeline.query(self.link()).await?;
        let scores = list(answers.pop().unwrap_or_default())?;
        for (((name, id), answer), score) in members.iter().zip(answers).zip(scores) {
            let is_member = score != Value::Nil;
            let record = text(answer)?.map(|text| decode(&text, id)).transpose()?;
            match record {
                Some(record) if record.owner() == owner && member(&record) == *name => {
                    records.push(record);
                }
                _ if is_member => return Err(RedisStoreErrorKind::InvalidRecord.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The record in a text that was stored under this id.
fn decode(text: &[u8], id: &KeyId) -> Result<KeyRecord, RedisStoreError> {
    let record = KeyRecord::decode(text)?;
    if record.id() == id { Ok(record) } else { Err(RedisStoreErrorKind::InvalidRecord.into()) }
}
