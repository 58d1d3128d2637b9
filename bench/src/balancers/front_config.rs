//! What each front is told: the same backends, checks and limits, as near as their languages allow.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::backend::Backend;

/// Sotto's, in TOML.
pub(super) fn sotto(listen: SocketAddr, backends: &[Backend]) -> String {
    let mut text = format!(
        "listen = [\"{listen}\"]\n[limits]\nconnection_rate_per_prefix = 1000000\n\
         connection_burst_per_prefix = 1000000\n"
    );
    for (number, backend) in backends.iter().enumerate() {
        let _ = write!(
            text,
            "[[backend]]\nid = \"s{number}\"\naddress = \"{}\"\nhealth_address = \"{}\"\n",
            backend.address, backend.health
        );
    }
    text
}

/// HAProxy's: as `contrib/haproxy.cfg`, without the limits on a prefix.
pub(super) fn haproxy(listen: SocketAddr, backends: &[Backend]) -> String {
    let mut text = format!(
        "global
    maxconn 9000
defaults
    mode tcp
    timeout connect 1s
    timeout client 2m
    timeout server 2m
    retries 2
    option redispatch 1
    option clitcpka
    option srvtcpka
frontend sotto
    bind {listen}
    tcp-request inspect-delay 5s
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    tcp-request content reject
    default_backend servers
backend servers
    balance source
    hash-type consistent sdbm avalanche
    hash-balance-factor 125
    option httpchk GET /readyz
    http-check expect status 200
    default-server send-proxy-v2 check inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions
"
    );
    for (number, backend) in backends.iter().enumerate() {
        let _ = writeln!(
            text,
            "    server s{number} {} check port {}",
            backend.address,
            backend.health.port()
        );
    }
    text
}

/// nginx's: as `contrib/nginx.conf`, without the limits on a prefix. It checks no health and sends
/// no PROXY header of version 2.
pub(super) fn nginx(listen: SocketAddr, backends: &[Backend], folder: &Path) -> String {
    let folder = folder.display();
    let mut servers = String::new();
    for backend in backends {
        let _ = writeln!(
            servers,
            "        server {} max_fails=2 fail_timeout=5s;",
            backend.address
        );
    }
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
worker_processes auto;
worker_rlimit_nofile 65536;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{
    worker_connections 32768;
}}
stream {{
    upstream servers {{
        hash $remote_addr consistent;
{servers}    }}
    server {{
        listen {listen} backlog=4096;
        tcp_nodelay on;
        proxy_pass servers;
        proxy_connect_timeout 1s;
        proxy_next_upstream on;
        proxy_next_upstream_tries 3;
        proxy_timeout 2m;
    }}
}}
"
    )
}
