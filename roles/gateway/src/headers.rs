//! Which headers pass, by RFC 9110 section 7.6 and RFC 9113 section 8.2.2, and which the gateway
//! sets.

use crate::{Refusal, answer::ERROR_HEADER, endpoint::Protocol};
use http::{
    HeaderMap, HeaderName, HeaderValue, Uri, Version, header,
    request::Parts,
    uri::{PathAndQuery, Scheme},
};
use std::borrow::Cow;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Who sent a request, and over what.
pub(crate) struct Client {
    /// The client's IP address.
    pub(crate) address: HeaderValue,
    /// Whether it speaks TLS.
    pub(crate) https: bool,
    /// How much of a body the connection takes before anybody reads it, in bytes.
    pub(crate) window: u32,
}

/// The one host that a request names, with its port if it names one.
///
/// # Errors
/// [`Refusal::BadHost`] for none and for several that differ.
pub(crate) fn authority(uri: &Uri, headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(Refusal::BadHost);
    }
    match (uri.authority(), host) {
        (Some(authority), Some(host))
            if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            Err(Refusal::BadHost)
        }
        (Some(authority), _) => HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::BadHost),
        (None, Some(host)) => Ok(host.clone()),
        (None, None) => Err(Refusal::BadHost),
    }
}

/// The host's name: lower-case, without port and final dot.
///
/// # Errors
/// [`Refusal::BadHost`] for what is no host.
pub(crate) fn hostname(authority: &HeaderValue) -> Result<Cow<'_, str>, Refusal> {
    let text = authority.to_str().map_err(|_| Refusal::BadHost)?;
    let name = match text.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) => return Err(Refusal::BadHost),
        None => text,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    Ok(match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    })
}

/// The protocol that a request asks to switch to. `h2c` is left out: what came after the switch
/// would pass the gateway unseen.
pub(crate) fn upgrade(parts: &Parts) -> Option<HeaderValue> {
    let to = parts.headers.get(header::UPGRADE)?;
    let asked =
        tokens(&parts.headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let switches_http = tokens(&parts.headers, &header::UPGRADE).any(|token| token.starts_with("h2"));
    (parts.version == Version::HTTP_11 && asked && !switches_http).then(|| to.clone())
}

/// How the app is spoken to: gRPC needs HTTP/2.
pub(crate) fn protocol(headers: &HeaderMap) -> Protocol {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    match content_type.strip_prefix(b"application/grpc") {
        Some([] | [b'+' | b';', ..]) => Protocol::H2c,
        _ => Protocol::Http1,
    }
}

/// Makes a request that came from `client` for `host` into one for the app.
///
/// # Errors
/// [`Refusal::BadHost`] where `host` cannot be written as HTTP/2 wants it.
pub(crate) fn prepare_request(
    parts: &mut Parts,
    host: HeaderValue,
    client: &Client,
    protocol: Protocol,
) -> Result<(), Refusal> {
    let trailers = tokens(&parts.headers, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    remove_hop_by_hop(&mut parts.headers);
    remove_spoofed(&mut parts.headers);
    let proto = if client.https { "https" } else { "http" };
    parts.headers.insert(FORWARDED_FOR, client.address.clone());
    parts.headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    parts.headers.insert(FORWARDED_HOST, host.clone());
    if trailers {
        parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    address(parts, host, protocol)
}

fn address(parts: &mut Parts, host: HeaderValue, protocol: Protocol) -> Result<(), Refusal> {
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    match protocol {
        Protocol::Http1 => {
            parts.version = Version::HTTP_11;
            parts.uri = Uri::from(path);
            parts.headers.insert(header::HOST, host);
        }
        Protocol::H2c => {
            parts.version = Version::HTTP_2;
            parts.headers.remove(header::HOST);
            let uri = Uri::builder().scheme(Scheme::HTTP).authority(host.as_bytes()).path_and_query(path);
            parts.uri = uri.build().map_err(|_| Refusal::BadHost)?;
        }
    }
    Ok(())
}

/// Asks for a switch of protocols, or grants it.
pub(crate) fn set_upgrade(headers: &mut HeaderMap, to: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, to);
}

/// Makes an app's answer into one for the client.
pub(crate) fn prepare_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    headers.remove(ERROR_HEADER);
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<_> = tokens(headers, &header::CONNECTION)
        .filter(|token| !token.eq_ignore_ascii_case("close"))
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn remove_spoofed(headers: &mut HeaderMap) {
    let reserved = |name: &&HeaderName| {
        let starts_with = |prefix: &str| {
            name.as_str().get(..prefix.len()).is_some_and(|beginning| is_same_to_cgi(beginning, prefix))
        };
        starts_with("x-forwarded-")
            || starts_with("x-apocryph-")
            || [header::FORWARDED, REAL_IP].iter().any(|other| is_same_to_cgi(name.as_str(), other.as_str()))
    };
    let spoofed: Vec<_> = headers.keys().filter(reserved).cloned().collect();
    for name in &spoofed {
        headers.remove(name);
    }
}

/// To CGI and what came after it, `_` and `-` in names are one (RFC 3875, section 4.1.18).
fn is_same_to_cgi(name: &str, reserved: &str) -> bool {
    let dashed = name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
    dashed.eq(reserved.bytes())
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use proptest::prelude::*;

    fn parts(request: http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    fn named(parts: &Parts) -> Result<HeaderValue, Refusal> {
        authority(&parts.uri, &parts.headers)
    }

    fn client() -> Client {
        Client { address: HeaderValue::from_static("192.0.2.7"), https: true, window: 0 }
    }

    fn prepared(request: http::request::Builder) -> Parts {
        let mut parts = parts(request.header("host", "a.example"));
        let host = named(&parts).unwrap();
        prepare_request(&mut parts, host, &client(), Protocol::Http1).unwrap();
        parts
    }

    #[test]
    fn the_gateway_alone_says_who_the_client_is() {
        let spoofed = Request::get("/")
            .header("x-forwarded-for", "10.0.0.1")
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-port", "1")
            .header("x_forwarded_for", "10.0.0.1")
            .header("x-real_ip", "10.0.0.1")
            .header("forwarded", "for=10.0.0.1")
            .header("x-real-ip", "10.0.0.1")
            .header("x-apocryph-expected", "x");
        let headers = prepared(spoofed).headers;
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["x-forwarded-host"], "a.example");
        assert_eq!(headers["x-forwarded-proto"], "https");
        for name in [
            "x-forwarded-port",
            "forwarded",
            "x-real-ip",
            "x-apocryph-expected",
            "x_forwarded_for",
            "x-real_ip",
        ] {
            assert!(!headers.contains_key(name), "{name}");
        }
    }

    #[test]
    fn what_is_for_one_hop_ends_here_and_the_rest_passes() {
        let request = Request::get("/p?q=1")
            .header("connection", "keep-alive, X-Mine, x-forwarded-for")
            .header("x-mine", "1")
            .header("keep-alive", "5")
            .header("te", "gzip, trailers")
            .header("cookie", "a=b");
        let parts = prepared(request);
        for name in ["connection", "x-mine", "keep-alive"] {
            assert!(!parts.headers.contains_key(name), "{name}");
        }
        assert_eq!(parts.headers["te"], "trailers");
        assert_eq!(parts.headers["cookie"], "a=b");
        assert_eq!(parts.headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(parts.uri, "/p?q=1");
    }

    #[test]
    fn a_request_names_one_host() {
        let two = Request::get("/").header("host", "a.example").header("host", "a.example");
        assert!(matches!(named(&parts(two)), Err(Refusal::BadHost)));
        let differ = Request::get("http://a.example/").header("host", "b.example");
        assert!(matches!(named(&parts(differ)), Err(Refusal::BadHost)));
        assert!(matches!(named(&parts(Request::get("/"))), Err(Refusal::BadHost)));
        let same = Request::get("http://a.example/").header("host", "A.example");
        assert_eq!(named(&parts(same)).unwrap(), "a.example");
    }

    #[test]
    fn hosts_are_compared_without_case_port_and_final_dot() {
        let name = |text: &'static str| hostname(&HeaderValue::from_static(text)).map(Cow::into_owned);
        assert_eq!(name("A.Example.:8080").unwrap(), "a.example");
        assert!(name("a.example:80@evil").is_err());
    }

    #[test]
    fn http_itself_is_not_switched() {
        let switch = |to: &str| {
            let request = Request::get("/").header("connection", "Upgrade, HTTP2-Settings");
            upgrade(&parts(request.header("upgrade", to)))
        };
        assert_eq!(switch("websocket").unwrap(), "websocket");
        assert_eq!(switch("h2c"), None);
        assert_eq!(switch("websocket, h2c"), None);
    }

    #[test]
    fn grpc_alone_goes_by_http2() {
        for (content_type, expected) in [
            ("application/grpc", Protocol::H2c),
            ("application/grpc+proto", Protocol::H2c),
            ("application/grpc-web", Protocol::Http1),
            ("application/json", Protocol::Http1),
        ] {
            let headers = parts(Request::get("/").header("content-type", content_type)).headers;
            assert_eq!(protocol(&headers), expected, "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn any_host_and_connection_header_is_handled(host in "[ -~]{0,40}", connection in "[ -~]{0,40}") {
            let parts = parts(Request::get("/").header("host", host).header("connection", connection));
            if let Ok(host) = named(&parts) {
                let _ = hostname(&host);
                let mut parts = parts;
                if prepare_request(&mut parts, host.clone(), &client(), Protocol::Http1).is_ok() {
                    prop_assert_eq!(&parts.headers["host"], &host);
                    prop_assert!(!parts.headers.contains_key("connection"));
                }
            }
        }
    }
}
