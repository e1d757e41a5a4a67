//! Who may do what, where the brokers ask.

use super::Admin;
use super::wire::Request;

/// `ResourceType`, with Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Topics.
    Topic = 2,
    /// Consumer groups.
    Group = 3,
    /// The cluster: its name is `kafka-cluster`.
    Cluster = 4,
    /// Ids of transactions.
    TransactionalId = 5,
}

/// `AclOperation`, with Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Everything.
    All = 2,
    /// Fetch records; join a group.
    Read = 3,
    /// Append records.
    Write = 4,
    /// Create topics.
    Create = 5,
    /// Delete topics or records.
    Delete = 6,
    /// Change partitions.
    Alter = 7,
    /// Know that it is there.
    Describe = 8,
    /// Read settings.
    DescribeConfigs = 10,
    /// Change settings.
    AlterConfigs = 11,
    /// Append as an idempotent producer.
    IdempotentWrite = 12,
}

/// `PatternType`: the name, or what begins with it.
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
/// `AclPermissionType::ALLOW`.
const ALLOW: i8 = 3;

impl Admin {
    /// Allows `principal` (such as `User:syncbell`, or `User:CN=…` of a client certificate) an operation on
    /// all resources of a kind whose name begins with `prefix`; every broker knows it moments later. For clusters that were started with
    /// [`KafkaOptions::acls`](super::KafkaOptions::acls).
    pub async fn allow(
        &self,
        principal: &str,
        operation: Operation,
        resource: Resource,
        prefix: &str,
    ) {
        // CreateAcls
        let request = Request::new(30, 1).array(1).i8(resource as i8).text(prefix);
        let pattern = match resource {
            Resource::Cluster => LITERAL,
            Resource::Topic | Resource::Group | Resource::TransactionalId => PREFIXED,
        };
        let request = request.i8(pattern).text(principal).text("*");
        let request = request.i8(operation as i8).i8(ALLOW);
        let what = format!("allow {principal} {operation:?} of {resource:?} {prefix}");
        self.change(&what, &request, None, |answer| {
            answer.i32()?; // Throttle time.
            answer.array(|acl| Ok((acl.i16()?, acl.nullable()?)))
        })
        .await;
    }
}
