//! The schema's versions, and the way from one to the next: forward only, each in one transaction,
//! after a copy of what was there.

use std::sync::Arc;

use pure::Utc;

use crate::database::{Database, Statement};
use crate::error::{Error, Failure};

/// One step. Once released its text never changes: a mistake is mended by a further step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Migration {
    pub(crate) version: i64,
    pub(crate) text: &'static str,
}

/// All steps, oldest first.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, text: include_str!("../migrations/0001.sql") },
    Migration { version: 2, text: include_str!("../migrations/0002.sql") },
    Migration { version: 3, text: include_str!("../migrations/0003.sql") },
    Migration { version: 4, text: include_str!("../migrations/0004.sql") },
    Migration { version: 5, text: include_str!("../migrations/0005.sql") },
];

/// Brings the database to the newest version of `migrations`.
///
/// # Errors
/// [`Error::Newer`] where the database has seen a version that isn't in the list: its rows may mean
/// something else. [`Error::Migration`] where a step fails; the database is then as it was before
/// that step.
pub(crate) async fn migrate(
    database: &mut Database,
    migrations: &[Migration],
    now: Utc,
) -> Result<(), Error> {
    let known = migrations.last().map_or(0, |last| last.version);
    let table = Statement { sql: Arc::from(TABLE), values: Vec::new() };
    database.commit(vec![table]).await?;
    let found = version(database).await?;
    if found > known {
        return Err(Error::Newer { found, known });
    }
    let mut backup = None;
    for migration in migrations.iter().filter(|m| m.version > found) {
        // A new database holds nothing worth a copy.
        if backup.is_none() && found > 0 {
            backup = database.back_up(found).await?;
        }
        let applied = Statement {
            sql: Arc::from("INSERT INTO migration (version, applied) VALUES ($1, $2)"),
            values: vec![migration.version.into(), now.0.into()],
        };
        let failed = |cause: Failure| Error::Migration {
            version: migration.version,
            cause,
            backup: backup.clone(),
        };
        database.migrate(migration.text, applied).await.map_err(failed)?;
    }
    Ok(())
}

async fn version(database: &mut Database) -> Result<i64, Error> {
    let sql = "SELECT COALESCE(MAX(version), 0) FROM migration";
    let mut rows = database.query("migration", sql, Vec::new()).await?;
    rows.first_mut().map_or(Ok(0), |row| row.int())
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS migration \
    (version BIGINT NOT NULL PRIMARY KEY, applied BIGINT NOT NULL)";
