//! The command line of a program of races.

use std::process::ExitCode;

use crate::race::{self, Choice, Section};
use crate::report::{Report, print, print_conditions};
use crate::survey::Survey;

/// What a program is made of.
pub(crate) struct Program {
    /// How it is called.
    pub(crate) command: &'static str,
    pub(crate) sections: &'static [Section],
    /// What is no race.
    pub(crate) surveys: &'static [Survey],
    /// Whose versions are printed.
    pub(crate) crates: &'static [&'static str],
    /// What the names of our racers begin with.
    pub(crate) ours: &'static str,
    /// Whether the targets are met.
    pub(crate) check: fn(&Report) -> bool,
}

impl Program {
    fn print_help(&self) {
        print(&format!(
            "{} [SECTION..] [--only WORD].. [--quick] [--check]\n\nsections (all, if none is named):",
            self.command
        ));
        for section in self.sections {
            print(&format!("  {:10}  {}", section.name, section.what));
        }
        for survey in self.surveys {
            print(&format!("  {:10}  {}", survey.name, survey.what));
        }
        print(
            "\n\
             --only WORD  show our racers and those whose names contain the word\n\
             --quick      a smoke run: few rounds, no large sets\n\
             --check      fail if a ratio misses its target",
        );
    }

    /// Runs what the arguments ask for.
    pub(crate) fn run(&self, arguments: impl IntoIterator<Item = String>) -> ExitCode {
        let (mut wanted, mut only) = (Vec::new(), Vec::new());
        let (mut quick, mut check) = (false, false);
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => quick = true,
                "--check" => check = true,
                "--only" => only.extend(arguments.next()),
                name if self.sections.iter().any(|section| section.name == name)
                    || self.surveys.iter().any(|survey| survey.name == name) =>
                {
                    wanted.push(name.to_string());
                }
                _ => {
                    self.print_help();
                    return if argument == "--help" { ExitCode::SUCCESS } else { ExitCode::from(2) };
                }
            }
        }
        let mut report = Report::new(quick);
        print_conditions(self.crates);
        let choice = Choice { only, ours: self.ours };
        for section in self.sections {
            if wanted.is_empty() || wanted.iter().any(|wanted| wanted == section.name) {
                race::run(section, &choice, &mut report);
            }
        }
        for survey in self.surveys {
            if wanted.is_empty() || wanted.iter().any(|wanted| wanted == survey.name) {
                (survey.run)(&mut report);
            }
        }
        if check && !(self.check)(&report) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
