//! The Functions in Redis: what is decided there, where a decision has to be atomic.
//!
//! The library, and with it each Function, is called after its code. So brokers of two versions
//! work together on one Redis, each with the code it was made for; the library of a version that
//! nobody runs any more stays, some kilobytes that hurt nobody, until somebody deletes it.

use super::wire::Library;
use std::sync::LazyLock;
use xxhash_rust::xxh3::xxh3_64;

/// The code, as far as its name does not stand in it.
const CODE: &str = include_str!("functions.lua");

/// What stands in it for the name.
const PLACE: &str = "mogi_VERSION";

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Own,
    Take,
    Add,
    Retain,
    Unretain,
    Will,
    Unwill,
    Claim,
    EndIf,
    Waiting,
    Replace,
}

/// All, with their names in the code, in the order of their numbers.
const ALL: [(Function, &str); 11] = [
    (Function::Own, "own"),
    (Function::Take, "take"),
    (Function::Add, "add"),
    (Function::Retain, "retain"),
    (Function::Unretain, "unretain"),
    (Function::Will, "will"),
    (Function::Unwill, "unwill"),
    (Function::Claim, "claim"),
    (Function::EndIf, "end_if"),
    (Function::Waiting, "waiting"),
    (Function::Replace, "replace"),
];

impl Function {
    /// What `FCALL` calls it.
    pub(super) fn name(self) -> &'static [u8] {
        static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
            let library = name_of(CODE);
            ALL.iter().map(|(_, name)| format!("{library}_{name}")).collect()
        });
        NAMES.get(self as usize).map_or(b"", |name| name.as_bytes())
    }
}

/// The library of Functions.
pub fn library() -> Library {
    library_of(CODE)
}

fn library_of(code: &str) -> Library {
    let name = name_of(code);
    Library { code: code.replace(PLACE, &name), name }
}

fn name_of(code: &str) -> String {
    format!("mogi_{:08x}", xxh3_64(code.as_bytes()) as u32)
}

#[cfg(test)]
mod tests {
    use super::super::link::Link;
    use super::super::testing::Server;
    use super::super::wire::{Commands, Options, Request, Value};
    use super::*;

    #[test]
    fn each_has_its_own_number() {
        for (at, (function, name)) in ALL.into_iter().enumerate() {
            assert_eq!(function as usize, at);
            assert!(CODE.contains(&format!("register('{name}', ")), "{name}");
            assert!(function.name().ends_with(name.as_bytes()));
        }
    }

    fn ask(link: &Link, command: &[&[u8]]) -> Value {
        let request = Request::new(15_495, Commands::one(command));
        link.call(vec![request]).expect("an answer").remove(0).values.remove(0)
    }

    #[test]
    fn two_versions_stand_beside_one_another() {
        let server = Server::start(&[]);
        let connection = server.options().connection();
        let later = library_of(&format!("{CODE}\n-- another version\n"));
        assert_ne!(later.name, library().name);
        let now = Link::start(connection.clone()).expect("started");
        let claim = |link: &Link, name: &[u8]| ask(link, &[b"FCALL", name, b"1", b"{a}s", b"n"]);
        assert!(claim(&now, Function::Claim.name()).error().is_none());
        let name = format!("{}_claim", later.name);
        let then = Link::start(Options { library: Some(later), ..connection }).expect("started");
        assert!(claim(&then, name.as_bytes()).error().is_none());
        // The other one has not taken its place.
        assert!(claim(&now, Function::Claim.name()).error().is_none());
        let listed = ask(&now, &[b"FUNCTION", b"LIST"]);
        assert_eq!(listed.array().map(<[Value]>::len), Some(2));
    }
}
