//! The jars of a broker and its tools, fetched once for all test processes of this user.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

const POM: &str = include_str!("pom.xml");
/// As in the POM; the name of the folder, so that another version gets another one.
pub(super) const VERSION: &str = "4.3.1";
const JAVA_MIN: u32 = 17;

/// Whether brokers can run as processes, or what is missing.
pub(super) fn available() -> Result<(), String> {
    let version = java_version()?;
    if version < JAVA_MIN {
        return Err(format!("java is {version}, and Kafka needs {JAVA_MIN}"));
    }
    let folder = folder().map_err(|error| error.to_string())?;
    if folder.is_dir() || answers("mvn") {
        return Ok(());
    }
    Err(format!(
        "there is no mvn, and no jars in {}",
        folder.display()
    ))
}

/// The java of `JAVA_HOME`, else of the path.
pub(super) fn java() -> PathBuf {
    let home = env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    home.filter(|java| java.exists())
        .unwrap_or_else(|| PathBuf::from("java"))
}

/// The folder with the jars; Maven fetches them when they are not there. Blocks, for a minute on a slow
/// line. Several processes may ask at once: one fetches, the others wait for it.
pub(super) fn fetched() -> io::Result<PathBuf> {
    available().map_err(io::Error::other)?;
    let folder = folder()?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let parent = folder.parent().expect("the folder has a parent");
    fs::create_dir_all(parent)?;
    let lock = File::create(parent.join(format!("kafka-{VERSION}.lock")))?;
    lock.lock()?;
    if !folder.is_dir() {
        // Beside its final place, so that the rename is atomic: a folder of that name is complete.
        let fetching = TempDir::new_in(parent)?;
        fetch(fetching.path())?;
        fs::rename(fetching.path().join("jars"), &folder)?;
    }
    Ok(folder)
}

fn folder() -> io::Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.filter(|path| path.is_absolute());
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
    let cache = cache
        .or_else(home)
        .ok_or_else(|| io::Error::other("neither XDG_CACHE_HOME nor HOME is set"))?;
    Ok(cache.join("syncbell").join(format!("kafka-{VERSION}")))
}

fn fetch(into: &Path) -> io::Result<()> {
    fs::write(into.join("pom.xml"), POM)?;
    let jars = into.join("jars");
    let output = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(into.join("pom.xml"))
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", jars.display()))
        .stdin(Stdio::null())
        .output()?;
    let there = jars.join(format!("kafka_2.13-{VERSION}.jar")).exists();
    if output.status.success() && there {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let problem = format!(
        "could not fetch Kafka's jars, mvn: {}\n{said}",
        output.status
    );
    Err(io::Error::other(problem))
}

fn answers(program: &str) -> bool {
    let mut command = Command::new(program);
    let command = command.arg("--version").stdin(Stdio::null());
    let output = command.output();
    output.is_ok_and(|output| output.status.success())
}

/// The major version: `openjdk version "17.0.15"`, or `"1.8.0_402"` for Java 8.
fn java_version() -> Result<u32, String> {
    let output = Command::new(java()).arg("-version").output();
    let output = output.map_err(|error| format!("there is no java ({error})"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let version = said.split('"').nth(1).and_then(|version| {
        let version = version.strip_prefix("1.").unwrap_or(version);
        let end = version.find(|c: char| !c.is_ascii_digit());
        version[..end.unwrap_or(version.len())].parse().ok()
    });
    version.ok_or_else(|| format!("java -version does not say which: {said}"))
}
