//! Files: the main one, the folders it includes, and the one with mogi's own options.

use super::builder::Builder;
use super::table::{self, Scope};
use super::value::{Line, Problem};
use mogi_core::LogKind;
use std::io;
use std::path::{Path, PathBuf};

/// Which options a file may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Main,
    /// Included by the main one: it includes no other.
    Included,
    /// mogi's own options and no others: a `mogi.conf` that happens to lie there is no second
    /// main file.
    Own,
}

/// Reads the main file.
pub(super) fn read_main(to: &mut Builder, path: &Path) -> Result<(), Problem> {
    read_file(to, path, Role::Main)
}

/// Reads the file of mogi's own options.
pub(super) fn read_own(to: &mut Builder, path: &Path) -> Result<(), Problem> {
    to.note(LogKind::Information, format!("Loading config file '{}'", path.display()));
    // The last listener of the main file is not above what stands here.
    to.current = None;
    read_file(to, path, Role::Own)
}

/// Reads all `*.conf` of the folder the line names. (`include_dir`)
pub(super) fn include(to: &mut Builder, line: &Line) -> Result<(), Problem> {
    let folder = line.verbatim()?;
    let files = files_of(folder)
        .map_err(|_| Problem::new(format!("Error: Unable to open include_dir '{folder}'.")))?;
    let above = (to.current, to.in_bridge, to.plugin);
    for file in files {
        to.note(LogKind::Information, format!("Loading config file '{}'", file.display()));
        // Each included file begins with nothing above it, and leaves nothing behind.
        (to.current, to.in_bridge, to.plugin) = (None, false, None);
        read_file(to, &file, Role::Included)?;
    }
    (to.current, to.in_bridge, to.plugin) = above;
    Ok(())
}

/// The files of a folder to include, in Mosquitto's order: the upper before the lower case of a
/// letter, and both before the next one.
fn files_of(folder: &str) -> io::Result<Vec<PathBuf>> {
    const END: &str = ".conf";
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name.len() > END.len() && name.to_string_lossy().ends_with(END) {
            names.push(name);
        }
    }
    names.sort_by_cached_key(|name| -> Vec<(u8, u8)> {
        let bytes = name.as_encoded_bytes();
        bytes.iter().map(|&byte| (byte.to_ascii_uppercase(), byte)).collect()
    });
    let path = |name: std::ffi::OsString| {
        let mut path = std::ffi::OsString::from(format!("{folder}/"));
        path.push(name);
        PathBuf::from(path)
    };
    Ok(names.into_iter().map(path).collect())
}

fn read_file(to: &mut Builder, path: &Path, role: Role) -> Result<(), Problem> {
    let name = path.display().to_string();
    if path.is_dir() {
        return Err(Problem(format!("Error: Config file '{name}' is a directory.")));
    }
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Problem(format!("Error: Unable to open config file '{name}'.")),
        _ => {
            let why = crate::log::why(&error);
            Problem(format!("Error: Unable to open config file '{name}': {why}."))
        }
    })?;
    for (at, bytes) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let place = format!("{name}:{}", at + 1);
        let Some(line) = Line::parse(bytes, place) else {
            continue;
        };
        read_line(to, &line, role).map_err(|Problem(what)| {
            // As Mosquitto has it, with quotes in files that were included.
            Problem(match role {
                Role::Main | Role::Own => format!("{what}\nError found at {}.", line.place),
                Role::Included => format!("{what}\nError found at '{}'.", line.place),
            })
        })?;
    }
    Ok(())
}

fn read_line(to: &mut Builder, line: &Line, role: Role) -> Result<(), Problem> {
    let Some(spec) = table::find(&line.name) else {
        return Err(Problem(format!("Error: Unknown configuration variable '{}'.", line.name)));
    };
    if role == Role::Own && !matches!(spec.scope, Scope::Mogi | Scope::Access) {
        return Err(Problem(format!(
            "Error: '{}' is Mosquitto's option: it belongs into the file given with -c.",
            line.name
        )));
    }
    if role == Role::Included && spec.name == "include_dir" {
        return Err(Problem(format!(
            "Error: The {} option is only valid in the main configuration file.",
            spec.name
        )));
    }
    to.apply(spec, line)
}
