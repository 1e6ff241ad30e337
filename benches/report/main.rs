//! What is made of the benches' JSON lines: the table of bars, with what was measured beside each,
//! and the plots of `docs/performance/`. It measures nothing; `benches/musts` measures and calls
//! it.
//!
//! `cargo bench --features cli --bench report -- [--lines FOLDER] [--draw FOLDER]`

mod bars;
mod figures;
mod plots;

use figures::Figures;
use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let lines = after("--lines").unwrap_or_else(|| "docs/performance".to_owned());
    let figures = Figures::read(Path::new(&lines));
    print!("{}", bars::table(&figures));
    if let Some(folder) = after("--draw") {
        plots::draw(&figures, Path::new(&folder)).expect("drawn");
    }
    ExitCode::SUCCESS
}

/// What stands behind this name.
fn after(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}
