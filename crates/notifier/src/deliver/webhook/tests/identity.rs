//! Who we are: signatures, `Authorization`, headers, and that none of it comes to light.

use super::*;

const NEXT: &str = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

fn header<'a>(seen: &'a Seen, name: &str) -> &'a str {
    seen.headers[name].to_str().unwrap()
}

#[tokio::test]
async fn with_two_secrets_whoever_knows_one_of_them_accepts_the_request() {
    let receiver = Receiver::default();
    let address = receiver.start(|| answering(204, &[], "")).await;
    let mut webhook = config(&format!("http://{address}/"));
    webhook.secrets.push(LiveSecret::fixed(NEXT));
    assert_eq!(send(&webhook).await.name(), "delivered");
    let seen = receiver.seen.lock().unwrap();
    let signatures: Vec<&str> = header(&seen[0], "webhook-signature").split(' ').collect();
    assert_eq!(signatures.len(), 2);
    assert!(signatures.iter().all(|one| one.starts_with("v1,")) && signatures[0] != signatures[1]);
    for oracle in [
        standardwebhooks::Webhook::from_bytes(SECRET.as_bytes().to_vec()),
        standardwebhooks::Webhook::new(NEXT),
    ] {
        oracle
            .unwrap()
            .verify(&seen[0].body, &seen[0].headers)
            .unwrap();
    }
    let other = standardwebhooks::Webhook::from_bytes(b"another key".to_vec()).unwrap();
    assert!(other.verify(&seen[0].body, &seen[0].headers).is_err());
}

#[tokio::test]
async fn headers_and_authorization_are_sent_and_the_channel_s_own_stay() {
    let receiver = Receiver::default();
    let address = receiver.start(|| answering(204, &[], "")).await;
    let mut webhook = config(&format!("http://{address}/"));
    let header_of = |name: &str, value: &str| (name.to_owned(), LiveSecret::fixed(value));
    // The last two are refused by the configuration.
    webhook.headers = vec![
        header_of("x-team", "core"),
        header_of("user-agent", "me"),
        header_of("webhook-id", "mine"),
        header_of("content-type", "text/plain"),
    ];
    webhook.authorization = Some(Authorization::Basic {
        username: "me".into(),
        password: LiveSecret::fixed("pass:word"),
    });
    assert_eq!(send(&webhook).await.name(), "delivered");
    webhook.authorization = Some(Authorization::Bearer(LiveSecret::fixed("t0ken")));
    assert_eq!(send(&webhook).await.name(), "delivered");
    let seen = receiver.seen.lock().unwrap();
    assert_eq!(header(&seen[0], "x-team"), "core");
    assert_eq!(header(&seen[0], "user-agent"), "me");
    assert_eq!(header(&seen[0], "webhook-id"), id().0);
    assert!(header(&seen[0], "content-type").starts_with("application/cloudevents+json"));
    assert_eq!(header(&seen[0], "authorization"), "Basic bWU6cGFzczp3b3Jk");
    assert_eq!(header(&seen[1], "authorization"), "Bearer t0ken");
    assert_eq!(seen[0].headers.get_all("webhook-id").iter().count(), 1);
}

#[tokio::test]
async fn a_receiver_that_repeats_what_it_was_sent_gives_nothing_away() {
    let receiver = Receiver::default();
    let answer = "Bearer T0K3N-of-mine, key K3Y-of-mine, path /P4TH-of-mine";
    let address = receiver.start(move || answering(400, &[], answer)).await;
    let mut webhook = config(&format!("http://{address}/P4TH-of-mine"));
    webhook.headers = vec![("x-api-key".into(), LiveSecret::fixed("K3Y-of-mine"))];
    webhook.authorization = Some(Authorization::Bearer(LiveSecret::fixed("T0K3N-of-mine")));
    let outcome = send(&webhook).await;
    let note = "HTTP 400 Bad Request: Bearer [secret], key [secret], path /[url]".to_owned();
    assert_eq!(outcome, Outcome::PermanentMessage { note });
}

#[tokio::test]
async fn what_stands_in_files_is_used_as_it_stands_there_now() {
    let (old, new) = (Receiver::default(), Receiver::default());
    let old_address = old.start(|| answering(204, &[], "")).await;
    let new_address = new.start(|| answering(204, &[], "")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(file(name), text).unwrap();
    let live = |name: &str, text: &str| {
        write(name, text);
        LiveSecret::of_file(text, file(name))
    };
    let mut webhook = config(&format!("http://{old_address}/"));
    webhook.url = live("url", &format!("http://{old_address}/"));
    webhook.secrets = vec![live("secret", SECRET)];
    webhook.authorization = Some(Authorization::Bearer(live("token", "first")));
    let channel = WebhookChannel::try_new(&webhook).unwrap();
    assert_eq!(attempt(&channel).await.name(), "delivered");

    write("url", &format!("http://{new_address}/\n"));
    write("secret", NEXT);
    write("token", "second");
    channel.look_again();
    assert_eq!(attempt(&channel).await.name(), "delivered");

    // What cannot be used leaves what was there: a URL that is none, a key that is too short, no file, and a
    // scheme for which the connections are not made.
    write("url", &format!("https://{new_address}/"));
    write("secret", "short");
    std::fs::remove_file(file("token")).unwrap();
    channel.look_again();
    assert_eq!(attempt(&channel).await.name(), "delivered");

    let (old, new) = (old.seen.lock().unwrap(), new.seen.lock().unwrap());
    assert_eq!((old.len(), new.len()), (1, 2));
    let verify = |secret: Vec<u8>, seen: &Seen| {
        let oracle = standardwebhooks::Webhook::from_bytes(secret).unwrap();
        oracle.verify(&seen.body, &seen.headers)
    };
    verify(SECRET.as_bytes().to_vec(), &old[0]).unwrap();
    assert_eq!(header(&old[0], "authorization"), "Bearer first");
    for seen in new.iter() {
        verify(signing_key(NEXT).unwrap().expose().clone(), seen).unwrap();
        assert_eq!(header(seen, "authorization"), "Bearer second");
    }
}
