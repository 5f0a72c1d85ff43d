//! What is done to a file of dynamic security without a broker.

use super::command::ask;
use super::options::Options;
use super::{INVALID, REFUSED};
use crate::output::print;
use crate::passwd::fresh_salt;
use crate::report::system_text;
use mogi_auth::dynsec::Dynsec;
use mogi_auth::{Algorithm, PasswordHash};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Runs `dynsec init`, and `dynsec setClientPassword` with `-f`; the exit code if it was one of
/// them.
pub(super) fn run(argv0: &str, options: &Options, module: &str, words: &[&str]) -> Option<i32> {
    match (module, words, &options.file) {
        ("dynsec", ["init", rest @ ..], _) => Some(init(argv0, options, rest)),
        ("dynsec", ["setClientPassword", rest @ ..], Some(file)) => {
            Some(set_password(options, file, rest))
        }
        _ => None,
    }
}

fn init(argv0: &str, options: &Options, words: &[&str]) -> i32 {
    let (file, user, password) = match words {
        [file, user] => (*file, *user, ask(user, false)),
        [file, user, password] => (*file, *user, Some((*password).to_owned())),
        _ => {
            eprintln!("dynsec init: Not enough arguments - filename, or admin-user missing.");
            eprintln!("Error: Invalid input.");
            return INVALID;
        }
    };
    let hash = password.and_then(|password| hash(&password));
    let Some(hash) = hash else {
        eprintln!("Error: Invalid input.");
        return INVALID;
    };
    let bytes = Dynsec::with_admin(user, hash).to_json();
    let mut opened = OpenOptions::new();
    let written = opened.write(true).create_new(true).mode(0o600).open(file);
    if let Err(error) = written.and_then(|mut file| file.write_all(&bytes)) {
        let why = system_text(&error);
        eprintln!("dynsec init: Unable to open '{file}' for writing ({why}).");
        return if options.strict { REFUSED } else { 0 };
    }
    print(&format!(
        "\
The client '{user}' has been created in the file '{file}'.
This client is configured to allow you to administer the dynamic security plugin only.
It does not have access to publish messages to normal topics.
You should create your application clients to do that, for example:
   {argv0} <connect options> dynsec createClient <username>
   {argv0} <connect options> dynsec createRole <rolename>
   {argv0} <connect options> dynsec addRoleACL <rolename> publishClientSend my/topic [priority]
   {argv0} <connect options> dynsec addClientRole <username> <rolename> [priority]
See https://mosquitto.org/documentation/dynamic-security/ for details of all commands.
"
    ));
    0
}

fn set_password(options: &Options, file: &Path, words: &[&str]) -> i32 {
    let (user, password) = match words {
        [user] => (*user, ask(user, false)),
        [user, password] => (*user, Some((*password).to_owned())),
        _ => (Default::default(), None),
    };
    let Some(hash) = password.and_then(|password| hash(&password)) else {
        eprintln!("Error: Invalid input.");
        return INVALID;
    };
    let Ok(bytes) = std::fs::read(file) else {
        eprintln!("Error: Unable to open {}.\nError: Invalid input.", file.display());
        return INVALID;
    };
    let mut dynsec = match Dynsec::parse(&bytes) {
        Ok(dynsec) => dynsec,
        Err(error) => {
            eprintln!("Error: {}: {error}.\nError: Invalid input.", file.display());
            return INVALID;
        }
    };
    if !dynsec.set_password(user, hash) {
        eprintln!("Error: Client {user} not found.");
        return if options.strict { REFUSED } else { 0 };
    }
    if let Err(error) = replace(file, &dynsec.to_json()) {
        eprintln!("Error: Unable to write {}: {}.", file.display(), system_text(&error));
        return REFUSED;
    }
    0
}

fn hash(password: &str) -> Option<PasswordHash> {
    let salt = fresh_salt().filter(|_| !password.is_empty())?;
    PasswordHash::new(Algorithm::Pbkdf2(None), password.as_bytes(), &salt).ok()
}

/// Puts the new file in the place of the old one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new.{}", std::process::id()));
    let new = PathBuf::from(new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::set_permissions(&new, std::fs::metadata(path)?.permissions())?;
    std::fs::rename(&new, path)
}
