//! A few administrative SQL statements from code that is not asynchronous.
//!
//! Works inside and outside of an asynchronous runtime alike: each call has a short-lived thread
//! and connection of its own. Not for anything that runs often.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// How long a connection attempt or an administrative statement may take.
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);

/// Why a statement was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The database refused the connection or the statement.
    #[error("the database answered: {0}")]
    Database(String),
    /// No answer in time.
    #[error("the database did not answer within {} seconds", STATEMENT_LIMIT.as_secs())]
    TimedOut,
    /// No thread or runtime could be started.
    #[error("could not start a worker for the statement: {0}")]
    Worker(#[from] io::Error),
}

impl From<tokio_postgres::Error> for SqlError {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = error
            .as_db_error()
            .map_or_else(|| chain(&error), |db| db.message().to_owned());
        Self::Database(text)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Runs a future to its end on a thread and runtime of its own.
///
/// # Errors
/// Fails when the thread or the runtime cannot be started or the future panics.
pub fn block_on<F, Fut, T>(make: F) -> io::Result<T>
where
    F: FnOnce() -> Fut + Send,
    Fut: Future<Output = T>,
    T: Send,
{
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                Ok(runtime.block_on(make()))
            })
            .join()
            .map_err(|_| io::Error::other("the worker panicked"))?
    })
}

/// Runs statements, separated by semicolons, outside of a transaction of our own.
///
/// # Errors
/// The first failing statement's message.
pub fn execute(url: &str, statements: &str) -> Result<(), SqlError> {
    rows(url, statements).map(drop)
}

/// Runs a query and returns its rows as text; a null is `None`.
///
/// # Errors
/// The message of the database.
pub fn rows(url: &str, query: &str) -> Result<Vec<Vec<Option<String>>>, SqlError> {
    block_on(|| async {
        tokio::time::timeout(STATEMENT_LIMIT, query_rows(url, query))
            .await
            .unwrap_or(Err(SqlError::TimedOut))
    })?
}

async fn query_rows(url: &str, query: &str) -> Result<Vec<Vec<Option<String>>>, SqlError> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let driver = tokio::spawn(connection);
    let messages = simple_query(&client, query).await;
    drop(client);
    // The answer is in hand; how the connection closes does not matter.
    let _ = driver.await;
    Ok(messages?.iter().filter_map(row_text).collect())
}

async fn simple_query(
    client: &Client,
    query: &str,
) -> Result<Vec<SimpleQueryMessage>, tokio_postgres::Error> {
    client.simple_query(query).await
}

fn row_text(message: &SimpleQueryMessage) -> Option<Vec<Option<String>>> {
    match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|column| row.get(column).map(str::to_owned))
                .collect(),
        ),
        _ => None,
    }
}
