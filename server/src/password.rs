//! bcrypt, on few threads of low priority behind a bounded queue.
//!
//! What is hashed is never a password but the authentication key that the
//! client derived from it: 43 characters, so bcrypt's 72-byte cut and its NUL
//! rule never matter. A full queue refuses at once; logins by device
//! signature do not come here.

use std::sync::{Arc, Mutex, PoisonError};

use sotto_protocol::limits::AUTHENTICATION_KEY_CHARS;
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

/// Jobs that may wait for each worker: at cost 12 some five seconds of work.
const QUEUED_PER_WORKER: usize = 16;
/// How much less of the processor than other threads the workers ask for.
const NICENESS: i32 = 10;
/// What a refused caller is told to wait, in milliseconds.
const RETRY_AFTER_MS: u64 = 2_000;

/// The password-derived key as a client sends it. Never printed.
pub(crate) struct AuthenticationKey(Zeroizing<String>);

impl AuthenticationKey {
    /// Takes 43 characters of base64url; anything else is none.
    pub(crate) fn parse(text: String) -> Option<Self> {
        let text = Zeroizing::new(text);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (text.len() == AUTHENTICATION_KEY_CHARS && text.bytes().all(allowed)).then(|| Self(text))
    }
}

/// Why a key was neither hashed nor compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PasswordError {
    /// Too much is waiting.
    #[error("password queue is full")]
    Busy {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The library failed, or the workers are gone.
    #[error("password worker failed")]
    Failed,
}

enum Job {
    Hash {
        key: AuthenticationKey,
        answer: oneshot::Sender<Option<String>>,
    },
    Verify {
        key: AuthenticationKey,
        hash: String,
        answer: oneshot::Sender<Option<bool>>,
    },
}

/// The workers.
pub(crate) struct PasswordPool {
    jobs: mpsc::Sender<Job>,
    /// A hash of nobody's key: unknown users cost what known ones cost.
    nobody: String,
}

impl PasswordPool {
    /// Starts the workers; they end with the pool.
    pub(crate) fn start(workers: usize, cost: u32) -> Result<Self, PasswordError> {
        let (jobs, queue) = mpsc::channel(workers * QUEUED_PER_WORKER);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..workers {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name("password".to_owned())
                .spawn(move || work(&queue, cost))
                .map_err(|_| PasswordError::Failed)?;
        }
        let noise: [u8; 32] = rand::random();
        let nobody = bcrypt::hash(noise.map(|byte| b'A' + byte % 26), cost)
            .map_err(|_| PasswordError::Failed)?;
        Ok(Self { jobs, nobody })
    }

    /// Hashes a key for storing.
    pub(crate) async fn hash(&self, key: AuthenticationKey) -> Result<String, PasswordError> {
        let (answer, answered) = oneshot::channel();
        self.submit(Job::Hash { key, answer })?;
        answered.await.ok().flatten().ok_or(PasswordError::Failed)
    }

    /// Compares a key with a stored hash, or with nobody's when there is
    /// none: the same work, and never equal.
    pub(crate) async fn verify(
        &self,
        key: AuthenticationKey,
        stored: Option<String>,
    ) -> Result<bool, PasswordError> {
        let is_known = stored.is_some();
        let hash = stored.unwrap_or_else(|| self.nobody.clone());
        let (answer, answered) = oneshot::channel();
        self.submit(Job::Verify { key, hash, answer })?;
        let equal = answered.await.ok().flatten().ok_or(PasswordError::Failed)?;
        Ok(equal && is_known)
    }

    fn submit(&self, job: Job) -> Result<(), PasswordError> {
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PasswordError::Busy {
                retry_after_ms: RETRY_AFTER_MS,
            },
            mpsc::error::TrySendError::Closed(_) => PasswordError::Failed,
        })
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>, cost: u32) {
    // On Linux this holds for the calling thread alone. Without it everything works, only less evenly.
    let _ = rustix::process::nice(NICENESS);
    loop {
        let job = queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        match job {
            None => return,
            // An asker that went away costs nothing more.
            Some(Job::Hash { answer, .. }) if answer.is_closed() => {}
            Some(Job::Verify { answer, .. }) if answer.is_closed() => {}
            Some(Job::Hash { key, answer }) => {
                let _ = answer.send(bcrypt::hash(key.0.as_bytes(), cost).ok());
            }
            Some(Job::Verify { key, hash, answer }) => {
                let _ = answer.send(bcrypt::verify(key.0.as_bytes(), &hash).ok());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: char) -> AuthenticationKey {
        AuthenticationKey::parse(format!("{first}{}", "x".repeat(42))).unwrap()
    }

    #[test]
    fn only_43_characters_of_base64url_are_a_key() {
        for bad in [
            "",
            &"x".repeat(42),
            &"x".repeat(44),
            &format!("{}=", "x".repeat(42)),
            &"\0".repeat(43),
        ] {
            assert!(AuthenticationKey::parse((*bad).to_owned()).is_none());
        }
        assert!(AuthenticationKey::parse("-_Az09".repeat(8)[..43].to_owned()).is_some());
    }

    #[tokio::test]
    async fn hashes_are_verified_and_nobody_is_never_somebody() {
        let pool = PasswordPool::start(1, 4).unwrap();
        let hash = pool.hash(key('a')).await.unwrap();
        assert_eq!(pool.verify(key('a'), Some(hash.clone())).await, Ok(true));
        assert_eq!(pool.verify(key('b'), Some(hash)).await, Ok(false));
        assert_eq!(pool.verify(key('a'), None).await, Ok(false));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let pool = Arc::new(PasswordPool::start(1, 10).unwrap());
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let pool = Arc::clone(&pool);
            waiting.spawn(async move { pool.verify(key('a'), None).await });
        }
        let mut refused = 0;
        while let Some(answer) = waiting.join_next().await {
            match answer.unwrap() {
                Ok(equal) => assert!(!equal),
                Err(PasswordError::Busy { retry_after_ms }) => {
                    assert!(retry_after_ms > 0);
                    refused += 1;
                }
                Err(PasswordError::Failed) => panic!("worker failed"),
            }
        }
        assert!(refused >= 200 - 2 * QUEUED_PER_WORKER);
    }
}
