//! A broker in a container, by testcontainers.
//!
//! The container shares the host's network, so that a broker's advertised address is the one it listens
//! on, and the cluster's folder at the same path, so that the same settings hold and the data outlives
//! the container. So the daemon has to be on this machine, and not in one of its own. The command suits any image with a shell, a
//! java on the path and Kafka's jars in `/opt/kafka/libs`: `apache/kafka` from 4.0 on, or the one that
//! `.ci/kafka-image` makes.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{getgid, getuid};
use testcontainers::core::client::docker_client_instance;
use testcontainers::core::{ExecCommand, Mount};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use super::node::{Launch, Order, classpath};

const IMAGE_VARIABLE: &str = "SYNCBELL_TEST_KAFKA_IMAGE";
const IMAGE: &str = "apache/kafka:4.3.1";
const JARS: &str = "/opt/kafka/libs";
const INFO_TIMEOUT: Duration = Duration::from_secs(5);
/// 200 MB over a slow line.
const PULL_TIMEOUT: Duration = Duration::from_mins(5);

/// An image's name and tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    name: String,
    tag: String,
}

impl Image {
    /// The one that the environment names, or the public one, if brokers can run from it: a daemon answers,
    /// and the image is there or comes. Else why not. Asked once.
    pub(super) async fn chosen_and_available() -> Result<Self, String> {
        static ASKED: OnceCell<Result<Image, String>> = OnceCell::const_new();
        let asked = ASKED.get_or_init(|| async {
            let image = Self::chosen()?;
            let asking = image.clone();
            let asked = runtime().spawn(async move { asking.ask().await });
            asked
                .await
                .map_err(|error| error.to_string())?
                .map(|()| image)
        });
        asked.await.clone()
    }

    fn chosen() -> Result<Self, String> {
        let said = env::var(IMAGE_VARIABLE).unwrap_or_default();
        let said = if said.is_empty() { IMAGE } else { &said };
        Self::parse(said).ok_or_else(|| format!("{IMAGE_VARIABLE}={said:?} is no NAME:TAG"))
    }

    fn parse(said: &str) -> Option<Self> {
        let (name, tag) = said.rsplit_once(':')?;
        let plain = !name.is_empty() && !tag.is_empty() && !tag.contains('/');
        plain.then(|| Self {
            name: name.to_owned(),
            tag: tag.to_owned(),
        })
    }

    async fn ask(self) -> Result<(), String> {
        let host = env::var("DOCKER_HOST").unwrap_or_default();
        if !host.is_empty() && !host.starts_with("unix://") {
            return Err(format!(
                "the docker daemon at {host} is not on this machine"
            ));
        }
        let info = async {
            let docker = docker_client_instance().await;
            let docker = docker.map_err(|error| error.to_string())?;
            let info = docker.info().await.map_err(|error| error.to_string());
            info.map(|info| (docker, info))
        };
        let info = tokio::time::timeout(INFO_TIMEOUT, info).await;
        let info = info.unwrap_or_else(|elapsed| Err(elapsed.to_string()));
        let (docker, info) = info.map_err(|why| format!("no docker daemon answers ({why})"))?;
        let options = info.security_options.unwrap_or_default();
        let apart = |option: &String| option.contains("rootless") || option.contains("userns");
        let desktop = info.operating_system.as_deref() == Some("Docker Desktop");
        if desktop || options.iter().any(apart) {
            return Err("the docker daemon has a network or users of its own".to_owned());
        }
        let Self { name, tag } = &self;
        if docker.inspect_image(&format!("{name}:{tag}")).await.is_ok() {
            return Ok(());
        }
        let pull = GenericImage::new(name, tag).pull_image();
        match tokio::time::timeout(PULL_TIMEOUT, pull).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("the image {name}:{tag} cannot be had ({error})")),
            Err(elapsed) => Err(format!("the image {name}:{tag} does not come ({elapsed})")),
        }
    }
}

/// Killed and removed when dropped.
#[derive(Debug)]
pub(super) struct Container {
    /// Taken when it is dropped. In a box: it is large.
    handle: Option<Box<ContainerAsync<GenericImage>>>,
    folder: PathBuf,
    /// The pipe that the broker's watcher reads: it closes with this process. After the container, which
    /// would remove its folder.
    _alive: File,
}

impl Container {
    pub(super) fn start(launch: &Launch, image: &Image) -> io::Result<Self> {
        let pipe = launch.folder.join("alive");
        if !pipe.exists() {
            mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        // Both ends: opening one would wait for the other.
        let alive = File::options().read(true).write(true).open(&pipe)?;
        // Of all clusters: the watcher removes this one's.
        let shared = launch.folder.ancestors().nth(2);
        let shared =
            shared.expect("a node's folder lies in a cluster's, and that in the one of all");
        let shared = fs::canonicalize(shared)?.display().to_string();
        let request = GenericImage::new(&image.name, &image.tag)
            .with_entrypoint("sh")
            .with_cmd(launch.shell("java", JARS, &pipe.display().to_string()))
            .with_network("host")
            .with_mount(Mount::bind_mount(&shared, &shared))
            // What it writes can then be removed by the tests.
            .with_user(format!("{}:{}", getuid().as_raw(), getgid().as_raw()))
            .with_host_config_modifier(|host| {
                host.auto_remove = Some(true);
                // The first process of a container takes no SIGKILL from inside; the watcher sends one.
                host.init = Some(true);
            });
        let container = on_docker(async || request.start().await);
        let container = container.map_err(io::Error::other)?;
        Ok(Self {
            handle: Some(Box::new(container)),
            folder: launch.folder.clone(),
            _alive: alive,
        })
    }

    /// To the broker itself, so that its watcher goes on. Panics if it ended.
    pub(super) fn tell(&self, order: Order) {
        let signal = match order {
            Order::Stop => "STOP",
            Order::Cont => "CONT",
            Order::Term => "TERM",
        };
        let folder = self.folder.display();
        let kill = format!("kill -{signal} $(cat '{folder}/pid')");
        match self.exec(&["sh", "-c", &kill]) {
            Ok((0, _)) => {}
            Ok((_, said)) => panic!("could not {order:?} a broker in a container: {said}"),
            Err(error) => panic!("could not {order:?} a broker in a container: {error}"),
        }
    }

    /// No, where it was removed.
    pub(super) fn is_running(&self) -> bool {
        let container = self.container();
        on_docker(async || container.is_running().await.unwrap_or(false))
    }

    /// Runs a class of the image's jars.
    pub(super) fn run(&self, arguments: &[&str]) -> io::Result<(i64, String)> {
        let jars = classpath(Path::new(JARS));
        let first = [
            "java",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            &jars,
        ];
        let all = first.into_iter().chain(arguments.iter().copied());
        self.exec(&all.collect::<Vec<_>>())
    }

    fn exec(&self, words: &[&str]) -> io::Result<(i64, String)> {
        let command = ExecCommand::new(words.iter().copied());
        let container = self.container();
        on_docker(async || {
            let mut ran = container.exec(command).await.map_err(io::Error::other)?;
            let mut said = ran.stdout_to_vec().await.map_err(io::Error::other)?;
            said.extend(ran.stderr_to_vec().await.map_err(io::Error::other)?);
            let code = ran.exit_code().await.map_err(io::Error::other)?;
            let code = code.ok_or_else(|| io::Error::other("no exit code"))?;
            Ok((code, String::from_utf8_lossy(&said).into_owned()))
        })
    }

    fn container(&self) -> &ContainerAsync<GenericImage> {
        self.handle.as_ref().expect("there until it is dropped")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Its own drop removes it, by force, and needs a runtime with several threads.
        let container = self.handle.take();
        on_docker(async || drop(container));
    }
}

/// The client's connections belong to the runtime that opened them, and each test has a runtime of its
/// own: so all that speaks to the daemon runs on this one.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("could not make a runtime for docker"))
}

/// Waits, and blocks this thread, for what the daemon takes: the time of a request. On a thread of its
/// own, since this one may belong to a test's runtime.
fn on_docker<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    let done = thread::scope(|scope| scope.spawn(|| runtime().block_on(work())).join());
    done.expect("what docker is asked does not panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_name_and_a_tag() {
        let parts = |said| Image::parse(said).map(|image| (image.name, image.tag));
        let both = |name: &str, tag: &str| Some((name.to_owned(), tag.to_owned()));
        assert_eq!(parts("apache/kafka:4.3.1"), both("apache/kafka", "4.3.1"));
        assert_eq!(parts("localhost:5000/k:1"), both("localhost:5000/k", "1"));
        for wrong in ["apache/kafka", "localhost:5000/kafka", ":1", "kafka:"] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }
}
