//! A CONNECT under construction.

use mogi_codec::{Connect, PropertyBuf, PropertyId, QoS, Version, Will};

/// A CONNECT, as a client that wants nothing special sends it, and what is to be different.
#[derive(Clone, Debug)]
pub struct Dial {
    pub version: Version,
    pub client_id: String,
    clean_start: bool,
    keep_alive_s: u16,
    bridge: bool,
    username: Option<String>,
    password: Option<Vec<u8>>,
    properties: PropertyBuf,
    will: Option<Testament>,
}

#[derive(Clone, Debug)]
struct Testament {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    properties: PropertyBuf,
}

impl Dial {
    /// A clean session, no will, no user name, keep alive of 60 s.
    pub fn new(version: Version, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.to_owned(),
            clean_start: true,
            keep_alive_s: 60,
            bridge: false,
            username: None,
            password: None,
            properties: PropertyBuf::new(),
            will: None,
        }
    }

    /// A session that survives the connection: not clean, and in 5.0 with an expiry of an hour.
    /// It is resumed if there is one.
    pub fn persistent(version: Version, client_id: &str) -> Self {
        let dial = Self::new(version, client_id).resume();
        if version.is_v5() { dial.session_expiry(3600) } else { dial }
    }

    /// Without Clean Session / Clean Start.
    pub const fn resume(mut self) -> Self {
        self.clean_start = false;
        self
    }

    /// With Clean Session / Clean Start.
    pub const fn clean(mut self) -> Self {
        self.clean_start = true;
        self
    }

    /// With this keep alive, in seconds; 0: none.
    pub const fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive_s = seconds;
        self
    }

    /// With bit 0x80 of the protocol level.
    pub const fn bridge(mut self) -> Self {
        self.bridge = true;
        self
    }

    /// With a user name.
    pub fn username(mut self, username: &str) -> Self {
        self.username = Some(username.to_owned());
        self
    }

    /// With a password.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.as_bytes().to_owned());
        self
    }

    /// With a Session Expiry Interval in seconds (5.0).
    pub fn session_expiry(self, seconds: u32) -> Self {
        self.int(PropertyId::SessionExpiryInterval, seconds)
    }

    /// With an integer property (5.0).
    pub fn int(mut self, id: PropertyId, value: u32) -> Self {
        self.properties.int(id, value);
        self
    }

    /// With a string property (5.0).
    pub fn str(mut self, id: PropertyId, value: &str) -> Self {
        self.properties.str(id, value);
        self
    }

    /// With a binary property (5.0).
    pub fn data(mut self, id: PropertyId, value: &[u8]) -> Self {
        self.properties.bytes(id, value);
        self
    }

    /// With a user property (5.0).
    pub fn user(mut self, name: &str, value: &str) -> Self {
        self.properties.user(name, value);
        self
    }

    /// With a will at QoS 0, not retained.
    pub fn will(mut self, topic: &str, payload: impl AsRef<[u8]>) -> Self {
        self.will = Some(Testament {
            topic: topic.to_owned(),
            payload: payload.as_ref().to_owned(),
            qos: 0,
            retain: false,
            properties: PropertyBuf::new(),
        });
        self
    }

    /// The will's quality of service.
    #[track_caller]
    pub fn will_qos(self, qos: u8) -> Self {
        self.on_will(|will| will.qos = qos)
    }

    /// The will is retained.
    #[track_caller]
    pub fn will_retain(self) -> Self {
        self.on_will(|will| will.retain = true)
    }

    /// The will's delay in seconds (5.0).
    #[track_caller]
    pub fn will_delay(self, seconds: u32) -> Self {
        self.will_int(PropertyId::WillDelayInterval, seconds)
    }

    /// An integer property of the will (5.0).
    #[track_caller]
    pub fn will_int(self, id: PropertyId, value: u32) -> Self {
        self.on_will(|will| {
            will.properties.int(id, value);
        })
    }

    /// A string property of the will (5.0).
    #[track_caller]
    pub fn will_str(self, id: PropertyId, value: &str) -> Self {
        self.on_will(|will| {
            will.properties.str(id, value);
        })
    }

    /// A user property of the will (5.0).
    #[track_caller]
    pub fn will_user(self, name: &str, value: &str) -> Self {
        self.on_will(|will| {
            will.properties.user(name, value);
        })
    }

    /// The packet.
    pub fn bytes(&self) -> Vec<u8> {
        let will = self.will.as_ref().map(|will| Will {
            qos: QoS::from_u8(will.qos).expect("a QoS; send raw bytes for others"),
            retain: will.retain,
            properties: will.properties.as_properties(),
            topic: &will.topic,
            payload: &will.payload,
        });
        let packet = Connect {
            version: self.version,
            bridge: self.bridge,
            clean_start: self.clean_start,
            keep_alive_s: self.keep_alive_s,
            properties: self.properties.as_properties(),
            client_id: &self.client_id,
            will,
            username: self.username.as_deref(),
            password: self.password.as_deref(),
        };
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        bytes
    }

    #[track_caller]
    fn on_will(mut self, change: impl FnOnce(&mut Testament)) -> Self {
        change(self.will.as_mut().expect("will() comes first"));
        self
    }
}
