//! The configurations of the private instances, written out by what the comparison asks for.
//!
//! Each is set to be as fast as it can be with what the scenarios need: TLS 1.3, passwords stored
//! plain (no derivation at a login), no limits on rate, nothing archived, warnings logged only.

use std::path::Path;

use sotto_stack::certs::Certificates;

/// The domain that the instances serve.
pub(super) const DOMAIN: &str = "localhost";

/// ejabberd's, in YAML.
pub(super) fn ejabberd(folder: &Path, certificates: &Certificates, port: u16) -> String {
    let (cert, key) = (certificates.cert.display(), certificates.key.display());
    let folder = folder.display();
    format!(
        r#"loglevel: warning
hosts: ["{DOMAIN}"]
certfiles: ["{cert}", "{key}"]
ca_file: "{folder}/ca.pem"
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    backlog: 4096
    max_stanza_size: 262144
    access: all
    tls: true
    protocol_options: [no_sslv3, no_tlsv1, no_tlsv1_1, no_tlsv1_2]
auth_method: internal
auth_password_format: plain
registration_timeout: infinity
shaper_rules:
  max_user_sessions: 10
  max_user_offline_messages: infinity
access_rules:
  anyone: [allow: all]
modules:
  mod_disco: {{}}
  mod_roster: {{}}
  mod_ping: {{}}
  mod_offline:
    access_max_user_messages: max_user_offline_messages
  mod_register:
    access: anyone
    access_from: anyone
    ip_access: anyone
    welcome_message: {{}}
"#
    )
}

/// Prosody's, in Lua.
pub(super) fn prosody(folder: &Path, certificates: &Certificates, port: u16) -> String {
    let (cert, key) = (certificates.cert.display(), certificates.key.display());
    let folder = folder.display();
    format!(
        r#"modules_enabled = {{ "disco"; "roster"; "saslauth"; "tls"; "ping"; "register"; "offline" }}
modules_disabled = {{ "s2s" }}
allow_registration = true
authentication = "internal_plain"
storage = "internal"
network_backend = "epoll"
network_settings = {{ tcp_backlog = 4096 }}
c2s_require_encryption = true
c2s_ports = {{ }}
c2s_direct_tls_ports = {{ {port} }}
c2s_direct_tls_interfaces = {{ "127.0.0.1" }}
c2s_direct_tls_ssl = {{ certificate = "{cert}"; key = "{key}"; protocol = "tlsv1_3" }}
data_path = "{folder}/data"
certificates = "{folder}"
pidfile = "{folder}/prosody.pid"
log = {{ warn = "*console" }}
VirtualHost "{DOMAIN}"
  ssl = {{ certificate = "{cert}"; key = "{key}" }}
"#
    )
}
