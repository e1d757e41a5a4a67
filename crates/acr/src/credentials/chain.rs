//! The vendor's default chain: six places, in the order of its current SDKs.
//!
//! In: [`Surroundings`]. Out: what the first place gives that has something. Must never happen: a place
//! that was only down for a moment replaced for good by one that stands behind it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::ecs::EcsRole;
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

/// How long all users of a chain that found nothing, or only a stand-in, live with that.
const AGAIN: Duration = Duration::from_secs(10);

/// The default chain.
///
/// The first place that works is kept for the process's life. One exception to the vendor's way: where
/// a place that is set up was only down (STS, a command, a URI), the next is used and the chain is
/// walked anew some seconds later. Otherwise one bad moment of STS at the start would leave a pod with
/// the rights of its node until somebody restarts it.
pub(super) struct DefaultChain {
    surroundings: Surroundings,
    chosen: Mutex<Option<Chosen>>,
    /// Held by the one that walks the chain.
    turn: tokio::sync::Mutex<Option<Failure>>,
}

#[derive(Clone)]
struct Chosen {
    provider: Arc<dyn CredentialsProvider>,
    /// None: for good.
    until: Option<Instant>,
}

struct Failure {
    error: Error,
    until: Instant,
}

/// What one place said.
enum Step {
    /// It is not set up.
    Absent(Error),
    /// It is set up.
    Here(Arc<dyn CredentialsProvider>),
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
        Arc::new(DefaultChain {
            surroundings: self.clone(),
            chosen: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }
}

impl DefaultChain {
    async fn provider(&self) -> Result<(Arc<dyn CredentialsProvider>, Option<Credentials>), Error> {
        if let Some(provider) = self.chosen(Instant::now()) {
            return Ok((provider, None));
        }
        let mut failure = self.turn.lock().await;
        let now = Instant::now();
        if let Some(provider) = self.chosen(now) {
            return Ok((provider, None));
        }
        if let Some(failure) = &*failure
            && failure.until > now
        {
            return Err(failure.error.clone());
        }
        match self.walk().await {
            Ok((chosen, credentials)) => {
                *failure = None;
                let provider = Arc::clone(&chosen.provider);
                *self.chosen.lock().unwrap_or_else(PoisonError::into_inner) = Some(chosen);
                Ok((provider, Some(credentials)))
            }
            Err(error) => {
                let until = Instant::now() + AGAIN;
                *failure = Some(Failure {
                    error: error.clone(),
                    until,
                });
                Err(error)
            }
        }
    }

    fn chosen(&self, now: Instant) -> Option<Arc<dyn CredentialsProvider>> {
        let chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        let chosen = chosen.as_ref()?;
        let holds = chosen.until.is_none_or(|until| until > now);
        holds.then(|| Arc::clone(&chosen.provider))
    }

    /// Asks one place after the other.
    async fn walk(&self) -> Result<(Chosen, Credentials), Error> {
        let mut clauses = Vec::new();
        let mut is_one_down = false;
        for place in PLACES {
            let provider = match place(&self.surroundings) {
                Ok(Step::Here(provider)) => provider,
                Ok(Step::Absent(error)) | Err(error) => {
                    clauses.push(said(&error));
                    continue;
                }
            };
            match provider.credentials().await {
                Ok(credentials) => {
                    let name = provider.name();
                    let until = is_one_down.then(|| Instant::now() + AGAIN);
                    if is_one_down {
                        let passed_over = clauses.join("; ");
                        tracing::warn!(provider = name, passed_over, "credentials of a stand-in");
                    } else {
                        tracing::info!(provider = name, "credentials found");
                    }
                    return Ok((Chosen { provider, until }, credentials));
                }
                Err(error) => {
                    // No metadata service is how one finds out that this is not the vendor's machine.
                    is_one_down |=
                        matches!(error, Error::Unavailable { .. }) && provider.name() != "ecs role";
                    clauses.push(said(&error));
                }
            }
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

/// Looks whether a place is set up. An error is what a place said that is set up wrongly.
type Place = fn(&Surroundings) -> Result<Step, Error>;

const PLACES: [Place; 6] = [environment, oidc, profile, credentials_file, ecs_role, uri];

fn refreshing(source: impl Source + 'static) -> Step {
    Step::Here(Arc::new(Refreshing::new(source)))
}

fn off(step: &str, variable: &str) -> Step {
    Step::Absent(fault(step, format!("switched off by {variable}")))
}

fn environment(surroundings: &Surroundings) -> Result<Step, Error> {
    let provider = Environment::within(surroundings.clone());
    Ok(Step::Here(Arc::new(provider)))
}

fn oidc(surroundings: &Surroundings) -> Result<Step, Error> {
    Ok(match Oidc::of_variables(surroundings)? {
        Some(oidc) => refreshing(oidc),
        None => Step::Absent(fault(
            "oidc",
            "ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN and \
             ALIBABA_CLOUD_OIDC_TOKEN_FILE are not all set",
        )),
    })
}

fn profile(surroundings: &Surroundings) -> Result<Step, Error> {
    let switch = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED";
    if surroundings.is_on(switch) {
        return Ok(off("profile", switch));
    }
    Profile::new(surroundings, None, None).map(refreshing)
}

fn credentials_file(surroundings: &Surroundings) -> Result<Step, Error> {
    Ok(refreshing(CredentialsFile(surroundings.clone())))
}

fn ecs_role(surroundings: &Surroundings) -> Result<Step, Error> {
    let switch = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
    if surroundings.is_on(switch) {
        return Ok(off("ecs role", switch));
    }
    EcsRole::new(surroundings, None).map(refreshing)
}

fn uri(surroundings: &Surroundings) -> Result<Step, Error> {
    let (step, variable) = ("credentials uri", "ALIBABA_CLOUD_CREDENTIALS_URI");
    let Some(uri) = surroundings.variable(variable) else {
        return Ok(Step::Absent(fault(step, format!("{variable} is not set"))));
    };
    match Url::parse(&uri) {
        Ok(uri) if matches!(uri.scheme(), "http" | "https") => {
            CredentialsUri::new(surroundings, uri).map(refreshing)
        }
        _ => Err(fault(step, format!("{variable} is not an http(s) URL"))),
    }
}

impl CredentialsProvider for DefaultChain {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, Error>> {
        Box::pin(async {
            match self.provider().await? {
                (_, Some(credentials)) => Ok(credentials),
                (provider, None) => provider.credentials().await,
            }
        })
    }

    fn renew<'a>(
        &'a self,
        refused: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Credentials>, Error>> {
        Box::pin(async move {
            let (provider, _) = self.provider().await?;
            provider.renew(refused).await
        })
    }

    fn name(&self) -> &'static str {
        "default chain"
    }
}
