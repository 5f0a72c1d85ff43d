//! What makes a program a daemon: signals, descriptors, the pid file, the user it runs as.

use crate::broker::plan::{Signal, Signals};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Group, Uid, User, setgid, setgroups, setuid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The first real-time signal, as glibc counts (`log_dest file` is opened anew).
const SIGRTMIN: i32 = 34;

/// Has signals delivered on a socket.
pub(crate) fn signals() -> io::Result<Signals> {
    let (mut read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    let mut flags = Vec::new();
    for (number, signal) in [
        (SIGTERM, Signal::Stop),
        (SIGINT, Signal::Stop),
        (SIGHUP, Signal::Reload),
        (SIGRTMIN, Signal::Rotate),
        (SIGUSR2, Signal::Tree),
    ] {
        let flag = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(number, Arc::clone(&flag))?;
        signal_hook::low_level::pipe::register(number, write.try_clone()?)?;
        flags.push((flag, signal));
    }
    let stream = read.try_clone()?;
    let pending = Box::new(move || {
        let mut bytes = [0; 64];
        while matches!(read.read(&mut bytes), Ok(read) if read > 0) {}
        let raised = |(flag, signal): &(Arc<AtomicBool>, Signal)| {
            flag.swap(false, Ordering::AcqRel).then_some(*signal)
        };
        flags.iter().filter_map(raised).collect()
    });
    Ok(Signals { stream: mio::net::UnixStream::from_std(stream), pending })
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

/// Stops being root (`user`); lines for the log.
///
/// # Errors
/// The user cannot be become.
pub(crate) fn drop_privileges(name: &str) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    if !Uid::effective().is_root() || name.is_empty() || name == "root" {
        return Ok(lines);
    }
    let find = |name: &str| User::from_name(name).ok().flatten();
    let (user, name) = match find(name) {
        Some(user) => (user, name),
        None if name == "mosquitto" => {
            lines.push(
                "Warning: Unable to drop privileges to 'mosquitto' because this user does not \
                 exist. Trying 'nobody' instead."
                    .to_owned(),
            );
            let nobody = find("nobody").ok_or("Error: Invalid user 'nobody'.")?;
            (nobody, "nobody")
        }
        None => return Err(format!("Error: Invalid user '{name}'.")),
    };
    let failed = |error| format!("Error setting user and groups to '{name}': {error}.");
    let groups = Group::from_gid(user.gid).ok().flatten().map(|group| group.gid);
    setgroups(groups.as_slice()).map_err(failed)?;
    setgid(user.gid).map_err(failed)?;
    setuid(user.uid).map_err(failed)?;
    lines.push(format!("Info: running mosquitto as user: {name}."));
    Ok(lines)
}

/// A pid file, removed when the process ends.
pub(crate) struct PidFile<'a>(&'a Path);

impl<'a> PidFile<'a> {
    /// Writes it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(path: &'a Path) -> Result<Self, String> {
        std::fs::write(path, format!("{}\n", std::process::id())).map_err(|error| {
            format!("Error: Unable to write pid file {}: {error}.", path.display())
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
