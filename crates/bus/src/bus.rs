//! The handle from which publishers and subscribers are made. It chooses the backend once; behind
//! it no caller can tell which one it is.

use std::path::Path;
use std::sync::Arc;

use crate::embedded::{EmbeddedLog, EmbeddedOptions};
use crate::kafka::{ClientStatistics, KafkaLog, KafkaOptions};
use crate::{Bounds, Error, Next, Position, Publisher, Read, Stream, Subscriber};

/// A log, open. Cheap to clone; the log is closed by [`Bus::close`], or when the last handle,
/// publisher and subscriber of it is gone.
#[derive(Clone, Debug)]
pub struct Bus {
    backend: Backend,
}

#[derive(Clone, Debug)]
enum Backend {
    Embedded(Arc<EmbeddedLog>),
    Kafka(Arc<KafkaLog>),
}

/// Where a new reader starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest record that is held.
    Start,
    /// At this position of its own ledger; partitions it does not name, at their start.
    At(Next),
}

impl Bus {
    /// Opens the log of segment files in `dir` (made when missing), takes its lock, and cuts what a
    /// crash left unfinished at its end. Blocking: call it before the runtime is busy, or on a
    /// blocking thread.
    pub fn embedded(dir: &Path, options: EmbeddedOptions) -> Result<Bus, Error> {
        let log = EmbeddedLog::open(dir, options)?;
        Ok(Bus {
            backend: Backend::Embedded(Arc::new(log)),
        })
    }

    /// The log on a Kafka cluster. Returns at once, whether a broker is there or not: `ready` of the
    /// publisher says that. [`Error::Options`] where a setting cannot be used.
    ///
    /// Topics are made when they are missing, and looked at, before the first use. Must be called on a
    /// runtime.
    pub fn kafka(options: KafkaOptions) -> Result<Bus, Error> {
        let log = KafkaLog::try_new(options)?;
        Ok(Bus {
            backend: Backend::Kafka(Arc::new(log)),
        })
    }

    /// The writing side.
    pub fn publisher(&self) -> Arc<dyn Publisher> {
        match &self.backend {
            Backend::Embedded(log) => log.clone(),
            Backend::Kafka(log) => log.clone(),
        }
    }

    /// A new reader of `stream`. [`Error::OutOfRange`] when `from` lies before what is held or
    /// beyond its end: the caller decides where to start instead.
    pub async fn subscribe(
        &self,
        stream: Stream,
        from: StartAt,
    ) -> Result<Box<dyn Subscriber>, Error> {
        match &self.backend {
            Backend::Embedded(log) => log
                .subscribe(stream, &from)
                .map(|reader| Box::new(reader) as Box<dyn Subscriber>),
            Backend::Kafka(log) => {
                let reader = log.subscribe(stream, from).await?;
                Ok(Box::new(reader))
            }
        }
    }

    /// The record at `position`, or `None` where none is held. For checking that the log still has
    /// the record a reader remembers.
    pub async fn read_at(&self, stream: Stream, position: Position) -> Result<Option<Read>, Error> {
        match &self.backend {
            Backend::Embedded(log) => log.read_at(stream, position).await,
            Backend::Kafka(log) => log.read_at(stream, position).await,
        }
    }

    /// What `stream` holds now.
    pub async fn bounds(&self, stream: Stream) -> Result<Bounds, Error> {
        match &self.backend {
            Backend::Embedded(log) => log.bounds(stream),
            Backend::Kafka(log) => log.bounds(stream).await,
        }
    }

    /// What all streams take on this machine's disk, in bytes.
    pub fn size_bytes(&self) -> Result<u64, Error> {
        match &self.backend {
            Backend::Embedded(log) => log.size_bytes(),
            Backend::Kafka(_) => Ok(0),
        }
    }

    /// How the clients of a Kafka cluster stand; empty on the embedded log, and for the first 15 s.
    pub fn statistics(&self) -> Vec<ClientStatistics> {
        match &self.backend {
            Backend::Embedded(_) => Vec::new(),
            Backend::Kafka(log) => log.statistics(),
        }
    }

    /// Finishes the appends that were asked for, stops, and releases the lock. Every later call, on
    /// publishers and subscribers too, is [`Error::Closed`]. Closing twice is fine.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Embedded(log) => log.close().await,
            Backend::Kafka(log) => log.close().await,
        }
    }
}
