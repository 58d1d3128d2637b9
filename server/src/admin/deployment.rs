//! Commands about the deployment: invites, retention, servers, figures, the audit log.

use serde_json::{Value, json};

use super::args::{Days, InviteCommand, RetentionCommand};
use super::{Admin, Failure, output, temporary_password};
use crate::store::admin::{AdminError, Node};

/// What a server is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DrainWish {
    Drain,
    Serve,
}

pub(super) async fn invite(admin: &mut Admin, command: InviteCommand) -> Result<(), Failure> {
    match command {
        InviteCommand::Create {
            uses,
            expires,
            label,
        } => {
            let code = temporary_password::make_up();
            let hours = expires.as_secs().div_ceil(3600);
            let change = admin.store.change(admin.intent).await?;
            let id = change.create_invite(&code, uses, expires, &label).await?;
            let details = json!({ "uses": uses, "valid_for_hours": hours, "label": label });
            change.settle("invite-create", &id, &details).await?;
            admin.output.done(
                json!({
                    "event": "invite_created", "id": id, "code": code.as_str(), "uses": uses,
                    "valid_for_hours": hours, "label": label,
                }),
                &format!("{}  (id {id}, {uses} uses, {hours} hours)", code.as_str()),
            )
        }
        InviteCommand::List => list_invites(admin).await,
        InviteCommand::Revoke { invite } => {
            let change = admin.store.change(admin.intent).await?;
            let id = change.revoke_invite(&invite).await?;
            change.settle("invite-revoke", &id, &json!({})).await?;
            admin.output.done(
                json!({ "event": "invite_revoked", "id": id }),
                &format!("revoked {id}"),
            )
        }
    }
}

async fn list_invites(admin: &Admin) -> Result<(), Failure> {
    for invite in admin.store.invites().await? {
        let object = json!({
            "event": "invite",
            "id": invite.id,
            "label": invite.label,
            "uses_left": invite.uses_left,
            "expires_at_ms": invite.expires_at_ms,
            "usable": invite.usable,
        });
        let state = if invite.usable { "" } else { "  over" };
        let line = format!(
            "{}  {} uses left, until {}{state}  {}",
            invite.id,
            invite.uses_left,
            output::time(invite.expires_at_ms),
            invite.label
        );
        admin.output.found(&object, line.trim_end())?;
    }
    Ok(())
}

pub(super) async fn retention(admin: &mut Admin, command: RetentionCommand) -> Result<(), Failure> {
    let days = match command {
        RetentionCommand::Show => {
            let days = admin.store.retention_days().await?;
            let object = json!({ "event": "retention", "days": days });
            return admin.output.found(&object, &retention_words(days));
        }
        RetentionCommand::Set { days } => match days {
            Days::Default => None,
            Days::Of(days) => Some(days),
        },
    };
    let before = admin.store.retention_days().await?;
    let change = admin.store.change(admin.intent).await?;
    change.set_retention(days).await?;
    let details = json!({ "days": days, "before": before });
    change.settle("retention", "", &details).await?;
    admin.output.done(
        json!({ "event": "retention_set", "days": days, "before": before }),
        &retention_words(days),
    )
}

fn retention_words(days: Option<u32>) -> String {
    match days {
        Some(days) => format!("undelivered messages are kept {days} days"),
        None => {
            "undelivered messages are kept as long as each server's configuration says".to_owned()
        }
    }
}

pub(super) async fn drain(admin: &mut Admin, node: &str, wish: DrainWish) -> Result<(), Failure> {
    let node = find_node(admin.store.nodes().await?, node)?;
    let change = admin.store.change(admin.intent).await?;
    let (action, event, words) = match wish {
        DrainWish::Drain => {
            change.drain(&node).await?;
            (
                "drain",
                "draining",
                "its clients move to other servers; it stays unready",
            )
        }
        DrainWish::Serve => {
            change.end_drain(&node).await?;
            ("drain-cancel", "serving", "it serves again")
        }
    };
    let details = json!({ "id": node.id_text(), "sessions": node.sessions });
    change.settle(action, &node.name, &details).await?;
    let object = json!({
        "event": event, "node": node.name, "id": node.id_text(), "sessions": node.sessions,
    });
    let line = format!("{} ({} sessions): {words}", node.name, node.sessions);
    admin.output.done(object, &line)
}

/// The one server with this name, or with an id that begins like this.
fn find_node(nodes: Vec<Node>, wanted: &str) -> Result<Node, AdminError> {
    let known: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let mut fitting = nodes.into_iter().filter(|node| {
        node.name == wanted || (wanted.len() >= 4 && node.id_text().starts_with(wanted))
    });
    match (fitting.next(), fitting.next()) {
        (Some(node), None) => Ok(node),
        (Some(_), Some(_)) => Err(AdminError::Ambiguous(format!(
            "several servers answer to {wanted}; name one by its id, as `stats` shows it"
        ))),
        (None, _) if known.is_empty() => Err(AdminError::NotFound("running server".to_owned())),
        (None, _) => Err(AdminError::NotFound(format!(
            "server {wanted}; there are: {}",
            known.join(", ")
        ))),
    }
}

/// After a restore: no number of a log is given twice, and clients notice that the log went back.
pub(super) async fn restored(admin: &mut Admin) -> Result<(), Failure> {
    let running = admin.store.nodes().await?;
    if let Some(node) = running.first() {
        let reason = format!(
            "{} showed itself in the last 15 s; stop all servers, then say it again",
            node.name
        );
        return Err(AdminError::Refused(reason).into());
    }
    let change = admin.store.change(admin.intent).await?;
    let (logs, packages) = change.mark_restored().await?;
    let details = json!({ "logs": logs, "key_packages": packages });
    change.settle("restored", "", &details).await?;
    admin.output.done(
        json!({ "event": "restored", "logs": logs, "key_packages": packages }),
        &format!("{logs} logs go on under new numbers; {packages} key packages are forgotten"),
    )
}

pub(super) async fn stats(admin: &mut Admin) -> Result<(), Failure> {
    let stats = admin.store.stats().await?;
    admin.output.found(
        &json!({
            "event": "stats",
            "accounts": stats.accounts,
            "disabled": stats.disabled,
            "banned": stats.banned,
            "devices": stats.devices,
            "online": stats.online,
            "conversations": stats.conversations,
            "envelopes": stats.envelopes,
            "envelope_bytes": stats.envelope_bytes,
            "database_bytes": stats.database_bytes,
            "schema_version": stats.schema_version,
        }),
        &format!(
            "{} accounts ({} disabled, {} banned), {} devices, {} accounts online",
            stats.accounts, stats.disabled, stats.banned, stats.devices, stats.online
        ),
    )?;
    admin.output.remark(&format!(
        "{} conversations, about {} waiting envelopes in {}; database {}, schema {}",
        stats.conversations,
        stats.envelopes,
        output::bytes(stats.envelope_bytes),
        output::bytes(stats.database_bytes),
        stats.schema_version
    ))?;
    for node in admin.store.nodes().await? {
        let object = json!({
            "event": "node",
            "id": node.id_text(),
            "name": node.name,
            "address": node.address,
            "sessions": node.sessions,
            "started_at_ms": node.started_at_ms,
        });
        let line = format!(
            "server {} at {}: {} sessions, since {}, id {}",
            node.name,
            node.address,
            node.sessions,
            output::time(node.started_at_ms),
            node.id_text()
        );
        admin.output.found(&object, &line)?;
    }
    Ok(())
}

pub(super) async fn audit(
    admin: &mut Admin,
    subject: Option<&str>,
    last: u32,
) -> Result<(), Failure> {
    for entry in admin.store.audit(subject, last).await? {
        let details: Value = serde_json::from_str(&entry.details).unwrap_or_default();
        let object = json!({
            "event": "audit",
            "id": entry.id,
            "at_ms": entry.at_ms,
            "operator": entry.operator,
            "role": entry.role,
            "action": entry.action,
            "subject": entry.subject,
            "details": details,
        });
        let line = format!(
            "{}  {} (role {})  {} {}  {}",
            output::time(entry.at_ms),
            entry.operator,
            entry.role,
            entry.action,
            entry.subject,
            entry.details
        );
        admin.output.found(&object, &line)?;
    }
    Ok(())
}
