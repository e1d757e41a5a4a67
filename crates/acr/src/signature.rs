//! Why a signature was refused: the server says what it signed, and we know what we did. Pure.
//!
//! In: the server's message, our canonical request, both clocks. Out: the one thing to look at. Must never
//! happen: a secret in it; a security token is among what is signed.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::error::{hidden, skew};

/// The server tolerates so much.
const TOLERANCE_SECONDS: u64 = 15 * 60;

/// Before what the server signed, in the message of `SignatureDoesNotMatch`: read in the vendor's SDKs.
const MARK: &str = "string to sign is:";

/// Parts of a request whose two values are shown. Of all others only the name is: a security token is
/// among them.
const SHOWN: [&str; 4] = ["host", "x-acs-action", "x-acs-version", "x-acs-date"];

/// Why our signature is not the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Both signed the same text.
    WrongSecret,
    /// The clocks are more than 15 minutes apart.
    Clock {
        /// Ours less theirs.
        skew_seconds: i64,
    },
    /// The server got another request than the one we sent: a proxy or gateway changed it.
    Changed {
        /// What differs first, as far as the server tells it.
        part: String,
    },
    /// The server does not say what it signed.
    Untold,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongSecret => f.write_str(
                "the access key's secret is wrong: the server signed the same request and got another \
                 signature",
            ),
            Self::Clock { skew_seconds } => {
                write!(f, "this machine's clock is {} the server", skew(Some(*skew_seconds)))
            }
            Self::Changed { part } => {
                write!(f, "something between here and the server changed the request: {part}")
            }
            Self::Untold => f.write_str(
                "the server does not say what it signed: look at the access key's secret, the clock, and \
                 what is between here and the server",
            ),
        }
    }
}

/// Compares what the server says in `message` with `ours`, the canonical request that we signed.
pub(crate) fn compare(message: &str, ours: &str, skew_seconds: Option<i64>) -> Mismatch {
    let theirs = message
        .split_once(MARK)
        .map(|(_, theirs)| unescaped(theirs));
    let theirs = theirs.as_deref().unwrap_or_default();
    let our_hash = hex::encode(Sha256::digest(ours));
    let their_hash = hash(theirs);
    if their_hash.is_some_and(|hash| hash.eq_ignore_ascii_case(&our_hash)) {
        return Mismatch::WrongSecret;
    }
    // Wherever it stands now: a name is shown.
    let token = ours
        .lines()
        .find_map(|line| line.strip_prefix("x-acs-security-token:"));
    let token = [token.unwrap_or_default()];
    let (ours, theirs) = (hidden(ours, &token), hidden(theirs, &token));
    if let Some(request) = canonical(&theirs) {
        return match difference(&ours, request) {
            Some(part) => Mismatch::Changed { part },
            None => Mismatch::WrongSecret,
        };
    }
    let apart = skew_seconds.filter(|seconds| seconds.unsigned_abs() > TOLERANCE_SECONDS);
    match (apart, their_hash) {
        (Some(skew_seconds), _) => Mismatch::Clock { skew_seconds },
        (None, Some(_)) => Mismatch::Changed {
            part: "the server signed another text, and does not say which".to_owned(),
        },
        (None, None) => Mismatch::Untold,
    }
}

/// Some gateways write a line's end as two characters.
fn unescaped(text: &str) -> String {
    if text.contains('\n') {
        text.replace('\r', "")
    } else {
        text.replace("\\r", "").replace("\\n", "\n")
    }
}

/// Of the form of ACS3: the algorithm, then the SHA-256 of the canonical request.
fn hash(theirs: &str) -> Option<&str> {
    let (_, rest) = theirs.split_once("ACS3-HMAC-SHA256")?;
    let rest = rest.trim_start();
    let hash = rest.get(..64)?;
    let ends = !rest[64..].starts_with(|c: char| c.is_ascii_hexdigit());
    (ends && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(hash)
}

/// The canonical request, if it is there: from a method on, which may stand behind other words.
fn canonical(theirs: &str) -> Option<&str> {
    let methods = ["POST\n", "GET\n", "PUT\n", "HEAD\n"];
    let begin = methods.iter().filter_map(|method| {
        let at = theirs.find(&format!("{method}/"))?;
        let before = theirs[..at].chars().next_back();
        (!before.is_some_and(char::is_alphanumeric)).then_some(at)
    });
    begin.min().map(|at| &theirs[at..])
}

/// A canonical request, taken apart.
struct Parts<'a> {
    method: &'a str,
    path: &'a str,
    query: BTreeMap<&'a str, &'a str>,
    headers: BTreeMap<&'a str, &'a str>,
    signed: &'a str,
    body: &'a str,
}

impl<'a> Parts<'a> {
    fn of(request: &'a str) -> Self {
        let mut lines = request.split('\n');
        let mut line = || lines.next().unwrap_or_default();
        let (method, path, query) = (line(), line(), line());
        let mut headers = BTreeMap::new();
        while let Some((name, value)) = line().split_once(':') {
            headers.insert(name, value.trim());
        }
        let (signed, body) = (line(), line());
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self {
            method,
            path,
            query: pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .collect(),
            headers,
            signed,
            // Other words may follow it.
            body: body.get(..64).unwrap_or(body),
        }
    }
}

/// What differs first, in the order of the canonical request.
fn difference(ours: &str, theirs: &str) -> Option<String> {
    let (ours, theirs) = (Parts::of(ours), Parts::of(theirs));
    let shown = |what: &str, ours: &str, theirs: &str| {
        (ours != theirs).then(|| format!("{what} was {ours:?} and arrived as {theirs:?}"))
    };
    shown("the method", ours.method, theirs.method)
        .or_else(|| shown("the path", ours.path, theirs.path))
        .or_else(|| of_pairs("the parameter", &ours.query, &theirs.query))
        .or_else(|| of_pairs("the header", &ours.headers, &theirs.headers))
        .or_else(|| shown("the list of signed headers", ours.signed, theirs.signed))
        .or_else(|| (ours.body != theirs.body).then(|| "the body is another".to_owned()))
}

fn of_pairs(
    what: &str,
    ours: &BTreeMap<&str, &str>,
    theirs: &BTreeMap<&str, &str>,
) -> Option<String> {
    for (name, value) in ours {
        match theirs.get(name) {
            None => return Some(format!("{what} {name} did not arrive")),
            Some(other) if other == value => {}
            Some(other) if SHOWN.contains(name) => {
                return Some(format!(
                    "{what} {name} was {value:?} and arrived as {other:?}"
                ));
            }
            Some(_) => return Some(format!("{what} {name} arrived with another value")),
        }
    }
    let more = theirs.keys().find(|name| !ours.contains_key(*name))?;
    Some(format!("{what} {more} was added"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A1 of the vendor's vectors, with a token beside.
    const OURS: &str = "POST\n/\nInstanceId=cri-1&PageNo=1\nhost:cr.cn-hangzhou.aliyuncs.com\n\
        x-acs-action:ListRepoSyncTask\nx-acs-date:2026-01-02T03:04:05Z\nx-acs-security-token:hush\n\n\
        host;x-acs-action;x-acs-date;x-acs-security-token\n\
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn says(theirs: &str) -> String {
        format!(
            "Specified signature is not matched with our calculation. server string to sign is:{theirs}"
        )
    }

    fn to_sign(request: &str) -> String {
        format!("ACS3-HMAC-SHA256\n{}", hex::encode(Sha256::digest(request)))
    }

    #[test]
    fn a_token_that_arrived_as_a_name_is_not_shown() {
        for there in ["hush=1", "x=hush", "a&hush", "hush"] {
            let theirs = OURS.replace("PageNo=1", &format!("PageNo=1&{there}"));
            let why = compare(&says(&theirs), OURS, None).to_string();
            assert!(why.contains("was added"), "{why}");
            assert!(!why.contains("hush"), "{why}");
        }
    }

    #[test]
    fn equal_texts_mean_a_wrong_secret() {
        let escaped = to_sign(OURS).replace('\n', "\\n");
        for theirs in [to_sign(OURS), escaped, OURS.to_owned(), format!("[{OURS}]")] {
            let why = compare(&says(&theirs), OURS, Some(100_000));
            assert_eq!(why, Mismatch::WrongSecret, "{theirs}");
            assert!(why.to_string().contains("secret is wrong"));
        }
    }

    #[test]
    fn what_was_changed_on_the_way_is_named_and_no_token_is_shown() {
        for (from, to, part) in [
            (
                "POST",
                "GET",
                "the method was \"POST\" and arrived as \"GET\"",
            ),
            (
                "\n/\n",
                "\n/proxy\n",
                "the path was \"/\" and arrived as \"/proxy\"",
            ),
            (
                "PageNo=1",
                "PageNo=2",
                "the parameter PageNo arrived with another value",
            ),
            ("&PageNo=1", "", "the parameter PageNo did not arrive"),
            ("PageNo=1", "PageNo=1&Z=1", "the parameter Z was added"),
            (
                "host:cr.cn-hangzhou.aliyuncs.com",
                "host:gateway",
                "the header host was \"cr.cn-hangzhou.aliyuncs.com\" and arrived as \"gateway\"",
            ),
            (
                "03:04:05Z",
                "09:04:05Z",
                "the header x-acs-date was \"2026-01-02T03:04:05Z\" and arrived as",
            ),
            (
                "token:hush",
                "token:hush2",
                "the header x-acs-security-token arrived with another",
            ),
            (
                "x-acs-security-token:hush\n",
                "",
                "the header x-acs-security-token did not arrive",
            ),
            (";x-acs-security-token", "", "the list of signed headers"),
            ("e3b0", "f3b0", "the body is another"),
        ] {
            let theirs = OURS.replacen(from, to, 1);
            let both = format!("{}, canonical request is:[{theirs}]", to_sign(&theirs));
            for message in [says(&theirs), says(&both)] {
                let why = compare(&message, OURS, None).to_string();
                assert!(why.contains(part), "{part}: {why}");
                assert!(!why.contains("hush"), "{why}");
            }
        }
    }

    #[test]
    fn a_hash_alone_tells_that_it_was_changed_unless_the_clock_is_wrong() {
        let theirs = says(&to_sign("another"));
        let changed = compare(&theirs, OURS, Some(899)).to_string();
        assert!(changed.contains("changed the request"), "{changed}");
        let clock = compare(&theirs, OURS, Some(-7_200)).to_string();
        assert_eq!(clock, "this machine's clock is 7200 s behind the server");
    }

    #[test]
    fn a_message_that_says_nothing_says_so() {
        for message in [
            "",
            "No.",
            &says(""),
            &says("GET&%2F&AccessKeyId%3Dx"),
            &says("ACS3-HMAC-SHA256"),
        ] {
            assert_eq!(compare(message, OURS, None), Mismatch::Untold, "{message}");
            let clock = Mismatch::Clock { skew_seconds: 901 };
            assert_eq!(compare(message, OURS, Some(901)), clock);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_message_gives_a_reason_without_the_token(message in "(?s).{0,200}") {
            for message in [message.clone(), says(&message), says(&format!("POST\n/{message}"))] {
                let why = compare(&message, OURS, None).to_string();
                proptest::prop_assert!(!why.is_empty() && !why.contains("hush"));
            }
        }
    }
}
