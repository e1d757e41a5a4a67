//! The checked configuration: the only form that the rest of the program sees.

mod chat;
mod credentials;
mod egress;
mod flapping;
mod inhibit;
mod kafka;
mod retention;
mod rules;
mod templates;
mod test;
mod watchdog;
mod webhook;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

pub use self::chat::{At, Chat, ChatKind, Rate};
pub use self::credentials::{
    AccessKey, AssumeRole, Authorities, Credentials, CredentialsFrom, Network, Oidc, WayOut,
};
pub use self::egress::Egress;
pub use self::flapping::Flapping;
pub use self::inhibit::Inhibit;
pub use self::kafka::{Kafka, KafkaLogin, KafkaSasl, KafkaTls};
pub use self::retention::Retention;
pub use self::rules::{Marks, OwnRule, RuleSwitches, Severity, Silent, SilentSubject, SilentWatch};
pub use self::templates::{Console, Language, TEMPLATE_NAMES, TemplateFile, Templates};
pub use self::test::Test;
pub use self::watchdog::{Heartbeat, Watchdog};
pub use self::webhook::{Authorization, BodyTemplate, ClientCertificate, Http, Webhook};
use crate::{Hours, LiveSecret, Matcher, Problem};

/// Everything, with defaults filled in and every reference resolved.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder that holds `poller/`, `notifier/` and `log/`.
    pub data_dir: PathBuf,
    /// The ACR instances to watch; at least one.
    pub instances: Vec<Instance>,
    /// Instances that are found by asking for them.
    pub discoveries: Vec<Discovery>,
    /// The event log.
    pub bus: Bus,
    /// Who can be told; names are unique.
    pub receivers: Vec<Receiver>,
    /// Who is told what.
    pub route: Route,
    /// Which rules are on.
    pub rules: RuleSwitches,
    /// Examples of who is told what.
    pub tests: Vec<Test>,
    /// The operator's templates.
    pub templates: Templates,
    /// Links to the registry's console.
    pub console: Console,
    /// A ping for a dead man's switch outside.
    pub heartbeat: Option<Heartbeat>,
    /// When Syncbell tells that it cannot tell.
    pub watchdog: Watchdog,
    /// What happens at first sight.
    pub baseline: Baseline,
    /// How long the notifier keeps what is over.
    pub retention: Retention,
    /// The disk of `data_dir`.
    pub disk: Disk,
    /// The admin interface.
    pub admin: Admin,
    /// What is allowed and unwise; log it at start.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// All defaults, nothing to watch and nobody to tell.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            instances: Vec::new(),
            discoveries: Vec::new(),
            bus: Bus::Embedded,
            receivers: Vec::new(),
            route: Route::default(),
            rules: RuleSwitches::default(),
            tests: Vec::new(),
            templates: Templates::default(),
            console: Console::default(),
            heartbeat: None,
            watchdog: Watchdog::default(),
            baseline: Baseline::default(),
            retention: Retention::default(),
            disk: Disk::default(),
            admin: Admin::default(),
            warnings: Vec::new(),
        }
    }
}

/// One ACR instance to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `cri-…`
    pub id: String,
    /// `cn-shanghai`
    pub region: String,
    /// Who asks.
    pub credentials: Credentials,
    /// On which network; with it STS is asked for credentials.
    pub network: Network,
    /// Where to ask; by `network` unless overridden.
    pub endpoint: Url,
    /// Through what; likewise for credentials.
    pub way_out: WayOut,
    /// How often; at least 1 s.
    pub poll_every: Duration,
    /// How often the whole list is read.
    pub sweep_every: Duration,
    /// Which tasks.
    pub filters: Filters,
}

impl Instance {
    /// An instance with the default endpoint and intervals.
    ///
    /// None if `region` cannot be part of a host name.
    pub fn try_new(id: impl Into<String>, region: impl Into<String>) -> Option<Self> {
        let region = region.into();
        let endpoint = Self::endpoint_of(&region, Network::Public)?;
        Some(Self {
            id: id.into(),
            region,
            credentials: Credentials::default(),
            network: Network::Public,
            endpoint,
            way_out: WayOut::default(),
            poll_every: Duration::from_secs(15),
            sweep_every: Duration::from_mins(30),
            filters: Filters::default(),
        })
    }

    /// The vendor's rule. None if `region` cannot be part of a host name.
    pub(crate) fn endpoint_of(region: &str, network: Network) -> Option<Url> {
        let host = match network {
            Network::Public => "cr",
            Network::Vpc => "cr-vpc",
        };
        Url::parse(&format!("https://{host}.{region}.aliyuncs.com")).ok()
    }
}

/// Watches the instances of a region that match, as they come and go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// How each of them is watched; its id is made up, and stands for the discovery itself.
    pub like: Instance,
    /// All must hold: labels `id`, `name`, `status`, `specification`, `resource_group_id`, `tag.KEY`.
    pub matchers: Vec<Matcher>,
    /// How often to ask for them.
    pub every: Duration,
}

/// Asked of the vendor with each page; absent means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filters {
    /// `RepoNamespaceName`
    pub namespace: Option<String>,
    /// `RepoName`
    pub repo: Option<String>,
    /// `Tag`
    pub tag: Option<String>,
    /// `SyncRecordId`: one batch of tasks.
    pub batch_id: Option<String>,
}

/// Where the event log lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// In files under `data_dir/log`.
    Embedded,
    /// In topics of a Kafka cluster.
    Kafka(Box<Kafka>),
}

/// Somebody who can be told.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Unique.
    pub name: String,
    /// In which language.
    pub language: Language,
    /// How.
    pub kind: ReceiverKind,
}

/// A channel with its settings.
#[derive(Clone, Debug)]
pub enum ReceiverKind {
    /// A generic webhook (Standard Webhooks, CloudEvents).
    Webhook(Box<Webhook>),
    /// Mail; each address is told by itself.
    Email(Email),
    /// A robot in a group chat.
    Chat(Box<Chat>),
}

/// Mail.
#[derive(Clone, Debug)]
pub struct Email {
    /// The sender's address.
    pub from: String,
    /// The addresses; at least one.
    pub to: Vec<String>,
    /// The server.
    pub smtp: Box<Smtp>,
}

/// A mail server.
#[derive(Clone, Debug)]
pub struct Smtp {
    /// Its name; certificates are checked against it.
    pub host: String,
    /// 465 implicit, 587 starttls, 25 none, unless given.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// For AUTH; together with `password`.
    pub username: Option<String>,
    /// For AUTH.
    pub password: Option<LiveSecret>,
    /// Certificates to trust instead of the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Over one whole mail.
    pub timeout: Duration,
    /// The name to say in EHLO; the sender's domain unless given.
    pub hello: Option<String>,
}

/// How mail is protected on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// TLS from the first byte.
    Implicit,
    /// Required upgrade.
    Starttls,
    /// In the clear; no password is sent, loopback excepted.
    None,
}

/// Who is told what: a tree. What a route of the file leaves out is filled in from the one around it.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Names of receivers; all exist.
    pub receivers: Vec<String>,
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// What matches goes on to the routes behind it.
    pub continues: bool,
    /// Labels to group by; `["..."]` means each by itself; none: the channel's own default.
    pub group_by: Option<Vec<String>>,
    /// How long the first of a quiet group waits.
    pub group_wait: Option<Duration>,
    /// How long the next ones wait.
    pub group_interval: Option<Duration>,
    /// When what stays open is told again.
    pub repeat_interval: Option<Duration>,
    /// When it may tell.
    pub hours: Hours,
    /// The receiver that is told what another one did not take; it exists.
    pub fallback: Option<String>,
    /// The first that matches takes it, and those behind it if it continues.
    pub routes: Vec<Route>,
}

/// What happens at first sight of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// Tell the failures that stand there already.
    pub alert: bool,
}

/// The disk that `data_dir` lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Below this much free space, in bytes, nothing more is taken in; 0: only a full disk stops it.
    pub min_free_bytes: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            min_free_bytes: 256 * 1024 * 1024,
        }
    }
}

/// The admin interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Of `run` and `poller`.
    pub listen: SocketAddr,
    /// Of `notifier`.
    pub notifier_listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9464)),
            notifier_listen: SocketAddr::from(([127, 0, 0, 1], 9465)),
        }
    }
}
