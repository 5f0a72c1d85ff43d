//! One connection to one node: TCP, TLS, login, and bytes to and fro.

use super::notice::{Refusal, Trouble};
use super::options::{Address, Library, Options};
use super::refusal::refusal;
use super::value::{Parser, Value};
use super::{Commands, tls};
use rustls::pki_types::ServerName;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How to make connections.
pub(super) struct Dialer {
    pub(super) options: Options,
    tls: Option<TlsConnector>,
}

/// A connection that is logged in.
pub(super) struct Link {
    stream: Box<dyn Duplex>,
    parser: Parser,
    scratch: Box<[u8]>,
    patience: Duration,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Read at once at most.
const READ_BYTES: usize = 64 << 10;

impl Dialer {
    /// # Errors
    /// If a file of the TLS options cannot be used.
    pub(super) fn new(options: Options) -> io::Result<Self> {
        let tls = options.tls.as_ref().map(tls::connector).transpose()?;
        Ok(Self { options, tls })
    }

    /// A connection to this node, logged in.
    pub(super) async fn dial(&self, node: &Address) -> Result<Link, Trouble> {
        let late = |_| Trouble::Unreachable("no connection in time".to_owned());
        timeout(self.options.connect_timeout, self.dial_slowly(node)).await.map_err(late)?
    }

    async fn dial_slowly(&self, node: &Address) -> Result<Link, Trouble> {
        let failed = |error: io::Error| Trouble::Unreachable(error.to_string());
        let stream = TcpStream::connect((&*node.host, node.port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let stream: Box<dyn Duplex> = match &self.tls {
            None => Box::new(stream),
            Some(connector) => {
                let name = ServerName::try_from(node.host.clone())
                    .map_err(|error| Trouble::Unreachable(error.to_string()))?;
                let tls = connector.connect(name, stream).await;
                Box::new(tls.map_err(|error| Trouble::Unreachable(format!("TLS: {error}")))?)
            }
        };
        let mut link = Link {
            stream,
            parser: Parser::default(),
            scratch: vec![0; READ_BYTES].into(),
            patience: self.options.timeout,
        };
        link.log_in(&self.options).await?;
        Ok(link)
    }
}

impl Link {
    /// Sends commands, and waits for all their values.
    pub(super) async fn ask(&mut self, commands: &Commands) -> Result<Vec<Value>, Trouble> {
        let mut values = Vec::with_capacity(commands.len());
        let mut written = 0;
        let exchange = self.exchange(commands.bytes(), &mut written, |value| {
            values.push(value);
            Ok(values.len() == commands.len())
        });
        exchange.await.map_err(Trouble::Unreachable)?;
        Ok(values)
    }

    /// Writes what of `out` is not `written`, and hands over each value that comes, until
    /// `on_value` says that it was the last.
    ///
    /// # Errors
    /// Why the connection is of no use any more, or what `on_value` complains of.
    pub(super) async fn exchange(
        &mut self,
        out: &[u8],
        written: &mut usize,
        mut on_value: impl FnMut(Value) -> Result<bool, String>,
    ) -> Result<(), String> {
        loop {
            while let Some(value) = self.parser.next().map_err(|garbage| garbage.0)? {
                if on_value(value)? {
                    return Ok(());
                }
            }
            let patience = self.patience;
            let progress = poll_fn(|context| self.poll_progress(context, out, written));
            match timeout(patience, progress).await {
                Ok(progress) => progress.map_err(|error| error.to_string())?,
                Err(_) => {
                    let seconds = patience.as_secs_f64();
                    return Err(format!("no answer for {seconds} s"));
                }
            }
        }
    }

    /// Waits until the other side ends the connection, or says what it was not asked.
    pub(super) async fn end(&mut self) -> String {
        let mut written = 0;
        let progress = poll_fn(|context| self.poll_progress(context, &[], &mut written));
        match progress.await {
            Ok(()) => "it sends what nobody asked for".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// Loads the library of Functions unless this master has it.
    pub(super) async fn load(&mut self, library: &Library) -> Result<(), Trouble> {
        let name = library.name.as_bytes();
        let list = [&b"FUNCTION"[..], b"LIST", b"LIBRARYNAME", name, b"WITHCODE"];
        let listed = self.ask(&Commands::one(&list)).await?;
        if holds(&listed, library.code.as_bytes()) {
            return Ok(());
        }
        let load = [&b"FUNCTION"[..], b"LOAD", b"REPLACE", library.code.as_bytes()];
        let loaded = self.ask(&Commands::one(&load)).await?;
        match loaded.first().and_then(Value::error) {
            // A replica gets it from its master. It learns that it is none soon enough.
            Some(error) if refusal(&error.0) == Some(Refusal::Replica) => Ok(()),
            Some(error) => Err(trouble(&error.0, "FUNCTION LOAD")),
            None => Ok(()),
        }
    }

    async fn log_in(&mut self, options: &Options) -> Result<(), Trouble> {
        let mut commands = Commands::new();
        if let Some(password) = &options.password {
            let user = options.username.as_deref().unwrap_or("default");
            match options.username {
                None => commands.push(&[b"AUTH", password.0.as_bytes()]),
                Some(_) => commands.push(&[b"AUTH", user.as_bytes(), password.0.as_bytes()]),
            };
        }
        commands.push(&[b"CLIENT", b"SETNAME", options.client_name.as_bytes()]);
        let values = self.ask(&commands).await?;
        // Who may not name its connection can work all the same.
        let of_login = values.iter().filter_map(Value::error);
        match of_login.map(|error| &error.0).find(|text| !text.starts_with("NOPERM")) {
            Some(text) => Err(trouble(text, "login")),
            None => Ok(()),
        }
    }

    /// Writes and reads what is possible now; ready when that was something.
    fn poll_progress(
        &mut self,
        context: &mut Context<'_>,
        out: &[u8],
        written: &mut usize,
    ) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.stream);
        let mut wrote = false;
        while *written < out.len() {
            match stream.as_mut().poll_write(context, &out[*written..])? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(count) => *written += count,
                Poll::Pending => break,
            }
            wrote = true;
        }
        // A TLS session may hold back what it was given, also since the last time.
        let _ = stream.as_mut().poll_flush(context)?;
        let mut buffer = ReadBuf::new(&mut self.scratch);
        match stream.as_mut().poll_read(context, &mut buffer)? {
            Poll::Ready(()) if buffer.filled().is_empty() => {
                Poll::Ready(Err(io::Error::other("it closed the connection")))
            }
            Poll::Ready(()) => {
                self.parser.buffer().extend_from_slice(buffer.filled());
                Poll::Ready(Ok(()))
            }
            // What was written is progress, and the time-out begins anew.
            Poll::Pending if wrote => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn holds(listed: &[Value], code: &[u8]) -> bool {
    let libraries = listed.first().and_then(Value::array).unwrap_or_default();
    let mut fields = libraries.iter().filter_map(Value::array).flatten();
    fields.any(|field| field.bytes() == Some(code))
}

/// An error while a connection was set up.
pub(super) fn trouble(text: &str, during: &str) -> Trouble {
    match refusal(text) {
        Some(kind) => Trouble::Refused(kind, text.to_owned()),
        None => Trouble::Unreachable(format!("{during}: {text}")),
    }
}
