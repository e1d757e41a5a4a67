//! Who asks: exactly one kind, whose parts look like what the vendor takes.

use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use super::Checker;
use crate::config::{AccessKey, AssumeRole, Credentials, CredentialsFrom, Oidc};
use crate::raw::{self, Text};
use crate::secret::{RawSecret, Secret};

/// The vendor gives no shorter ones.
const SHORTEST: Duration = Duration::from_mins(15);

/// The vendor's limits for the name of a session and of a role.
const NAME_LIMIT: usize = 64;

impl Checker<'_> {
    /// What cannot be had is told; then the default stands in its place, and nothing starts, or the
    /// service does not need it.
    pub(super) fn credentials(&mut self, raw: Spanned<raw::Credentials>) -> Credentials {
        let at = raw.referenced;
        let raw = raw.value;
        let kinds = [
            ("default", raw.default.is_some()),
            ("access_key", raw.access_key.is_some()),
            ("profile", raw.profile.is_some()),
            ("oidc", raw.oidc.is_some()),
            ("ecs_role", raw.ecs_role.is_some()),
            ("uri", raw.uri.is_some()),
        ];
        let given: Vec<&str> = kinds
            .iter()
            .filter(|kind| kind.1)
            .map(|kind| kind.0)
            .collect();
        match given.as_slice() {
            [_] => {}
            [] if raw.assume_role.is_some() => self.error(
                at,
                "whose credentials assume the role? Add `default: {}` or another kind",
            ),
            [] => {
                let all = kinds.map(|kind| kind.0).join(", ");
                self.error(at, format!("`credentials` needs one of: {all}"));
            }
            several => {
                let several = several.join(" and ");
                let message = format!("`credentials` has {several}: expected exactly one kind");
                self.error(at, message);
            }
        }
        let assume_role = raw.assume_role.and_then(|role| self.assume_role(role));
        let from = if let Some(raw) = raw.access_key {
            self.access_key(raw).map(CredentialsFrom::AccessKey)
        } else if let Some(raw) = raw.profile {
            self.profile(raw)
        } else if let Some(raw) = raw.oidc {
            self.oidc(raw).map(CredentialsFrom::Oidc)
        } else if let Some(raw) = raw.ecs_role {
            let name = raw.value.name.and_then(|name| self.name("name", name));
            Some(CredentialsFrom::EcsRole(name))
        } else if let Some(raw) = raw.uri {
            self.credentials_uri(raw)
        } else {
            None
        };
        Credentials {
            from: from.unwrap_or_default(),
            assume_role,
        }
    }

    fn access_key(&mut self, raw: Spanned<raw::AccessKey>) -> Option<AccessKey> {
        let at = raw.referenced;
        let raw = raw.value;
        let id = self.needed("id", raw.id, at).and_then(|id| {
            let resolved = id.value.resolve(self.folder, self.env);
            let id_text = resolved.and_then(|id| match id.expose().trim() {
                "" => Err("is blank".to_owned()),
                id => Ok(id.to_owned()),
            });
            id_text
                .map_err(|message| self.lack(id.referenced, format!("`id`: {message}")))
                .ok()
        });
        let secret = self
            .needed("secret", raw.secret, at)
            .and_then(|secret| self.secret("secret", &secret.value, secret.referenced));
        let security_token = raw
            .security_token
            .map(|token| self.secret("security_token", &token.value, token.referenced));
        Some(AccessKey {
            id: id?,
            secret: secret?,
            security_token: match security_token {
                Some(token) => Some(token?),
                None => None,
            },
        })
    }

    fn profile(&mut self, raw: Spanned<raw::Profile>) -> Option<CredentialsFrom> {
        let at = raw.referenced;
        let name = self.required("name", raw.value.name, at);
        let file = raw.value.file.map(|file| self.file("file", &file));
        Some(CredentialsFrom::Profile {
            name: name?.value,
            file: match file {
                Some(file) => Some(file?.0),
                None => None,
            },
        })
    }

    fn oidc(&mut self, raw: Spanned<raw::Oidc>) -> Option<Oidc> {
        let at = raw.referenced;
        let raw = raw.value;
        let role_arn = self.arn("role_arn", "role", raw.role_arn, at);
        let provider_arn = self.arn("provider_arn", "oidc-provider", raw.provider_arn, at);
        let token_file = self
            .required("token_file", raw.token_file, at)
            .and_then(|file| self.token_in(&file));
        let session_name = raw
            .session_name
            .and_then(|name| self.name("session_name", name));
        Some(Oidc {
            role_arn: role_arn?,
            provider_arn: provider_arn?,
            token_file: token_file?,
            session_name,
        })
    }

    fn credentials_uri(&mut self, raw: Spanned<raw::CredentialsUri>) -> Option<CredentialsFrom> {
        let url = self.needed("url", raw.value.url, raw.referenced)?;
        let at = url.referenced;
        let text = match url.value.resolve(self.folder, self.env) {
            Ok(text) => text,
            Err(message) => {
                self.lack(at, format!("`url`: {message}"));
                return None;
            }
        };
        let url = url::Url::parse(text.expose().trim()).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
        if url.is_none() {
            let message = "`url`: expected an http:// or https:// URL";
            self.lack(at, message.to_owned());
        }
        url.map(|url| CredentialsFrom::Uri(Secret::new(url)))
    }

    fn assume_role(&mut self, raw: Spanned<raw::AssumeRole>) -> Option<AssumeRole> {
        let at = raw.referenced;
        let raw = raw.value;
        let arn = self.arn("arn", "role", raw.arn, at);
        let session_name = raw
            .session_name
            .and_then(|name| self.name("session_name", name));
        let external_id = raw.external_id.map(|id| id.value);
        let policy = raw.policy.and_then(|policy| self.policy(policy));
        let duration_at = raw.duration.as_ref().map_or(at, |text| text.referenced);
        let duration = self.optional_duration("duration", raw.duration);
        if duration.is_some_and(|duration| duration < SHORTEST || duration.subsec_nanos() != 0) {
            let message = "`duration`: expected whole seconds, at least `15m`";
            self.error(duration_at, message);
        }
        Some(AssumeRole {
            arn: arn?,
            session_name,
            external_id: external_id.filter(|id| !id.is_empty()),
            policy,
            duration,
        })
    }

    /// A secret or the like that must be there; `owner` is where its absence is shown.
    fn needed(
        &mut self,
        key: &str,
        raw: Option<Spanned<RawSecret>>,
        owner: Location,
    ) -> Option<Spanned<RawSecret>> {
        if raw.is_none() {
            self.error(owner, format!("the key `{key}` is missing here"));
        }
        raw
    }

    /// `acs:ram::{account}:{what}/{name}`
    fn arn(&mut self, key: &str, what: &str, raw: Text, owner: Location) -> Option<String> {
        let raw = self.required(key, raw, owner)?;
        let named = raw.value.strip_prefix("acs:ram::").and_then(|rest| {
            let (account, resource) = rest.split_once(':')?;
            let name = resource.strip_prefix(what)?.strip_prefix('/')?;
            let is_account = !account.is_empty() && account.chars().all(|c| c.is_ascii_digit());
            (is_account && !name.is_empty()).then_some(())
        });
        if named.is_none() || raw.value.chars().any(char::is_whitespace) {
            let message = format!("`{key}`: expected `acs:ram::ACCOUNT:{what}/NAME`");
            self.error(raw.referenced, message);
            return None;
        }
        Some(raw.value)
    }

    fn name(&mut self, key: &str, raw: Spanned<String>) -> Option<String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.@=".contains(c);
        let name = &raw.value;
        if (2..=NAME_LIMIT).contains(&name.len()) && name.chars().all(fits) {
            return Some(raw.value);
        }
        let message =
            format!("`{key}`: expected 2 to {NAME_LIMIT} letters, digits or any of `-_.@=`");
        self.error(raw.referenced, message);
        None
    }

    fn policy(&mut self, raw: Spanned<String>) -> Option<String> {
        let is_object = serde_json::from_str::<serde_json::Value>(&raw.value)
            .is_ok_and(|policy| policy.is_object());
        if is_object {
            return Some(raw.value);
        }
        let message = "`policy`: expected a RAM policy: a JSON object, in quotes";
        self.error(raw.referenced, message);
        None
    }
}
