//! What a scenario found, as one JSON object or as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::checker::Tally;
use crate::comparison::{self, Comparison};
use crate::latency::Percentiles;

/// Everything that one invocation found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// The scenario's name.
    pub(crate) scenario: &'static str,
    /// Cores that all processes share.
    pub(crate) cores: usize,
    /// The machine's own measures, taken beside the runs.
    pub(crate) machine: Option<Machine>,
    /// Runs, in order.
    pub(crate) runs: Vec<Run>,
    /// Memory, where the scenario looks at it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) memory: Vec<MemoryLine>,
    /// Figures of several servers side by side.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) compared: Vec<Comparison>,
    /// Figures that are no runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tables: Vec<Table>,
    /// What else to know of the figures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// What makes the scenario fail.
    pub(crate) failures: Vec<String>,
}

/// The measure of the machine.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Machine {
    /// An echo over the same TLS stack, without balancer, protocol or database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) echo: Option<Rate>,
    /// Durable commits of the deployment's Postgres, one connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commits_one: Option<Rate>,
    /// The same over four connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commits_four: Option<Rate>,
}

/// How often something went, and how long it took.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Rate {
    /// Times a second, over all lanes.
    pub(crate) per_s: f64,
    /// Lanes that worked at the same time.
    pub(crate) lanes: usize,
    /// Each time.
    pub(crate) latency: Percentiles,
}

/// One measured stretch.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Run {
    /// What was done.
    pub(crate) name: String,
    /// Connected clients that took part.
    pub(crate) clients: u32,
    /// Length of the stretch.
    pub(crate) seconds: f64,
    /// Messages a second, or whatever the name says.
    pub(crate) per_s: f64,
    /// The verdict over the messages, where there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<Tally>,
    /// Latencies by what was waited for.
    pub(crate) latency: BTreeMap<&'static str, Percentiles>,
    /// CPU by kind of process, in cores kept busy on average.
    pub(crate) cpu_cores: BTreeMap<&'static str, f64>,
    /// CPU by kind of process for each message, in microseconds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) cpu_us_each: BTreeMap<&'static str, f64>,
    /// Further figures by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) figures: BTreeMap<&'static str, f64>,
}

/// Rows of figures under a title.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Table {
    /// What it is of.
    pub(crate) title: String,
    /// What each column is, with its unit.
    pub(crate) columns: Vec<String>,
    /// The rows.
    pub(crate) rows: Vec<Row>,
}

/// One row.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What it is of.
    pub(crate) name: String,
    /// One figure for each column.
    pub(crate) values: Vec<f64>,
}

impl Table {
    /// An empty one.
    pub(crate) fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        Self {
            title: title.into(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// One row more.
    pub(crate) fn row(&mut self, name: impl Into<String>, values: &[f64]) {
        self.rows.push(Row {
            name: name.into(),
            values: values.to_vec(),
        });
    }

    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "  {} ({})", self.title, self.columns.join(", "));
        for row in &self.rows {
            let values: Vec<String> = row.values.iter().map(|value| figure(*value)).collect();
            let _ = writeln!(text, "    {:<58}{}", row.name, values.join("  "));
        }
    }
}

fn figure(value: f64) -> String {
    let shown = match value.abs() {
        v if v.is_nan() => String::new(),
        v if v >= 1_000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    };
    format!("{shown:>12}")
}

/// Memory of one process.
#[derive(Debug, Serialize)]
pub(crate) struct MemoryLine {
    /// Its name in the deployment.
    pub(crate) process: String,
    /// Resident before.
    pub(crate) before_rss_bytes: u64,
    /// Resident after.
    pub(crate) after_rss_bytes: u64,
    /// Proportional after.
    pub(crate) after_pss_bytes: u64,
}

impl Report {
    /// Whether nothing was lost, duplicated, reordered or broken.
    pub(crate) fn holds(&self) -> bool {
        self.failures.is_empty()
            && self
                .runs
                .iter()
                .all(|run| run.messages.is_none_or(|m| m.holds()))
    }

    /// For people.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{} on {} cores\n", self.scenario, self.cores);
        if let Some(machine) = &self.machine {
            machine.write(&mut text);
        }
        for run in &self.runs {
            run.write(&mut text, self.machine.as_ref());
        }
        for line in &self.memory {
            line.write(&mut text);
        }
        for table in &self.tables {
            table.write(&mut text);
        }
        comparison::write(&self.compared, &mut text);
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        for failure in &self.failures {
            let _ = writeln!(text, "FAILED: {failure}");
        }
        let verdict = if self.holds() {
            "holds"
        } else {
            "DOES NOT HOLD"
        };
        let _ = writeln!(text, "verdict: {verdict}");
        text
    }
}

impl Machine {
    fn write(&self, text: &mut String) {
        let lines = [
            ("echo over TLS", self.echo),
            ("Postgres commits, one connection", self.commits_one),
            ("Postgres commits, four connections", self.commits_four),
        ];
        for (name, rate) in lines {
            if let Some(rate) = rate {
                let _ = writeln!(
                    text,
                    "  machine: {name}: {:.0}/s over {} lanes, {}",
                    rate.per_s,
                    rate.lanes,
                    shown(rate.latency)
                );
            }
        }
    }
}

impl Run {
    fn write(&self, text: &mut String, machine: Option<&Machine>) {
        let _ = writeln!(
            text,
            "  {}: {:.0}/s over {:.1} s with {} clients",
            self.name, self.per_s, self.seconds, self.clients
        );
        if let Some(echo) = machine.and_then(|machine| machine.echo) {
            let _ = writeln!(
                text,
                "    {:.2} of the machine's echo",
                self.per_s / echo.per_s
            );
        }
        if let Some(tally) = self.messages {
            let _ = writeln!(
                text,
                "    sent {}, acknowledged {}, delivered {}, lost {}, duplicated {}, reordered {}, redelivered {}",
                tally.sent,
                tally.acknowledged,
                tally.delivered,
                tally.lost,
                tally.duplicated,
                tally.reordered,
                tally.redelivered
            );
        }
        for (name, latency) in &self.latency {
            let _ = writeln!(text, "    {name}: {}", shown(*latency));
        }
        for (process, cores) in &self.cpu_cores {
            let each = self.cpu_us_each.get(process);
            let each = each.map_or_else(String::new, |us| format!(", {us:.1} µs each"));
            let _ = writeln!(text, "    CPU {process}: {cores:.2} cores{each}");
        }
        for (name, figure) in &self.figures {
            let _ = writeln!(text, "    {name}: {figure:.3}");
        }
    }
}

impl MemoryLine {
    fn write(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "  memory {}: {} KiB → {} KiB (PSS {} KiB)",
            self.process,
            self.before_rss_bytes / 1024,
            self.after_rss_bytes / 1024,
            self.after_pss_bytes / 1024
        );
    }
}

fn shown(latency: Percentiles) -> String {
    format!(
        "p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms",
        latency.p50_us as f64 / 1e3,
        latency.p99_us as f64 / 1e3,
        latency.p999_us as f64 / 1e3,
        latency.max_us as f64 / 1e3
    )
}
