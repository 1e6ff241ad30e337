//! A measurement in a process of its own: what another left behind would be used again.

use super::{Run, row::Row};
use std::{
    env,
    process::{Command, ExitCode},
};

/// As [`super::main`], for a bench with measurements that [`in_a_process`] asks for: `cell` makes
/// one, as its arguments say.
pub(crate) fn main<F, C>(
    bench: impl FnOnce(Run) -> F,
    cell: impl FnOnce(Vec<String>) -> C,
) -> ExitCode
where
    F: Future<Output = Vec<Row>>,
    C: Future<Output = Vec<f64>>,
{
    let mut arguments = env::args().skip_while(|argument| argument != "--cell");
    if arguments.next().is_none() {
        return super::main(bench);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for figure in runtime.block_on(cell(arguments.collect())) {
        println!("{figure}");
    }
    ExitCode::SUCCESS
}

/// The figures of a measurement with these arguments.
pub(crate) fn in_a_process(arguments: &[&str]) -> Vec<f64> {
    let me = env::current_exe().expect("this program");
    let output = Command::new(me).arg("--cell").args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|figure| figure.parse().expect("a number")).collect()
}
