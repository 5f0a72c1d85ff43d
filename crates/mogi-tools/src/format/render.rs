//! A message through a template.

use super::record::{PayloadAs, record};
use super::template::{Piece, Template, Width};
use super::{field, float, hex, strftime};
use jiff::Zoned;
use mogi_client::Message;
use mogi_codec::PropertyId;
use mogi_codec::properties::Value;
use std::cell::OnceCell;

/// When a message arrived. The clock is read when the first piece wants to know, and then once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Now {
    read: OnceCell<Zoned>,
}

impl Now {
    /// A time that is not the clock's.
    #[cfg(test)]
    pub(crate) fn at(zoned: &str) -> Self {
        let read = OnceCell::from(zoned.parse::<Zoned>().expect("a time"));
        Self { read }
    }

    fn zoned(&self) -> &Zoned {
        self.read.get_or_init(Zoned::now)
    }

    fn nanosecond(&self) -> i32 {
        self.zoned().subsec_nanosecond()
    }

    fn iso(&self) -> String {
        self.strftime(b"FTz", &["T", ""])
    }

    pub(super) fn iso_micros(&self) -> String {
        let micros = format!(".{:06}", self.nanosecond() / 1000);
        self.strftime(b"FTz", &["T", &micros])
    }

    /// Conversions with texts between them.
    fn strftime(&self, conversions: &[u8], between: &[&str]) -> String {
        let mut out = Vec::new();
        for (at, conversion) in conversions.iter().enumerate() {
            strftime::strftime(&mut out, *conversion, self.zoned());
            out.extend_from_slice(between.get(at).copied().unwrap_or("").as_bytes());
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// Appends the message to `out`. What cannot be printed is left out, and said in `errors`, one
/// sentence each.
pub(crate) fn render(
    template: &Template,
    message: &Message<'_>,
    pretty: bool,
    now: &Now,
    out: &mut Vec<u8>,
    errors: &mut Vec<String>,
) {
    for piece in &template.pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Time(b'N') => {
                out.extend_from_slice(format!("{:09}", now.nanosecond()).as_bytes());
            }
            Piece::Time(conversion) => strftime::strftime(out, *conversion, now.zoned()),
            Piece::Field(b'j' | b'J', _) => {
                let payload = match piece {
                    Piece::Field(b'J', _) => PayloadAs::Json,
                    _ => PayloadAs::Text,
                };
                match record(message, payload, now) {
                    Some(json) if pretty => json.write_pretty(out),
                    Some(json) => json.write(out),
                    None => errors.push(format!(
                        "Error: Message payload is not valid JSON on topic {}.",
                        message.topic
                    )),
                }
            }
            Piece::Field(name, width) => write_field(*name, *width, message, now, out, errors),
        }
    }
}

fn write_field(
    name: u8,
    width: Width,
    message: &Message<'_>,
    now: &Now,
    out: &mut Vec<u8>,
    errors: &mut Vec<String>,
) {
    let properties = message.properties();
    let payload = &*message.payload;
    let mut int = |id| field::number(out, width, properties.int(id).map(u64::from));
    match name {
        b'A' => int(PropertyId::TopicAlias),
        b'E' => int(PropertyId::MessageExpiryInterval),
        b'F' => int(PropertyId::PayloadFormatIndicator),
        b'S' => int(PropertyId::SubscriptionIdentifier),
        b'C' => {
            let text = properties.str(PropertyId::ContentType).unwrap_or("");
            field::text(out, width, text.as_bytes());
        }
        b'R' => {
            let text = properties.str(PropertyId::ResponseTopic).unwrap_or("");
            field::text(out, width, text.as_bytes());
        }
        b'D' => {
            let data = properties.bytes(PropertyId::CorrelationData);
            out.extend_from_slice(data.unwrap_or_default());
        }
        b'P' => user_properties(message, out),
        b'I' => field::text(out, width, now.iso().as_bytes()),
        b'U' => {
            let second = now.zoned().timestamp().as_second();
            out.extend_from_slice(format!("{second}.{:09}", now.nanosecond()).as_bytes());
        }
        b'l' => field::number(out, width, Some(payload.len() as u64)),
        b'm' => field::number(out, width, Some(message.packet_id.into())),
        b'p' => field::payload(out, width, payload),
        b'q' => out.push(b'0' + message.qos as u8),
        b'r' => out.push(b'0' + u8::from(message.retain)),
        b't' => field::text(out, width, message.topic.as_bytes()),
        b'x' => hex::hex(out, width, false, payload),
        b'X' => hex::hex(out, width, true, payload),
        // As the machine stores them, which is what the sender's sent.
        b'f' => match payload.try_into() {
            Ok(bytes) => float::fixed(out, width, f32::from_ne_bytes(bytes).into()),
            Err(_) => {
                errors.push("requested float printing, but non-float data received".to_owned());
            }
        },
        b'd' => match payload.try_into() {
            Ok(bytes) => float::fixed(out, width, f64::from_ne_bytes(bytes)),
            Err(_) => {
                errors.push("requested double printing, but non-double data received".to_owned());
            }
        },
        _ => {}
    }
}

fn user_properties(message: &Message<'_>, out: &mut Vec<u8>) {
    let mut first = true;
    for property in message.properties() {
        if let Value::Pair(name, value) = property.value {
            if !first {
                out.push(b' ');
            }
            first = false;
            out.extend_from_slice(format!("{name}:{value}").as_bytes());
        }
    }
}
