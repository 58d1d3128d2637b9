//! The full-screen client without a terminal: how long a key waits for the frame that shows it, in
//! a conversation of 200,000 messages and while 1,000 messages a second arrive, and what memory it
//! takes meanwhile. The real drawing thread, worker and encrypted store; no network, no deployment.
//!
//! Times run from the key to the last byte of the first frame after it, and so hold the frame and
//! everything before it.

mod eyes;
mod past;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sotto_client::rehearsal::{Key, Rehearsal};

use crate::args::Args;
use crate::clock::now;
use crate::error::BenchError;
use crate::latency::Latencies;
use crate::procfs;
use crate::report::{MemoryLine, Report, Run};
use eyes::Eyes;
use past::Past;

/// Columns and rows.
const SIZE: (u16, u16) = (120, 40);
/// Pages that are scrolled.
const PAGES: u64 = 1_000;
/// Messages a second that arrive, when not said.
const RATE: u32 = 1_000;
/// Between two keys of somebody who types fast.
const KEY_EVERY: Duration = Duration::from_millis(40);
/// A screen that wrote nothing for so long has nothing to write.
const CALM: Duration = Duration::from_millis(15);
/// What is typed: letters that no message has, so that the frame that shows one is known.
const LETTERS: [char; 20] = [
    'α', 'β', 'γ', 'δ', 'ε', 'ζ', 'η', 'θ', 'ι', 'κ', 'λ', 'μ', 'ν', 'ξ', 'π', 'ρ', 'τ', 'φ', 'χ',
    'ψ',
];

/// Scrolls, and types while messages arrive.
pub(crate) fn run(args: &Args, report: &mut Report) -> Result<(), BenchError> {
    let folder = std::env::temp_dir().join(format!("sotto-bench-screen-{}", std::process::id()));
    let result = run_in(&folder, args, report);
    // What stays is in the system's folder for temporary files.
    let _ = std::fs::remove_dir_all(&folder);
    if let Ok(load) = std::fs::read_to_string("/proc/loadavg") {
        let load = load.split(' ').next().unwrap_or_default().to_owned();
        report.notes.push(format!(
            "{load} programs wanted a core on average in the last minute"
        ));
    }
    result
}

fn run_in(folder: &Path, args: &Args, report: &mut Report) -> Result<(), BenchError> {
    let started = now();
    let past = Past::make(folder, args.messages)?;
    report.notes.push(format!(
        "{} messages of {} bytes on average were put into the store in {:.1} s",
        past.count,
        past.bytes / past.count.max(1),
        since(started).as_secs_f64()
    ));
    let (eyes, out) = Eyes::open(SIZE);
    let opened = now();
    let screen =
        Rehearsal::open(&past.profile(), SIZE, Box::new(out)).map_err(BenchError::Client)?;
    eyes.until(&past::token(past.count))?;
    report.runs.push(Run {
        name: "from the start to the last messages, with the password's key".to_owned(),
        clients: 1,
        seconds: since(opened).as_secs_f64(),
        ..Run::default()
    });
    let before = memory();
    report.runs.push(scroll(&screen, &eyes, past.count)?);
    screen.press(Key::Newest);
    eyes.until(&past::token(past.count))?;
    let rate = args.rate.unwrap_or(RATE).max(1);
    report
        .runs
        .push(soak(&screen, &eyes, (&past, rate, args.length()))?);
    let after = memory();
    report.memory.push(MemoryLine {
        process: "screen, worker and store".to_owned(),
        before_rss_bytes: before.rss_bytes,
        after_rss_bytes: after.rss_bytes,
        after_pss_bytes: after.pss_bytes,
    });
    screen.close().map_err(BenchError::Client)
}

fn since(start: Instant) -> Duration {
    now().saturating_duration_since(start)
}

fn memory() -> procfs::Memory {
    procfs::memory(std::process::id()).unwrap_or_default()
}

/// Goes back through the history, page by page.
fn scroll(screen: &Rehearsal, eyes: &Eyes, count: u64) -> Result<Run, BenchError> {
    let mut latencies = Latencies::new();
    let started = now();
    for _ in 0..PAGES.min(count / 10) {
        eyes.calm(CALM)?;
        let pressed = eyes.look();
        screen.press(Key::PageUp);
        latencies.record(eyes.next_frame(pressed)?);
    }
    eyes.calm(CALM)?;
    let reached = past::tokens(&eyes.words()).min();
    if reached.is_none_or(|reached| reached > count - count / 20) {
        return Err(BenchError::Screen(format!(
            "scrolling did not get anywhere: {reached:?} of {count}"
        )));
    }
    Ok(Run {
        name: format!("page up, {} times, in {count} messages", latencies.total()),
        clients: 1,
        seconds: since(started).as_secs_f64(),
        latency: [("key to drawn frame", latencies.percentiles())].into(),
        figures: [("messages passed", (count - reached.unwrap_or(count)) as f64)].into(),
        ..Run::default()
    })
}

/// Types while messages arrive.
fn soak(
    screen: &Rehearsal,
    eyes: &Eyes,
    (past, rate, length): (&Past, u32, Duration),
) -> Result<Run, BenchError> {
    let over = AtomicBool::new(false);
    let frames_before = eyes.frames();
    let started = now();
    let (arrived, latencies) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(screen, past, (rate, &over)));
        let latencies = typing(screen, eyes, length);
        over.store(true, Ordering::SeqCst);
        (flood.join(), latencies)
    });
    let arrived = arrived.map_err(|_| BenchError::Screen("the flood ended early".to_owned()))?;
    let latencies = latencies?;
    let seconds = since(started).as_secs_f64();
    let frames = eyes.frames() - frames_before;
    // Nothing may be missing at the end.
    let quiet = now();
    eyes.until(&past::token(past.count + arrived))?;
    Ok(Run {
        name: format!("typing while {rate} messages a second arrive"),
        clients: 1,
        seconds,
        per_s: arrived as f64 / seconds,
        latency: [("key to drawn frame", latencies.percentiles())].into(),
        figures: [
            ("keys", latencies.total() as f64),
            ("frames a second", frames as f64 / seconds),
            (
                "ms until the last message stood there",
                since(quiet).as_secs_f64() * 1_000.0,
            ),
        ]
        .into(),
        ..Run::default()
    })
}

/// Messages at a steady rate, until it is over; how many.
fn flood(screen: &Rehearsal, past: &Past, (rate, over): (u32, &AtomicBool)) -> u64 {
    let started = now();
    let mut given = 0;
    while !over.load(Ordering::SeqCst) {
        let due = (since(started).as_secs_f64() * f64::from(rate)) as u64;
        while given < due {
            given += 1;
            screen.arrives(past.arrival(past.count + given));
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    // One at least, and the last of them is looked for.
    given += 1;
    screen.arrives(past.arrival(past.count + given));
    given
}

/// Types, key by key, and waits for each to stand on the screen.
fn typing(screen: &Rehearsal, eyes: &Eyes, length: Duration) -> Result<Latencies, BenchError> {
    let mut latencies = Latencies::new();
    let until = now() + length;
    for letter in LETTERS.into_iter().cycle() {
        if now() >= until {
            return Ok(latencies);
        }
        let mut bytes = [0; 4];
        let letter_bytes = letter.encode_utf8(&mut bytes).as_bytes();
        let pressed = eyes.look_for(letter_bytes);
        screen.press(Key::Typed(letter));
        latencies.record(eyes.found(pressed)?);
        eyes.words();
        if Some(&letter) == LETTERS.last() {
            screen.press(Key::Clear);
        }
        std::thread::park_timeout(KEY_EVERY);
    }
    Ok(latencies)
}
