//! A test of this program in a network namespace of its own, where a resolv.conf leads to a name
//! server at 127.0.0.1 that the test is or starts. All of 127.0.0.0/8 is free there.

use std::{env, fs, process::Command};

/// Runs the test `name`, which is ignored elsewhere, and fails if it does.
pub(crate) fn run(name: &str) {
    let resolv = tempfile::NamedTempFile::new().expect("a file");
    // Its default of 5 s would make an answer that takes 5 s as good as none.
    fs::write(resolv.path(), "nameserver 127.0.0.1\noptions timeout:6 attempts:2\n")
        .expect("written");
    let script = "ip link set lo up && mount --bind \"$1\" /etc/resolv.conf && exec \"$2\" --exact \
                  \"$3\" --ignored --nocapture";
    let mut command = Command::new("unshare");
    command.args(["-mn", "sh", "-c", script, "sh"]).arg(resolv.path());
    let output = command
        .arg(env::current_exe().expect("a test has a file"))
        .arg(name)
        .output()
        .expect("unshare is there");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (said(&output.stdout), said(&output.stderr));
    println!("{out}");
    assert!(output.status.success() && out.contains("1 passed"), "{out}{err}");
}
