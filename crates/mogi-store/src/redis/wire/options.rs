//! Where Redis is, and how to talk to it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where Redis is, and how to talk to it. See [`Options::from_url`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes to ask first, in this order; at least one. One that answers is enough.
    pub seeds: Vec<Address>,
    /// The ACL user; without one, `default`.
    pub username: Option<String>,
    /// The user's password; without one nobody logs in.
    pub password: Option<Secret>,
    /// TLS for all connections.
    pub tls: Option<Tls>,
    /// One server or a cluster of them.
    pub mode: Mode,
    /// Whether durable requests wait for replicas.
    pub wait: Option<Wait>,
    /// Functions every master must have.
    pub library: Option<Library>,
    /// What `CLIENT LIST` shows; letters, digits and `-`.
    pub client_name: String,
    /// A connection that has been silent for so long while answers are due is given up.
    /// Default: 5 s.
    pub timeout: Duration,
    /// So long may a connection take, with TLS and login. Default: 2 s.
    pub connect_timeout: Duration,
}

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A text that must not appear in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

/// How to use TLS.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// PEM: who signed the servers' certificates. Without: those the system trusts.
    pub ca_file: Option<PathBuf>,
    /// PEM: our own certificate and its key, if the servers want one (`tls-auth-clients`).
    pub client: Option<(PathBuf, PathBuf)>,
    /// Encrypt, but believe any certificate.
    pub insecure: bool,
}

/// One server or a cluster of them (`redis_cluster`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Whatever the server says it is.
    #[default]
    Auto,
    /// A cluster; an error if the server is none.
    Cluster,
    /// One server that has all slots, whatever it says.
    Single,
}

/// Who has to have what is durable, and where (`redis_wait`, `redis_wait_aof`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// So many replicas of the master.
    pub replicas: u32,
    /// In memory, or on disk.
    pub depth: Depth,
    /// If they take longer, a notice tells so. The request goes on waiting.
    pub timeout: Duration,
    /// Only for a master that has a replica: nothing stands still because a replica became the
    /// master.
    pub if_any: bool,
}

impl Wait {
    /// Whether there is anything to wait for.
    pub fn is_any(&self) -> bool {
        self.replicas > 0 || self.depth == Depth::Disk { master: true }
    }
}

/// What having something means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// It is in memory (`WAIT`).
    #[default]
    Memory,
    /// The append-only file is synced (`WAITAOF`, Redis 7.2).
    Disk {
        /// The master's as well.
        master: bool,
    },
}

/// A library of Redis Functions (Redis 7.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name, with its version: another code under the same name is replaced.
    pub name: String,
    /// What `FUNCTION LOAD` gets: `#!lua name=…` and so on.
    pub code: String,
}

/// What is wrong with an address of Redis. The text is for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(String);

impl Options {
    /// For `redis://[user:password@]host[:port][,host[:port]…]`, or `rediss://` for TLS.
    ///
    /// User and password may hold `%40` and the like; IPv6 addresses stand in brackets; the
    /// port is 6379 if none is given.
    ///
    /// # Errors
    /// If it is no such address: what is wrong, without the password.
    pub fn from_url(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| {
            UrlError("not an address of Redis: it begins with redis:// or rediss://".to_owned())
        })?;
        let tls = match scheme {
            "redis" => None,
            "rediss" => Some(Tls::default()),
            "unix" | "redis+unix" => {
                return Err(UrlError("sockets of files are not supported; use redis://".into()));
            }
            other => {
                return Err(UrlError(format!(
                    "{other}:// is not Redis; it is redis://, or rediss:// with TLS"
                )));
            }
        };
        let (hosts, path) = match rest.rsplit_once('@') {
            Some((_, hosts)) => split_path(hosts),
            None => split_path(rest),
        };
        if !matches!(path, "" | "0") {
            return Err(UrlError(format!(
                "/{path}: only database 0 is supported, as a cluster has no other"
            )));
        }
        let mut options = Self::new(hosts.split(',').map(address).collect::<Result<_, _>>()?);
        options.tls = tls;
        if let Some((login, _)) = rest.rsplit_once('@') {
            let (user, password) = login.split_once(':').ok_or_else(|| {
                UrlError("before the @ stands user:password, or :password".to_owned())
            })?;
            options.username = Some(decoded(user)?).filter(|user| !user.is_empty());
            options.password = Some(Secret(decoded(password)?));
        }
        Ok(options)
    }

    /// Plain TCP without login to these nodes.
    #[must_use]
    pub fn new(seeds: Vec<Address>) -> Self {
        Self {
            seeds,
            username: None,
            password: None,
            tls: None,
            mode: Mode::Auto,
            wait: None,
            library: None,
            client_name: "mogi".to_owned(),
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
        }
    }
}

fn split_path(rest: &str) -> (&str, &str) {
    rest.split_once('/').unwrap_or((rest, ""))
}

fn address(text: &str) -> Result<Address, UrlError> {
    let bad = |why: &str| UrlError(format!("{text:?} is no host:port: {why}"));
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| bad("the ] is missing"))?;
        let port = match rest.strip_prefix(':') {
            None if !rest.is_empty() => return Err(bad("after the ] comes :port")),
            port => port,
        };
        (host, port)
    } else {
        match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => {
                return Err(bad("an IPv6 address stands in brackets, as in [::1]:6379"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err(bad("the host is missing"));
    }
    let port = match port {
        None => 6379,
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => return Err(bad("a port is a number from 1 to 65535")),
            Ok(port) => port,
        },
    };
    Ok(Address { host: host.to_owned(), port })
}

/// `%40` is `@` and so on (RFC 3986 section 2.1).
fn decoded(text: &str) -> Result<String, UrlError> {
    let bad = || {
        UrlError("user or password: after % come two hexadecimal digits; % itself is %25".into())
    };
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = tail.get(..2).filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|two| std::str::from_utf8(two).ok()).ok_or_else(bad)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| UrlError("user or password is not UTF-8".to_owned()))
}

/// As in a URL.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Vec<String> {
        let options = Options::from_url(url).expect(url);
        options.seeds.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_names_hosts_and_login() {
        assert_eq!(hosts("redis://a"), ["a:6379"]);
        assert_eq!(hosts("redis://a:1,[::1]:2,10.0.0.1/"), ["a:1", "[::1]:2", "10.0.0.1:6379"]);
        let options = Options::from_url("rediss://me:p%40s:s@h:1/0").expect("valid");
        assert!(options.tls.is_some());
        assert_eq!(options.username.as_deref(), Some("me"));
        assert_eq!(options.password, Some(Secret("p@s:s".to_owned())));
        assert_eq!(Options::from_url("redis://:pw@h").expect("valid").username, None);
        assert_eq!(hosts("redis://u:a/b@h:1"), ["h:1"]);
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let cases = [
            ("localhost:6379", "begins with redis://"),
            ("http://a", "http:// is not Redis"),
            ("unix:///run/redis.sock", "not supported"),
            ("redis://", "the host is missing"),
            ("redis://a,,b", "the host is missing"),
            ("redis://a:0", "from 1 to 65535"),
            ("redis://a:redis", "from 1 to 65535"),
            ("redis://::1:6379", "in brackets"),
            ("redis://[::1:6379", "] is missing"),
            ("redis://[::1]6379", "comes :port"),
            ("redis://a/3", "only database 0"),
            ("redis://pw@a", "user:password"),
            ("redis://u:%zz@a", "two hexadecimal digits"),
        ];
        for (url, expected) in cases {
            let error = Options::from_url(url).expect_err(url).to_string();
            assert!(error.contains(expected), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let options = Options::from_url("redis://u:hush@a").expect("valid");
        assert!(!format!("{options:?}").contains("hush"));
    }
}
