//! The services that run on this machine, for the commands that ask one: who answers where.
//!
//! In: addresses of the configuration, or one given by hand. Out: the service that was looked for. What
//! else listens at such an address is no service, and is passed over.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use axum::routing::get;
use axum::{Json, Router};
use clap::Args;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use syncbell_config::{Config, Part};

use crate::exit::Failure;
use crate::run::load;
use crate::start::Services;

/// How long a connection to a service on this machine may take, what it says of itself, and an answer.
const CONNECT: Duration = Duration::from_secs(5);
const INTRODUCTION: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);

/// Which service is asked.
#[derive(Debug, Args)]
pub(crate) struct File {
    /// The configuration of the service
    #[arg(short, long, value_name = "FILE", default_value = "syncbell.yaml")]
    config: PathBuf,
    /// Ask this address instead of the configuration's
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
}

/// Who can answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    /// Only a notifier has incidents and deliveries.
    Notifier,
    /// Only a poller has tasks.
    Poller,
    /// Every service has the event log.
    Any,
}

/// A service that runs.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    http: reqwest::Client,
}

/// `GET /service`: what a process is, for [`find`].
pub(crate) fn api(services: Services) -> Router {
    let said = json!({"services": services.names(), "version": env!("CARGO_PKG_VERSION")});
    Router::new().route("/service", get(|| async { Json(said) }))
}

impl File {
    /// The configuration, unless an address was given.
    pub(crate) fn config(&self) -> anyhow::Result<Option<Config>> {
        match self.admin {
            Some(_) => Ok(None),
            None => load(&self.config, Part::Bus).map(Some),
        }
    }

    /// The file itself.
    pub(crate) fn path(&self) -> &Path {
        &self.config
    }

    /// Where to ask: `run` and the poller have the first address of a configuration, the notifier the
    /// second.
    pub(crate) fn addresses(&self, config: Option<&Config>) -> Vec<SocketAddr> {
        let configured = config.map(|config| [config.admin.listen, config.admin.notifier_listen]);
        let asked = self.admin.into_iter();
        asked.chain(configured.into_iter().flatten()).collect()
    }
}

impl Who {
    /// That nobody was found, for people.
    pub(crate) fn missing(self, addresses: &[SocketAddr]) -> String {
        let who = match self {
            Self::Notifier => "no notifier",
            Self::Poller => "no poller",
            Self::Any => "no service",
        };
        let places: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        format!("{who} answers at {}", places.join(" or "))
    }

    fn is(self, services: &Value) -> bool {
        let services = services.as_array().map_or(&[][..], Vec::as_slice);
        let has = |wanted: &str| services.iter().any(|name| name == wanted);
        match self {
            Self::Notifier => has("notifier"),
            Self::Poller => has("poller"),
            Self::Any => !services.is_empty(),
        }
    }
}

/// The first of `addresses` at which `who` answers.
pub(crate) async fn find(who: Who, addresses: &[SocketAddr]) -> anyhow::Result<Option<Service>> {
    let client = reqwest::Client::builder().no_proxy();
    let http = client.connect_timeout(CONNECT).build()?;
    for address in addresses {
        let asked = http.get(format!("http://{address}/api/v1/service"));
        let answer = match asked.timeout(INTRODUCTION).send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => continue,
            Err(error) => {
                let what = format!("what listens at {address} does not answer");
                return Err(error).context(what).context(Failure::Unavailable);
            }
        };
        let said: Value = answer.json().await.unwrap_or_default();
        if who.is(&said["services"]) {
            let address = *address;
            return Ok(Some(Service { address, http }));
        }
    }
    Ok(None)
}

/// `text` as one part of a path, whatever stands in it.
pub(crate) fn segment(text: &str) -> String {
    let mut url = reqwest::Url::parse("http://localhost").expect("it is a URL");
    if let Ok(mut path) = url.path_segments_mut() {
        path.clear().push(text);
    }
    url.path().trim_start_matches('/').to_owned()
}

impl Service {
    /// The answer to `method` on `path` (with its query) below `/api/v1`.
    pub(crate) async fn ask(&self, method: &str, path: &str) -> anyhow::Result<Value> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let request = self.http.request(method.parse()?, url).timeout(ANSWER);
        let answer = self.accepted(request).await?;
        answer
            .json()
            .await
            .context("the service's answer is not JSON")
    }

    /// The answer to `POST` of `body` on `path` below `/api/v1`.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: &Value,
        patience: Duration,
    ) -> anyhow::Result<Value> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let request = self.http.post(url).timeout(patience);
        let json = (reqwest::header::CONTENT_TYPE, "application/json");
        let request = request.header(json.0, json.1).body(body.to_string());
        let answer = self.accepted(request).await?;
        answer
            .json()
            .await
            .context("the service's answer is not JSON")
    }

    /// The answer to `GET` on `path` below `/api/v1`.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        let request = self.request(path, query)?.timeout(ANSWER);
        let answer = self.accepted(request).await?;
        answer
            .json()
            .await
            .context("the service's answer is not JSON")
    }

    /// An answer that may have no end.
    pub(crate) async fn stream(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<Response> {
        self.accepted(self.request(path, query)?).await
    }

    fn request(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<reqwest::RequestBuilder> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let mut url: reqwest::Url = url.parse()?;
        url.query_pairs_mut().extend_pairs(query);
        Ok(self.http.request(Method::GET, url))
    }

    async fn accepted(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Response> {
        let answer = request.send().await.context(Failure::Unavailable)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let said: Value = answer.json().await.unwrap_or_default();
        let words = said["error"].as_str().unwrap_or("the service refused");
        if status == reqwest::StatusCode::SERVICE_UNAVAILABLE {
            return Err(anyhow!("{words}")).context(Failure::Unavailable);
        }
        bail!("{words}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_part_of_the_path_whatever_is_in_it() {
        assert_eq!(segment("rst-1"), "rst-1");
        assert_eq!(segment("a/b?c#d e%"), "a%2Fb%3Fc%23d%20e%25");
        assert_eq!(segment(".."), "");
    }
}
