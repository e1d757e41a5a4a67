//! Whether a text is closed markup: what begins ends on the same line, and nothing stands there that the provider
//! would take for something else.

use super::ChatProvider;

/// Before a sign it makes it mean nothing.
const ZERO_WIDTH_SPACE: char = '\u{200B}';

const FONTS: [&str; 4] = [
    "font color=\"info\"",
    "font color=\"comment\"",
    "font color=\"warning\"",
    "/font",
];

pub(super) fn problem(provider: ChatProvider, text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let why = of_line(provider, line)?;
        Some(format!("{why} in {line:?}"))
    })
}

fn of_line(provider: ChatProvider, line: &str) -> Option<String> {
    let is_slack = provider == ChatProvider::Slack;
    let (mut stars, mut fonts, mut is_code) = (0, 0_i32, false);
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            ZERO_WIDTH_SPACE => {
                let mut chars = rest.chars();
                chars.next();
                rest = chars.as_str();
            }
            '`' => is_code = !is_code,
            '&' if is_slack && !is_entity(rest) => {
                return Some("an ampersand that is no entity".to_owned());
            }
            '<' => {
                let Some((tag, behind)) = rest.split_once('>') else {
                    return Some("a tag without an end".to_owned());
                };
                if !is_tag(provider, tag) {
                    return Some(format!("the tag <{tag}>"));
                }
                fonts += match tag {
                    "/font" => -1,
                    tag if tag.starts_with("font") => 1,
                    _ => 0,
                };
                rest = behind;
            }
            '>' => return Some("an end without a tag".to_owned()),
            _ if is_code => {}
            '*' => stars += 1,
            '[' if !is_slack => {
                let link = rest.split_once("](").and_then(|(label, behind)| {
                    let (url, behind) = behind.split_once(')')?;
                    let well = !label.contains('[') && url.starts_with("http");
                    (well && !url.contains(char::is_whitespace)).then_some(behind)
                });
                let Some(behind) = link else {
                    return Some("a bracket that begins no link".to_owned());
                };
                rest = behind;
            }
            ']' if !is_slack => return Some("a bracket that ends no link".to_owned()),
            _ => {}
        }
    }
    let whole = if is_slack { 2 } else { 4 };
    if stars % whole != 0 || is_code || fonts != 0 {
        return Some(format!(
            "{stars} stars, code open: {is_code}, {fonts} fonts open"
        ));
    }
    None
}

/// What stands behind an ampersand in Slack.
fn is_entity(rest: &str) -> bool {
    ["amp;", "lt;", "gt;"]
        .iter()
        .any(|one| rest.starts_with(one))
}

fn is_tag(provider: ChatProvider, tag: &str) -> bool {
    match provider {
        ChatProvider::Dingtalk => false,
        ChatProvider::Wecom => FONTS.contains(&tag) || tag.starts_with('@'),
        ChatProvider::Feishu => tag.starts_with("at id=") || tag == "/at",
        ChatProvider::Slack => {
            let link = tag
                .split_once('|')
                .is_some_and(|(url, _)| url.starts_with("http"));
            link || tag.starts_with("@U") || tag == "!channel"
        }
    }
}
