//! A short fault run: parts of a deployment die, stop and lose each other under a random workload,
//! and the checker of `sotto-faults` judges what every client saw. A long one, with everything that
//! can break, is a command (docs/operations.md).

use std::path::PathBuf;
use std::time::Duration;

use sotto_faults::{Fault, Options, run};

use crate::support::SOTTO;

/// What breaks: each once, in the seed's order, and nothing that asks for more than this test has.
const BREAKS: [Fault; 7] = [
    Fault::ServerKilled,
    Fault::ServerStopped,
    Fault::DatabaseKilled,
    Fault::StandbyPromoted,
    Fault::NoticesEnded,
    Fault::ClientKilled,
    Fault::ClientsRefused,
];
/// Never reached: the number of faults ends the run.
const LENGTH_MAX: Duration = Duration::from_secs(600);

#[test]
fn nothing_is_lost_doubled_or_reordered_whatever_breaks() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        sotto: PathBuf::from(SOTTO),
        length: LENGTH_MAX,
        seed: 20,
        servers: 2,
        people: 3,
        faults: BREAKS.to_vec(),
        strikes_max: Some(BREAKS.len()),
        history: dir.path().join("history.jsonl"),
    };
    let report = match run(&options, &mut |line| println!("{line}")) {
        Ok(report) => report,
        Err(error) => panic!("no verdict: {error}"),
    };
    println!("{}", report.to_text());
    if !report.holds() {
        let kept = dir.keep();
        panic!("{:#?}\nhistory in {}", report.violations, kept.display());
    }
    assert_eq!((report.strikes, report.skipped.len()), (BREAKS.len(), 0));
    assert!(report.tally.acknowledged > 20, "{:?}", report.tally);
}
