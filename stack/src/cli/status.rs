//! `sotto status`: what runs where, and whether it is well.

use std::process::ExitCode;

use serde::Serialize;

use super::{NOT_RUNNING, StatusArgs, fail};
use crate::deployment::{
    DeploymentError, Kind, Layout, Phase, ProcessState, State, http, sessions_at,
};
use crate::sql;
use crate::terminal::{Palette, Tone, table};

/// One process and how it is.
#[derive(Debug, Serialize)]
struct Examined {
    #[serde(flatten)]
    process: ProcessState,
    /// Whether it says that it is ready.
    healthy: bool,
    /// Clients that are connected; servers only.
    sessions: Option<u64>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    launcher_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database_url: Option<String>,
    processes: Vec<Examined>,
}

/// Runs the command. Exit code 0 when a deployment runs, well or not, and 6 when none does.
#[must_use]
pub fn status(args: &StatusArgs) -> ExitCode {
    match examine(args) {
        Ok(report) => {
            if args.json {
                match serde_json::to_string(&report) {
                    Ok(text) => println!("{text}"),
                    Err(error) => return fail(&std::io::Error::from(error).into()),
                }
            } else {
                print!("{}", render(&report, args));
            }
            ExitCode::from(if report.running { 0 } else { NOT_RUNNING })
        }
        Err(error) => fail(&error),
    }
}

fn examine(args: &StatusArgs) -> Result<Report, DeploymentError> {
    let layout = Layout::new(&args.dir)?;
    let launcher_pid = layout.launcher()?;
    let state = match launcher_pid {
        Some(_) => State::load(&layout.state())?,
        None => None,
    };
    let Some(state) = state else {
        return Ok(Report {
            running: launcher_pid.is_some(),
            phase: launcher_pid.map(|_| Phase::Starting),
            launcher_pid,
            server: None,
            database_url: None,
            processes: Vec::new(),
        });
    };
    let database_url = state.database_url;
    let examine = |process| examine_process(process, &database_url);
    Ok(Report {
        running: true,
        phase: Some(state.phase),
        launcher_pid,
        server: Some(state.server.to_string()),
        processes: state.processes.into_iter().map(examine).collect(),
        database_url: Some(database_url),
    })
}

fn examine_process(process: ProcessState, database_url: &str) -> Examined {
    let healthy = match process.admin {
        Some(admin) => http::get(admin, "/readyz").is_ok_and(|answer| answer.status == 200),
        None => sql::rows(database_url, "SELECT 1").is_ok(),
    };
    let sessions = match (process.kind, process.admin) {
        (Kind::Server, Some(admin)) => sessions_at(admin).ok(),
        _ => None,
    };
    Examined {
        process,
        healthy,
        sessions,
    }
}

fn render(report: &Report, args: &StatusArgs) -> String {
    let palette = Palette::of_stdout();
    if !report.running {
        return format!(
            "Nothing runs in {}. `sotto up` starts it.\n",
            args.dir.display()
        );
    }
    let mut rows = vec![
        ["process", "pid", "health", "clients", "restarts", "address"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for Examined {
        process,
        healthy,
        sessions,
    } in &report.processes
    {
        rows.push(vec![
            process.name.clone(),
            process
                .pid
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            if *healthy { "ready" } else { "NOT READY" }.to_owned(),
            sessions.map_or_else(|| "-".to_owned(), |sessions| sessions.to_string()),
            process.restarts.to_string(),
            process.address.clone(),
        ]);
    }
    let title = match (&report.server, report.phase) {
        (Some(server), Some(Phase::Ready)) => format!("Sotto runs. Clients connect to {server}."),
        (_, Some(Phase::Stopping)) => "Sotto is stopping.".to_owned(),
        _ => "Sotto is starting.".to_owned(),
    };
    format!(
        "{}\n\n{}",
        palette.paint(Tone::Strong, &title),
        table(&rows, palette)
    )
}
