//! Reason codes of MQTT 5.0 (section 2.4), and the return codes of CONNACK in 3.x.

use crate::PacketKind;

macro_rules! reasons {
    ($($name:ident = $value:literal, $text:literal, [$($kind:ident),*];)*) => {
        /// An MQTT 5.0 reason code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = $text] $name = $value,)*
        }

        impl Reason {
            /// The reason with this number.
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value { $($value => Some(Self::$name),)* _ => None }
            }

            /// What the reason is called in words.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether the specification lists this code for that packet
            /// ([MQTT-3.4.2-1] and its likes).
            pub const fn allowed_in(self, kind: PacketKind) -> bool {
                match self { $(Self::$name => matches!(kind, $(PacketKind::$kind)|*),)* }
            }
        }
    };
}

reasons! {
    Success = 0x00, "success",
        [Connack, Puback, Pubrec, Pubrel, Pubcomp, Suback, Unsuback, Disconnect, Auth];
    GrantedQos1 = 0x01, "granted QoS 1", [Suback];
    GrantedQos2 = 0x02, "granted QoS 2", [Suback];
    DisconnectWithWill = 0x04, "disconnect with will message", [Disconnect];
    NoMatchingSubscribers = 0x10, "no matching subscribers", [Puback, Pubrec];
    NoSubscriptionExisted = 0x11, "no subscription existed", [Unsuback];
    ContinueAuthentication = 0x18, "continue authentication", [Auth];
    Reauthenticate = 0x19, "re-authenticate", [Auth];
    UnspecifiedError = 0x80, "unspecified error",
        [Connack, Puback, Pubrec, Suback, Unsuback, Disconnect];
    MalformedPacket = 0x81, "malformed packet", [Connack, Disconnect];
    ProtocolError = 0x82, "protocol error", [Connack, Disconnect];
    ImplementationSpecificError = 0x83, "implementation specific error",
        [Connack, Puback, Pubrec, Suback, Unsuback, Disconnect];
    UnsupportedProtocolVersion = 0x84, "unsupported protocol version", [Connack];
    ClientIdentifierNotValid = 0x85, "client identifier not valid", [Connack];
    BadUserNameOrPassword = 0x86, "bad user name or password", [Connack];
    NotAuthorized = 0x87, "not authorised",
        [Connack, Puback, Pubrec, Suback, Unsuback, Disconnect];
    ServerUnavailable = 0x88, "server unavailable", [Connack];
    ServerBusy = 0x89, "server busy", [Connack, Disconnect];
    Banned = 0x8A, "banned", [Connack];
    ServerShuttingDown = 0x8B, "server shutting down", [Disconnect];
    BadAuthenticationMethod = 0x8C, "bad authentication method", [Connack, Disconnect];
    KeepAliveTimeout = 0x8D, "keep alive timeout", [Disconnect];
    SessionTakenOver = 0x8E, "session taken over", [Disconnect];
    TopicFilterInvalid = 0x8F, "topic filter invalid", [Suback, Unsuback, Disconnect];
    TopicNameInvalid = 0x90, "topic name invalid", [Connack, Puback, Pubrec, Disconnect];
    PacketIdentifierInUse = 0x91, "packet identifier in use",
        [Puback, Pubrec, Suback, Unsuback];
    PacketIdentifierNotFound = 0x92, "packet identifier not found", [Pubrel, Pubcomp];
    ReceiveMaximumExceeded = 0x93, "receive maximum exceeded", [Disconnect];
    TopicAliasInvalid = 0x94, "topic alias invalid", [Disconnect];
    PacketTooLarge = 0x95, "packet too large", [Connack, Disconnect];
    MessageRateTooHigh = 0x96, "message rate too high", [Disconnect];
    QuotaExceeded = 0x97, "quota exceeded", [Connack, Puback, Pubrec, Suback, Disconnect];
    AdministrativeAction = 0x98, "administrative action", [Disconnect];
    PayloadFormatInvalid = 0x99, "payload format invalid", [Connack, Puback, Pubrec, Disconnect];
    RetainNotSupported = 0x9A, "retain not supported", [Connack, Disconnect];
    QosNotSupported = 0x9B, "QoS not supported", [Connack, Disconnect];
    UseAnotherServer = 0x9C, "use another server", [Connack, Disconnect];
    ServerMoved = 0x9D, "server moved", [Connack, Disconnect];
    SharedSubscriptionsNotSupported = 0x9E, "shared subscriptions not supported",
        [Suback, Disconnect];
    ConnectionRateExceeded = 0x9F, "connection rate exceeded", [Connack, Disconnect];
    MaximumConnectTime = 0xA0, "maximum connect time", [Disconnect];
    SubscriptionIdentifiersNotSupported = 0xA1, "subscription identifiers not supported",
        [Suback, Disconnect];
    WildcardSubscriptionsNotSupported = 0xA2, "wildcard subscriptions not supported",
        [Suback, Disconnect];
}

impl Reason {
    /// Whether the code says that something failed.
    #[inline]
    pub const fn is_error(self) -> bool {
        self as u8 >= 0x80
    }

    /// The CONNACK return code of MQTT 3.x nearest to this reason (3.1.1, table 3.1).
    pub const fn as_v3_connack(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::BadUserNameOrPassword => 4,
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => 5,
            _ => 3,
        }
    }
}
