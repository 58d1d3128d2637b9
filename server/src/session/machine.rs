//! What a connection may do when: the order of hello, login and resume.
//!
//! | phase      | Hello | login* | Ping, Pong | Resume      | other requests, Acknowledge |
//! |------------|-------|--------|------------|-------------|-----------------------------|
//! | Greeting   | yes   | no     | yes        | no          | no                          |
//! | Anonymous  | no    | yes    | yes        | no          | no                          |
//! | LoggedIn   | no    | no     | yes        | → Resumed   | yes                         |
//! | Resumed    | no    | no     | yes        | yes         | yes                         |
//!
//! *Register, PasswordLogin, DeviceLogin; and what a device asks that has no login yet:
//! PutLinkOffer, GetLinkAnswer, GetBackup. Deliveries happen in Resumed only.
//! The machine reads no clock and no bytes; it carries out nothing itself.

use sotto_protocol::frame::FrameLimit;
use sotto_protocol::wire::client_frame::Body;
use sotto_protocol::{DeviceId, ErrorCode, Username};

use crate::refusal::Refusal;
use crate::store::AccountId;

/// Failed logins after which a connection is closed.
pub(crate) const LOGIN_FAILURES_MAX: u8 = 8;

/// Who a connection speaks for.
#[derive(Clone)]
pub(crate) struct Identity {
    /// The account.
    pub(crate) account: AccountId,
    /// Its name.
    pub(crate) username: Username,
    /// The device.
    pub(crate) device: DeviceId,
}

/// The challenge of one connection; it can be taken once.
struct Nonce(Option<[u8; 32]>);

impl Nonce {
    /// A fresh challenge.
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(Some(bytes))
    }

    /// Takes it; nothing is left for a second attempt.
    pub(crate) fn take(&mut self) -> Option<[u8; 32]> {
        self.0.take()
    }
}

/// Where a connection stands.
enum Phase {
    /// Hello is expected.
    Greeting,
    /// A login is expected.
    Anonymous {
        /// For DeviceLogin.
        nonce: Nonce,
        /// Logins that were refused so far.
        failures: u8,
    },
    /// Requests are answered; nothing is delivered.
    LoggedIn(Box<Identity>),
    /// Requests are answered, logs are delivered.
    Resumed(Box<Identity>),
}

/// What to do with a refused login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// The client may try again.
    Stay,
    /// Too many: the connection ends with the answer.
    Close,
}

/// One connection's phase and the steps between phases.
pub(crate) struct Machine {
    phase: Phase,
}

impl Machine {
    /// A connection that said nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Greeting,
        }
    }

    /// Whether a request may be made now.
    ///
    /// # Errors
    /// `not_logged_in` before a login, `malformed` for what comes too late.
    pub(crate) fn admit(&self, body: &Body) -> Result<(), Refusal> {
        let early = Err(Refusal::new(ErrorCode::NotLoggedIn));
        let late = Err(Refusal::malformed("The connection is past this step."));
        match (body, &self.phase) {
            (Body::Ping(_) | Body::Pong(_), _) | (Body::Hello(_), Phase::Greeting) => Ok(()),
            (Body::Hello(_), _) => late,
            (
                Body::Register(_)
                | Body::PasswordLogin(_)
                | Body::DeviceLogin(_)
                | Body::PutLinkOffer(_)
                | Body::GetLinkAnswer(_)
                | Body::GetBackup(_),
                phase,
            ) => match phase {
                Phase::Greeting => early,
                Phase::Anonymous { .. } => Ok(()),
                Phase::LoggedIn(_) | Phase::Resumed(_) => late,
            },
            (_, Phase::LoggedIn(_) | Phase::Resumed(_)) => Ok(()),
            (_, Phase::Greeting | Phase::Anonymous { .. }) => early,
        }
    }

    /// How large a frame may be now.
    pub(crate) fn frame_limit(&self) -> FrameLimit {
        match self.phase {
            Phase::Greeting | Phase::Anonymous { .. } => FrameLimit::BeforeLogin,
            Phase::LoggedIn(_) | Phase::Resumed(_) => FrameLimit::AfterLogin,
        }
    }

    /// Who is logged in.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        match &self.phase {
            Phase::LoggedIn(identity) | Phase::Resumed(identity) => Some(identity),
            Phase::Greeting | Phase::Anonymous { .. } => None,
        }
    }

    /// Hello was answered.
    pub(crate) fn handle_greeted(&mut self, nonce: [u8; 32]) {
        self.phase = Phase::Anonymous {
            nonce: Nonce::new(nonce),
            failures: 0,
        };
    }

    /// A login attempt takes the challenge, whichever way it ends.
    pub(crate) fn take_nonce(&mut self) -> Option<[u8; 32]> {
        match &mut self.phase {
            Phase::Anonymous { nonce, .. } => nonce.take(),
            _ => None,
        }
    }

    /// A login succeeded.
    pub(crate) fn handle_logged_in(&mut self, identity: Identity) {
        self.phase = Phase::LoggedIn(Box::new(identity));
    }

    /// A login was refused.
    pub(crate) fn handle_login_refused(&mut self) -> AfterFailure {
        if let Phase::Anonymous { failures, .. } = &mut self.phase {
            *failures = failures.saturating_add(1);
            if *failures >= LOGIN_FAILURES_MAX {
                return AfterFailure::Close;
            }
        }
        AfterFailure::Stay
    }

    /// Deliveries begin.
    pub(crate) fn handle_resumed(&mut self) {
        let phase = std::mem::replace(&mut self.phase, Phase::Greeting);
        self.phase = match phase {
            Phase::LoggedIn(identity) => Phase::Resumed(identity),
            other => other,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sotto_protocol::wire;

    fn identity() -> Identity {
        Identity {
            account: AccountId(1),
            username: Username::parse("alice").unwrap(),
            device: DeviceId::from_bytes([1; 16]),
        }
    }

    fn code(machine: &Machine, body: &Body) -> Option<ErrorCode> {
        machine.admit(body).err().map(|refusal| refusal.code())
    }

    #[test]
    fn the_table_holds() {
        let hello = Body::Hello(wire::Hello::default());
        let login = Body::DeviceLogin(wire::DeviceLogin::default());
        let append = Body::Append(wire::Append::default());
        let resume = Body::Resume(wire::Resume::default());
        let ping = Body::Ping(wire::Ping {});
        let mut machine = Machine::new();
        let early = Some(ErrorCode::NotLoggedIn);
        let late = Some(ErrorCode::Malformed);
        let row = |machine: &Machine| {
            [&hello, &login, &ping, &resume, &append].map(|body| code(machine, body))
        };
        assert_eq!(row(&machine), [None, early, None, early, early]);
        machine.handle_greeted([0; 32]);
        assert_eq!(row(&machine), [late, None, None, early, early]);
        assert_eq!(machine.frame_limit(), FrameLimit::BeforeLogin);
        machine.handle_logged_in(identity());
        assert_eq!(row(&machine), [late, late, None, None, None]);
        assert_eq!(machine.frame_limit(), FrameLimit::AfterLogin);
        machine.handle_resumed();
        assert_eq!(row(&machine), [late, late, None, None, None]);
        assert!(matches!(machine.phase, Phase::Resumed(_)));
    }

    #[test]
    fn a_challenge_serves_one_attempt() {
        let mut machine = Machine::new();
        assert_eq!(machine.take_nonce(), None);
        machine.handle_greeted([7; 32]);
        assert_eq!(machine.take_nonce(), Some([7; 32]));
        assert_eq!(machine.take_nonce(), None);
    }

    #[test]
    fn failures_are_counted() {
        let mut machine = Machine::new();
        machine.handle_greeted([7; 32]);
        for _ in 1..LOGIN_FAILURES_MAX {
            assert_eq!(machine.handle_login_refused(), AfterFailure::Stay);
        }
        assert_eq!(machine.handle_login_refused(), AfterFailure::Close);
    }
}
