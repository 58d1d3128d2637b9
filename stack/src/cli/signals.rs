//! Requests to stop: SIGINT, SIGTERM and SIGHUP.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::INTERRUPTED;
use crate::deployment::Cancel;

/// The receiving end of stop requests.
#[derive(Debug)]
pub(crate) struct StopRequests {
    receiver: Receiver<()>,
}

impl StopRequests {
    /// Takes over the signals of this process. The first one cancels a start under way and is
    /// reported by [`StopRequests::wait`]; the second ends the process at once, and the
    /// parent-death signal its children.
    ///
    /// # Errors
    /// Fails when the signals cannot be taken over.
    pub(crate) fn listen(cancel: Cancel) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (mut interrupt, mut terminate, mut hangup) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            )
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let mut is_first = true;
                    loop {
                        tokio::select! {
                            _ = interrupt.recv() => {}
                            _ = terminate.recv() => {}
                            _ = hangup.recv() => {}
                        }
                        if !is_first {
                            std::process::exit(i32::from(INTERRUPTED));
                        }
                        is_first = false;
                        cancel.cancel();
                        // The queue has room for the one message that is ever sent.
                        let _ = sender.send(());
                    }
                });
            })?;
        Ok(Self { receiver })
    }

    /// Waits for a request, at most `limit`. Returns whether there was one.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        match self.receiver.recv_timeout(limit) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
            Err(RecvTimeoutError::Timeout) => false,
        }
    }
}
