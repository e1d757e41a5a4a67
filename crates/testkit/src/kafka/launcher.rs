//! Which Kafka the tests get.

use std::env;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tokio::sync::OnceCell;

use super::container::Image;
use super::jars;
use super::node::Engine;

const VARIABLE: &str = "SYNCBELL_TEST_KAFKA";

static CHOSEN: OnceCell<Launcher> = OnceCell::const_new();
static N_LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Where a Kafka comes from: the value of `SYNCBELL_TEST_KAFKA`, or the first that works here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// `HOST:PORT`: one that runs already, in plain text. Tests that need brokers of their own are left
    /// out.
    Given(String),
    /// `docker`: containers, of the image that `SYNCBELL_TEST_KAFKA_IMAGE` names, or `apache/kafka:4.3.1`.
    Docker,
    /// `jvm`: processes, from jars that Maven brings once into the user's cache folder.
    Jvm,
    /// `none`: tests that need a Kafka are left out.
    None,
}

impl Launcher {
    /// The choice of this process, made once. Panics where the variable is wrong or nothing can be
    /// started, and says how to get one.
    pub async fn chosen() -> Self {
        let chosen = CHOSEN.get_or_init(|| async {
            let said = env::var(VARIABLE).unwrap_or_default();
            match Self::parse(&said) {
                Ok(Some(launcher)) => launcher,
                Ok(None) => Self::first_that_works().await,
                Err(problem) => panic!("{problem}"),
            }
        });
        chosen.await.clone()
    }

    /// The variable's value; nothing when it is empty.
    fn parse(said: &str) -> Result<Option<Self>, String> {
        match said {
            "" => Ok(None),
            "docker" => Ok(Some(Self::Docker)),
            "jvm" => Ok(Some(Self::Jvm)),
            "none" => Ok(Some(Self::None)),
            _ if is_address(said) => Ok(Some(Self::Given(said.to_owned()))),
            _ => Err(format!(
                "{VARIABLE}={said:?} is none of HOST:PORT, docker, jvm, none"
            )),
        }
    }

    async fn first_that_works() -> Self {
        let Err(no_docker) = Image::chosen_and_available().await else {
            return Self::Docker;
        };
        let Err(no_jvm) = jars::available() else {
            return Self::Jvm;
        };
        panic!(
            "there is no Kafka for the tests: {no_docker}; {no_jvm}. Start a docker daemon, or install a \
             JDK 17 and Maven, or say {VARIABLE}=HOST:PORT of one that runs, or {VARIABLE}=none to leave \
             these tests out"
        );
    }

    /// Where brokers of one's own run; none, said on stderr, where there shall be none. Panics where what
    /// was chosen cannot be had.
    pub(super) async fn engine() -> Option<Engine> {
        match Self::chosen().await {
            Self::None => left_out("SYNCBELL_TEST_KAFKA=none"),
            Self::Given(_) => left_out("SYNCBELL_TEST_KAFKA=HOST:PORT, which is not ours to start"),
            Self::Docker => match Image::chosen_and_available().await {
                Ok(image) => return Some(Engine::Docker { image }),
                Err(missing) => panic!("{VARIABLE}=docker, but {missing}"),
            },
            Self::Jvm => {
                let jars = tokio::task::spawn_blocking(jars::fetched).await;
                let jars = jars.expect("does not panic");
                let jars = jars.unwrap_or_else(|error| panic!("{VARIABLE}=jvm, but {error}"));
                return Some(Engine::Jvm { jars });
            }
        }
        None
    }
}

fn is_address(said: &str) -> bool {
    let mut all = said.split(',');
    all.all(|one| {
        one.rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    })
}

/// Says on stderr that a test did not run, past the capture of the test harness, and how many so far.
pub(super) fn left_out(why: &str) {
    let n = N_LEFT_OUT.fetch_add(1, Ordering::Relaxed) + 1;
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    // Nobody reads a closed stderr.
    writeln!(
        io::stderr(),
        "left out: {test}, because of {why} ({n} in this binary so far)"
    )
    .ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_a_launcher() {
        let parse = |said| Launcher::parse(said);
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("docker"), Ok(Some(Launcher::Docker)));
        assert_eq!(parse("jvm"), Ok(Some(Launcher::Jvm)));
        assert_eq!(parse("none"), Ok(Some(Launcher::None)));
        for address in ["localhost:9092", "a:1,b:2", "[::1]:9092"] {
            let given = Launcher::Given(address.to_owned());
            assert_eq!(parse(address), Ok(Some(given)));
        }
        for wrong in ["JVM", "localhost", ":9092", "a:1,b", "a:70000"] {
            let problem = parse(wrong).unwrap_err();
            assert!(problem.contains(wrong), "{problem}");
        }
    }
}
