//! Challenges of real registries, of the RFC, and none at all.

use proptest::prelude::*;

use super::*;

fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Challenge { scheme: scheme.to_owned(), parameters }
}

fn check(header: &str, expected: &[Challenge]) {
    assert_eq!(parse_challenges(header.as_bytes()).as_deref(), Some(expected), "{header}");
}

#[test]
fn challenges_of_registries_are_read() {
    check(
        r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull""#,
        &[challenge(
            "bearer",
            &[
                ("realm", "https://auth.docker.io/token"),
                ("service", "registry.docker.io"),
                ("scope", "repository:library/nginx:pull"),
            ],
        )],
    );
    check(r#"Basic realm="Registry Realm""#, &[challenge("basic", &[("realm", "Registry Realm")])]);
    check(
        r#"Bearer realm="https://a.example/t",error="invalid_token" , error_description="said \"no\"""#,
        &[challenge(
            "bearer",
            &[("realm", "https://a.example/t"), ("error", "invalid_token"), ("error_description", "said \"no\"")],
        )],
    );
}

#[test]
fn several_challenges_stand_in_one_header() {
    let basic = challenge("basic", &[("realm", "a, b")]);
    let bearer = challenge("bearer", &[("realm", "x"), ("charset", "UTF-8")]);
    let negotiate = challenge("negotiate", &[]);
    check(
        r#"Basic realm="a, b", BEARER realm=x, Charset=UTF-8, Negotiate"#,
        &[basic.clone(), bearer.clone(), negotiate.clone()],
    );
    check(r#", ,Negotiate , Basic realm = "a, b",,"#, &[negotiate.clone(), basic]);
    check(r#"Negotiate a29=, Bearer realm="x",charset=UTF-8"#, &[negotiate, bearer]);
    // A token68, though it looks like a parameter.
    check("Bearer realm=, Basic", &[challenge("bearer", &[]), challenge("basic", &[])]);
    check("", &[]);
}

#[test]
fn headers_outside_the_grammar_are_refused() {
    for header in [
        r#"realm="x""#,
        r#"Bearer realm="x"#,
        r#"Bearer realm="x\"#,
        r#"Bearer realm="x"y"#,
        r#"Bearer realm="x" service="y""#,
        r#"Bearer realm= "x" y"#,
        r#"Bearer realm="x",realm="y""#,
        r#"Bearer realm="x",REALM="y""#,
        "Bearer realm=\"x\ny\"",
        "Bearer realm=\"x\u{7f}\"",
        "Bearer/realm",
        "(Bearer)",
    ] {
        assert_eq!(parse_challenges(header.as_bytes()), None, "{header}");
    }
    assert_eq!(parse_challenges(b"Bearer realm=\"\xff\""), None);
}

#[test]
fn limits_hold() {
    let many = |count: usize| vec!["Basic"; count].join(",");
    assert!(parse_challenges(many(CHALLENGES_MAX).as_bytes()).is_some());
    assert_eq!(parse_challenges(many(CHALLENGES_MAX + 1).as_bytes()), None);
    let parameters = |count: usize| format!("Bearer {}", (0..count).map(|n| format!("p{n}=1,")).collect::<String>());
    assert!(parse_challenges(parameters(PARAMETERS_MAX).as_bytes()).is_some());
    assert_eq!(parse_challenges(parameters(PARAMETERS_MAX + 1).as_bytes()), None);
    let long = format!("Basic realm=\"{}\"", "x".repeat(HEADER_BYTES_MAX));
    assert_eq!(parse_challenges(long.as_bytes()), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(header in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Some(challenges) = parse_challenges(&header) {
            prop_assert!(challenges.len() <= CHALLENGES_MAX);
        }
    }

    #[test]
    fn values_come_back_as_they_were_quoted(values in prop::collection::vec("[ -~]{0,20}", 1..6)) {
        let quote = |value: &String| format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\""));
        let parameters: Vec<_> = values.iter().enumerate().map(|(n, value)| format!("p{n}={}", quote(value))).collect();
        let header = format!("Bearer {}", parameters.join(", "));
        let challenges = parse_challenges(header.as_bytes()).unwrap();
        let found: Vec<String> = challenges[0].parameters.iter().map(|(_, value)| value.clone()).collect();
        prop_assert_eq!(found, values);
    }
}
