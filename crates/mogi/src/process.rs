//! What makes a program a daemon: signals, descriptors, the pid file, the user it runs as.

use crate::broker::plan::{Signal, Signals};
use crate::log::why;
use crate::net::shared::LogSink;
use mogi_core::LogKind;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, User, initgroups, setgid, setuid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use std::ffi::CString;
use std::fs::DirBuilder;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Who to become where the file names nobody.
pub(crate) const DEFAULT_USER: &str = "mosquitto";

/// Has signals delivered on a socket. Until the broker serves, those that stop it end the process.
pub(crate) fn signals() -> io::Result<Signals> {
    let (mut read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    let mut flags = Vec::new();
    // Nobody reads the socket while the store is: that may take as long as Redis is not well.
    let starting = Arc::new(AtomicBool::new(true));
    for number in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(number, 0, Arc::clone(&starting))?;
    }
    for (number, signal) in [
        (SIGTERM, Signal::Stop),
        (SIGINT, Signal::Stop),
        (SIGHUP, Signal::Reload),
        (nix::libc::SIGRTMIN(), Signal::Rotate),
        (SIGUSR2, Signal::Tree),
    ] {
        let flag = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(number, Arc::clone(&flag))?;
        signal_hook::low_level::pipe::register(number, write.try_clone()?)?;
        flags.push((flag, signal));
    }
    // Mosquitto saves its state: there is none to save yet, and it must not end the process.
    signal_hook::flag::register(SIGUSR1, Arc::default())?;
    let stream = read.try_clone()?;
    let pending = Box::new(move || {
        let mut bytes = [0; 64];
        while matches!(read.read(&mut bytes), Ok(read) if read > 0) {}
        let raised = |(flag, signal): &(Arc<AtomicBool>, Signal)| {
            flag.swap(false, Ordering::AcqRel).then_some(*signal)
        };
        flags.iter().filter_map(raised).collect()
    });
    Ok(Signals { stream: mio::net::UnixStream::from_std(stream), pending, starting })
}

/// Raises the limit of open descriptors as far as it may go: one that is too low shows only when
/// clients are turned away.
pub(crate) fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // What cannot be raised stays as it is, and accepting copes with it.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Goes into the background.
///
/// # Errors
/// As fork(2).
pub(crate) fn daemonize() -> io::Result<()> {
    Ok(nix::unistd::daemon(true, false)?)
}

/// Stops being root (`user`), and says who it is now. `data` is a folder it will write to: where it
/// is missing, it is made while that is still allowed.
///
/// # Errors
/// The user cannot be become: a line for the log.
pub(crate) fn drop_privileges(
    user: &str,
    program: &str,
    data: Option<&Path>,
    log: &dyn LogSink,
) -> Result<(), String> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let user = find_user(user, log)?;
    if let Some(data) = data {
        // Whoever opens it says what is wrong with it.
        let _ = make_folder(data, &user);
    }
    if !user.uid.is_root() {
        become_user(&user).map_err(|error| {
            format!("Error setting user and groups to '{}': {error}.", user.name)
        })?;
    }
    let line = format!("Info: running {program} as user: {}.", user.name);
    log.log(LogKind::Information, &line);
    if user.uid.is_root() {
        let mut name = program.to_owned();
        name[..1].make_ascii_uppercase();
        let line = format!("Warning: {name} should not be run as root/administrator.");
        log.log(LogKind::Warning, &line);
    }
    Ok(())
}

/// The user of that name; `nobody` in the place of the default one where it does not exist.
fn find_user(name: &str, log: &dyn LogSink) -> Result<User, String> {
    let find = |name: &str| User::from_name(name).ok().flatten();
    if let Some(user) = find(name) {
        return Ok(user);
    }
    let line = format!("Unable to drop privileges to '{name}' because this user does not exist.");
    if name != DEFAULT_USER {
        return Err(format!("Error: {line}"));
    }
    log.log(LogKind::Warning, &format!("Warning: {line} Trying 'nobody' instead."));
    find("nobody").ok_or_else(|| {
        "Error: Unable to drop privileges to 'nobody' because this user does not exist.".to_owned()
    })
}

/// Makes a folder, and those above it, for a user. One that is there is left as it is.
fn make_folder(path: &Path, user: &User) -> std::io::Result<()> {
    if path.as_os_str().is_empty() || path.exists() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_folder(parent, user)?;
    }
    DirBuilder::new().mode(0o700).create(path)?;
    std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
}

fn become_user(user: &User) -> nix::Result<()> {
    let name = CString::new(user.name.as_str()).unwrap_or_default();
    // With the groups the user is a member of: certificates are often readable for one of them.
    initgroups(&name, user.gid)?;
    setgid(user.gid)?;
    setuid(user.uid)
}

/// The name of this machine, which bridges call themselves by.
pub(crate) fn host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// A pid file, removed when the process ends.
pub(crate) struct PidFile<'a>(&'a Path);

impl<'a> PidFile<'a> {
    /// Writes it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(path: &'a Path) -> Result<Self, String> {
        std::fs::write(path, std::process::id().to_string()).map_err(|error| {
            format!("Error: Unable to write pid file {}: {}.", path.display(), why(&error))
        })?;
        Ok(Self(path))
    }
}

impl Drop for PidFile<'_> {
    fn drop(&mut self) {
        // It may be gone already, or not ours to remove any more.
        let _ = std::fs::remove_file(self.0);
    }
}
