//! The alert CloudEvent of a delivery, within its bound.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use syncbell_event::{Alert, AlertData, AlertItem};

use crate::delivery::Delivery;

use super::text;

/// A body never exceeds this. Standard Webhooks advises 20 KB, which one alert stays far below.
const LIMIT_BYTES: usize = 256 * 1024;
/// What a text may keep where a single alert alone is over the bound.
const TEXT_LIMIT_CHARS: usize = 1_000;

/// The JSON of `delivery`.
pub(super) fn json(delivery: &Delivery) -> Vec<u8> {
    let alert = whole(delivery);
    let bytes = to_json(&alert);
    if bytes.len() <= LIMIT_BYTES {
        return bytes;
    }
    to_json(&shortened(alert))
}

/// The alert of `delivery`, of which the JSON is within the bound.
pub(super) fn bounded(delivery: &Delivery) -> Alert {
    let alert = whole(delivery);
    if to_json(&alert).len() <= LIMIT_BYTES {
        return alert;
    }
    shortened(alert)
}

/// Without the items that are over the bound.
fn shortened(mut alert: Alert) -> Alert {
    alert.data.group = slim(&alert.data.group).unwrap_or_default();
    let items = std::mem::take(&mut alert.data.alerts);
    let total = items.len();
    // Twenty digits are the most that `more` can grow by.
    let mut left = LIMIT_BYTES.saturating_sub(to_json(&alert).len() + 20);
    for item in items {
        let Some((item, size)) = fitting(item) else {
            break;
        };
        if size + 1 > left {
            break;
        }
        left -= size + 1;
        alert.data.alerts.push(item);
    }
    alert.data.more = u64::try_from(total - alert.data.alerts.len()).unwrap_or(u64::MAX);
    alert
}

/// Made with all items, so that its type says what all of them say, whatever is left out afterwards.
fn whole(delivery: &Delivery) -> Alert {
    let data = AlertData {
        receiver: delivery.target.receiver.clone(),
        group: delivery.group.clone(),
        alerts: delivery
            .entries
            .iter()
            .map(|entry| entry.item.clone())
            .collect(),
        more: 0,
        replay: delivery.replay.clone(),
        instead_of: delivery.instead_of.clone(),
    };
    Alert::new(delivery.id.0.clone(), delivery.created_at, data)
}

/// The item and its size. One that alone takes up more than half of the bound loses what the vendor added
/// and the ends of its texts: told in part is better than not told.
fn fitting(item: AlertItem) -> Option<(AlertItem, usize)> {
    let size = to_json(&item).len();
    if size <= LIMIT_BYTES / 2 {
        return Some((item, size));
    }
    let mut bare = item;
    bare.detail = None;
    if let Some(task) = &mut bare.task {
        task.extra.clear();
    }
    let bare: AlertItem = slim(&bare)?;
    let size = to_json(&bare).len();
    Some((bare, size))
}

/// `value` with every text in it cut.
fn slim<T: Serialize + DeserializeOwned>(value: &T) -> Option<T> {
    fn cut(value: &mut Value) {
        match value {
            Value::String(text) => *text = text::clip(text, TEXT_LIMIT_CHARS),
            Value::Array(items) => items.iter_mut().for_each(cut),
            Value::Object(fields) => fields.values_mut().for_each(cut),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(value).ok()?;
    cut(&mut value);
    serde_json::from_value(value).ok()
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("alerts have string keys and plain fields")
}
