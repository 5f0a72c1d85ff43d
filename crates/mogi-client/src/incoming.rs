//! Messages on their way from the server: QoS 2 and topic aliases.

use crate::{Message, Options};
use mogi_codec::{DecodeError, PropertyId, Publish, QoS, Reason};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What the receiving side remembers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incoming {
    /// Messages of QoS 2 that are not released yet. Keeping them until PUBREL, and not only
    /// their ids, means that the order of delivery is that of the releases, as with Mosquitto's
    /// tools (section 4.3.3, figure 4.3, method A).
    unreleased: BTreeMap<u16, Message<'static>>,
    unreleased_max: usize,
    /// Topic of alias n + 1.
    aliases: Vec<Option<String>>,
}

impl Incoming {
    pub(crate) fn new(options: &Options) -> Self {
        let receive_max = options.int(PropertyId::ReceiveMaximum);
        Self {
            unreleased: BTreeMap::new(),
            unreleased_max: receive_max.map_or(usize::MAX, |max| max as usize),
            aliases: Vec::new(),
        }
    }

    /// A connection began: aliases are forgotten ([MQTT-3.3.2-7]), and unreleased messages too
    /// where the server has no session.
    pub(crate) fn resume(&mut self, session_present: bool, options: &Options) {
        let alias_max = options.int(PropertyId::TopicAliasMaximum).unwrap_or(0);
        self.aliases.clear();
        self.aliases.resize(alias_max as usize, None);
        if !session_present {
            self.unreleased.clear();
        }
    }

    /// The topic of a PUBLISH, through its alias where it has one.
    ///
    /// # Errors
    /// 0x94 for an alias above the maximum the client announced, and for one that stands for
    /// nothing ([MQTT-3.3.2-9], section 3.3.2.3.4).
    pub(crate) fn topic<'a>(&mut self, publish: &Publish<'a>) -> Result<Cow<'a, str>, DecodeError> {
        let Some(alias) = publish.properties.int(PropertyId::TopicAlias) else {
            return Ok(Cow::Borrowed(publish.topic));
        };
        let invalid = |what| DecodeError::new(Reason::TopicAliasInvalid, what);
        let slot = self.aliases.get_mut(alias.wrapping_sub(1) as usize);
        let slot = slot.ok_or_else(|| invalid("topic alias above the maximum"))?;
        if publish.topic.is_empty() {
            let topic = slot.as_ref();
            let topic = topic.ok_or_else(|| invalid("topic alias that stands for nothing"))?;
            return Ok(Cow::Owned(topic.clone()));
        }
        *slot = Some(publish.topic.to_owned());
        Ok(Cow::Borrowed(publish.topic))
    }

    /// Keeps a message of QoS 2 until it is released; a repeat changes nothing
    /// ([MQTT-4.3.3-10]).
    ///
    /// # Errors
    /// 0x93 where the server exceeds the client's Receive Maximum ([MQTT-3.3.4-9]).
    pub(crate) fn keep(&mut self, message: Message<'_>) -> Result<(), DecodeError> {
        debug_assert_eq!(message.qos, QoS::ExactlyOnce);
        if self.unreleased.contains_key(&message.packet_id) {
            return Ok(());
        }
        if self.unreleased.len() >= self.unreleased_max {
            return Err(DecodeError::new(
                Reason::ReceiveMaximumExceeded,
                "more unreleased messages than the receive maximum",
            ));
        }
        self.unreleased.insert(message.packet_id, message.into_owned());
        Ok(())
    }

    /// The message that PUBREL releases.
    pub(crate) fn release(&mut self, packet_id: u16) -> Option<Message<'static>> {
        self.unreleased.remove(&packet_id)
    }
}
