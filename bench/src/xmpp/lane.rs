//! A lane over XMPP: two connected clients, and messages that flow from one to the other.
//!
//! Driven, checked and timed by the same bookkeeping as a lane of Sotto. XMPP's sender is told
//! nothing, so a message counts as acknowledged when it is delivered.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::client::{Account, XmppClient};
use super::xml::Element;
use crate::alarm::Alarm;
use crate::clock::now;
use crate::error::BenchError;
use crate::lane::{Driven, Outcome, Plan, Progress};
use crate::pair::SHORT_TEXT;
use crate::target::Target;

/// Set-ups under way at the same time.
const SETUP_MAX: usize = 24;

/// Sender and receiver.
pub(crate) struct XmppLane {
    pub(crate) sending: XmppClient,
    pub(crate) receiving: XmppClient,
    pub(crate) sender: Account,
    pub(crate) receiver: Account,
}

impl XmppLane {
    async fn set_up(target: &Target, number: u32) -> Result<Self, BenchError> {
        let (sender, receiver) = (Account::new(2 * number), Account::new(2 * number + 1));
        let mut sending = XmppClient::register(target, &sender).await?;
        let mut receiving = XmppClient::register(target, &receiver).await?;
        for client in [&mut sending, &mut receiving] {
            client.announce().await?;
            client.settle().await?;
        }
        Ok(Self {
            sending,
            receiving,
            sender,
            receiver,
        })
    }

    async fn follow(&mut self, progress: &mut Progress<'_>) -> Result<(), BenchError> {
        let to = self.receiving.jid().to_owned();
        let mut alarm = Alarm::new()?;
        loop {
            let at = now();
            if progress.is_over(at) {
                return Ok(());
            }
            while progress.may_send(at) {
                let number = progress.send(at);
                let id = message_id(progress.tag(), number);
                self.sending.queue_message(&to, &id, SHORT_TEXT);
            }
            self.sending.flush().await?;
            tokio::select! {
                element = self.sending.next() => refused(&element?)?,
                element = self.receiving.next() => receive(progress, &element?),
                () = alarm.until(progress.wake(at)) => {}
            }
            while let Some(element) = self.sending.take()? {
                refused(&element)?;
            }
            while let Some(element) = self.receiving.take()? {
                receive(progress, &element);
            }
        }
    }
}

impl Driven for XmppLane {
    async fn drive(&mut self, plan: &Plan) -> Outcome {
        let mut progress = Progress::new(plan);
        let failure = self.follow(&mut progress).await.err();
        progress.finish(failure)
    }
}

fn receive(progress: &mut Progress<'_>, element: &Element) {
    if let Some(number) = number_of(progress.tag(), element) {
        progress.on_only_delivery(number, now());
    }
}

/// A message that came back is one that the server does not deliver.
fn refused(element: &Element) -> Result<(), BenchError> {
    if element.name == "message" && element.attribute("type") == Some("error") {
        return Err(BenchError::Peer(
            "a message came back as refused".to_owned(),
        ));
    }
    Ok(())
}

/// The id of message `number` of a sender with this random tag.
pub(crate) fn message_id(tag: u64, number: u64) -> String {
    format!("{tag:016x}-{number:x}")
}

/// The number of a message of that sender that carries the text; nothing for anything else.
pub(crate) fn number_of(tag: u64, element: &Element) -> Option<u64> {
    if element.name != "message" || element.attribute("type") == Some("error") {
        return None;
    }
    let (head, tail) = element.attribute("id")?.split_once('-')?;
    let is_ours =
        u64::from_str_radix(head, 16) == Ok(tag) && element.child("body")?.text == SHORT_TEXT;
    is_ours
        .then(|| u64::from_str_radix(tail, 16).ok())
        .flatten()
}

/// Sets up so many lanes, several at a time.
///
/// # Errors
/// When one cannot be set up.
pub(crate) async fn set_up(target: &Target, count: u32) -> Result<Vec<XmppLane>, BenchError> {
    let gate = Arc::new(Semaphore::new(SETUP_MAX));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (gate, target) = (Arc::clone(&gate), target.clone());
        tasks.spawn(async move {
            let _turn = gate.acquire_owned().await;
            XmppLane::set_up(&target, number).await
        });
    }
    let mut lanes = Vec::with_capacity(count as usize);
    while let Some(lane) = tasks.join_next().await {
        lanes.push(lane??);
    }
    Ok(lanes)
}
