//! What Redis says, and the parser that reads it (RESP 2).

use bytes::{Buf, Bytes, BytesMut};
use std::fmt;

/// A value as Redis sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// There is none.
    Nil,
    /// `OK`.
    Okay,
    /// Another short text without line breaks, such as `QUEUED`.
    SimpleString(String),
    /// A number.
    Int(i64),
    /// Bytes: a part of what was read at once, which stays in memory with it.
    BulkString(Bytes),
    /// Values in order; what a map or a set is in RESP 2, too.
    Array(Vec<Self>),
    /// The command failed.
    ServerError(ServerError),
}

impl Value {
    /// The bytes of a bulk or simple string.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::BulkString(bytes) => Some(bytes),
            Self::SimpleString(text) => Some(text.as_bytes()),
            Self::Okay => Some(b"OK"),
            _ => None,
        }
    }

    /// A string's text, if it is UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// A number, also one that is written as a string, as in the fields of a hash.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => self.text()?.parse().ok(),
        }
    }

    /// The values of an array.
    #[must_use]
    pub fn array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// Why the command failed, if it did.
    #[must_use]
    pub const fn error(&self) -> Option<&ServerError> {
        match self {
            Self::ServerError(error) => Some(error),
            _ => None,
        }
    }
}

/// An error as Redis words it: `CODE the rest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError(pub String);

impl ServerError {
    /// The first word, such as `WRONGTYPE`, `FENCED`, `ERR`.
    #[must_use]
    pub fn code(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }

    /// What follows the first word.
    #[must_use]
    pub fn detail(&self) -> &str {
        self.0.split_once(' ').map_or("", |(_, rest)| rest)
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads values out of bytes that come in pieces, each byte once.
#[derive(Default)]
pub(super) struct Parser {
    /// What came and has not been read.
    buffer: BytesMut,
    /// Arrays begun, the outermost first.
    open: Vec<Open>,
}

/// An array of which values are still to come.
struct Open {
    values: Vec<Value>,
    lacking: usize,
}

/// Not what a Redis server sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Garbage(pub(super) &'static str);

/// Of a bulk string; the server's own limit (`proto-max-bulk-len`).
const MAX_BULK_BYTES: usize = 512 << 20;
/// Of a header or a simple string. Error texts quote what they are about.
const MAX_LINE_BYTES: usize = 64 << 10;
/// Values of an array for which there is room before they have come.
const MAX_RESERVED: usize = 1024;
/// Of arrays in arrays. The deepest that is asked for has four.
const MAX_DEPTH: usize = 32;

impl Parser {
    /// Where to read more bytes to.
    pub(super) const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next value, if all of it is there.
    ///
    /// # Errors
    /// If that is not RESP 2, or more than anybody asks for.
    pub(super) fn next(&mut self) -> Result<Option<Value>, Garbage> {
        while let Some(token) = self.token()? {
            let mut value = match token {
                Token::Array(lacking) if lacking > 0 => {
                    if self.open.len() == MAX_DEPTH {
                        return Err(Garbage("arrays nested too deep"));
                    }
                    let values = Vec::with_capacity(lacking.min(MAX_RESERVED));
                    self.open.push(Open { values, lacking });
                    continue;
                }
                Token::Array(_) => Value::Array(Vec::new()),
                Token::Value(value) => value,
            };
            loop {
                let Some(open) = self.open.last_mut() else { return Ok(Some(value)) };
                open.values.push(value);
                open.lacking -= 1;
                if open.lacking > 0 {
                    break;
                }
                let done = self.open.pop();
                value = Value::Array(done.map(|done| done.values).unwrap_or_default());
            }
        }
        Ok(None)
    }

    fn token(&mut self) -> Result<Option<Token>, Garbage> {
        let rest = &self.buffer[..];
        let Some(end) = rest.iter().take(MAX_LINE_BYTES).position(|&byte| byte == b'\r') else {
            if rest.len() >= MAX_LINE_BYTES {
                return Err(Garbage("a line without end"));
            }
            return Ok(None);
        };
        let Some(&feed) = rest.get(end + 1) else { return Ok(None) };
        if feed != b'\n' || end == 0 {
            return Err(Garbage("a line that does not end in CR LF"));
        }
        let line = &rest[1..end];
        let after = end + 2;
        let text = || String::from_utf8_lossy(line).into_owned();
        let token = match rest[0] {
            b'$' => match length(line)? {
                None => Token::Value(Value::Nil),
                Some(length) if length > MAX_BULK_BYTES => {
                    return Err(Garbage("a string larger than Redis allows"));
                }
                Some(length) => {
                    if rest.len() < after + length + 2 {
                        return Ok(None);
                    }
                    self.buffer.advance(after);
                    let bytes = self.buffer.split_to(length).freeze();
                    self.buffer.advance(2);
                    return Ok(Some(Token::Value(Value::BulkString(bytes))));
                }
            },
            b'*' => length(line)?.map_or(Token::Value(Value::Nil), Token::Array),
            b':' => Token::Value(Value::Int(number(line)?)),
            b'+' if line == b"OK" => Token::Value(Value::Okay),
            b'+' => Token::Value(Value::SimpleString(text())),
            b'-' => Token::Value(Value::ServerError(ServerError(text()))),
            _ => return Err(Garbage("not the protocol of Redis")),
        };
        self.buffer.advance(after);
        Ok(Some(token))
    }
}

enum Token {
    Value(Value),
    Array(usize),
}

/// A length; −1 stands for nil.
fn length(line: &[u8]) -> Result<Option<usize>, Garbage> {
    match number(line)? {
        -1 => Ok(None),
        number => usize::try_from(number).map(Some).map_err(|_| Garbage("a negative length")),
    }
}

fn number(line: &[u8]) -> Result<i64, Garbage> {
    let text = std::str::from_utf8(line).ok();
    text.and_then(|text| text.parse().ok()).ok_or(Garbage("a number that is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(parser: &mut Parser) -> Vec<Value> {
        std::iter::from_fn(|| parser.next().expect("no garbage")).collect()
    }

    const EXAMPLE: &[u8] =
        b"+OK\r\n:-12\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n*1\r\n$0\r\n\r\n\
        :1\r\n-MOVED 3 h:1\r\n+QUEUED\r\n";

    fn example() -> Vec<Value> {
        vec![
            Value::Okay,
            Value::Int(-12),
            Value::BulkString(Bytes::from_static(b"a\r\n")),
            Value::Nil,
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![Value::Array(vec![Value::BulkString(Bytes::new())]), Value::Int(1)]),
            Value::ServerError(ServerError("MOVED 3 h:1".to_owned())),
            Value::SimpleString("QUEUED".to_owned()),
        ]
    }

    #[test]
    fn values_are_read_whatever_pieces_they_come_in() {
        for size in 1..EXAMPLE.len() {
            let mut parser = Parser::default();
            let mut values = Vec::new();
            for piece in EXAMPLE.chunks(size) {
                parser.buffer().extend_from_slice(piece);
                values.extend(all(&mut parser));
            }
            assert_eq!(values, example(), "pieces of {size} bytes");
        }
    }

    #[test]
    fn what_no_server_sends_is_garbage() {
        let deep = b"*1\r\n".repeat(MAX_DEPTH + 1);
        let endless = vec![b'+'; MAX_LINE_BYTES];
        let samples: [&[u8]; 8] = [
            b"HTTP/1.1 400\r\n",
            b"\r\n",
            b":1x\r\n",
            b"$-2\r\n",
            b"+a\rb\r\n",
            b"$9999999999\r\n",
            &deep,
            &endless,
        ];
        for sample in samples {
            let mut parser = Parser::default();
            parser.buffer().extend_from_slice(sample);
            let found = std::iter::repeat_with(|| parser.next()).find(|next| next.is_err());
            assert!(found.is_some(), "{}", sample[..8.min(sample.len())].escape_ascii());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(0_u8..=255, 0..200)) {
            let mut parser = Parser::default();
            parser.buffer().extend_from_slice(&bytes);
            while let Ok(Some(_)) = parser.next() {}
        }
    }

    #[test]
    fn a_value_says_what_it_is() {
        assert_eq!(Value::BulkString(b"12"[..].into()).int(), Some(12));
        assert_eq!(Value::Okay.text(), Some("OK"));
        let error = ServerError("FENCED epoch 3".to_owned());
        assert_eq!((error.code(), error.detail()), ("FENCED", "epoch 3"));
    }
}
