//! Proxies and private authorities, on the way to a credentials URI and to the registry.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use syncbell_acr::{Client, ClientOptions, Error, ListInstance, Static};
use syncbell_testkit::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::cloud::{Machine, fails, issued, key, nowhere, of, requests, serve};

/// The user and password of the proxy, percent-encoded as in a URL; `bell:hush/1` in Base64.
const USER: &str = "bell:hush%2F1";
const BASIC: &str = "proxy-authorization: Basic YmVsbDpodXNoLzE=";

/// A server for one kind of conversation; keeps the heads of what was asked.
struct Server {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Server {
    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("nobody panics with it").clone()
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn url_with_password(&self) -> String {
        format!("http://{USER}@{}", self.address)
    }
}

#[derive(Clone)]
enum Talk {
    /// Answers itself, as the server behind a forward proxy.
    Forward(Value),
    /// Connects to this address, whatever name is asked for.
    Connect(String),
    /// Answers so, whatever is asked.
    Refuse(&'static str),
    /// Answers over TLS.
    Tls(Value, TlsAcceptor),
}

async fn server(talk: Talk) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&heads);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut talks = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            talks.spawn(converse(stream, talk.clone(), Arc::clone(&kept)));
        }
    });
    Server {
        address,
        heads,
        _serving: serving,
    }
}

/// Ends early when the other side does.
async fn converse(mut stream: TcpStream, talk: Talk, heads: Arc<Mutex<Vec<String>>>) -> Option<()> {
    if let Talk::Tls(body, acceptor) = talk {
        let mut stream = acceptor.accept(stream).await.ok()?;
        let head = head(&mut stream).await?;
        heads.lock().expect("nobody panics with it").push(head);
        stream.write_all(ok(&body).as_bytes()).await.ok()?;
        return stream.shutdown().await.ok();
    }
    let head = head(&mut stream).await?;
    heads.lock().expect("nobody panics with it").push(head);
    match talk {
        Talk::Forward(body) => stream.write_all(ok(&body).as_bytes()).await.ok(),
        Talk::Refuse(answer) => stream.write_all(answer.as_bytes()).await.ok(),
        Talk::Connect(address) => {
            let mut behind = TcpStream::connect(address).await.ok()?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
            copy_bidirectional(&mut stream, &mut behind).await.ok()?;
            Some(())
        }
        Talk::Tls(..) => None,
    }
}

async fn head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn ok(body: &Value) -> String {
    let (body, json) = (body.to_string(), "content-type: application/json");
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\n{json}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn credentials() -> Value {
    issued("behind", Duration::from_hours(1))
}

async fn uri(machine: &Machine, uri: &str) -> Result<String, String> {
    let provider = machine
        .surroundings
        .credentials_uri(uri.parse().expect("a URL"));
    match provider {
        Ok(provider) => key(&*provider).await,
        Err(error) => Err(format!("{error} {error:?}")),
    }
}

#[tokio::test]
async fn plain_requests_go_through_a_forward_proxy_of_the_environment() {
    for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        let proxy = server(Talk::Forward(credentials())).await;
        let machine = Machine::new(&[(variable, &proxy.url_with_password())]);
        let given = uri(&machine, "http://creds.example/path").await;
        assert_eq!(given.as_deref(), Ok("behind"), "{variable}");
        let [head] = &proxy.heads()[..] else {
            panic!("not one request");
        };
        let line = "GET http://creds.example/path HTTP/1.1\r\n";
        assert!(head.starts_with(line) && head.contains(BASIC), "{head}");
    }
}

#[tokio::test]
async fn the_lower_case_name_wins_and_one_without_a_scheme_is_http() {
    let proxy = server(Talk::Forward(credentials())).await;
    let other = nowhere();
    let machine = Machine::new(&[("http_proxy", &proxy.address), ("HTTP_PROXY", &other)]);
    let given = uri(&machine, "http://creds.example/").await;
    assert_eq!(given.as_deref(), Ok("behind"));
}

#[tokio::test]
async fn a_header_of_a_request_to_a_cgi_script_is_not_a_proxy() {
    let proxy = server(Talk::Forward(credentials())).await;
    let url = proxy.url();
    let machine = Machine::new(&[("HTTP_PROXY", &url), ("REQUEST_METHOD", "GET")]);
    assert!(uri(&machine, "http://creds.invalid/").await.is_err());
    assert_eq!(proxy.heads().len(), 0);
}

#[tokio::test]
async fn a_host_that_no_proxy_names_is_asked_directly() {
    for list in ["creds.invalid", ".invalid", "a.example, invalid", "*"] {
        for variable in ["no_proxy", "NO_PROXY"] {
            let proxy = server(Talk::Forward(credentials())).await;
            let url = proxy.url();
            let machine = Machine::new(&[("http_proxy", &url), (variable, list)]);
            let said = uri(&machine, "http://creds.invalid/").await.unwrap_err();
            assert!(said.contains("creds.invalid does not answer"), "{said}");
            assert_eq!(proxy.heads().len(), 0, "{variable}={list}");
        }
    }
    let proxy = server(Talk::Forward(credentials())).await;
    let url = proxy.url();
    let machine = Machine::new(&[("http_proxy", &url), ("no_proxy", "other.invalid")]);
    let given = uri(&machine, "http://creds.invalid/").await;
    assert_eq!(given.as_deref(), Ok("behind"));
}

#[tokio::test]
async fn this_machine_is_never_asked_through_a_proxy_of_the_environment() {
    let here = serve(|_| wiremock::ResponseTemplate::new(200).set_body_json(credentials())).await;
    let proxy = server(Talk::Forward(credentials())).await;
    let url = proxy.url();
    let machine = Machine::new(&[("http_proxy", &url), ("all_proxy", &url)]);
    assert_eq!(uri(&machine, &here.uri()).await.as_deref(), Ok("behind"));
    let by_name = here.uri().replace("127.0.0.1", "localhost");
    assert_eq!(uri(&machine, &by_name).await.as_deref(), Ok("behind"));
    assert_eq!(requests(&here).await.len(), 2);
    for url in [
        "http://[::1]:1/",
        "http://127.9.9.9:1/",
        "http://[::ffff:127.0.0.1]:1/",
    ] {
        assert!(uri(&machine, url).await.is_err(), "{url}");
    }
    assert_eq!(proxy.heads().len(), 0);
}

/// A server over TLS by the name `name`, behind a proxy that makes tunnels.
async fn behind_a_tunnel(authority: &Authority, name: &str, body: Value) -> (Server, Server) {
    let config = authority.issue(&[name]).server_config();
    let tls = server(Talk::Tls(body, TlsAcceptor::from(config))).await;
    let proxy = server(Talk::Connect(tls.address.clone())).await;
    (tls, proxy)
}

#[tokio::test]
async fn a_tunnel_ends_at_a_server_that_a_private_authority_vouches_for() {
    let authority = Authority::new();
    let (tls, proxy) = behind_a_tunnel(&authority, "creds.example", credentials()).await;
    let url = proxy.url_with_password();
    let mut machine = Machine::new(&[("https_proxy", &url), ("http_proxy", &nowhere())]);
    machine.surroundings.ca_pem = Some(authority.ca_pem().into_bytes());
    let given = uri(&machine, "https://creds.example/path").await;
    assert_eq!(given.as_deref(), Ok("behind"));
    let (at_proxy, at_server) = (proxy.heads().concat(), tls.heads().concat());
    let line = "CONNECT creds.example:443 HTTP/1.1\r\n";
    assert!(at_proxy.starts_with(line), "{at_proxy}");
    assert!(at_proxy.to_lowercase().contains(&BASIC.to_lowercase()));
    assert!(at_server.starts_with("GET /path HTTP/1.1\r\n"));
    assert!(!at_server.to_lowercase().contains("proxy-authorization"));
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_or_another_name_is_refused() {
    let authority = Authority::new();
    for (name, ca_pem) in [
        ("creds.example", None),
        ("creds.example", Some(Authority::new().ca_pem())),
        ("other.example", Some(authority.ca_pem())),
    ] {
        let (tls, proxy) = behind_a_tunnel(&authority, name, credentials()).await;
        let mut machine = Machine::new(&[("https_proxy", &proxy.url())]);
        machine.surroundings.ca_pem = ca_pem.map(String::into_bytes);
        let said = uri(&machine, "https://creds.example/").await.unwrap_err();
        assert!(said.starts_with("unavailable: "), "{said}");
        assert!(said.contains("certificate"), "{said}");
        assert_eq!(tls.heads().len(), 0);
    }
    let mut machine = Machine::new(&[]);
    machine.surroundings.ca_pem = Some(b"hush".to_vec());
    let said = uri(&machine, "https://creds.example/").await.unwrap_err();
    assert!(!said.contains("hush"), "{said}");
}

#[tokio::test]
async fn what_is_wrong_with_a_proxy_is_said_without_its_password() {
    let refuses = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
    let refuses = server(Talk::Refuse(refuses)).await;
    let asks = refuses.url_with_password();
    let down = format!("http://{USER}@127.0.0.1:1");
    for (proxy, why) in [
        (asks.as_str(), "407"),
        (&down, "does not answer"),
        ("http://bell:hush@:x", "is not a proxy's URL"),
        ("ftp://bell:hush@127.0.0.1", "only http:// and https://"),
        ("socks5://bell:hush@127.0.0.1", "only http:// and https://"),
    ] {
        let machine = Machine::new(&[("http_proxy", proxy), ("https_proxy", proxy)]);
        let said = uri(&machine, "http://creds.example/").await.unwrap_err();
        assert!(said.contains(why), "{why}: {said}");
        assert!(!said.contains("hush"), "{said}");
        if proxy == asks || proxy == down {
            let said = uri(&machine, "https://creds.example/").await.unwrap_err();
            assert!(said.starts_with("unavailable"), "{said}");
            assert!(!said.contains("hush"), "{said}");
        }
    }
    let mut machine = Machine::new(&[]);
    machine.surroundings.proxy = Some("ftp://bell:hush@127.0.0.1".parse().unwrap());
    let said = uri(&machine, "http://creds.example/").await.unwrap_err();
    assert!(said.contains("`proxy`") && !said.contains("hush"), "{said}");
}

#[tokio::test]
async fn sts_is_asked_through_the_proxy_too() {
    let body = json!({"Credentials": credentials()});
    let authority = Authority::new();
    let (tls, proxy) = behind_a_tunnel(&authority, "sts.cn-shanghai.aliyuncs.com", body).await;
    let url = proxy.url();
    let mut machine = Machine::new(&[
        ("https_proxy", &url),
        ("ALIBABA_CLOUD_STS_REGION", "cn-shanghai"),
    ]);
    machine.surroundings.sts = None;
    machine.surroundings.ca_pem = Some(authority.ca_pem().into_bytes());
    let token = machine.file("token", "hush");
    let role = syncbell_acr::Role::new("a");
    let provider = machine
        .surroundings
        .oidc(role, "p".to_owned(), token.into(), None)
        .unwrap();
    assert_eq!(key(&*provider).await.as_deref(), Ok("behind"));
    assert_eq!(tls.heads().len(), 1);
}

fn client(options: ClientOptions) -> Client {
    Client::new(options, Arc::new(Static(of("key")))).expect("it can be built")
}

#[tokio::test]
async fn the_registry_is_asked_through_a_proxy_that_is_named() {
    let authority = Authority::new();
    let body = json!({"Instances": [], "IsSuccess": true});
    let (tls, proxy) = behind_a_tunnel(&authority, "cr.example", body.clone()).await;
    let mut options = ClientOptions::new("https://cr.example".parse().unwrap(), "cn-shanghai");
    options.proxy = Some(proxy.url_with_password().parse().unwrap());
    options.ca_pem = Some(authority.ca_pem().into_bytes());
    assert!(!format!("{options:?}").contains("hush"), "{options:?}");
    let answered = client(options)
        .list_instance(&ListInstance::default())
        .await;
    assert!(answered.is_ok(), "{answered:?}");
    let head = tls.heads().concat();
    assert!(head.contains("host: cr.example\r\n"), "{head}");

    // Named, it is used for this machine too.
    let proxy = server(Talk::Forward(body)).await;
    let mut options = ClientOptions::new(nowhere().parse().unwrap(), "cn-shanghai");
    options.proxy = Some(proxy.url_with_password().parse().unwrap());
    let answered = client(options)
        .list_instance(&ListInstance::default())
        .await;
    assert!(answered.is_ok(), "{answered:?}");
    assert!(
        proxy
            .heads()
            .concat()
            .starts_with("POST http://127.0.0.1:1/?")
    );

    let refuses = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
    let refuses = server(Talk::Refuse(refuses)).await;
    let mut options = ClientOptions::new("https://cr.example".parse().unwrap(), "cn-shanghai");
    options.proxy = Some(refuses.url_with_password().parse().unwrap());
    let refused = client(options)
        .list_instance(&ListInstance::default())
        .await;
    let error = refused.expect_err("the proxy wants another password");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
}

#[tokio::test]
async fn what_is_printed_of_a_provider_is_no_secret() {
    let machine = Machine::new(&[("http_proxy", "http://bell:hush@127.0.0.1:1")]);
    let mut surroundings = machine.surroundings.clone();
    surroundings.proxy = Some("http://bell:hush@127.0.0.1:1".parse().unwrap());
    assert!(
        !format!("{surroundings:?}").contains("hush"),
        "{surroundings:?}"
    );
    let provider = surroundings.credentials_uri("http://creds.example/hush".parse().unwrap());
    fails(
        &*provider.unwrap(),
        "unavailable",
        &["creds.example does not answer"],
    )
    .await;
}
