//! What of an answer or an error may be shown: everything but what is secret in a URL or a header. Pure.
//!
//! In: what was said, and the URL that was asked. Out: the same text without the URL's secrets. Words that everybody's
//! URLs are made of stay: `send` in a path takes nothing out of `error sending request`.
//!
//! Must never happen: a secret that passes, as it was written or without its percent-encoding. What looks like neither
//! is taken for a secret.

use percent_encoding::percent_decode_str;
use url::Url;

/// Shorter parts of a URL are words.
const SECRET_AT_LEAST: usize = 4;
/// Longer parts are no words, whatever they are made of.
const WORD_AT_MOST: usize = 15;
/// Of digits and letters `a` to `f` alone: no word is longer.
const HEX_AT_LEAST: usize = 6;
/// More of them in a row are no word.
const CONSONANTS_AT_MOST: usize = 4;

/// Names in a query whose value is a secret whatever it looks like.
const SECRET_NAMES: [&str; 8] = [
    "key", "token", "secret", "sig", "sign", "pass", "auth", "code",
];

/// `said` without the secrets of `url`: receivers like to repeat the path they were asked for, and the path is often
/// the credential.
pub(super) fn without(url: &Url, said: &str) -> String {
    let said = said.replace(url.as_str(), "[url]");
    without_each(secrets(url), "[url]", &said)
}

/// `said` with each of `secrets` replaced, also as it is without percent-encoding.
pub(super) fn without_each<'a>(
    secrets: impl Iterator<Item = &'a str>,
    replacement: &str,
    said: &str,
) -> String {
    let mut secrets: Vec<&str> = secrets
        .filter(|secret| secret.len() >= SECRET_AT_LEAST)
        .collect();
    // The longest first: of one that another is part of, the rest would stay.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut said = said.to_owned();
    for secret in secrets {
        let decoded = percent_decode_str(secret).decode_utf8_lossy();
        said = said
            .replace(secret, replacement)
            .replace(decoded.as_ref(), replacement);
    }
    said
}

/// The parts of a URL that may be secret.
fn secrets(url: &Url) -> impl Iterator<Item = &str> {
    let path = url.path_segments().into_iter().flatten();
    let path = path.filter(|part| !is_word(part));
    let query = url.query().into_iter().flat_map(|query| query.split('&'));
    let query = query.flat_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_shown = is_word(value) && !is_secret_name(name);
        [(name, !is_word(name)), (value, !is_shown)]
    });
    let query = query.filter_map(|(part, is_secret)| is_secret.then_some(part));
    let user = Some(url.username()).filter(|user| !is_word(user));
    path.chain(query).chain(user).chain(url.password())
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// Whether `part` is made of such words as URLs are made of, or is the number of a version.
fn is_word(part: &str) -> bool {
    let is_version = part
        .strip_prefix('v')
        .is_some_and(|number| number.chars().all(|c| c.is_ascii_digit()));
    if is_version {
        return part.len() < SECRET_AT_LEAST;
    }
    let is_hex = part.len() >= HEX_AT_LEAST && part.chars().all(|c| c.is_ascii_hexdigit());
    part.len() <= WORD_AT_MOST && !is_hex && part.split(['-', '_', '.']).all(can_be_spoken)
}

fn can_be_spoken(word: &str) -> bool {
    let is_vowel = |c: char| "aeiouy".contains(c);
    let mut runs = word.split(is_vowel);
    let is_short = word.len() < SECRET_AT_LEAST;
    word.chars().all(|c| c.is_ascii_lowercase())
        && (is_short || word.contains(is_vowel))
        && runs.all(|run| run.len() <= CONSONANTS_AT_MOST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What answers and errors are made of.
    const WORDS: [&str; 12] = [
        "error",
        "sending",
        "request",
        "robot",
        "send",
        "webhook",
        "services",
        "invalid",
        "hook",
        "triggers",
        "open-apis",
        "token",
    ];

    #[test]
    fn of_the_urls_of_robots_only_the_secret_is_taken_out() {
        let cases = [
            (
                "https://oapi.dingtalk.com/robot/send?access_token=0a1b2c3d4e5f",
                "error sending request for robot/send: access_token 0a1b2c3d4e5f",
                "error sending request for robot/send: access_token [url]",
            ),
            (
                "https://open.feishu.cn/open-apis/bot/v2/hook/cb0ac8a9-7c3e-4a7b",
                "no hook cb0ac8a9-7c3e-4a7b below /open-apis/bot/v2/hook",
                "no hook [url] below /open-apis/bot/v2/hook",
            ),
            (
                "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=send",
                "cgi-bin: the key send is not known",
                "cgi-bin: the key [url] is not known",
            ),
            (
                "https://hooks.slack.com/services/T01/B0ABCDEF/xYz123",
                "no services for B0ABCDEF/xYz123 in services/T01",
                "no services for [url]/[url] in services/T01",
            ),
            (
                "https://user:send@h/triggers/manual?api-version=2016-06-01&sig=S%2Bg",
                "cannot send to manual: sig S+g",
                "cannot [url] to manual: sig [url]",
            ),
            (
                "https://h/deadbeef/kqxzwvbn/abcd1/abcd1xyz/Secret%20of",
                "deadbeef kqxzwvbn abcd1xyz Secret%20of Secret of",
                "[url] [url] [url] [url] [url]",
            ),
        ];
        for (url, said, expected) in cases {
            let url = Url::parse(url).unwrap();
            assert_eq!(without(&url, said), expected, "{url}");
        }
        let url = Url::parse("https://oapi.dingtalk.com/robot/send?access_token=0a1b2c").unwrap();
        assert_eq!(without(&url, &format!("GET {url}")), "GET [url]");
    }

    proptest! {
        #[test]
        fn no_secret_passes_and_every_word_does(
            secrets in proptest::collection::vec("[A-Za-z0-9_-]{0,20}[0-9][A-Za-z0-9]{3,20}", 5),
            words in proptest::collection::vec(proptest::sample::select(&WORDS[..]), 1..20),
            places in proptest::collection::vec((0_usize..5, 0_usize..20), 0..8),
        ) {
            let url = format!(
                "https://{}:{}@h/robot/send/{}/{}%20x?webhook={}",
                secrets[0], secrets[1], secrets[2], secrets[3], secrets[4],
            );
            let url = Url::parse(&url).unwrap();
            let mut said: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            for (secret, place) in places {
                let place = place.min(said.len());
                let secret = &secrets[secret];
                said.insert(place, format!("{secret} {secret}%20x"));
            }
            let shown = without(&url, &said.join(" "));
            for secret in &secrets[..3] {
                prop_assert!(!shown.contains(secret.as_str()), "{} in {}", secret, shown);
            }
            prop_assert!(!shown.contains(&format!("{}%20x", secrets[3])), "{}", shown);
            prop_assert!(!shown.contains(secrets[4].as_str()), "{}", shown);
            let left: Vec<&str> = shown.split(' ').filter(|one| WORDS.contains(one)).collect();
            prop_assert_eq!(left, words);
        }
    }
}
