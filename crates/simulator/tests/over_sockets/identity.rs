//! STS, the metadata service and a credentials URI: who gets credentials, and how long they are good.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use syncbell_simulator::{Action, DEMO_INSTANCE, Extent, Fault, Handle, Identity};

use crate::client::{Call, call, call_of, http, start};

const ROLE: &str = "acs:ram::12:role/a";
const PROVIDER: &str = "acs:ram::12:oidc-provider/b";

fn assume(more: &[(&str, &str)]) -> Call {
    let mut query = vec![
        ("RoleArn", ROLE),
        ("RoleSessionName", "syncbell"),
        ("DurationSeconds", "900"),
    ];
    query.extend_from_slice(more);
    Call {
        version: "2015-04-01",
        ..call_of("AssumeRole", &query)
    }
}

/// A call of the registry with the credentials of an answer.
fn with(issued: &Value) -> Call {
    let text = |name: &str| issued[name].as_str().unwrap().to_owned();
    Call {
        key_id: text("AccessKeyId"),
        secret: text("AccessKeySecret"),
        token: Some(text("SecurityToken")),
        ..call(&[("InstanceId", DEMO_INSTANCE)])
    }
}

async fn answer(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn json_of(request: RequestBuilder) -> (u16, Value) {
    let (status, text) = answer(request).await;
    (status, serde_json::from_str(&text).unwrap())
}

async fn oidc(handle: &Handle, role: &str, provider: &str, token: &str) -> (u16, Value) {
    let form = format!(
        "RoleArn={role}&RoleSessionName=syncbell&OIDCProviderArn={provider}&OIDCToken={token}"
    );
    let url = format!(
        "{}/?Action=AssumeRoleWithOIDC&Version=2015-04-01",
        handle.url()
    );
    let form_type = "application/x-www-form-urlencoded";
    let request = http().post(url).header("content-type", form_type);
    json_of(request.body(form)).await
}

fn believe(handle: &Handle, identity: Identity) {
    handle.world().set_identity(identity);
}

#[tokio::test]
async fn a_role_is_given_for_a_signature_in_the_query_and_in_a_form_and_is_taken_everywhere() {
    let handle = start().await;
    let mut get = assume(&[]);
    get.method = Method::GET;
    let answers = [
        get.json_v1(&handle).await,
        assume(&[]).json_v1(&handle).await,
        assume(&[]).json_v1_form(&handle).await,
    ];
    for (status, body) in &answers {
        assert_eq!(*status, 200, "{body}");
        let user = body["AssumedRoleUser"]["Arn"].as_str().unwrap();
        assert_eq!(user, "acs:ram::12:assumed-role/a/syncbell");
        let issued = &body["Credentials"];
        let (status, listed) = with(issued).json(&handle).await;
        assert_eq!(status, 200, "{listed}");
        let (status, listed) = with(issued).json_v1(&handle).await;
        assert_eq!(status, 200, "{listed}");
        // A role of a role.
        let mut chained = assume(&[]);
        let Call {
            key_id,
            secret,
            token,
            ..
        } = with(issued);
        (chained.key_id, chained.secret, chained.token) = (key_id, secret, token);
        assert_eq!(chained.json_v1_form(&handle).await.0, 200);
    }
    assert_eq!(handle.world().issued().len(), 6);
    assert_eq!(handle.world().issued()[0].role, ROLE);
}

#[tokio::test]
async fn a_role_is_refused_for_each_thing_that_is_wrong() {
    let handle = start().await;
    let code = |(status, body): (u16, Value)| (status, body["Code"].as_str().unwrap().to_owned());
    let told = |status: u16, code: &str| (status, code.to_owned());
    let mut wrong = assume(&[]);
    wrong.secret = "another".to_owned();
    let found = code(wrong.json_v1_form(&handle).await);
    assert_eq!(found, told(400, "SignatureDoesNotMatch"));
    let mut wrong = assume(&[]);
    wrong.key_id = "nobody".to_owned();
    let found = code(wrong.json_v1_form(&handle).await);
    assert_eq!(found, told(404, "InvalidAccessKeyId.NotFound"));
    let mut wrong = assume(&[]);
    wrong.query.retain(|(name, _)| name != "RoleSessionName");
    let found = code(wrong.json_v1_form(&handle).await);
    assert_eq!(found, told(400, "MissingRoleSessionName"));
    let mut short = assume(&[]);
    short.query.retain(|(name, _)| name != "DurationSeconds");
    short
        .query
        .push(("DurationSeconds".to_owned(), "60".to_owned()));
    let found = code(short.json_v1_form(&handle).await);
    assert_eq!(found, told(400, "InvalidParameter"));
    let mut old = assume(&[]);
    old.version = "2018-12-01";
    let found = code(old.json_v1_form(&handle).await);
    assert_eq!(found, told(400, "InvalidVersion"));
    believe(
        &handle,
        Identity {
            roles: vec!["acs:ram::12:role/b".to_owned()],
            ..Identity::default()
        },
    );
    let found = code(assume(&[]).json_v1_form(&handle).await);
    assert_eq!(found, told(404, "EntityNotExist.Role"));
    believe(
        &handle,
        Identity {
            external_id: Some("shop".to_owned()),
            ..Identity::default()
        },
    );
    let found = code(assume(&[]).json_v1_form(&handle).await);
    assert_eq!(found, told(403, "NoPermission"));
    let right = assume(&[("ExternalId", "shop")]);
    assert_eq!(right.json_v1_form(&handle).await.0, 200);
    assert_eq!(handle.world().issued().len(), 1);
}

#[tokio::test]
async fn a_token_speaks_for_a_role_and_its_text_and_the_arns_are_checked() {
    let handle = start().await;
    let (status, body) = oidc(&handle, ROLE, PROVIDER, "a.b.c").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(with(&body["Credentials"]).json(&handle).await.0, 200);
    believe(
        &handle,
        Identity {
            roles: vec![ROLE.to_owned()],
            oidc_providers: vec![PROVIDER.to_owned()],
            oidc_tokens: vec!["x.y.z".to_owned()],
            ..Identity::default()
        },
    );
    assert_eq!(oidc(&handle, ROLE, PROVIDER, "x.y.z").await.0, 200);
    let other = "acs:ram::12:oidc-provider/c";
    for (role, provider, token, expected) in [
        (
            ROLE,
            PROVIDER,
            "a.b.c",
            "AuthenticationFail.OIDCToken.Invalid",
        ),
        (ROLE, other, "x.y.z", "EntityNotExist.OIDCProvider"),
        (
            "acs:ram::12:role/b",
            PROVIDER,
            "x.y.z",
            "EntityNotExist.Role",
        ),
        (ROLE, PROVIDER, "", "MissingOIDCToken"),
    ] {
        let (_, body) = oidc(&handle, role, provider, token).await;
        assert_eq!(body["Code"], expected, "{body}");
    }
}

#[tokio::test]
async fn credentials_end_by_their_life_by_order_and_by_being_forgotten() {
    let handle = start().await;
    let post = |path: &str, body: Value| {
        let url = format!("{}/_simulator/identity{path}", handle.url());
        let body = body.to_string();
        let json = "application/json";
        http().post(url).header("content-type", json).body(body)
    };
    assert_eq!(answer(post("", json!({"life_s": 1}))).await.0, 204);
    let (_, body) = assume(&[]).json_v1_form(&handle).await;
    let short = body["Credentials"].clone();
    assert_eq!(with(&short).json(&handle).await.0, 200);
    let expired = (400, "InvalidSecurityToken.Expired".to_owned());
    let ends = async {
        while with(&short).code(&handle).await != expired {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ends)
        .await
        .expect("they end");

    assert_eq!(answer(post("", json!({"life_s": null}))).await.0, 204);
    let (_, body) = assume(&[]).json_v1_form(&handle).await;
    let long = body["Credentials"].clone();
    let mut mixed = with(&long);
    mixed.token = Some("another".to_owned());
    let mismatch = "InvalidSecurityToken.MismatchWithAccessKey".to_owned();
    assert_eq!(mixed.code(&handle).await, (400, mismatch));
    assert_eq!(answer(post("/expire", json!({}))).await.0, 204);
    assert_eq!(with(&long).code(&handle).await, expired);
    let url = format!("{}/_simulator/identity", handle.url());
    let (_, told) = json_of(http().get(&url)).await;
    assert_eq!(told["issued"][1]["by"], "AssumeRole", "{told}");
    let secret = long["AccessKeySecret"].as_str().unwrap();
    assert!(!told.to_string().contains(secret), "{told}");
    assert_eq!(answer(http().delete(&url)).await.0, 204);
    let unknown = (404, "InvalidAccessKeyId.NotFound".to_owned());
    assert_eq!(with(&long).code(&handle).await, unknown);
}

#[tokio::test]
async fn the_metadata_service_has_v2_with_a_token_and_v1_unless_it_is_switched_off() {
    let handle = start().await;
    let url = |path: &str| format!("{}/latest/{path}", handle.url());
    let roles = "meta-data/ram/security-credentials/";
    let role = format!("{roles}simulatorRole");
    let header = "X-aliyun-ecs-metadata-token";
    let life = "X-aliyun-ecs-metadata-token-ttl-seconds";
    assert_eq!(answer(http().put(url("api/token"))).await.0, 400);
    let token = http().put(url("api/token")).header(life, "21600");
    let (status, token) = answer(token).await;
    assert_eq!(status, 200);
    let get = |path: &str| http().get(url(path)).header(header, &token);
    let name = answer(get(roles)).await;
    assert_eq!(name, (200, "simulatorRole".to_owned()));
    let (status, v2) = json_of(get(&role)).await;
    assert_eq!((status, &v2["Code"]), (200, &json!("Success")));
    assert_eq!(with(&v2).json(&handle).await.0, 200);
    let (_, v1) = json_of(http().get(url(&role))).await;
    assert_eq!(v1["AccessKeyId"], v2["AccessKeyId"], "a machine has one");
    let wrong = http().get(url(roles)).header(header, "x");
    assert_eq!(answer(wrong).await.0, 401);
    assert_eq!(answer(get(&format!("{roles}other"))).await.0, 404);
    let mut identity = handle.world().identity();
    identity.metadata_v1 = false;
    believe(&handle, identity.clone());
    assert_eq!(answer(http().get(url(roles))).await.0, 403);
    assert_eq!(answer(get(roles)).await.0, 200);
    identity.ecs_role = None;
    believe(&handle, identity);
    assert_eq!(answer(get(roles)).await.0, 404);
}

#[tokio::test]
async fn a_credentials_uri_answers_and_faults_hit_each_way() {
    let handle = start().await;
    let uri = format!("{}/credentials", handle.url());
    let (status, body) = json_of(http().get(&uri)).await;
    assert_eq!((status, &body["Code"]), (200, &json!("Success")));
    assert_eq!(with(&body).json(&handle).await.0, 200);
    let world = handle.world();
    let ways = [
        Action::AssumeRole,
        Action::AssumeRoleWithOidc,
        Action::EcsMetadata,
        Action::CredentialsUri,
    ];
    for action in ways {
        let order = json!({"fault": "unavailable", "only": action.as_str(), "calls": 1});
        let control = format!("{}/_simulator/fault", handle.url());
        let json = "application/json";
        let post = http().post(control).header("content-type", json);
        assert_eq!(answer(post.body(order.to_string())).await.0, 204, "{order}");
    }
    let statuses = async || {
        let metadata = format!(
            "{}/latest/meta-data/ram/security-credentials/",
            handle.url()
        );
        [
            assume(&[]).json_v1_form(&handle).await.0,
            oidc(&handle, ROLE, PROVIDER, "a.b.c").await.0,
            answer(http().get(metadata)).await.0,
            answer(http().get(&uri)).await.0,
        ]
    };
    assert_eq!(statuses().await, [503; 4]);
    assert_eq!(statuses().await, [200; 4]);
    let actions: Vec<String> = world.calls().into_iter().map(|one| one.action).collect();
    assert!(actions.contains(&"EcsMetadata".to_owned()), "{actions:?}");
    // A denial comes after the signature, as the registry's own.
    world
        .fault_for(Action::AssumeRole, Fault::NoPrivilege, Extent::Always)
        .unwrap();
    let mut wrong = assume(&[]);
    wrong.secret = "another".to_owned();
    assert_eq!(wrong.json_v1_form(&handle).await.0, 400);
    assert_eq!(assume(&[]).json_v1_form(&handle).await.0, 403);
}
