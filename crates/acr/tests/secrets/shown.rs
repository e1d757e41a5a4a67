//! Secrets that can be searched for, and what was printed and logged.

use std::fmt::{Debug, Display};
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use syncbell_acr::Error;
use tracing_subscriber::EnvFilter;

/// In every secret, and not changed by any encoding.
pub(crate) const MARK: &str = "S3NTINEL";

/// A secret with characters that encodings change.
pub(crate) fn secret(name: &str) -> String {
    format!("{MARK}+{name}/ *~=")
}

/// One that a header can carry at its end too, and a URL.
pub(crate) fn token(name: &str) -> String {
    format!("{MARK}+{name}/*~=")
}

/// What our crate and the HTTP libraries log, all of it.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut log = self.0.lock().expect("nobody panics with it");
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Set up once for all tests of this binary.
pub(crate) fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let writer = log.clone();
        let crates = [
            "syncbell_acr",
            "reqwest",
            "hyper",
            "hyper_util",
            "h2",
            "rustls",
        ];
        let filter = crates.map(|name| format!("{name}=trace")).join(",");
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        log
    })
}

/// What was printed.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) texts: Vec<String>,
    pub(crate) n_well: usize,
    pub(crate) n_failed: usize,
}

impl Shown {
    pub(crate) fn show(&mut self, value: &(impl Debug + ?Sized)) {
        self.texts.push(format!("{value:?} {value:#?}"));
    }

    pub(crate) fn error(&mut self, error: &(impl Debug + Display)) {
        self.show(error);
        self.texts.push(error.to_string());
    }

    pub(crate) fn answer<T: Debug>(&mut self, answer: &Result<T, Error>) {
        match answer {
            Ok(value) => {
                self.n_well += 1;
                self.show(value);
            }
            Err(error) => {
                self.n_failed += 1;
                self.error(error);
            }
        }
    }

    /// Asserts that there was something, and no secret, also in the log. `words` are in the log.
    pub(crate) fn is_clean(&self, words: &[&str]) {
        let log = log().0.lock().expect("nobody panics with it").clone();
        let log = String::from_utf8(log).expect("text");
        for text in self.texts.iter().chain([&log]) {
            let leak = text.lines().find(|line| line.contains(MARK));
            assert_eq!(leak, None);
        }
        assert!(!self.texts.is_empty() && !log.is_empty());
        for word in words {
            assert!(log.contains(word), "{word} is not in the log");
        }
    }
}
