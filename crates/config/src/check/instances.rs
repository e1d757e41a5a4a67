//! What is watched, who asks for it, and on which way.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_saphyr::{Location, Spanned};
use url::Url;

use super::Checker;
use crate::config::{Authorities, Credentials, Discovery, Filters, Instance, Network, WayOut};
use crate::problem::suggestion;
use crate::raw;
use crate::secret::{RawSecret, Secret};

/// Requests a second that one account may make in one region.
const BUDGET_PER_SECOND: f64 = 10.0;

/// What stands beside `id` or `discover` and is read once, for all regions of a discovery.
struct Access {
    credentials: Credentials,
    network: Network,
    endpoint: Option<Url>,
    way_out: WayOut,
}

impl Checker<'_> {
    pub(super) fn instances(
        &mut self,
        raw: Option<Spanned<Vec<Spanned<raw::Instance>>>>,
    ) -> (Vec<Instance>, Vec<Discovery>) {
        let (mut instances, mut discoveries) = (Vec::<Instance>::new(), Vec::new());
        let Some(raw) = raw else {
            self.error(
                Location::UNKNOWN,
                "the key `instances` is missing: nothing to watch",
            );
            return (instances, discoveries);
        };
        if raw.value.is_empty() {
            self.error(raw.referenced, "`instances` is empty: nothing to watch");
        }
        let at = raw.referenced;
        let mut ids = HashSet::new();
        for raw in raw.value {
            if let Some(id) = &raw.value.id
                && !ids.insert(id.value.clone())
            {
                self.error(
                    id.referenced,
                    format!("the instance {} stands here twice", id.value),
                );
            }
            self.entry(raw, &mut instances, &mut discoveries);
        }
        name_apart(&mut discoveries);
        self.warn_of_haste(at, &instances);
        (instances, discoveries)
    }

    fn warn_of_haste(&mut self, at: Location, instances: &[Instance]) {
        let mut asked: HashMap<(&Credentials, &str), f64> = HashMap::new();
        for instance in instances {
            // A shorter interval has been refused above.
            let seconds = instance.poll_every.as_secs_f64().max(1.0);
            let account = (&instance.credentials, instance.region.as_str());
            *asked.entry(account).or_default() += 1.0 / seconds;
        }
        let too_often = asked.into_iter().filter(|(_, n)| *n > BUDGET_PER_SECOND);
        let mut regions: Vec<&str> = too_often.map(|((_, region), _)| region).collect();
        regions.sort_unstable();
        for region in regions {
            let message = format!(
                "the instances of {region} ask more often than 10 times a second: \
                 they will be slowed down to that"
            );
            self.warn(at, message);
        }
    }

    /// An instance, or a discovery of instances.
    fn entry(
        &mut self,
        raw: Spanned<raw::Instance>,
        instances: &mut Vec<Instance>,
        discoveries: &mut Vec<Discovery>,
    ) {
        let at = raw.referenced;
        let mut raw = raw.value;
        let access = self.access(&mut raw);
        let Some(discover) = raw.discover.take() else {
            let id = self.required("id", raw.id.take(), at);
            let region = self.required("region", raw.region.take(), at);
            if let (Some(id), Some(region)) = (id, region) {
                instances.extend(self.instance(id.value, &region, &raw, &access, at));
            }
            return;
        };
        for (key, value) in [("id", &raw.id), ("region", &raw.region)] {
            if let Some(value) = value {
                let message = format!("`{key}` has no place beside `discover`");
                self.error(value.referenced, message);
            }
        }
        let found = self.discoveries(discover, |checker, id, region| {
            checker.instance(id, &region, &raw, &access, at)
        });
        discoveries.extend(found);
    }

    fn access(&mut self, raw: &mut raw::Instance) -> Access {
        let credentials = raw.credentials.take();
        let network = self.network(raw);
        let endpoint = raw.endpoint.take();
        Access {
            credentials: credentials
                .map(|raw| self.credentials(raw))
                .unwrap_or_default(),
            network,
            endpoint: endpoint.and_then(|endpoint| self.endpoint(&endpoint)),
            way_out: WayOut {
                proxy: raw.proxy.take().and_then(|proxy| self.proxy(&proxy)),
                ca: raw.ca_file.take().and_then(|file| self.authorities(&file)),
            },
        }
    }

    fn network(&mut self, raw: &raw::Instance) -> Network {
        let Some(network) = &raw.network else {
            return Network::Public;
        };
        let at = network.referenced;
        if raw.endpoint.is_some() {
            let message = "`network` says nothing where `endpoint` does: leave one of them out";
            self.warn(at, message);
        }
        match network.value.as_str() {
            "public" => Network::Public,
            "vpc" => Network::Vpc,
            other => {
                let hint = suggestion(other, &["public", "vpc"]);
                self.error(at, format!("`network`: unknown value `{other}`{hint}"));
                Network::Public
            }
        }
    }

    fn endpoint(&mut self, endpoint: &Spanned<String>) -> Option<Url> {
        let url = self.url("endpoint", endpoint)?;
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            self.error(
                endpoint.referenced,
                "`endpoint`: expected a URL without path and query",
            );
        }
        Some(url)
    }

    /// No message shows it: a password may be in it.
    pub(super) fn proxy(&mut self, raw: &Spanned<RawSecret>) -> Option<Secret<Url>> {
        let at = raw.referenced;
        let text = match raw.value.resolve(self.folder, self.env) {
            Ok(text) => text,
            Err(message) => {
                self.lack(at, format!("`proxy`: {message}"));
                return None;
            }
        };
        let url = Url::parse(text.expose().trim()).ok().filter(|url| {
            let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some() && is_bare
        });
        let Some(url) = url else {
            let message = "`proxy`: expected an http:// or https:// URL without path and query";
            self.lack(at, message.to_owned());
            return None;
        };
        if url.password().is_some() && matches!(raw.value, RawSecret::Literal(_)) {
            let message = "the password of `proxy` stands in the file: prefer `{env: NAME}` or \
                           `{file: PATH}` for the whole URL";
            self.warn(at, message);
        }
        Some(Secret::new(url))
    }

    fn authorities(&mut self, raw: &Spanned<String>) -> Option<Authorities> {
        let marker = "-----BEGIN CERTIFICATE-----";
        let (file, pem) = self.pem_file("ca_file", marker, "certificates", raw)?;
        Some(Authorities {
            file,
            pem: pem.into(),
        })
    }

    /// `raw` without its id and region.
    fn instance(
        &mut self,
        id: String,
        region: &Spanned<String>,
        raw: &raw::Instance,
        access: &Access,
        at: Location,
    ) -> Option<Instance> {
        let instance = self
            .region(region)
            .and_then(|region| Instance::try_new(id, region));
        let mut instance = instance?;
        instance.credentials = access.credentials.clone();
        instance.network = access.network;
        instance.way_out = access.way_out.clone();
        let by_rule = || Instance::endpoint_of(&instance.region, access.network);
        instance.endpoint = access.endpoint.clone().or_else(by_rule)?;
        let poll_at = raw.poll_every.as_ref().map_or(at, |text| text.referenced);
        let poll_every = raw.poll_every.clone();
        instance.poll_every = self.duration("poll_every", poll_every, instance.poll_every);
        if instance.poll_every < Duration::from_secs(1) {
            self.error(poll_at, "`poll_every`: expected at least `1s`");
        }
        if let Some(sweep_every) = &raw.sweep_every {
            let sweep_at = sweep_every.referenced;
            instance.sweep_every = self.duration(
                "sweep_every",
                Some(sweep_every.clone()),
                instance.sweep_every,
            );
            if instance.sweep_every < instance.poll_every {
                self.error(sweep_at, "`sweep_every`: expected at least `poll_every`");
            }
        } else {
            instance.sweep_every = instance.sweep_every.max(instance.poll_every);
        }
        if let Some(raw) = &raw.filters {
            let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
            instance.filters = Filters {
                namespace: filled(&raw.namespace),
                repo: filled(&raw.repo),
                tag: filled(&raw.tag),
                batch_id: filled(&raw.batch_id),
            };
        }
        Some(instance)
    }
}

/// Two discoveries of one region keep what they know apart: under their ids. Where the credentials have
/// a name it is part of the id, so that it does not depend on the order in the file.
fn name_apart(discoveries: &mut [Discovery]) {
    let mut taken = HashSet::new();
    for discovery in discoveries {
        let like = &mut discovery.like;
        if let Some(name) = like.credentials.name() {
            like.id = format!("{}-{name}", like.id);
        }
        let first = like.id.clone();
        let mut number = 2;
        while !taken.insert(like.id.clone()) {
            like.id = format!("{first}-{number}");
            number += 1;
        }
    }
}

/// `cn-shanghai`: lower case words and digits joined by single hyphens; it becomes part of a host name.
pub(super) fn is_region(region: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    region.len() <= 63
        && region
            .split('-')
            .all(|word| !word.is_empty() && word.chars().all(fits))
}
