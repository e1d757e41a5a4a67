//! A profile of the vendor's command line, `~/.aliyun/config.json` (`aliyun configure`). Read at each
//! refresh: what a person or a program changes there is found without a restart.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use url::Url;

use super::ecs::EcsRole;
use super::issued::{Issued, Source, named, object, text};
use super::oidc::{Oidc, Token};
use super::refreshing::Refreshing;
use super::sts::{Role, Sts};
use super::surroundings::Surroundings;
use super::uri::CredentialsUri;
use super::{BoxFuture, CredentialsProvider, down, external, fault, said};
use crate::Error;

const STEP: &str = "profile";

/// How many profiles may stand one on the other.
const DEPTH: usize = 8;

pub(super) struct Profile {
    surroundings: Surroundings,
    file: PathBuf,
    /// None: the file's `current`.
    name: Option<String>,
}

impl Profile {
    pub(super) fn new(
        surroundings: &Surroundings,
        file: Option<PathBuf>,
        name: Option<String>,
    ) -> Result<Self, Error> {
        let from_variable = || surroundings.variable("ALIBABA_CLOUD_CONFIG_FILE");
        let in_home = || Some(surroundings.home.as_ref()?.join(".aliyun/config.json"));
        let file = file.or_else(|| from_variable().map(PathBuf::from));
        let file = file
            .or_else(in_home)
            .ok_or_else(|| fault(STEP, "there is no home folder"))?;
        Ok(Self {
            surroundings: surroundings.clone(),
            file,
            name: name.or_else(|| surroundings.variable("ALIBABA_CLOUD_PROFILE")),
        })
    }

    async fn issue(&self) -> Result<Issued, Error> {
        let read = self.surroundings.read(&self.file).await;
        let json = read.map_err(|error| fault(STEP, format!("{} {error}", self.file.display())))?;
        let json = object(STEP, json.as_bytes())
            .map_err(|_| fault(STEP, format!("{} is not JSON", self.file.display())))?;
        let name = self.name.clone().or_else(|| text(&json, "current"));
        let name = name.unwrap_or_else(|| "default".to_owned());
        self.of(&json, &name, &mut Vec::new()).await
    }

    /// The credentials of the profile `name`; `above` are those that stand on it.
    fn of<'a>(
        &'a self,
        json: &'a Value,
        name: &'a str,
        above: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<Issued, Error>> {
        Box::pin(async move {
            let known = above.iter().any(|one| one == name);
            above.push(name.to_owned());
            if known {
                let circle = above.join(" → ");
                return Err(fault(
                    STEP,
                    format!("the profiles go in a circle: {circle}"),
                ));
            }
            if above.len() > DEPTH {
                return Err(fault(STEP, format!("more than {DEPTH} profiles in a row")));
            }
            let profiles = json.get("profiles").and_then(Value::as_array);
            let profile = profiles
                .into_iter()
                .flatten()
                .find(|one| one.get("name").and_then(Value::as_str) == Some(name))
                .ok_or_else(|| fault(STEP, format!("there is no profile {name:?}")))?;
            let one = One {
                surroundings: &self.surroundings,
                name,
                profile,
            };
            match text(profile, "source_profile") {
                Some(source) if one.mode() == "ChainableRamRoleArn" => {
                    let base = self.of(json, &source, above).await?;
                    one.assume(&base).await
                }
                _ => one.issue().await,
            }
        })
    }
}

/// One profile of the file.
struct One<'a> {
    surroundings: &'a Surroundings,
    name: &'a str,
    profile: &'a Value,
}

impl One<'_> {
    fn mode(&self) -> String {
        text(self.profile, "mode").unwrap_or_default()
    }

    async fn issue(&self) -> Result<Issued, Error> {
        match self.mode().as_str() {
            "AK" => self.key(false),
            "StsToken" => self.key(true),
            "RamRoleArn" => {
                self.assume(&self.key(text(self.profile, "sts_token").is_some())?)
                    .await
            }
            "ChainableRamRoleArn" => Err(self.lacks("source_profile")),
            "EcsRamRole" => {
                let role = text(self.profile, "ram_role_name");
                let role = EcsRole::new(self.surroundings, role);
                self.within(async { role?.fetch().await }).await
            }
            "OIDC" => {
                let token = Token::File(self.need("oidc_token_file")?.into());
                let provider = self.need("oidc_provider_arn")?;
                let sts = self.sts()?;
                let oidc = Oidc::new(self.surroundings, self.role()?, provider, token, sts)?;
                self.within(oidc.fetch()).await
            }
            "External" => {
                let command = self.need("process_command")?;
                let limit = self.surroundings.limits.command;
                self.within(external::run(&command, limit)).await
            }
            "CredentialsURI" => {
                let uri = Url::parse(&self.need("credentials_uri")?);
                let uri = uri.map_err(|_| self.fault("credentials_uri is not a URL"))?;
                let uri = CredentialsUri::new(self.surroundings, uri);
                self.within(async { uri?.fetch().await }).await
            }
            mode @ ("CloudSSO" | "OAuth") => Err(self.fault(&format!(
                "the mode {mode} needs a person at a browser: for a service use AK, RamRoleArn, \
                 OIDC or EcsRamRole"
            ))),
            mode @ "RsaKeyPair" => Err(self.fault(&format!(
                "the mode {mode} is given up by the vendor: use RamRoleArn, OIDC or EcsRamRole"
            ))),
            // Not which: by a slip something else may stand there.
            _ => Err(self.fault("its mode is none that is known")),
        }
    }

    /// With the profile's name before what another provider says.
    async fn within(
        &self,
        answer: impl Future<Output = Result<Issued, Error>>,
    ) -> Result<Issued, Error> {
        answer.await.map_err(|error| {
            let what = format!("{:?}: {}", self.name, said(&error));
            match error {
                Error::Unavailable { .. } => down(STEP, what),
                _ => fault(STEP, what),
            }
        })
    }

    fn key(&self, with_token: bool) -> Result<Issued, Error> {
        let token = if with_token { "sts_token" } else { "" };
        if with_token {
            self.need(token)?;
        }
        self.need("access_key_id")?;
        self.need("access_key_secret")?;
        named(
            STEP,
            self.profile,
            ["access_key_id", "access_key_secret", token, ""],
        )
    }

    async fn assume(&self, base: &Issued) -> Result<Issued, Error> {
        let sts = Sts::new(self.surroundings, self.sts()?)?;
        let role = self.role()?;
        Ok(sts.assume_role(STEP, &role, &base.credentials).await?)
    }

    fn role(&self) -> Result<Role, Error> {
        let mut role = Role::new(self.need("ram_role_arn")?);
        let session = text(self.profile, "ram_session_name");
        let session = session.or_else(|| text(self.profile, "role_session_name"));
        if let Some(name) = session {
            role.session_name = name;
        }
        let seconds = self.profile.get("expired_seconds").and_then(Value::as_u64);
        if let Some(seconds) = seconds.and_then(|seconds| u32::try_from(seconds).ok())
            && seconds > 0
        {
            role.duration_seconds = seconds;
        }
        role.policy = text(self.profile, "policy");
        role.external_id = text(self.profile, "external_id");
        Ok(role)
    }

    fn sts(&self) -> Result<Url, Error> {
        let in_vpc = self.profile.get("enable_vpc").and_then(Value::as_bool);
        let region = text(self.profile, "sts_region");
        self.surroundings
            .sts(region.as_deref(), in_vpc.unwrap_or_default())
    }

    fn need(&self, key: &str) -> Result<String, Error> {
        text(self.profile, key).ok_or_else(|| self.lacks(key))
    }

    fn lacks(&self, key: &str) -> Error {
        self.fault(&format!("it has no {key}"))
    }

    fn fault(&self, what: &str) -> Error {
        fault(STEP, format!("{:?}: {what}", self.name))
    }
}

impl Surroundings {
    /// The credentials of a profile of the vendor's command line. `file` is by default
    /// `ALIBABA_CLOUD_CONFIG_FILE`, else `~/.aliyun/config.json`; `name` by default
    /// `ALIBABA_CLOUD_PROFILE`, else the file's `current`.
    pub fn profile(
        &self,
        file: Option<PathBuf>,
        name: Option<String>,
    ) -> Result<Arc<dyn CredentialsProvider>, Error> {
        let source = Profile::new(self, file, name)?;
        Ok(Arc::new(Refreshing::new(source)))
    }
}

impl Source for Profile {
    fn fetch(&self) -> BoxFuture<'_, Result<Issued, Error>> {
        Box::pin(self.issue())
    }

    fn name(&self) -> &'static str {
        STEP
    }
}
