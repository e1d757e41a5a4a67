//! The simulated registry as a process of its own, and what is told to it.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use syncbell_config::Instance;
use syncbell_simulator::{DEMO_INSTANCE, DEMO_REGION, Options};

/// A registry with many quiet tasks; it ends with this.
pub(crate) struct Registry {
    pub(crate) url: String,
    process: Child,
}

impl Registry {
    /// With `n` tasks.
    pub(crate) fn start(n: u64) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_syncbell"))
            .args(["simulate", "--quiet", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let said = process.stdout.take().expect("it is piped");
        let mut said = BufReader::new(said).lines();
        let line = said.find_map(|line| {
            let line = line.ok()?;
            line.contains("ListRepoSyncTask of").then_some(line)
        });
        let line = line.expect("it says where it listens");
        let url = line.rsplit(' ').next().expect("the last word").to_owned();
        post(&url, "load", &format!("{{\"tasks\": {n}}}"));
        Self { url, process }
    }

    /// CPU milliseconds a page of a script over the vendor's SDK, where CI has installed it.
    pub(crate) fn vendor_sdk(&self, pages: u32) -> Option<f64> {
        let cache = std::env::var("XDG_CACHE_HOME").map_or_else(
            |_| PathBuf::from(std::env::var("HOME").unwrap_or_default()).join(".cache"),
            PathBuf::from,
        );
        let python = cache.join("syncbell/sdk-2.2.5/bin/python");
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/bench/scale/sdk.py"
        );
        let options = Options::default();
        let said = Command::new(python)
            .arg(script)
            .arg(self.url.trim_start_matches("http://"))
            .args([
                DEMO_INSTANCE,
                &options.access_key_id,
                &options.access_key_secret,
            ])
            .arg(pages.to_string())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        text.parse().ok()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The instance that the registry has.
pub(crate) fn instance(url: &str) -> Instance {
    let mut instance = Instance::try_new(DEMO_INSTANCE, DEMO_REGION).expect("a region");
    instance.endpoint = url.parse().expect("a URL");
    instance
}

/// As in the environment.
pub(crate) fn variable(name: &str) -> Option<String> {
    static OPTIONS: LazyLock<Options> = LazyLock::new(Options::default);
    match name {
        "ALIBABA_CLOUD_ACCESS_KEY_ID" => Some(OPTIONS.access_key_id.clone()),
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET" => Some(OPTIONS.access_key_secret.clone()),
        _ => None,
    }
}

/// Half of `n` changes are new tasks, half are those of before coming to an end.
pub(crate) fn change(url: &str, seed: u64, turn: u32, n: u64) {
    if turn > 0 {
        let batch = format!("b-{seed}-{}", turn - 1);
        let end = format!("{{\"status\": \"SUCCESS\", \"tasks\": {}}}", n / 2);
        call(url, "PUT", &format!("batch/{batch}"), &end);
    }
    let (batch, like) = (format!("b-{seed}-{turn}"), format!("rst-{seed}-{turn}"));
    let tasks = format!("{{\"tasks\": {}, \"like\": {{\"id\": \"{like}\"}}}}", n / 2);
    post(url, &format!("batch/{batch}"), &tasks);
}

pub(crate) fn forget_calls(url: &str) {
    call(url, "DELETE", "calls", "");
}

/// Requests since they were forgotten.
pub(crate) fn calls(url: &str) -> usize {
    call(url, "GET", "calls", "").matches("\"action\"").count()
}

fn post(url: &str, path: &str, json: &str) {
    call(url, "POST", path, json);
}

/// One request over a connection of its own.
fn call(url: &str, method: &str, path: &str, json: &str) -> String {
    use std::io::{Read as _, Write as _};

    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = std::net::TcpStream::connect(host).expect("it listens");
    let request = format!(
        "{method} /_simulator/{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
        json.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let status = answer.split(' ').nth(1).unwrap_or_default();
    assert!(status.starts_with('2'), "{method} {path}: {answer}");
    answer
}
