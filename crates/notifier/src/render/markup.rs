//! What a text needs to be shown as it is, where a receiver reads markup. Pure.

use std::fmt::Write as _;

/// A provider's texts: how its templates are named, and its markup.
pub(crate) struct Form {
    /// As in the configuration and in metrics.
    pub(crate) name: &'static str,
    /// The files of its title, which is plain, and of its text.
    pub(crate) templates: [&'static str; 2],
    /// Of its text.
    pub(crate) markup: Markup,
}

/// A markup. What comes out of it is closed: nothing that is put in begins or ends anything.
#[derive(Clone, Copy)]
pub(crate) struct Markup {
    /// Any one line, shown as it is.
    pub(crate) escape: fn(&str) -> String,
    /// What is escaped already, in bold.
    pub(crate) strong: fn(&str) -> String,
    /// Any one line, leading to a URL.
    pub(crate) link: fn(&str, &str) -> String,
    /// Any one line, as code.
    pub(crate) code: fn(&str) -> String,
}

/// No markup at all.
pub(super) const PLAIN: Markup = Markup {
    escape: str::to_owned,
    strong: str::to_owned,
    link: |text, _| text.to_owned(),
    code: str::to_owned,
};

/// Nothing is seen of it, and what stands behind it begins nothing.
pub(crate) const ZERO_WIDTH_SPACE: char = '\u{200B}';

/// The Markdown of chats that know no escape: angle brackets become full-width ones, before what else could begin
/// something stands a space of no width. Names of images stay whole: `_`, `#` and their like are touched only where
/// they could begin something.
pub(crate) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before: Option<char> = None;
    for c in text.chars() {
        let begins_word = !before.is_some_and(char::is_alphanumeric);
        match c {
            '<' => escaped.push('＜'),
            '>' => escaped.push('＞'),
            '*' | '`' | '[' | ']' | '~' | '\\' | '|' => escaped.extend([ZERO_WIDTH_SPACE, c]),
            '_' if begins_word => escaped.extend([ZERO_WIDTH_SPACE, c]),
            '#' | '-' | '+' | '=' if before.is_none() => escaped.extend([ZERO_WIDTH_SPACE, c]),
            c => escaped.push(c),
        }
        before = Some(c);
    }
    escaped
}

/// A link in Markdown.
pub(crate) fn markdown_link(text: &str, url: &str) -> String {
    let mut link = format!(
        "[{}](",
        markdown(text).replace('[', "［").replace(']', "］")
    );
    for c in url.chars() {
        if c.is_whitespace() || matches!(c, '(' | ')' | '<' | '>' | '[' | ']' | '*' | '`') {
            for byte in c.to_string().bytes() {
                write!(link, "%{byte:02X}").expect("a text takes all");
            }
        } else {
            link.push(c);
        }
    }
    link.push(')');
    link
}

/// Code in Markdown: nothing in it means anything, so only its own end must not stand there.
pub(crate) fn markdown_code(text: &str) -> String {
    let text = text.replace('`', "'").replace('<', "＜").replace('>', "＞");
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_whole_and_markup_of_data_means_nothing() {
        let z = ZERO_WIDTH_SPACE;
        let cases = [
            (
                "team-a/web_app:v1.4_rc",
                "team-a/web_app:v1.4_rc".to_owned(),
            ),
            ("# a > b", format!("{z}# a ＞ b")),
            (
                "**b** `c` [t](u)",
                format!("{z}*{z}*b{z}*{z}* {z}`c{z}` {z}[t{z}](u)"),
            ),
            (
                "<font color=\"info\">",
                "＜font color=\"info\"＞".to_owned(),
            ),
            ("<@all> @all", "＜@all＞ @all".to_owned()),
            ("_it_ a_b", format!("{z}_it_ a_b")),
            ("- item", format!("{z}- item")),
            ("", String::new()),
        ];
        for (text, expected) in cases {
            assert_eq!(markdown(text), expected, "{text:?}");
        }
        assert_eq!(
            markdown_link("a]b(c", "https://h/x(1)?a=[b] c"),
            format!("[a{z}］b(c](https://h/x%281%29?a=%5Bb%5D%20c)")
        );
        assert_eq!(markdown_code("a`b<c>"), "`a'b＜c＞`");
    }
}
