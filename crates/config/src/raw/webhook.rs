//! The shape of `receivers[].webhook`.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_saphyr::Spanned;

use super::{DURATION, Text};
use crate::secret::{RawSecret, RawSecrets};

/// A generic webhook.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    /// Where to post, http or https; `{env: NAME}` or `{file: PATH}` where the URL is a secret.
    #[schemars(with = "RawSecret")]
    pub(crate) url: Option<Spanned<RawSecret>>,
    /// Signs each request: `whsec_` and base64 of 24 to 64 bytes, or a text of 16 characters or
    /// more. A list gives a signature of each, while they change.
    #[schemars(with = "Option<RawSecrets>")]
    pub(crate) secret: Option<Spanned<RawSecrets>>,
    /// `Authorization: Basic`.
    #[schemars(with = "Option<Basic>")]
    pub(crate) basic: Option<Spanned<Basic>>,
    /// The token of `Authorization: Bearer`.
    #[schemars(with = "Option<RawSecret>")]
    pub(crate) bearer: Option<Spanned<RawSecret>>,
    /// Further headers; a value may be `{env: NAME}` or `{file: PATH}`.
    #[schemars(with = "Option<std::collections::BTreeMap<String, RawSecret>>")]
    pub(crate) headers: Option<Headers>,
    /// A file with a template for the body, in place of the alert as a CloudEvent; see `templates.md`.
    #[schemars(with = "Option<String>")]
    pub(crate) template: Text,
    /// What the body is said to be. Default: `application/json` with a `template`, else
    /// `application/cloudevents+json; charset=utf-8`. What a template gives is checked to be JSON where this says so.
    #[schemars(with = "Option<String>")]
    pub(crate) content_type: Text,
    /// Over everything, the answer's body included. Default `10s`.
    #[schemars(with = "Option<String>", extend("pattern" = DURATION))]
    pub(crate) timeout: Text,
    /// Certificates to trust beside the system's, PEM.
    #[schemars(with = "Option<String>")]
    pub(crate) ca_file: Text,
    /// Mutual TLS: what the receiver knows us by.
    #[schemars(with = "Option<ClientCertificate>")]
    pub(crate) client_certificate: Option<Spanned<ClientCertificate>>,
    /// An http:// or https:// proxy; with a password in it `{env: NAME}` or `{file: PATH}`. Default: none, whatever
    /// the environment says. It looks up the receiver's name, so what `egress` says of names is its task.
    #[schemars(with = "Option<RawSecret>")]
    pub(crate) proxy: Option<Spanned<RawSecret>>,
}

/// A user name and a password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Basic {
    /// Without a colon.
    #[schemars(with = "String")]
    pub(crate) username: Text,
    /// Any text.
    #[schemars(with = "RawSecret")]
    pub(crate) password: Option<Spanned<RawSecret>>,
}

/// A certificate and its key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientCertificate {
    /// The certificate and those between it and its root, PEM.
    #[schemars(with = "String")]
    pub(crate) cert_file: Text,
    /// Its key, PEM, not encrypted.
    #[schemars(with = "String")]
    pub(crate) key_file: Text,
}

/// Headers, in the order of the file.
#[derive(Debug)]
pub(crate) struct Headers(pub(crate) Vec<(Spanned<String>, Spanned<RawSecret>)>);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;

        impl<'de> Visitor<'de> for Seen {
            type Value = Headers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping: `name: value`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut headers = Vec::new();
                while let Some(header) = map.next_entry()? {
                    headers.push(header);
                }
                Ok(Headers(headers))
            }
        }

        deserializer.deserialize_map(Seen)
    }
}
