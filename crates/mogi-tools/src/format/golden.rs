//! Templates, and what Mosquitto 2.1.2's `sub` made of them: captured from running it.

use super::{Now, Template, render};
use mogi_client::Message;
use mogi_codec::{Properties, PropertyBuf, PropertyId, Publish, QoS};

fn message<'a>(payload: &'a [u8], qos: QoS, packet_id: u16, retain: bool) -> Publish<'a> {
    Publish {
        dup: false,
        qos,
        retain,
        topic: "top/ic",
        packet_id,
        properties: Properties::default(),
        payload,
    }
}

/// One of each property.
fn properties() -> PropertyBuf {
    let mut properties = PropertyBuf::new();
    properties
        .int(PropertyId::PayloadFormatIndicator, 1)
        .int(PropertyId::MessageExpiryInterval, 300)
        .str(PropertyId::ContentType, "text/plain")
        .str(PropertyId::ResponseTopic, "re/sp")
        .bytes(PropertyId::CorrelationData, b"co\0rr\xFF")
        .user("k1", "v1")
        .user("k2", "v 2")
        .int(PropertyId::SubscriptionIdentifier, 129);
    properties
}

fn printed(template: &str, publish: Publish<'_>, pretty: bool) -> (Vec<u8>, Vec<String>) {
    let template = Template::parse(template.as_bytes()).expect(template);
    let now = Now::at("2020-05-06T22:12:00.012345678+01:00[Europe/Dublin]");
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let message = Message::from(publish);
    render(&template, &message, pretty, &now, &mut out, &mut errors);
    (out, errors)
}

fn check(expected: &[(&str, &[u8])], publish: Publish<'_>) {
    for (template, bytes) in expected {
        let (out, errors) = printed(template, publish, false);
        let shown = [&out[..], bytes].map(String::from_utf8_lossy);
        assert_eq!(out, *bytes, "{template}: {shown:?}");
        assert_eq!(errors, Vec::<String>::new());
    }
}

#[test]
fn every_field_of_a_message_with_everything() {
    let properties = properties();
    let mut publish = message(b"hello", QoS::AtMostOnce, 0, false);
    publish.properties = properties.as_properties();
    check(FULL, publish);
    publish.qos = QoS::AtLeastOnce;
    publish.packet_id = 300;
    check(WIDE, publish);
}

#[test]
fn every_field_of_a_message_with_nothing() {
    check(BARE, message(b"hello", QoS::AtMostOnce, 0, false));
    check(OLD, message(b"hello", QoS::ExactlyOnce, 77, true));
}

#[test]
fn hexadecimal_in_groups_and_fields() {
    check(HEX, message(b"hello", QoS::AtMostOnce, 0, false));
    check(SHORT, message(b"ab", QoS::AtMostOnce, 0, false));
    let bytes = message(b"\x00\x01\xFF", QoS::AtMostOnce, 0, false);
    check(&[("%x", b"0001ff"), ("%.2:X", b"00:01:FF")], bytes);
    let nothing = message(b"", QoS::AtMostOnce, 0, false);
    check(&[("%x", b""), ("%.2x", b""), ("%3x|", b"   |"), ("%3p|", b"   |")], nothing);
}

#[test]
fn floating_point_payloads() {
    let one = message(b"\x00\x00\x80\x3F", QoS::AtMostOnce, 0, false);
    check(
        &[
            ("%f", b"1.000000"),
            ("%10.3f|", b"     1.000|"),
            ("%-10f|", b"1.000000  |"),
            ("%010.2f", b"0000001.00"),
        ],
        one,
    );
    let (out, errors) = printed("<%d>", one, false);
    assert_eq!(out, b"<>");
    let text = "requested double printing, but non-double data received";
    assert_eq!(errors, [text]);
    let pi = message(b"\x18\x2D\x44\x54\xFB\x21\x09\x40", QoS::AtMostOnce, 0, false);
    check(
        &[
            ("%d", b"3.141593"),
            ("%020.2d|", b"00000000000000003.14|"),
            ("%-20d|", b"3.141593            |"),
        ],
        pi,
    );
    let infinite = message(b"\x00\x00\x80\xFF", QoS::AtMostOnce, 0, false);
    check(&[("%f", b"-inf"), ("%06f", b"  -inf")], infinite);
}

#[test]
fn times_are_those_of_one_moment() {
    let publish = message(b"", QoS::AtMostOnce, 0, false);
    check(
        &[
            ("%I", b"2020-05-06T22:12:00+0100"),
            ("%30I|", b"      2020-05-06T22:12:00+0100|"),
            ("%.4I", b"2020"),
            ("%U", b"1588799520.012345678"),
            ("@s.@N", b"1588799520.012345678"),
            ("@Y-@m-@dT@H:@M:@S@z", b"2020-05-06T22:12:00+0100"),
        ],
        publish,
    );
}

const STAMP: &str = r#""tst":"2020-05-06T22:12:00.012345+0100","topic":"top/ic""#;

fn json(template: &str, publish: Publish<'_>) -> String {
    let (out, errors) = printed(template, publish, false);
    assert_eq!(errors, Vec::<String>::new());
    let text = String::from_utf8(out).expect("UTF-8");
    text.replace(STAMP, "...")
}

#[test]
fn messages_as_json() {
    let plain = message(b"hello", QoS::AtMostOnce, 0, false);
    let text = r#"{...,"qos":0,"retain":false,"payloadlen":5,"payload":"hello"}"#;
    assert_eq!(json("%j", plain), text);
    let number = message(b"27.0", QoS::ExactlyOnce, 77, true);
    let text = r#"{...,"qos":2,"retain":true,"payloadlen":4,"mid":77,"payload":27}"#;
    assert_eq!(json("%J", number), text);
    let empty = message(b"", QoS::AtMostOnce, 0, false);
    let text = r#"{...,"qos":0,"retain":false,"payloadlen":0,"payload":null}"#;
    assert_eq!(json("%j", empty), text);
    assert_eq!(json("%J", empty), text);
    let controls = message(b"a\"b\\c/d\x08\x0C\n\r\t\x01\x1F\x7F", QoS::AtMostOnce, 0, false);
    let text = json("%j", controls);
    assert!(text.ends_with("\"payload\":\"a\\\"b\\\\c/d\\b\\f\\n\\r\\t\\u0001\\u001f\x7F\"}"));
    let text = json("%j", message(b"a\0b", QoS::AtMostOnce, 0, false));
    assert!(text.ends_with(r#""payloadlen":3,"payload":"a"}"#));
}

#[test]
fn properties_as_json_keep_their_order() {
    let all = properties();
    let mut publish = message(b"hello", QoS::AtMostOnce, 0, false);
    publish.properties = all.as_properties();
    let text = concat!(
        r#"{...,"qos":0,"retain":false,"payloadlen":5,"properties":{"payload-format-indicator":1,"#,
        r#""message-expiry-interval":300,"content-type":"text/plain","response-topic":"re/sp","#,
        r#""correlation-data":"co","user-properties":[{"k1":"v1"},{"k2":"v 2"}],"#,
        r#""subscription-identifier":129},"payload":"hello"}"#
    );
    assert_eq!(json("%j", publish), text);
    let mut mixed = PropertyBuf::new();
    mixed
        .user("k1", "v1")
        .str(PropertyId::ContentType, "ct")
        .user("k2", "v2")
        .int(PropertyId::SubscriptionIdentifier, 1)
        .int(PropertyId::SubscriptionIdentifier, 2);
    publish.properties = mixed.as_properties();
    let text = concat!(
        r#"{...,"qos":0,"retain":false,"payloadlen":5,"properties":{"#,
        r#""user-properties":[{"k1":"v1"},{"k2":"v2"}],"content-type":"ct","#,
        r#""subscription-identifier":[1,2]},"payload":"hello"}"#
    );
    assert_eq!(json("%j", publish), text);
}

#[test]
fn json_over_several_lines() {
    let mut properties = PropertyBuf::new();
    properties.user("k1", "v1").user("k2", "v 2");
    let mut publish = message(b"1", QoS::AtMostOnce, 0, false);
    publish.properties = properties.as_properties();
    let (out, _) = printed("%J", publish, true);
    let text = "{\n\t\"tst\":\t\"2020-05-06T22:12:00.012345+0100\",\n\
        \t\"topic\":\t\"top/ic\",\n\t\"qos\":\t0,\n\t\"retain\":\tfalse,\n\
        \t\"payloadlen\":\t1,\n\t\"properties\":\t{\n\
        \t\t\"user-properties\":\t[{\n\t\t\t\t\"k1\":\t\"v1\"\n\
        \t\t\t}, {\n\t\t\t\t\"k2\":\t\"v 2\"\n\t\t\t}]\n\
        \t},\n\t\"payload\":\t1\n}";
    assert_eq!(String::from_utf8_lossy(&out), text);
}

#[test]
fn payloads_that_are_no_json_are_left_out_and_named() {
    let publish = message(b"no json", QoS::AtMostOnce, 0, false);
    let (out, errors) = printed("<%J|%t>", publish, false);
    assert_eq!(out, b"<|top/ic>");
    let text = "Error: Message payload is not valid JSON on topic top/ic.";
    assert_eq!(errors, [text]);
}

#[rustfmt::skip]
const FULL: &[(&str, &[u8])] = &[
    ("%A", b""),
    ("%C", b"text/plain"),
    ("%D", b"co\0rr\xFF"),
    ("%E", b"300"),
    ("%F", b"1"),
    ("%l", b"5"),
    ("%m", b"0"),
    ("%P", b"k1:v1 k2:v 2"),
    ("%p", b"hello"),
    ("%q", b"0"),
    ("%R", b"re/sp"),
    ("%r", b"0"),
    ("%S", b"129"),
    ("%t", b"top/ic"),
    ("%x", b"68656c6c6f"),
    ("%X", b"68656C6C6F"),
    ("%%", b"%"),
    ("@@", b"@"),
];

#[rustfmt::skip]
const BARE: &[(&str, &[u8])] = &[
    ("[%A]", b"[]"),
    ("[%C]", b"[]"),
    ("[%D]", b"[]"),
    ("[%E]", b"[]"),
    ("[%F]", b"[]"),
    ("[%l]", b"[5]"),
    ("[%m]", b"[0]"),
    ("[%P]", b"[]"),
    ("[%p]", b"[hello]"),
    ("[%q]", b"[0]"),
    ("[%R]", b"[]"),
    ("[%r]", b"[0]"),
    ("[%S]", b"[]"),
    ("[%t]", b"[top/ic]"),
];

#[rustfmt::skip]
const OLD: &[(&str, &[u8])] = &[
    ("[%A]", b"[]"),
    ("[%C]", b"[]"),
    ("[%D]", b"[]"),
    ("[%E]", b"[]"),
    ("[%F]", b"[]"),
    ("[%l]", b"[5]"),
    ("[%m]", b"[77]"),
    ("[%P]", b"[]"),
    ("[%p]", b"[hello]"),
    ("[%q]", b"[2]"),
    ("[%R]", b"[]"),
    ("[%r]", b"[1]"),
    ("[%S]", b"[]"),
    ("[%t]", b"[top/ic]"),
    ("[%x]", b"[68656c6c6f]"),
    ("[%X]", b"[68656C6C6F]"),
];

#[rustfmt::skip]
const WIDE: &[(&str, &[u8])] = &[
    ("%10t", b"    top/ic"),
    ("%-10t|", b"top/ic    |"),
    ("%010t", b"    top/ic"),
    ("%.3t", b"top"),
    ("%10.3t|", b"       top|"),
    ("%-10.3t|", b"top       |"),
    ("%3t", b"top/ic"),
    ("%10p|", b"     hello|"),
    ("%-10p|", b"hello     |"),
    ("%.3p|", b"hello|"),
    ("%010p", b"00000hello"),
    ("%10.3p|", b"     hello|"),
    ("%10l", b"         5"),
    ("%010l", b"0000000005"),
    ("%-10l|", b"5         |"),
    ("%-010l|", b"5         |"),
    ("%.3l", b"5"),
    ("%10m", b"       300"),
    ("%010m", b"0000000300"),
    ("%10q", b"1"),
    ("%010q", b"1"),
    ("%10r", b"0"),
    ("%5E", b"  300"),
    ("%05E", b"00300"),
    ("%-5E|", b"300  |"),
    ("%5A|", b"     |"),
    ("%5F", b"    1"),
    ("%05F", b"00001"),
    ("%10S", b"       129"),
    ("%010S", b"0000000129"),
    ("%-10S|", b"129       |"),
    ("%20C|", b"          text/plain|"),
    ("%-20C|", b"text/plain          |"),
    ("%.4C|", b"text|"),
    ("%020C", b"          text/plain"),
    ("%10R|", b"     re/sp|"),
    ("%.2R", b"re"),
    ("%20D|", b"co\0rr\xFF|"),
    ("%20P|", b"k1:v1 k2:v 2|"),
    ("%10x|", b"68656c6c6f|"),
    ("%-20x|", b"68656c6c6f          |"),
    ("%020x", b"000000000068656c6c6f"),
    ("%20x", b"          68656c6c6f"),
    ("%.4x", b"6865 6c6c 6f"),
    ("%.1x|", b"6 8 6 5 6 c 6 c 6 f|"),
    ("%.2x|", b"68 65 6c 6c 6f|"),
    ("%.3x|", b"686 56c 6c6 f|"),
    ("%.2:x", b"68:65:6c:6c:6f"),
    ("%.4:x", b"6865:6c6c:6f"),
    ("%.4 X", b"6865 6C6C 6F"),
    ("%.2-X", b"68-65-6C-6C-6F"),
    ("%.3:x", b"686:56c:6c6:f"),
    ("%:x", b"68656c6c6f"),
    ("%2:x", b"6865"),
    ("%20.2:x|", b"  :  :  :  :  :68:65:6c:6c:6f|"),
    ("%-20.2:x|", b"68:65:6c:6c:6f          |"),
    ("%020.2:x", b"00:00:00:00:00:68:65:6c:6c:6f"),
    ("%5%|", b"%|"),
    ("%-t", b"top/ic"),
    ("%00005t", b"top/ic"),
    ("%-05t|", b"top/ic|"),
    ("%.99999999999t", b"top/ic"),
    ("%5.t|", b"     |"),
    ("%5.0t|", b"     |"),
    ("%.0p|", b"hello|"),
    ("%ld", b"5d"),
];

#[rustfmt::skip]
const HEX: &[(&str, &[u8])] = &[
    ("%1:x", b"68"),
    ("%2:x", b"6865"),
    ("%3:x", b"68656c"),
    ("%4:x", b"68656c6c"),
    ("%6:x|", b"68656c6c6f|"),
    ("%10:x", b"68656c6c6f"),
    ("%11:x", b" 68656c6c6f"),
    ("%12:x", b"  68656c6c6f"),
    ("%20:x|", b"          68656c6c6f|"),
    ("%-20:x|", b"68656c6c6f          |"),
    ("%020:x", b"000000000068656c6c6f"),
    ("%-3:x|", b"68656c   |"),
    ("%20.4x|", b"            68 656c 6c6f|"),
    ("%20.3x|", b"             68 656 c6c 6f|"),
    ("%21.4x|", b"             6 8656 c6c6 f|"),
    ("%-21.4x|", b"6865 6c6c 6f           |"),
    ("%021.4:x", b"0000:0000:0006:8656:c6c6:f"),
    ("%20.4 x", b"            68 656c 6c6f"),
    ("%5.2x", b"68 65 6c 6c 6f"),
    ("%.20x", b"68656c6c6f"),
    ("%.0x", b"68656c6c6f"),
    ("%.x", b"68656c6c6f"),
    ("%0x", b"68656c6c6f"),
    ("%-x", b"68656c6c6f     "),
    ("%12.1:x", b" : :6:8:6:5:6:c:6:c:6:f"),
    ("%010.2x", b"68 65 6c 6c 6f"),
    ("%011.2:x|", b"06:86:56:c6:c6:f|"),
    ("%12.4:x|", b"  68:656c:6c6f|"),
    ("%11.4:x|", b" 686:56c6:c6f|"),
    ("%13.4:x|", b"   6:8656:c6c6:f|"),
    ("%.2lx", b"5x"),
    ("%.2,x", b"68,65,6c,6c,6f"),
    ("%.2_x", b"68_65_6c_6c_6f"),
    ("%.2/x", b"68/65/6c/6c/6f"),
    ("%-0x|", b"68656c6c6f     |"),
    ("%-1x|", b"68 |"),
    ("%-2x|", b"6865  |"),
    ("%-3x|", b"68656c   |"),
    ("%-4x|", b"68656c6c    |"),
    ("%-5x|", b"68656c6c6f     |"),
    ("%-6x|", b"68656c6c6f    |"),
    ("%-7x|", b"68656c6c6f   |"),
    ("%-8x|", b"68656c6c6f  |"),
    ("%-9x|", b"68656c6c6f |"),
    ("%-10x|", b"68656c6c6f|"),
    ("%-11x|", b"68656c6c6f |"),
    ("%-12x|", b"68656c6c6f  |"),
    ("%1x|", b"68|"),
    ("%2x|", b"6865|"),
    ("%3x|", b"68656c|"),
    ("%4x|", b"68656c6c|"),
    ("%5x|", b"68656c6c6f|"),
    ("%6x|", b"68656c6c6f|"),
    ("%7x|", b"68656c6c6f|"),
    ("%8x|", b"68656c6c6f|"),
    ("%9x|", b"68656c6c6f|"),
    ("%10x|", b"68656c6c6f|"),
    ("%11x|", b" 68656c6c6f|"),
    ("%12x|", b"  68656c6c6f|"),
    ("%01x|", b"68|"),
    ("%02x|", b"6865|"),
    ("%03x|", b"68656c|"),
    ("%04x|", b"68656c6c|"),
    ("%05x|", b"68656c6c6f|"),
    ("%06x|", b"68656c6c6f|"),
    ("%07x|", b"68656c6c6f|"),
    ("%08x|", b"68656c6c6f|"),
    ("%09x|", b"68656c6c6f|"),
    ("%010x|", b"68656c6c6f|"),
    ("%011x|", b"068656c6c6f|"),
    ("%012x|", b"0068656c6c6f|"),
    ("%-1.2:x|", b"68 |"),
    ("%-2.2:x|", b"68:65  |"),
    ("%-3.2:x|", b"68:65:6c   |"),
    ("%-5.2:x|", b"68:65:6c:6c:6f     |"),
    ("%-7.2:x|", b"68:65:6c:6c:6f   |"),
    ("%-10.2:x|", b"68:65:6c:6c:6f|"),
    ("%-12.2:x|", b"68:65:6c:6c:6f  |"),
    ("%1.2:x|", b"68|"),
    ("%2.2:x|", b"68:65|"),
    ("%3.2:x|", b"68:65:6c|"),
    ("%4.2:x|", b"68:65:6c:6c|"),
    ("%5.2:x|", b"68:65:6c:6c:6f|"),
    ("%7.2:x|", b"68:65:6c:6c:6f|"),
    ("%10.2:x|", b"68:65:6c:6c:6f|"),
    ("%12.2:x|", b"  :68:65:6c:6c:6f|"),
    ("%-03.2:x|", b"68:65:6c   |"),
    ("%-012.2:x|", b"68:65:6c:6c:6f  |"),
    ("%-.2:x|", b"68:65:6c:6c:6f     |"),
    ("%-.3:x|", b"686:56c:6c6:f     |"),
    ("%-3.1:x|", b"6:8:6:5:6:c   |"),
];

#[rustfmt::skip]
const SHORT: &[(&str, &[u8])] = &[
    ("%-0x|", b"6162  |"),
    ("%-1x|", b"61 |"),
    ("%-2x|", b"6162  |"),
    ("%-3x|", b"6162 |"),
    ("%-4x|", b"6162|"),
    ("%-5x|", b"6162 |"),
    ("%-6x|", b"6162  |"),
    ("%-7x|", b"6162   |"),
    ("%-8x|", b"6162    |"),
    ("%-9x|", b"6162     |"),
    ("%-10x|", b"6162      |"),
    ("%-11x|", b"6162       |"),
    ("%-12x|", b"6162        |"),
    ("%1x|", b"61|"),
    ("%2x|", b"6162|"),
    ("%3x|", b"6162|"),
    ("%4x|", b"6162|"),
    ("%5x|", b" 6162|"),
    ("%6x|", b"  6162|"),
    ("%7x|", b"   6162|"),
    ("%8x|", b"    6162|"),
    ("%9x|", b"     6162|"),
    ("%10x|", b"      6162|"),
    ("%11x|", b"       6162|"),
    ("%12x|", b"        6162|"),
    ("%01x|", b"61|"),
    ("%02x|", b"6162|"),
    ("%03x|", b"6162|"),
    ("%04x|", b"6162|"),
    ("%05x|", b"06162|"),
    ("%06x|", b"006162|"),
    ("%07x|", b"0006162|"),
    ("%08x|", b"00006162|"),
    ("%010x|", b"0000006162|"),
    ("%011x|", b"00000006162|"),
    ("%012x|", b"000000006162|"),
    ("%-1.2:x|", b"61 |"),
    ("%-2.2:x|", b"61:62  |"),
    ("%-3.2:x|", b"61:62 |"),
    ("%-5.2:x|", b"61:62 |"),
    ("%-7.2:x|", b"61:62   |"),
    ("%-10.2:x|", b"61:62      |"),
    ("%-12.2:x|", b"61:62        |"),
    ("%1.2:x|", b"61|"),
    ("%2.2:x|", b"61:62|"),
    ("%3.2:x|", b"61:62|"),
    ("%4.2:x|", b"61:62|"),
    ("%5.2:x|", b" 6:16:2|"),
    ("%7.2:x|", b"  : 6:16:2|"),
    ("%10.2:x|", b"  :  :  :61:62|"),
    ("%12.2:x|", b"  :  :  :  :61:62|"),
    ("%-03.2:x|", b"61:62 |"),
    ("%-012.2:x|", b"61:62        |"),
    ("%-.2:x|", b"61:62  |"),
    ("%-.3:x|", b"616:2  |"),
    ("%-3.1:x|", b"6:1:6:2 |"),
];
