//! Installs what the tests need and the machine misses. The second time nothing is left to do.

use crate::shell;
use anyhow::{Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is needed of Debian's packages: a shell command that shows whether it is there, and the
/// package.
const NEEDS: [(&str, &str); 13] = [
    ("command -v mosquitto || test -x /usr/sbin/mosquitto", "mosquitto"),
    ("command -v mosquitto_pub", "mosquitto-clients"),
    ("command -v mosquitto_sub", "mosquitto-clients"),
    ("command -v mosquitto_rr", "mosquitto-clients"),
    ("command -v redis-server", "redis-server"),
    ("command -v redis-cli", "redis-tools"),
    ("command -v openssl", "openssl"),
    ("test -e /usr/include/openssl/ssl.h", "libssl-dev"),
    ("command -v pkg-config", "pkg-config"),
    ("command -v node", "nodejs"),
    ("command -v npm", "npm"),
    ("command -v chromium-headless-shell", "chromium-headless-shell"),
    ("python3 -c 'import ensurepip, venv'", "python3-venv"),
];

/// Installs everything.
///
/// # Errors
/// If something cannot be installed: what it is, and how to install it by hand.
pub(crate) fn run() -> Result<()> {
    packages()?;
    python()?;
    node()
}

/// The Python interpreter that has paho-mqtt.
pub(crate) fn python_path() -> PathBuf {
    venv().join("bin/python")
}

fn packages() -> Result<()> {
    let missing = NEEDS.iter().filter(|(check, _)| !shell::works("sh", &["-c", check]));
    let mut packages: Vec<&str> = missing.map(|&(_, package)| package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install {}", packages.join(" "));
    ensure!(
        shell::works("apt-get", &["--version"]),
        "the tests need {}, and there is no apt-get here: install them in this system's way",
        packages.join(", ")
    );
    let root = shell::works("sh", &["-c", "test \"$(id -u)\" = 0"]);
    if !root && !shell::works("sudo", &["-n", "true"]) {
        bail!("the tests need packages, and this is not root and sudo asks: run `{by_hand}`");
    }
    let apt_get = |args: &[&str]| {
        let mut command = if root {
            shell::command("apt-get", args)
        } else {
            let mut command = shell::command("sudo", &["-n", "apt-get"]);
            command.args(args);
            command
        };
        // The second keeps Debian from starting what it installs: port 1883 is not ours.
        command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        shell::run(&mut command)
    };
    // An old list of packages is good enough if it leads to them.
    apt_get(&["update", "-qq"])?;
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
    args.extend(&packages);
    ensure!(apt_get(&args)?, "`{by_hand}` failed");
    Ok(())
}

fn python() -> Result<()> {
    let wanted = crate::root().join("tests/clients/requirements.txt");
    once(&wanted, &venv().join("installed"), || {
        let venv = venv();
        // One of another Python version, or half of one, is of no use.
        let clear = shell::command("python3", &["-m", "venv", "--clear"]);
        run_with(clear, &venv, "cannot make a Python environment")?;
        let pip = venv.join("bin/python");
        let args = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        let install = shell::command(&pip.to_string_lossy(), &args);
        run_with(install, &wanted, "cannot install the Python packages")
    })
}

fn node() -> Result<()> {
    let dir = crate::root().join("tests/clients");
    let lock = dir.join("package-lock.json");
    once(&lock, &dir.join("node_modules/.installed"), || {
        let args = ["ci", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"];
        run_with(shell::command("npm", &args), &dir, "cannot install the Node packages")
    })
}

/// Does `work` unless `stamp` says that it was done for what `wanted` says now.
fn once(wanted: &Path, stamp: &Path, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let text = std::fs::read(wanted)?;
    if std::fs::read(stamp).is_ok_and(|done| done == text) {
        return Ok(());
    }
    work()?;
    std::fs::write(stamp, text)?;
    Ok(())
}

fn run_with(mut command: Command, last: &Path, failure: &'static str) -> Result<()> {
    ensure!(shell::run(command.arg(last))?, failure);
    Ok(())
}

fn venv() -> PathBuf {
    crate::target_dir().join("client-tests/venv")
}
