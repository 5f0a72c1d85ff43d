//! From HTTP to WebSocket: the request a browser begins with, and the answer.
//! (RFC 6455 4.2, RFC 9112)

use std::net::IpAddr;
use tungstenite::handshake::derive_accept_key;

/// Header lines a request may have.
const MAX_HEADERS: usize = 64;

/// The names MQTT has as a WebSocket sub-protocol: [MQTT-6.0.0-3], and that of MQTT 3.1.
const SUB_PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// What a listener asks of WebSocket clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebSocketRules {
    /// Where pages may come from (`websockets_origin`); none: from anywhere.
    pub origins: Vec<String>,
    /// Bytes the request may have (`websockets_headers_size`).
    pub max_head_bytes: usize,
    /// Whether `X-Forwarded-For` is believed (`websockets_forwarded_for`).
    pub forwarded_for: bool,
}

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The connection speaks WebSocket from now on.
    Upgrade {
        /// The answer that says so.
        answer: Vec<u8>,
        /// The client's address, as a proxy on the way says.
        forwarded_for: Option<IpAddr>,
    },
    /// A file is asked for.
    Get {
        /// The path, percent-decoded, beginning with `/` and without `..`.
        path: String,
        /// Only the head of the answer is wanted.
        head: bool,
    },
    /// It is refused: the answer, and why.
    Refused {
        /// A whole HTTP answer.
        answer: Vec<u8>,
        /// Why, for the log.
        why: String,
    },
}

/// Reads a request: its length and what it comes to; `None`: it is not complete.
#[must_use]
pub fn read(rules: &WebSocketRules, bytes: &[u8]) -> Option<(usize, Request)> {
    let within = &bytes[..bytes.len().min(rules.max_head_bytes)];
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let refused = |status, why: String| {
        let answer = answer(status, &format!("{why}.\n"));
        Some((bytes.len(), Request::Refused { answer, why }))
    };
    match request.parse(within) {
        Ok(httparse::Status::Complete(len)) => Some((len, judge(rules, &request))),
        Ok(httparse::Status::Partial) if bytes.len() < rules.max_head_bytes => None,
        Ok(httparse::Status::Partial) => refused(
            TOO_LARGE,
            format!("the request's head has more than {} bytes", rules.max_head_bytes),
        ),
        Err(httparse::Error::TooManyHeaders) => {
            refused(TOO_LARGE, format!("the request has more than {MAX_HEADERS} header lines"))
        }
        Err(error) => refused(BAD, format!("this is no HTTP request: {error}")),
    }
}

const BAD: &str = "400 Bad Request";
const FORBIDDEN: &str = "403 Forbidden";
const NOT_FOUND: &str = "404 Not Found";
const NOT_ALLOWED: &str = "405 Method Not Allowed";
const OLD: &str = "426 Upgrade Required\r\nSec-WebSocket-Version: 13";
const TOO_LARGE: &str = "431 Request Header Fields Too Large";

fn judge(rules: &WebSocketRules, request: &httparse::Request<'_, '_>) -> Request {
    let refused = |status, why: String| Request::Refused {
        answer: answer(status, &format!("{why}.\n")),
        why,
    };
    let method = request.method.unwrap_or_default();
    if !has_word(request, "upgrade", "websocket") || !has_word(request, "connection", "upgrade") {
        return match method {
            "GET" | "HEAD" => match clean_path(request.path.unwrap_or_default()) {
                Some(path) => Request::Get { path, head: method == "HEAD" },
                None => refused(BAD, "the path of the request is not valid".to_owned()),
            },
            _ => refused(NOT_ALLOWED, format!("{method} is not for a WebSocket")),
        };
    }
    if method != "GET" || request.version != Some(1) {
        return refused(BAD, "a WebSocket begins with GET and HTTP/1.1".to_owned());
    }
    if one(request, "sec-websocket-version") != Some("13") {
        return refused(OLD, "the WebSocket version has to be 13".to_owned());
    }
    // 16 bytes in base64. (RFC 6455 4.2.1)
    let Some(key) = one(request, "sec-websocket-key").filter(|key| key.len() == 24) else {
        return refused(BAD, "there is no Sec-WebSocket-Key".to_owned());
    };
    let origin = one(request, "origin").unwrap_or_default();
    if !rules.origins.is_empty() && !rules.origins.iter().any(|known| known == origin) {
        return refused(FORBIDDEN, format!("the origin '{origin}' is not let in"));
    }
    let offered = all(request, "sec-websocket-protocol").flat_map(|list| list.split(','));
    let offered = offered.map(str::trim);
    let Some(protocol) = offered.clone().find(|name| SUB_PROTOCOLS.contains(name)) else {
        let names: Vec<_> = offered.take(8).collect();
        let why = format!("no sub-protocol 'mqtt' or 'mqttv3.1' in '{}'", names.join(", "));
        return refused(BAD, why);
    };
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
    );
    // The first is the client, the others are the proxies it came through.
    let forwarded = one(request, "x-forwarded-for").filter(|_| rules.forwarded_for);
    let forwarded = forwarded.and_then(|list| list.split(',').next()?.trim().parse().ok());
    Request::Upgrade { answer: answer.into_bytes(), forwarded_for: forwarded }
}

/// An answer of text, after which the connection ends.
fn answer(status: &str, text: &str) -> Vec<u8> {
    let len = text.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\n\
         Connection: close\r\n\r\n{text}"
    )
    .into_bytes()
}

/// The answer where there is no such file.
#[must_use]
pub fn not_found() -> Vec<u8> {
    answer(NOT_FOUND, "There is nothing here. MQTT clients connect with a WebSocket.\n")
}

/// The head of an answer with a file of `len` bytes.
#[must_use]
pub fn file_head(path: &str, len: u64) -> Vec<u8> {
    let kind = content_type(path);
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

fn content_type(path: &str) -> &'static str {
    let end = path.rsplit_once('.').map_or("", |(_, end)| end);
    match end.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "ico" => "image/x-icon",
        "wasm" => "application/wasm",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// The path a request asks for, if it cannot lead out of the folder.
fn clean_path(target: &str) -> Option<String> {
    let path = target.split(['?', '#']).next()?;
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (hex, behind) = behind.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
        rest = behind;
    }
    let path = String::from_utf8(bytes).ok()?;
    let clean = path.starts_with('/')
        && !path.contains(['\0', '\\'])
        && !path.split('/').any(|part| part.starts_with('.'));
    clean.then_some(path)
}

fn all<'a>(
    request: &'a httparse::Request<'_, '_>,
    name: &'static str,
) -> impl Iterator<Item = &'a str> + Clone {
    let named = request.headers.iter().filter(move |it| it.name.eq_ignore_ascii_case(name));
    named.filter_map(|it| std::str::from_utf8(it.value).ok())
}

/// The value of a header that stands there once.
fn one<'a>(request: &'a httparse::Request<'_, '_>, name: &'static str) -> Option<&'a str> {
    let mut values = all(request, name);
    let first = values.next().map(str::trim);
    if values.next().is_some() { None } else { first }
}

/// Whether a header's list has a word in it.
fn has_word(request: &httparse::Request<'_, '_>, name: &'static str, word: &str) -> bool {
    all(request, name).flat_map(|list| list.split(',')).any(|it| {
        // `websocket/13`: a version behind the name is allowed.
        it.trim().split('/').next().unwrap_or_default().eq_ignore_ascii_case(word)
    })
}

#[cfg(test)]
mod tests;
