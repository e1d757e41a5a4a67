//! One POST without a body, for the dead man's switch outside: by the same way as webhooks.
//!
//! In: where to. Out: whether it was taken, or why not. Must never happen: a reason that holds the URL.

use syncbell_config::{Http, LiveSecret, http_url};
use url::Url;

use super::endpoint::Endpoint;
use super::fresh::{self, Fresh};
use super::setup::SetupError;

/// What is pinged.
pub(crate) struct Ping {
    endpoint: Endpoint,
    url: Fresh<Url>,
}

impl Ping {
    /// Reads the certificates and prepares the connection. Blocking: only at start.
    pub(crate) fn try_new(url: &LiveSecret, http: &Http) -> Result<Self, SetupError> {
        let now = http_url(url.text().expose()).map_err(SetupError::unusable)?;
        Ok(Self {
            endpoint: Endpoint::try_new(&now, http)?,
            url: fresh::url(url, &now)?,
        })
    }

    /// Sends one. It ends within the timeout. The error is for people.
    pub(crate) async fn send(&self) -> Result<(), String> {
        let url = self.url.now().await;
        match self.endpoint.post(&url, |request| request.body("")).await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(format!("HTTP {}", answer.status)),
            Err(outcome) => Err(outcome.note().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use syncbell_config::{Egress, Secret};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers the next request with this status; gives its first line.
    async fn one(listener: &TcpListener, status: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        let head = String::from_utf8(head).unwrap();
        head.lines().next().unwrap_or_default().to_owned()
    }

    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, format!("http://{address}"))
    }

    #[tokio::test]
    async fn it_goes_by_the_proxy_that_is_configured() {
        let (proxy, through) = listen().await;
        let http = Http {
            proxy: Some(Secret::new(through.parse().unwrap())),
            ..Http::default()
        };
        let url = LiveSecret::fixed("http://deadman.example.com/ping/S3CRET-of-mine");
        let ping = Ping::try_new(&url, &http).unwrap();
        let (sent, asked) = tokio::join!(ping.send(), one(&proxy, "204 No Content"));
        assert_eq!(sent, Ok(()));
        let expected = "POST http://deadman.example.com/ping/S3CRET-of-mine HTTP/1.1";
        assert_eq!(asked, expected);
    }

    #[tokio::test]
    async fn where_it_goes_is_read_again_when_its_file_changes_and_no_reason_holds_it() {
        let (first, second) = (listen().await, listen().await);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        let of = |place: &str| format!("{place}/ping/S3CRET-of-mine");
        std::fs::write(&path, of(&first.1)).unwrap();
        let url = LiveSecret::of_file(of(&first.1), &path);
        let ping = Ping::try_new(&url, &Http::default()).unwrap();
        let (sent, asked) = tokio::join!(ping.send(), one(&first.0, "200 OK"));
        assert_eq!(sent, Ok(()));
        assert_eq!(asked, "POST /ping/S3CRET-of-mine HTTP/1.1");

        std::fs::write(&path, of(&second.1)).unwrap();
        ping.url.look_again();
        let (sent, _) = tokio::join!(ping.send(), one(&second.0, "302 Found"));
        assert_eq!(sent, Err("HTTP 302 Found".to_owned()));
        drop(second);
        let gone = ping.send().await.unwrap_err();
        assert!(!gone.contains("S3CRET"), "{gone}");
    }

    #[tokio::test]
    async fn what_egress_refuses_is_not_pinged() {
        let (_listener, place) = listen().await;
        let http = Http {
            egress: Egress {
                strict: true,
                ..Egress::default()
            },
            ..Http::default()
        };
        let ping = Ping::try_new(&LiveSecret::fixed(place), &http).unwrap();
        let why = ping.send().await.unwrap_err();
        assert!(why.contains("allow_networks"), "{why}");
    }
}
