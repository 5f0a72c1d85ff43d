//! How clients come and go.

use crate::broker::Conn;
use crate::client::{Known, Life, Phase};
use crate::message::payload;
use crate::monitor::Monitor;
use crate::trace::note;
use crate::wills::Will;
use crate::world::World;
use mogi_codec::{
    Connect, Disconnect, Packet, Properties, PropertyBuf, PropertyId, Reason, Version,
};

impl World {
    pub(crate) fn connect(&mut self, client: usize) {
        let life = self.clients[client].life;
        let me = &mut self.clients[client];
        let v5 = me.version.is_v5();
        let clean = match life {
            Life::Clean => !v5 || self.rng.percent(60),
            _ => self.rng.percent(4),
        } || me.must_clean;
        let expiry_s = match life {
            Life::Clean => 0,
            _ if !v5 && clean => 0,
            _ if v5 && self.rng.percent(5) => 0,
            Life::Timed(seconds) => seconds,
            Life::Lasting => u32::MAX,
        };
        self.connect_as(client, clean, expiry_s, self.plan.wills);
    }

    pub(crate) fn connect_as(&mut self, client: usize, clean: bool, expiry_s: u32, wills: bool) {
        let will = (wills && client > 0 && self.rng.percent(60)).then(|| self.make_will(client));
        self.connect_with(client, clean, expiry_s, will);
    }

    pub(crate) fn connect_with(
        &mut self,
        client: usize,
        clean: bool,
        expiry_s: u32,
        will: Option<Will>,
    ) {
        // An earlier CONNECT that came in after this one would leave the client with a session it
        // knows nothing of: what is right then is for nobody here to say.
        self.broker.forget_unopened(client);
        let token = self.next_token;
        self.next_token += 1;
        let me = &mut self.clients[client];
        me.promise = match (clean, me.known) {
            (true, _) | (false, Known::No) => Some(false),
            (false, Known::Yes) => Some(true),
            (false, Known::Maybe) => None,
        };
        // Should the answer be lost, this CONNECT may have made a session the client would take for
        // its old one.
        me.must_clean =
            !matches!((clean, expiry_s, me.known), (false, _, Known::Yes) | (false, 0, Known::No));
        me.known = match (clean, expiry_s, me.known) {
            (true, ..) => Known::Maybe,
            (false, 0, Known::Yes) => Known::Maybe,
            (false, 1.., Known::No) => Known::Maybe,
            (_, _, known) => known,
        };
        // 3.1 has no session present, so what is uncertain must not be asked for.
        me.must_clean |= me.version == Version::V31 && me.known == Known::Maybe;
        me.token = Some(token);
        me.phase = Phase::Greeting;
        me.expiry_s = expiry_s;
        if me.packet_limit.is_some() && self.rng.percent(30) {
            // What was sent before may be too large now.
            let next = self.rng.range(100, 400);
            me.packet_limit = Some(next);
            let smallest = &mut self.oracle.subjects[client].packet_limit;
            *smallest = smallest.map(|limit| limit.min(next));
        }
        let bytes = self.connect_packet(client, clean, will.as_ref());
        let me = &self.clients[client];
        let narrow = !self.calm && !me.steady && self.rng.percent(self.plan.narrow);
        let room = if narrow { self.rng.range(1, 300) } else { usize::MAX };
        let mut conn = Conn::new(client, clean, room);
        conn.send(&bytes);
        self.broker.conns.insert(token, conn);
        let version = self.clients[client].version;
        note(|| {
            let what = if clean { "clean" } else { "resume" };
            format!(
                "client {client}: CONNECT {token} {version:?} {what} expiry {expiry_s} {will:?}"
            )
        });
        self.monitors.insert(token, Monitor::new(client, &self.clients[client]));
        self.wills.begun(token, client, clean, expiry_s, will);
        if clean {
            self.oracle.end_session(client);
        }
        if expiry_s == 0 {
            self.oracle.subjects[client].lasting = false;
        }
    }

    fn connect_packet(&mut self, client: usize, clean: bool, will: Option<&Will>) -> Vec<u8> {
        let me = &self.clients[client];
        let mut properties = PropertyBuf::new();
        let mut will_properties = PropertyBuf::new();
        if me.version.is_v5() {
            if me.expiry_s > 0 {
                properties.int(PropertyId::SessionExpiryInterval, me.expiry_s);
            }
            if let Some(maximum) = me.receive_maximum {
                properties.int(PropertyId::ReceiveMaximum, u32::from(maximum));
            }
            if let Some(limit) = me.packet_limit {
                properties.int(PropertyId::MaximumPacketSize, limit as u32);
            }
            if me.alias_maximum > 0 {
                let maximum = u32::from(me.alias_maximum);
                properties.int(PropertyId::TopicAliasMaximum, maximum);
            }
            if let Some(will) = will.filter(|will| will.delay_s > 0) {
                will_properties.int(PropertyId::WillDelayInterval, will.delay_s);
            }
        }
        let message = will.map(|will| self.oracle.messages[will.message as usize].clone());
        let content = message.as_ref().map(|message| payload(message.id, message.len));
        let will = message.as_ref().zip(content.as_ref());
        let mut bytes = Vec::new();
        Connect {
            version: me.version,
            bridge: false,
            clean_start: clean,
            keep_alive_s: me.keep_alive_s,
            properties: properties.as_properties(),
            client_id: &me.name,
            will: will.map(|(message, content)| mogi_codec::Will {
                qos: message.qos,
                retain: message.retain,
                properties: will_properties.as_properties(),
                topic: &message.topic,
                payload: content,
            }),
            username: None,
            password: None,
        }
        .encode(&mut bytes);
        bytes
    }

    pub(crate) fn make_will(&mut self, client: usize) -> Will {
        let v5 = self.clients[client].version.is_v5();
        let delay_s = if v5 && self.rng.percent(50) { self.rng.range(1, 10) as u32 } else { 0 };
        let message = self.new_message(client, format!("w/{client}"), None);
        let message = &mut self.oracle.messages[message as usize];
        message.will = true;
        message.sends = 1;
        message.property = false;
        message.expiry_s = None;
        message.len = message.len.clamp(4, 1000);
        let message = message.id;
        Will { message, delay_s }
    }

    /// DISCONNECT, with or without the will, now and then with another session expiry.
    pub(crate) fn say_goodbye(&mut self, client: usize) {
        let me = &self.clients[client];
        let (v5, token) = (me.version.is_v5(), me.token.expect("connected"));
        let mut properties = PropertyBuf::new();
        let mut reason = Reason::Success;
        if v5 && self.rng.percent(40) {
            reason = Reason::DisconnectWithWill;
        }
        if v5 && me.expiry_s > 0 && self.rng.percent(20) {
            properties.int(PropertyId::SessionExpiryInterval, 0);
            self.clients[client].expiry_s = 0;
            self.clients[client].known = Known::Maybe;
            self.oracle.subjects[client].lasting = false;
        }
        let ends = !properties.as_properties().is_empty();
        let disconnect = Disconnect { reason, properties: properties.as_properties() };
        self.send_packet(client, &Packet::Disconnect(disconnect));
        if let Some(conn) = self.broker.conns.get_mut(&token) {
            conn.goodbye = Some((conn.sent, reason as u8));
            conn.ends_session = ends;
            conn.up_closed = true;
            conn.cut = true;
            conn.down.clear();
            conn.down_closed = true;
        }
        self.go_away(client);
        match self.clients[client].expiry_s {
            0 => self.oracle.end_session(client),
            u32::MAX => {}
            _ => self.oracle.subjects[client].ending = true,
        }
        self.clients[client].reset_connection();
    }

    /// Ends a connection in the ordinary way.
    pub(crate) fn disconnect(&mut self, client: usize) {
        let token = self.clients[client].token.expect("connected");
        let (reason, properties) = (Reason::Success, Properties::default());
        self.send_packet(client, &Packet::Disconnect(Disconnect { reason, properties }));
        if let Some(conn) = self.broker.conns.get_mut(&token) {
            conn.goodbye = Some((conn.sent, 0));
            conn.up_closed = true;
        }
    }
}
