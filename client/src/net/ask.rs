//! Questions before a login: one at a time, each with its answer, over a
//! connection that is made anew when it breaks. For a device that has no
//! account yet. It logs in to nothing.

use std::time::Duration;

use sotto_protocol::wire::{ClientFrame, Pong, client_frame, server_frame};
use tokio::time::timeout;

use super::connection::{Connection, LinkError};
use super::dial::{DialError, Dialer, Established};

/// How long an answer may take; one may wait for others' bcrypt runs.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Connections that one question is tried over.
const TRIES_MAX: u32 = 3;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It broke again and again.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Asks servers without a login.
pub(crate) struct Asker {
    dialer: Dialer,
    connection: Option<Connection>,
    last_id: u64,
}

impl Asker {
    /// Goes on with a connection that stands.
    pub(crate) fn new(dialer: Dialer, established: Established) -> Self {
        Self {
            dialer,
            connection: Some(established.connection),
            last_id: 0,
        }
    }

    /// The answer to a question, which may be asked twice.
    pub(crate) async fn ask(
        &mut self,
        body: &client_frame::Body,
    ) -> Result<server_frame::Body, AskError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.dialer.clone().dial().await?.connection,
            };
            self.last_id += 1;
            let asked = exchange(&mut connection, self.last_id, body.clone());
            let outcome = timeout(ANSWER_WITHIN, asked).await;
            match outcome.unwrap_or(Err(LinkError::Silent)) {
                Ok(answer) => {
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                Err(error) if tries >= TRIES_MAX => return Err(error.into()),
                Err(error) => tracing::debug!(%error, "asking again"),
            }
        }
    }
}

async fn exchange(
    connection: &mut Connection,
    request_id: u64,
    body: client_frame::Body,
) -> Result<server_frame::Body, LinkError> {
    // A link's answer and a backup are larger than what else comes before a login.
    connection.logged_in();
    connection.queue(&ClientFrame {
        request_id,
        body: Some(body),
    })?;
    loop {
        let frame = connection.next().await?;
        match (frame.request_id, frame.body) {
            (id, Some(body)) if id == request_id => return Ok(body),
            (_, Some(server_frame::Body::Ping(_))) => connection.queue(&ClientFrame {
                request_id: 0,
                body: Some(client_frame::Body::Pong(Pong {})),
            })?,
            _ => {}
        }
    }
}
