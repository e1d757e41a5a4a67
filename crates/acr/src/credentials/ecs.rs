//! The RAM role of the virtual machine, from the metadata service: v2, whose answers want a token, and
//! where that does not work v1 without.

use std::sync::Arc;

use reqwest::RequestBuilder;
use secrecy::{ExposeSecret as _, SecretString};

use super::issued::{ANSWER_LIMIT_BYTES, Issued, Source, issued, object, text};
use super::refreshing::Refreshing;
use super::surroundings::Surroundings;
use super::{BoxFuture, CredentialsProvider, down, fault};
use crate::Error;
use crate::transport;

const STEP: &str = "ecs role";
const TOKEN: &str = "latest/api/token";
const ROLES: &str = "latest/meta-data/ram/security-credentials/";
const TOKEN_HEADER: &str = "X-aliyun-ecs-metadata-token";
const LIFE_HEADER: &str = "X-aliyun-ecs-metadata-token-ttl-seconds";

/// As long as the vendor's SDKs ask for; ours is used at once and asked for anew at each refresh.
const LIFE_SECONDS: &str = "21600";

/// Names the role, which saves a question.
pub(super) const ECS_METADATA: &str = "ALIBABA_CLOUD_ECS_METADATA";

/// Switches this off wherever it is named, as in the vendor's Go SDK.
const OFF: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";

pub(super) struct EcsRole {
    surroundings: Surroundings,
    http: reqwest::Client,
    /// Asked for if not given.
    name: Option<String>,
}

impl EcsRole {
    pub(super) fn new(surroundings: &Surroundings, name: Option<String>) -> Result<Self, Error> {
        if surroundings.is_on(OFF) {
            return Err(fault(STEP, format!("switched off by {OFF}")));
        }
        let name = name.or_else(|| surroundings.variable(ECS_METADATA));
        Ok(Self {
            http: surroundings.metadata_client()?,
            surroundings: surroundings.clone(),
            name,
        })
    }

    async fn issue(&self) -> Result<Issued, Error> {
        let is_v1_allowed = !self.surroundings.is_on("ALIBABA_CLOUD_IMDSV1_DISABLED");
        let token = match self.token().await {
            Ok(token) => Some(token),
            Err(_) if is_v1_allowed => None,
            Err(error) => return Err(error),
        };
        let role = match &self.name {
            Some(name) => name.clone(),
            None => self.role(token.as_ref(), is_v1_allowed).await?,
        };
        let path = format!("{ROLES}{}", crate::sign::encode(&role));
        let body = self.get(&path, token.as_ref(), is_v1_allowed).await?;
        let answer = object(STEP, &body)?;
        match text(&answer, "Code").as_deref() {
            Some("Success") => issued(STEP, &answer),
            _ => Err(fault(
                STEP,
                format!("the role {role}: the answer's Code is not Success"),
            )),
        }
    }

    async fn token(&self) -> Result<SecretString, Error> {
        let asked = self.http.put(self.url(TOKEN)?);
        let body = self.answer(asked.header(LIFE_HEADER, LIFE_SECONDS)).await?;
        let token = String::from_utf8(body).unwrap_or_default();
        match token.trim() {
            "" => Err(fault(STEP, "the metadata service gave no token")),
            token => Ok(token.to_owned().into()),
        }
    }

    async fn role(
        &self,
        token: Option<&SecretString>,
        is_v1_allowed: bool,
    ) -> Result<String, Error> {
        let body = self.get(ROLES, token, is_v1_allowed).await?;
        let text = String::from_utf8(body).unwrap_or_default();
        let role = text.lines().map(str::trim).find(|line| !line.is_empty());
        match role {
            Some(role) if role.len() <= 64 && role.chars().all(is_role) => Ok(role.to_owned()),
            Some(_) => Err(fault(STEP, "the metadata service names no role")),
            None => Err(fault(STEP, "the machine has no role")),
        }
    }

    /// With the token; if that does not work, without.
    async fn get(
        &self,
        path: &str,
        token: Option<&SecretString>,
        is_v1_allowed: bool,
    ) -> Result<Vec<u8>, Error> {
        let url = self.url(path)?;
        if let Some(token) = token {
            let mut value = reqwest::header::HeaderValue::from_str(token.expose_secret())
                .map_err(|_| fault(STEP, "the metadata service's token is no token"))?;
            value.set_sensitive(true);
            let asked = self.http.get(url.clone()).header(TOKEN_HEADER, value);
            match self.answer(asked).await {
                Err(_) if is_v1_allowed => {}
                answered => return answered,
            }
        }
        self.answer(self.http.get(url)).await
    }

    async fn answer(&self, asked: RequestBuilder) -> Result<Vec<u8>, Error> {
        let host = &self.surroundings.metadata;
        let host = host.host_str().unwrap_or_default();
        // Not why: on most machines there is none, and that is all there is to say.
        let unreached = |_| down(STEP, format!("no metadata service at {host}"));
        let mut answer = asked.send().await.map_err(unreached)?;
        let status = answer.status().as_u16();
        let said = |what: &str| format!("the metadata service: HTTP {status}{what}");
        let body = transport::body(&mut answer, ANSWER_LIMIT_BYTES).await;
        let body = body.map_err(|_| down(STEP, said(": the answer is cut off or too large")))?;
        match status {
            200 => Ok(body),
            500.. => Err(down(STEP, said(""))),
            _ => Err(fault(STEP, said(""))),
        }
    }

    fn url(&self, path: &str) -> Result<url::Url, Error> {
        let url = self.surroundings.metadata.join(path);
        url.map_err(|_| fault(STEP, "the role's name cannot be part of a URL"))
    }
}

/// RAM's own rule for the names of roles is narrower.
fn is_role(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.@".contains(c)
}

impl Surroundings {
    /// The credentials of the machine's RAM role; `name` saves a question.
    pub fn ecs_role(&self, name: Option<String>) -> Result<Arc<dyn CredentialsProvider>, Error> {
        Ok(Arc::new(Refreshing::new(EcsRole::new(self, name)?)))
    }
}

impl Source for EcsRole {
    fn fetch(&self) -> BoxFuture<'_, Result<Issued, Error>> {
        Box::pin(self.issue())
    }

    fn name(&self) -> &'static str {
        STEP
    }
}
