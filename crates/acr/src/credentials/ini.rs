//! The vendor's credentials file: sections of `key = value`. Read at each refresh.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::ecs::EcsRole;
use super::issued::{Issued, Source};
use super::oidc::{Oidc, Token};
use super::sts::{Role, Sts};
use super::surroundings::{Surroundings, Unreadable};
use super::{BoxFuture, Credentials, fault};
use crate::Error;

const STEP: &str = "credentials file";

/// Where it is without a variable: Python's SDK reads the first, Go's the second.
const IN_HOME: [&str; 2] = [".alibabacloud/credentials.ini", ".alibabacloud/credentials"];

pub(super) struct CredentialsFile(pub(super) Surroundings);

/// A section's keys and values.
type Section = BTreeMap<String, String>;

impl CredentialsFile {
    async fn issue(&self) -> Result<Issued, Error> {
        let name = self.0.variable("ALIBABA_CLOUD_PROFILE");
        let name = name.unwrap_or_else(|| "default".to_owned());
        let section = self.section(&name).await?;
        let entry = Entry {
            surroundings: &self.0,
            name: &name,
            section: &section,
        };
        entry.issue().await
    }

    /// The section of the first file that has it.
    async fn section(&self, name: &str) -> Result<Section, Error> {
        let variable = self.0.variable("ALIBABA_CLOUD_CREDENTIALS_FILE");
        let files: Vec<PathBuf> = match (variable, &self.0.home) {
            (Some(file), _) => vec![file.into()],
            (None, Some(home)) => IN_HOME.iter().map(|path| home.join(path)).collect(),
            (None, None) => return Err(fault(STEP, "there is no home folder")),
        };
        let mut said = Vec::new();
        for file in files {
            let shown = file.display();
            match self.0.read(&file).await {
                Ok(text) => match section(&text, name) {
                    Some(section) => return Ok(section),
                    None => said.push(format!("{shown} has no section {name:?}")),
                },
                Err(why @ Unreadable::Absent) => said.push(format!("{shown} {why}")),
                Err(why) => return Err(fault(STEP, format!("{shown} {why}"))),
            }
        }
        Err(fault(STEP, said.join(", ")))
    }
}

/// One section of the file.
struct Entry<'a> {
    surroundings: &'a Surroundings,
    name: &'a str,
    section: &'a Section,
}

impl Entry<'_> {
    async fn issue(&self) -> Result<Issued, Error> {
        if self
            .get("enable")
            .is_some_and(|on| on.eq_ignore_ascii_case("false"))
        {
            return Err(self.fault("it is switched off (enable)"));
        }
        match self.need("type")?.as_str() {
            "access_key" => self.key(),
            "ram_role_arn" => {
                let sts = Sts::new(self.surroundings, self.surroundings.sts(None, false)?)?;
                let base = self.key()?;
                Ok(sts
                    .assume_role(STEP, &self.role()?, &base.credentials)
                    .await?)
            }
            "oidc_role_arn" => {
                let provider = self.need("oidc_provider_arn")?;
                let file = self.get("oidc_token_file_path");
                let file = file.map_or_else(|| self.need("oidc_token_file"), Ok)?;
                let sts = self.surroundings.sts(None, false)?;
                let token = Token::File(file.into());
                let oidc = Oidc::new(self.surroundings, self.role()?, provider, token, sts)?;
                oidc.fetch().await
            }
            "ecs_ram_role" => {
                EcsRole::new(self.surroundings, self.get("role_name"))?
                    .fetch()
                    .await
            }
            "rsa_key_pair" => Err(self.fault(
                "the type rsa_key_pair is given up by the vendor: use ram_role_arn, oidc_role_arn \
                 or ecs_ram_role",
            )),
            _ => Err(self.fault("its type is none that is known")),
        }
    }

    fn key(&self) -> Result<Issued, Error> {
        Ok(Issued {
            credentials: Credentials {
                access_key_id: self.need("access_key_id")?,
                secret: self.need("access_key_secret")?.into(),
                security_token: self.get("security_token").map(Into::into),
            },
            expires_at: None,
        })
    }

    fn role(&self) -> Result<Role, Error> {
        let mut role = Role::new(self.need("role_arn")?);
        if let Some(name) = self.get("role_session_name") {
            role.session_name = name;
        }
        role.policy = self.get("policy");
        role.external_id = self.get("external_id");
        Ok(role)
    }

    fn get(&self, key: &str) -> Option<String> {
        self.section
            .get(key)
            .filter(|value| !value.is_empty())
            .cloned()
    }

    fn need(&self, key: &str) -> Result<String, Error> {
        self.get(key)
            .ok_or_else(|| self.fault(&format!("it has no {key}")))
    }

    fn fault(&self, what: &str) -> Error {
        fault(STEP, format!("[{}]: {what}", self.name))
    }
}

impl Source for CredentialsFile {
    fn fetch(&self) -> BoxFuture<'_, Result<Issued, Error>> {
        Box::pin(self.issue())
    }

    fn name(&self) -> &'static str {
        STEP
    }
}

/// The section `[name]`: lines `key = value`; a `#` ends a value and a line, as in Python's SDK, a `;`
/// begins a line that says nothing. Lines that are none of these are passed over.
fn section(text: &str, name: &str) -> Option<Section> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = None;
    let mut within = false;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.starts_with(';') {
            continue;
        }
        if let Some(title) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            within = title.trim() == name;
            if within {
                found.get_or_insert_with(Section::new);
            }
        } else if within
            && let Some((key, value)) = line.split_once('=')
            && let Some(section) = &mut found
        {
            section.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_read_to_the_next_and_values_end_at_a_hash() {
        let text = "\u{feff}; all of them\n[other]\ntype = x\n[ default ]\n; c\ntype = access_key # why\n\
                    Access_Key_Id=a=b\nnonsense\n\n[third]\ntype = y\n";
        let found = section(text, "default").unwrap();
        let pairs: Vec<(&str, &str)> = found
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(pairs, [("access_key_id", "a=b"), ("type", "access_key")]);
        assert!(section(text, "none").is_none());
    }
}
