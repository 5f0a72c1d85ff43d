//! Where messages come from: files and the standard input.

use crate::config::Payload;
use crate::report::system_text;
use std::fs;
use std::io::{self, BufRead, Read};
use std::path::Path;

/// Payloads above this cannot be sent: a packet's length has four bytes (section 2.1.4).
const LEN_MAX: usize = mogi_codec::MAX_REMAINING_LENGTH as usize;

/// The payload of a single message; `None` for `-l`.
///
/// # Errors
/// A text for the standard error.
pub(crate) fn load(payload: Option<&Payload>) -> Result<Option<Vec<u8>>, String> {
    match payload {
        Some(Payload::Bytes(bytes)) => Ok(Some(bytes.clone())),
        Some(Payload::File(path)) => load_file(path).map(Some),
        Some(Payload::Stdin) => {
            let input = read_all(io::stdin().lock());
            let failed = |what| format!("{what}\nError loading input from stdin.");
            let bytes = input.map_err(|error| failed(format!("Error: {error}.")))?;
            if bytes.is_empty() {
                return Err(failed("Error: Zero length input.".to_owned()));
            }
            Ok(Some(bytes))
        }
        Some(Payload::Lines) | None => Ok(None),
    }
}

fn load_file(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    fs::File::open(path).and_then(read_all).map_err(|error| {
        let why = system_text(&error);
        format!(
            "Error: Unable to read file \"{shown}\": {why}.\nError loading input file \"{shown}\"."
        )
    })
}

/// Reads to the end, but not more than can be sent.
fn read_all(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(LEN_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > LEN_MAX {
        return Err(io::Error::other("more than 268435455 bytes, the most a packet holds"));
    }
    Ok(bytes)
}

/// The standard input, line by line, without waiting for it.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// What was read; before `start` it is used up.
    buffer: Vec<u8>,
    start: usize,
    /// Where to look for the next end of line.
    searched: usize,
    ended: bool,
}

impl Lines {
    /// Reads once; call it when there is something to read.
    ///
    /// # Errors
    /// The input cannot be read, or a line is longer than a packet.
    pub(crate) fn fill(&mut self) -> io::Result<()> {
        self.fill_from(&mut io::stdin().lock())
    }

    fn fill_from(&mut self, input: &mut impl BufRead) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        let read = match input.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        };
        let len = read.len();
        self.ended = len == 0;
        self.buffer.extend_from_slice(read);
        input.consume(len);
        if self.buffer.len() > LEN_MAX {
            return Err(io::Error::other("a line is longer than a packet can be"));
        }
        Ok(())
    }

    /// The next line without its end. A last line without one counts too (Mosquitto's `pub`
    /// loses it).
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let (start, end, next) = match found {
            Some(at) => (self.start, self.searched + at, self.searched + at + 1),
            None => {
                self.searched = self.buffer.len();
                if !self.ended || self.start == self.buffer.len() {
                    return None;
                }
                (self.start, self.buffer.len(), self.buffer.len())
            }
        };
        (self.start, self.searched) = (next, next);
        Some(&self.buffer[start..end])
    }

    /// Whether [`Self::next`] has a line.
    pub(crate) fn has_next(&self) -> bool {
        self.buffer[self.searched..].contains(&b'\n')
            || (self.ended && self.start < self.buffer.len())
    }

    /// Whether the input has ended; a line may be left.
    pub(crate) const fn ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Cursor};

    fn split(text: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut input = BufReader::with_capacity(piece, Cursor::new(text));
        let mut lines = Lines::default();
        let mut all = Vec::new();
        while !lines.ended() {
            lines.fill_from(&mut input).expect("readable");
            while lines.has_next() {
                all.push(lines.next().expect("a line").to_vec());
            }
            assert_eq!(lines.next(), None);
        }
        all
    }

    #[test]
    fn lines_are_those_of_the_input_in_whatever_pieces_it_comes() {
        let text = b"a\n\nbc\r\nd\0e\nlast";
        let expected: [&[u8]; 5] = [b"a", b"", b"bc\r", b"d\0e", b"last"];
        for piece in 1..=text.len() {
            assert_eq!(split(text, piece), expected, "pieces of {piece}");
        }
        assert_eq!(split(b"", 4), Vec::<Vec<u8>>::new());
        assert_eq!(split(b"\n", 4), [b""]);
    }

    #[test]
    fn files_that_are_none_say_so() {
        let missing = Payload::File("no/such/file".into());
        let error = load(Some(&missing)).expect_err("missing");
        assert_eq!(
            error,
            "Error: Unable to read file \"no/such/file\": No such file or directory.\n\
             Error loading input file \"no/such/file\"."
        );
        let folder = Payload::File(".".into());
        assert!(load(Some(&folder)).is_err());
    }
}
