//! Credentials out of docker's config.json and out of helpers, which are scripts here.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn login(username: &str, password: &str) -> Login {
    Login::Password { username: username.to_owned(), password: password.to_owned() }
}

async fn of_json(json: &str, host: &str) -> Result<Option<Login>, CredentialsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, json).unwrap();
    read(&Credentials::DockerConfig(path), host).await
}

async fn check(json: &str, host: &str, expected: Option<Login>) {
    assert!(of_json(json, host).await.unwrap() == expected, "{host} in {json}");
}

#[tokio::test]
async fn entries_of_docker_are_read() {
    let ann = STANDARD.encode("ann:pass:word");
    let json = format!(
        r#"{{"auths":{{"r.example:5000":{{"auth":"{ann}"}},"https://index.docker.io/v1/":{{"auth":"{ann}"}},
        "https://q.example/v1/":{{"username":"bob","password":"p"}},"t.example":{{"identitytoken":"it"}},"e.example":{{}}}}}}"#
    );
    check(&json, "r.example:5000", Some(login("ann", "pass:word"))).await;
    for hub in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
        check(&json, hub, Some(login("ann", "pass:word"))).await;
    }
    check(&json, "q.example", Some(login("bob", "p"))).await;
    check(&json, "t.example", Some(Login::IdentityToken("it".to_owned()))).await;
    // docker writes an empty entry where a store has the password.
    check(&json, "e.example", None).await;
    check(&json, "r.example", None).await;
    check("{}", "r.example", None).await;
}

#[tokio::test]
async fn malformed_files_are_told() {
    let bad = r#"{"auths":{"r.example":{"auth":"AAAA"},"s.example":{"auth":"no base64"}}}"#;
    for host in ["r.example", "s.example"] {
        let error = of_json(bad, host).await.unwrap_err();
        assert!(error.to_string().contains(host), "{error}");
    }
    assert!(matches!(of_json("[", "r.example").await, Err(CredentialsError::Json { .. })));
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(1 << 20));
    assert!(matches!(of_json(&large, "r.example").await, Err(CredentialsError::Read { .. })));
    let missing = Credentials::DockerConfig("/nowhere/config.json".into());
    assert!(matches!(read(&missing, "r.example").await, Err(CredentialsError::Read { .. })));
}

#[tokio::test]
async fn a_password_comes_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "secret \n").unwrap();
    let credentials = Credentials::Password { username: "ann".to_owned(), password_file };
    assert_eq!(read(&credentials, "r.example").await.unwrap(), Some(login("ann", "secret ")));
}

#[test]
fn a_login_is_not_printed() {
    assert_eq!(format!("{:?} {:?}", login("ann", "secret"), Login::IdentityToken("secret".to_owned())), "Login Login");
}

/// Asks a helper whose script is `script`.
async fn helped(script: &str) -> Result<Option<Login>, CredentialsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker-credential-test");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    ask_program(path.to_str().unwrap(), "r.example").await
}

#[tokio::test]
async fn helpers_are_asked_by_their_protocol() {
    let script = r#"read server; test "$1" = get && echo "{\"ServerURL\":\"$server\",\"Username\":\"$server\",\"Secret\":\"s\"}""#;
    assert_eq!(helped(script).await.unwrap(), Some(login("r.example", "s")));
    let token = helped(r#"echo '{"Username":"<token>","Secret":"it"}'"#).await.unwrap();
    assert_eq!(token, Some(Login::IdentityToken("it".to_owned())));
    let none = helped("echo 'credentials not found in native keychain'; exit 1").await.unwrap();
    assert_eq!(none, None);
}

#[tokio::test]
async fn helpers_that_fail_or_say_too_much_are_told() {
    for (script, problem) in [
        ("exit 1", "failed"),
        ("echo {}", "gives no username"),
        ("echo nothing", "gives no username"),
        ("head -c 70000 /dev/zero", "64 KiB"),
        ("yes", "64 KiB"),
    ] {
        let error = helped(script).await.unwrap_err().to_string();
        assert!(error.contains(problem), "{script}: {error}");
    }
    let absent = ask_program("docker-credential-of-nobody", "r.example").await;
    assert!(matches!(absent, Err(CredentialsError::Run { .. })));
    for name in ["", "../x", "a b", "x/y"] {
        assert!(matches!(ask_helper(name, "r.example").await, Err(CredentialsError::Helper { .. })), "{name}");
    }
}

/// The clock stands still but for waits, so this takes no time.
#[tokio::test(start_paused = true)]
async fn a_helper_that_does_not_answer_is_ended() {
    let error = helped("exec tail -f /dev/null").await.unwrap_err().to_string();
    assert!(error.contains("within 15 s"), "{error}");
}
