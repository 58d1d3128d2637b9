//! Commands about one account, and the list of all.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sotto_protocol::Username;
use zeroize::Zeroizing;

use super::args::{QuotaCommand, ResetPassword, Size, Whom};
use super::{Admin, Failure, output, temporary_password};
use crate::store::admin::{Quota, Which};

/// As clients ask of a new password.
const PASSWORD_CHARS_MIN: usize = 8;
/// The most bytes of a password.
const PASSWORD_BYTES_MAX: usize = 1_024;

pub(super) async fn users(
    admin: &mut Admin,
    search: &str,
    after: &str,
    which: Which,
    limit: u32,
) -> Result<(), Failure> {
    let accounts = admin
        .store
        .list_accounts(search, after, which, limit)
        .await?;
    for account in accounts {
        let object = json!({
            "event": "account",
            "username": account.username,
            "state": account.state.name(),
            "devices": account.devices,
            "online": account.online,
            "last_seen": account.last_seen,
            "created_at_ms": account.created_at_ms,
        });
        let presence = match (&account.last_seen, account.online) {
            (_, true) => "online".to_owned(),
            (Some(day), false) => format!("last seen {day}"),
            (None, false) => "no device".to_owned(),
        };
        let line = format!(
            "{:32}  {:8}  {} devices, {presence}, since {}",
            account.username,
            account.state.name(),
            account.devices,
            output::time(account.created_at_ms),
        );
        admin.output.found(&object, &line)?;
    }
    Ok(())
}

pub(super) async fn disable(admin: &mut Admin, whom: &Whom) -> Result<(), Failure> {
    let name = &whom.name;
    let change = admin.store.change(admin.intent).await?;
    let devices = change.disable(name).await?;
    let details = json!({ "reason": whom.reason, "devices": devices });
    change.settle("disable", name.as_str(), &details).await?;
    admin.output.done(
        json!({ "event": "disabled", "username": name.as_str(), "devices": devices }),
        &format!("disabled {name}; the sessions of its {devices} devices end"),
    )
}

pub(super) async fn enable(admin: &mut Admin, whom: &Whom) -> Result<(), Failure> {
    let name = &whom.name;
    let change = admin.store.change(admin.intent).await?;
    change.enable(name).await?;
    let details = json!({ "reason": whom.reason });
    change.settle("enable", name.as_str(), &details).await?;
    admin.output.done(
        json!({ "event": "enabled", "username": name.as_str() }),
        &format!("enabled {name}"),
    )
}

pub(super) async fn ban(admin: &mut Admin, whom: &Whom) -> Result<(), Failure> {
    let name = &whom.name;
    let change = admin.store.change(admin.intent).await?;
    let devices = change.ban(name).await?;
    let details = json!({ "reason": whom.reason, "devices": devices });
    change.settle("ban", name.as_str(), &details).await?;
    admin.output.done(
        json!({ "event": "banned", "username": name.as_str(), "devices": devices }),
        &format!("banned {name}; its {devices} devices are removed, its name stays taken"),
    )
}

pub(super) async fn unban(admin: &mut Admin, whom: &Whom) -> Result<(), Failure> {
    let name = &whom.name;
    let change = admin.store.change(admin.intent).await?;
    change.unban(name).await?;
    let details = json!({ "reason": whom.reason });
    change.settle("unban", name.as_str(), &details).await?;
    admin.output.done(
        json!({ "event": "unbanned", "username": name.as_str() }),
        &format!("unbanned {name}; it logs in again with its password"),
    )
}

pub(super) async fn reset_password(
    admin: &mut Admin,
    reset: &ResetPassword,
) -> Result<(), Failure> {
    let name = &reset.whom.name;
    let given = given_password(reset)?;
    let password = given.clone().unwrap_or_else(temporary_password::make_up);
    let deployment = admin.store.deployment_id().await?;
    let cost = admin.config.bcrypt_cost;
    let hash = temporary_password::hash(&deployment, name, &password, cost)
        .ok_or_else(|| Failure::Internal("no memory to derive the password's key".to_owned()))?;
    let change = admin.store.change(admin.intent).await?;
    change.reset_password(name, &hash, reset.valid_for).await?;
    let ended = if reset.end_devices {
        change.remove_devices(name).await?
    } else {
        0
    };
    let hours = hours(reset.valid_for);
    let details = json!({
        "reason": reset.whom.reason, "devices_removed": ended, "valid_for_hours": hours,
    });
    change
        .settle("reset-password", name.as_str(), &details)
        .await?;
    let shown = given.is_none().then(|| password.as_str());
    admin.output.done(
        json!({
            "event": "password_reset",
            "username": name.as_str(),
            "password": shown,
            "devices_removed": ended,
            "valid_for_hours": hours,
        }),
        &format!("{name} has another password, good for {hours} hours unless it is changed"),
    )?;
    if let Some(password) = shown {
        admin.output.remark(&format!("  {password}"))?;
    }
    admin.output.remark(
        "It logs a device in and lets its owner choose another with `sotto passwd`; it opens no message.",
    )
}

fn hours(time: Duration) -> u64 {
    time.as_secs().div_ceil(3600)
}

/// The password that the operator gives, if one is given.
fn given_password(reset: &ResetPassword) -> Result<Option<Zeroizing<String>>, Failure> {
    let password = match &reset.password_file {
        Some(file) => first_line(file)?,
        None if reset.ask => {
            let ask = |prompt: &str| {
                let answer = rpassword::prompt_password(prompt).map(Zeroizing::new);
                answer.map_err(|error| Failure::Usage(format!("no terminal to ask at: {error}")))
            };
            let password = ask("New password: ")?;
            if *ask("Again: ")? != *password {
                return Err(Failure::Usage("the two passwords differ".to_owned()));
            }
            password
        }
        None => return Ok(None),
    };
    if password.chars().count() < PASSWORD_CHARS_MIN || password.len() > PASSWORD_BYTES_MAX {
        return Err(Failure::Usage(
            "a password has at least 8 characters and at most 1024 bytes".to_owned(),
        ));
    }
    Ok(Some(password))
}

fn first_line(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = std::fs::read_to_string(file)
        .map(Zeroizing::new)
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", file.display())))?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Zeroizing::new(line.to_owned()))
}

pub(super) async fn quota(admin: &mut Admin, command: QuotaCommand) -> Result<(), Failure> {
    let (name, size) = match command {
        QuotaCommand::Show { name } => {
            let (quota, used) = admin.store.quota(&name).await?;
            return show_quota(admin, &name, quota, used);
        }
        QuotaCommand::Set { name, size } => (name, size),
    };
    let wanted = match size {
        Size::Default => Quota::Usual,
        Size::Bytes(bytes) => Quota::Own(bytes),
    };
    let change = admin.store.change(admin.intent).await?;
    let before = change.set_quota(&name, wanted).await?;
    let details = json!({ "bytes": own_bytes(wanted), "before": own_bytes(before) });
    change.settle("quota", name.as_str(), &details).await?;
    admin.output.done(
        json!({
            "event": "quota_set",
            "username": name.as_str(),
            "bytes": own_bytes(wanted),
            "before": own_bytes(before),
        }),
        &format!("the files of {name} may take {}", quota_words(wanted)),
    )
}

fn show_quota(admin: &Admin, name: &Username, quota: Quota, used: u64) -> Result<(), Failure> {
    let (most, whose) = match quota {
        Quota::Usual => (admin.config.blob_quota_bytes, "as configured here"),
        Quota::Own(bytes) => (bytes, "set for the account"),
    };
    admin.output.found(
        &json!({
            "event": "quota",
            "username": name.as_str(),
            "bytes": own_bytes(quota),
            "used": used,
            "max": most,
        }),
        &format!(
            "the files of {name} take {} of {} ({whose})",
            output::bytes(used),
            output::bytes(most)
        ),
    )
}

fn own_bytes(quota: Quota) -> Option<u64> {
    match quota {
        Quota::Usual => None,
        Quota::Own(bytes) => Some(bytes),
    }
}

fn quota_words(quota: Quota) -> String {
    match quota {
        Quota::Usual => "what the servers' configuration says".to_owned(),
        Quota::Own(bytes) => output::bytes(bytes),
    }
}
