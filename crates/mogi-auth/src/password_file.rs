//! The file of users and their passwords (`password_file`, and the `password-file` plugin).
//!
//! One `USER:HASH` a line. A line that begins with `#` is a comment, one without a colon is
//! skipped.

use crate::hash::PasswordHash;
use std::collections::HashMap;

/// Users and their passwords.
#[derive(Clone, Debug, Default)]
pub struct PasswordFile {
    users: HashMap<Box<str>, PasswordHash>,
}

/// What is wrong with a file, and in which line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl PasswordFile {
    /// Reads a file.
    ///
    /// # Errors
    /// A line has an empty user, a user who was there already, or what is no password hash: who
    /// may come in would be anybody's guess, so the whole file is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let mut users = HashMap::new();
        for (at, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let problem = |what: String| Problem { line: at + 1, what };
            let Some((user, hash)) = entry(line) else {
                continue;
            };
            let (Ok(user), Ok(hash)) = (std::str::from_utf8(user), std::str::from_utf8(hash))
            else {
                return Err(problem("not UTF-8".to_owned()));
            };
            if user.is_empty() {
                return Err(problem("the user name is empty".to_owned()));
            }
            let hash = PasswordHash::parse(hash).map_err(|error| {
                problem(format!("the password of '{}': {error}", user.escape_debug()))
            })?;
            if users.insert(user.into(), hash).is_some() {
                return Err(problem(format!("user '{}' a second time", user.escape_debug())));
            }
        }
        Ok(Self { users })
    }

    /// The password of a user.
    pub fn get(&self, user: &str) -> Option<&PasswordHash> {
        self.users.get(user)
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// User and hash of a line, without the blanks around them; `None`: it is not about a user.
pub fn entry(line: &[u8]) -> Option<(&[u8], &[u8])> {
    if line.starts_with(b"#") {
        return None;
    }
    let colon = line.iter().position(|&byte| byte == b':')?;
    Some((line[..colon].trim_ascii(), line[colon + 1..].trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{Algorithm, SALT_BYTES};

    fn line(user: &str) -> String {
        let hash = PasswordHash::new(Algorithm::Sha512, user.as_bytes(), &[1; SALT_BYTES]);
        format!("{user}:{}\n", hash.expect("hashed"))
    }

    #[test]
    fn users_are_found_and_the_rest_is_skipped() {
        let text =
            format!("# a:b\n\nno colon\r\n  {}{}", line("ann").replace('\n', "\r\n"), line("bob"));
        let file = PasswordFile::parse(text.as_bytes()).expect("read");
        assert_eq!(file.len(), 2);
        assert!(file.get("ann").is_some_and(|hash| hash.verify(b"ann")));
        assert!(file.get("bob").is_some_and(|hash| !hash.verify(b"ann")));
        assert!(file.get("# a").is_none() && file.get("").is_none());
    }

    #[test]
    fn a_file_with_a_bad_line_is_refused_as_a_whole() {
        let twice = line("ann").repeat(2);
        let files: [(&[u8], usize); 5] = [
            (b":$6$a$b", 1),
            (b"ann:", 1),
            (b"\nann:plain", 2),
            (twice.as_bytes(), 2),
            (b"#\n \n\xFF:x", 3),
        ];
        for (text, line) in files {
            let problem = PasswordFile::parse(text).expect_err("refused");
            assert_eq!(problem.line, line, "{}", problem.what);
        }
    }
}
