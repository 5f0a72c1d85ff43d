//! TLS and a password, to a cluster that wants both.

use crate::support::{Servers, connect, until, value};
use mogi_store::redis::wire::{Options, Tls, Trouble, Value};

#[test]
fn a_cluster_with_tls_and_password() {
    let more =
        ["--replicas", "0", "--tls", "--password", "hush", "--config", "tls-auth-clients yes"];
    let servers = Servers::start(&more);
    let files = servers.dir.path().join("tls");
    let options = |tls: Tls| {
        let url = format!("rediss://:hush@127.0.0.1:{}", servers.port);
        let mut options = Options::from_url(&url).expect("an address");
        options.tls = Some(tls);
        options
    };
    let client = || Some((files.join("client.crt"), files.join("client.key")));
    let good = Tls { ca_file: Some(files.join("ca.crt")), client: client(), insecure: false };
    let (cluster, _) = connect(options(good.clone()));
    for key in ["a", "b", "c", "d"] {
        assert_eq!(value(&cluster, &["SET", key, "1"]), Value::Okay);
    }
    let large = "x".repeat(3 << 20);
    assert_eq!(value(&cluster, &["SET", "large", &large]), Value::Okay);
    assert_eq!(value(&cluster, &["GET", "large"]).bytes().map(<[u8]>::len), Some(3 << 20));
    let insecure = Tls { ca_file: None, client: client(), insecure: true };
    let (cluster, _) = connect(options(insecure));
    assert_eq!(value(&cluster, &["GET", "a"]).int(), Some(1));
    // Somebody else's authority.
    let other = Tls { ca_file: Some(files.join("client.crt")), ..good };
    let (_cluster, notices) = connect(options(other));
    until("it is said", || {
        notices.degraded(|why| matches!(why, Trouble::Unreachable(text) if text.contains("TLS")))
    });
    let missing = Tls { ca_file: Some(files.join("none.crt")), ..Tls::default() };
    let error = mogi_store::redis::wire::Cluster::start(options(missing), |_| ());
    assert!(error.expect_err("no file").to_string().contains("none.crt"));
}
