//! The one producer of a process, and how it is made anew.
//!
//! In: records. Out: `Ok` once all of an append are acknowledged by all in-sync replicas. Must never
//! happen: a record written behind a gap. A producer that failed once for good is not used again: what
//! it still holds is dropped, its callers hear of it and send again from their oldest record.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

use super::context::{Context, Told};
use super::delivering::Delivering;
use super::options::KafkaOptions;
use super::{LetGo, properties};
use crate::{Error, Record};

/// Between looks whether librdkafka's queue has room again.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(5);

type Client = LetGo<ThreadedProducer<Context>>;

/// The producer, or the place where the next one will stand.
pub(super) struct Producer {
    options: Arc<KafkaOptions>,
    told: Arc<Told>,
    current: Mutex<Option<Arc<Client>>>,
}

impl Producer {
    /// Makes the first client: settings that librdkafka does not take are refused here.
    pub(super) fn try_new(options: Arc<KafkaOptions>, told: Arc<Told>) -> Result<Producer, Error> {
        let producer = Producer {
            options,
            told,
            current: Mutex::new(None),
        };
        producer.client()?;
        Ok(producer)
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<Arc<Client>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self) -> Result<Arc<Client>, Error> {
        let mut current = self.current();
        if let Some(client) = &*current {
            return Ok(client.clone());
        }
        let config = properties::producer(&self.options)?;
        let made = config.create_with_context(Context::new(&self.told, "producer"));
        let made: ThreadedProducer<Context> = made.map_err(|error| super::unusable(&error))?;
        let client = Arc::new(LetGo::new("producer", made));
        *current = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Appends `records` to `topic`, in order.
    pub(super) async fn append(&self, topic: &str, records: &[Record]) -> Result<(), Error> {
        let client = self.client()?;
        let append = Delivering::of(records.len());
        let mut handed = 0;
        let mut refused = None;
        for record in records {
            match hand_over(&client, topic, record, &append).await {
                Ok(()) => handed += 1,
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        append.many_done(records.len() - handed + 1, refused);
        let Err(error) = append.wait().await else {
            self.told.troubles.clear();
            return Ok(());
        };
        self.replace(&client);
        let fatal = client.client().fatal_error().map(|(_, reason)| reason);
        let what = format!("{topic} took not all of {} records", records.len());
        let mut what = self.told.troubles.explain(&what, Some(&error));
        if let Some(reason) = fatal {
            what = format!("{what} ({reason})");
        }
        Err(Error::Unavailable { what })
    }

    /// What failed once may have left a gap behind which nothing may be written.
    fn replace(&self, client: &Arc<Client>) {
        let mut current = self.current();
        if current.as_ref().is_some_and(|now| Arc::ptr_eq(now, client)) {
            tracing::warn!("the Kafka producer failed: it is made anew");
            *current = None;
        }
    }

    /// Waits at most `patience` until nothing is under way, and lets go of the client. Blocking.
    pub(super) fn finish(&self, patience: Duration) {
        let Some(client) = self.current().take() else {
            return;
        };
        if let Err(error) = client.flush(patience) {
            tracing::warn!(%error, "Kafka did not acknowledge everything before the end");
        }
    }
}

/// Gives one record to librdkafka, which copies it. Waits while its queue is full.
async fn hand_over(
    client: &Client,
    topic: &str,
    record: &Record,
    append: &Arc<Delivering>,
) -> Result<(), KafkaError> {
    loop {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        let sent = BaseRecord::with_opaque_to(topic, Arc::clone(append))
            .key(&record.key)
            .payload(&record.value)
            .headers(headers);
        match client.send(sent) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                tokio::time::sleep(FULL_QUEUE_PAUSE).await;
            }
            Err((error, _)) => return Err(error),
        }
    }
}
