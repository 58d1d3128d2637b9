//! The stages put together: shares of a message's time and of its CPU.
//!
//! Pure arithmetic over what was measured. It explains nothing away: what is left of the whole is a
//! row of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::super::sealing::Costs;
use crate::report::Table;
use crate::server_metrics::Steps;

/// What one stretch of messages gave.
#[derive(Debug, Default, Clone)]
pub(super) struct Stretch {
    /// Messages a second.
    pub(super) per_s: f64,
    /// From due to read by the receiver, without sealing and opening; the mean.
    pub(super) whole_us: f64,
    /// From due to acknowledged; the mean.
    pub(super) acknowledged_us: f64,
    /// The servers' own steps.
    pub(super) steps: Steps,
    /// One sync of the write-ahead log, where Postgres times them.
    pub(super) sync_us: Option<f64>,
    /// Cores kept busy, by purpose.
    pub(super) cores: BTreeMap<&'static str, f64>,
}

/// Everything that was measured.
pub(super) struct Profile {
    pub(super) costs: Costs,
    /// A ping through the balancer, there and back.
    pub(super) trip_us: f64,
    /// The same without it.
    pub(super) direct_us: f64,
    pub(super) one_server: Option<Stretch>,
    pub(super) two_servers: Option<Stretch>,
    /// Cores kept busy by connections that do nothing.
    pub(super) idle: BTreeMap<&'static str, f64>,
    pub(super) busy: Option<Stretch>,
}

/// One stage of a message's way, in microseconds.
#[derive(Debug, Clone, PartialEq)]
struct Stage {
    name: &'static str,
    us: f64,
    counts: Counts,
}

/// Whether a stage is a part of the whole or of the stage before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Whole,
    Within,
}

impl Profile {
    fn stages(&self, stretch: &Stretch) -> Vec<Stage> {
        let steps = &stretch.steps;
        let part = |name, us| Stage {
            name,
            us,
            counts: Counts::Whole,
        };
        let within = |name, us| Stage {
            name,
            us,
            counts: Counts::Within,
        };
        let balancer_us = (self.trip_us - self.direct_us).max(0.0);
        // Not every delivery reads: what was stored by the same server is at hand.
        let reads = steps.read.count / steps.delivery.count.max(1.0);
        let mut stages = vec![
            part("client: seal and store", self.costs.seal_us.0),
            part("client to server and server to client", self.direct_us),
            part("balancer, both ways", balancer_us),
            part(
                "server: waits for a transaction",
                steps.append_wait.mean_us(),
            ),
            part(
                "Postgres: the transaction",
                steps.append_transaction.mean_us(),
            ),
            within(
                "of it a sync of the log",
                stretch.sync_us.unwrap_or(f64::NAN),
            ),
            part(
                "server: hint to session, read, handed over",
                steps.delivery.mean_us(),
            ),
            within("of it reading the log", steps.read.mean_us() * reads),
        ];
        let explained: f64 = sum(&stages) - self.costs.seal_us.0;
        let rest = stretch.whole_us - explained;
        stages.push(part("the rest: hint to the other server, scheduling", rest));
        stages.push(part("client: open and store", self.costs.open_us.0));
        stages
    }

    /// Time, and CPU.
    pub(super) fn tables(&self, rate: u32) -> Vec<Table> {
        vec![self.time(rate), self.cpu(rate)]
    }

    fn time(&self, rate: u32) -> Table {
        let title = format!("where the time of a message goes, {rate} a second, means");
        let columns = ["µs, one server", "share", "µs, two servers", "share"];
        let mut table = Table::new(title, &columns);
        let both = [&self.one_server, &self.two_servers]
            .map(|stretch| stretch.as_ref().map(|stretch| self.stages(stretch)));
        let Some(names) = both.iter().flatten().next() else {
            return table;
        };
        for (place, stage) in names.iter().enumerate() {
            let mut values = Vec::new();
            for stages in &both {
                let us = stages.as_ref().and_then(|stages| stages.get(place));
                let us = us.map_or(f64::NAN, |stage| stage.us);
                let whole = stages.as_ref().map_or(f64::NAN, |stages| sum(stages));
                values.extend([us, us / whole]);
            }
            let name = match stage.counts {
                Counts::Whole => stage.name.to_owned(),
                Counts::Within => format!("  {}", stage.name),
            };
            table.row(name, &values);
        }
        let mut totals = Vec::new();
        for stages in &both {
            let whole = stages.as_ref().map_or(f64::NAN, |stages| sum(stages));
            totals.extend([whole, 1.0]);
        }
        table.row("a message, sealed to opened", &totals);
        let acknowledged = [&self.one_server, &self.two_servers]
            .map(|stretch| stretch.as_ref().map_or(f64::NAN, |s| s.acknowledged_us));
        let [one, two] = acknowledged;
        table.row(
            "beside it: sent to acknowledged",
            &[one, f64::NAN, two, f64::NAN],
        );
        table
    }

    fn cpu(&self, rate: u32) -> Table {
        let title = "where the CPU of a message goes, without what idles";
        let calm = format!("µs at {rate} a second");
        let columns = [calm.as_str(), "share", "µs at 16 in flight", "share"];
        let mut table = Table::new(title, &columns);
        let stretches = [&self.two_servers, &self.busy];
        let each = stretches.map(|stretch| stretch.as_ref().map(|s| self.cpu_each(s)));
        let names: BTreeSet<&str> = each
            .iter()
            .flatten()
            .flat_map(|all| all.keys().copied())
            .collect();
        let wholes = each.each_ref().map(|all| {
            all.as_ref()
                .map_or(f64::NAN, |all| all.values().sum::<f64>())
        });
        for name in names {
            let mut values = Vec::new();
            for (all, whole) in each.iter().zip(wholes) {
                let us = all.as_ref().and_then(|all| all.get(name)).copied();
                let us = us.unwrap_or(f64::NAN);
                values.extend([us, us / whole]);
            }
            table.row(name, &values);
        }
        let [calm, busy] = wholes;
        table.row("a message, all of it", &[calm, 1.0, busy, 1.0]);
        table
    }

    /// CPU of a message by purpose, in microseconds.
    fn cpu_each(&self, stretch: &Stretch) -> BTreeMap<&'static str, f64> {
        let mut each: BTreeMap<&'static str, f64> = stretch
            .cores
            .iter()
            .map(|(name, cores)| {
                let idle = self.idle.get(name).copied().unwrap_or(0.0);
                let us = (cores - idle).max(0.0) * 1e6 / stretch.per_s.max(1e-9);
                (*name, us)
            })
            .collect();
        each.insert("sender: seal and store", self.costs.seal_us.1);
        each.insert("sender: store as sent", self.costs.settle_us.1);
        each.insert("receiver: open and store", self.costs.open_us.1);
        each
    }

    /// The largest stage of each table.
    pub(super) fn verdict(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(stretch) = &self.two_servers {
            let stages = self.stages(stretch);
            let whole = stages.iter().filter(|stage| stage.counts == Counts::Whole);
            if let Some(most) = whole.max_by(|a, b| a.us.total_cmp(&b.us)) {
                let share = 100.0 * most.us / sum(&stages);
                notes.push(format!("most of the time: {} ({share:.0} %)", most.name));
            }
        }
        if let Some(stretch) = &self.busy {
            let each = self.cpu_each(stretch);
            let whole: f64 = each.values().sum();
            if let Some((name, us)) = each.iter().max_by(|a, b| a.1.total_cmp(b.1)) {
                let share = 100.0 * us / whole.max(1e-9);
                notes.push(format!("most of the CPU under load: {name} ({share:.0} %)"));
            }
        }
        notes
    }
}

fn sum(stages: &[Stage]) -> f64 {
    let whole = stages.iter().filter(|stage| stage.counts == Counts::Whole);
    whole.map(|stage| stage.us).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_metrics::Step;

    fn step(us: f64) -> Step {
        Step {
            count: 10.0,
            seconds: 10.0 * us / 1e6,
        }
    }

    fn profile() -> Profile {
        let stretch = Stretch {
            per_s: 100.0,
            whole_us: 2_000.0,
            acknowledged_us: 1_500.0,
            steps: Steps {
                append_wait: step(50.0),
                append_transaction: step(700.0),
                batches: 9.0,
                read: step(300.0),
                delivery: step(400.0),
            },
            sync_us: Some(500.0),
            cores: BTreeMap::from([("servers", 0.02), ("balancer", 0.01)]),
        };
        Profile {
            costs: Costs {
                seal_us: (200.0, 150.0),
                settle_us: (90.0, 80.0),
                open_us: (300.0, 250.0),
            },
            trip_us: 250.0,
            direct_us: 150.0,
            one_server: None,
            two_servers: Some(stretch.clone()),
            idle: BTreeMap::from([("servers", 0.005)]),
            busy: Some(stretch),
        }
    }

    #[test]
    fn stages_and_rest_are_the_whole() {
        let profile = profile();
        let stages = profile.stages(profile.two_servers.as_ref().unwrap());
        // The message's own way, and what both clients do to it.
        assert!((sum(&stages) - 2_500.0).abs() < 1e-6);
        let rest = stages
            .iter()
            .find(|stage| stage.name.starts_with("the rest"));
        assert!((rest.unwrap().us - 600.0).abs() < 1e-6);
        let table = profile.time(100);
        assert!(table.rows[0].values[0].is_nan(), "no pairs on one server");
        let shares: f64 = table
            .rows
            .iter()
            .filter(|row| !row.name.starts_with("  ") && row.name.contains(':'))
            .filter(|row| !row.name.starts_with("beside"))
            .map(|row| row.values[3])
            .sum();
        let others = [1, 2].map(|place| table.rows[place].values[3]);
        assert!(
            (shares + others[0] + others[1] - 1.0).abs() < 1e-6,
            "{table:?}"
        );
    }

    #[test]
    fn cpu_is_without_what_idles() {
        let profile = profile();
        let each = profile.cpu_each(profile.busy.as_ref().unwrap());
        assert!((each["servers"] - 150.0).abs() < 1e-6);
        assert!((each["balancer"] - 100.0).abs() < 1e-6);
        assert_eq!(profile.verdict().len(), 2);
        assert!(profile.verdict()[0].contains("the transaction"));
    }
}
