//! nginx, serving one page.

use super::program::{ProgramError, base, with_program};
use crate::layout::Image;

const CONFIGURATION: &str = "\
daemon off;
user root root;
worker_processes 1;
pid /run/nginx.pid;
error_log stderr notice;
events { worker_connections 256; }
http {
    access_log /dev/stdout;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    default_type text/html;
    server { listen 80; root /srv; }
}
";

/// nginx at port 80; every request for `/` is answered with `page`.
pub fn nginx(page: &str) -> Result<Image, ProgramError> {
    configured(CONFIGURATION, page)
}

/// The same, without a log of requests.
pub fn silent_nginx(page: &str) -> Result<Image, ProgramError> {
    configured(&CONFIGURATION.replace("access_log /dev/stdout", "access_log off"), page)
}

fn configured(configuration: &str, page: &str) -> Result<Image, ProgramError> {
    let layer = with_program(base(), "nginx-light", "/usr/sbin/nginx", "usr/sbin/nginx")?
        .directory("var/log/nginx", 0o755)
        .file("etc/nginx/nginx.conf", configuration, 0o644)
        .directory("srv", 0o755)
        .file("srv/index.html", page, 0o644);
    Ok(Image::new(vec![layer]).entrypoint(&["/usr/sbin/nginx"]).command(&["-c", "/etc/nginx/nginx.conf"]))
}
