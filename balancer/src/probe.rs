//! Asks each backend's application whether it is ready.
//!
//! A TCP connection proves nothing (a stopped process still has one accepted by its kernel),
//! so the question is HTTP: a 2xx answer is ready, any other answer is alive but not ready,
//! no answer in time is a failure.

use crate::config::HealthUrl;
use crate::core::Core;
use crate::health::ProbeOutcome;
use crate::pool::Serial;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Enough for `HTTP/1.1 200`.
const STATUS_BYTES: usize = 12;

/// Probes one backend until the task is ended.
pub(crate) async fn run(core: Arc<Core>, serial: Serial, url: HealthUrl) {
    let settings = core.config.load().health.clone();
    let mut ticks = interval(Duration::from_millis(settings.interval_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = timeout(Duration::from_millis(settings.timeout_ms), ask(&url)).await;
        let outcome = match answer {
            Ok(Ok(status)) => judge(status),
            Ok(Err(_)) => ProbeOutcome::Failed,
            Err(_) => {
                // The wait was pause enough: a stopped process is found out that much sooner.
                ticks.reset_immediately();
                ProbeOutcome::Failed
            }
        };
        core.metrics.probe(outcome);
        core.handle_probe(serial, outcome);
    }
}

async fn ask(url: &HealthUrl) -> io::Result<[u8; STATUS_BYTES]> {
    let mut socket = url.endpoint.connect().await?;
    let (path, host) = (&url.path, &url.endpoint);
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut status = [0; STATUS_BYTES];
    socket.read_exact(&mut status).await?;
    Ok(status)
}

fn judge(status: [u8; STATUS_BYTES]) -> ProbeOutcome {
    match status.strip_prefix(b"HTTP/1.") {
        Some([_, b' ', b'2', ..]) => ProbeOutcome::Ready,
        Some([_, b' ', b'1'..=b'5', ..]) => ProbeOutcome::NotReady,
        _ => ProbeOutcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_by_the_status() {
        assert_eq!(judge(*b"HTTP/1.1 200"), ProbeOutcome::Ready);
        assert_eq!(judge(*b"HTTP/1.0 204"), ProbeOutcome::Ready);
        assert_eq!(judge(*b"HTTP/1.1 503"), ProbeOutcome::NotReady);
        assert_eq!(judge(*b"HTTP/1.1 404"), ProbeOutcome::NotReady);
        assert_eq!(judge(*b"SSH-2.0-200 "), ProbeOutcome::Failed);
    }
}
