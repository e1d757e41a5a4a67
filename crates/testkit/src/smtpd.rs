//! A real SMTP server: Debian's Exim, in the foreground, with everything it has in a temporary folder.
//!
//! What is configured: the Exim specification 4.96, chapters 14 (main options), 33 (plaintext
//! authenticators), 26 (appendfile), 43 (ACLs).

use std::fs::{self, Permissions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use tempfile::TempDir;

use crate::{Authority, Mail, eventually};

const CONFIGURATION: &str = include_str!("smtpd/exim.conf");
const PACKAGE: &str = "exim4-daemon-light";
/// Where Debian puts it.
const BINARY: &str = "/usr/sbin/exim4";
/// The user Debian's Exim drops to.
const USER: &str = "Debian-exim";
/// A free port may be taken by someone else before Exim has it.
const STARTS_MAX: usize = 5;
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Who may send, and who can receive.
#[derive(Clone, Debug)]
pub struct SmtpdOptions {
    /// The user name of AUTH.
    pub username: String,
    /// Its password.
    pub password: String,
    /// Local parts at `example.test` that exist; every other recipient gets 550.
    pub mailboxes: Vec<String>,
}

impl Default for SmtpdOptions {
    /// `syncbell`, `sesame`; `oncall@example.test` and `ops@example.test`.
    fn default() -> Self {
        Self {
            username: "syncbell".to_owned(),
            password: "sesame".to_owned(),
            mailboxes: vec!["oncall".to_owned(), "ops".to_owned()],
        }
    }
}

/// The server; killed, with its children, when dropped.
#[derive(Debug)]
pub struct Smtpd {
    folder: TempDir,
    authority: Authority,
    starttls: SocketAddr,
    smtps: SocketAddr,
    child: Child,
}

impl Smtpd {
    /// The server's binary, or what is missing and how to get it.
    pub fn available() -> Result<PathBuf, String> {
        let binary = PathBuf::from(BINARY);
        if !binary.exists() {
            return Err(format!(
                "there is no {BINARY}, a real SMTP server: apt-get install {PACKAGE}"
            ));
        }
        if !geteuid().is_root() {
            return Err(format!(
                "only root may start {BINARY} as a daemon with its own configuration: run the tests as root"
            ));
        }
        user_ids().map(|_| binary)
    }

    /// Starts one on two free ports of 127.0.0.1 and waits until both accept. Panics with the reason
    /// where [`Smtpd::available`] gives one, or with Exim's own words.
    pub async fn start(options: SmtpdOptions) -> Self {
        let binary = Self::available().unwrap_or_else(|missing| panic!("{missing}"));
        let mut log = String::new();
        for _ in 0..STARTS_MAX {
            let mut smtpd = Self::spawn(&binary, &options).expect("could not start exim");
            if smtpd.accepts().await {
                return smtpd;
            }
            log = smtpd.log();
            if !log.contains("already in use") {
                break;
            }
        }
        panic!("exim did not start:\n{log}");
    }

    fn spawn(binary: &Path, options: &SmtpdOptions) -> io::Result<Self> {
        let authority = Authority::new();
        let folder = TempDir::new()?;
        prepare(folder.path(), options, &authority)?;
        let (starttls, smtps) = free_ports()?;
        let configuration = folder.path().join("exim.conf");
        let macros = format!(
            "FOLDER = {}\nPORT_STARTTLS = {}\nPORT_SMTPS = {}\n",
            folder.path().display(),
            starttls.port(),
            smtps.port()
        );
        fs::write(&configuration, macros + CONFIGURATION)?;
        let output = fs::File::create(folder.path().join("output"))?;
        let child = Command::new(binary)
            .arg("-C")
            .arg(&configuration)
            .arg("-bdf")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A group of its own, so that its children end with it.
            .process_group(0)
            .spawn()?;
        Ok(Self {
            folder,
            authority,
            starttls,
            smtps,
            child,
        })
    }

    /// Whether both listeners answer, before it gives up.
    async fn accepts(&mut self) -> bool {
        let addresses = [self.starttls, self.smtps];
        let child = &mut self.child;
        let mut look = || {
            let ended = !matches!(child.try_wait(), Ok(None));
            let open = addresses
                .iter()
                .all(|address| std::net::TcpStream::connect(address).is_ok());
            (ended || open).then_some(!ended)
        };
        eventually("exim to listen", START_TIMEOUT, || {
            std::future::ready(look())
        })
        .await
    }

    /// The listener that requires STARTTLS, then AUTH.
    pub fn starttls_addr(&self) -> SocketAddr {
        self.starttls
    }

    /// The listener with implicit TLS; requires AUTH.
    pub fn smtps_addr(&self) -> SocketAddr {
        self.smtps
    }

    /// What goes into `smtp.ca_file`; the certificate is for `localhost` and 127.0.0.1.
    pub fn ca_pem_path(&self) -> PathBuf {
        self.authority.ca_pem_path()
    }

    /// Every mail in the mailboxes, in the order of delivery: one for each recipient, `received_at` the
    /// moment of delivery, Exim's trace headers first.
    pub fn mails(&self) -> Vec<Mail> {
        let mailboxes = files(&self.folder.path().join("mail"));
        let mut mails: Vec<Mail> = mailboxes
            .iter()
            .flat_map(|mailbox| files(&mailbox.join("new")))
            .filter_map(|file| mail(&file))
            .collect();
        mails.sort_by_key(|mail| mail.received_at);
        mails
    }

    /// Waits until `n` mails lie in the mailboxes. Panics with Exim's log after `timeout`.
    pub async fn wait_for(&self, n: usize, timeout: Duration) -> Vec<Mail> {
        let enough = eventually("mails", timeout * 2, || async {
            let mails = self.mails();
            (mails.len() >= n).then_some(mails)
        });
        let Ok(mails) = tokio::time::timeout(timeout, enough).await else {
            let n_there = self.mails().len();
            let log = self.log();
            panic!(
                "waited in vain for {n} mails at exim ({timeout:?}), there are {n_there}\n{log}"
            );
        };
        mails
    }

    /// What Exim wrote: its main log and its output.
    pub fn log(&self) -> String {
        let folder = self.folder.path();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        read("log/main") + &read("log/panic") + &read("output")
    }
}

impl Drop for Smtpd {
    fn drop(&mut self) {
        // Best effort: the folder goes next, and a panic in a drop would hide the test's own.
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
        self.child.wait().ok();
    }
}

/// Certificates, tables and folders that Exim's user can read and write.
fn prepare(folder: &Path, options: &SmtpdOptions, authority: &Authority) -> io::Result<()> {
    for word in options
        .mailboxes
        .iter()
        .chain([&options.username, &options.password])
    {
        let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        assert!(
            plain,
            "names and password go into exim's tables: letters and digits only"
        );
    }
    let (user, group) = user_ids().map_err(io::Error::other)?;
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    let identity = authority.issue(&["localhost", "127.0.0.1"]);
    identity.write(folder)?;
    let users = format!("{}: {}\n", options.username, options.password);
    fs::write(folder.join("users"), users)?;
    let mailboxes = options.mailboxes.iter();
    let mailboxes: Vec<String> = mailboxes.map(|name| format!("{name}: {name}")).collect();
    fs::write(folder.join("mailboxes"), mailboxes.join("\n"))?;
    for name in ["spool", "log", "mail"] {
        let path = folder.join(name);
        fs::create_dir(&path)?;
        chown(&path, Some(user), Some(group))?;
    }
    Ok(())
}

/// User and group id of Exim's user.
fn user_ids() -> Result<(u32, u32), String> {
    let missing = || format!("there is no user {USER}: apt-get install {PACKAGE}");
    let passwd = fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
    let mut users = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let user = users.find(|fields| fields[0] == USER).ok_or_else(missing)?;
    let id = |index: usize| user.get(index).and_then(|id| id.parse().ok());
    id(2).zip(id(3)).ok_or_else(missing)
}

fn free_ports() -> io::Result<(SocketAddr, SocketAddr)> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok((first.local_addr()?, second.local_addr()?))
}

/// What lies in a folder; nothing if the folder is not there (yet).
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

/// A maildir file: its name begins with the time of delivery, `SECONDS.MMICROSECONDSP…`.
fn mail(file: &Path) -> Option<Mail> {
    let mut name = file.file_name()?.to_str()?.split('.');
    let seconds: i64 = name.next()?.parse().ok()?;
    let micros: i64 = name
        .next()?
        .strip_prefix('M')?
        .split_once('P')?
        .0
        .parse()
        .ok()?;
    let text = String::from_utf8_lossy(&fs::read(file).ok()?).replace('\n', "\r\n");
    let mut mail = Mail {
        mail_from: String::new(),
        rcpt_to: Vec::new(),
        raw: text.into_bytes(),
        received_at: Timestamp::from_microsecond(seconds * 1_000_000 + micros).ok()?,
        tls: false,
        authenticated_as: None,
        acknowledged: true,
    };
    let address = |name: &str| Some(mail.header(name)?.trim_matches(['<', '>']).to_owned());
    let mail_from = address("return-path")?;
    let rcpt_to = vec![address("envelope-to")?];
    // RFC 3848: esmtps is ESMTP over TLS, esmtpsa the same with AUTH.
    mail.tls = mail.header("received")?.contains("with esmtps");
    mail.authenticated_as = mail.header("x-authenticated-as");
    (mail.mail_from, mail.rcpt_to) = (mail_from, rcpt_to);
    Some(mail)
}

#[cfg(test)]
mod tests;
