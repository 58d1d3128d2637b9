//! The client's engine: everything between a command and a frame, and between
//! a frame and an event. No sockets, no terminal, no clock, no threads: input
//! enters through `handle_*` with the time, output leaves through `poll_*`.
//!
//! ```text
//! impl Engine {
//!     pub fn new(profile: Profile, login: Login, seed: [u8; 32], now: Now) -> Result<Engine, EngineError>
//!     pub fn handle_connected(&mut self, info: ConnectionInfo, now: Now) -> Result<(), EngineError>
//!     pub fn handle_frame(&mut self, frame: wire::ServerFrame, now: Now) -> Result<(), EngineError>
//!     pub fn handle_disconnected(&mut self, now: Now) -> Result<(), EngineError>
//!     pub fn handle_timeout(&mut self, now: Now) -> Result<(), EngineError>
//!     pub fn handle_command(&mut self, command: Command, now: Now) -> Result<CommandId, EngineError>
//!     pub fn poll_frame(&mut self) -> Option<wire::ClientFrame>
//!     pub fn poll_event(&mut self) -> Option<Event>
//!     pub fn poll_timeout(&self) -> Option<u64>                      // monotonic_ms deadline
//!     // what is stored; no server needed
//!     pub fn who_am_i(&self) -> Result<WhoAmI, EngineError>
//!     pub fn history(&self, peer: &Username, last: u32) -> Result<Vec<Message>, EngineError>   // oldest first
//!     pub fn chats(&self) -> Result<Vec<Chat>, EngineError>
//!     pub fn requests(&self) -> Result<Vec<Request>, EngineError>
//!     pub fn queued(&self) -> Result<u64, EngineError>               // outbox length
//!     pub fn safety_number(&self, peer: &Username) -> Result<Option<SafetyNumber>, EngineError> // None: LookUp first
//!     pub fn verify(&mut self, peer: &Username, digits: &str, now: Now) -> Result<Verification, EngineError>
//!     pub fn into_profile(self) -> Profile                           // then Profile::wipe / lock
//! }
//! enum Verification { Confirmed, Differs, Unknown }   // Confirmed also accepts a changed identity
//! EngineError is fatal: stop, print; it tells an exit code by `kind()`.
//! ```
//! The shell speaks Hello and passes what HelloOk said; it answers Ping; it
//! raises its frame limit when it sees `LoggedIn`. Everything else is here.
//!
//! ```text
//! mod profile:
//! pub struct Location { pub home: PathBuf, pub name: String, pub runtime: PathBuf }  // runtime: profile::default_runtime()
//! Location::exists(&self) -> bool
//! Profile::create(&Location, &NewAccount { username, deployment }, password: &str, now: Now)
//!         -> Result<(Profile, AuthenticationKey), ProfileError>      // slow: Argon2id
//! Profile::open(&Location, Unlock::Session | Unlock::Password(&str)) -> Result<Profile, ProfileError>
//! Profile::authentication_key(&self, password: &str) -> Result<AuthenticationKey, ProfileError>  // slow; for Login::*
//! Profile::username(), deployment(), account_state()
//! Profile::keep_unlocked(&self) -> Result<(), ProfileError>          // session file, after register and login
//! Profile::lock(&self)                                               // removes it, at logout
//! Profile::wipe(self) -> Result<(), ProfileError>                    // removes everything (logout --wipe, failed registration)
//! ProfileError::{Missing, Exists, InUse, PasswordNeeded, WrongPassword, Corrupted, NewerSchema, ...}
//! ```

pub mod api;
