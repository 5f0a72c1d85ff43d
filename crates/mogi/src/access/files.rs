//! Files of users and rights: read with care, written whole or not at all.

use super::plan::{AccessPlan, DynsecPlan, SourcePlan, TokenPlan};
use crate::log::{why, why_unread};
use crate::net::shared::LogSink;
use mogi_auth::acl_file::AclFile;
use mogi_auth::dynsec::Dynsec;
use mogi_auth::jwt::{ClaimRules, Keys, TokenRules, algorithm};
use mogi_auth::password_file::PasswordFile;
use mogi_auth::rules::{RuleSet, Source, Tokens};
use mogi_auth::scram::ScramFile;
use mogi_auth::{Algorithm, PasswordHash, SALT_BYTES};
use mogi_core::LogKind;
use nix::libc;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads all files and puts the rules of the listeners together.
///
/// # Errors
/// A file cannot be read, or is not what it should be: a line for the log.
pub(super) fn load(
    plan: &AccessPlan,
    dynsec: Option<Arc<Dynsec>>,
    log: &dyn LogSink,
) -> Result<Vec<Arc<RuleSet>>, String> {
    let mut known: HashMap<&PathBuf, Source> = HashMap::new();
    let mut sets = Vec::new();
    for set in &plan.sets {
        let mut sources = Vec::new();
        for source in &set.sources {
            let (path, load): (_, Loader) = match source {
                SourcePlan::Dynsec => {
                    sources.extend(dynsec.clone().map(Source::Dynsec));
                    continue;
                }
                SourcePlan::Http(_) => {
                    sources.push(Source::Elsewhere);
                    continue;
                }
                SourcePlan::Tokens(tokens) => {
                    sources.push(Source::Tokens(Arc::new(load_tokens(
                        tokens,
                        plan.leeway_s,
                        log,
                    )?)));
                    continue;
                }
                SourcePlan::Passwords(path) => (path, passwords),
                SourcePlan::Scram(path) => (path, scram),
                SourcePlan::Acl(path) => (path, acl),
            };
            if !known.contains_key(path) {
                known.insert(path, load(path, plan.strict, log)?);
            }
            sources.extend(known.get(path).cloned());
        }
        sets.push(Arc::new(RuleSet { sources, allow_anonymous: set.allow_anonymous }));
    }
    Ok(sets)
}

/// Reads a file of one kind.
type Loader = fn(&Path, bool, &dyn LogSink) -> Result<Source, String>;

fn passwords(path: &Path, _: bool, log: &dyn LogSink) -> Result<Source, String> {
    let name = path.display();
    let bytes = read(path, log).map_err(|error| {
        format!("Unable to open pwfile \"{name}\": {}.", why_unread(path, &error))
    })?;
    let file = PasswordFile::parse(&bytes)
        .map_err(|problem| format!("{name}:{}: {}.", problem.line, problem.what))?;
    Ok(Source::Passwords(Arc::new(file)))
}

fn acl(path: &Path, strict: bool, log: &dyn LogSink) -> Result<Source, String> {
    let name = path.display();
    let bytes = read(path, log).map_err(|error| {
        format!("Unable to open acl_file \"{name}\": {}.", why_unread(path, &error))
    })?;
    let (file, doubts) = AclFile::parse(&bytes, strict)
        .map_err(|problem| format!("{name}:{}: {}.", problem.line, problem.what))?;
    for doubt in doubts {
        log.log(LogKind::Warning, &format!("Warning: {doubt}"));
    }
    Ok(Source::Acl(Arc::new(file)))
}

fn scram(path: &Path, _: bool, log: &dyn LogSink) -> Result<Source, String> {
    let name = path.display();
    let bytes = read(path, log).map_err(|error| {
        format!("Unable to open scram_file \"{name}\": {}.", why_unread(path, &error))
    })?;
    let file = ScramFile::parse(&bytes)
        .map_err(|problem| format!("{name}:{}: {}.", problem.line, problem.what))?;
    Ok(Source::Scram(Arc::new(file)))
}

/// Reads the keys of tokens that stand in files.
fn load_tokens(plan: &TokenPlan, leeway_s: u64, log: &dyn LogSink) -> Result<Tokens, String> {
    let mut keys = Keys::default();
    if let Some(path) = &plan.key_file {
        let name = path.display();
        // What is public may be read by anybody.
        let bytes = std::fs::read(path).map_err(|error| {
            format!("Unable to open jwt_key_file \"{name}\": {}.", why_unread(path, &error))
        })?;
        let found =
            Keys::parse(&bytes).map_err(|error| format!("jwt_key_file {name}: {error}."))?;
        keys = keys.with(&found);
    }
    if let Some(path) = &plan.secret_file {
        let name = path.display();
        let bytes = read(path, log).map_err(|error| {
            format!("Unable to open jwt_secret_file \"{name}\": {}.", why_unread(path, &error))
        })?;
        let (found, doubt) = Keys::parse_secret(&bytes)
            .map_err(|error| format!("jwt_secret_file {name}: {error}."))?;
        if let Some(doubt) = doubt {
            let line = format!("Warning: The jwt_secret_file {name} {doubt}.");
            log.log(LogKind::Warning, &line);
        }
        keys = keys.with(&found);
    }
    let claims = ClaimRules {
        username: plan.username_claim.clone(),
        client_id: plan.client_id_claim.clone(),
        acl: plan.acl_claim.clone(),
        templates: plan.acl.clone(),
    };
    let rules = TokenRules {
        algorithms: plan.algorithms.iter().filter_map(|name| algorithm(name)).collect(),
        issuers: plan.issuers.clone(),
        audiences: plan.audiences.clone(),
        leeway_s,
        endless: plan.endless,
        claims,
    };
    Ok(Tokens { rules, keys })
}

/// Bytes a file of users or rights may have.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Reads a file that is nobody else's business: not through a link somebody else may have put
/// there, and with a warning where others may read it.
fn read(path: &Path, log: &dyn LogSink) -> io::Result<Vec<u8>> {
    let links = std::env::var_os("MOSQUITTO_UNSAFE_ALLOW_SYMLINKS").is_some();
    let flags = if links { 0 } else { libc::O_NOFOLLOW };
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    if about.mode() & 0o004 != 0 {
        let name = path.display();
        log.log(
            LogKind::Warning,
            &format!(
                "Warning: File {name} has world readable permissions. Future versions will refuse \
                 to load this file. To fix this, use `chmod 0700 {name}`."
            ),
        );
    }
    if about.mode() & 0o002 != 0 {
        let line = format!("Warning: File {} may be written to by anybody.", path.display());
        log.log(LogKind::Warning, &line);
    }
    if about.len() > MAX_FILE_BYTES {
        return Err(io::Error::other("it is larger than 256 MiB"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the file of dynamic security, or makes the first one.
///
/// # Errors
/// A line for the log.
pub(super) fn load_dynsec(plan: &DynsecPlan, log: &dyn LogSink) -> Result<Dynsec, String> {
    if let Some(dynsec) = read_dynsec(plan, log)? {
        return Ok(dynsec);
    }
    let (dynsec, _) = first_dynsec(plan, log)?;
    save_dynsec(&plan.file, &dynsec)
        .map_err(|error| format!("Unable to write {}: {}.", plan.file.display(), why(&error)))?;
    Ok(dynsec)
}

/// Reads the file of dynamic security; `None`: there is none.
///
/// # Errors
/// A line for the log.
pub(super) fn read_dynsec(plan: &DynsecPlan, log: &dyn LogSink) -> Result<Option<Dynsec>, String> {
    let name = plan.file.display();
    match read(&plan.file, log) {
        Ok(bytes) => {
            Dynsec::parse(&bytes).map(Some).map_err(|error| format!("File {name}: {error}."))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("Unable to open {name}: {}.", why(&error))),
    }
}

/// Bytes the first administrator's password has at least.
const MIN_PASSWORD_BYTES: usize = 12;

/// What a broker begins with that finds none, and the file the administrator's password was written
/// to if it was made up.
///
/// # Errors
/// A line for the log.
pub(super) fn first_dynsec(
    plan: &DynsecPlan,
    log: &dyn LogSink,
) -> Result<(Dynsec, Option<PathBuf>), String> {
    let say = |line: &str| log.log(LogKind::Information, line);
    say("Dynamic security plugin config not found, generating a default config.");
    let mut written = None;
    let from_environment = std::env::var("MOSQUITTO_DYNSEC_PASSWORD").ok();
    let password = if let Some(path) = &plan.init_password_file {
        let bytes = read(path, log).map_err(|error| {
            format!(
                "Unable to get initial password from {}: {}.",
                path.display(),
                why_unread(path, &error)
            )
        })?;
        say("  Using admin password from file");
        let text = String::from_utf8_lossy(&bytes);
        text.lines().next().unwrap_or_default().to_owned()
    } else if let Some(password) =
        from_environment.filter(|password| password.len() >= MIN_PASSWORD_BYTES)
    {
        say("  Using admin password from MOSQUITTO_DYNSEC_PASSWORD environment variable");
        password
    } else {
        let password = random_text().ok_or("the system gives no random numbers.")?;
        let beside = beside(&plan.file, ".pw");
        write_new(&beside, format!("admin {password}\n").as_bytes())
            .map_err(|error| format!("Unable to write {}: {}.", beside.display(), why(&error)))?;
        say(&format!("  Using generated admin password, see {}", beside.display()));
        written = Some(beside);
        password
    };
    let salt = fresh_salt().ok_or("the system gives no random numbers.")?;
    let hash = PasswordHash::new(Algorithm::Pbkdf2(None), password.as_bytes(), &salt)
        .map_err(|error| format!("{error}."))?;
    Ok((Dynsec::initial(hash), written))
}

/// Saves dynamic security: whoever reads the file finds all of it, as it was or as it is.
pub(super) fn save_dynsec(path: &Path, dynsec: &Dynsec) -> io::Result<()> {
    let new = beside(path, ".new");
    // One that is left from a crash is in the way.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_new(&new, &dynsec.to_json())?;
    std::fs::rename(&new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The random part of a salt.
pub(super) fn fresh_salt() -> Option<[u8; SALT_BYTES]> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).ok()?;
    Some(salt)
}

/// Letters, digits, `-` and `_` nobody guesses.
pub(super) fn random_text() -> Option<String> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte & 63)])).collect())
}
