//! Figures of several servers side by side: a median over rounds for each, and ratios.
//!
//! Pure bookkeeping. It judges nothing: the verdict of a run is about messages, never about speed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

/// What Sotto is called in the table.
pub(crate) const OURS: &str = "sotto";

/// One figure of all servers.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Comparison {
    /// What was measured.
    pub(crate) figure: String,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What each round gave, by server.
    pub(crate) rounds: BTreeMap<&'static str, Vec<f64>>,
    /// The median of the rounds, by server.
    pub(crate) medians: BTreeMap<&'static str, f64>,
    /// Sotto's median as a multiple of each other's.
    pub(crate) ours_to: BTreeMap<&'static str, f64>,
}

/// Gathers figures while rounds go on.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    all: Vec<Comparison>,
}

impl Gathering {
    /// One figure of one server in one round; what is no number is left out.
    pub(crate) fn add(
        &mut self,
        server: &'static str,
        figure: &str,
        unit: &'static str,
        value: f64,
    ) {
        if !value.is_finite() {
            return;
        }
        let place = match self.all.iter().position(|one| one.figure == figure) {
            Some(place) => place,
            None => {
                self.all.push(Comparison {
                    figure: figure.to_owned(),
                    unit,
                    rounds: BTreeMap::new(),
                    medians: BTreeMap::new(),
                    ours_to: BTreeMap::new(),
                });
                self.all.len() - 1
            }
        };
        if let Some(comparison) = self.all.get_mut(place) {
            comparison.rounds.entry(server).or_default().push(value);
        }
    }

    /// All figures with their medians and ratios, in the order in which they first came.
    pub(crate) fn finish(self) -> Vec<Comparison> {
        self.all.into_iter().map(Comparison::finish).collect()
    }
}

impl Comparison {
    fn finish(mut self) -> Self {
        for (server, values) in &self.rounds {
            if let Some(median) = median(values) {
                self.medians.insert(server, median);
            }
        }
        if let Some(ours) = self.medians.get(OURS).copied() {
            for (server, theirs) in &self.medians {
                if *server != OURS && *theirs > 0.0 {
                    self.ours_to.insert(server, ours / theirs);
                }
            }
        }
        self
    }
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, upper))
}

/// A table for people.
pub(crate) fn write(all: &[Comparison], text: &mut String) {
    for one in all {
        let _ = writeln!(text, "  {} ({})", one.figure, one.unit);
        for (server, median) in &one.medians {
            let rounds = one.rounds.get(server).map(Vec::as_slice);
            let rounds: Vec<String> = rounds
                .unwrap_or_default()
                .iter()
                .map(|v| shown(*v))
                .collect();
            let ratio = one.ours_to.get(server);
            let ratio =
                ratio.map_or_else(String::new, |ratio| format!("sotto/{server} {ratio:.2}"));
            let _ = writeln!(
                text,
                "    {server:<10}{:>12}  {ratio:<24} rounds: {}",
                shown(*median),
                rounds.join(", ")
            );
        }
    }
}

fn shown(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        let mut gathering = Gathering::default();
        for value in [4.0, 100.0, 2.0] {
            gathering.add(OURS, "rate", "messages/s", value);
        }
        for value in [1.0, 3.0, f64::NAN] {
            gathering.add("other", "rate", "messages/s", value);
        }
        let all = gathering.finish();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].medians[OURS], 4.0);
        assert_eq!(all[0].medians["other"], 2.0);
        assert_eq!(all[0].ours_to["other"], 2.0);
        let mut text = String::new();
        write(&all, &mut text);
        assert!(text.contains("sotto/other 2.00"), "{text}");
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(median(&[]), None);
    }
}
