//! The documented file is the defaults; every kind of wrong value is named with its place and its remedy.
//!
//! Tables that a file may have any number of times, of registries and of policies, are comments in the documented file.

use lighter_types::Effort;
use std::io::Write;

use super::*;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn check_error(text: &str, environment: &[(&str, &str)], flags: &[&str], expected: &[&str]) {
    let file = file(text);
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let error = load(Some(file.path()), environment, &flags).unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let error = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    for part in expected {
        assert!(error.contains(part), "{error:?} does not say {part:?}");
    }
}

#[test]
fn the_template_is_the_defaults() {
    let file = file(TEMPLATE);
    let layered = load(Some(file.path()), [], &[]).unwrap();
    assert_eq!(layered.config, Config::default());
    let defaulted: Vec<&String> =
        layered.origins.iter().filter(|(_, origin)| **origin == Origin::Default).map(|(key, _)| key).collect();
    assert_eq!(defaulted, Vec::<&String>::new(), "keys that configs/node.toml does not document");
}

#[test]
fn later_sources_win_and_are_named() {
    let file = file("[network]\nmdns = true\nupload_max = \"1 MiB/s\"\nconnections_max = 7\n");
    let environment = [
        ("LIGHTER_NETWORK_UPLOAD_MAX".to_owned(), "2 MiB/s".to_owned()),
        ("LIGHTER_NETWORK_CONNECTIONS_MAX".to_owned(), "8".to_owned()),
        ("HOME".to_owned(), "/".to_owned()),
    ];
    let layered = load(Some(file.path()), environment, &["network.connections_max=9".to_owned()]).unwrap();
    let network = &layered.config.network;
    assert!(network.mdns);
    assert_eq!(network.upload_max, "2 MiB/s".parse().unwrap());
    assert_eq!(network.connections_max, 9);
    assert_eq!(layered.origins["network.mdns"], Origin::File(file.path().to_owned()));
    assert_eq!(layered.origins["network.upload_max"], Origin::Environment("LIGHTER_NETWORK_UPLOAD_MAX".to_owned()));
    assert_eq!(layered.origins["network.connections_max"], Origin::CommandLine);
    assert_eq!(layered.origins["fleet.open"], Origin::Default);
}

#[test]
fn a_mistake_is_shown_with_its_place() {
    check_error("[network]\n\nlisten_on = []\n", &[], &[], &[":3", "unknown key", "network.listen_on"]);
    check_error("sites = \"a\"\n", &[], &[], &[":1", "site"]);
    check_error("", &[("LIGHTER_FLEET_OPN", "true")], &[], &["environment", "LIGHTER_FLEET_OPN"]);
    check_error("[network]\nupload_max = \"fast\"\n", &[], &[], &[":2", "network.upload_max", "20 Mbit/s"]);
    check_error("[network]\nmdns = 3\n", &[], &[], &[":2", "network.mdns", "bool"]);
    check_error("[limits]\nfetches_max = 0\n", &[], &[], &[":2", "limits.fetches_max", "from 1 to 64"]);
    for wrong in ["0", "1001", "-1", "\"some\"", "true"] {
        let text = format!("[store]\nreleases_kept = {wrong}\n");
        check_error(&text, &[], &[], &[":2", "store.releases_kept", "from 1 to 1000, or \"all\""]);
    }
    check_error("[limits]\nencode_effort = \"best\"\n", &[], &[], &[":2", "limits.encode_effort", "best", "auto"]);
    check_error("", &[], &["limits.encode_effort=3"], &["--set limits.encode_effort"]);
    check_error("[fleet]\nmembers = [\"me\"]\n", &[], &[], &[":2", "fleet.members", "12D3KooW"]);
    let neighbours = format!("[fleet]\nneighbours = [\"{}\"]\n", PeerId::new([1; 32]));
    check_error(&neighbours, &[], &[], &[":2", "fleet.neighbours", "`site`"]);
    check_error("[network]\nbootstrap = [\"/ip4/10.0.0.1/tcp/1\"]\n", &[], &[], &["network.bootstrap", "/p2p/"]);
    check_error("[network]\nlisten = [\"/ip4/0.0.0.0/udp/1\"]\n", &[], &[], &[":2", "network.listen", "quic-v1"]);
    check_error(
        &format!("[admin]\nsocket = \"/{}\"\n", "x".repeat(107)),
        &[],
        &[],
        &[":2", "admin.socket", "108 bytes"],
    );
    check_error("[admin]\nlisten = \"0.0.0.0:80\"\n", &[], &[], &["admin.listen", "loopback"]);
    check_error("[registry]\nlisten = \"0.0.0.0:4480\"\n", &[], &[], &["registry.listen", "loopback"]);
    check_error("[registry]\nlisten = \"4480\"\n", &[], &[], &["registry.listen", "loopback"]);
    let public = "[registry]\nlisten = \"0.0.0.0:4480\"\ntls_certificate = \"/c\"\ntls_key = \"/k\"\n";
    check_error(public, &[], &[], &[":2", "registry.listen", "users_file"]);
    check_error("[registry]\ntls_key = \"/k\"\n", &[], &[], &["registry.tls_certificate", "belong together"]);
    assert!(load(Some(file(&format!("{public}users_file = \"/u\"\n")).path()), [], &[]).is_ok());
    check_error("site = \n", &[], &[], &["is not TOML", "line 1"]);
    check_error("", &[], &["network.mdns"], &["section.key=value"]);
    check_error("", &[], &["network.mdns=perhaps"], &["--set network.mdns", "bool"]);
    check_error("data_dir = \"\"\n", &[], &[], &[":1", "data_dir", "must name a folder"]);
    check_error("[store]\nbytes_max = \"0 B\"\n", &[], &[], &[":2", "store.bytes_max", "at least 1.00 MiB"]);
    let little = "[limits]\nencode_memory_max = \"255 MiB\"\n";
    check_error(little, &[], &[], &[":2", "limits.encode_memory_max", "at least 256 MiB"]);
    check_error(&"# comment\n".repeat(500_000), &[], &[], &["cannot read", "more than 4194304 bytes"]);
    let missing = load(Some(std::path::Path::new("/nowhere/node.toml")), [], &[]).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/node.toml"));
}

#[test]
fn values_print_as_they_are_read() {
    for text in ["20 GiB", "0 B", "1 B", "1536 MiB"] {
        assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
    }
    for text in ["unlimited", "10 Mbit/s", "8 bit/s", "20 kbit/s", "1 Gbit/s"] {
        assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
    }
    assert_eq!("2 MiB/s".parse::<Rate>().unwrap(), Rate(Some(BytesPerSecond(2 << 20))));
    for text in ["", "0 B/s", "7 bit/s", "10", "1.5 Mbit/s", "10 mbit/s"] {
        assert!(text.parse::<Rate>().is_err(), "{text}");
    }
}

#[test]
fn releases_are_kept_by_number_or_all() {
    for (given, expected) in
        [("1", ReleasesKept::Newest(1)), ("1000", ReleasesKept::Newest(1000)), ("all", ReleasesKept::All)]
    {
        let environment = [("LIGHTER_STORE_RELEASES_KEPT".to_owned(), given.to_owned())];
        let config = load(None, environment, &[]).unwrap().config;
        assert_eq!(config.store.releases_kept, expected);
        let printed = file(&toml::to_string(&config).unwrap());
        assert_eq!(load(Some(printed.path()), [], &[]).unwrap().config, config);
    }
}

#[test]
fn the_engine_is_told_effort_and_upload_cap() {
    use lighter_engine::EffortChoice;
    let defaults = engine_settings(&[]);
    assert_eq!((defaults.effort, defaults.upload_max), (EffortChoice::Auto, None));
    let set = engine_settings(&["limits.encode_effort=max", "network.upload_max=2 MiB/s"]);
    assert_eq!(set.effort, EffortChoice::Always(Effort::Max));
    assert_eq!(set.upload_max, Some(BytesPerSecond(2 << 20)));
    // The engine recognises the settings that this node's patches name as its own.
    for effort in Effort::ALL {
        let id = Config::default().patch_settings(effort).id();
        assert_eq!((set.effort_of(id), crate::transfer::effort_of(id)), (Some(effort), Some(effort)));
    }
}

fn engine_settings(flags: &[&str]) -> Settings {
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    load(None, [], &flags).unwrap().config.engine_settings(lighter_wire::Incarnation(1), 1)
}

#[test]
fn mistakes_in_policies_are_shown_with_their_place() {
    let check = |lines: &str, expected: &str| {
        check_error(
            &format!("site = \"a\"\n[[registry.policy]]\n{lines}"),
            &[],
            &[],
            &[":2: registry.policy", expected],
        );
    };
    check("", "needs repositories");
    check("repositories = [\"a*\"]\n", "registry.example/shop/*");
    check("repositories = [\"a\"]\nresolv = []\n", "resolv");
    check("repositories = [\"a\"]\nresolve = [\"releases\"]\n", "releases");
    check("repositories = [\"a\"]\nresolve = []\n", "resolve must name");
    check("repositories = [\"a\"]\nresolve = [\"release\", \"release\"]\n", "resolve must name");
    check("repositories = [\"a\"]\nfetch = [\"upstream\", \"peers\"]\n", "fetch must be");
    check("repositories = [\"a\"]\nwhen_upstream_is_away = \"wait\"\n", "wait");
    check("repositories = [\"a\"]\nmax_age_s = 31536001\n", "from 0 to");
    check("repositories = [\"*\"]\nresolve = [\"upstream\"]\n", "name the registry");
    check("repositories = [\"a\"]\nusers = [\"ann\"]\n", "users_file");
    check("repositories = [\"a\"]\nmembers = [\"me\"]\n", "12D3KooW");
    let text = "[registry]\nwait_s = 9\n[[registry.policy]]\nrepositories = [\"registry.example/shop/*\"]\n\
                resolve = [\"release\", \"upstream\"]\nusers = [\"*\"]\n";
    let config = load(Some(file(text).path()), [], &[]).unwrap().config;
    let policy = config.registry.policy("registry.example/shop/app");
    assert!(policy.resolves(policy::Resolver::Upstream) && policy.admits_everybody());
    assert_eq!(config.registry.policy("shop/app"), &policy::Policy::default());
    let printed = file(&toml::to_string(&config).unwrap());
    assert_eq!(load(Some(printed.path()), [], &[]).unwrap().config, config);
}

/// The table of a policy in the template is a comment, so that no repository has one.
#[test]
fn the_template_documents_the_keys_of_policies() {
    let lines = TEMPLATE.lines().skip_while(|line| !line.starts_with("# [[registry.policy]]"));
    let lines = lines.take_while(|line| line.starts_with('#')).map(|line| &line[2..]);
    let table: toml::Table = lines.collect::<Vec<_>>().join("\n").parse().unwrap();
    let documented = table["registry"]["policy"][0].as_table().unwrap();
    let known = toml::Table::try_from(policy::Policy::default()).unwrap();
    let defaults = |table: &toml::Table| {
        let keys = table.iter().filter(|(key, _)| *key != "repositories");
        keys.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>()
    };
    assert_eq!(defaults(documented), defaults(&known));
}

#[test]
fn registries_have_tables_by_host() {
    let text = "[upstream.\"r.example:5000\"]\ninsecure = true\nmirrors = [\"m.example\"]\n[upstream.localhost]\nca = \"/ca\"\n";
    let file = file(text);
    let flags = [
        "upstream.\"r.example:5000\".realm_hosts=[\"a.example\"]".to_owned(),
        "upstream.\"localhost\".insecure=true".to_owned(),
    ];
    let layered = load(Some(file.path()), [], &flags).unwrap();
    let expected = UpstreamHost {
        insecure: true,
        mirrors: vec!["m.example".to_owned()],
        realm_hosts: vec!["a.example".to_owned()],
        ..UpstreamHost::default()
    };
    assert_eq!(layered.config.upstream["r.example:5000"], expected);
    let local = &layered.config.upstream["localhost"];
    assert!(local.insecure && local.ca == std::path::Path::new("/ca"));
    assert_eq!(layered.origins["upstream.\"r.example:5000\".insecure"], Origin::File(file.path().to_owned()));
    assert_eq!(layered.origins["upstream.\"r.example:5000\".realm_hosts"], Origin::CommandLine);
    assert_eq!(key_parts("upstream.\"r.example:5000\".ca"), ["upstream", "r.example:5000", "ca"]);
    let printed = self::file(&toml::to_string(&layered.config).unwrap());
    assert_eq!(load(Some(printed.path()), [], &[]).unwrap().config, layered.config);
}

#[test]
fn mistakes_about_registries_are_shown_with_their_place() {
    let header = "[upstream.\"r.example:5000\"]\n";
    for (lines, expected) in [
        ("insecur = true\n", "unknown key \"upstream.\\\"r.example:5000\\\".insecur\""),
        ("insecure = 1\n", "bool"),
        ("username = \"a\"\n", "belong together"),
        ("username = \"a:b\"\npassword_file = \"/p\"\n", "no colon"),
        ("auth_file = \"/a\"\nusername = \"a\"\npassword_file = \"/p\"\n", "absent beside"),
        ("mirrors = [\"https://m.example\"]\n", "must be a host"),
        ("realm_hosts = [\"\"]\n", "must be a host"),
    ] {
        check_error(&format!("{header}{lines}"), &[], &[], &[":2", expected]);
    }
    check_error("[upstream.\"http://r.example\"]\ninsecure = true\n", &[], &[], &["must be a host"]);
    check_error("[upstream]\ninsecure = true\n", &[], &[], &["unknown key"]);
    check_error("", &[("LIGHTER_UPSTREAM_X_CA", "/ca")], &[], &["environment"]);
    let file = file(&format!("{header}mirror = []\n"));
    let Err(ConfigError::UnknownKey { nearest, .. }) = load(Some(file.path()), [], &[]) else { panic!("it is none") };
    assert_eq!(nearest.as_deref(), Some("upstream.\"r.example:5000\".mirrors"));
}

/// The table of a registry in the template is a comment, so that no registry is configured.
#[test]
fn the_template_documents_the_keys_of_registries() {
    let lines = TEMPLATE.lines().skip_while(|line| !line.starts_with("# [upstream.\"registry.example:5000\"]"));
    let lines = lines.take_while(|line| line.starts_with('#')).map(|line| &line[2..]);
    let table: toml::Table = lines.collect::<Vec<_>>().join("\n").parse().unwrap();
    let host = table["upstream"]["registry.example:5000"].as_table().unwrap();
    assert_eq!(*host, toml::Table::try_from(UpstreamHost::default()).unwrap());
}
