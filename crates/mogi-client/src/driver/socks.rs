//! The way through a SOCKS5 proxy: RFC 1928, with names and passwords as in RFC 1929.

use std::io::{self, Read, Write};

/// A SOCKS5 proxy. The server's name is looked up there (`socks5h`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its name or address.
    pub host: String,
    /// Its port; 1080 is usual.
    pub port: u16,
    /// Up to 255 bytes; `None`: it asks for none.
    pub username: Option<String>,
    /// Up to 255 bytes.
    pub password: Option<String>,
}

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const BY_NAME: u8 = 2;

/// Has the proxy on the other side of `stream` connect to a host.
///
/// # Errors
/// It does not, or speaks something else.
pub(super) fn connect(
    stream: &mut (impl Read + Write),
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> io::Result<()> {
    let method = if proxy.username.is_some() { BY_NAME } else { NO_LOGIN };
    stream.write_all(&[VERSION, 1, method])?;
    let chosen: [u8; 2] = read(stream)?;
    if chosen != [VERSION, method] {
        return Err(refused("it wants another kind of login"));
    }
    if method == BY_NAME {
        // RFC 1929, section 2.
        let mut login = vec![1];
        put(&mut login, proxy.username.as_deref().unwrap_or_default())?;
        put(&mut login, proxy.password.as_deref().unwrap_or_default())?;
        stream.write_all(&login)?;
        let answer: [u8; 2] = read(stream)?;
        if answer[1] != 0 {
            return Err(refused("wrong user name or password"));
        }
    }
    // CONNECT to a domain name, which may be an address in letters as well.
    let mut request = vec![VERSION, 1, 0, 3];
    put(&mut request, host)?;
    request.extend(port.to_be_bytes());
    stream.write_all(&request)?;
    let [version, code, _, kind]: [u8; 4] = read(stream)?;
    if version != VERSION {
        return Err(refused("it does not speak SOCKS5"));
    }
    if code != 0 {
        return Err(refused(reason(code)));
    }
    // The address it connects from is of no use here, but it comes before everything else.
    let len = match kind {
        1 => 4,
        4 => 16,
        _ => usize::from(read::<1>(stream)?[0]),
    };
    stream.read_exact(&mut vec![0; len + 2])
}

fn read<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A text with its length in one byte.
fn put(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    let len = u8::try_from(text.len());
    out.push(len.map_err(|_| refused("a name has more than 255 bytes"))?);
    out.extend(text.as_bytes());
    Ok(())
}

fn refused(why: &str) -> io::Error {
    io::Error::other(format!("SOCKS5 proxy: {why}"))
}

/// RFC 1928, section 6.
const fn reason(code: u8) -> &'static str {
    match code {
        2 => "connection not allowed",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "the connection took too long",
        7 => "it cannot connect for others",
        8 => "address type not supported",
        _ => "general failure",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// What a proxy says, and what it is told.
    struct Talk(Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Talk {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(buf)
        }
    }

    impl Write for Talk {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.1.write(buf)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn talk(said: &[u8], username: Option<&str>) -> (io::Result<()>, Vec<u8>, u64) {
        let mut talk = Talk(Cursor::new(said.to_vec()), Vec::new());
        let username = username.map(str::to_owned);
        let password = username.is_some().then(|| "pw".to_owned());
        let proxy = Proxy { host: "p".to_owned(), port: 1080, username, password };
        let result = connect(&mut talk, &proxy, "host", 1883);
        (result, talk.1, talk.0.position())
    }

    const REQUEST: &[u8] = b"\x05\x01\x00\x03\x04host\x07\x5b";

    #[test]
    fn what_is_behind_the_answer_is_not_read() {
        let said = b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00rest";
        let (result, told, read) = talk(said, None);
        result.expect("connected");
        assert_eq!(told, [b"\x05\x01\x00", REQUEST].concat());
        assert_eq!(read as usize, said.len() - 4);
        let said = b"\x05\x00\x05\x00\x00\x03\x02ab\x00\x00rest";
        assert_eq!(talk(said, None).2 as usize, said.len() - 4);
    }

    #[test]
    fn names_and_passwords_are_sent_where_there_are_any() {
        let said = [&b"\x05\x02\x01\x00\x05\x00\x00\x04"[..], &[0; 18]].concat();
        let (result, told, _) = talk(&said, Some("ann"));
        result.expect("connected");
        assert_eq!(told, [&b"\x05\x01\x02"[..], b"\x01\x03ann\x02pw", REQUEST].concat());
    }

    #[test]
    fn errors_say_what_the_proxy_said() {
        let error = |said: &[u8], username| talk(said, username).0.expect_err("fails").to_string();
        assert!(error(b"\x05\xff", None).contains("another kind of login"));
        assert!(error(b"\x05\x02\x01\x01", Some("ann")).contains("wrong user name"));
        assert!(error(b"\x05\x00\x05\x05\x00\x01", None).contains("connection refused"));
        assert!(error(b"\x05\x00HTTP", None).contains("does not speak SOCKS5"));
        assert!(error(b"\x05", None).contains("fill"));
    }
}
