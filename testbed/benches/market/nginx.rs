//! nginx as a proxy on the host, the peer of the gateway.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use apocryph_testbed::clients::http_get;
use apocryph_testbed::service::Service;
use apocryph_testbed::until::until;
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(10);

/// Starts it, in one process, in front of the server `behind`; it keeps connections to it, and sets
/// the headers that a gateway sets.
pub(crate) async fn start(folder: &Path, behind: SocketAddr) -> (Service, SocketAddr) {
    std::fs::create_dir_all(folder).unwrap();
    let listens = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let file = folder.join("nginx.conf");
    std::fs::write(&file, configuration(folder, listens, behind)).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(&file);
    let service = Service::start("nginx", command, &folder.join("nginx.log")).unwrap();
    let answers = async || Ok(http_get(listens, "localhost", "/").await?.status == 200);
    until("nginx answers", PATIENCE, answers).await.unwrap();
    (service, listens)
}

fn configuration(folder: &Path, listens: SocketAddr, behind: SocketAddr) -> String {
    let folder = folder.display();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        r#"daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
{paths}  access_log off;
  keepalive_requests 10000000;
  upstream pod {{ server {behind}; keepalive 512; keepalive_requests 10000000; }}
  server {{
    listen {listens};
    location / {{
      proxy_pass http://pod;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"#
    )
}
