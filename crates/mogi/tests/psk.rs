//! TLS with shared keys, as clients by OpenSSL speak it: Mosquitto's tools and `openssl s_client`.
//! Needs the feature `openssl`.

mod support;

use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::Broker;
use support::broker::Setup;

const PSK: &str = "psk_hint here\npsk_file {dir}/keys\nuser root\nlog_type all\n";
const KEYS: &str = "ann:0123456789abcdef\nbob:abc\n";

fn broker(more: &str) -> Broker {
    setup(more).start()
}

fn setup(more: &str) -> Setup {
    Broker::setup().conf(&format!("{PSK}{more}")).file("keys", KEYS)
}

/// Runs one of Mosquitto's tools.
fn tool(broker: &Broker, name: &str, args: &str) -> Output {
    let mut command = Command::new(name);
    command.args(["-h", "127.0.0.1", "-p", &broker.port().to_string()]).args(args.split(' '));
    command.env("HOME", "/").output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A retained message goes in and comes out.
#[track_caller]
fn round(broker: &Broker, how: &str) {
    let sent = tool(broker, "mosquitto_pub", &format!("{how} -i sender -t t -r -q 1 -m hello"));
    assert!(sent.status.success(), "{how}: {}\n{}", text(&sent.stderr), broker.log());
    let got = tool(broker, "mosquitto_sub", &format!("{how} -t t -q 1 -C 1 -W 20"));
    assert_eq!(text(&got.stdout).trim(), "hello", "{how}: {}", text(&got.stderr));
}

#[track_caller]
fn fails(broker: &Broker, how: &str) {
    let sent = tool(broker, "mosquitto_pub", &format!("{how} -t t -m x"));
    assert!(!sent.status.success(), "{how}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const ANN: &str = "--psk 0123456789ABCDEF --psk-identity ann";

#[test]
fn mosquittos_tools_come_in_with_their_keys() {
    let broker = broker("");
    round(&broker, ANN);
    round(&broker, &format!("{ANN} --tls-version tlsv1.2"));
    round(&broker, &format!("{ANN} --tls-version tlsv1.3"));
    round(&broker, "--psk abc --psk-identity bob");
    broker.expect_log("negotiated TLSv1.3 cipher ");
    // Far more than a record, in both directions.
    let payload = "0123456789".repeat(50_000);
    let path = broker.dir().join("payload");
    std::fs::write(&path, &payload).expect("written");
    let path = path.display();
    let sent = tool(&broker, "mosquitto_pub", &format!("{ANN} -t t -r -q 2 -f {path}"));
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    let got = tool(&broker, "mosquitto_sub", &format!("{ANN} -t t -C 1 -W 20"));
    assert!(text(&got.stdout).trim_end() == payload, "{}", text(&got.stderr));
}

#[test]
fn who_has_no_such_key_stays_out() {
    let broker = broker("");
    for version in ["tlsv1.2", "tlsv1.3"] {
        let how = format!("--tls-version {version}");
        fails(&broker, &format!("{how} --psk 0123456789abcdee --psk-identity ann"));
        fails(&broker, &format!("{how} --psk 0123456789abcdef --psk-identity eve"));
        // An identity is no part of another, and no pattern.
        fails(&broker, &format!("{how} --psk 0123456789abcdef --psk-identity an"));
    }
    // Neither who speaks no TLS, nor who wants a certificate.
    fails(&broker, "-q 0");
    fails(&broker, "--cafile /etc/ssl/certs/ca-certificates.crt");
    broker.expect_log("another key than the psk_file");
    round(&broker, ANN);
}

#[test]
fn the_identity_is_the_user_name_where_that_is_wanted() {
    let acl = "user ann\ntopic readwrite t\n";
    let broker =
        setup("use_identity_as_username true\nallow_anonymous false\nacl_file {dir}/acl\n")
            .file("acl", acl)
            .start();
    for version in ["tlsv1.2", "tlsv1.3"] {
        round(&broker, &format!("{ANN} --tls-version {version}"));
        // What else it calls itself does not count.
        round(&broker, &format!("{ANN} --tls-version {version} -u bob -P x"));
    }
    broker.expect_log("u'ann'");
    let bob = "--psk 0abc --psk-identity bob -u ann -P x";
    let sent = tool(&broker, "mosquitto_pub", &format!("{bob} -V 5 -t t -q 1 -m x"));
    assert!(text(&sent.stderr).contains("Not authorized"), "{}", text(&sent.stderr));
}

#[test]
fn keys_are_read_again_on_sighup() {
    let broker = broker("");
    let keys = broker.dir().join("keys");
    fails(&broker, "--psk ff --psk-identity eve");
    std::fs::write(&keys, "eve:ff\n").expect("written");
    broker.signal(Signal::SIGHUP);
    broker.expect_log("Config reloaded.");
    round(&broker, "--psk ff --psk-identity eve");
    fails(&broker, ANN);
    std::fs::write(&keys, "eve:ff\nann:xyz\n").expect("written");
    broker.signal(Signal::SIGHUP);
    broker.expect_log("The configuration stays as it was.");
    assert!(
        broker.log().contains("keys:2: the key of 'ann' is no hexadecimal"),
        "{}",
        broker.log()
    );
    assert!(!broker.log().contains("xyz"), "keys are no business of a log");
    round(&broker, "--psk ff --psk-identity eve");
}

#[test]
fn ciphers_are_openssls() {
    let broker = broker("ciphers PSK-AES128-GCM-SHA256:PSK-AES256-CBC-SHA\n");
    let how = "-tls1_2 -psk 0123456789abcdef -psk_identity ann -cipher";
    assert!(s_client(&broker, &format!("{how} PSK-AES128-GCM-SHA256")), "{}", broker.log());
    broker.expect_log("negotiated TLSv1.2 cipher PSK-AES128-GCM-SHA256");
    assert!(!s_client(&broker, &format!("{how} PSK-AES256-GCM-SHA384")));
}

/// mogi's own tools speak to mogi and to Mosquitto, and say what is wrong.
#[test]
fn mogis_tools_have_keys_too() {
    let broker = broker("");
    let run = |args: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mogi"));
        command.args(args.split(' ')).env("HOME", "/");
        command.args(["-h", "127.0.0.1", "-p", &broker.port().to_string()]).output().expect("runs")
    };
    let payload = "0123456789".repeat(30_000);
    let file = broker.dir().join("payload");
    std::fs::write(&file, &payload).expect("written");
    for more in ["", " --tls-version tlsv1.3", " --ciphers PSK-AES128-GCM-SHA256"] {
        let sent = run(&format!("pub {ANN}{more} -t t -r -q 2 -f {}", file.display()));
        assert!(sent.status.success(), "{more}: {}", text(&sent.stderr));
        let got = run(&format!("sub {ANN}{more} -t t -q 2 -C 1 -W 20"));
        assert!(text(&got.stdout).trim_end() == payload, "{more}: {}", text(&got.stderr));
    }
    assert!(!run("pub --psk 00 --psk-identity ann -t t -m x").status.success());
    let wrong = run("pub --psk 00 -t t -m x");
    assert!(text(&wrong.stderr).starts_with("Error: --psk-identity required if --psk used."));
    let wrong = run("pub --psk zz --psk-identity ann -t t -m x");
    assert!(text(&wrong.stderr).starts_with("Error: Problem setting TLS-PSK options."));
}

/// A bridge carries messages both ways, and says when its key is not taken.
#[test]
fn bridges_have_keys_too() {
    let far = broker("use_identity_as_username true\n");
    let bridge = |key: &str| {
        let conf = format!(
            "connection b\naddress 127.0.0.1:{}\nbridge_identity ann\nbridge_psk {key}\n\
             topic # both 1\nrestart_timeout 1\nuser root\nlog_type all\n",
            far.port()
        );
        Broker::setup().conf(&conf).start()
    };
    let near = bridge("0123456789abcdef");
    far.expect_log("u'ann'");
    let sent = tool(&near, "mosquitto_pub", "-t t -r -q 1 -m over");
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    let got = tool(&far, "mosquitto_sub", &format!("{ANN} -t t -q 1 -C 1 -W 20"));
    assert_eq!(text(&got.stdout).trim(), "over", "{}", text(&got.stderr));
    let sent = tool(&far, "mosquitto_pub", &format!("{ANN} -t back -r -q 1 -m again"));
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    let got = tool(&near, "mosquitto_sub", "-t back -q 1 -C 1 -W 20");
    assert_eq!(text(&got.stdout).trim(), "again", "{}", text(&got.stderr));
    let wrong = bridge("00");
    wrong.expect_log("are 'bridge_identity' and 'bridge_psk' known there?");
}

/// The broker answers a CONNECT that comes over `openssl s_client` with these arguments.
fn s_client(broker: &Broker, args: &str) -> bool {
    let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01s";
    let mut child = Command::new("openssl")
        .args(["s_client", "-quiet", "-no_ign_eof", "-connect"])
        .arg(format!("127.0.0.1:{}", broker.port()))
        .args(args.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let mut input = child.stdin.take().expect("piped");
    let mut output = child.stdout.take().expect("piped");
    // Where there is no connection it has ended, and takes nothing.
    let _ = input.write_all(connect);
    let mut connack = [0; 4];
    let answered = output.read_exact(&mut connack).is_ok() && connack == [0x20, 2, 0, 0];
    child.kill().expect("it ends");
    child.wait().expect("it has ended");
    answered
}

#[test]
fn openssl_itself_comes_in() {
    let broker = broker("");
    for version in ["-tls1_2", "-tls1_3"] {
        let known = format!("{version} -psk 0123456789abcdef -psk_identity ann");
        assert!(s_client(&broker, &known), "{version}\n{}", broker.log());
        let wrong = format!("{version} -psk 0123456789abcde0 -psk_identity ann");
        assert!(!s_client(&broker, &wrong), "{version}");
        broker.expect_log(&format!("negotiated {} cipher ", version.replace("-tls1_", "TLSv1.")));
    }
    assert!(!s_client(&broker, "-tls1_1 -psk 0123456789abcdef -psk_identity ann"));
}

/// Who has several keys has to know which one is asked for. (RFC 4279 5.2)
#[test]
fn the_hint_is_told() {
    let broker = broker("");
    let run = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{}", broker.port())])
        .args("-tls1_2 -psk 0123456789abcdef -psk_identity ann".split(' '))
        .stdin(Stdio::null())
        .output();
    let said = text(&run.expect("openssl").stdout);
    assert!(said.contains("PSK identity hint: here\n"), "{said}");
}

/// A configuration that cannot be is named.
#[track_caller]
fn refuses(conf: &str, keys: &str, why: &str) {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let dir = dir.join(format!("psk-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("made");
    std::fs::write(dir.join("keys"), keys).expect("written");
    let conf = conf.replace("{dir}", &dir.display().to_string());
    std::fs::write(dir.join("conf"), format!("listener 0 127.0.0.1\n{conf}")).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mogi"));
    command.arg("-c").arg(dir.join("conf")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let since = Instant::now();
    while child.try_wait().expect("asked").is_none() {
        if since.elapsed() > Duration::from_secs(20) {
            child.kill().expect("it ends");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let ran = child.wait_with_output().expect("read");
    let said = text(&ran.stderr) + &text(&ran.stdout);
    assert!(!ran.status.success() && said.contains(why), "{said}");
    std::fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn what_cannot_be_is_named() {
    let psk = "psk_hint h\npsk_file {dir}/keys\n";
    refuses(psk, "ann:ab\nbob:\n", "keys:2: the key of 'bob' has 0 or over 256 bytes.");
    refuses("psk_hint h\npsk_file {dir}/none\n", "", "Unable to open psk_file");
    let long = psk.replace("hint h", &format!("hint {}", "h".repeat(1000)));
    refuses(&long, "", "Unable to set 'psk_hint', is it too long?");
    refuses(&format!("{psk}ciphers nonsense\n"), "", "Check ciphers \"nonsense\".");
    let both = format!("{psk}certfile x\nkeyfile x\n");
    refuses(&both, "", "Cannot use both certificate and psk encryption in a single listener.");
}
