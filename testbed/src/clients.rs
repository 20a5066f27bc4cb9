//! Outside clients of pods: HTTP/1.1 and redis, by hand, so that nothing is hidden by a pool.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// What an HTTP server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Asks for `path` of `host` over a connection of its own to `server`.
///
/// # Errors
/// If there is no answer within a minute, or it is not HTTP.
pub async fn http_get(server: SocketAddr, host: &str, path: &str) -> io::Result<Answer> {
    http(server, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
}

/// Posts JSON to `server`.
///
/// # Errors
/// If there is no answer within a minute, or it is not HTTP.
pub async fn http_post_json(server: SocketAddr, body: &str) -> io::Result<Answer> {
    let length = body.len();
    let head = format!("POST / HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/json\r\n");
    http(server, format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")).await
}

async fn http(server: SocketAddr, request: String) -> io::Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        parse(&String::from_utf8_lossy(&answer))
    };
    timeout(PATIENCE, exchange).await?
}

fn parse(answer: &str) -> io::Result<Answer> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {answer:.80}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(malformed)?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { dechunk(body).ok_or_else(malformed)? } else { body.into() };
    Ok(Answer { status, body })
}

/// RFC 9112, "Chunked Transfer Coding".
fn dechunk(mut body: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.push_str(rest.get(..size)?);
        body = rest.get(size..)?.strip_prefix("\r\n")?;
    }
}

/// Sends one inline command to a redis server; gives the value or status that it answers. A server
/// that says that it is still reading its data is asked again, as its protocol wants it.
///
/// # Errors
/// If there is no answer within a minute, or it is an error.
pub async fn redis(server: SocketAddr, command: &str) -> io::Result<String> {
    let exchange = async {
        loop {
            let (kind, text) = redis_once(server, command).await?;
            match kind {
                '-' if text.starts_with("LOADING") => tokio::time::sleep(PAUSE).await,
                '-' => return Err(io::Error::other(format!("redis answered {text:?}"))),
                _ => return Ok(text),
            }
        }
    };
    timeout(PATIENCE, exchange).await?
}

/// The kind of the answer, and its text (Redis serialization protocol).
async fn redis_once(server: SocketAddr, command: &str) -> io::Result<(char, String)> {
    let mut stream = BufReader::new(TcpStream::connect(server).await?);
    stream.write_all(format!("{command}\r\n").as_bytes()).await?;
    let first = line(&mut stream).await?;
    match first.split_at_checked(1) {
        Some(("$", "-1")) => Ok(('$', String::new())),
        Some(("$", _)) => Ok(('$', line(&mut stream).await?)),
        Some((kind, text)) => Ok((kind.chars().next().unwrap_or_default(), text.into())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let plain = parse("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno").unwrap();
        assert_eq!(plain, Answer { status: 404, body: "no".into() });
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n4;x=y\r\n two\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap().body, "one two");
        assert!(parse("hello").is_err());
        assert!(parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort").is_err());
    }
}
