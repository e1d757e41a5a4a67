//! Links to the registry's console. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use syncbell_config::Console;
use syncbell_event::Image;

/// What RFC 3986 calls unreserved stays as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Mail clients and chats cut longer ones.
const LIMIT_BYTES: usize = 1_000;

/// The page of an instance; none where its region is not known, or no link is wanted.
pub(super) fn instance(
    console: &Console,
    region: Option<&str>,
    id: Option<&str>,
) -> Option<String> {
    let values = [("region", region), ("instance", id)];
    filled(console.instance.as_ref()?, &values)
}

/// The page of an image's repository; none where a part that the page asks for is not known.
pub(super) fn repository(console: &Console, image: &Image) -> Option<String> {
    let values = [
        ("region", image.region_id.as_deref()),
        ("instance", image.instance_id.as_deref()),
        ("namespace", image.namespace.as_deref()),
        ("repo", image.repo.as_deref()),
        ("tag", image.tag.as_deref()),
    ];
    filled(console.repository.as_ref()?, &values)
}

/// `pattern` with each `{place}` filled in. Whatever a value holds, it stays within its place.
fn filled(pattern: &str, values: &[(&str, Option<&str>)]) -> Option<String> {
    let mut url = String::new();
    let mut rest = pattern;
    while let Some((before, behind)) = rest.split_once('{') {
        let (place, behind) = behind.split_once('}')?;
        let (_, value) = values.iter().find(|(name, _)| *name == place)?;
        let value = value.filter(|value| !value.is_empty() && *value != "." && *value != "..")?;
        url.push_str(before);
        url.extend(utf8_percent_encode(value, KEPT));
        rest = behind;
    }
    url.push_str(rest);
    (url.len() <= LIMIT_BYTES).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(repo: &str) -> Image {
        Image {
            region_id: Some("cn-shanghai".into()),
            instance_id: Some("cri-1".into()),
            namespace: Some("team-a".into()),
            repo: Some(repo.into()),
            tag: None,
        }
    }

    #[test]
    fn a_link_is_made_of_what_is_known_and_nothing_gets_out_of_its_place() {
        let by_default = Console::default();
        let page = instance(&by_default, Some("cn-shanghai"), Some("cri-1"));
        let expected = "https://cr.console.aliyun.com/cn-shanghai/instance/cri-1/dashboard";
        assert_eq!(page.as_deref(), Some(expected));
        assert_eq!(instance(&by_default, None, Some("cri-1")), None);
        assert_eq!(instance(&by_default, Some("cn-shanghai"), Some("..")), None);
        let own = Console {
            instance: None,
            repository: Some("https://console.example.com/{namespace}/{repo}?tab=tags".into()),
        };
        assert_eq!(instance(&own, Some("cn-shanghai"), Some("cri-1")), None);
        let page = |repo: &str| repository(&own, &image(repo)).unwrap();
        assert_eq!(
            page("web"),
            "https://console.example.com/team-a/web?tab=tags"
        );
        assert_eq!(
            page("a/../b?x=\"><{tag}\n"),
            "https://console.example.com/team-a/a%2F..%2Fb%3Fx%3D%22%3E%3C%7Btag%7D%0A?tab=tags"
        );
        assert_eq!(repository(&own, &image(&"x".repeat(2_000))), None);
        let tagged = Console {
            repository: Some("https://console.example.com/{tag}".into()),
            ..own
        };
        assert_eq!(
            repository(&tagged, &image("web")),
            None,
            "its tag is not known"
        );
    }
}
