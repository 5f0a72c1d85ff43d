//! SCRAM-SHA-256 by AUTH packets (section 4.12): at CONNECT, and again while connected.

use super::{Access, Refusal};
use mogi_auth::scram::{Exchange, NONCE_BYTES};

impl Access {
    /// Takes a client's first message; the exchange, and what the client is told.
    pub(crate) fn scram_begin(
        &self,
        table: u16,
        data: &[u8],
    ) -> Result<(Exchange, Vec<u8>), Refusal> {
        let set = self.set(table).ok_or(Refusal::of("the listener has no rules"))?;
        let file = set.scram().ok_or(Refusal::of("there are no users of SCRAM"))?;
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| Refusal::of("no random numbers"))?;
        file.begin(data, &nonce, &self.secret).map_err(Refusal::of)
    }
}
