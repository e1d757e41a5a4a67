//! Who is told: the tree of routes, and how each receiver wants it. Pure.
//!
//! A route that matches gives the entry to the first of its own routes that matches, and to those behind it
//! as long as they say `continue`; where none matches, to its own receivers. So does Alertmanager.

use std::collections::BTreeSet;

use syncbell_config::{Hours, Receiver, ReceiverKind, Route};

use crate::deliver::a_minute;
use crate::delivery::{Entry, Target};
use crate::group::{Policy, TOP};
use crate::label::{Condition, Label};

/// One receiver of one route.
#[derive(Clone, Debug)]
pub(crate) struct Recipient {
    /// Its name in the configuration.
    pub(crate) name: String,
    /// The route's place in the configuration, such as `route.routes[1]`.
    pub(crate) path: String,
    /// Where it delivers to: one, or for mail one an address.
    pub(crate) targets: Vec<Target>,
    /// How it groups.
    pub(crate) policy: Policy,
    /// When it may be told.
    pub(crate) hours: Hours,
    /// Who is told what it does not take.
    pub(crate) fallback: Vec<Target>,
}

/// The tree.
#[derive(Clone, Debug)]
pub(crate) struct Routes(Node);

#[derive(Clone, Debug)]
struct Node {
    conditions: Vec<Condition<Label>>,
    continues: bool,
    recipients: Vec<Recipient>,
    /// Who is told what they do not take.
    instead: Option<Recipient>,
    routes: Vec<Node>,
}

impl Routes {
    /// From the checked configuration.
    pub(crate) fn new(route: &Route, receivers: &[Receiver]) -> Self {
        Self(Node::new(route, receivers, TOP))
    }

    /// With the interval of what flaps, for receivers of which people read what they get.
    pub(crate) fn flapping(mut self, flapping: Option<syncbell_config::Flapping>) -> Self {
        let mut nodes = vec![&mut self.0];
        while let Some(node) = nodes.pop() {
            for recipient in node.recipients.iter_mut().chain(&mut node.instead) {
                let interval = &mut recipient.policy.flapping_interval;
                *interval = interval.and(flapping.map(|flapping| flapping.every));
            }
            nodes.extend(&mut node.routes);
        }
        self
    }

    /// Who is told `entry`, in the order of the routes. A receiver is told once, by the first route that
    /// leads there: to be told the same twice helps nobody.
    pub(crate) fn of(&self, entry: &Entry) -> Vec<&Recipient> {
        let mut found: Vec<&Recipient> = Vec::new();
        for recipient in self.taking(entry).iter().flat_map(|node| &node.recipients) {
            if found.iter().all(|known| known.name != recipient.name) {
                found.push(recipient);
            }
        }
        found
    }

    /// The routes whose receivers are told `entry`, in their order.
    fn taking(&self, entry: &Entry) -> Vec<&Node> {
        let mut found = Vec::new();
        self.0.matching(entry, &mut found);
        found
    }

    /// The recipient of that name, if the configuration still has it; by the route of this path, if it is
    /// still among its receivers, or its fallback.
    pub(crate) fn at(&self, path: &str, name: &str) -> Option<&Recipient> {
        let instead = || self.nodes().filter_map(|node| node.instead.as_ref());
        let all = || {
            let all = self.recipients().chain(instead());
            all.filter(|recipient| recipient.name == name)
        };
        all()
            .find(|recipient| recipient.path == path)
            .or_else(|| all().next())
    }

    /// The recipient of that name, if the configuration still has it.
    pub(crate) fn named(&self, name: &str) -> Option<&Recipient> {
        self.recipients().find(|recipient| recipient.name == name)
    }

    /// Who is told what the receiver of that name does not take, by any route.
    pub(crate) fn fallbacks(&self, name: &str) -> Vec<Target> {
        let named = self.recipients().filter(|recipient| recipient.name == name);
        let all: BTreeSet<&Target> = named.flat_map(|recipient| &recipient.fallback).collect();
        all.into_iter().cloned().collect()
    }

    /// The fallback of that name of the receiver `receiver`, by the first route that says so.
    pub(crate) fn fallback(&self, receiver: &str, name: &str) -> Option<&Recipient> {
        let mut of_receiver = self.nodes().filter(|node| {
            let mut recipients = node.recipients.iter();
            recipients.any(|recipient| recipient.name == receiver)
        });
        of_receiver.find_map(|node| node.instead.as_ref().filter(|instead| instead.name == name))
    }

    /// Who is told now what `receiver` does not take: the fallback of its first route that has one. Where it is in no
    /// route any more, that of the routes which take `entry`.
    pub(crate) fn fallback_now(&self, receiver: &str, entry: &Entry) -> Option<&Recipient> {
        let is_of = |node: &&Node| node.recipients.iter().any(|one| one.name == receiver);
        let of_receiver: Vec<&Node> = self.nodes().filter(is_of).collect();
        let nodes = if of_receiver.is_empty() {
            self.taking(entry)
        } else {
            of_receiver
        };
        let mut instead = nodes.into_iter().filter_map(|node| node.instead.as_ref());
        instead.find(|instead| instead.name != receiver)
    }

    fn recipients(&self) -> impl Iterator<Item = &Recipient> {
        self.nodes().flat_map(|node| &node.recipients)
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        let mut nodes = vec![&self.0];
        let mut at = 0;
        while at < nodes.len() {
            nodes.extend(&nodes[at].routes);
            at += 1;
        }
        nodes.into_iter()
    }
}

impl Node {
    fn new(route: &Route, receivers: &[Receiver], path: &str) -> Self {
        let children = route.routes.iter().enumerate();
        let routes = children
            .map(|(number, child)| Self::new(child, receivers, &format!("{path}.routes[{number}]")))
            .collect();
        let named = |name: &String| receivers.iter().find(|receiver| receiver.name == *name);
        let fallback = route.fallback.as_ref().and_then(named);
        let recipient = |receiver: &Receiver| {
            let fallback = fallback.filter(|fallback| fallback.name != receiver.name);
            Recipient {
                name: receiver.name.clone(),
                path: path.to_owned(),
                targets: targets(receiver),
                policy: policy(route, receiver),
                hours: route.hours.clone(),
                fallback: fallback.map_or_else(Vec::new, targets),
            }
        };
        Self {
            conditions: Condition::all(&route.matchers),
            continues: route.continues,
            recipients: route
                .receivers
                .iter()
                .filter_map(named)
                .map(recipient)
                .collect(),
            instead: fallback.map(|fallback| Recipient {
                name: fallback.name.clone(),
                path: format!("{path}.fallback"),
                targets: targets(fallback),
                policy: policy_instead(route, fallback),
                hours: Hours::default(),
                fallback: Vec::new(),
            }),
            routes,
        }
    }

    /// Whether it takes `entry`; those of it whose own receivers are told are added to `found`.
    fn matching<'a>(&'a self, entry: &Entry, found: &mut Vec<&'a Self>) -> bool {
        if !self
            .conditions
            .iter()
            .all(|condition| condition.holds(entry))
        {
            return false;
        }
        let mut taken = false;
        for route in &self.routes {
            let takes = route.matching(entry, found);
            taken |= takes;
            if takes && !route.continues {
                break;
            }
        }
        if !taken {
            found.push(self);
        }
        true
    }
}

/// All targets of a receiver.
pub(crate) fn targets(receiver: &Receiver) -> Vec<Target> {
    let target = |address| Target {
        receiver: receiver.name.clone(),
        address,
    };
    match &receiver.kind {
        ReceiverKind::Webhook(_) | ReceiverKind::Chat(_) => vec![target(None)],
        ReceiverKind::Email(email) => email.to.iter().cloned().map(Some).map(target).collect(),
    }
}

fn policy_of_channel(receiver: &Receiver) -> Policy {
    match &receiver.kind {
        ReceiverKind::Webhook(_) => Policy::each(),
        ReceiverKind::Email(_) => Policy::people(),
        ReceiverKind::Chat(chat) => Policy::people().within(a_minute(&chat.rates)),
    }
}

/// Of a fallback: a program is told each, people are not told each, whatever the receiver of the route wants that did
/// not take it.
fn policy_instead(route: &Route, fallback: &Receiver) -> Policy {
    let (of_route, of_channel) = (policy(route, fallback), policy_of_channel(fallback));
    let group_by = of_channel
        .group_by
        .map(|by| of_route.group_by.unwrap_or(by));
    Policy {
        group_by,
        ..of_route
    }
}

fn policy(route: &Route, receiver: &Receiver) -> Policy {
    let mut policy = policy_of_channel(receiver);
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
    policy
}

#[cfg(test)]
mod tests;
