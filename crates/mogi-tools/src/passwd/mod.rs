//! `passwd`: users and their passwords in a file, as `mosquitto_passwd` keeps them.
//!
//! * `options`: the command line
//! * `file`: the lines of a file
//!
//! Unlike Mosquitto's, it keeps comments and blank lines, and can hash with Argon2id.

mod file;
mod options;

use crate::output::print;
use crate::report::system_text;
use file::Lines;
use mogi_auth::scram::{self, Verifier};
use mogi_auth::{PasswordHash, SALT_BYTES};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use options::{Method, Options, Task};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Something is wrong: a line for the standard error, and the exit code.
struct Failure(String, i32);

impl Failure {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into(), 1)
    }
}

/// Runs `passwd`. `argv0` is what the program is called in messages, `args` are the arguments
/// after it. Answers with the exit code, that of `mosquitto_passwd`: 0, 1, or 2 where two passwords
/// do not match.
pub fn passwd_main(argv0: &str, args: &[OsString]) -> i32 {
    let options = match options::parse(args) {
        Ok(options) => options,
        Err(Some(what)) => {
            eprintln!("Error: {what}");
            return 1;
        }
        Err(None) => {
            print(&options::usage(argv0));
            return 1;
        }
    };
    match run(&options) {
        Ok(()) => 0,
        Err(Failure(what, code)) => {
            eprintln!("{what}");
            code
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    match &options.task {
        Task::Create { user, password } => {
            let password = password.clone().map_or_else(ask_twice, Ok)?;
            create(options, user, &password)
        }
        Task::Set { user, password } => {
            let password = password.clone().map_or_else(ask_twice, Ok)?;
            let mut lines = read(&options.file)?;
            let hash = hash(options.method, &password)?;
            let known = lines.set(user, &hash);
            let doing = if known { "Updating" } else { "Adding" };
            print(&format!("{doing} password for user {user}\n"));
            replace(&options.file, &lines)
        }
        Task::Delete { user } => {
            let mut lines = read(&options.file)?;
            if !lines.remove(user) {
                let what = format!("Warning: User {user} not found in password file.");
                return Err(Failure::new(what));
            }
            replace(&options.file, &lines)
        }
        Task::HashAll => {
            let mut lines = read(&options.file)?;
            lines.hash_all(|password| hash(options.method, password).map_err(|it| it.0)).map_err(
                |error| match error {
                    Ok(line) => {
                        Failure::new(format!("Error: Corrupt password file at line {line}."))
                    }
                    Err(what) => Failure::new(what),
                },
            )?;
            replace(&options.file, &lines)
        }
    }
}

fn create(options: &Options, user: &str, password: &[u8]) -> Result<(), Failure> {
    let line = format!("{user}:{}\n", hash(options.method, password)?);
    if options.file.as_os_str() == "-" {
        print(&line);
        return Ok(());
    }
    let path = absolute(&options.file);
    let mut opened = OpenOptions::new();
    let file = opened.write(true).create_new(true).mode(0o600).open(&path);
    let written = file.and_then(|mut file| {
        print(&format!("Adding password for user {user}\n"));
        file.write_all(line.as_bytes())
    });
    written.map_err(|error| {
        let (path, why) = (path.display(), system_text(&error));
        Failure::new(format!("Error: Unable to open file {path} for writing. {why}."))
    })
}

/// What stands behind the user's name.
fn hash(method: Method, password: &[u8]) -> Result<String, Failure> {
    let hash = fresh_salt().and_then(|salt| match method {
        Method::Hash(algorithm) => {
            PasswordHash::new(algorithm, password, &salt).ok().map(|hash| hash.to_string())
        }
        Method::Scram(iterations) => {
            let salt = salt.first_chunk::<{ scram::SALT_BYTES }>()?;
            Some(Verifier::new(password, salt, iterations).to_string())
        }
    });
    hash.ok_or_else(|| Failure("Error: Unable to hash password.".to_owned(), 10))
}

/// The random part of a salt.
pub(crate) fn fresh_salt() -> Option<[u8; SALT_BYTES]> {
    let mut salt = [0; SALT_BYTES];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut salt)).ok()?;
    Some(salt)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn read(path: &Path) -> Result<Lines, Failure> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        if file.metadata()?.mode() & 0o004 != 0 {
            let path = absolute(path);
            let path = path.display();
            eprintln!(
                "Warning: File {path} has world readable permissions. Future versions will refuse \
                 to load this file.\nTo fix this, use `chmod 0700 {path}`."
            );
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map(|bytes| Lines::parse(&bytes)).map_err(|error| {
        let (path, why) = (path.display(), system_text(&error));
        Failure::new(format!("Error: Unable to open password file {path}. {why}."))
    })
}

/// Puts the new file in the place of the old one, whose owner and mode it has: a broker that reads
/// it meanwhile reads the one or the other.
fn replace(path: &Path, lines: &Lines) -> Result<(), Failure> {
    let path = absolute(path);
    // A link stays one: what it names is replaced.
    let path = std::fs::canonicalize(&path).unwrap_or(path);
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new.{}", std::process::id()));
    let new = PathBuf::from(new);
    let write = || -> io::Result<()> {
        let about = std::fs::metadata(&path)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        // Only root may give files away; the file stays the caller's then.
        let _ = chown(&new, Some(about.uid()), Some(about.gid()));
        file.write_all(&lines.to_bytes())?;
        file.set_permissions(std::fs::Permissions::from_mode(about.mode() & 0o7777))?;
        file.sync_all()?;
        std::fs::rename(&new, &path)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&new);
        let (path, why) = (path.display(), system_text(&error));
        Failure::new(format!("Error: Unable to write {path}. {why}."))
    })
}

/// Asks for a password, and once more.
fn ask_twice() -> Result<Vec<u8>, Failure> {
    let first = ask("Password: ")?;
    let second = ask("Reenter password: ")?;
    if first != second {
        return Err(Failure("Error: Passwords do not match.".to_owned(), 2));
    }
    Ok(first)
}

/// Asks for a password, which a terminal does not show.
fn ask(prompt: &str) -> Result<Vec<u8>, Failure> {
    match ask_hidden(prompt) {
        Some(password) if !password.is_empty() => Ok(password),
        _ => Err(Failure::new("Error: Empty password.")),
    }
}

/// Asks for a line that a terminal does not show; `None`: there is none.
pub(crate) fn ask_hidden(prompt: &str) -> Option<Vec<u8>> {
    print(prompt);
    let stdin = io::stdin();
    let before = tcgetattr(&stdin).ok();
    if let Some(settings) = &before {
        let mut hidden = settings.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        // What cannot be hidden is read all the same.
        let _ = tcsetattr(&stdin, SetArg::TCSANOW, &hidden);
    }
    let mut line = Vec::new();
    let read = stdin.lock().read_until(b'\n', &mut line);
    if let Some(settings) = &before {
        let _ = tcsetattr(&stdin, SetArg::TCSANOW, settings);
    }
    if read.is_ok_and(|read| read > 0) {
        print("\n");
    }
    while let [start @ .., b'\n' | b'\r'] = &line[..] {
        line.truncate(start.len());
    }
    (!line.is_empty()).then_some(line)
}
