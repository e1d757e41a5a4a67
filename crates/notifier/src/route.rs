//! Who is told: one level of routes, and how each receiver wants it. Pure.

use syncbell_config::{Matcher, Receiver, ReceiverKind, Route};

use crate::delivery::{Entry, Target};
use crate::group::{Label, Policy};

/// One receiver of the route.
#[derive(Clone, Debug)]
pub(crate) struct Recipient {
    /// Its name in the configuration.
    pub(crate) name: String,
    /// Where it delivers to: one, or for mail one an address.
    pub(crate) targets: Vec<Target>,
    /// How it groups.
    pub(crate) policy: Policy,
}

/// The whole route: every entry that matches goes to every recipient.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    matchers: Vec<(Label, Matcher)>,
    recipients: Vec<Recipient>,
}

impl Routes {
    /// From the checked configuration.
    pub(crate) fn new(route: &Route, receivers: &[Receiver]) -> Self {
        let named = receivers
            .iter()
            .filter(|receiver| route.receivers.contains(&receiver.name));
        let matchers = route
            .matchers
            .iter()
            .filter_map(|matcher| Some((Label::named(&matcher.label)?, matcher.clone())));
        Self {
            matchers: matchers.collect(),
            recipients: named.map(|receiver| recipient(route, receiver)).collect(),
        }
    }

    /// The recipients of `entry`.
    pub(crate) fn of(&self, entry: &Entry) -> &[Recipient] {
        let mut matchers = self.matchers.iter();
        let holds = matchers.all(|(label, matcher)| matcher.holds(&label.of(entry)));
        if holds { &self.recipients } else { &[] }
    }

    /// The recipient of that name, if the configuration still has it.
    pub(crate) fn named(&self, name: &str) -> Option<&Recipient> {
        self.recipients
            .iter()
            .find(|recipient| recipient.name == name)
    }
}

/// All targets of a receiver.
pub(crate) fn targets(receiver: &Receiver) -> Vec<Target> {
    let target = |address| Target {
        receiver: receiver.name.clone(),
        address,
    };
    match &receiver.kind {
        ReceiverKind::Webhook(_) => vec![target(None)],
        ReceiverKind::Email(email) => email.to.iter().cloned().map(Some).map(target).collect(),
    }
}

fn recipient(route: &Route, receiver: &Receiver) -> Recipient {
    let mut policy = match receiver.kind {
        ReceiverKind::Webhook(_) => Policy::each(),
        ReceiverKind::Email(_) => Policy::people(),
    };
    if let Some(labels) = &route.group_by {
        let each = labels.iter().any(|label| label == "...");
        policy.group_by = (!each).then(|| {
            labels
                .iter()
                .filter_map(|label| Label::named(label))
                .collect()
        });
    }
    policy.group_wait = route.group_wait.unwrap_or(policy.group_wait);
    policy.group_interval = route.group_interval.unwrap_or(policy.group_interval);
    policy.repeat_interval = route.repeat_interval.unwrap_or(policy.repeat_interval);
    Recipient {
        name: receiver.name.clone(),
        targets: targets(receiver),
        policy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As with the labels.
    #[test]
    fn the_configuration_knows_every_rule() {
        for rule in crate::decide::Rule::ALL {
            let text = format!(
                "instances: [{{id: a, region: b}}]\n\
                 receivers: [{{name: r, webhook: {{url: 'http://x'}}}}]\n\
                 route: {{receivers: [r], match: ['rule={}']}}\n",
                rule.as_str()
            );
            let read = syncbell_config::parse(&text, "x", std::path::Path::new("."), &|_| None);
            assert!(read.is_ok(), "{rule:?}");
        }
    }

    /// The configuration checks labels against a list of its own: it may not depend on this crate.
    #[test]
    fn the_configuration_knows_every_label() {
        for (label, _) in Label::ALL {
            let text = format!(
                "instances: [{{id: a, region: b}}]\n\
                 receivers: [{{name: r, webhook: {{url: 'http://x'}}}}]\n\
                 route: {{receivers: [r], group_by: [{label}]}}\n"
            );
            let read = syncbell_config::parse(&text, "x", std::path::Path::new("."), &|_| None);
            assert!(read.is_ok(), "{label}");
        }
    }
}
