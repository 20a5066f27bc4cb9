//! Two containers of one pod: a front that answers requests by asking a back over localhost.

use super::program::{ProgramError, base, with_program};
use crate::layout::{Image, Layer};

/// Where the back listens, on localhost only.
const BACK: &str = "127.0.0.1:8081";

/// Answers requests at port 8080: `/cgi-bin/ask` with what the back says, `/cgi-bin/work` after using
/// the processor for a while, `/cgi-bin/count?N` with N lines, ten a second, `/cgi-bin/reach?ADDRESS`
/// with whether it reaches another pod.
pub fn front() -> Result<Image, ProgramError> {
    // Containers of a pod start together, and this one may be the first that listens.
    let ask =
        script(&format!("for n in $(seq 100); do wget -q -O - http://{BACK}/ && break; sleep 0.1; done"));
    let work = script("dd if=/dev/zero bs=1M count=400 2>/dev/null | sha256sum >/dev/null; echo worked");
    let count = script("n=0; while [ $n -lt $QUERY_STRING ]; do echo line $n; n=$((n + 1)); sleep 0.1; done");
    // The `-T` of this wget crashes it.
    let other = "http://$QUERY_STRING:8080/cgi-bin/ask";
    let reach =
        script(&format!("timeout 2 wget -q -O /dev/null {other} && echo reached || echo unreachable"));
    let layer = shell()?.directory("srv/cgi-bin", 0o755);
    let layer = layer.file("srv/cgi-bin/ask", ask, 0o755).file("srv/cgi-bin/work", work, 0o755);
    let layer = layer.file("srv/cgi-bin/reach", reach, 0o755).file("srv/cgi-bin/count", count, 0o755);
    Ok(Image::new(vec![layer]).entrypoint(&["/bin/httpd", "-f", "-p", "8080", "-h", "/srv"]))
}

/// Says `text` to whoever asks on localhost.
pub fn back(text: &str) -> Result<Image, ProgramError> {
    let layer = shell()?.directory("srv", 0o755).file("srv/index.html", text, 0o644);
    Ok(Image::new(vec![layer]).entrypoint(&["/bin/httpd", "-f", "-p", BACK, "-h", "/srv"]))
}

/// A script whose output is the answer (RFC 3875).
fn script(commands: &str) -> String {
    format!("#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n{commands}\n")
}

fn shell() -> Result<Layer, ProgramError> {
    let layer = with_program(base(), "busybox-static", "/bin/busybox", "bin/busybox")?;
    let programs =
        ["sh", "httpd", "wget", "dd", "sha256sum", "printf", "echo", "timeout", "seq", "sleep", "["];
    Ok(programs.iter().fold(layer, |layer, name| layer.symlink(&format!("bin/{name}"), "/bin/busybox")))
}
