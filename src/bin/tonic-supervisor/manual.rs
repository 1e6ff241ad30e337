//! `completions` and `man`: what shells and readers of manuals want to know of this program, made
//! from the same commands that read its arguments, so that neither can name anything else.
//!
//! What the program starts itself is read apart (`InternalCommand`), and stands in neither.

use crate::{Arguments, CliError, stdout::Stdout};
use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use std::io;

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArguments {
    /// The shell that reads them.
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArguments {
    /// Whose page it is: `agent`, or `queue ls`; without it, one page about all commands.
    command: Vec<String>,
}

/// Prints a shell's completions.
pub(crate) fn completions(arguments: &CompletionsArguments) {
    let (mut command, mut text) = (Arguments::command(), Vec::new());
    let name = command.get_name().to_owned();
    generate(arguments.shell, &mut command, name.clone(), &mut text);
    let text = String::from_utf8_lossy(&text);
    match arguments.shell {
        // Its generator spells a program's name with a hyphen in two ways, and then completes
        // nothing behind a command (clap-rs/clap#6421).
        Shell::Bash => {
            print(&text.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__")));
        }
        _ => print(&text),
    }
}

/// Prints a page for `man`, in roff.
pub(crate) fn man(arguments: &ManArguments) -> Result<(), CliError> {
    let mut program = Arguments::command().disable_help_subcommand(true);
    program.build();
    let mut command = &program;
    for name in &arguments.command {
        let names = command.get_subcommands().map(Command::get_name).collect::<Vec<_>>().join(", ");
        command = command.find_subcommand(name).ok_or_else(|| {
            CliError::Usage(match names.is_empty() {
                true => format!("{} has no commands, such as {name}", full_name(command)),
                false => format!("{} has no command {name}: it has {names}", full_name(command)),
            })
        })?;
    }
    let mut text = Vec::new();
    let page = match arguments.command.is_empty() {
        true => whole(command, &mut text),
        false => {
            let version = program.get_version().unwrap_or_default();
            let source = format!("{} {version}", program.get_name());
            Man::new(command.clone()).source(source).render(&mut text)
        }
    };
    page.map_err(CliError::failed("the page was not made"))?;
    print(&String::from_utf8_lossy(&text));
    Ok(())
}

/// One page about the program and all its commands, each in a section of its own.
fn whole(program: &Command, text: &mut Vec<u8>) -> io::Result<()> {
    Man::new(program.clone()).render(text)?;
    let mut commands: Vec<&Command> = visible(program);
    commands.reverse();
    while let Some(command) = commands.pop() {
        // Hyphens that people copy into a shell.
        let heading = full_name(command).replace('-', "\\-");
        text.extend(format!(".SH \"{heading}\"\n").bytes());
        let (man, mut sections) = (Man::new(command.clone()), Vec::new());
        man.render_synopsis_section(&mut sections)?;
        man.render_description_section(&mut sections)?;
        man.render_options_section(&mut sections)?;
        if command.get_after_help().or(command.get_after_long_help()).is_some() {
            man.render_extra_section(&mut sections)?;
        }
        let below = String::from_utf8_lossy(&sections).replace("\n.SH ", "\n.SS ");
        text.extend(below.bytes());
        commands.extend(visible(command).into_iter().rev());
    }
    Ok(())
}

fn visible(command: &Command) -> Vec<&Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set()).collect()
}

/// `tonic-supervisor queue ls`.
fn full_name(command: &Command) -> &str {
    command.get_bin_name().unwrap_or_else(|| command.get_name())
}

/// Whoever closed the pipe has seen enough.
fn print(text: &str) {
    Stdout::new().line(text.trim_end());
}
