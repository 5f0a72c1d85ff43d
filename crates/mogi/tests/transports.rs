//! TLS, WebSocket, Unix sockets and the PROXY protocol, as clients and attackers see them.

mod support;

/// Here it is the attacks that know of transports.
const OVER: support::relay::Over = support::relay::Over::Tcp;

#[path = "attacks/siege.rs"]
mod siege;

#[path = "transports/attacks.rs"]
mod attacks;
#[path = "transports/certificates.rs"]
mod certificates;
#[path = "transports/options.rs"]
mod options;
#[path = "transports/proxies.rs"]
mod proxies;
#[path = "transports/reload.rs"]
mod reload;
#[path = "transports/scene.rs"]
mod scene;
#[path = "transports/sockets.rs"]
mod sockets;
#[path = "transports/tools.rs"]
mod tools;
#[path = "transports/websockets.rs"]
mod websockets;
