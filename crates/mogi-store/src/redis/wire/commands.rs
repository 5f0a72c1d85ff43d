//! Commands, packed as they go over the wire.

/// Any number of Redis commands in order, packed as RESP arrays of bulk strings.
///
/// ```
/// use mogi_store::redis::wire::Commands;
/// let mut commands = Commands::new();
/// commands.push(&[b"HSET", b"session:{a}", b"epoch", b"3"]);
/// commands.push(&[b"XDEL", b"queue:{a}", b"1-1"]);
/// assert_eq!(commands.len(), 2);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Commands {
    bytes: Vec<u8>,
    /// Where in `bytes` each command ends.
    ends: Vec<usize>,
    /// How many arguments the command being written still lacks.
    lacking: usize,
}

impl Commands {
    /// No command yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One command.
    #[must_use]
    pub fn one(words: &[&[u8]]) -> Self {
        let mut commands = Self::new();
        commands.push(words);
        commands
    }

    /// Adds a command: its name and its arguments.
    pub fn push(&mut self, words: &[&[u8]]) -> &mut Self {
        let size: usize = words.iter().map(|word| word.len() + 16).sum();
        self.bytes.reserve(size + 16);
        self.begin(words.len());
        for word in words {
            self.word(word);
        }
        self
    }

    /// Begins a command of `words` words, its name among them; they follow by [`Self::word`].
    pub fn begin(&mut self, words: usize) -> &mut Self {
        debug_assert_eq!(self.lacking, 0, "the command before lacks words");
        self.header(b'*', words);
        self.ends.push(self.bytes.len());
        self.lacking = words;
        self
    }

    /// The next word of the command begun.
    pub fn word(&mut self, word: &[u8]) -> &mut Self {
        debug_assert!(self.lacking > 0, "more words than the command was begun with");
        self.header(b'$', word.len());
        self.bytes.extend_from_slice(word);
        self.bytes.extend_from_slice(b"\r\n");
        if let Some(end) = self.ends.last_mut() {
            *end = self.bytes.len();
        }
        self.lacking = self.lacking.saturating_sub(1);
        self
    }

    /// The next word of the command begun, a number in decimal.
    pub fn number(&mut self, number: u64) -> &mut Self {
        let mut digits = [0; 20];
        let from = decimal(number, &mut digits);
        self.word(&digits[from..])
    }

    /// Adds all commands of `other`.
    pub fn append(&mut self, other: &Self) -> &mut Self {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| before + end));
        self
    }

    /// How many commands.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The commands as they go over the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The command of this index as it goes over the wire; empty if there is none.
    #[must_use]
    pub fn get(&self, index: usize) -> &[u8] {
        let from = if index == 0 { Some(&0) } else { self.ends.get(index - 1) };
        match (from, self.ends.get(index)) {
            (Some(&from), Some(&to)) => &self.bytes[from..to],
            _ => &[],
        }
    }

    /// Each command as it goes over the wire.
    pub(super) fn bytes_apart(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }

    fn header(&mut self, kind: u8, number: usize) {
        let mut digits = [0; 20];
        let from = decimal(number as u64, &mut digits);
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&digits[from..]);
        self.bytes.extend_from_slice(b"\r\n");
    }
}

/// As a person would type it; words that are no text in quotes and escaped.
impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} command(s): {}", self.len(), self.bytes.escape_ascii())
    }
}

/// Writes `number` to the end of `digits`, and says where it begins.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> usize {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        let mut commands = Commands::new();
        assert!(commands.is_empty());
        commands.push(&[b"GET", b"a"]);
        commands.begin(3).word(b"SET").word(b"").number(1230);
        assert_eq!(commands.len(), 2);
        assert_eq!(commands.get(0), b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
        assert_eq!(commands.get(1), b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\n1230\r\n");
        assert_eq!(commands.get(2), b"");
        assert_eq!(commands.bytes(), [commands.get(0), commands.get(1)].concat());
    }

    #[test]
    fn what_is_appended_keeps_its_bounds() {
        let mut commands = Commands::one(&[b"PING"]);
        commands.append(&Commands::one(&[b"DEL", b"x"]));
        assert_eq!(commands.get(1), b"*2\r\n$3\r\nDEL\r\n$1\r\nx\r\n");
    }

    #[test]
    fn numbers_are_decimal() {
        let mut digits = [0; 20];
        for number in [0, 7, 10, 99, u64::MAX] {
            let from = decimal(number, &mut digits);
            assert_eq!(&digits[from..], number.to_string().as_bytes());
        }
    }
}
