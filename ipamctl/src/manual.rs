//! `ipamctl completions` and `ipamctl man`: made of the same tree as the arguments.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use clap_complete::Shell as Generated;
use clap_mangen::Man;

#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    /// `ipamctl completions bash > /etc/bash_completion.d/ipamctl`
    Bash,
    /// `ipamctl completions zsh > /usr/local/share/zsh/site-functions/_ipamctl`
    Zsh,
    /// `ipamctl completions fish > /etc/fish/completions/ipamctl.fish`
    Fish,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Manual {
    /// Write a page for each verb into this directory; without it the page of the whole goes to
    /// standard output.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub(crate) fn completions(options: &Completions, out: &mut dyn Write) -> Result<()> {
    let shell = match options.shell {
        Shell::Bash => Generated::Bash,
        Shell::Zsh => Generated::Zsh,
        Shell::Fish => Generated::Fish,
    };
    // The generator takes a broken pipe for its own fault.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::command(), "ipamctl", &mut script);
    Ok(out.write_all(&script)?)
}

pub(crate) fn manual(options: &Manual, out: &mut dyn Write) -> Result<()> {
    let command = crate::command();
    let Some(directory) = &options.directory else {
        return Ok(Man::new(command).render(out)?);
    };
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    clap_mangen::generate_to(command, directory)
        .with_context(|| format!("write the pages into {}", directory.display()))
}
