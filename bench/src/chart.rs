//! Draws what `--json` printed as SVG: bars for rates and for figures of several servers, and for
//! each latency a bar from the median to the 99th percentile on a scale of powers of ten.
//!
//! Draws what is in the results and nothing else; whatever text they hold is escaped.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::error::BenchError;

/// Pixels of the whole, and where bars begin and end.
const WIDTH: f64 = 960.0;
const BARS: std::ops::Range<f64> = 400.0..820.0;
/// Pixels of a line.
const LINE: f64 = 20.0;
/// The scale of latencies, in microseconds, as powers of ten.
const DECADES: std::ops::Range<f64> = 1.0..7.0;
/// Lines of one chart.
const LINES_MAX: usize = 2_000;
/// Bytes of one file of results.
const RESULTS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Ours, others', latencies.
const COLOURS: [&str; 3] = ["#2f6f9f", "#9aa5ad", "#b5651d"];

/// Draws all files below each other.
///
/// # Errors
/// When a file cannot be read or holds no results.
pub(crate) fn of_files(paths: &[PathBuf]) -> Result<String, BenchError> {
    let mut chart = Chart::default();
    for path in paths {
        let unusable =
            |reason: String| BenchError::Results(format!("{}: {reason}", path.display()));
        let size = std::fs::metadata(path)
            .map_err(|error| unusable(error.to_string()))?
            .len();
        if size > RESULTS_BYTES_MAX {
            return Err(unusable("too large to be results of a run".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        let results: Value =
            serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
        if results["scenario"].as_str().is_none() {
            return Err(unusable("no results of a run with --json".to_owned()));
        }
        chart.add(&results);
    }
    Ok(chart.finish())
}

/// A chart that grows downwards.
#[derive(Default)]
struct Chart {
    body: String,
    lines: usize,
}

impl Chart {
    fn add(&mut self, results: &Value) {
        let cores = results["cores"].as_u64().unwrap_or(0);
        self.heading(&format!("{} on {cores} cores", text(&results["scenario"])));
        for figure in array(&results["compared"]) {
            self.compared(figure);
        }
        let runs = array(&results["runs"]);
        let most = runs.iter().filter_map(|run| run["per_s"].as_f64());
        let most = most.fold(0.0, f64::max);
        for run in runs {
            let rate = run["per_s"].as_f64().unwrap_or(0.0);
            self.bar(
                text(&run["name"]),
                (0.0, rate / most),
                COLOURS[0],
                &format!("{}/s", short(rate)),
            );
            for (name, latency) in run["latency"].as_object().into_iter().flatten() {
                self.latency(name, latency);
            }
        }
        for table in array(&results["tables"]) {
            self.table(table);
        }
        self.lines += 1;
    }

    /// One figure of several servers, the largest as wide as there is room.
    fn compared(&mut self, figure: &Value) {
        let unit = text(&figure["unit"]);
        self.line(&format!("{} ({unit})", text(&figure["figure"])), "bold");
        let Some(medians) = figure["medians"].as_object() else {
            return;
        };
        let values = || medians.values().filter_map(Value::as_f64);
        let most = values().fold(0.0, f64::max);
        for (server, median) in medians {
            let median = median.as_f64().unwrap_or(0.0);
            let colour = COLOURS[usize::from(server != crate::comparison::OURS)];
            let ratio = figure["ours_to"][server].as_f64();
            let ratio = ratio.map_or_else(String::new, |ratio| format!(" (Sotto ×{ratio:.2})"));
            let label = format!("{}{ratio}", short(median));
            self.bar(server, (0.0, median / most), colour, &label);
        }
    }

    fn latency(&mut self, name: &str, latency: &Value) {
        let at = |name: &str| latency[name].as_f64().unwrap_or(0.0);
        let (p50, p99) = (at("p50_us"), at("p99_us"));
        let place = |us: f64| {
            let decades = us.max(1.0).log10().clamp(DECADES.start, DECADES.end);
            (decades - DECADES.start) / (DECADES.end - DECADES.start)
        };
        let label = format!("{} to {} ms", short(p50 / 1e3), short(p99 / 1e3));
        let name = format!("{name}: p50 to p99");
        self.bar(&name, (place(p50), place(p99)), COLOURS[2], &label);
    }

    /// The shares of a table that has any: those of its last column that is one.
    fn table(&mut self, table: &Value) {
        let columns = array(&table["columns"]);
        let Some(shares) = columns.iter().rposition(|column| column == "share") else {
            return;
        };
        let unit = shares.checked_sub(1).and_then(|place| columns.get(place));
        let unit = unit.map_or("", text);
        self.line(&format!("{} ({unit})", text(&table["title"])), "bold");
        for row in array(&table["rows"]) {
            let value = |place: usize| row["values"][place].as_f64();
            let Some(share) = value(shares).filter(|share| *share < 1.0) else {
                continue;
            };
            let label = format!("{:.0} %", share * 100.0);
            self.bar(text(&row["name"]), (0.0, share), COLOURS[0], &label);
        }
    }

    fn heading(&mut self, words: &str) {
        self.lines += 1;
        self.line(words, "heading");
    }

    fn line(&mut self, words: &str, class: &str) {
        if let Some(y) = self.next_line() {
            let _ = writeln!(
                self.body,
                r#"<text x="16" y="{y}" class="{class}">{}</text>"#,
                escaped(words)
            );
        }
    }

    /// A bar between two shares of the room, with words before and behind it.
    fn bar(&mut self, name: &str, (from, to): (f64, f64), colour: &str, label: &str) {
        let Some(y) = self.next_line() else {
            return;
        };
        let place = |share: f64| {
            let share = if share.is_finite() {
                share.clamp(0.0, 1.0)
            } else {
                0.0
            };
            BARS.start + share * (BARS.end - BARS.start)
        };
        let (left, right) = (place(from), place(to));
        let _ = writeln!(
            self.body,
            r#"<text x="{:.0}" y="{y}" text-anchor="end">{}</text><rect x="{left:.1}" y="{:.1}" width="{:.1}" height="12" fill="{colour}"/><text x="{:.1}" y="{y}">{}</text>"#,
            BARS.start - 8.0,
            escaped(name),
            y - 11.0,
            (right - left).max(2.0),
            right.max(left + 2.0) + 6.0,
            escaped(label),
        );
    }

    /// Where the next line stands, while there is room.
    fn next_line(&mut self) -> Option<f64> {
        self.lines += 1;
        (self.lines <= LINES_MAX).then_some(self.lines as f64 * LINE)
    }

    fn finish(self) -> String {
        let height = (self.lines.min(LINES_MAX) + 2) as f64 * LINE;
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">
<style>text {{ font: 12px sans-serif; fill: #222 }} .bold {{ font-weight: bold }} .heading {{ font-size: 15px; font-weight: bold }}</style>
<rect width="100%" height="100%" fill="#fff"/>
{}</svg>
"##,
            self.body
        )
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn escaped(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn drawn(results: &Value) -> String {
        let mut chart = Chart::default();
        chart.add(results);
        chart.finish()
    }

    #[test]
    fn everything_is_drawn_and_well_formed() {
        let svg = drawn(&json!({
            "scenario": "compare", "cores": 2,
            "runs": [{"name": "one <to> one", "per_s": 1_000.0,
                "latency": {"delivered": {"p50_us": 900, "p99_us": 9_000}}}],
            "compared": [{"figure": "rate", "unit": "messages/s",
                "medians": {"sotto": 2.0, "other": 1.0}, "ours_to": {"other": 2.0}}],
            "tables": [{"title": "where", "columns": ["µs", "share"],
                "rows": [{"name": "a", "values": [1.0, 0.25]}, {"name": "all", "values": [4.0, 1.0]},
                    {"name": "unknown", "values": [null, null]}]}],
        }));
        for part in [
            "one &lt;to&gt; one",
            "1000/s",
            "0.90 to 9.00 ms",
            "Sotto ×2.00",
            "25 %",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        let mut reader = quick_xml::Reader::from_str(&svg);
        loop {
            match reader.read_event() {
                Ok(quick_xml::events::Event::Eof) => break,
                Ok(_) => {}
                Err(error) => panic!("{error}: {svg}"),
            }
        }
    }

    #[test]
    fn a_run_without_figures_is_drawn_too() {
        let svg = drawn(&json!({"scenario": "x", "runs": [{"name": "none", "per_s": 0.0}]}));
        assert!(svg.contains("none") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn what_is_no_result_is_refused() {
        let path = std::env::temp_dir().join(format!("sotto-chart-{:x}", rand::random::<u64>()));
        std::fs::write(&path, "{}").unwrap();
        let refused = of_files(std::slice::from_ref(&path));
        std::fs::remove_file(&path).unwrap();
        assert!(refused.is_err());
        assert!(of_files(&[path]).is_err());
    }
}
