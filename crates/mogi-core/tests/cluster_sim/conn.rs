//! A connection between a client and a node.

use std::collections::VecDeque;

/// A connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) client: usize,
    /// Packets of the client on their way.
    pub(crate) up: VecDeque<Vec<u8>>,
    /// Whether the node learns of the end behind them.
    pub(crate) up_closed: bool,
    pub(crate) rx: Vec<u8>,
    pub(crate) down: Vec<u8>,
    pub(crate) down_closed: bool,
    pub(crate) place: Option<(u16, u32)>,
    /// Its CONNECT is being served.
    pub(crate) at_door: bool,
    pub(crate) ended: bool,
    /// The client's DISCONNECT has been taken in.
    pub(crate) goodbye: bool,
}

impl Conn {
    pub(crate) const fn new(client: usize) -> Self {
        Self {
            client,
            up: VecDeque::new(),
            up_closed: false,
            rx: Vec::new(),
            down: Vec::new(),
            down_closed: false,
            place: None,
            at_door: false,
            ended: false,
            goodbye: false,
        }
    }
}
