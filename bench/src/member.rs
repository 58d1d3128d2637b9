//! One account with one device, as the load needs it: registered, logged in, following its logs.
//!
//! Its authentication key is random bytes: nobody types a password here, so none is stretched.

use std::time::Duration;

use sotto_crypto::{DeviceKey, IdentityKey, LocalDevice, LoginChallenge};
use sotto_protocol::wire::{
    Acknowledge, Cursor, Deliver, DeviceLogin, Envelope, Register, Resume, client_frame,
    server_frame,
};
use sotto_protocol::{DeploymentId, DeviceId, Username};
use tokio::time::{sleep, timeout};

use crate::clock::unix_ms;
use crate::connection::{Connection, answer_of};
use crate::error::BenchError;
use crate::target::Target;

/// Tries to get in while the deployment says "later".
const ATTEMPTS_MAX: u32 = 20;
/// The first pause between tries, where the server names none; doubles up to 32 times this.
const PAUSE: Duration = Duration::from_millis(50);
/// Everything stored is delivered within this.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(120);

/// A registered device.
pub(crate) struct Member {
    number: u32,
    device: LocalDevice,
}

impl Member {
    /// Makes account and device number `number` and registers them; the connection is logged in.
    ///
    /// # Errors
    /// When the deployment does not take it after several tries.
    pub(crate) async fn register(
        target: &Target,
        number: u32,
    ) -> Result<(Self, Connection), BenchError> {
        // Nearly unique at random; another try makes another name.
        let mut attempt = 0;
        loop {
            match Self::register_once(target, number).await {
                Ok(registered) => return Ok(registered),
                Err(error) => hold_off(&mut attempt, error).await?,
            }
        }
    }

    async fn register_once(target: &Target, number: u32) -> Result<(Self, Connection), BenchError> {
        let mut connection = Connection::open(target, number).await?;
        let hello = connection.take_hello()?;
        let deployment = DeploymentId::from_slice(&hello.deployment_id)
            .map_err(BenchError::crypto("reading the deployment id"))?;
        let device = make_device(deployment, number)?;
        let register = client_frame::Body::Register(Register {
            username: device.certificate().username().to_string(),
            authentication_key: random_authentication_key(),
            certificate: device.certificate().as_bytes().to_vec(),
            invite_code: String::new(),
        });
        let mut attempt = 0;
        loop {
            match connection.call("register", register.clone()).await {
                Ok(server_frame::Body::LoggedIn(_)) => {
                    return Ok((Self { number, device }, connection));
                }
                Ok(_) => return Err(BenchError::Protocol("another answer to register")),
                Err(error @ BenchError::Refused { .. }) => hold_off(&mut attempt, error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Connects again and logs in by the device's signature, trying several times.
    ///
    /// # Errors
    /// When the deployment does not take it.
    pub(crate) async fn login(&self, target: &Target) -> Result<Connection, BenchError> {
        let mut attempt = 0;
        loop {
            match self.login_once(target).await {
                Ok(connection) => return Ok(connection),
                Err(error) => hold_off(&mut attempt, error).await?,
            }
        }
    }

    /// Connects again and logs in by the device's signature.
    ///
    /// # Errors
    /// When anything on the way fails.
    pub(crate) async fn login_once(&self, target: &Target) -> Result<Connection, BenchError> {
        let mut connection = Connection::open(target, self.number).await?;
        let hello = connection.take_hello()?;
        let nonce = hello
            .nonce
            .try_into()
            .map_err(|_| BenchError::Protocol("a nonce that is not 32 bytes"))?;
        let exporter = connection.exporter()?;
        let signature = self.device.sign_login(&LoginChallenge { nonce, exporter });
        let login = client_frame::Body::DeviceLogin(DeviceLogin {
            username: self.device.certificate().username().to_string(),
            device_id: self.device.certificate().device_id().to_vec(),
            signature: signature.to_vec(),
        });
        match connection.call("device login", login).await? {
            server_frame::Body::LoggedIn(_) => Ok(connection),
            _ => Err(BenchError::Protocol("another answer to device login")),
        }
    }

    /// The device with its key.
    pub(crate) fn device(&self) -> &LocalDevice {
        &self.device
    }
}

/// A certified device of a new account.
pub(crate) fn make_device(
    deployment: DeploymentId,
    number: u32,
) -> Result<LocalDevice, BenchError> {
    let unusable = || BenchError::crypto::<String>("making a user name");
    let name = format!("b{:012x}.{number}", rand::random::<u64>() >> 16);
    let username = Username::parse(&name).map_err(|error| unusable()(error.to_string()))?;
    let identity = IdentityKey::generate().map_err(BenchError::crypto("making an identity"))?;
    let key = DeviceKey::generate().map_err(BenchError::crypto("making a device key"))?;
    let device = DeviceId::from_bytes(rand::random());
    let certificate = identity
        .certify(deployment, &username, device, key.public(), unix_ms())
        .map_err(BenchError::crypto("certifying a device"))?;
    LocalDevice::new(certificate, key).map_err(BenchError::crypto("making a device"))
}

/// 43 characters of base64url, as a real one has.
fn random_authentication_key() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut key: String = rand::random::<[u8; 32]>()
        .iter()
        .chain(&rand::random::<[u8; 10]>())
        .filter_map(|byte| ALPHABET.get(usize::from(byte & 63)))
        .map(|byte| char::from(*byte))
        .collect();
    // The last character carries four bits; the others of its six must be zero.
    key.push('A');
    key
}

/// Waits as the error says before another try; gives the error back when it will not pass or the
/// tries are used up.
pub(crate) async fn hold_off(attempt: &mut u32, error: BenchError) -> Result<(), BenchError> {
    *attempt += 1;
    if !error.is_passing() || *attempt >= ATTEMPTS_MAX {
        return Err(error);
    }
    let told = match &error {
        BenchError::Refused { retry_after_ms, .. } => Duration::from_millis(*retry_after_ms),
        _ => Duration::ZERO,
    };
    let doubled = PAUSE.saturating_mul(1 << (*attempt).min(5));
    sleep(doubled.max(told).mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
    Ok(())
}

/// Starts deliveries.
pub(crate) fn resume() -> client_frame::Body {
    client_frame::Body::Resume(Resume::default())
}

/// Starts deliveries and takes, acknowledging, all that is stored for the device until the server
/// says that it is caught up.
///
/// # Errors
/// When that takes more than two minutes, or the connection fails.
pub(crate) async fn catch_up(
    connection: &mut Connection,
    mut take: impl FnMut(&Envelope),
) -> Result<(), BenchError> {
    let following = async {
        connection.queue(resume())?;
        loop {
            connection.flush().await?;
            let frame = connection.next().await?;
            if frame.request_id != 0 {
                answer_of("resume", frame)?;
                continue;
            }
            match frame.body {
                Some(server_frame::Body::Deliver(deliver)) => {
                    deliver.envelopes.iter().for_each(&mut take);
                    connection.queue(acknowledgement(&deliver))?;
                }
                Some(server_frame::Body::CaughtUp(_)) => {
                    connection.flush().await?;
                    return Ok(());
                }
                _ => return Err(BenchError::Protocol("an unexpected push")),
            }
        }
    };
    timeout(CATCH_UP_LIMIT, following)
        .await
        .map_err(|_| BenchError::TimedOut("catching up"))?
}

/// Acknowledges a batch of deliveries.
pub(crate) fn acknowledgement(deliver: &Deliver) -> client_frame::Body {
    let mut cursors: Vec<Cursor> = Vec::new();
    for envelope in &deliver.envelopes {
        match cursors
            .iter_mut()
            .find(|cursor| cursor.conversation_id == envelope.conversation_id)
        {
            Some(cursor) => cursor.seq = cursor.seq.max(envelope.seq),
            None => cursors.push(Cursor {
                conversation_id: envelope.conversation_id.clone(),
                seq: envelope.seq,
            }),
        }
    }
    client_frame::Body::Acknowledge(Acknowledge { cursors })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authentication_keys_have_their_length() {
        let length = sotto_protocol::limits::AUTHENTICATION_KEY_CHARS;
        assert_eq!(random_authentication_key().len(), length);
    }

    #[test]
    fn one_cursor_a_conversation() {
        let envelope = |conversation: u8, seq| Envelope {
            conversation_id: vec![conversation; 16],
            seq,
            ..Envelope::default()
        };
        let deliver = Deliver {
            envelopes: vec![envelope(1, 4), envelope(2, 9), envelope(1, 5)],
        };
        let client_frame::Body::Acknowledge(acknowledge) = acknowledgement(&deliver) else {
            panic!("not an acknowledgement");
        };
        let seqs: Vec<u64> = acknowledge
            .cursors
            .iter()
            .map(|cursor| cursor.seq)
            .collect();
        assert_eq!(seqs, [5, 9]);
    }
}
