//! Which clients may pull from which repositories, by the policies' users.
//!
//! Where no users are configured, everybody who reaches the port may pull everything. Where they are, a client must
//! name itself, except for repositories that are everybody's. The answer is the same whether the repository exists or
//! not.

use lighter_registry::server::{Refusal, Repository, Users, is_anonymous};

use crate::config::Registry as Config;

/// Whether the client with this `Authorization` may ask about a repository, or with none for the base.
pub async fn admit(
    config: &Config,
    users: Option<&Users>,
    repository: Option<&Repository>,
    authorization: Option<&str>,
) -> Result<(), Refusal> {
    let Some(users) = users else { return Ok(()) };
    let user = match authorization.filter(|header| !is_anonymous(Some(header))) {
        Some(header) => Some(users.authenticate(header).await.ok_or(Refusal::Unauthorized)?),
        None => None,
    };
    let Some(repository) = repository else {
        // Clients learn here that there are users: podman sends no password otherwise. One that says that it has none
        // may be after what is everybody's.
        return if user.is_some() || authorization.is_some() { Ok(()) } else { Err(Refusal::Unauthorized) };
    };
    let name = super::known_as(repository);
    let policy = config.policy(&name);
    let may_pull =
        config.is_open(&name) && user.as_ref().map_or_else(|| policy.admits_everybody(), |user| policy.admits(user));
    if may_pull {
        return Ok(());
    }
    Err(user.map_or(Refusal::Unauthorized, |_| Refusal::Denied(repository.name.clone())))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::config::policy::Policy;

    /// The header of `ann:secret` and of `bob:secret`.
    const ANN: &str = "Basic YW5uOnNlY3JldA==";
    const BOB: &str = "Basic Ym9iOnNlY3JldA==";
    const NOBODY: &str = "Basic Og==";

    /// Both users, with bcrypt's "secret" at the least cost.
    fn users() -> Users {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let hash = "$2b$04$LBaSxYNOikKg1Js.qcPoku7KqJGOybsG4Cp.Y9BA5gUFMgPu5vIwW";
        writeln!(file, "ann:{hash}\nbob:{hash}").unwrap();
        Users::open(file.path()).unwrap()
    }

    fn config() -> Config {
        let policy = |pattern: &str, users: &[&str]| Policy {
            repositories: vec![pattern.parse().unwrap()],
            users: users.iter().map(|user| (*user).to_owned()).collect(),
            ..Policy::default()
        };
        let policy = vec![policy("shop/private/*", &["ann"]), policy("registry.example/open/*", &["*"])];
        Config { users_file: "/users".into(), policy, ..Config::default() }
    }

    async fn check(name: &str, registry: Option<&str>, expected: [Result<(), Refusal>; 4]) {
        let repository = Repository { name: name.to_owned(), registry: registry.map(str::to_owned) };
        let (users, config) = (users(), config());
        for (header, expected) in [Some(ANN), Some(BOB), Some(NOBODY), None].into_iter().zip(expected) {
            let admitted = admit(&config, Some(&users), Some(&repository), header).await;
            assert_eq!(admitted, expected, "{name} for {header:?}");
        }
    }

    fn denied(name: &str) -> Result<(), Refusal> {
        Err(Refusal::Denied(name.to_owned()))
    }

    const UNKNOWN: Result<(), Refusal> = Err(Refusal::Unauthorized);

    #[tokio::test]
    async fn a_private_image_is_served_to_its_users_alone_under_all_its_names() {
        for (name, registry) in [
            ("shop/private/app", None),
            ("docker.io/shop/private/app", None),
            ("shop/private/app", Some("docker.io")),
            ("shop/private/app", Some("index.docker.io")),
            ("Docker.IO/shop/private/app", None),
        ] {
            check(name, registry, [Ok(()), denied(name), UNKNOWN, UNKNOWN]).await;
        }
        // The same path of another registry is another repository, for all users.
        check("shop/private/app", Some("registry.example"), [Ok(()), Ok(()), UNKNOWN, UNKNOWN]).await;
        check("open/app", Some("registry.example"), [Ok(()), Ok(()), Ok(()), Ok(())]).await;
        // Nobody knows to whom a name belongs that is a digest.
        let digest = format!("sha256/{}", "0".repeat(64));
        check(&digest, None, [denied(&digest), denied(&digest), UNKNOWN, UNKNOWN]).await;
    }

    #[tokio::test]
    async fn the_base_says_that_there_are_users() {
        let (users, config) = (users(), config());
        for (header, expected) in
            [(None, UNKNOWN), (Some(NOBODY), Ok(())), (Some(ANN), Ok(())), (Some("Basic YW5uOng="), UNKNOWN)]
        {
            assert_eq!(admit(&config, Some(&users), None, header).await, expected, "{header:?}");
        }
        assert_eq!(admit(&config, None, None, None).await, Ok(()));
    }
}
