//! `sotto up`: start a deployment, show it, watch it until somebody has enough.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use super::signals::StopRequests;
use super::{FAILED, UpArgs, fail};
use crate::deployment::{
    Cancel, DatabaseSource, Deployment, DeploymentError, Layout, Notice, Options, Phase, State,
    quote,
};
use crate::postgres::Install;
use crate::process;
use crate::terminal::{Palette, Tone, table};

/// Between two looks at the processes.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// How long a detached deployment may take until it is ready, with an installation of Postgres.
const DETACHED_READY_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Runs the command.
#[must_use]
pub fn up(args: &UpArgs) -> ExitCode {
    let outcome = if args.detach {
        run_detached(args)
    } else {
        run_attached(args)
    };
    outcome.unwrap_or_else(|error| fail(&error))
}

fn run_attached(args: &UpArgs) -> Result<ExitCode, DeploymentError> {
    let install = if args.no_install {
        Install::Refused
    } else {
        Install::Allowed
    };
    let cancel = Cancel::default();
    let requests = StopRequests::listen(cancel.clone())?;
    let options = Options {
        dir: args.dir.clone(),
        program: std::env::current_exe()?,
        servers: args.servers,
        port: args.port.into(),
        database: DatabaseSource::from_environment(install),
        cancel,
    };
    let palette = Palette::of_stdout();
    let mut deployment = Deployment::start(options, &mut |line| {
        say(&palette.paint(Tone::Faint, &format!("{line} …")));
    })?;
    say(&overview(&deployment.state(), deployment.layout(), palette));
    say(&palette.paint(Tone::Faint, "Ctrl-C stops everything."));
    while !requests.wait(WATCH_INTERVAL) {
        for notice in deployment.watch(process::now()) {
            say(&describe(&notice, palette));
        }
    }
    say("stopping …");
    deployment.stop();
    say("stopped.");
    Ok(ExitCode::SUCCESS)
}

/// A reader that went away must not end the deployment.
fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// What runs where.
pub(crate) fn process_table(state: &State, palette: Palette) -> String {
    let heading = ["process", "pid", "address", "status and metrics", "log"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for process in &state.processes {
        let admin = process.admin.map(|admin| format!("http://{admin}/metrics"));
        rows.push(vec![
            process.name.clone(),
            process
                .pid
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            process.address.clone(),
            admin.unwrap_or_else(|| "-".to_owned()),
            process.log.display().to_string(),
        ]);
    }
    table(&rows, palette)
}

/// What runs where, and what to type next.
fn overview(state: &State, layout: &Layout, palette: Palette) -> String {
    let title = format!("Sotto runs. Clients connect to {}.", state.server);
    let env = shorten(&layout.env());
    let chat = |me: &str, other: &str| {
        format!(
            "  source {env} && sotto --profile {me} register {me} && sotto --profile {me} chat {other}\n"
        )
    };
    format!(
        "\n{}\n\n{}\nChat with yourself in two other terminals:\n\n{}{}\n{}\n",
        palette.paint(Tone::Strong, &title),
        process_table(state, palette),
        chat("alice", "bob"),
        chat("bob", "alice"),
        palette.paint(
            Tone::Faint,
            "Kill a server while typing, if you like: it comes back."
        ),
    )
}

/// The path as a person in the current folder would type it.
fn shorten(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    let shown = below.map_or_else(
        || path.display().to_string(),
        |below| format!("./{}", below.display()),
    );
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if shown.bytes().all(plain) {
        shown
    } else {
        quote(&shown)
    }
}

/// A notice as a line for people.
pub(crate) fn describe(notice: &Notice, palette: Palette) -> String {
    match notice {
        Notice::Ended {
            name,
            status,
            restart_in,
        } => {
            let how = status.map_or_else(String::new, |status| format!(" ({status})"));
            let when = if restart_in.is_zero() {
                "starting it again now".to_owned()
            } else {
                format!("starting it again in {} s", restart_in.as_secs())
            };
            palette.paint(Tone::Bad, &format!("{name} ended{how}; {when}"))
        }
        Notice::Restarted { name, pid } => format!("{name} started again (process {pid})"),
        Notice::Back { name } => palette.paint(Tone::Good, &format!("{name} is ready again")),
        Notice::Trouble { name, reason } => {
            palette.paint(Tone::Bad, &format!("{name}: {reason}; trying again"))
        }
    }
}

/// Starts a launcher that stays behind, and waits until it says that all is ready.
fn run_detached(args: &UpArgs) -> Result<ExitCode, DeploymentError> {
    let layout = Layout::create(&args.dir)?;
    if let Some(pid) = layout.launcher()? {
        let dir = layout.dir().to_owned();
        return Err(DeploymentError::AlreadyRunning { dir, pid });
    }
    let log = layout.log("up");
    let mut launcher = spawn_launcher(args, &layout, &log)?;
    let pid = launcher.id();
    let mut ended = None;
    let mut ready = None;
    process::wait_until(DETACHED_READY_LIMIT, || {
        ended = launcher.try_wait().transpose();
        let state = State::load(&layout.state()).ok().flatten();
        ready = state.filter(|state| state.launcher_pid == pid && state.phase == Phase::Ready);
        ended.is_some() || ready.is_some()
    });
    if let Some(state) = ready {
        let palette = Palette::of_stdout();
        say(&overview(&state, &layout, palette));
        let stop = format!(
            "It runs in the background; `sotto down --dir {}` stops it.",
            shorten(layout.dir())
        );
        say(&palette.paint(Tone::Faint, &stop));
        return Ok(ExitCode::SUCCESS);
    }
    eprint!("{}", std::fs::read_to_string(&log).unwrap_or_default());
    let code = ended.and_then(Result::ok).and_then(|status| status.code());
    if code.is_none() {
        // Neither ready nor gone: nobody would ever stop it.
        process::stop(
            &mut launcher,
            rustix::process::Signal::TERM,
            Duration::from_secs(30),
        )?;
    }
    Ok(ExitCode::from(
        code.and_then(|code| u8::try_from(code).ok())
            .unwrap_or(FAILED),
    ))
}

fn spawn_launcher(args: &UpArgs, layout: &Layout, log: &Path) -> io::Result<Child> {
    use std::os::unix::process::CommandExt as _;

    let output = File::create(log)?;
    let program = std::env::current_exe()?;
    // A session of its own keeps it from the terminal's hang-up; `setsid` does not fork here, as
    // the new process leads no group, so its id is the launcher's.
    let mut command = match process::find_in_path("setsid") {
        Some(setsid) => {
            let mut command = Command::new(setsid);
            command.arg(program);
            command
        }
        None => {
            let mut command = Command::new(program);
            command.process_group(0);
            command
        }
    };
    command.arg("up").arg("--dir").arg(layout.dir());
    command.arg("--servers").arg(args.servers.to_string());
    command.arg("--port").arg(args.port.to_string());
    if args.no_install {
        command.arg("--no-install");
    }
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    command.spawn()
}
