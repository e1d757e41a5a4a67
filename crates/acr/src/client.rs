//! One request: signed anew, bounded in time and size, never redirected.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;
use url::{Position, Url};

use crate::Error;
use crate::asked::Asked;
use crate::credentials::{BoxFuture, Credentials, CredentialsProvider};
use crate::fault;
use crate::head::{Head, head};
use crate::instances::{self, InstancePage, ListInstance};
use crate::operation::{
    GET_REPO_SYNC_TASK, LIST_INSTANCE, LIST_REPO_SYNC_RULE, LIST_REPO_SYNC_TASK, Operation,
};
use crate::page::{self, Page};
use crate::request::ListRepoSyncTask;
use crate::sign::{EMPTY_SHA256, Unsigned, is_signed_by_default, sign};
use crate::sync_rules::{self, ListRepoSyncRule, SyncRulePage};
use crate::task_report::{self, TaskReport};
use crate::transport::{self, Unread, Way, chain};

const VERSION: &str = "2018-12-01";

/// The vendor's load balancers close idle connections after 15 s, which is also how often we poll:
/// an older connection could be closed just as we use it.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// How a client asks.
#[derive(Clone)]
pub struct ClientOptions {
    /// Scheme, host and port, nothing else.
    pub endpoint: Url,
    /// For messages.
    pub region: String,
    /// To connect.
    pub connect_timeout: Duration,
    /// For one request in all, its body included.
    pub timeout: Duration,
    /// The largest body that is read.
    pub body_limit_bytes: usize,
    /// An http:// or https:// proxy, with a user and password if it asks for them. Without one, those
    /// of the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`) are used as curl does, but never
    /// for an endpoint on this machine.
    pub proxy: Option<Url>,
    /// Certificates to trust beside the system's, PEM.
    pub ca_pem: Option<Vec<u8>>,
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("endpoint", &self.endpoint.as_str())
            .field("region", &self.region)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("body_limit_bytes", &self.body_limit_bytes)
            // A password may be in it.
            .field("proxy", &self.proxy.as_ref().and_then(Url::host_str))
            .field("ca_pem", &self.ca_pem.is_some())
            .finish()
    }
}

impl ClientOptions {
    /// 5 s to connect, 15 s in all, 8 MiB.
    pub fn new(endpoint: Url, region: impl Into<String>) -> Self {
        Self {
            endpoint,
            region: region.into(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            body_limit_bytes: 8 * 1024 * 1024,
            proxy: None,
            ca_pem: None,
        }
    }

    /// The vendor's endpoint for `region`, by the rule that its SDKs follow:
    /// `https://cr.{region}.aliyuncs.com`, in a VPC `https://cr-vpc.{region}.aliyuncs.com`. None if
    /// `region` cannot be part of a host name. Not every region has both.
    pub fn endpoint_of(region: &str, in_vpc: bool) -> Option<Url> {
        let region = region.trim();
        let host = if in_vpc { "cr-vpc" } else { "cr" };
        is_region(region)
            .then(|| Url::parse(&format!("https://{host}.{region}.aliyuncs.com")).ok())
            .flatten()
    }
}

/// Who decides when a request may go out, beside the caller.
pub trait Gate: Send + Sync {
    /// Returns when the request may be sent: asked right before each sending, after whatever the caller
    /// waited for. `again`: it is a second try within one call, which the caller does not know of.
    fn pass(&self, again: bool) -> BoxFuture<'_, ()>;

    /// The server throttled a request, and asked for `delay`. Told as soon as it is known, once an answer.
    fn throttled(&self, delay: Option<Duration>);
}

/// Asks one endpoint. Cheap to share behind an `Arc`.
pub struct Client {
    http: reqwest::Client,
    options: ClientOptions,
    host: String,
    credentials: Arc<dyn CredentialsProvider>,
    gate: Option<Arc<dyn Gate>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("host", &self.host)
            .field("credentials", &self.credentials.name())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares a client; asks nothing. [`Error::Setup`] if the endpoint is not `http(s)://host[:port]`.
    pub fn new(
        options: ClientOptions,
        credentials: Arc<dyn CredentialsProvider>,
    ) -> Result<Self, Error> {
        check(&options.endpoint)?;
        let way = Way {
            proxy: options.proxy.as_ref(),
            ca_pem: options.ca_pem.as_deref(),
            look_up: &|name| std::env::var(name).ok(),
        };
        let builder = transport::builder(&options.endpoint, way)?
            .connect_timeout(options.connect_timeout)
            .timeout(options.timeout)
            .pool_idle_timeout(IDLE_LIMIT);
        let http = builder.build().map_err(|error| Error::Setup {
            what: chain(&error),
        })?;
        let host = options.endpoint[Position::BeforeHost..Position::AfterPort].to_owned();
        Ok(Self {
            http,
            options,
            host,
            credentials,
            gate: None,
        })
    }

    /// Sends only what `gate` lets pass.
    #[must_use]
    pub fn gated(mut self, gate: Arc<dyn Gate>) -> Self {
        self.gate = Some(gate);
        self
    }

    /// Reads one page of the tasks of an instance.
    pub async fn list_repo_sync_task(&self, request: &ListRepoSyncTask) -> Result<Page, Error> {
        let query = request.query();
        self.call(LIST_REPO_SYNC_TASK, &query, |head, body| {
            page::page(head, body, Timestamp::now())
        })
        .await
    }

    /// Reads one task and how far it came. `None`: the server says that there is no such task.
    pub async fn get_repo_sync_task(
        &self,
        instance_id: &str,
        task_id: &str,
    ) -> Result<Option<TaskReport>, Error> {
        let query = task_report::query(instance_id, task_id);
        self.call(GET_REPO_SYNC_TASK, &query, |head, body| {
            task_report::report(head, &body, task_id, Timestamp::now())
        })
        .await
    }

    /// Reads one page of the instances of the account in this region.
    pub async fn list_instance(&self, request: &ListInstance) -> Result<InstancePage, Error> {
        let query = request.query();
        self.call(LIST_INSTANCE, &query, |head, body| {
            instances::page(head, &body, Timestamp::now())
        })
        .await
    }

    /// Reads one page of the synchronization rules of an instance.
    pub async fn list_repo_sync_rule(
        &self,
        request: &ListRepoSyncRule,
    ) -> Result<SyncRulePage, Error> {
        let query = request.query();
        self.call(LIST_REPO_SYNC_RULE, &query, |head, body| {
            sync_rules::page(head, &body, Timestamp::now())
        })
        .await
    }

    /// Asks, and reads the answer with `decode`. There is one more try at once where that helps: with a new
    /// nonce, or with other credentials if there are some. Every other failure is the caller's to wait
    /// for, see [`Error::retry`].
    async fn call<T>(
        &self,
        operation: Operation,
        query: &[(&'static str, String)],
        decode: impl Fn(&Head, Vec<u8>) -> Result<T, Error> + Send + Sync,
    ) -> Result<T, Error> {
        let credentials = self.credentials.credentials().await?;
        self.pass(false).await;
        let refused = match self.attempt(operation, query, &decode, &credentials).await {
            Err(refused @ Error::Rejected { .. }) => refused,
            answered => return answered,
        };
        let again = match refused.code() {
            "SignatureNonceUsed" => Some(credentials),
            "InvalidSecurityToken.Expired" | "InvalidAccessKeyId.NotFound" => {
                self.credentials.renew(&credentials).await?
            }
            _ => None,
        };
        let Some(credentials) = again else {
            return Err(refused);
        };
        self.pass(true).await;
        self.attempt(operation, query, &decode, &credentials).await
    }

    /// Outside the time for an answer: a pause may be longer. Before the signature: it holds a date.
    async fn pass(&self, again: bool) {
        if let Some(gate) = &self.gate {
            gate.pass(again).await;
        }
    }

    async fn attempt<T>(
        &self,
        operation: Operation,
        query: &[(&'static str, String)],
        decode: &(impl Fn(&Head, Vec<u8>) -> Result<T, Error> + Send + Sync),
        credentials: &Credentials,
    ) -> Result<T, Error> {
        let exchange = self.exchange(operation, query, credentials);
        let sent = tokio::time::timeout(self.options.timeout, exchange);
        let sent = sent.await.unwrap_or_else(|_| Err(self.too_slow()));
        let answered = sent.and_then(|(head, body)| {
            let told = head.throttled();
            decode(&head, body).inspect_err(|error| {
                if let (Error::Throttled { after, .. }, Some(gate), false) =
                    (error, &self.gate, told)
                {
                    gate.throttled(*after);
                }
            })
        });
        answered.map_err(|error| {
            let token = credentials.security_token.iter();
            let secrets = token.chain([&credentials.secret]);
            let secrets: Vec<&str> = secrets.map(ExposeSecret::expose_secret).collect();
            error.cleaned(&secrets)
        })
    }

    fn too_slow(&self) -> Error {
        Error::Unavailable {
            what: format!("no answer within {} ms", self.options.timeout.as_millis()),
        }
    }

    async fn exchange(
        &self,
        operation: Operation,
        query: &[(&'static str, String)],
        credentials: &Credentials,
    ) -> Result<(Head, Vec<u8>), Error> {
        let (request, asked) = self.request(operation, query, credentials)?;
        let mut answer = request.send().await.map_err(|error| Error::Unavailable {
            what: chain(&error.without_url()),
        })?;
        let mut head = head(answer.status().as_u16(), answer.headers());
        head.asked = Some(asked);
        if let Some(gate) = &self.gate
            && head.throttled()
        {
            // Now, not when the body is read: others are about to send.
            gate.throttled(head.retry_after);
        }
        let limit = self.options.body_limit_bytes;
        let body = transport::body(&mut answer, limit).await;
        let body = body.map_err(|unread| match unread {
            Unread::TooSlow if !head.throttled() => self.too_slow(),
            Unread::CutOff | Unread::TooSlow => fault::unreadable(&head, "it was cut off"),
            Unread::TooLarge => fault::unreadable(&head, &format!("more than {limit} bytes")),
        })?;
        Ok((head, body))
    }

    /// Signed, ready to be sent once.
    fn request(
        &self,
        operation: Operation,
        query: &[(&'static str, String)],
        credentials: &Credentials,
    ) -> Result<(reqwest::RequestBuilder, Asked), Error> {
        let headers = self.headers(operation.name, credentials);
        let unsigned = Unsigned {
            method: "POST",
            query,
            headers: &headers,
            body_sha256: EMPTY_SHA256,
        };
        let signed = sign(
            &unsigned,
            &credentials.access_key_id,
            credentials.secret.expose_secret(),
            is_signed_by_default,
        );
        let mut url = self.options.endpoint.clone();
        url.set_path("/");
        // The canonical form itself goes on the wire: nothing re-encodes it on the way.
        url.set_query(Some(&signed.query));
        let mut builder = self
            .http
            .post(url)
            // hyper leaves it out of a POST without a body, and some gateways then answer 411.
            .header("content-length", "0")
            .header("authorization", secret(&signed.authorization)?);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            builder = builder.header(*name, secret(value)?);
        }
        let instance = query.iter().find(|(name, _)| *name == "InstanceId");
        let asked = Asked {
            operation,
            region: self.options.region.clone(),
            instance_id: instance.map(|(_, id)| id.clone()).unwrap_or_default(),
            canonical: signed.canonical,
        };
        Ok((builder, asked))
    }

    /// All headers but the signature: new date and nonce each time.
    fn headers(
        &self,
        action: &'static str,
        credentials: &Credentials,
    ) -> Vec<(&'static str, String)> {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let nonce: [u8; 16] = rand::random();
        let mut headers = vec![
            ("host", self.host.clone()),
            ("accept", "application/json".to_owned()),
            ("x-acs-action", action.to_owned()),
            ("x-acs-version", VERSION.to_owned()),
            ("x-acs-date", now),
            ("x-acs-signature-nonce", hex::encode(nonce)),
            ("x-acs-content-sha256", EMPTY_SHA256.to_owned()),
        ];
        if let Some(token) = &credentials.security_token {
            headers.push(("x-acs-accesskey-id", credentials.access_key_id.clone()));
            headers.push(("x-acs-security-token", token.expose_secret().to_owned()));
        }
        headers
    }
}

/// Lower-case words and digits joined by hyphens: it becomes part of a host name.
pub(crate) fn is_region(region: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let words = || region.split('-');
    region.len() <= 63 && words().all(|word| !word.is_empty() && word.chars().all(fits))
}

/// The signature covers the host and the path `/`: nothing else may be in the endpoint.
fn check(endpoint: &Url) -> Result<(), Error> {
    let what = if !matches!(endpoint.scheme(), "http" | "https") {
        "is not http or https"
    } else if !endpoint.username().is_empty() || endpoint.password().is_some() {
        "has a user or a password"
    } else if endpoint.path() != "/" || endpoint.query().is_some() || endpoint.fragment().is_some()
    {
        "has more than scheme, host and port"
    } else {
        return Ok(());
    };
    let host = endpoint.host_str().unwrap_or_default();
    Err(Error::Setup {
        what: format!("the endpoint at {host:?} {what}"),
    })
}

/// A header value that HTTP libraries do not print.
fn secret(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Error::Credentials {
        what: "the access key or token has characters that a header cannot carry".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
