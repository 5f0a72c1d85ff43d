use super::*;

fn rules() -> WebSocketRules {
    WebSocketRules { max_head_bytes: 4096, ..WebSocketRules::default() }
}

/// A request to upgrade, with lines left out and others put in.
fn upgrade(without: &[&str], more: &[&str]) -> String {
    let lines = [
        "GET /mqtt HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: mqtt",
    ];
    let kept = lines.iter().filter(|line| !without.iter().any(|name| line.starts_with(name)));
    let lines: Vec<&str> = kept.chain(more).copied().collect();
    lines.join("\r\n") + "\r\n\r\n"
}

fn ask(rules: &WebSocketRules, request: &str) -> Request {
    read(rules, request.as_bytes()).expect("a whole request").1
}

fn status(request: Request) -> String {
    let answer = match request {
        Request::Upgrade { answer, .. } | Request::Refused { answer, .. } => answer,
        Request::Get { path, .. } => return format!("file {path}"),
    };
    let text = String::from_utf8(answer).expect("text");
    text.split(' ').nth(1).expect("a status").to_owned()
}

#[test]
fn a_websocket_begins() {
    let request = upgrade(&[], &[]) + "rest";
    let whole = request.len() - 4;
    for end in 0..whole {
        assert_eq!(read(&rules(), &request.as_bytes()[..end]), None, "{end}");
    }
    let (len, answered) = read(&rules(), request.as_bytes()).expect("whole");
    assert_eq!(len, whole);
    let Request::Upgrade { answer, forwarded_for: None } = answered else {
        panic!("{answered:?}");
    };
    let text = String::from_utf8(answer).expect("text");
    // RFC 6455 1.3
    assert!(text.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{text}");
    assert!(text.contains("Sec-WebSocket-Protocol: mqtt\r\n"), "{text}");
}

#[test]
fn sub_protocols_are_chosen_from_what_is_offered() {
    let with = |line: &str| ask(&rules(), &upgrade(&["Sec-WebSocket-Protocol"], &[line]));
    for (line, chosen) in [
        ("Sec-WebSocket-Protocol: mqttv3.1", "mqttv3.1"),
        ("Sec-WebSocket-Protocol: chat, mqtt", "mqtt"),
        ("sec-websocket-protocol: mqttv3.1,mqtt", "mqttv3.1"),
        ("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: mqtt", "mqtt"),
    ] {
        let Request::Upgrade { answer, .. } = with(line) else { panic!("{line}") };
        let text = String::from_utf8(answer).expect("text");
        assert!(text.contains(&format!("Sec-WebSocket-Protocol: {chosen}\r\n")), "{line}");
    }
    for line in ["Sec-WebSocket-Protocol: mqttv5", "Sec-WebSocket-Protocol:", "X: y"] {
        assert_eq!(status(with(line)), "400", "{line}");
    }
}

#[test]
fn what_is_no_websocket_is_refused() {
    let old = ["Sec-WebSocket-Version: 8"];
    let short = ["Sec-WebSocket-Key: abc"];
    let twice = ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];
    let post = upgrade(&["GET"], &[]);
    for (request, expected) in [
        (upgrade(&["Sec-WebSocket-Key"], &[]), "400"),
        (upgrade(&["Sec-WebSocket-Key"], &short), "400"),
        (upgrade(&[], &twice), "400"),
        (upgrade(&["Sec-WebSocket-Version"], &old), "426"),
        (format!("POST / HTTP/1.1\r\n{post}"), "400"),
        ("POST / HTTP/1.1\r\n\r\n".to_owned(), "405"),
        ("GET /a/b.js?x HTTP/1.1\r\n\r\n".to_owned(), "file /a/b.js"),
        ("GET /%61 HTTP/1.1\r\n\r\n".to_owned(), "file /a"),
        ("GET /../etc/passwd HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET /%2e%2e/etc/passwd HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET /a/..%2fb HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET /.htpasswd HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET a HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("\x10\x0d\0\x04MQTT".to_owned(), "400"),
    ] {
        assert_eq!(status(ask(&rules(), &request)), expected, "{request}");
    }
}

#[test]
fn origins_are_compared_exactly() {
    let origins = vec!["https://a.example".to_owned()];
    let rules = WebSocketRules { origins, ..rules() };
    let from = |line: &str| status(ask(&rules, &upgrade(&[], &[line])));
    assert_eq!(from("Origin: https://a.example"), "101");
    assert_eq!(from("Origin: https://a.example.org"), "403");
    assert_eq!(from("X: y"), "403");
}

#[test]
fn heads_have_limits() {
    let rules = WebSocketRules { max_head_bytes: 300, ..rules() };
    let long = upgrade(&[], &[&format!("X: {}", "y".repeat(300))]);
    assert_eq!(status(ask(&rules, &long)), "431");
    assert_eq!(status(ask(&rules, &upgrade(&[], &[]))), "101");
    let many = "X: y\r\n".repeat(MAX_HEADERS + 1);
    let rules = WebSocketRules { max_head_bytes: 65_536, ..rules };
    assert_eq!(status(ask(&rules, &format!("GET / HTTP/1.1\r\n{many}\r\n"))), "431");
}

#[test]
fn a_proxy_is_believed_only_where_it_is_said_so() {
    let request = upgrade(&[], &["X-Forwarded-For: 192.0.2.7, 10.0.0.1"]);
    let from = |rules: &WebSocketRules| match ask(rules, &request) {
        Request::Upgrade { forwarded_for, .. } => forwarded_for,
        other => panic!("{other:?}"),
    };
    assert_eq!(from(&rules()), None);
    let believing = WebSocketRules { forwarded_for: true, ..rules() };
    assert_eq!(from(&believing), Some(IpAddr::from([192, 0, 2, 7])));
}
