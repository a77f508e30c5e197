//! The command line as scripts and people meet it: help, exit codes, output formats, stdout and stderr.
use crate::support::Fleet;
#[test]
fn smoke() {
    let fleet = Fleet::single();
    println!("{:?}", fleet.nodes[0].cli(&["status"]).ok());
    let mut fleet = Fleet::create(3);
    fleet.start();
    let dir = fleet.folder.path().join("img");
    crate::support::images::layout(&[crate::support::images::two_releases(1, 4 << 20).0]).write_to(&dir);
    println!("{:?}", fleet.nodes[0].cli(&["image", "import", dir.to_str().unwrap(), "--name", "demo/a:1"]).ok());
    println!("{:?}", fleet.nodes[1].cli(&["image", "pull", "demo/a:1"]).ok());
    assert_eq!(fleet.nodes[0].stop(), 0);
}
