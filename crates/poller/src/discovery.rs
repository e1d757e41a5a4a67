//! Finds the instances of a region that are to be watched, as they come and go.
//!
//! In: a discovery of the configuration, the clock. Out: instances to watch from now on, and to watch no
//! more. Must never happen: an instance that is forgotten because it was once not listed, or because
//! the list could not be read; one that goes, and nobody is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use syncbell_acr::{Client, InstanceInfo, ListInstance};
use syncbell_config::{Instance, Matcher};
use syncbell_event::{Envelope, Source};
use syncbell_service::backoff::jittered;
use syncbell_store::{Batch, Store};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::blind::Blind;
use crate::budget::{Budget, Lane};
use crate::failure::{Failure, Stopped, retry_delay};
use crate::outbox::Outbox;
use crate::row::{decode_row, key_part};

/// Pages of instances that are read.
const PAGES: u32 = 100;

const PAGE_SIZE: u32 = 100;

/// An instance is gone when this many complete lists in a row did not hold it.
const MISSES: u8 = 2;

/// Known instances that are read at the start.
const KNOWN: usize = 10_000;

const VERSION: u8 = 1;

/// An instance that was found: it is watched at once after a restart, whatever the list says then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KnownRow {
    v: u8,
    id: String,
}

/// What a discovery found out.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// Watch it from now on.
    Watch(Box<Instance>),
    /// It is not there any more.
    Gone(String),
}

/// One discovery: one region, one account.
pub(crate) struct Discovery {
    pub(crate) config: syncbell_config::Discovery,
    pub(crate) client: Client,
    pub(crate) budget: Arc<Budget>,
    pub(crate) store: Store,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) blind_after: Duration,
    /// Takes what is found; the poller's own loop.
    pub(crate) found: mpsc::Sender<Found>,
}

impl Discovery {
    /// Runs until `stop`. Fails only with the store.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let stopped = stop.clone();
        tokio::select! {
            biased;
            () = stopped.cancelled() => Ok(()),
            ended = self.look() => match ended {
                Err(Error::Store(syncbell_store::Error::Closed)) if stop.is_cancelled() => Ok(()),
                ended => ended,
            },
        }
    }

    async fn look(self) -> Result<(), Error> {
        let mut known = self.known().await?;
        for id in known.keys() {
            self.tell(Found::Watch(Box::new(self.instance(id)))).await;
        }
        let place = self.config.like.id.clone();
        let after = self.blind_after.max(self.config.every * 2);
        let mut blind = Blind::load(&self.store, &place, after).await?;
        let mut attempt = 0;
        loop {
            let started = Instant::now();
            let next = match self.turn(&mut known, &mut blind).await {
                Ok(()) => {
                    attempt = 0;
                    started + jittered(self.config.every, rand::random())
                }
                Err(Stopped::Failed(failure)) => {
                    let (every, random) = (self.config.every, rand::random());
                    let delay = retry_delay(&failure, every, attempt, random);
                    attempt = u32::saturating_add(attempt, 1);
                    let (region, error) = (self.config.like.region.as_str(), failure.message());
                    tracing::warn!(region, error, "could not look for instances");
                    match self
                        .failing(&mut blind, &failure)
                        .await
                        .map_err(Stopped::from)
                    {
                        // A full disk: what could not be told is told with the next try.
                        Ok(()) | Err(Stopped::Failed(_)) => {}
                        Err(Stopped::Shutdown) => return Ok(()),
                        Err(Stopped::Broken(error)) => return Err(error),
                    }
                    Instant::now() + delay
                }
                Err(Stopped::Shutdown) => return Ok(()),
                Err(Stopped::Broken(error)) => return Err(error),
            };
            tokio::time::sleep_until(next).await;
        }
    }

    /// Looks once, and says what came and went.
    async fn turn(
        &self,
        known: &mut BTreeMap<String, u8>,
        blind: &mut Blind,
    ) -> Result<(), Stopped> {
        let listed = self.list().await?;
        self.recovered(blind).await?;
        Ok(self.compare(known, listed).await?)
    }

    /// All instances that match and run.
    async fn list(&self) -> Result<BTreeSet<String>, syncbell_acr::Error> {
        let mut ids = BTreeSet::new();
        let mut n_read = 0;
        for page_no in 1..=PAGES {
            self.budget.take(Lane::Extra).await;
            let request = ListInstance {
                page_no: Some(page_no),
                page_size: Some(PAGE_SIZE),
                ..ListInstance::default()
            };
            let page = self.client.list_instance(&request).await?;
            n_read += page.n_rows as u64;
            let matching = page
                .instances
                .iter()
                .filter(|info| runs(info) && matches(info, &self.config.matchers));
            ids.extend(matching.map(|info| info.id.clone()));
            let all = page.total_count.is_some_and(|total| n_read >= total);
            let size = page.page_size.unwrap_or(u64::from(PAGE_SIZE));
            if page.n_rows == 0 || all || page.total_count.is_none() && (page.n_rows as u64) < size
            {
                break;
            }
        }
        Ok(ids)
    }

    /// `known`: in how many complete lists in a row each was missing.
    async fn compare(
        &self,
        known: &mut BTreeMap<String, u8>,
        listed: BTreeSet<String>,
    ) -> Result<(), Error> {
        for id in &listed {
            if let Some(misses) = known.get_mut(id) {
                *misses = 0;
                continue;
            }
            let row = KnownRow {
                v: VERSION,
                id: id.clone(),
            };
            let mut batch = Batch::new();
            let json = serde_json::to_vec(&row);
            batch.put(self.key(id), json.expect("it has string keys"));
            self.store.commit(batch).await?;
            // Only now: what could not be written is found again.
            known.insert(id.clone(), 0);
            tracing::info!(
                instance = id,
                region = self.config.like.region,
                "found an instance"
            );
            self.tell(Found::Watch(Box::new(self.instance(id)))).await;
        }
        let missing: Vec<String> = known
            .keys()
            .filter(|id| !listed.contains(*id))
            .cloned()
            .collect();
        for id in missing {
            let misses = known.entry(id.clone()).or_default();
            *misses = misses.saturating_add(1);
            if *misses >= MISSES {
                self.gone(id.clone()).await?;
                known.remove(&id);
            }
        }
        Ok(())
    }

    /// A person took it away, or a permission: both are worth a word, since nothing of it is seen.
    async fn gone(&self, id: String) -> Result<(), Error> {
        let region = self.config.like.region.clone();
        tracing::warn!(
            instance = id,
            region,
            "an instance is gone from the list of instances"
        );
        self.tell(Found::Gone(id.clone())).await;
        let blind = Blind::load(&self.store, &id, self.blind_after).await?;
        let message = "the list of instances does not hold it any more, or not as it is looked for";
        let (failing, mut batch) = blind.tell("gone", message);
        batch.delete(self.key(&id));
        let source = Source {
            region,
            instance: id,
        };
        let envelope = Envelope::failing(&source, Timestamp::now(), failing);
        self.outbox.put(batch, &[envelope]).await
    }

    async fn failing(&self, blind: &mut Blind, failure: &Failure) -> Result<(), Error> {
        if blind.due_at().is_none_or(|due_at| Instant::now() < due_at) {
            return Ok(());
        }
        let (failing, batch) = blind.tell(failure.class(), &failure.message());
        let envelope = Envelope::failing(&self.source(), Timestamp::now(), failing.clone());
        self.outbox.put(batch, &[envelope]).await?;
        blind.set_told(&failing);
        Ok(())
    }

    async fn recovered(&self, blind: &mut Blind) -> Result<(), Error> {
        let now = Timestamp::now();
        if let Some((recovered, batch)) = blind.end() {
            let envelope = Envelope::recovered(&self.source(), now, recovered);
            self.outbox.put(batch, &[envelope]).await?;
        }
        blind.saw(now);
        Ok(())
    }

    async fn known(&self) -> Result<BTreeMap<String, u8>, Error> {
        let rows = self.store.scan(self.key(""), None, KNOWN).await?;
        let known = rows.iter().map(|(key, bytes)| {
            let row = decode_row(key, bytes, |row: &KnownRow| row.v, VERSION)?;
            Ok((row.id, 0))
        });
        known.collect()
    }

    async fn tell(&self, found: Found) {
        // The poller's loop ends only with the process.
        drop(self.found.send(found).await);
    }

    fn instance(&self, id: &str) -> Instance {
        Instance {
            id: id.to_owned(),
            ..self.config.like.clone()
        }
    }

    /// The discovery itself, where its own failures are told.
    fn source(&self) -> Source {
        Source {
            region: self.config.like.region.clone(),
            instance: self.config.like.id.clone(),
        }
    }

    fn key(&self, id: &str) -> Vec<u8> {
        let place = key_part(&self.config.like.id);
        format!("discovered/{place}/{}", key_part(id)).into_bytes()
    }
}

/// Others have no tasks yet, or none any more. Statuses that nobody knows may have.
fn runs(info: &InstanceInfo) -> bool {
    let idle = [
        "PENDING",
        "INIT_ERROR",
        "STARTING",
        "STOPPING",
        "STOPPED",
        "DELETING",
        "DELETED",
    ];
    let status = info.status.as_deref().unwrap_or_default();
    !idle.contains(&status)
}

fn matches(info: &InstanceInfo, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|matcher| {
        let found = match matcher.label.as_str() {
            "id" => Some(&info.id),
            "name" => info.name.as_ref(),
            "status" => info.status.as_ref(),
            "specification" => info.specification.as_ref(),
            "resource_group_id" => info.resource_group_id.as_ref(),
            label => label
                .strip_prefix("tag.")
                .and_then(|key| info.tags.get(key)),
        };
        matcher.holds(found.map_or("", String::as_str))
    })
}

#[cfg(test)]
mod tests {
    use syncbell_config::MatchOp;

    use super::*;

    fn info(name: &str, status: &str) -> InstanceInfo {
        InstanceInfo {
            id: "cri-1".to_owned(),
            name: Some(name.to_owned()),
            status: Some(status.to_owned()),
            specification: None,
            region_id: None,
            resource_group_id: None,
            tags: BTreeMap::from([("env".to_owned(), "prod".to_owned())]),
        }
    }

    fn matcher(label: &str, op: MatchOp, value: &str) -> Matcher {
        Matcher::try_new(label, op, value).unwrap()
    }

    #[test]
    fn an_instance_is_chosen_by_name_and_tag_and_only_while_it_runs() {
        assert!(runs(&info("a", "RUNNING")) && runs(&info("a", "UPGRADING")));
        assert!(!runs(&info("a", "DELETING")));
        let all = [
            matcher("name", MatchOp::Matches, "prod-.*"),
            matcher("tag.env", MatchOp::Equals, "prod"),
            matcher("tag.team", MatchOp::NotEquals, "x"),
        ];
        assert!(matches(&info("prod-1", "RUNNING"), &all));
        assert!(!matches(&info("test-1", "RUNNING"), &all));
        let other = [matcher("tag.env", MatchOp::NotEquals, "prod")];
        assert!(!matches(&info("prod-1", "RUNNING"), &other));
    }
}
