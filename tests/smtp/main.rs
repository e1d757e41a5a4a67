//! Mail through a real server: Debian's Exim, with STARTTLS, implicit TLS, AUTH and a refused recipient.

use std::time::Duration;

use syncbell_event::Status;
use syncbell_simulator::{DEMO_INSTANCE, DEMO_REGION, NewTask, Options, Simulator};
use syncbell_testkit::{Binary, Smtpd, SmtpdOptions};

const WAIT: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_takes_both_kinds_of_tls_and_a_refused_mailbox_harms_no_other() {
    let server = Smtpd::start(SmtpdOptions::default()).await;
    let simulator = Simulator::start(Options::default())
        .await
        .expect("a free port");
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = |name: &str, tls: &str, port: u16| {
        format!(
            "  - name: {name}\n    email:\n      from: syncbell@example.test\n      \
             to: [nobody@example.test, oncall@example.test]\n      \
             smtp: {{host: localhost, port: {port}, tls: {tls}, username: syncbell, \
             password: {{env: SMTP_PASSWORD}}, ca_file: '{}'}}\n",
            server.ca_pem_path().display()
        )
    };
    let text = format!(
        "data_dir: {}\n\
         instances:\n  - {{id: {DEMO_INSTANCE}, region: {DEMO_REGION}, endpoint: '{}', poll_every: 1s}}\n\
         receivers:\n{}{}\
         route: {{receivers: [upgraded, wrapped]}}\n\
         admin: {{listen: '127.0.0.1:0'}}\n",
        folder.path().join("data").display(),
        simulator.url(),
        receiver("upgraded", "starttls", server.starttls_addr().port()),
        receiver("wrapped", "implicit", server.smtps_addr().port()),
    );
    let config = folder.path().join("syncbell.yaml");
    std::fs::write(&config, text).expect("a configuration");
    let options = Options::default();
    let mut binary = Binary::launch(env!("CARGO_BIN_EXE_syncbell"))
        .args(["run", "-c", config.to_str().expect("a plain path")])
        .env("SMTP_PASSWORD", SmtpdOptions::default().password)
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", options.access_key_id)
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", options.access_key_secret)
        .start();
    binary.wait_for_line("the baseline is complete", WAIT).await;
    simulator.world().baseline_done();
    let task = NewTask::of("team/image", "v1")
        .id("rst-mail")
        .status(Status::Error);
    simulator.world().add_task(task);

    let mails = server.wait_for(2, WAIT).await;
    for mail in &mails {
        assert_eq!(
            mail.rcpt_to,
            ["oncall@example.test"],
            "one envelope an address"
        );
        assert!(mail.text().contains("rst-mail"));
        assert!(mail.tls && mail.authenticated_as.as_deref() == Some("syncbell"));
    }
    assert_ne!(mails[0].message_id(), mails[1].message_id());
    // Each refused mailbox is told by name, and its lane alone stops.
    binary.wait_for_lines("its lane stops", 2, WAIT).await;
    binary.terminate();
    assert!(binary.wait_for_exit(WAIT).await.success());
}
