//! The files of the repository, read once.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Folders that hold nothing anybody wrote.
const SKIPPED: [&str; 5] = [".git", "node_modules", "__pycache__", "corpus", "artifacts"];

/// All text files under a folder.
pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

/// One file.
pub(super) struct File {
    /// From the root, with slashes.
    pub(super) path: String,
    pub(super) text: String,
    /// The parsed source, for Rust files.
    pub(super) rust: Option<syn::File>,
}

impl Tree {
    /// Reads everything under `root`.
    ///
    /// # Errors
    /// If a file cannot be read, or a Rust file is none.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self { files: Vec::new() };
        tree.add_folder(root, root)?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    /// A tree made up for a test.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|&(path, text)| File::new(path, text.to_owned()));
        Self { files: files.collect::<Result<_>>().expect("valid Rust") }
    }

    /// The text of one file; empty if there is none.
    pub(super) fn text(&self, path: &str) -> &str {
        self.files.iter().find(|file| file.path == path).map_or("", |file| &file.text)
    }

    /// The files whose path ends so.
    pub(super) fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.path.ends_with(end))
    }

    fn add_folder(&mut self, root: &Path, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if SKIPPED.contains(&&*name) || name.starts_with("target") {
                // `fuzz/targets` and files like `target.rs` are ours.
                if name != "targets" && entry.file_type()?.is_dir() {
                    continue;
                }
            }
            if entry.file_type()?.is_dir() {
                self.add_folder(root, &entry.path())?;
            } else if let Ok(text) = fs::read_to_string(entry.path()) {
                let path = entry.path().strip_prefix(root)?.to_string_lossy().into_owned();
                self.files.push(File::new(&path, text)?);
            }
        }
        Ok(())
    }
}

impl File {
    fn new(path: &str, text: String) -> Result<Self> {
        let rust = if path.ends_with(".rs") {
            Some(syn::parse_file(&text).with_context(|| path.to_owned())?)
        } else {
            None
        };
        Ok(Self { path: path.to_owned(), text, rust })
    }
}
