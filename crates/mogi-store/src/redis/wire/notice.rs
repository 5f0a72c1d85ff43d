//! What the broker tells people about Redis.

use super::options::Address;
use std::fmt;

/// What the wire layer tells, once per change. It comes from the layer's own thread: be quick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Requests for a node wait from now on, and why. Requests for other nodes do not.
    Degraded {
        /// The node that says so, or that cannot be reached.
        node: Address,
        /// So many of the 16384 slots are this node's.
        slots: u16,
        /// What is wrong.
        why: Trouble,
    },
    /// What was said of this node is over: its requests do not wait for this reason any more.
    Recovered {
        /// The node.
        node: Address,
        /// What was wrong.
        why: Trouble,
        /// For how long, in milliseconds.
        after_ms: u64,
        /// The node has not recovered: its slots are other nodes' now.
        replaced: bool,
    },
    /// A master has no replica, or has one again, where changes wait for one only if there is one.
    Alone {
        /// The node.
        node: Address,
        /// Whether it has none.
        alone: bool,
    },
    /// Who the masters are is known, or that or the number of replicas has changed; not told for
    /// each slot that moves.
    Topology {
        /// Masters and how many slots each has. One with all slots: a single server.
        masters: Vec<(Address, u16)>,
        /// Replicas of all masters.
        replicas: usize,
    },
}

/// Why requests wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no connection; the text is the operating system's, or what the server answered.
    Unreachable(String),
    /// The server refuses commands now; the text is its error's code, such as `OOM`.
    Refused(Refusal, String),
    /// Fewer replicas than wanted have what is durable.
    Replicas {
        /// So many have it.
        have: u32,
        /// So many are wanted (`redis_wait`).
        want: u32,
    },
    /// Fewer than wanted have what is durable on disk.
    Unsynced {
        /// Masters, 1 at most, and replicas that have it.
        have: (u32, u32),
        /// Those that are wanted (`redis_wait_aof`).
        want: (u32, u32),
        /// What the server says why it does not wait for them.
        said: Option<String>,
    },
    /// No node answers who has which slots.
    NoTopology(String),
}

/// Why a server does not carry out a command now and may later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// The slot has moved or is moving to another node.
    Moved,
    /// `TRYAGAIN`: the keys of one command are partly moved.
    TryAgain,
    /// `CLUSTERDOWN`: a slot is nobody's, or this node is not with the majority.
    ClusterDown,
    /// `LOADING`: it reads its data from disk.
    Loading,
    /// `READONLY`, `MASTERDOWN`: it is a replica.
    Replica,
    /// `NOREPLICAS`: it has fewer replicas than `min-replicas-to-write`.
    NoReplicas,
    /// `OOM`: it has reached `maxmemory`.
    OutOfMemory,
    /// `MISCONF`: it cannot save to disk.
    CannotSave,
    /// `BUSY`: a script runs.
    Busy,
    /// `NOAUTH`, `WRONGPASS`, `NOPERM`: user or password are not (or no longer) right.
    Login,
    /// A Function of ours is not there; it is loaded with the next connection.
    NoFunction,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "cannot be reached: {}", unended(why)),
            Self::Refused(_, text) => write!(f, "refuses commands: {}", unended(text)),
            Self::Replicas { have, want } => {
                write!(f, "{have} of the {want} replicas wanted (redis_wait) have what is written")
            }
            Self::Unsynced { have, want, said } => {
                write!(
                    f,
                    "{} of the {} masters and {} of the {} replicas wanted (redis_wait_aof) have \
                     what is written on disk",
                    have.0, want.0, have.1, want.1
                )?;
                said.iter().try_for_each(|said| write!(f, "; it says: {}", unended(said)))
            }
            Self::NoTopology(why) => {
                write!(f, "does not say who has which slots: {}", unended(why))
            }
        }
    }
}

/// A server's sentence without its full stop: more is said behind it.
fn unended(text: &str) -> &str {
    text.trim_end_matches('.')
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Degraded { node, slots, why } => {
                write!(f, "Redis node {node} ({slots} slots) {why}. Its requests wait")
            }
            Self::Recovered { node, why, after_ms, replaced } => {
                let seconds = *after_ms as f64 / 1000.0;
                let now = if *replaced { "has been replaced" } else { "works again" };
                write!(f, "Redis node {node} {now} after {seconds:.1} s (what was wrong: {why})")
            }
            Self::Alone { node, alone: true } => write!(
                f,
                "Redis node {node} has no replica: if it dies, what it took since is lost. With \
                 'redis_wait 1 1000' acknowledgements would wait for one"
            ),
            Self::Alone { node, alone: false } => {
                write!(f, "Redis node {node} has a replica again, and changes wait for it")
            }
            Self::Topology { masters, replicas } => {
                write!(f, "Redis: {} master(s), {replicas} replica(s):", masters.len())?;
                for (node, slots) in masters {
                    write!(f, " {node} ({slots} slots)")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_ends_where_its_full_stop_stood() {
        let said = "NOREPLICAS Not enough good replicas to write.".to_owned();
        let why = Trouble::Refused(Refusal::NoReplicas, said);
        let node = Address { host: "a".into(), port: 1 };
        let notice = Notice::Degraded { node, slots: 3, why };
        assert_eq!(
            notice.to_string(),
            "Redis node a:1 (3 slots) refuses commands: NOREPLICAS Not enough good replicas to \
             write. Its requests wait"
        );
    }
}
