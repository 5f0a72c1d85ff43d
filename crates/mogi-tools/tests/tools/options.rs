//! Command lines and options files.

use crate::broker::Broker;
use crate::process::{run, run_words};
use mogi_codec::PacketKind;
use std::fs;
use std::path::PathBuf;

#[test]
fn wrong_usage_is_said_and_exits_with_1() {
    for (args, what) in [
        ("sub", "You must specify a topic to subscribe to (-t) or unsubscribe from (-U)."),
        ("sub --foo", "Unknown option '--foo'."),
        ("sub -t", "-t argument given but no topic specified."),
        ("sub -t a -c", "You must provide a client id if you are using the -c option."),
        (
            "rr -t a -e b -m x -c",
            "You must provide a client id if you are using an infinite session expiry interval.",
        ),
        ("sub -t a -i x -I y", "-i and -I argument cannot be used together."),
        ("sub -t a -R --retained-only", "Combining '-R' and '--retained-only' makes no sense."),
        ("sub -t a -P x", "Problem setting username and/or password."),
        ("sub -t a --will-payload x", "Will payload given, but no will topic given."),
        ("pub -t a -m x -f y", "Only one type of message can be sent at once."),
        ("pub -t a/# -m x", "Invalid publish topic 'a/#', does it contain '+' or '#'?"),
        ("rr -t a -m x", "All of topic, message, and response topic must be supplied."),
        (
            "pub -t a -m x -D publish content-type t -V 311",
            "-D properties need MQTT 5, and -V asks for an older version.",
        ),
    ] {
        let ran = run(1, args);
        let tool = args.split(' ').next().unwrap_or_default();
        assert_eq!((ran.code, &*ran.stdout), (1, ""), "{args}");
        let text = format!("Error: {what}\n\nUse 'mogi {tool} --help' to see usage.\n");
        assert_eq!(ran.stderr, text, "{args}");
    }
    let ran = run(1, "pub -t a");
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stderr, "Error: Both topic and message must be supplied.\n");
    assert!(ran.stdout.contains("Usage: mogi pub "), "{}", ran.stdout);
}

#[test]
fn help_and_version_go_to_the_standard_output() {
    for tool in ["pub", "sub", "rr"] {
        let ran = run(0, &format!("{tool} --help"));
        assert_eq!((ran.code, &*ran.stderr), (1, ""));
        assert!(ran.stdout.contains("--will-topic TOPIC"), "{}", ran.stdout);
        let ran = run(0, &format!("{tool} --version"));
        assert_eq!((ran.code, &*ran.stderr), (1, ""));
        assert!(ran.stdout.starts_with(&format!("mogi {tool} version ")));
    }
}

#[test]
fn what_is_not_built_yet_says_so() {
    for (args, what) in [("--tls-engine x", "TLS (--tls-engine)."), ("-S", "SRV records (-S).")] {
        let ran = run(0, &format!("sub -t a {args}"));
        assert_eq!(ran.code, 1, "{args}");
        let text = format!("Error: not built yet: {what}\n");
        assert!(ran.stderr.starts_with(&text), "{}", ran.stderr);
    }
}

#[test]
fn urls_say_everything_at_once() {
    let broker = Broker::plain();
    let args = format!("pub -m x -L mqtt://u:p@127.0.0.1:{}/t/x", broker.port);
    assert_eq!(run(0, &args).code, 0);
    let frames = ["101200044d51545404c2003c0000000175000170", "30060003742f7878", "e000"];
    assert_eq!(broker.seen(), frames);
    let broker = Broker::plain();
    let args = format!("sub -E -L mqtt://127.0.0.1:{}/t -t b", broker.port);
    assert_eq!(run(0, &args).code, 0);
    let subscribed = broker.seen_of(PacketKind::Subscribe);
    assert_eq!(subscribed, ["820a00010001740000016200"]);
}

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(path.join(".config")).expect("a folder");
    path
}

#[test]
fn options_files_are_defaults() {
    let folder = folder("options_files_are_defaults");
    let home = folder.to_str().expect("UTF-8");
    let file = |name: &str, text: &str| {
        fs::write(folder.join(name), text).expect("a file");
        folder.join(name).to_str().expect("UTF-8").to_owned()
    };
    file(".config/mosquitto_pub", "# mine\n-i home\n-k 33\n-t from/file\n");
    file("mosquitto_pub", "-i xdg\n-t from/xdg\n");
    let explicit = file("explicit", "-i explicit\n-q 1\n-t from/explicit\n");
    let connect = |env: &[(&str, &str)], args: &str| {
        let broker = Broker::plain();
        let words: Vec<_> = args.split(' ').map(str::to_owned).collect();
        let ran = run_words(broker.port, &words, b"", env);
        assert_eq!(ran.code, 0, "{args}: {}", ran.stderr);
        (broker.seen_of(PacketKind::Connect).concat(), ran.stderr)
    };
    let id = |hex: &str| {
        let bytes = hex.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
        let bytes: Vec<u8> = bytes.filter_map(|it| u8::from_str_radix(it, 16).ok()).collect();
        String::from_utf8_lossy(&bytes[14..]).into_owned()
    };
    let env = [("HOME", home)];
    let (frame, _) = connect(&env, "pub -m x");
    assert_eq!((id(&frame), &frame[20..24]), ("home".to_owned(), "0021"));
    let (frame, _) = connect(&env, "pub -m x -i mine -k 60");
    assert_eq!((id(&frame), &frame[20..24]), ("mine".to_owned(), "003c"));
    let (frame, _) = connect(&[("HOME", home), ("XDG_CONFIG_HOME", home)], "pub -m x");
    assert_eq!(id(&frame), "xdg");
    let (frame, _) = connect(&env, &format!("pub -m x -o {explicit}"));
    assert_eq!((id(&frame), &frame[20..24]), ("explicit".to_owned(), "003c"));
    let (frame, warning) = connect(&env, "pub -t a -m x -o /nonexistent");
    assert_eq!(id(&frame), "");
    let text = "Warning: options file /nonexistent cannot be read: No such file or directory.\n";
    assert_eq!(warning, text);
}

/// A SOCKS5 proxy for one connection: what it was asked, once that is known.
fn proxy(answers: Vec<Vec<u8>>, broker: u16) -> (u16, std::thread::JoinHandle<Vec<u8>>) {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let thread = std::thread::spawn(move || {
        let (mut near, _) = listener.accept().expect("a tool");
        let (mut asked, mut chunk) = (Vec::new(), [0; 512]);
        for answer in answers {
            let len = near.read(&mut chunk).expect("a question");
            asked.extend(&chunk[..len]);
            near.write_all(&answer).expect("it listens");
        }
        let mut far = TcpStream::connect(("127.0.0.1", broker)).expect("the broker");
        let mut back = (far.try_clone().expect("a handle"), near.try_clone().expect("a handle"));
        std::thread::spawn(move || std::io::copy(&mut back.0, &mut back.1));
        // It ends with the tool.
        let _ = std::io::copy(&mut near, &mut far);
        asked
    });
    (port, thread)
}

#[test]
fn proxies_lead_to_the_broker() {
    let broker = Broker::plain();
    let answers = vec![vec![5, 2], vec![1, 0], [&[5, 0, 0, 1][..], &[0; 6]].concat()];
    let (port, asked) = proxy(answers, broker.port);
    let args = format!("pub -h far.test -t t -m x --proxy socks5h://ann:pw@127.0.0.1:{port}");
    let ran = run(0, &args);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let asked = asked.join().expect("asked");
    assert_eq!(asked, b"\x05\x01\x02\x01\x03ann\x02pw\x05\x01\x00\x03\x08far.test\x07\x5b");
    assert!(broker.seen().iter().any(|frame| frame == "300400017478"));
}

#[test]
fn what_a_proxy_refuses_is_told() {
    let (port, _) = proxy(vec![vec![5, 0], vec![5, 4, 0, 1, 0, 0, 0, 0, 0, 0]], 1);
    let ran = run(0, &format!("pub -t t -m x --proxy socks5h://127.0.0.1:{port}"));
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("SOCKS5 proxy: host unreachable"), "{}", ran.stderr);
}
