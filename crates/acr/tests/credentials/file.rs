//! The credentials file: sections of `key = value`.

use std::time::Duration;

use crate::cloud::{Machine, fails, form, from_sts, issued, key, query, requests, serve};
use wiremock::ResponseTemplate;

const KEY: &str =
    "type = access_key\naccess_key_id = filed\naccess_key_secret = hush-filed # hush\n";

/// A chain that has nothing but the file.
fn machine(variables: &[(&str, &str)]) -> Machine {
    let off = [("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true")];
    Machine::new(&[variables, &off[..]].concat())
}

async fn chain(machine: &Machine) -> Result<String, String> {
    key(&*machine.surroundings.default_chain()).await
}

#[tokio::test]
async fn both_names_in_the_home_folder_are_tried() {
    for (there, path) in [
        ("credentials", ".alibabacloud/credentials"),
        ("ini", ".alibabacloud/credentials.ini"),
    ] {
        let machine = machine(&[]);
        machine.file(path, &format!("[default]\n{KEY}"));
        assert_eq!(chain(&machine).await.as_deref(), Ok("filed"), "{there}");
    }
    // The second has the section that the first does not have.
    let machine = machine(&[("ALIBABA_CLOUD_PROFILE", "team")]);
    machine.file(".alibabacloud/credentials.ini", "[default]\ntype = hush\n");
    machine.file(".alibabacloud/credentials", &format!("[team]\n{KEY}"));
    assert_eq!(chain(&machine).await.as_deref(), Ok("filed"));
}

#[tokio::test]
async fn a_file_that_is_named_is_the_only_one() {
    let folder = Machine::new(&[]);
    let named = folder.file("named", &format!("[default]\n{KEY}"));
    let machine = machine(&[("ALIBABA_CLOUD_CREDENTIALS_FILE", &named)]);
    machine.file(".alibabacloud/credentials", "[default]\ntype = hush\n");
    assert_eq!(chain(&machine).await.as_deref(), Ok("filed"));
    std::fs::remove_file(&named).unwrap();
    let said = chain(&machine).await.unwrap_err();
    assert!(said.contains("named is not there"), "{said}");
}

#[tokio::test]
async fn a_role_is_assumed_with_the_key_beside_it() {
    let sts = serve(|_| from_sts("role")).await;
    let machine = machine(&[]).sts(&sts);
    let section = "[default]\ntype = ram_role_arn\naccess_key_id = filed\naccess_key_secret = hush\n\
                   role_arn = acs:ram::1:role/bell\nrole_session_name = night\npolicy = {\"Version\":\"1\"}\n";
    machine.file(".alibabacloud/credentials", section);
    assert_eq!(chain(&machine).await.as_deref(), Ok("role"));
    let request = &requests(&sts).await[0];
    assert_eq!(query(request)["AccessKeyId"], "filed");
    let form = form(request);
    assert_eq!(form["RoleArn"], "acs:ram::1:role/bell");
    assert_eq!(form["RoleSessionName"], "night");
    assert_eq!(form["Policy"], "{\"Version\":\"1\"}");
}

#[tokio::test]
async fn a_token_becomes_a_role() {
    let sts = serve(|request| from_sts(&form(request)["OIDCToken"].replace("hush", "role"))).await;
    for name in ["oidc_token_file_path", "oidc_token_file"] {
        let machine = machine(&[]).sts(&sts);
        let token = machine.file("token", "hush-1");
        let section = format!(
            "[default]\ntype = oidc_role_arn\nrole_arn = a\noidc_provider_arn = p\n{name} = {token}\n"
        );
        machine.file(".alibabacloud/credentials", &section);
        assert_eq!(chain(&machine).await.as_deref(), Ok("role-1"));
    }
}

#[tokio::test]
async fn the_role_of_the_machine_may_be_named() {
    let metadata = serve(|request| {
        let role = request.url.path_segments().unwrap().next_back().unwrap();
        ResponseTemplate::new(200).set_body_json(issued(role, Duration::from_hours(1)))
    })
    .await;
    let machine = machine(&[]).metadata(&metadata);
    let section = "[default]\ntype = ecs_ram_role\nrole_name = named\n";
    machine.file(".alibabacloud/credentials", section);
    assert_eq!(chain(&machine).await.as_deref(), Ok("named"));
}

#[tokio::test]
async fn what_is_wrong_is_named_by_section_and_key_without_values() {
    for (section, why) in [
        ("[hush]\n", "has no section \"default\""),
        ("[default]\n", "[default]: it has no type"),
        ("[default]\ntype = hush\n", "type is none that is known"),
        ("[default]\ntype = rsa_key_pair\n", "given up by the vendor"),
        ("[default]\ntype = access_key\n", "no access_key_id"),
        (
            "[default]\ntype = access_key\naccess_key_id = hush\n",
            "no access_key_secret",
        ),
        ("[default]\ntype = oidc_role_arn\n", "no oidc_provider_arn"),
        (
            "[default]\nenable = false\ntype = access_key\n",
            "switched off",
        ),
    ] {
        let machine = machine(&[]);
        machine.file(".alibabacloud/credentials", section);
        let chain = machine.surroundings.default_chain();
        fails(&*chain, "credentials", &["credentials file: ", why]).await;
    }
    let machine = machine(&[]);
    let section =
        "[default]\ntype = ram_role_arn\naccess_key_id = hush\naccess_key_secret = hush\n";
    machine.file(".alibabacloud/credentials", section);
    let chain = machine.surroundings.default_chain();
    fails(&*chain, "credentials", &["no role_arn"]).await;
}

#[tokio::test]
async fn a_key_that_was_changed_is_found_when_the_old_one_is_refused() {
    let machine = machine(&[]);
    let path = ".alibabacloud/credentials";
    machine.file(path, &format!("[default]\n{KEY}"));
    let chain = machine.surroundings.default_chain();
    let refused = chain.credentials().await.unwrap();
    machine.file(
        path,
        &format!("[default]\n{}", KEY.replace("filed", "changed")),
    );
    assert_eq!(key(&*chain).await.as_deref(), Ok("filed"));
    let others = chain.renew(&refused).await.unwrap().unwrap();
    assert_eq!(others.access_key_id, "changed");
    assert_eq!(key(&*chain).await.as_deref(), Ok("changed"));
    // Of the other's refusal it knows already.
    let others = chain.renew(&refused).await.unwrap().unwrap();
    assert_eq!(others.access_key_id, "changed");
}
