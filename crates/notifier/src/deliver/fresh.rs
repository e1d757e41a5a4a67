//! Secrets that may change while the program runs: one that stands in a file is read again now and then.
//!
//! In: what the configuration has of it, and how its text is understood. Out: its value. Must never happen: a value
//! that is lost because a file cannot be read; a read for each request; a secret in the log.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use syncbell_config::{LiveSecret, Secret, http_url, read_secret};
use tokio::time::Instant;
use url::Url;

use super::setup::SetupError;

/// A file is read at most so often.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A disk that hangs must not hold up an attempt for longer.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// How a text is understood; the error is for people and does not hold it.
type Parse<T> = Box<dyn Fn(&str) -> Result<T, String> + Send + Sync>;

/// A secret as it is now.
pub(super) struct Fresh<T> {
    file: Option<PathBuf>,
    parse: Parse<T>,
    /// Somebody looks into the file: one thread at a time may hang there.
    looking: Arc<AtomicBool>,
    state: Mutex<State<T>>,
}

struct State<T> {
    text: Secret<String>,
    value: Arc<T>,
    look_at: Instant,
    /// What was said of it last, to say it once.
    trouble: Option<String>,
}

/// A URL that is `known` now. From http to https or back it does not change: connections of the other kind would not
/// know whom to trust.
pub(super) fn url(secret: &LiveSecret, known: &Url) -> Result<Fresh<Url>, SetupError> {
    let has_tls = known.scheme() == "https";
    Fresh::try_new(secret, move |text| match http_url(text)? {
        url if (url.scheme() == "https") == has_tls => Ok(url),
        _ => Err("from http to https or back needs a restart".to_owned()),
    })
}

impl<T> Fresh<T> {
    /// As it was at the start. The error says what is wrong with its text.
    pub(super) fn try_new(
        secret: &LiveSecret,
        parse: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, SetupError> {
        let value = parse(secret.text().expose()).map_err(SetupError::unusable)?;
        Ok(Self {
            file: secret.file().map(PathBuf::from),
            parse: Box::new(parse),
            looking: Arc::default(),
            state: Mutex::new(State {
                text: secret.text().clone(),
                value: Arc::new(value),
                look_at: Instant::now() + LOOK_EVERY,
                trouble: None,
            }),
        })
    }

    /// Its value. Where it is time to look into the file, the first who asks looks; the others go on with what is
    /// known.
    pub(super) async fn now(&self) -> Arc<T> {
        let Some(file) = &self.file else {
            return self.known();
        };
        let mine = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let mine =
                Instant::now() >= state.look_at && !self.looking.swap(true, Ordering::AcqRel);
            if mine {
                state.look_at = Instant::now() + LOOK_EVERY;
            }
            mine
        };
        if mine {
            let (path, looking) = (file.clone(), self.looking.clone());
            let reading = tokio::task::spawn_blocking(move || {
                let read = read_secret(&path);
                looking.store(false, Ordering::Release);
                read
            });
            let read = match tokio::time::timeout(LOOK_LIMIT, reading).await {
                Ok(read) => read.unwrap_or_else(|_| Err("reading it panicked".to_owned())),
                Err(_) => Err(format!("it is not read within {LOOK_LIMIT:?}")),
            };
            self.take(read);
        }
        self.known()
    }

    /// Its value, as far as is known.
    pub(super) fn known(&self) -> Arc<T> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.value.clone()
    }

    /// The next who asks looks into the file.
    #[cfg(test)]
    pub(super) fn look_again(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.look_at = Instant::now();
    }

    fn take(&self, read: Result<Secret<String>, String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let understood = match read {
            Ok(text) if text == state.text => Ok(None),
            Ok(text) => (self.parse)(text.expose()).map(|value| Some((text, value))),
            Err(trouble) => Err(trouble),
        };
        let file = self.file.as_deref().unwrap_or(std::path::Path::new(""));
        match understood {
            Ok(changed) => {
                if let Some((text, value)) = changed {
                    tracing::info!(file = %file.display(), "a secret changed");
                    (state.text, state.value) = (text, Arc::new(value));
                } else if state.trouble.is_some() {
                    tracing::info!(file = %file.display(), "a secret can be read again");
                }
                state.trouble = None;
            }
            Err(trouble) if state.trouble.as_ref() == Some(&trouble) => {}
            Err(trouble) => {
                tracing::error!(
                    file = %file.display(), why = trouble,
                    "a secret cannot be used as its file has it: the one before stays in use"
                );
                state.trouble = Some(trouble);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u32, String> {
        text.parse().map_err(|_| "expected a number".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_looked_into_now_and_then_and_what_cannot_be_used_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("1\n");
        let fresh = Fresh::try_new(&LiveSecret::of_file("1", &path), number).unwrap();
        write("2\n");
        assert_eq!(*fresh.now().await, 1, "it was read a moment ago");
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(*fresh.now().await, 2);

        for wrong in ["no number", ""] {
            write(wrong);
            tokio::time::advance(LOOK_EVERY).await;
            assert_eq!(*fresh.now().await, 2, "{wrong}");
        }
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(*fresh.now().await, 2);
        let said = fresh.state.lock().unwrap().trouble.clone().unwrap();
        assert!(said.contains("cannot read"), "{said}");

        // As Kubernetes does it: a new file under the same name.
        let next = folder.path().join("next");
        std::fs::write(&next, "3").unwrap();
        std::fs::rename(&next, &path).unwrap();
        assert_eq!(*fresh.now().await, 2, "it is not read for each request");
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(*fresh.now().await, 3);
        assert!(fresh.state.lock().unwrap().trouble.is_none());
    }

    #[tokio::test]
    async fn a_file_that_hangs_is_given_up_and_holds_one_thread() {
        let folder = tempfile::tempdir().unwrap();
        // Nobody ever writes into it: opening it waits for ever.
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let fresh = Fresh::try_new(&LiveSecret::of_file("1", &path), number).unwrap();
        for _ in 0..2 {
            fresh.look_again();
            assert_eq!(*fresh.now().await, 1);
            let trouble = fresh.state.lock().unwrap().trouble.clone();
            assert!(trouble.unwrap().contains("not read within 2s"));
            assert!(fresh.looking.load(Ordering::Acquire));
        }
        // It ends, so that the runtime can: somebody writes.
        std::fs::write(&path, "2").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_in_no_file_stays() {
        let fresh = Fresh::try_new(&LiveSecret::fixed("7"), number).unwrap();
        tokio::time::advance(LOOK_EVERY * 2).await;
        assert_eq!(*fresh.now().await, 7);
        assert!(Fresh::try_new(&LiveSecret::fixed("x"), number).is_err());
    }
}
