//! What a worker counts; `$SYS` and the metrics are made of it.

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of one worker since its start, and a few gauges.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats { $($(#[$doc])* pub $name: u64,)* }

        impl Stats {
            /// Names and values, in the order of declaration.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

            /// Adds the counts of another worker.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

stats! {
    /// Bytes received from clients.
    bytes_received,
    /// Bytes sent to clients.
    bytes_sent,
    /// Packets of any kind received.
    packets_received,
    /// Packets of any kind sent.
    packets_sent,
    /// PUBLISH packets received.
    publish_received,
    /// PUBLISH packets sent.
    publish_sent,
    /// Payload bytes of PUBLISH packets received.
    publish_bytes_received,
    /// Payload bytes of PUBLISH packets sent.
    publish_bytes_sent,
    /// Messages dropped because a client's queue was full.
    dropped_queue_full,
    /// QoS 0 messages dropped because a connection could not take them.
    dropped_slow,
    /// Messages dropped because they exceed a client's Maximum Packet Size.
    dropped_too_large,
    /// Messages dropped because they expired.
    dropped_expired,
    /// Messages refused: too large a payload, or a topic nobody may publish to.
    publish_refused,
    /// Messages not retained because there was no room for more.
    retained_refused,
    /// Subscriptions refused because the client has as many as it may.
    subscriptions_refused,
    /// Topics and filters refused because they have too many levels.
    levels_refused,
    /// Sessions refused because there are as many as there may be.
    sessions_refused,
    /// Messages and clients refused because there is no memory for them.
    memory_refused,
    /// Connections that became sessions' connections.
    connects,
    /// Clients connected now.
    clients_connected,
    /// Sessions without a connection now.
    clients_disconnected,
    /// Sessions that ended because their time was over.
    clients_expired,
    /// Subscriptions now.
    subscriptions,
    /// Shared subscriptions now.
    shared_subscriptions,
    /// Messages waiting in queues and in flight now.
    messages_queued,
    /// Their bytes: topics, properties and payloads.
    messages_queued_bytes,
    /// Topics in the route cache now.
    routes_cached,
    /// PUBLISH packets pending in the output of connections now.
    packets_pending,
    /// Bytes pending there.
    bytes_pending,
}

impl Stats {
    /// Messages dropped for any reason.
    pub const fn dropped(&self) -> u64 {
        self.dropped_queue_full + self.dropped_slow + self.dropped_too_large + self.dropped_expired
    }
}
