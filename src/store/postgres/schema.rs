//! Migrations: the schema of each version.

use super::tables::Tables;

/// The version that this crate reads and writes.
pub(super) const VERSION: i32 = 2;

/// What names of channels begin with.
pub(super) const CHANNEL_PREFIX: &str = "webhook_keys_";

/// The triggers that notify of changes, the event of each, and the rows it reads. An update notifies of the ids
/// before and after it.
const TRIGGERS: [(&str, &str, &str); 5] = [
    ("notify_insert", "INSERT", "REFERENCING NEW TABLE AS changed"),
    ("notify_update", "UPDATE", "REFERENCING NEW TABLE AS changed"),
    ("notify_update_of", "UPDATE", "REFERENCING OLD TABLE AS changed"),
    ("notify_delete", "DELETE", "REFERENCING OLD TABLE AS changed"),
    ("notify_truncate", "TRUNCATE", ""),
];

/// A statement that changes more keys than this sends one notification about everything.
const MAX_NOTIFY: usize = 100;

/// What brings tables of a version, 0 for none, up to date: one step for each version in between.
/// Nothing if the version is unknown.
pub(super) fn steps_from(version: i32, tables: &Tables) -> Option<Vec<String>> {
    let steps = [create(tables), notify_and_last_used(tables)];
    let done = usize::try_from(version).ok()?;
    steps.get(done..).map(<[String]>::to_vec)
}

/// Version 1. `created_at` is what `sortable` computes; `version` has more than the 63 bits of a
/// `bigint`.
fn create(tables: &Tables) -> String {
    format!(
        "CREATE TABLE {keys} (
    id text COLLATE \"C\" PRIMARY KEY,
    record text NOT NULL,
    owner text COLLATE \"C\" NOT NULL
        GENERATED ALWAYS AS (record::jsonb ->> 'owner') STORED,
    name text NOT NULL GENERATED ALWAYS AS (record::jsonb ->> 'name') STORED,
    created_at text COLLATE \"C\" NOT NULL GENERATED ALWAYS AS (
        substr(record::jsonb ->> 'created_at', 1, 19) || '.' || substr(
            rtrim(substr(record::jsonb ->> 'created_at', 21), 'Z') || '000000000', 1, 9
        ) || 'Z'
    ) STORED,
    expires_at text GENERATED ALWAYS AS (record::jsonb ->> 'expires_at') STORED,
    disabled boolean NOT NULL
        GENERATED ALWAYS AS ((record::jsonb ->> 'disabled')::boolean) STORED,
    revoked_at text GENERATED ALWAYS AS (record::jsonb ->> 'revoked_at') STORED,
    version numeric NOT NULL
        GENERATED ALWAYS AS ((record::jsonb ->> 'version')::numeric) STORED,
    CHECK (id = record::jsonb ->> 'id')
);
CREATE INDEX \"{prefix}keys_by_owner\" ON {keys} (owner, created_at, id);
CREATE TABLE {version} (version integer NOT NULL);
INSERT INTO {version} VALUES (1)",
        keys = tables.keys(),
        version = tables.version(),
        prefix = tables.prefix(),
    )
}

/// Version 2 notifies of changes, and keeps when keys were last used. An id has at most 64 bytes, and a message at
/// most 8000.
fn notify_and_last_used(tables: &Tables) -> String {
    let (keys, function) = (tables.keys(), tables.named("keys_notify"));
    let triggers = TRIGGERS.map(|(name, event, rows)| {
        format!(
            "CREATE TRIGGER {name} AFTER {event} ON {keys} {rows}
    FOR EACH STATEMENT EXECUTE FUNCTION {function}();\n"
        )
    });
    format!(
        "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    channel text := '{CHANNEL_PREFIX}' || left(encode(sha256(convert_to(
        TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, 'UTF8')), 'hex'), 32);
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify(channel, '');
    ELSIF (SELECT count(*) FROM (SELECT FROM changed LIMIT {MAX_NOTIFY} + 1) AS few) > {MAX_NOTIFY} THEN
        PERFORM pg_notify(channel, '');
    ELSE
        PERFORM pg_notify(channel, id) FROM changed;
    END IF;
    RETURN NULL;
END $$;
{triggers}CREATE TABLE {usage} (
    id text COLLATE \"C\" PRIMARY KEY
        REFERENCES {keys} ON UPDATE CASCADE ON DELETE CASCADE,
    last_used timestamptz NOT NULL
);
UPDATE {version} SET version = 2",
        usage = tables.usage(),
        triggers = triggers.concat(),
        version = tables.version(),
    )
}

/// A query whether this connection is notified of every change: it listens, and the triggers are on.
pub(super) fn is_listening(tables: &Tables) -> String {
    let names = TRIGGERS.map(|(name, ..)| format!("'{name}'")).join(", ");
    format!(
        "SELECT '{channel}' IN (SELECT pg_listening_channels()) AND {count} = (
    SELECT count(*) FROM pg_trigger WHERE tgrelid = to_regclass('{keys}')
        AND tgenabled IN ('O', 'A') AND tgname IN ({names})) AS is_listening",
        channel = tables.channel(),
        count = TRIGGERS.len(),
        keys = tables.keys(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_step_to_every_version() {
        let tables = Tables::default();
        let steps = steps_from(0, &tables).unwrap();
        assert_eq!(steps.len(), usize::try_from(VERSION).unwrap());
        assert_eq!(steps_from(1, &tables).unwrap(), steps[1..]);
        assert_eq!(steps_from(VERSION, &tables).unwrap().len(), 0);
        for unknown in [-1, VERSION + 1, i32::MAX] {
            assert_eq!(steps_from(unknown, &tables), None);
        }
    }
}
