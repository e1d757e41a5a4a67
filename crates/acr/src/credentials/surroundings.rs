//! What providers reach outside of the process, as one value: so that a test can put a folder and a
//! local socket in the place of the machine and the cloud.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::sts::sts_endpoint;
use crate::Error;
use crate::transport::{self, Way};

/// Where a virtual machine of the vendor asks who it is.
const METADATA: &str = "http://100.100.100.200";

/// The largest file that is read: a token, a profile, a list of keys.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// Finds a variable by its name.
type LookUp = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// How long providers wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// To connect to STS or a credentials URI. Default 5 s, as in the vendor's SDKs.
    pub connect: Duration,
    /// For the answer of those, beside connecting. Default 10 s, as there.
    pub read: Duration,
    /// For each answer of the metadata service. Default 1 s, as there.
    pub metadata: Duration,
    /// For a command that gives credentials. Default 60 s.
    pub command: Duration,
    /// For a file. Default 5 s.
    pub file: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(10),
            metadata: Duration::from_secs(1),
            command: Duration::from_mins(1),
            file: Duration::from_secs(5),
        }
    }
}

/// The machine and the network around a provider.
#[derive(Clone)]
pub struct Surroundings {
    look_up: LookUp,
    /// The folder in which `.aliyun` and `.alibabacloud` lie.
    pub home: Option<PathBuf>,
    /// Scheme, host and port of the metadata service; never asked through a proxy.
    pub metadata: Url,
    /// Scheme, host and port of STS; none: `https://sts.aliyuncs.com`, with a region
    /// `https://sts.{region}.aliyuncs.com`, in a VPC `https://sts-vpc.{region}.aliyuncs.com`.
    pub sts: Option<Url>,
    /// For STS and the credentials URI, as in [`ClientOptions`](crate::ClientOptions).
    pub proxy: Option<Url>,
    /// As in [`ClientOptions`](crate::ClientOptions).
    pub ca_pem: Option<Vec<u8>>,
    /// How long to wait.
    pub limits: Limits,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("home", &self.home)
            .field("metadata", &self.metadata.as_str())
            .finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// Those in which `look_up` finds the variables, the home folder (`HOME`, else `USERPROFILE`) among
    /// them.
    pub fn new(look_up: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let home = look_up("HOME").or_else(|| look_up("USERPROFILE"));
        Self {
            home: home.filter(|home| !home.is_empty()).map(PathBuf::from),
            look_up: Arc::new(look_up),
            metadata: Url::parse(METADATA).expect("a fixed text that is a URL"),
            sts: None,
            proxy: None,
            ca_pem: None,
            limits: Limits::default(),
        }
    }

    /// A variable's value, trimmed; absent, empty and blank are the same.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let value = (self.look_up)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// True if the variable says `true`.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.variable(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Where STS is asked: as given, else by `region` and `in_vpc`, and by the variables
    /// `ALIBABA_CLOUD_STS_REGION` where there is no region, and `ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED`.
    pub(super) fn sts(&self, region: Option<&str>, in_vpc: bool) -> Result<Url, Error> {
        if let Some(sts) = &self.sts {
            return Ok(sts.clone());
        }
        let region = region
            .map(str::to_owned)
            .or_else(|| self.variable("ALIBABA_CLOUD_STS_REGION"));
        let in_vpc = in_vpc || self.is_on("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED");
        sts_endpoint(region.as_deref(), in_vpc)
            .ok_or_else(|| super::fault("sts", "the region of STS is not a region id"))
    }

    /// A client for `endpoint`: within the limits of STS, through the proxy.
    pub(super) fn client(&self, endpoint: &Url) -> Result<reqwest::Client, Error> {
        let way = Way {
            proxy: self.proxy.as_ref(),
            ca_pem: self.ca_pem.as_deref(),
            look_up: &*self.look_up,
        };
        let Limits { connect, read, .. } = self.limits;
        transport::client(endpoint, way, connect, connect + read)
    }

    /// A client for the metadata service: its own limits, never a proxy.
    pub(super) fn metadata_client(&self) -> Result<reqwest::Client, Error> {
        let way = Way {
            proxy: None,
            ca_pem: self.ca_pem.as_deref(),
            look_up: &|_| None,
        };
        let limit = self.limits.metadata;
        transport::client(&self.metadata, way, limit, limit)
    }

    /// A file's text; the error says why not, without the path and without a word of the text.
    pub(super) async fn read(&self, path: &Path) -> Result<String, Unreadable> {
        let path = path.to_owned();
        let read = tokio::task::spawn_blocking(move || read(&path));
        match tokio::time::timeout(self.limits.file, read).await {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => Err(Unreadable::Other("reading it failed".to_owned())),
            Err(_) => Err(Unreadable::Other("it did not come in time".to_owned())),
        }
    }
}

/// Why a file has no text.
#[derive(Debug)]
pub(super) enum Unreadable {
    Absent,
    Other(String),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("is not there"),
            Self::Other(why) => write!(f, "cannot be read: {why}"),
        }
    }
}

fn read(path: &Path) -> Result<String, Unreadable> {
    let why = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Unreadable::Absent,
        // Its own text may quote bytes of the file.
        std::io::ErrorKind::InvalidData => Unreadable::Other("it is not UTF-8".to_owned()),
        kind => Unreadable::Other(kind.to_string()),
    };
    // A pipe has no end that could be waited for: opening it would hold a thread for good.
    if !std::fs::metadata(path).map_err(why)?.is_file() {
        return Err(Unreadable::Other("it is not a file".to_owned()));
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(why)?;
    file.take(FILE_LIMIT_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(why)?;
    if u64::try_from(text.len()).is_ok_and(|size| size > FILE_LIMIT_BYTES) {
        return Err(Unreadable::Other("it is larger than 1 MiB".to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sts_is_where_the_profile_or_else_the_variables_say() {
        let check = |region: Option<&str>, in_vpc: bool, variables: &[(&str, &str)], host: &str| {
            let variables: Vec<(String, String)> = variables
                .iter()
                .map(|(name, value)| (format!("ALIBABA_CLOUD_{name}"), (*value).to_owned()))
                .collect();
            let surroundings = Surroundings::new(move |name| {
                let known = variables.iter().find(|(known, _)| known == name);
                known.map(|(_, value)| value.clone())
            });
            let sts = surroundings.sts(region, in_vpc).unwrap();
            assert_eq!(sts.as_str(), format!("https://{host}.aliyuncs.com/"));
        };
        let region = ("STS_REGION", "cn-beijing");
        let vpc = ("VPC_ENDPOINT_ENABLED", "True");
        check(None, false, &[], "sts");
        check(None, false, &[vpc], "sts");
        check(None, false, &[region], "sts.cn-beijing");
        check(None, false, &[region, vpc], "sts-vpc.cn-beijing");
        check(Some("me-east-1"), false, &[region], "sts.me-east-1");
        check(Some("me-east-1"), true, &[region], "sts-vpc.me-east-1");
        check(Some("me-east-1"), false, &[vpc], "sts-vpc.me-east-1");
        let other = ("VPC_ENDPOINT_ENABLED", "1");
        check(Some("me-east-1"), false, &[other], "sts.me-east-1");
    }
}
