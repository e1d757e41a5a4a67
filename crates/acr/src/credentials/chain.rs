//! The vendor's default chain: six places, in the order of its current SDKs.
//!
//! In: [`Surroundings`]. Out: what the first place gives that has something. Must never happen: a place
//! that was only down for a moment replaced for good by one that stands behind it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;
use url::Url;

use super::ecs::{ECS_METADATA, EcsRole};
use super::environment::Environment;
use super::ini::CredentialsFile;
use super::issued::Source;
use super::oidc::Oidc;
use super::profile::Profile;
use super::refreshing::Refreshing;
use super::surroundings::Surroundings;
use super::uri::CredentialsUri;
use super::{BoxFuture, Credentials, CredentialsProvider, fault, said};
use crate::Error;

/// How long all users of a chain that found nothing, or only a stand-in, live with that; doubled each
/// time that it is so again.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// The longest of those.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The default chain.
///
/// The first place that works is kept for the process's life. One exception to the vendor's way: where
/// a place that is set up was only down (STS, a command, a URI), the next is used and the chain is
/// walked anew some seconds later. Otherwise one bad moment of STS at the start would leave a pod with
/// the rights of its node until somebody restarts it.
struct DefaultChain {
    inner: Arc<Inner>,
    /// The walk past a stand-in, which nobody waits for. Ends with us.
    aside: Mutex<JoinSet<()>>,
}

struct Inner {
    surroundings: Surroundings,
    chosen: Mutex<Option<Chosen>>,
    /// Held by the one that walks the chain.
    turn: Arc<tokio::sync::Mutex<Walks>>,
}

#[derive(Clone)]
struct Chosen {
    provider: Arc<dyn CredentialsProvider>,
    /// None: for good.
    until: Option<Instant>,
}

/// What became of the walks so far.
#[derive(Default)]
struct Walks {
    /// That found nothing or a stand-in.
    n_in_vain: u32,
    /// The last one's, if it found nothing: until when it is not tried again.
    failure: Option<(Error, Instant)>,
}

/// What one place said.
enum Step {
    /// It is not set up, or not rightly.
    Absent(Error),
    /// It is set up.
    Here(Arc<dyn CredentialsProvider>),
    /// Only asking tells whether it is there.
    Perhaps(Arc<dyn CredentialsProvider>),
}

impl fmt::Debug for DefaultChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DefaultChain")
    }
}

impl Surroundings {
    /// The vendor's default chain: the environment; OIDC (`ALIBABA_CLOUD_ROLE_ARN`,
    /// `ALIBABA_CLOUD_OIDC_PROVIDER_ARN`, `ALIBABA_CLOUD_OIDC_TOKEN_FILE`); the command line's profile;
    /// the credentials file; the machine's RAM role; `ALIBABA_CLOUD_CREDENTIALS_URI`. With all their
    /// switches.
    pub fn default_chain(&self) -> Arc<dyn CredentialsProvider> {
        let inner = Inner {
            surroundings: self.clone(),
            chosen: Mutex::default(),
            turn: Arc::default(),
        };
        Arc::new(DefaultChain {
            inner: Arc::new(inner),
            aside: Mutex::default(),
        })
    }
}

impl DefaultChain {
    async fn provider(&self) -> Result<Arc<dyn CredentialsProvider>, Error> {
        let inner = &self.inner;
        let now = Instant::now();
        if let Some(chosen) = inner.chosen() {
            if chosen.is_over(now)
                && let Ok(walks) = Arc::clone(&inner.turn).try_lock_owned()
            {
                self.walk_aside(walks);
            }
            return Ok(chosen.provider);
        }
        let mut walks = inner.turn.lock().await;
        if let Some(chosen) = inner.chosen() {
            return Ok(chosen.provider);
        }
        inner.find(&mut walks).await
    }

    /// Walks beside the caller, which goes on with the stand-in.
    fn walk_aside(&self, mut walks: OwnedMutexGuard<Walks>) {
        let inner = Arc::clone(&self.inner);
        let walk = async move {
            // Another may have walked in between.
            if inner
                .chosen()
                .is_some_and(|chosen| chosen.is_over(Instant::now()))
            {
                // A failure leaves the stand-in where it is.
                drop(inner.find(&mut walks).await);
            }
        };
        let mut aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        while aside.try_join_next().is_some() {}
        aside.spawn(walk.in_current_span());
    }
}

impl Chosen {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Inner {
    fn chosen(&self) -> Option<Chosen> {
        let chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        chosen.clone()
    }

    /// Walks the chain, unless that was in vain a moment ago, and keeps what it finds.
    async fn find(&self, walks: &mut Walks) -> Result<Arc<dyn CredentialsProvider>, Error> {
        if let Some((error, until)) = &walks.failure
            && *until > Instant::now()
        {
            return Err(error.clone());
        }
        let found = self.walk().await;
        let until = Instant::now() + pause(walks.n_in_vain);
        walks.n_in_vain = walks.n_in_vain.saturating_add(1);
        match found {
            Ok((provider, is_stand_in)) => {
                walks.failure = None;
                let chosen = Chosen {
                    provider: Arc::clone(&provider),
                    until: is_stand_in.then_some(until),
                };
                *self.chosen.lock().unwrap_or_else(PoisonError::into_inner) = Some(chosen);
                Ok(provider)
            }
            Err(error) => {
                walks.failure = Some((error.clone(), until));
                Err(error)
            }
        }
    }

    /// Asks one place after the other. True: one before it is only down.
    async fn walk(&self) -> Result<(Arc<dyn CredentialsProvider>, bool), Error> {
        let mut clauses = Vec::new();
        let mut is_one_down = false;
        for place in PLACES {
            let (provider, is_set_up) = match place(&self.surroundings) {
                Step::Here(provider) => (provider, true),
                Step::Perhaps(provider) => (provider, false),
                Step::Absent(error) => {
                    clauses.push(said(&error));
                    continue;
                }
            };
            let Err(error) = provider.credentials().await else {
                let name = provider.name();
                if is_one_down {
                    let passed_over = clauses.join("; ");
                    tracing::warn!(provider = name, passed_over, "credentials of a stand-in");
                } else {
                    tracing::info!(provider = name, "credentials found");
                }
                return Ok((provider, is_one_down));
            };
            is_one_down |= is_set_up && matches!(error, Error::Unavailable { .. });
            clauses.push(said(&error));
        }
        let what = clauses.join("; ");
        Err(if is_one_down {
            Error::Unavailable {
                what: format!("credentials: {what}"),
            }
        } else {
            Error::Credentials { what }
        })
    }
}

/// The pause after `n` walks in vain before this one.
fn pause(n: u32) -> Duration {
    let factor = 1u32.checked_shl(n).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

/// Looks whether a place is set up.
type Place = fn(&Surroundings) -> Step;

const PLACES: [Place; 6] = [environment, oidc, profile, credentials_file, ecs_role, uri];

fn refreshing(source: Result<impl Source + 'static, Error>) -> Step {
    match source {
        Ok(source) => Step::Here(Arc::new(Refreshing::new(source))),
        Err(error) => Step::Absent(error),
    }
}

fn absent(step: &str, what: impl fmt::Display) -> Step {
    Step::Absent(fault(step, what))
}

fn environment(surroundings: &Surroundings) -> Step {
    let provider = Environment::within(surroundings.clone());
    Step::Here(Arc::new(provider))
}

fn oidc(surroundings: &Surroundings) -> Step {
    let what = "ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN and \
                ALIBABA_CLOUD_OIDC_TOKEN_FILE are not all set";
    match Oidc::of_variables(surroundings).transpose() {
        Some(oidc) => refreshing(oidc),
        None => absent("oidc", what),
    }
}

fn profile(surroundings: &Surroundings) -> Step {
    let switch = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED";
    if surroundings.is_on(switch) {
        return absent("profile", format!("switched off by {switch}"));
    }
    refreshing(Profile::new(surroundings, None, None))
}

fn credentials_file(surroundings: &Surroundings) -> Step {
    refreshing(Ok(CredentialsFile(surroundings.clone())))
}

/// No metadata service is how one finds out that this is not the vendor's machine.
fn ecs_role(surroundings: &Surroundings) -> Step {
    let is_named = surroundings.variable(ECS_METADATA).is_some();
    match refreshing(EcsRole::new(surroundings, None)) {
        Step::Here(provider) if !is_named => Step::Perhaps(provider),
        step => step,
    }
}

fn uri(surroundings: &Surroundings) -> Step {
    let (step, variable) = ("credentials uri", "ALIBABA_CLOUD_CREDENTIALS_URI");
    let Some(uri) = surroundings.variable(variable) else {
        return absent(step, format!("{variable} is not set"));
    };
    match Url::parse(&uri) {
        Ok(uri) => refreshing(CredentialsUri::new(surroundings, uri)),
        Err(_) => absent(step, format!("{variable} is not a URL")),
    }
}

impl CredentialsProvider for DefaultChain {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, Error>> {
        Box::pin(async {
            let provider = self.provider().await?;
            provider.credentials().await
        })
    }

    fn renew<'a>(
        &'a self,
        refused: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Credentials>, Error>> {
        Box::pin(async move {
            let provider = self.provider().await?;
            provider.renew(refused).await
        })
    }

    fn name(&self) -> &'static str {
        "default chain"
    }
}
