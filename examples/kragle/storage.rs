//! The stacks, in an SQLite file. What a call has acknowledged is on the disk.

use servers::Error;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{Row, Sqlite, SqliteConnection, SqlitePool, Transaction, query, query_scalar};

use crate::stacks::{Block, Definition, Kind, Mode, Parameters, Settings, Stack, Verb};

/// The connections to the file. There is one that writes, so that writers wait for their turn and not for a lock.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// Why a call did not do what it was asked.
#[derive(Debug)]
pub(crate) enum StorageError {
    /// The owner has another stack of that name.
    NameTaken,
    /// The file cannot be read or written, or does not hold what this program writes.
    Broken(Error),
}

impl<E: Into<Error>> From<E> for StorageError {
    fn from(error: E) -> Self {
        let error = error.into();
        let database = error.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
        if database.is_some_and(|error| error.is_unique_violation()) {
            return Self::NameTaken;
        }
        Self::Broken(error)
    }
}

impl StorageError {
    /// The error of a start, where no name can be taken.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::NameTaken => "two stacks of one owner have one name".into(),
            Self::Broken(error) => error,
        }
    }
}

type Result<T> = std::result::Result<T, StorageError>;

const TABLES: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS stacks (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        owner INTEGER NOT NULL,
        name TEXT NOT NULL,
        public INTEGER NOT NULL,
        webhook TEXT,
        method TEXT,
        has_token INTEGER NOT NULL,
        enabled INTEGER NOT NULL,
        needs_approval INTEGER NOT NULL,
        blocks TEXT NOT NULL,
        UNIQUE (owner, name)
    ) STRICT",
    "CREATE INDEX IF NOT EXISTS stacks_by_name ON stacks (name)",
    // One row, written by the import: the number of the next new block.
    "CREATE TABLE IF NOT EXISTS next_block (id INTEGER NOT NULL) STRICT",
];

impl Storage {
    pub(crate) const PAGE_LEN: i64 = 25;

    pub(crate) async fn open(options: SqliteConnectOptions) -> std::result::Result<Self, Error> {
        let pool = SqlitePoolOptions::new();
        let writer = pool.clone().max_connections(1).connect_with(options.clone()).await?;
        for table in TABLES {
            query(table).execute(&writer).await?;
        }
        let readers = pool.max_connections(4).connect_with(options).await?;
        Ok(Self { writer, readers })
    }

    /// Whether the stacks of a configuration have been imported.
    pub(crate) async fn is_imported(&self) -> Result<bool> {
        Ok(query_scalar("SELECT EXISTS (SELECT 1 FROM next_block)")
            .fetch_one(&self.readers)
            .await?)
    }

    /// Takes over all stacks of a configuration, or none of them.
    pub(crate) async fn import(&self, stacks: impl Iterator<Item = &Stack>) -> Result<()> {
        let mut transaction = self.begin().await?;
        let mut last_block = 0;
        for stack in stacks {
            insert(&mut transaction, Some(stack.id), stack.owner, &stack.settings).await?;
            last_block =
                stack.settings.blocks.iter().map(|block| block.id).fold(last_block, i64::max);
        }
        query("INSERT INTO next_block (id) VALUES (?)")
            .bind(last_block + 1)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    pub(crate) async fn by_id(&self, id: i64) -> Result<Option<Stack>> {
        let row = query("SELECT * FROM stacks WHERE id = ?").bind(id);
        row.fetch_optional(&self.readers).await?.as_ref().map(stack_of).transpose()
    }

    /// All stacks of that name, by ascending id.
    pub(crate) async fn by_name(&self, name: &str) -> Result<Vec<Stack>> {
        let rows = query("SELECT * FROM stacks WHERE name = ? ORDER BY id").bind(name);
        rows.fetch_all(&self.readers).await?.iter().map(stack_of).collect()
    }

    /// How many stacks a caller sees in lists, and those of a page, which counts from 1.
    pub(crate) async fn page(&self, caller: Option<i64>, page: i64) -> Result<(i64, Vec<Stack>)> {
        let mut transaction = self.readers.begin().await?;
        let count = query_scalar("SELECT count(*) FROM stacks WHERE public OR owner IS ?")
            .bind(caller)
            .fetch_one(&mut *transaction)
            .await?;
        let rows =
            query("SELECT * FROM stacks WHERE public OR owner IS ? ORDER BY id LIMIT ? OFFSET ?")
                .bind(caller)
                .bind(Self::PAGE_LEN)
                .bind((page - 1).saturating_mul(Self::PAGE_LEN))
                .fetch_all(&mut *transaction)
                .await?;
        Ok((count, rows.iter().map(stack_of).collect::<Result<_>>()?))
    }

    pub(crate) async fn create(&self, owner: i64, definition: Definition) -> Result<Stack> {
        let mut transaction = self.begin().await?;
        let first_block = number_blocks(&mut transaction, definition.block_count()).await?;
        let settings = Settings { enabled: true, ..Settings::default() };
        let settings = settings.changed(definition, first_block);
        let id = insert(&mut transaction, None, owner, &settings).await?;
        transaction.commit().await?;
        Ok(Stack::new(id, owner, settings)?)
    }

    /// Changes a stack. `None` if there is none.
    pub(crate) async fn change(&self, id: i64, change: Definition) -> Result<Option<Stack>> {
        let mut transaction = self.begin().await?;
        let row = query("SELECT * FROM stacks WHERE id = ?").bind(id);
        let Some(row) = row.fetch_optional(&mut *transaction).await? else { return Ok(None) };
        let stack = stack_of(&row)?;
        let first_block = number_blocks(&mut transaction, change.block_count()).await?;
        let settings = stack.settings.changed(change, first_block);
        query(
            "UPDATE stacks SET name = ?, webhook = ?, method = ?, has_token = ?, enabled = ?,
                needs_approval = ?, blocks = ? WHERE id = ?",
        )
        .bind(&settings.name)
        .bind(settings.webhook.map(Mode::as_str))
        .bind(settings.method.map(Verb::as_str))
        .bind(settings.has_token)
        .bind(settings.enabled)
        .bind(settings.needs_approval)
        .bind(write_blocks(&settings.blocks)?)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(Stack { settings, ..stack }))
    }

    /// Notes that a stack has a token.
    pub(crate) async fn note_token(&self, id: i64) -> Result<()> {
        query("UPDATE stacks SET has_token = 1 WHERE id = ?")
            .bind(id)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// A transaction that holds the right to write from the start, in view of other processes.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// The number of the first of some new blocks.
async fn number_blocks(connection: &mut SqliteConnection, count: usize) -> Result<i64> {
    let count = i64::try_from(count)?;
    let next: i64 = query_scalar("UPDATE next_block SET id = id + ? RETURNING id")
        .bind(count)
        .fetch_one(connection)
        .await?;
    Ok(next - count)
}

async fn insert(
    connection: &mut SqliteConnection,
    id: Option<i64>,
    owner: i64,
    settings: &Settings,
) -> Result<i64> {
    let id = query_scalar(
        "INSERT INTO stacks (id, owner, name, public, webhook, method, has_token, enabled, needs_approval, blocks)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(id)
    .bind(owner)
    .bind(&settings.name)
    .bind(settings.public)
    .bind(settings.webhook.map(Mode::as_str))
    .bind(settings.method.map(Verb::as_str))
    .bind(settings.has_token)
    .bind(settings.enabled)
    .bind(settings.needs_approval)
    .bind(write_blocks(&settings.blocks)?)
    .fetch_one(connection)
    .await?;
    Ok(id)
}

fn stack_of(row: &SqliteRow) -> Result<Stack> {
    let webhook: Option<String> = row.try_get("webhook")?;
    let method: Option<String> = row.try_get("method")?;
    let settings = Settings {
        name: row.try_get("name")?,
        public: row.try_get("public")?,
        webhook: webhook.map(Mode::try_from).transpose()?,
        method: method.map(Verb::try_from).transpose()?,
        has_token: row.try_get("has_token")?,
        enabled: row.try_get("enabled")?,
        needs_approval: row.try_get("needs_approval")?,
        blocks: read_blocks(row.try_get("blocks")?)?,
    };
    Ok(Stack::new(row.try_get("id")?, row.try_get("owner")?, settings)?)
}

/// `[[<id>, <type>, <parameters>], ..]`
fn write_blocks(blocks: &[Block]) -> Result<String> {
    let blocks: Vec<_> =
        blocks.iter().map(|block| (block.id, block.kind.name(), block.kind.parameters())).collect();
    Ok(serde_json::to_string(&blocks)?)
}

fn read_blocks(text: &str) -> Result<Vec<Block>> {
    let blocks: Vec<(i64, String, Parameters)> = serde_json::from_str(text)?;
    let block = |(id, name, parameters): (i64, String, Parameters)| {
        let kind = Kind::new(&name, parameters).map_err(|_| "the parameters of a stored block")?;
        Ok(Block { id, kind })
    };
    blocks.into_iter().map(block).collect()
}
