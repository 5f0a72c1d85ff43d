//! The command line of `passwd`.

use mogi_auth::Algorithm;
use mogi_auth::scram;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What is to be done with which file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) file: PathBuf,
    pub(super) method: Method,
    pub(super) task: Task,
}

/// What is written behind a user's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// The password's hash, for a password file.
    Hash(Algorithm),
    /// A verifier of SCRAM with so many iterations, for a `scram_file`.
    Scram(u32),
}

/// What is to be done; without a password it is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    Create { user: String, password: Option<Vec<u8>> },
    Set { user: String, password: Option<Vec<u8>> },
    Delete { user: String },
    HashAll,
}

/// Bytes a user name may have.
const MAX_NAME_BYTES: usize = 65_535;

/// What was wrong; `None`: so much that the usage says more.
type Wrong = Option<String>;

pub(super) fn parse(args: &[OsString]) -> Result<Options, Wrong> {
    let wrong = |what: &str| Some(what.to_owned());
    let (mut batch, mut create, mut delete, mut all) = (false, false, false, false);
    let mut method = Method::Hash(Algorithm::Pbkdf2(None));
    let mut iterations = None;
    let mut rest = args.iter().peekable();
    while let Some(flag) = rest.next_if(|arg| arg.len() > 1 && arg.as_bytes()[0] == b'-') {
        match flag.to_str().unwrap_or_default() {
            "-b" => batch = true,
            "-c" => create = true,
            "-D" => delete = true,
            "-U" => all = true,
            "-H" => {
                let name = rest
                    .next()
                    .ok_or_else(|| wrong("-H argument given but not enough other arguments."))?;
                method = match &*name.to_string_lossy() {
                    "sha512" => Method::Hash(Algorithm::Sha512),
                    "sha512-pbkdf2" => Method::Hash(Algorithm::Pbkdf2(None)),
                    "argon2id" => Method::Hash(Algorithm::Argon2id),
                    "scram-sha-256" => Method::Scram(scram::ITERATIONS),
                    other => return Err(Some(format!("Unknown hash type '{other}'"))),
                };
            }
            "-I" => {
                let number = rest
                    .next()
                    .ok_or_else(|| wrong("-I argument given but not enough other arguments."))?;
                let number = number.to_str().and_then(|text| text.parse().ok());
                let number = number.filter(|number: &u32| (1..=10_000_000).contains(number));
                iterations =
                    Some(number.ok_or_else(|| wrong("Number of iterations must be > 0."))?);
            }
            _ => return Err(None),
        }
    }
    for (both, what) in [
        (create && delete, "-c and -D"),
        (create && all, "-c and -U"),
        (delete && all, "-D and -U"),
        (batch && delete, "-b and -D"),
    ] {
        if both {
            return Err(Some(format!("{what} cannot be used together.")));
        }
    }
    match (method, iterations) {
        (Method::Hash(Algorithm::Pbkdf2(_)), Some(_)) => {
            method = Method::Hash(Algorithm::Pbkdf2(iterations));
        }
        (Method::Scram(_), Some(iterations)) => method = Method::Scram(iterations),
        _ => {}
    }
    let rest: Vec<&OsString> = rest.collect();
    let task = task(&rest, (batch, create, delete, all))?;
    let file = rest.first().map(PathBuf::from).unwrap_or_default();
    Ok(Options { file, method, task })
}

fn task(
    rest: &[&OsString],
    (batch, create, delete, all): (bool, bool, bool, bool),
) -> Result<Task, Wrong> {
    let missing = |what: &str| Some(format!("{what} argument given but password file missing."));
    let both =
        |flag: &str| Some(format!("{flag} argument given but password file or username missing."));
    if all {
        return match rest {
            [] => Err(missing("-U")),
            _ => Ok(Task::HashAll),
        };
    }
    let (user, password) = match (rest, batch) {
        ([_, user, password], true) => (user, Some(password.as_bytes().to_vec())),
        ([_, user], false) => (user, None),
        ([] | [_], false) if create => return Err(both("-c")),
        ([] | [_], false) if delete => return Err(both("-D")),
        _ => return Err(None),
    };
    let user = name(&user.to_string_lossy())?;
    Ok(match (delete, create) {
        (true, _) => Task::Delete { user },
        (_, true) => Task::Create { user, password },
        _ => Task::Set { user, password },
    })
}

fn name(user: &str) -> Result<String, Wrong> {
    let what = if user.is_empty() {
        // Mosquitto writes one, and then calls its file corrupt.
        "Username must not be empty."
    } else if user.contains(':') {
        "Username must not contain the ':' character."
    } else if user.chars().any(char::is_control) {
        "Username must not contain control characters."
    } else if user.len() > MAX_NAME_BYTES {
        "Username must be less than 65536 characters long."
    } else {
        return Ok(user.to_owned());
    };
    Err(Some(what.to_owned()))
}

/// What is printed where too much is missing.
pub(super) fn usage(argv0: &str) -> String {
    format!(
        "\
{argv0} is a tool for managing password files for mosquitto.

Usage: {argv0} [-H argon2id | -H sha512-pbkdf2] [-c | -D] passwordfile username
       {argv0} [-H argon2id | -H sha512-pbkdf2] [-c] -b passwordfile username password
       {argv0} -U passwordfile
 -b : run in batch mode to allow passing passwords on the command line.
 -c : create a new password file; one that is there already is left alone. `-`: print the line.
 -D : delete the username rather than adding/updating its password.
 -H : specify the hashing algorithm: sha512-pbkdf2, which is the default and every Mosquitto reads,
      argon2id, which mogi and some builds of Mosquitto 2.1 read, or sha512, which is weak.
      scram-sha-256 is for the scram_file of mogi, and for nothing else.
 -I : iterations of sha512-pbkdf2; the default is 1000, as in Mosquitto 2.1. Of scram-sha-256
      15000; the client pays for them.
 -U : update a plain text password file to use hashed passwords.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &str) -> Result<Options, Wrong> {
        let args: Vec<OsString> = args.split(' ').map(OsString::from).collect();
        parse(&args)
    }

    #[test]
    fn tasks_are_told_by_flags() {
        let secret = || Some(b"p".to_vec());
        let user = || "u".to_owned();
        let task = |args| read(args).map(|options| options.task);
        assert_eq!(task("-b f u p"), Ok(Task::Set { user: user(), password: secret() }));
        assert_eq!(task("-c -b - u p"), Ok(Task::Create { user: user(), password: secret() }));
        assert_eq!(task("f u"), Ok(Task::Set { user: user(), password: None }));
        assert_eq!(task("-D f u"), Ok(Task::Delete { user: user() }));
        assert_eq!(task("-U f"), Ok(Task::HashAll));
        let method = |args| read(args).map(|options| options.method);
        let pbkdf2 = Method::Hash(Algorithm::Pbkdf2(Some(5)));
        assert_eq!(method("-I 5 -b f u p"), Ok(pbkdf2));
        assert_eq!(method("-H argon2id -b f u p"), Ok(Method::Hash(Algorithm::Argon2id)));
        assert_eq!(method("-H scram-sha-256 -I 9 -b f u p"), Ok(Method::Scram(9)));
    }

    #[test]
    fn what_is_wrong_is_said_as_mosquitto_says_it() {
        for (args, what) in [
            ("-c -D f u", "-c and -D cannot be used together."),
            ("-b -D f u p", "-b and -D cannot be used together."),
            ("-b f a:b p", "Username must not contain the ':' character."),
            ("-H foo f u", "Unknown hash type 'foo'"),
            ("-H", "-H argument given but not enough other arguments."),
            ("-I 0 -b f u p", "Number of iterations must be > 0."),
            ("-c f", "-c argument given but password file or username missing."),
            ("-U", "-U argument given but password file missing."),
        ] {
            assert_eq!(read(args), Err(Some(what.to_owned())), "{args}");
        }
        for args in ["", "f", "-b f u", "f u p", "-x f u", "-cb f u p"] {
            assert_eq!(read(args), Err(None), "{args}");
        }
    }
}
