//! The lists in `docs/` name what is in the code: every metric with its labels, every feature; and
//! links lead somewhere.

use super::{pages, read, root};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What is recorded anywhere in `src/`: kind and name.
fn metrics() -> BTreeSet<(String, String)> {
    let (mut found, mut folders) =
        (BTreeSet::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.extend(recorded_in(&path));
            }
        }
    }
    found
}

fn recorded_in(path: &PathBuf) -> BTreeSet<(String, String)> {
    let source: String = fs::read_to_string(path).unwrap().split_whitespace().collect();
    let named = |kind: &str| {
        let start = format!("{kind}!(\"");
        let names = source.split(&start).skip(1).filter_map(|rest| rest.split('"').next());
        names.map(|name| (kind.to_owned(), name.to_owned())).collect::<Vec<_>>()
    };
    ["counter", "gauge", "histogram"].into_iter().flat_map(named).collect()
}

#[test]
fn every_metric_is_described_with_its_kind() {
    let text = read("docs/metrics.md");
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let name = cells.next()?.trim_end_matches('`').to_owned();
        let kind = cells.next().filter(|kind| ["counter", "gauge", "histogram"].contains(kind))?;
        Some((kind.to_owned(), name))
    });
    let metrics = metrics();
    assert!(metrics.len() > 15, "{metrics:?}");
    assert_eq!(rows.collect::<BTreeSet<_>>(), metrics);
}

/// A table's unit, as the recorder is told it.
fn told(unit: &str) -> &'static str {
    match unit {
        "s" => "Seconds",
        "By" => "Bytes",
        _ => "Count",
    }
}

/// What is said to a recorder has the units of `docs/metrics.md`, metric for metric.
#[test]
fn every_metric_is_told_to_recorders_with_its_unit() {
    let text = read("docs/metrics.md");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| `")?.split('|').map(str::trim).collect();
        let kind = cells.get(1).filter(|kind| ["counter", "gauge", "histogram"].contains(kind))?;
        Some(format!("describe_{kind}!(\"{}\",{},", cells[0].trim_end_matches('`'), told(cells[2])))
    });
    let sources = [
        "src/telemetry/metric_list.rs",
        "src/agent_queue/process/meters.rs",
        "src/agent_queue/server/budget.rs",
        "src/agent_queue/server/meters.rs",
        "src/bin/tonic-supervisor/listening/connections.rs",
        "src/bin/tonic-supervisor/serve/reload.rs",
    ];
    let source: String =
        sources.map(read).concat().replace("Unit::", "").split_whitespace().collect();
    let missing: Vec<_> = rows.filter(|row| !source.contains(row)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Links and pictures of a page that name no host: the path in the package, and the heading. An
/// example's code has none.
fn links(page: &str) -> Vec<(String, String)> {
    let text: String = read(page).split("```").step_by(2).collect();
    let in_markdown = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let in_html = text.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let relative = in_markdown.chain(in_html).filter(|link| !link.contains("://"));
    let folder = Path::new(page).parent().unwrap();
    relative
        .map(|link| {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let mut parts: Vec<_> = folder.iter().map(|part| part.to_str().unwrap()).collect();
            for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
                match part {
                    ".." => {
                        assert!(parts.pop().is_some(), "{page}: {link} leads out of the package")
                    }
                    part => parts.push(part),
                }
            }
            let path = if path.is_empty() { page.to_owned() } else { parts.join("/") };
            (path, heading.to_owned())
        })
        .collect()
}

/// What is uploaded to crates.io.
fn packaged() -> BTreeSet<String> {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    let output = cargo
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    list.lines().map(|line| line.replace('\\', "/")).collect()
}

#[test]
fn links_between_pages_lead_to_files_inside_the_package() {
    let packaged = packaged();
    let mut broken = Vec::new();
    let mut walked = 0;
    for page in pages() {
        for (path, _) in links(&page) {
            walked += 1;
            let folder = format!("{path}/");
            if !packaged.contains(&path) && !packaged.iter().any(|file| file.starts_with(&folder)) {
                broken.push(format!("{page}: {path}"));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    assert!(walked > 50, "{walked} links");
}

/// The names that GitHub gives to a page's headings.
fn headings(page: &str) -> BTreeSet<String> {
    let text: String = read(page).split("```").step_by(2).collect();
    let named = text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept =
            words.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.collect::<String>().replace(' ', "-")
    });
    named.collect()
}

#[test]
fn links_to_headings_lead_to_a_heading() {
    let mut broken = Vec::new();
    for page in pages() {
        for (path, heading) in links(&page) {
            if !heading.is_empty() && path.ends_with(".md") && !headings(&path).contains(&heading) {
                broken.push(format!("{page}: {path}#{heading}"));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// The features in `[package.metadata.docs.rs]`.
fn features_on_docs_rs() -> BTreeSet<String> {
    let manifest = read("Cargo.toml");
    let section = manifest.split("[package.metadata.docs.rs]").nth(1).expect("a section");
    let list = section
        .split("features = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next())
        .expect("a list");
    list.split(',').map(|name| name.trim().trim_matches('"').to_owned()).collect()
}

#[test]
fn docs_rs_shows_what_every_feature_of_the_library_adds() {
    let shown = features_on_docs_rs();
    // These add nothing that is documented: ractor's own switch, and the simulation's bugs. `tls`
    // is in `tls-ring`.
    let hidden = ["ractor-cluster", "sim", "tls", "tls-aws-lc"];
    let (mut needed, mut folders) = (BTreeSet::new(), vec![root().join("src")]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.ends_with("bin") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                let names =
                    source.split("feature = \"").skip(1).filter_map(|rest| rest.split('"').next());
                needed.extend(names.filter(|name| !hidden.contains(name)).map(str::to_owned));
            }
        }
    }
    needed.insert("tls-ring".into());
    assert_eq!(shown, needed);
}

/// What the guide says of a server that fails twice, in `Testing your agent`.
#[cfg(feature = "test-util")]
#[tokio::test(start_paused = true)]
async fn the_guides_test_of_an_agent_holds() {
    use std::time::Duration;
    use tonic_supervisor::testing::{Answer, MemoryNetwork, Script, ScriptedServer};
    use tonic_supervisor::{CallOptions, Config, ConnectivityState, Supervisor};

    let network = MemoryNetwork::new();
    let server = ScriptedServer::builder().on_memory(&network, "queue:50051").await;
    server.script(Script::fail_times(2, tonic::Code::Unavailable));
    let config = Config::builder().host("queue").port(50051).build().unwrap();
    let supervisor = Supervisor::builder(config).connector(network.connector()).rng_seed(7).spawn();
    let began = tokio::time::Instant::now();
    supervisor
        .channel()
        .unary::<(), ()>("/pkg.Service/Method", tonic::Request::new(()))
        .await
        .unwrap();
    assert_eq!((began.elapsed().as_secs(), server.handled()), (3, 3));

    server.script(Answer::cut_after_processing());
    let mut request = tonic::Request::new(());
    request.extensions_mut().insert(CallOptions::new().idempotent(false));
    supervisor.channel().unary::<(), ()>("/pkg.Service/Method", request).await.unwrap_err();
    server.script(Script::echo());
    supervisor
        .channel()
        .unary::<(), ()>("/pkg.Service/Method", tonic::Request::new(()))
        .await
        .unwrap();
    network.freeze_all();
    tokio::time::sleep(Duration::from_secs(36)).await;
    assert_ne!(supervisor.state(), ConnectivityState::Idle);
    assert!(network.dials().len() >= 3, "keepalive noticed: {:?}", network.dials());
}
