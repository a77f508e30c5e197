//! `lighter mirror` and `image adopt`: the files of runtimes change and come back, and real runtimes then pull through
//! the node and give it their images.
//!
//! The runtimes are skopeo, podman and containerd, with folders and sockets of their own. They are asked for an image
//! of a registry that does not exist, so only the node can have given it. Docker's client talks to podman's service.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::registry::{layer_digest, registry, tar, umoci_layout};
use crate::support::{Fleet, NodeProcess, Run, SOON, finish, folder, loopback, run, until};

const REGISTRY: &str = "registry.invalid";

fn mirror(root: &Path, args: &[&str]) -> Run {
    let root = ["--root", root.to_str().unwrap()];
    run(&[&["-o", "json", "mirror"], args, &root].concat())
}

/// Every file below a folder, with its content.
fn files(root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), fs::read_to_string(&path).unwrap())),
        }
    }
    found.sort();
    found
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_mirror_comes_and_goes_without_a_trace() {
    let there = [
        ("containerd", "etc/containerd/certs.d/registry.invalid/hosts.toml", "server = \"https://x\" # mine\n"),
        ("podman", "etc/containers/registries.conf", "unqualified-search-registries = [\"docker.io\"]\n"),
        ("docker", "etc/docker/daemon.json", "{\"log-driver\": \"local\", \"registry-mirrors\": [\"https://m\"]}"),
        ("k3s", "etc/rancher/k3s/registries.yaml", "# mine\nmirrors:\n  a.b:\n    endpoint: [\"https://m\"]\n"),
    ];
    for has_files in [false, true] {
        for (runtime, path, text) in there {
            let folder = folder();
            let root = folder.path();
            if has_files {
                write(&root.join(path), text);
            }
            let before = files(root);
            let hub = if runtime == "docker" { "docker.io" } else { REGISTRY };
            let args = ["--runtime", runtime, "--registry", hub];
            let dry = mirror(root, &[&["install", "--dry-run"], &args[..]].concat()).ok().json();
            assert!(dry["files"][0]["diff"].as_str().unwrap().contains("\n+"), "{dry}");
            assert_eq!(files(root), before, "a dry run changed something");
            let first = mirror(root, &[&["install"], &args[..]].concat()).ok().json();
            assert!(["created", "changed"].contains(&first["files"][0]["action"].as_str().unwrap()), "{first}");
            let installed = files(root);
            assert_ne!(installed, before);
            let again = mirror(root, &[&["install"], &args[..]].concat()).ok().json();
            assert_eq!((&again["files"][0]["action"], files(root)), (&"none".into(), installed), "{again}");
            let removed = mirror(root, &["remove", "--runtime", runtime]).ok().json();
            assert!(["restored", "removed"].contains(&removed["files"][0]["action"].as_str().unwrap()), "{removed}");
            assert_eq!(files(root), before, "{runtime}");
            let nothing = mirror(root, &["remove", "--runtime", runtime]).ok().json();
            assert_eq!(nothing["files"], serde_json::json!([]));
        }
    }
}

#[test]
fn registries_are_added_and_removed_one_by_one() {
    for (runtime, files_of_both) in [("podman", 1), ("k3s", 1), ("containerd", 2)] {
        let folder = folder();
        let root = folder.path();
        for registry in ["a.invalid", "b.invalid"] {
            mirror(root, &["install", "--runtime", runtime, "--registry", registry]).ok();
        }
        let asked = |root: &Path| {
            let status = mirror(root, &["status", "--runtime", runtime, "--endpoint", "http://127.0.0.1:4480"]);
            status.json()["runtimes"][0].clone()
        };
        let status = asked(root);
        assert_eq!(status["registries"], serde_json::json!(["a.invalid", "b.invalid"]), "{status}");
        assert_eq!(status["files"].as_array().unwrap().len(), files_of_both);
        mirror(root, &["remove", "--runtime", runtime, "--registry", "a.invalid"]).ok();
        assert_eq!(asked(root)["registries"], serde_json::json!(["b.invalid"]));
        mirror(root, &["remove", "--runtime", runtime]).ok();
        assert_eq!(files(root), []);
    }
}

#[test]
fn a_file_that_somebody_else_wrote_is_left_alone() {
    let folder = folder();
    let (root, daemon) = (folder.path(), folder.path().join("etc/docker/daemon.json"));
    mirror(root, &["install", "--runtime", "docker"]).ok();
    write(&daemon, "{\"debug\": true}");
    let before = files(root);
    for command in ["install", "remove"] {
        let refused = mirror(root, &[command, "--runtime", "docker"]);
        refused.fails(2, &["was changed after", "daemon.json.lighter.json"]);
    }
    assert_eq!(files(root), before);
    fs::remove_file(daemon.with_extension("json.lighter.json")).unwrap();
    mirror(root, &["install", "--runtime", "docker"]).ok();
    mirror(root, &["remove", "--runtime", "docker"]).ok();
    assert_eq!(fs::read_to_string(&daemon).unwrap(), "{\"debug\": true}");
    // Files that cannot be merged, and registries that a runtime cannot mirror.
    write(&daemon, "{ broken");
    mirror(root, &["install", "--runtime", "docker"]).fails(8, &["daemon.json", "no JSON"]);
    write(&root.join("etc/rancher/k3s/registries.yaml"), "mirrors: {}\n");
    mirror(root, &["install", "--runtime", "k3s"]).fails(8, &["registries.yaml", "by hand", "endpoint:"]);
    write(&root.join("etc/containers/registries.conf"), "[[registry]]\nlocation = \"a.invalid\"\n");
    let podman = ["install", "--runtime", "podman", "--registry", "a.invalid"];
    mirror(root, &podman).fails(8, &["registries.conf", "127.0.0.1:4480/a.invalid"]);
    mirror(root, &["install", "--runtime", "podman"]).fails(2, &["--registry"]);
    mirror(root, &["install", "--runtime", "docker", "--registry", "a.invalid"]).fails(2, &["docker.io"]);
    mirror(root, &["install", "--runtime", "k3s", "--registry", "A b"]).fails(2, &["registry"]);
}

/// A hub with two releases of an image by umoci, under the name that it has in a registry.
fn hub() -> (Fleet, [String; 2]) {
    let mut fleet = Fleet::create(2);
    fleet.nodes[0].set(format!("registry.listen={}:0", loopback()));
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let manifests = [1, 2].map(|release| {
        let files = umoci_layout(&folder.join(format!("umoci-{release}")), &tar(release));
        assert!(!layer_digest(&files).is_empty());
        fleet.nodes[0].import(&folder, &files, &image(release))
    });
    (fleet, manifests)
}

fn image(release: u64) -> String {
    format!("{REGISTRY}/shop/app:{release}")
}

/// Points a runtime below `root` at a node.
fn install(root: &Path, runtime: &str, node: &NodeProcess) -> String {
    let endpoint = format!("http://{}", registry(node));
    mirror(root, &["install", "--runtime", runtime, "--registry", REGISTRY, "--endpoint", &endpoint]).ok();
    endpoint
}

/// The edge gets the second release as a patch, since it adopted the first one.
fn check_the_next_release_is_a_patch(hub: &NodeProcess, edge: &NodeProcess) {
    edge.wait_holdings(&hub.peer_id, 2);
    let pulled = edge.pull(&image(2));
    let bases = pulled["layers"][0]["bases"].as_array().unwrap();
    assert_eq!(bases.len(), 1, "{pulled}");
}

/// The only row of an adoption.
fn adopted(edge: &NodeProcess, args: &[&str], environment: &[(&str, &Path)]) -> Value {
    let mut command = edge.cli_command();
    command.args(["-o", "json", "image", "adopt"]).args(args).envs(environment.iter().copied());
    let rows = finish(&mut command).ok().json();
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    rows[0].clone()
}

#[test]
fn skopeo_and_podman_pull_through_the_node_and_the_node_adopts_what_podman_has() {
    let (fleet, manifests) = hub();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    let path = fleet.folder.path();
    let root = path.join("root");
    let endpoint = install(&root, "podman", hub);
    // As a user's own configuration: that of the machine stays what it is.
    let home = path.join("home");
    fs::create_dir_all(home.join(".config")).unwrap();
    std::os::unix::fs::symlink(root.join("etc/containers"), home.join(".config/containers")).unwrap();
    write(&root.join("etc/containers/policy.json"), "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}");
    let storage = path.join("storage.conf");
    let (graph, runroot) = (path.join("graph"), path.join("runroot"));
    let text = format!("[storage]\ndriver = \"vfs\"\ngraphroot = {graph:?}\nrunroot = {runroot:?}\n");
    fs::write(&storage, text).unwrap();
    let environment = [("HOME", home.as_path()), ("CONTAINERS_STORAGE_CONF", storage.as_path())];

    let out = path.join("out");
    let source = format!("docker://{}", image(1));
    let copied = finish(
        Command::new("skopeo").args(["copy", "-q", &source, &format!("oci:{}", out.display())]).envs(environment),
    );
    copied.ok();
    let index: Value = serde_json::from_slice(&fs::read(out.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"], manifests[0].as_str());
    finish(Command::new("podman").args(["pull", "-q", &image(1)]).envs(environment)).ok();

    let status = run(&["-o", "json", "mirror", "status", "--runtime", "podman", "--endpoint", &endpoint, "--root"]
        .iter()
        .copied()
        .chain([root.to_str().unwrap(), &image(1)])
        .collect::<Vec<_>>());
    let status = status.ok().json();
    assert_eq!((&status["answers"], &status["pull"]["manifest"]), (&true.into(), &manifests[0].as_str().into()));
    assert_eq!(status["pull"]["blobs"], 2);

    let row = adopted(edge, &["--runtime", "podman"], &environment);
    assert_eq!((&row["name"], &row["layers"]), (&image(1).into(), &1.into()), "{row}");
    assert!(row["reference"].as_str().unwrap().starts_with("sha256/"), "nothing is released: {row}");
    assert_eq!(adopted(edge, &["--runtime", "podman", &image(1)], &environment)["layers_held_before"], 1);
    let missing = ["image", "adopt", "--runtime", "podman", "nope.invalid/x:1"];
    adopt_by_docker(edge, path, &environment);
    let left_out = finish(edge.cli_command().args(missing).envs(environment));
    assert!(left_out.code == 3 && left_out.stderr.contains("nope.invalid/x:1"), "{left_out:?}");
    check_the_next_release_is_a_patch(hub, edge);
}

/// Docker's client, if it is here, exports what podman has: podman's service speaks Docker's API.
fn adopt_by_docker(edge: &NodeProcess, path: &Path, environment: &[(&str, &Path)]) {
    if Command::new("docker").arg("--version").output().is_err() {
        return;
    }
    let socket = path.join("docker.sock");
    let address = format!("unix://{}", socket.display());
    let mut service = Command::new("podman");
    service.args(["system", "service", "--time", "0", &address]).envs(environment.iter().copied());
    service.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _service = Running(service.spawn().expect("podman"));
    until("podman's service", SOON, || UnixStream::connect(&socket).ok());
    let row = adopted(edge, &["--runtime", "docker", "--address", &address, &image(1)], environment);
    assert_eq!((&row["layers"], &row["layers_held_before"]), (&1.into(), &1.into()), "{row}");
}

/// A process that ends with its value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A containerd with folders and a socket of its own.
struct Containerd {
    _process: Running,
    socket: PathBuf,
}

impl Containerd {
    fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let (config, socket) = (folder.join("config.toml"), folder.join("sock"));
        let text = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \
             \"io.containerd.internal.v1.opt\"]\n[grpc]\naddress = {socket:?}\n[ttrpc]\naddress = {:?}\n",
            folder.join("root"),
            folder.join("state"),
            folder.join("ttrpc")
        );
        fs::write(&config, text).unwrap();
        let log = File::create(folder.join("log")).unwrap();
        let mut command = Command::new("containerd");
        command.arg("--config").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = Running(command.spawn().expect("containerd, which `make test` installs"));
        let started = Self { _process: process, socket };
        until("containerd to answer", SOON, || started.ctr(&["version"]).status.success().then_some(()));
        started
    }

    fn ctr(&self, args: &[&str]) -> std::process::Output {
        Command::new("ctr").arg("--address").arg(&self.socket).args(args).output().expect("ctr")
    }
}

#[test]
fn containerd_pulls_through_the_node_and_the_node_adopts_what_it_has() {
    let (fleet, manifests) = hub();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    let path = fleet.folder.path();
    let root = path.join("root");
    install(&root, "containerd", hub);
    let containerd = Containerd::start(&path.join("containerd"));
    let hosts = root.join("etc/containerd/certs.d");
    let pull = ["images", "pull", "--snapshotter", "native", "--hosts-dir", hosts.to_str().unwrap(), &image(1)];
    let pulled = containerd.ctr(&pull);
    assert!(pulled.status.success(), "{}", String::from_utf8_lossy(&pulled.stderr));
    let address = containerd.socket.to_str().unwrap();
    let row = adopted(edge, &["--runtime", "containerd", "--address", address], &[]);
    // An image that containerd exports has its manifest.
    assert_eq!((&row["name"], &row["manifest"]), (&image(1).into(), &manifests[0].as_str().into()), "{row}");
    let missing = ["image", "adopt", "--runtime", "containerd", "--address", address, "nope:1", &image(1)];
    let partly = edge.cli(&missing);
    assert!(partly.stdout.contains(&image(1)), "{partly:?}");
    assert_eq!(partly.code, 4, "{partly:?}");
    assert!(partly.stderr.contains("nope:1"), "{partly:?}");
    check_the_next_release_is_a_patch(hub, edge);
}
