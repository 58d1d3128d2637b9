//! From frames to work, and from finished work to frames.

use std::sync::Arc;
use std::task::Context;

use sotto_protocol::frame::FrameError;
use sotto_protocol::limits::{AGENT_BYTES_MAX, CURSORS_AT_ONCE_MAX, PAYLOAD_BYTES_MAX};
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, ClientFrame, client_frame::Body as Request};
use sotto_protocol::{ConversationId, ErrorCode, version};
use tokio::time::Instant;

use super::machine::AfterFailure;
use super::work::{Finished, Kind, ReadResult};
use super::{End, Session};
use crate::bus::{Subscription, Wake};
use crate::clock;
use crate::config::Registration;
use crate::delivery::{Delivery, Extent, ReadRequest, Rest};
use crate::refusal::Refusal;
use crate::service::{self, Answer, Connection, Effect};
use crate::store::{AppendError, Appended, MemberState, StoreError, StoredEnvelope, timings};

/// Payload bytes in one Deliver, beside its last envelope.
const DELIVER_BYTES: usize = 256 * 1024;

impl Session {
    /// Takes frames that have arrived whole, as long as there is room for what they ask.
    pub(super) fn take_requests(&mut self) -> bool {
        let mut moved = false;
        if let Some((request_id, request)) = self.work.take_held() {
            self.start(request_id, request);
            moved = true;
        }
        while self.takes_requests() {
            match self.inbox.take(self.machine.frame_limit()) {
                Ok(None) => break,
                Ok(Some(frame)) => self.handle_frame(frame),
                Err(error) => self.handle_bad_frame(&error),
            }
            moved = true;
        }
        moved
    }

    fn handle_bad_frame(&mut self, error: &FrameError) {
        let code = match error {
            FrameError::TooLarge { .. } => ErrorCode::TooLarge,
            FrameError::Malformed(_) => ErrorCode::Malformed,
        };
        self.refuse(0, &Refusal::new(code));
        self.inbox.clear();
        self.ending = true;
    }

    fn handle_frame(&mut self, frame: ClientFrame) {
        let id = frame.request_id;
        let Some(body) = frame.body else {
            return self.refuse(id, &Refusal::new(ErrorCode::Malformed));
        };
        if let Err(refusal) = self.machine.admit(&body) {
            return self.refuse(id, &refusal);
        }
        match body {
            Request::Pong(_) => {}
            Request::Ping(_) => self.say(id, Response::Pong(wire::Pong {})),
            Request::Acknowledge(request) => self.acknowledge(&request),
            _ if id == 0 => {
                self.refuse(
                    0,
                    &Refusal::malformed("A request needs an id other than 0."),
                );
            }
            Request::Hello(hello) => self.greet(id, &hello),
            Request::Append(request) => self.append(id, request),
            Request::Signal(request) => self.signal(id, &request),
            request if self.work.is_appending() => self.work.hold(id, request),
            request => self.start(id, request),
        }
    }

    fn greet(&mut self, id: u64, hello: &wire::Hello) {
        let common = version::negotiate(hello.version_min, hello.version_max);
        let Some(version) = common.filter(|_| hello.agent.len() <= AGENT_BYTES_MAX) else {
            self.refuse(id, &Refusal::new(ErrorCode::UnsupportedVersion));
            self.ending = true;
            return;
        };
        let nonce: [u8; 32] = rand::random();
        let registration = match self.server.config.registration {
            Registration::Open => wire::RegistrationMode::Open,
            Registration::Invite => wire::RegistrationMode::Invite,
            Registration::Closed => wire::RegistrationMode::Closed,
        };
        let answer = wire::HelloOk {
            version,
            deployment_id: self.server.deployment.to_vec(),
            nonce: nonce.to_vec(),
            server_time_ms: clock::unix_ms(),
            registration: registration.into(),
            payload_bytes_max: u32::try_from(PAYLOAD_BYTES_MAX).unwrap_or(u32::MAX),
            node: self.server.config.name.clone(),
        };
        self.machine.handle_greeted(nonce);
        self.say(id, Response::HelloOk(answer));
    }

    fn start(&mut self, id: u64, request: Request) {
        let server = Arc::clone(&self.server);
        if let Some(identity) = self.machine.identity().cloned() {
            self.work
                .start_request(id, Kind::Other, service::answer(server, identity, request));
            return;
        }
        let connection = Connection {
            address: self.address,
            exporter: self.exporter(),
            nonce: match &request {
                Request::DeviceLogin(_) => self.machine.take_nonce(),
                _ => None,
            },
        };
        let kind = match &request {
            Request::PutLinkOffer(_) | Request::GetLinkAnswer(_) => Kind::Other,
            _ => Kind::Login,
        };
        self.work
            .start_request(id, kind, service::log_in(server, connection, request));
    }

    fn append(&mut self, id: u64, request: wire::Append) {
        let message = match self.machine.identity() {
            Some(identity) => service::append_message(identity, request),
            None => Err(Refusal::new(ErrorCode::NotLoggedIn)),
        };
        match message {
            Ok(message) => {
                let conversation = message.conversation;
                let answer = self.server.store.append(message);
                self.work.start_append(id, conversation, answer);
            }
            Err(refusal) => self.refuse(id, &refusal),
        }
    }

    fn acknowledge(&mut self, request: &wire::Acknowledge) {
        if request.cursors.len() > CURSORS_AT_ONCE_MAX {
            self.refuse(0, &Refusal::new(ErrorCode::TooLarge));
            self.ending = true;
            return;
        }
        let (Some(delivery), Some(identity)) = (&mut self.delivery, self.machine.identity()) else {
            return;
        };
        for cursor in &request.cursors {
            let Ok(conversation) = ConversationId::from_slice(&cursor.conversation_id) else {
                continue;
            };
            if let Some(seq) = delivery.acknowledge(conversation, cursor.seq) {
                self.server
                    .store
                    .advance(identity.device, conversation, seq);
            }
        }
    }

    /// Takes in what finished.
    pub(super) fn poll_work(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let finished = self.work.poll(cx);
        let moved = !finished.is_empty();
        for item in finished {
            match item {
                Finished::Request(id, kind, answer) => self.handle_answer(id, kind, answer),
                Finished::Append(id, log, answer) => self.handle_appended(id, log, answer),
                Finished::Read(request, result) => self.handle_read(request, result),
            }
        }
        Ok(moved)
    }

    fn handle_answer(&mut self, id: u64, kind: Kind, answer: Result<Answer, Refusal>) {
        match answer {
            Ok(answer) => {
                self.say(id, answer.body);
                self.apply(answer.effect);
            }
            Err(refusal) => {
                self.refuse(id, &refusal);
                let counts = kind == Kind::Login && refusal.code() != ErrorCode::Unavailable;
                if counts && self.machine.handle_login_refused() == AfterFailure::Close {
                    self.ending = true;
                }
            }
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::LoggedIn(identity) => {
                self.online = Some(self.server.store.online(identity.device));
                self.bell.belong_to(identity.device);
                self.server.metrics.sessions.inc();
                self.watch = Some(self.subscribe(identity.device.mailbox()));
                self.machine.handle_logged_in(*identity);
            }
            Effect::LoggedOut => self.ending = true,
            Effect::Resumed { states, own, held } => self.resume(&states, &own, &held),
            Effect::Appended { conversation, seq } => {
                let subscription = self.subscribe(conversation);
                if let Some(delivery) = &mut self.delivery {
                    delivery.begin(conversation, seq, subscription);
                }
            }
        }
    }

    fn resume(
        &mut self,
        states: &[MemberState],
        own: &[(ConversationId, u64)],
        held: &[ConversationId],
    ) {
        let Some(identity) = self.machine.identity() else {
            return;
        };
        let mut delivery = self
            .delivery
            .take()
            .unwrap_or_else(|| Box::new(Delivery::new(identity.device)));
        let own: std::collections::HashMap<_, _> = own.iter().copied().collect();
        delivery.hold(own.keys().copied(), held);
        for state in states {
            let subscription = self.subscribe(state.conversation);
            delivery.handle_state(state, own.get(&state.conversation).copied(), subscription);
        }
        delivery.handle_resumed();
        self.machine.handle_resumed();
        // Its mailbox is read from here on, and says the same.
        self.watch = None;
        self.delivery = Some(delivery);
    }

    fn subscribe(&self, conversation: ConversationId) -> Subscription {
        let bell: Arc<dyn Wake> = self.bell.clone();
        self.server.store.bus().subscribe(conversation, bell)
    }

    fn handle_appended(
        &mut self,
        id: u64,
        conversation: ConversationId,
        answer: Result<Appended, AppendError>,
    ) {
        match answer {
            Ok(appended) => {
                self.server.metrics.appends.inc();
                if let Some(delivery) = &mut self.delivery {
                    delivery.handle_own(conversation, appended.seq);
                }
                self.say(
                    id,
                    Response::Appended(wire::Appended {
                        seq: appended.seq,
                        epoch: appended.epoch,
                        stored_at_ms: appended.stored_at_ms,
                    }),
                );
            }
            Err(error) => self.refuse(id, &error.into()),
        }
    }

    fn handle_read(&mut self, request: ReadRequest, result: Result<ReadResult, StoreError>) {
        let Some(identity) = self.machine.identity() else {
            return;
        };
        let Some(delivery) = &mut self.delivery else {
            return self.handle_checked(&result);
        };
        let read = match result {
            Ok(read) => read,
            Err(error) => {
                tracing::debug!(%error, "read");
                delivery.handle_read_failed(request.conversation);
                self.work.pause_reads();
                self.deadlines.handle_read_failed(Instant::now());
                return;
            }
        };
        let Some(extent) = read.extent else {
            delivery.handle_gone(request.conversation);
            if request.conversation == identity.device.mailbox() {
                // The device was logged out, or its account has a new identity.
                self.refuse(0, &Refusal::new(ErrorCode::NotLoggedIn));
                self.ending = true;
            }
            return;
        };
        self.take_in(request, &read.entries, (extent, read.rest()));
    }

    fn take_in(
        &mut self,
        request: ReadRequest,
        entries: &[StoredEnvelope],
        bounds: (Extent, Rest),
    ) {
        let Some(delivery) = &mut self.delivery else {
            return;
        };
        let mut envelopes = Vec::with_capacity(entries.len());
        let opened = delivery.handle_read(request, entries, bounds, |envelope| {
            envelopes.push(envelope);
        });
        for opened in opened {
            let subscription = self.subscribe(opened.conversation);
            if let Some(delivery) = &mut self.delivery {
                delivery.open(opened, subscription);
            }
        }
        self.deliver(envelopes);
    }

    fn deliver(&mut self, envelopes: Vec<wire::Envelope>) {
        // A hint at what was read already, or at an own message, leads to nothing.
        if let Some(hinted_at) = self.hinted_at.take()
            && !envelopes.is_empty()
        {
            timings::observe(&self.server.metrics.delivery, hinted_at.elapsed());
        }
        let count = u64::try_from(envelopes.len()).unwrap_or(0);
        self.server.metrics.envelopes_delivered.inc_by(count);
        let mut frame = wire::Deliver::default();
        let mut bytes = 0;
        for envelope in envelopes {
            bytes += envelope.payload.len();
            frame.envelopes.push(envelope);
            if bytes >= DELIVER_BYTES {
                self.say(0, Response::Deliver(std::mem::take(&mut frame)));
                bytes = 0;
            }
        }
        if !frame.envelopes.is_empty() {
            self.say(0, Response::Deliver(frame));
        }
    }

    /// Starts reads that are due, and says once that all was delivered.
    pub(super) fn poll_deliveries(&mut self) -> bool {
        let Some(identity) = self.machine.identity() else {
            return false;
        };
        let device = identity.device;
        let mut moved = false;
        while !self.ending && self.work.takes_reads() && self.outbox.takes_deliveries() {
            let Some(request) = self.delivery.as_mut().and_then(|d| d.poll_read()) else {
                if !self.work.is_reading() {
                    // What was hinted at is known already, as an own message is.
                    self.hinted_at = None;
                }
                break;
            };
            match self.at_hand(request) {
                Some((entries, rest)) => self.take_in(request, &entries, (Extent::Open, rest)),
                None => self.work.start_read(&self.server.store, device, request),
            }
            moved = true;
        }
        let caught_up = self.delivery.as_mut().is_some_and(|d| d.poll_caught_up());
        if caught_up {
            self.say(0, Response::CaughtUp(wire::CaughtUp {}));
        }
        moved || caught_up
    }

    /// What a read would bring, where this server still has it. There is no commit among it, so
    /// nothing about who may read can have changed.
    fn at_hand(&self, request: ReadRequest) -> Option<(Arc<[StoredEnvelope]>, Rest)> {
        let head = request.head?;
        let store = &self.server.store;
        let entries = store.recent(request.conversation, request.after, head, request.limit)?;
        let reached = entries.last().is_some_and(|last| last.seq >= head);
        let rest = if reached { Rest::None } else { Rest::Possible };
        Some((entries, rest))
    }
}
