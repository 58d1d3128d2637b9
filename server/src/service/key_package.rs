//! The directory of key packages: what inviters need of devices that may be offline.

use sotto_protocol::limits::{KEY_PACKAGE_BYTES_MAX, KEY_PACKAGES_AT_ONCE_MAX};
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, ClaimKeyPackages, PublishKeyPackages};
use sotto_protocol::{DeploymentId, ErrorCode, Username};
use sotto_roster::inspect_key_package;

use super::{Answer, directory};
use crate::clock;
use crate::refusal::Refusal;
use crate::server::Server;
use crate::session::machine::Identity;
use crate::store::NewKeyPackage;

/// Whether a package serves once or as the last resort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Once,
    LastResort,
}

/// PublishKeyPackages: only sound packages of the asking device are taken.
pub(super) async fn publish(
    server: &Server,
    me: &Identity,
    request: PublishKeyPackages,
) -> Result<Answer, Refusal> {
    let packages = request.one_time.iter().chain([&request.last_resort]);
    if request.one_time.len() > KEY_PACKAGES_AT_ONCE_MAX
        || packages
            .into_iter()
            .any(|package| package.len() > KEY_PACKAGE_BYTES_MAX)
    {
        return Err(Refusal::new(ErrorCode::TooLarge));
    }
    let device = server
        .store
        .device(me.device)
        .await?
        .ok_or(Refusal::new(ErrorCode::NotLoggedIn))?;
    let (deployment, now_ms) = (server.deployment, clock::unix_ms());
    let (one_time, last_resort) = server
        .judge(move || {
            let judge = |bytes: Vec<u8>, wanted| {
                inspect(bytes, wanted, &device.certificate, &deployment, now_ms)
            };
            let one_time: Vec<_> = request
                .one_time
                .into_iter()
                .map(|bytes| judge(bytes, Use::Once))
                .collect::<Result<_, _>>()?;
            let last_resort = match request.last_resort {
                empty if empty.is_empty() => None,
                bytes => Some(judge(bytes, Use::LastResort)?),
            };
            Ok((one_time, last_resort))
        })
        .await?;
    let one_time_left = server
        .store
        .publish_key_packages(me.device, one_time, last_resort)
        .await?;
    Ok(Answer::plain(Response::KeyPackagesStored(
        wire::KeyPackagesStored { one_time_left },
    )))
}

fn inspect(
    bytes: Vec<u8>,
    wanted: Use,
    certificate: &[u8],
    deployment: &DeploymentId,
    now_ms: u64,
) -> Result<NewKeyPackage, Refusal> {
    let invalid = Refusal::new(ErrorCode::KeyPackageInvalid);
    let info = inspect_key_package(&bytes, deployment, now_ms).map_err(|_| invalid.clone())?;
    if info.certificate.as_bytes() != certificate || info.last_resort != (wanted == Use::LastResort)
    {
        return Err(invalid);
    }
    Ok(NewKeyPackage {
        reference: info.reference,
        ciphersuite: info.suite,
        data: bytes.into(),
        not_after_ms: info.serve_until_ms,
    })
}

/// ClaimKeyPackages: one for each device of an account.
pub(super) async fn claim(
    server: &Server,
    me: &Identity,
    request: ClaimKeyPackages,
) -> Result<Answer, Refusal> {
    let username =
        Username::parse(&request.username).map_err(|_| Refusal::new(ErrorCode::NameInvalid))?;
    let ciphersuite = u16::try_from(request.ciphersuite)
        .map_err(|_| Refusal::malformed("A ciphersuite is a number of 16 bits."))?;
    let found = server.store.account(&username, me.account).await?;
    if !directory::is_seen(server, found.as_ref()) {
        directory::take_lookup(server, me).await?;
    }
    let claimed = server
        .store
        .claim_key_packages(me.account, &username, ciphersuite)
        .await?;
    Ok(Answer::plain(Response::ClaimedKeyPackages(
        wire::ClaimedKeyPackages {
            identity_key: claimed.identity_key.to_vec(),
            packages: claimed
                .packages
                .into_iter()
                .map(|(device, package)| wire::ClaimedKeyPackage {
                    device_id: device.to_vec(),
                    key_package: package.to_vec(),
                })
                .collect(),
        },
    )))
}
