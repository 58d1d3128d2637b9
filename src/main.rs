//! `sotto`: one program for everything. `up`, `demo`, `status` and `down` run a deployment on
//! this machine, `server` and `balancer` are its parts, and every other command is the client's.
//!
//! This file only decides who reads the command line; it does nothing itself.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// The commands that are not the client's.
#[derive(Debug, Parser)]
#[command(name = "sotto", version, about, disable_help_subcommand = true)]
struct Deployment {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(sotto_stack::cli::UpArgs),
    Demo(sotto_stack::cli::DemoArgs),
    Status(sotto_stack::cli::StatusArgs),
    Down(sotto_stack::cli::DownArgs),
    /// Run one server of a deployment.
    Server(sotto_server::Args),
    /// Run one balancer of a deployment.
    Balancer(sotto_balancer::Args),
    /// Print what completes this program's commands in a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write a manual page for every command
    Man {
        /// The folder, made if it is not there
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
}

/// Who reads the command line.
#[derive(Debug, PartialEq, Eq)]
enum Reader {
    Deployment,
    Client,
    /// Help about everything, which no part knows alone.
    Help,
}

fn main() -> ExitCode {
    let args = spell_out(std::env::args_os().skip(1).collect());
    match reader(&args) {
        Reader::Deployment => {
            let name = std::iter::once(OsString::from("sotto"));
            run(Deployment::parse_from(name.chain(args)).command)
        }
        Reader::Client => sotto_client::main(args),
        Reader::Help => help(),
    }
}

/// `help send` is another way to say `send --help`, and `--json status` to say `status --json`.
fn spell_out(mut args: Vec<OsString>) -> Vec<OsString> {
    if args.len() > 1 && args[0] == "--json" && reader(&args[1..]) == Reader::Deployment {
        let json = args.remove(0);
        args.insert(1, json);
    }
    if args.len() > 1 && args[0] == "help" {
        args.remove(0);
        args.push("--help".into());
    }
    args
}

fn reader(args: &[OsString]) -> Reader {
    let Some(first) = args.first() else {
        return Reader::Client;
    };
    match first.to_str() {
        Some("--help" | "-h") => Reader::Help,
        Some("help") if args.len() == 1 => Reader::Help,
        Some("--version" | "-V") => Reader::Deployment,
        Some(name) if Deployment::command().find_subcommand(name).is_some() => Reader::Deployment,
        _ => Reader::Client,
    }
}

fn run(command: Command) -> ExitCode {
    match command {
        Command::Up(args) => sotto_stack::cli::up(&args),
        Command::Demo(args) => sotto_stack::cli::demo(&args),
        Command::Status(args) => sotto_stack::cli::status(&args),
        Command::Down(args) => sotto_stack::cli::down(&args),
        Command::Server(args) => sotto_server::main(args),
        Command::Balancer(args) => sotto_balancer::main(args),
        Command::Completions { shell } => completions(shell),
        Command::Man { to } => man(&to),
    }
}

/// The client's grammar with the other commands added to it.
fn grammar() -> clap::Command {
    let ours = Deployment::command();
    let commands = ours.get_subcommands().cloned();
    sotto_client::cli::command()
        .subcommands(commands)
        .version(env!("CARGO_PKG_VERSION"))
        .about("End-to-end encrypted chat that people and teams run themselves")
}

fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut grammar(), "sotto", &mut script);
    match std::io::stdout().write_all(&script) {
        Ok(()) => ExitCode::SUCCESS,
        // A closed pipe: the reader has seen enough.
        Err(_) => ExitCode::FAILURE,
    }
}

fn man(folder: &Path) -> ExitCode {
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(grammar().name("sotto"), folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sotto: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn help() -> ExitCode {
    match grammar().print_long_help() {
        Ok(()) => ExitCode::SUCCESS,
        // A closed pipe: the reader has seen enough.
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(line: &str) -> Reader {
        reader(
            &line
                .split_whitespace()
                .map(OsString::from)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn the_grammars_are_sound_and_do_not_collide() {
        Deployment::command().debug_assert();
        grammar().debug_assert();
    }

    #[test]
    fn completions_and_manual_pages_know_every_command() {
        let names: Vec<String> = grammar()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| command.get_name().to_owned())
            .collect();
        assert!(names.len() > 20, "{names:?}");
        for shell in [
            clap_complete::Shell::Bash,
            clap_complete::Shell::Zsh,
            clap_complete::Shell::Fish,
        ] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut grammar(), "sotto", &mut script);
            let script = String::from_utf8(script).unwrap();
            for name in &names {
                assert!(script.contains(name.as_str()), "{name} in {shell}");
            }
        }
        let folder = std::env::temp_dir().join(format!("sotto-man-{}", std::process::id()));
        assert_eq!(man(&folder), ExitCode::SUCCESS);
        for name in &names {
            let page = folder.join(format!("sotto-{name}.1"));
            assert!(page.is_file(), "{}", page.display());
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_first_word_decides_who_reads() {
        for line in [
            "up --servers 2",
            "demo",
            "status",
            "down",
            "server run",
            "balancer",
            "-V",
        ] {
            assert_eq!(who(line), Reader::Deployment, "{line}");
        }
        for line in [
            "",
            "register alice",
            "--profile up whoami",
            "help send",
            "unheard-of",
        ] {
            assert_eq!(who(line), Reader::Client, "{line}");
        }
        let args = spell_out(vec!["help".into(), "send".into()]);
        assert_eq!(args, ["send", "--help"]);
        let args = spell_out(vec!["--json".into(), "status".into(), "--dir".into()]);
        assert_eq!(args, ["status", "--json", "--dir"]);
        let args = spell_out(vec!["--json".into(), "chats".into()]);
        assert_eq!(args, ["--json", "chats"]);
        for line in ["--help", "-h", "help"] {
            assert_eq!(who(line), Reader::Help, "{line}");
        }
    }
}
