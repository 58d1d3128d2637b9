//! Several engines on one thread under one seed and a clock of our own: a scheduler delays, cuts and
//! repeats what they send, kills them and starts them again on their stores, while people write to
//! each other and change groups.
//!
//! The log server is the relay, which is held equal to the documents of the wire; the real one is
//! tried by `sotto-faults`. Keys come from the operating system, so that a seed repeats what was done
//! and when, not every byte.
//!
//! `SOTTO_SIMULATION_SEEDS=5000 SOTTO_SIMULATION_FIRST=1 cargo test --release -p sotto-client --test
//! engine_flows simulation` tries many; `SOTTO_SIMULATION_STORY=FOLDER` writes down there what
//! happened in each, line by line.

#[path = "../../../../faults/src/dice.rs"]
mod dice;

mod agreement;
mod check;
mod sim;
mod story;

use std::sync::atomic::{AtomicU64, Ordering};

use sim::{Simulation, Template};

/// Seeds that every run of the tests tries.
const SEEDS: u64 = 8;
/// The most threads that try seeds side by side.
const THREADS_MAX: usize = 8;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |value| value.parse().unwrap())
}

/// Tries a seed; what went wrong.
fn trial(template: &Template, seed: u64) -> Vec<String> {
    let mut simulation = Simulation::new(template, seed);
    simulation.storm();
    simulation.heal();
    let wrong = check::judge(&simulation);
    simulation.story.write(seed);
    if std::env::var_os("SOTTO_SIMULATION_TALK").is_some() {
        println!("seed {seed}: {}", simulation.summary());
        for what in &wrong {
            println!("seed {seed}: {what}");
        }
    }
    wrong
}

#[test]
fn whatever_the_network_does_everything_comes_once_and_in_order() {
    let first = from_environment("SOTTO_SIMULATION_FIRST", 1);
    let end = first + from_environment("SOTTO_SIMULATION_SEEDS", SEEDS);
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let template = Template::new();
        let mut wrong = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return wrong;
            }
            let found = trial(&template, seed);
            wrong.extend(found.into_iter().map(|what| format!("seed {seed}: {what}")));
        }
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads.min(THREADS_MAX))
            .map(|_| scope.spawn(work))
            .collect();
        let found = handles.into_iter();
        found.flat_map(|handle| handle.join().unwrap()).collect()
    });
    assert!(
        wrong.is_empty(),
        "{} findings:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
