//! What outlives a lost store: how far each list was seen, in a small file beside it.
//!
//! In: since when a baseline counts; complete full sweeps whose changes are on the log. Out: from when on a
//! recovery tells. Must never happen: a time behind which something was seen and is not on the log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::Error;
use crate::outbox::Outbox;

const VERSION: u8 = 1;

/// Far more than a file of ours has: what is larger is not read.
const LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// How far a recovery looks back where nothing says how far the list was seen.
pub(crate) const UNKNOWN: SignedDuration = SignedDuration::from_hours(24);

/// How far the lists were seen. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Sightings {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// None: kept in memory only.
    path: Option<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By instance and digest of its filters.
    until: BTreeMap<(String, String), Timestamp>,
    /// When a store was lost of which this file says nothing.
    lost_at: Option<Timestamp>,
    /// What is here is not in the file: it could not be written.
    unsaved: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct OnDisk {
    v: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_at: Option<Timestamp>,
    seen: Vec<Seen>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    instance: String,
    filters: String,
    until: Timestamp,
}

/// What is known of a list whose rows are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// It was never looked at.
    Nothing,
    /// All until this time of the server is on the log.
    Until(Timestamp),
    /// It may have been watched; nobody knows how far.
    Unknown,
}

impl Sightings {
    /// Kept in memory: for a store in memory.
    pub fn memory() -> Self {
        Self {
            inner: Arc::new(Inner {
                path: None,
                known: Mutex::default(),
            }),
        }
    }

    /// Reads the file at `path`; a missing one says nothing. `store_lost_at`: the store beside it was found
    /// damaged then. A file that cannot be read counts as lost with it, and is kept under another name.
    /// Blocking. `Err` is the disk's; the caller stops.
    pub(crate) fn open(path: &Path, store_lost_at: Option<Timestamp>) -> io::Result<Self> {
        let mut known = match read(path)? {
            Ok(known) => known,
            Err(what) => {
                let aside = aside(path, Timestamp::now());
                tracing::error!(
                    path = %path.display(), kept_as = %aside.display(), error = what,
                    "the file that says how far the lists were seen is damaged"
                );
                std::fs::rename(path, aside)?;
                Known {
                    lost_at: Some(Timestamp::now()),
                    ..Known::default()
                }
            }
        };
        known.lost_at = store_lost_at.or(known.lost_at);
        if known.lost_at.is_some() {
            write(path, &known)?;
        }
        Ok(Self {
            inner: Arc::new(Inner {
                path: Some(path.to_owned()),
                known: Mutex::new(known),
            }),
        })
    }

    /// What is known of the list of `instance` under these filters, of which the store has no row.
    pub(crate) async fn before(&self, instance: &str, filters: &str, now: Timestamp) -> Before {
        let known = self.inner.known.lock().await;
        let key = (instance.to_owned(), filters.to_owned());
        match (known.until.get(&key), known.lost_at) {
            (Some(until), _) => Before::Until(*until),
            // Later than that it is a new instance.
            (None, Some(lost_at)) if now.duration_since(lost_at) < UNKNOWN => Before::Unknown,
            (None, _) => Before::Nothing,
        }
    }

    /// Says that nothing of `instance` is written here yet.
    pub(crate) async fn is_new(&self, instance: &str, filters: &str) -> bool {
        let known = self.inner.known.lock().await;
        let key = (instance.to_owned(), filters.to_owned());
        !known.until.contains_key(&key)
    }

    /// All of the list that the server had at `until` is on the log, or was from before the baseline. A disk
    /// that takes nothing is logged: an older time tells more, never less.
    pub(crate) async fn note(&self, instance: &str, filters: &str, until: Timestamp) {
        let mut known = self.inner.known.lock().await;
        let key = (instance.to_owned(), filters.to_owned());
        let before = known.until.insert(key, until);
        if before == Some(until) && !known.unsaved {
            return;
        }
        let Some(path) = self.inner.path.clone() else {
            return;
        };
        let on_disk = known.on_disk();
        let written = tokio::task::spawn_blocking(move || put(&path, &on_disk)).await;
        let error = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let (Some(error), false) = (&error, known.unsaved) {
            tracing::warn!(error, "cannot write how far the lists were seen");
        }
        known.unsaved = error.is_some();
    }
}

/// How far the list of one instance was seen, until that is in the file.
#[derive(Debug)]
pub(crate) struct Sighting {
    sightings: Sightings,
    instance: String,
    filters: String,
    /// The file names the list.
    named: bool,
    /// A complete sweep began then; what it told stands before this sequence number of the outbox.
    due: Option<(Timestamp, u64)>,
}

impl Sighting {
    pub(crate) fn new(sightings: &Sightings, instance: &str, filters: &str) -> Self {
        Self {
            sightings: sightings.clone(),
            instance: instance.to_owned(),
            filters: filters.to_owned(),
            named: false,
            due: None,
        }
    }

    /// A baseline counts since `date`, and its row is durable: a list that the file does not name yet is
    /// named at once, so that a loss before the first complete sweep is no first look either.
    pub(crate) async fn began(&mut self, date: Timestamp) {
        if self.named {
            return;
        }
        let Self {
            sightings,
            instance,
            filters,
            ..
        } = self;
        if sightings.is_new(instance, filters).await {
            sightings.note(instance, filters, date).await;
        }
        self.named = true;
    }

    /// A full sweep that began at `until` is complete, and all that it told is in the outbox.
    pub(crate) fn swept(&mut self, until: Timestamp, outbox: &Outbox) {
        self.due = Some((until, outbox.next()));
    }

    /// Writes the end of the last sweep once all that it told is on the log.
    pub(crate) async fn settle(&mut self, outbox: &Outbox) -> Result<(), Error> {
        let Some((until, next)) = self.due else {
            return Ok(());
        };
        if outbox.has_older_than(next).await? {
            return Ok(());
        }
        self.due = None;
        let (instance, filters) = (&self.instance, &self.filters);
        self.sightings.note(instance, filters, until).await;
        Ok(())
    }
}

impl Known {
    fn on_disk(&self) -> OnDisk {
        let seen = |((instance, filters), until): (&(String, String), &Timestamp)| Seen {
            instance: instance.clone(),
            filters: filters.clone(),
            until: *until,
        };
        OnDisk {
            v: VERSION,
            lost_at: self.lost_at,
            seen: self.until.iter().map(seen).collect(),
        }
    }
}

/// The outer error is the disk's, the inner one says what is wrong with the file.
fn read(path: &Path) -> io::Result<Result<Known, String>> {
    let bytes = match std::fs::metadata(path) {
        Ok(file) if file.len() > LIMIT_BYTES => return Ok(Err("it is too large".to_owned())),
        Ok(_) => std::fs::read(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(Known::default())),
        Err(error) => return Err(error),
    };
    let on_disk: OnDisk = match serde_json::from_slice(&bytes) {
        Ok(on_disk) => on_disk,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if on_disk.v > VERSION {
        return Ok(Err(format!("it has version {}", on_disk.v)));
    }
    let until = on_disk
        .seen
        .into_iter()
        .map(|seen| ((seen.instance, seen.filters), seen.until));
    Ok(Ok(Known {
        until: until.collect(),
        lost_at: on_disk.lost_at,
        unsaved: false,
    }))
}

fn aside(path: &Path, now: Timestamp) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(now.strftime(".corrupt-%Y%m%dT%H%M%S%fZ").to_string());
    PathBuf::from(name)
}

fn write(path: &Path, known: &Known) -> io::Result<()> {
    put(path, &known.on_disk())
}

/// The file is there whole, as it was or as it shall be, whenever the machine stops.
fn put(path: &Path, on_disk: &OnDisk) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(on_disk)?)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test]
    async fn what_was_noted_is_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.json");
        let sightings = Sightings::open(&path, None).unwrap();
        assert!(sightings.is_new("cri-a", "f").await);
        sightings.note("cri-a", "f", at(10)).await;
        sightings.note("cri-b", "f", at(20)).await;
        sightings.note("cri-a", "f", at(30)).await;
        let again = Sightings::open(&path, None).unwrap();
        let before = |instance: &'static str, filters: &'static str| {
            let again = again.clone();
            async move { again.before(instance, filters, at(40)).await }
        };
        assert_eq!(before("cri-a", "f").await, Before::Until(at(30)));
        assert_eq!(before("cri-b", "f").await, Before::Until(at(20)));
        assert_eq!(before("cri-a", "other").await, Before::Nothing);
        assert!(!again.is_new("cri-a", "f").await);
    }

    #[tokio::test]
    async fn after_a_loss_what_is_not_named_is_unknown_for_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.json");
        drop(Sightings::open(&path, Some(at(0))).unwrap());
        let sightings = Sightings::open(&path, None).unwrap();
        let day = 24 * 60 * 60;
        let before = sightings.before("cri-a", "f", at(day - 1)).await;
        assert_eq!(before, Before::Unknown);
        let later = sightings.before("cri-a", "f", at(day)).await;
        assert_eq!(later, Before::Nothing);
    }

    #[tokio::test]
    async fn a_damaged_file_is_kept_under_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seen.json");
        std::fs::write(&path, b"{\"v\":1,\"seen\":[{").unwrap();
        let sightings = Sightings::open(&path, None).unwrap();
        let before = sightings.before("cri-a", "f", Timestamp::now()).await;
        assert_eq!(before, Before::Unknown);
        let names = std::fs::read_dir(dir.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(
            names
                .into_iter()
                .any(|name| name.starts_with("seen.json.corrupt-"))
        );
    }
}
