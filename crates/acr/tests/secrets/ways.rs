//! What a server may do to us, with what we sent it.

use serde_json::{Value, json};
use wiremock::{Request, ResponseTemplate};

use crate::cloud::{form, query};
use crate::shown::{MARK, secret};

/// What servers do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Well,
    /// This status and code, with what was sent in each text.
    Echo(u16, &'static str),
    /// A page with what was sent.
    Html(u16),
    /// The names of a right answer, with values of other types.
    WrongTypes,
    /// A right answer but for the time.
    WrongTime,
    CutOff,
}

pub(crate) const WAYS: [Way; 13] = [
    Way::Well,
    Way::Echo(400, "InvalidSecurityToken.Expired"),
    Way::Echo(404, "InvalidAccessKeyId.NotFound"),
    Way::Echo(400, "SignatureDoesNotMatch"),
    Way::Echo(403, "NoPermission"),
    Way::Echo(400, "InvalidTimeStamp.Expired"),
    Way::Echo(429, "Throttling.User"),
    Way::Echo(500, "InternalError"),
    Way::Html(200),
    Way::Html(502),
    Way::WrongTypes,
    Way::WrongTime,
    Way::CutOff,
];

impl Way {
    pub(crate) fn answer(self, request: &Request, good: Value) -> ResponseTemplate {
        let sent = sent(request);
        match self {
            Self::Well => ResponseTemplate::new(200).set_body_json(good),
            Self::Echo(status, code) => ResponseTemplate::new(status).set_body_json(json!({
                "Code": code, "RequestId": sent, "HostId": sent, "Recommend": sent,
                "Message": format!("{sent} server string to sign is:POST\n/\n{sent}"),
                "AccessDeniedDetail": {"AuthAction": sent, "NoPermissionType": sent},
            })),
            Self::Html(status) => {
                let page = format!("<html><title>{sent}</title>{good}</html>");
                ResponseTemplate::new(status).set_body_raw(page, "text/html")
            }
            Self::WrongTypes => {
                let wrong = json!({"Credentials": [good], "AccessKeyId": [good], "Code": [good]});
                ResponseTemplate::new(200).set_body_json(wrong)
            }
            Self::WrongTime => {
                let mut wrong = good;
                let time = json!(secret("time"));
                if wrong.get("Credentials").is_some() {
                    wrong["Credentials"]["Expiration"] = time;
                } else if wrong.get("Expiration").is_some() {
                    wrong["Expiration"] = time;
                }
                ResponseTemplate::new(200).set_body_json(wrong)
            }
            // wiremock sends whole bodies only.
            Self::CutOff => {
                let half = good.to_string();
                let half = half.split_at(half.len() / 2).0.to_owned();
                ResponseTemplate::new(200).set_body_raw(half, "application/json")
            }
        }
    }
}

/// Each secret that came with a request: as it is, and as forms and signatures encode it.
pub(crate) fn sent(request: &Request) -> String {
    let headers = request.headers.values();
    let headers = headers.filter_map(|value| Some(value.to_str().ok()?.to_owned()));
    let values = headers
        .chain(form(request).into_values())
        .chain(query(request).into_values())
        .filter(|value| value.contains(MARK));
    let each = values.map(|value| {
        let once: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let twice: String = url::form_urlencoded::byte_serialize(once.as_bytes()).collect();
        format!("{value} {once} {twice} ")
    });
    each.collect()
}
