use super::*;
use crate::parse;

/// Every key that a file may have, its secrets in files.
const FULL: &str = "
data_dir: /var/lib/syncbell
instances:
  - {id: cri-1, region: cn-shanghai, credentials: {profile: {name: prod}}, poll_every: 20s, sweep_every: 1h30m,
     filters: {namespace: team-a}}
  - {id: cri-2, region: cn-beijing, endpoint: 'http://127.0.0.1:8080', proxy: 'http://proxy:3128',
     credentials: {ecs_role: {}, assume_role: {arn: 'acs:ram::1:role/r', duration: 1h}}}
  - {discover: {regions: [cn-hangzhou], match: ['name=~prod-.*', tag.team!=x], every: 5m}, network: vpc}
bus: {kafka: {brokers: ['k:9092'], topic_prefix: acr, tls: {}}}
receivers:
  - name: ops
    webhook: {url: {file: url}, secret: [{file: key}, {file: key}], bearer: {file: key}, headers: {X-A: {file: key}},
              content_type: text/plain, timeout: 3s, proxy: 'http://proxy:3128'}
  - name: basic
    language: zh
    webhook: {url: 'https://hooks.example.com:8443/', secret: {file: key}, basic: {username: me, password: {file: key}}}
  - name: mail
    email: {from: a@example.com, to: [b@example.com], smtp: {host: h, tls: implicit, username: u, password: {file: key},
            hello: me.example.com}}
  - {name: ding, dingtalk: {url: {file: url}, secret: {file: key}, keyword: sync, rate: [3/m, 40/h],
                            at: {mobiles: ['13800000000'], all: true}}}
  - {name: lark, feishu: {url: {file: url}}}
  - {name: wecom, wecom: {url: {file: url}, at: {users: [zhang.san]}}}
  - {name: slack, slack: {url: {file: url}}}
windows:
  - {name: nights, time_zone: Asia/Shanghai, times: ['22:00-07:00'], days_of_week: [monday-friday]}
  - {name: month-end, days_of_month: ['-3--1'], months: [december]}
route:
  receivers: [ops, mail]
  group_by: [instance, rule]
  group_wait: 5s
  fallback: mail
  mute: [nights]
  routes:
    - {match: [severity=critical, 'from.namespace!~team-.*'], receivers: [ding], continue: true, group_by: ['...'], mute: []}
    - {match: [rule=failed], receivers: [slack], active: [month-end], repeat_interval: 4h, group_interval: 500ms}
rules:
  failed: {severity: critical, labels: {team: core}}
  stuck: {after: 3h, annotations: {runbook: 'https://wiki/x'}}
  vanished: {enabled: false}
  silent: {enabled: true, within: 12h, sync_rules: [cri-1/crsr-1], repos: [cri-2/ns/app]}
  own:
    - {name: slow_prod, match: [from.namespace=prod, task_status=SYNCHRONIZING], for: 10m, severity: error}
  expire_after: 3d
inhibit:
  - {source: [rule=blind], target: [rule=stuck], equal: [instance]}
flapping: {changes: 4, within: 2h}
console: {repository: ''}
egress: strict
allow_networks: [10.1.0.0/16]
heartbeat: {url: 'https://deadman.example.com/ping/S3CRET-of-mine', every: 2m}
watchdog: {receiver_failing_for: 1h}
baseline: {alert: true}
retention: {tasks: 30d, deliveries: 36h}
disk: {min_free: 1GiB}
admin: {listen: 127.0.0.1:1}
";

const SMALLEST: &str = "
instances: [{id: cri-1, region: cn-shanghai}]
receivers: [{name: ops, webhook: {url: 'https://hooks.example.com/', secret: {file: key}}}]
route: {receivers: [ops]}
";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("url", "https://hooks.example.com/services/S3CRET-of-mine\n");
    write("key", "S3CRET-of-mine-and-long\n");
    folder
}

fn read(text: &str, folder: &Path) -> Config {
    parse(text, "syncbell.yaml", folder, &|_| None).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn what_is_shown_is_the_same_configuration_and_holds_no_secret() {
    let folder = folder();
    for text in [FULL, SMALLEST] {
        let config = read(text, folder.path());
        let yaml = config.shown().to_yaml().unwrap();
        assert!(!yaml.contains("S3CRET"), "{yaml}");
        let json = serde_json::to_string(&config.shown()).unwrap();
        assert!(!json.contains("S3CRET"), "{json}");
        let again = read(&yaml, folder.path());
        assert_eq!(again.shown(), config.shown(), "{yaml}");
        // Nothing is left out: what both are is the same. Places in the file are another's.
        let plain = |config: Config| {
            let config = Config {
                warnings: Vec::new(),
                ..config
            };
            format!("{config:#?}")
        };
        assert_eq!(plain(again), plain(config), "{yaml}");
    }
}

#[test]
fn every_default_is_said() {
    let folder = folder();
    let config = read(SMALLEST, folder.path());
    let yaml = config.shown().to_yaml().unwrap();
    for line in [
        "poll_every: 15s",
        "sweep_every: 30m",
        "timeout: 10s",
        "expire_after: 7d",
        "receiver_failing_for: 15m",
        "min_free: 256MiB",
        "listen: 127.0.0.1:9464",
        "network: public",
        "embedded: {}",
    ] {
        assert!(yaml.contains(line), "{line} in\n{yaml}");
    }
}
