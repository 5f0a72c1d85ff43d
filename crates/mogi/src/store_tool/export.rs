//! `mogi store export`: everything, one JSON object a line.

use super::line::{Content, Group, Line, State};
use super::reading::{Item, Reading};
use super::{Failure, conclude};
use mogi_codec::{SubscribeOptions, Version};
use mogi_core::store::{StoredSession, StoredSubscription};
use mogi_store::Snapshot;
use std::io::{self, BufWriter, Write};

pub(super) fn run(reading: &mut Reading) -> Result<u8, Failure> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let last_commit_ms = reading.report.alive_at_ms;
    let format = reading.snapshot().map(Snapshot::format);
    put(&mut out, &Line::Store { format, last_commit_ms })?;
    for at in 0..reading.sessions.len() {
        put_session(&mut out, &reading.sessions[at])?;
        reading.each_message(at, |session, item| put_message(&mut out, session, &item))?;
    }
    let mut written = Ok(());
    reading.each_retained(|message, _| {
        if written.is_ok() {
            let content = Content::new(&message, message.qos(), true);
            let author = message.author();
            let client = author.map(|author| author.client_id);
            let username = author.and_then(|author| author.username);
            written = put(&mut out, &Line::Retained { content, client, username });
        }
    })?;
    written?;
    for (client, will) in &reading.wills {
        let view = will.message.view();
        let will = Line::Will {
            client,
            delay_s: will.delay_s,
            due_at_ms: will.due_at_ms,
            expiry_s: will.expiry_s,
            content: Content::new(&will.message, view.qos, view.retain),
        };
        put(&mut out, &will)?;
    }
    out.flush()?;
    Ok(conclude(reading))
}

fn put_session(out: &mut impl Write, session: &StoredSession) -> Result<(), Failure> {
    let record = &session.record;
    let line = Line::Session {
        client: &record.client,
        expiry_s: record.expiry_s,
        username: record.username.as_deref(),
        mount_point: record.mount.as_deref(),
        away_since_ms: record.left_at_ms,
        received: &session.received,
    };
    put(out, &line)?;
    for subscription in &session.subscriptions {
        let options = options(subscription);
        let line = Line::Subscription {
            client: &record.client,
            filter: &subscription.filter,
            qos: options.qos as u8,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            retain_handling: options.retain_handling as u8,
            id: (subscription.id != 0).then_some(subscription.id),
        };
        put(out, &line)?;
    }
    Ok(())
}

fn put_message(out: &mut impl Write, session: &StoredSession, item: &Item) -> Result<(), Failure> {
    let (state, packet_id, delivery) = match item {
        Item::Waiting(delivery) => (State::Waiting, None, Some(delivery)),
        Item::Flight(flight) => match &flight.delivery {
            Some(delivery) => (State::InFlight, Some(flight.packet_id), Some(delivery)),
            None => (State::Released, Some(flight.packet_id), None),
        },
    };
    let line = Line::Message {
        client: &session.record.client,
        state,
        packet_id,
        content: delivery.map(|it| Content::new(&it.message, it.qos, it.retain)),
        subscription_ids: delivery.map_or(&[], |it| it.ids.as_slice()),
        group: delivery.and_then(|it| {
            let (name, filter) = it.group.as_ref()?;
            Some(Group { name, filter })
        }),
    };
    put(out, &line)
}

/// The options of a stored subscription; they were checked before it was stored.
pub(super) fn options(subscription: &StoredSubscription) -> SubscribeOptions {
    SubscribeOptions::decode(Version::V5, subscription.options).unwrap_or_default()
}

fn put(out: &mut impl Write, line: &Line<'_>) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}
