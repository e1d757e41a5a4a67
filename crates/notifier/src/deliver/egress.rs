//! Where requests may go, at the moment of connecting: what the configuration's `egress` refuses is not connected to.
//!
//! Names are checked when a connection is made, not when the configuration is read, and the connection goes to an
//! address that was checked: a name that changes its mind in between gains nothing. Through a proxy there is nothing
//! to check but addresses in the URL itself: the proxy looks up names, so filtering them is its task.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use syncbell_config::Egress;
use url::{Host, Url};

/// Why nothing is sent to the address that stands in `url` itself. Such a host is never looked up.
pub(super) fn refused_literal(url: &Url, egress: &Egress) -> Option<String> {
    match url.host()? {
        Host::Ipv4(address) => egress.refusal(address.into()),
        Host::Ipv6(address) => egress.refusal(address.into()),
        Host::Domain(_) => None,
    }
}

/// All addresses of a name are refused.
#[derive(Debug, thiserror::Error)]
#[error("the name stands for {address}; {refusal}")]
pub(super) struct RefusedName {
    address: IpAddr,
    refusal: String,
}

impl RefusedName {
    /// It, if it is what `error` comes from.
    pub(super) fn within<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(refused) = error.downcast_ref::<Self>() {
                return Some(refused);
            }
            cause = error.source();
        }
        None
    }
}

/// The system's resolver. It blocks a thread, for half a minute where no server answers, and cannot be called off:
/// of each name one look-up at a time is under way, and all who ask meanwhile wait for that one.
pub(super) struct System {
    under_way: Arc<Mutex<HashMap<String, UnderWay>>>,
    look_up: LookUp,
}

type LookUp = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;
type UnderWay = Shared<BoxFuture<'static, Result<Vec<SocketAddr>, Arc<io::Error>>>>;

impl System {
    pub(super) fn new() -> Self {
        // The port is put in by the caller of the resolver.
        Self::by(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    fn by(look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self {
            under_way: Arc::default(),
            look_up: Arc::new(look_up),
        }
    }

    /// The addresses of `name`.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, Arc<io::Error>> {
        self.asked(name).await
    }

    fn asked(&self, name: &str) -> UnderWay {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = under_way.get(name) {
            return found.clone();
        }
        let (look_up, done) = (self.look_up.clone(), self.under_way.clone());
        let asked = name.to_owned();
        let looking = tokio::task::spawn_blocking(move || {
            let found = look_up(&asked).map_err(Arc::new);
            // Whoever asks from now on gets a new answer.
            let mut under_way = done.lock().unwrap_or_else(PoisonError::into_inner);
            under_way.remove(&asked);
            found
        });
        let found = looking.map(|found| found.unwrap_or_else(|error| Err(Arc::new(error.into()))));
        let found = found.boxed().shared();
        under_way.insert(name.to_owned(), found.clone());
        found
    }
}

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.asked(name.as_str());
        Box::pin(async move {
            let addresses: Addrs = Box::new(found.await?.into_iter());
            Ok(addresses)
        })
    }
}

/// A resolver without the refused addresses.
pub(super) struct Filtered {
    pub(super) names: Arc<dyn Resolve>,
    pub(super) egress: Arc<Egress>,
}

impl Resolve for Filtered {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, egress) = (self.names.resolve(name), self.egress.clone());
        Box::pin(async move {
            let addresses: Addrs = Box::new(permitted(found.await?, &egress)?.into_iter());
            Ok(addresses)
        })
    }
}

fn permitted(
    found: impl Iterator<Item = SocketAddr>,
    egress: &Egress,
) -> Result<Vec<SocketAddr>, RefusedName> {
    let mut refused = None;
    let mut permitted = Vec::new();
    for at in found {
        match egress.refusal(at.ip()) {
            None => permitted.push(at),
            Some(refusal) => {
                let address = at.ip();
                refused.get_or_insert(RefusedName { address, refusal });
            }
        }
    }
    match refused {
        Some(refused) if permitted.is_empty() => Err(refused),
        _ => Ok(permitted),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_name_server_that_is_silent_holds_one_thread_however_many_wait_for_it() {
        let (answer, answers) = mpsc::channel::<io::Result<Vec<SocketAddr>>>();
        let (answers, asked) = (Mutex::new(answers), Arc::new(AtomicUsize::new(0)));
        let counted = asked.clone();
        let names = System::by(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            answers.lock().unwrap().recv().unwrap()
        });
        let ask = || names.resolve("hooks.example.com".parse().unwrap());
        // Those who give up leave their look-up behind.
        for _ in 0..50 {
            let gave_up = tokio::time::timeout(Duration::from_millis(1), ask()).await;
            assert!(gave_up.is_err());
        }
        let waiting = [ask(), ask()];
        let found = vec![SocketAddr::from(([10, 0, 0, 1], 0))];
        answer.send(Ok(found.clone())).unwrap();
        for one in waiting {
            assert_eq!(one.await.unwrap().collect::<Vec<_>>(), found);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);

        answer.send(Err(io::Error::other("no such name"))).unwrap();
        let error = ask().await.err().unwrap();
        assert!(error.to_string().contains("no such name"), "{error}");
        assert_eq!(
            asked.load(Ordering::SeqCst),
            2,
            "an answer is for those who waited"
        );
    }

    #[test]
    fn odd_spellings_of_a_refused_address_are_refused() {
        let usual = Egress::default();
        let strict = Egress {
            strict: true,
            ..Egress::default()
        };
        let refused = |url: &str, egress| refused_literal(&Url::parse(url).unwrap(), egress);
        let metadata = [
            "http://169.254.169.254/",
            "http://0xa9fea9fe/",
            "http://2852039166/",
            "http://0251.0376.0251.0376/",
            "http://169.254.43518/",
            "http://169.254.169.254./",
            "http://\u{ff11}69.254.169.254/",
            "http://[fe80::1]/",
            "http://[::ffff:a9fe:a9fe]/",
        ];
        for url in metadata {
            assert!(refused(url, &usual).is_some(), "{url}");
        }
        let here = [
            "http://127.0.0.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://[::1]/",
        ];
        for url in here {
            assert!(refused(url, &usual).is_none(), "{url}");
            let said = refused(url, &strict).unwrap_or_default();
            assert!(said.contains("allow_networks: ["), "{url}: {said}");
        }
        assert!(refused("http://hooks.example.com/", &strict).is_none());
    }

    #[test]
    fn of_a_name_only_the_permitted_addresses_are_used() {
        let usual = Egress::default();
        let at = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let mixed = [at("169.254.169.254"), at("10.0.0.1")];
        let used = permitted(mixed.into_iter(), &usual).unwrap();
        assert_eq!(used, [at("10.0.0.1")]);
        let error = permitted([at("169.254.169.254")].into_iter(), &usual).unwrap_err();
        assert!(error.to_string().contains("stands for 169.254.169.254"));
        assert!(permitted(std::iter::empty(), &usual).unwrap().is_empty());
    }
}
