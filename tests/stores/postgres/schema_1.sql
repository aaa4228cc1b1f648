CREATE SCHEMA "PLACE";
CREATE TABLE "PLACE"."webhook_keys" (
    id text COLLATE "C" PRIMARY KEY,
    record text NOT NULL,
    owner text COLLATE "C" NOT NULL
        GENERATED ALWAYS AS (record::jsonb ->> 'owner') STORED,
    name text NOT NULL GENERATED ALWAYS AS (record::jsonb ->> 'name') STORED,
    created_at text COLLATE "C" NOT NULL GENERATED ALWAYS AS (
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
CREATE INDEX "webhook_keys_by_owner" ON "PLACE"."webhook_keys" (owner, created_at, id);
CREATE TABLE "PLACE"."webhook_keys_schema" (version integer NOT NULL);
INSERT INTO "PLACE"."webhook_keys_schema" VALUES (1);
