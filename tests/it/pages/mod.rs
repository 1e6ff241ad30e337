//! The pages in `docs/`, README and generated files say what is so.

#[cfg(feature = "test-util")]
mod fault_table;
mod generated_code;
mod readme;
mod reference;
mod scenarios;
mod translations;

use std::{fs, path::Path};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// README, changelog and everything in `docs/`, as paths in the package.
fn pages() -> Vec<String> {
    let (mut pages, mut folders) = (vec![], vec!["docs".to_owned()]);
    pages.extend(["README.md", "README.zh-CN.md", "CHANGELOG.md"].map(String::from));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap().map(|entry| entry.unwrap()) {
            let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    pages
}
