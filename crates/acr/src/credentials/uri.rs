//! A credentials URI: a local service that answers with credentials.

use std::sync::Arc;

use url::Url;

use super::issued::{ANSWER_LIMIT_BYTES, Issued, Source, issued, object, text};
use super::refreshing::Refreshing;
use super::surroundings::Surroundings;
use super::{BoxFuture, CredentialsProvider, down, fault};
use crate::Error;
use crate::transport;

const STEP: &str = "credentials uri";

pub(super) struct CredentialsUri {
    http: reqwest::Client,
    /// Not shown: such a URI may hold a token of its own.
    uri: Url,
}

impl CredentialsUri {
    pub(super) fn new(surroundings: &Surroundings, uri: Url) -> Result<Self, Error> {
        if !matches!(uri.scheme(), "http" | "https") {
            return Err(fault(STEP, "it is not an http(s) URL"));
        }
        Ok(Self {
            http: surroundings.client(&uri)?,
            uri,
        })
    }

    async fn issue(&self) -> Result<Issued, Error> {
        let host = self.uri.host_str().unwrap_or_default();
        let unreached = |error: reqwest::Error| {
            let why = transport::chain(&error.without_url());
            down(STEP, format!("{host} does not answer: {why}"))
        };
        let sent = self.http.get(self.uri.clone()).send().await;
        let mut answer = sent.map_err(unreached)?;
        let status = answer.status().as_u16();
        let said = |what: &str| format!("{host}: HTTP {status}{what}");
        let body = transport::body(&mut answer, ANSWER_LIMIT_BYTES).await;
        let body = body.map_err(|_| down(STEP, said(": the answer is cut off or too large")))?;
        match status {
            200 => {}
            429 | 500.. => return Err(down(STEP, said(""))),
            _ => return Err(fault(STEP, said(""))),
        }
        let answer = object(STEP, &body)?;
        // Python's SDK demands it, Go's does not look.
        match text(&answer, "Code").as_deref() {
            None | Some("Success") => issued(STEP, &answer),
            Some(_) => Err(fault(STEP, said(": the answer's Code is not Success"))),
        }
    }
}

impl Surroundings {
    /// The credentials that `uri` answers.
    pub fn credentials_uri(&self, uri: Url) -> Result<Arc<dyn CredentialsProvider>, Error> {
        Ok(Arc::new(Refreshing::new(CredentialsUri::new(self, uri)?)))
    }
}

impl Source for CredentialsUri {
    fn fetch(&self) -> BoxFuture<'_, Result<Issued, Error>> {
        Box::pin(self.issue())
    }

    fn name(&self) -> &'static str {
        STEP
    }
}
