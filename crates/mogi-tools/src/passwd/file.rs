//! The lines of a password file.

use mogi_auth::password_file::entry;

/// A file's lines; those that are about no user stay as they are.
pub(super) struct Lines(Vec<Vec<u8>>);

impl Lines {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if bytes.is_empty() {
            return Self(Vec::new());
        }
        Self(bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect())
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
    }

    /// Sets a user's password; whether the user was there.
    pub(super) fn set(&mut self, user: &str, hash: &str) -> bool {
        let new = format!("{user}:{hash}").into_bytes();
        match self.0.iter_mut().find(|line| is_about(line, user)) {
            Some(line) => {
                *line = new;
                true
            }
            None => {
                self.0.push(new);
                false
            }
        }
    }

    /// Removes a user; whether it was there.
    pub(super) fn remove(&mut self, user: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|line| !is_about(line, user));
        self.0.len() < before
    }

    /// Takes what stands behind each user for a password, and puts its hash there.
    ///
    /// # Errors
    /// The number of a line that has no user or no password, or why there is no hash.
    pub(super) fn hash_all(
        &mut self,
        hash: impl Fn(&[u8]) -> Result<String, String>,
    ) -> Result<(), Result<usize, String>> {
        for (at, line) in self.0.iter_mut().enumerate() {
            if line.starts_with(b"#") || line.trim_ascii().is_empty() {
                continue;
            }
            let (user, password) = entry(line).ok_or(Ok(at + 1))?;
            if user.is_empty() || password.is_empty() {
                return Err(Ok(at + 1));
            }
            let hash = hash(password).map_err(Err)?;
            *line = [user, b":", hash.as_bytes()].concat();
        }
        Ok(())
    }
}

fn is_about(line: &[u8], user: &str) -> bool {
    entry(line).is_some_and(|(name, _)| name == user.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mogi_auth::{Algorithm, PasswordHash, SALT_BYTES};

    fn hash(password: &[u8]) -> Result<String, String> {
        let hash = PasswordHash::new(Algorithm::Sha512, password, &[0; SALT_BYTES]);
        hash.map(|hash| hash.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        let mut lines = Lines::parse(b"# mine\n\nann:x\nbob:y");
        let new = hash(b"secret").expect("hashed");
        assert!(lines.set("ann", &new) && !lines.set("zoe", &new));
        assert!(lines.remove("bob") && !lines.remove("bob"));
        let expected = format!("# mine\n\nann:{new}\nzoe:{new}\n");
        assert_eq!(String::from_utf8(lines.to_bytes()), Ok(expected));
    }

    #[test]
    fn plain_passwords_are_hashed_in_place() {
        let mut lines = Lines::parse(b"# c\nann:secret\n");
        lines.hash_all(hash).expect("hashed");
        let expected = format!("# c\nann:{}\n", hash(b"secret").expect("hashed"));
        assert_eq!(String::from_utf8(lines.to_bytes()), Ok(expected));
        for (text, line) in [("a:b\nplain\n", 2), ("ann:\n", 1), (":x\n", 1)] {
            assert_eq!(Lines::parse(text.as_bytes()).hash_all(hash), Err(Ok(line)));
        }
    }
}
