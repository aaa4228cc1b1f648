CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY,
    record TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    owner TEXT NOT NULL AS (json_extract(record, '$.owner')),
    name TEXT NOT NULL AS (json_extract(record, '$.name')),
    created_at TEXT NOT NULL AS (
        substr(json_extract(record, '$.created_at'), 1, 19) || '.' || substr(
            rtrim(substr(json_extract(record, '$.created_at'), 21), 'Z') || '000000000', 1, 9
        ) || 'Z'
    ),
    expires_at TEXT AS (json_extract(record, '$.expires_at')),
    disabled INTEGER NOT NULL AS (json_extract(record, '$.disabled')),
    revoked_at TEXT AS (json_extract(record, '$.revoked_at')),
    version ANY NOT NULL AS (json_extract(record, '$.version'))
) STRICT;
CREATE INDEX keys_by_owner ON keys (owner, created_at, id);
PRAGMA application_id = 1953982571;
PRAGMA user_version = 1;
