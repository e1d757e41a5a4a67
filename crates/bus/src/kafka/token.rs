//! The token of SASL OAUTHBEARER (RFC 7628): read from a file each time librdkafka wants a new one, so
//! that whoever rotates the file needs to tell nobody.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde::Deserialize;

/// Tokens are a few KiB.
const TOKEN_LIMIT_BYTES: u64 = 64 * 1024;

/// What a broker may want of the token's claims (RFC 7519, section 4.1).
#[derive(Deserialize)]
struct Claims {
    /// Seconds since 1970; some issuers write a fraction.
    exp: f64,
    #[serde(default)]
    sub: Option<String>,
}

/// The token in `file`, with its end. An error says what to mend, without the token.
pub(super) fn read(file: &Path) -> Result<OAuthToken, String> {
    use std::io::Read as _;
    let refused = |what: String| format!("cannot use the token in {}: {what}", file.display());
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(TOKEN_LIMIT_BYTES).read_to_string(&mut text))
        .map_err(|error| refused(error.to_string()))?;
    let token = text.trim().to_owned();
    let claims = claims(&token).ok_or_else(|| refused("it is not a JWT with `exp`".to_owned()))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "milliseconds until the year 9999 fit, and the cast saturates"
    )]
    let lifetime_ms = (claims.exp * 1000.0) as i64;
    Ok(OAuthToken {
        token,
        principal_name: claims.sub.unwrap_or_else(|| "syncbell".to_owned()),
        lifetime_ms,
    })
}

/// The claims in the middle part; nothing is verified here: that is the broker's work.
fn claims(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn jwt(payload: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.", part(r#"{"alg":"none"}"#), part(payload))
    }

    #[test]
    fn the_end_and_the_subject_come_from_the_claims() {
        let file = written(&format!("{}\n", jwt(r#"{"sub":"svc","exp":1800000000.5}"#)));
        let token = read(file.path()).unwrap();
        assert_eq!(token.principal_name, "svc");
        assert_eq!(token.lifetime_ms, 1_800_000_000_500);
        assert!(!token.token.ends_with('\n'));
    }

    #[test]
    fn what_is_no_token_is_named_by_its_file_and_not_shown() {
        for text in ["", "open-sesame", "a.b.c"] {
            let file = written(text);
            let refused = read(file.path()).err().unwrap();
            assert!(refused.contains(file.path().to_str().unwrap()));
            assert!(!refused.contains("open-sesame"));
        }
        assert!(read(Path::new("/nowhere/token")).is_err());
    }
}
