use std::path::Path;

use crate::parse;

#[test]
fn a_discovery_gives_one_for_each_region_with_the_keys_beside_it() {
    let text = "instances:\n  - discover: {regions: [cn-beijing, cn-hangzhou], match: ['name=~prod-.*', 'tag.env=x']}\n    \
                poll_every: 30s\nreceivers: [{name: r, webhook: {url: 'http://x'}}]\nroute: {receivers: [r]}\n";
    let config = parse(text, "x", Path::new("."), &|_| None).unwrap();
    assert!(config.instances.is_empty());
    let regions: Vec<&str> = config
        .discoveries
        .iter()
        .map(|discovery| discovery.like.region.as_str())
        .collect();
    assert_eq!(regions, ["cn-beijing", "cn-hangzhou"]);
    let first = &config.discoveries[0];
    assert_eq!(first.like.id, "instances-of-cn-beijing");
    assert_eq!(
        first.like.endpoint.host_str(),
        Some("cr.cn-beijing.aliyuncs.com")
    );
    assert_eq!(first.like.poll_every.as_secs(), 30);
    assert_eq!((first.matchers.len(), first.every.as_secs()), (2, 600));
}

#[test]
fn mistakes_in_a_discovery_are_named_at_their_place() {
    let cases = [
        (
            "{regions: []}",
            "2:15 the key `regions` is missing here, or empty",
        ),
        (
            "{regions: [CN]}",
            "2:26 `region`: expected a region id such as `cn-shanghai`",
        ),
        ("{regions: [a, a]}", "2:29 the region a stands here twice"),
        (
            "{regions: [a], match: ['nme=x']}",
            "2:38 unknown label `nme`, did you mean `name`?",
        ),
        (
            "{regions: [a], match: ['tag.=x']}",
            "2:38 unknown label `tag.`",
        ),
        (
            "{regions: [a], every: 0s}",
            "2:37 `every`: expected at least `1s`",
        ),
        (
            "{regions: [a]}\n    id: cri-1",
            "3:9 `id` has no place beside `discover`",
        ),
    ];
    for (discover, expected) in cases {
        let text = format!(
            "instances:\n  - discover: {discover}\nreceivers: [{{name: r, webhook: {{url: 'http://x'}}}}]\n\
             route: {{receivers: [r]}}\n"
        );
        let problems = parse(&text, "x", Path::new("."), &|_| None).unwrap_err();
        let found: Vec<String> = problems
            .0
            .iter()
            .map(|problem| format!("{}:{} {}", problem.line, problem.column, problem.message))
            .collect();
        assert!(
            found.iter().any(|found| found.starts_with(expected)),
            "{discover}: {found:?}"
        );
    }
}
