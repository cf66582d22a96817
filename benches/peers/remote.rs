//! The twin's racers, as this program sees them.

use std::cell::RefCell;
use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use crate::protocol::{BETWEEN, parse_lap, race_line};
use crate::race::{Column, Lap, Race};

/// Where the launcher says that the twin is.
const TWIN: &str = "HEAPWRIGHT_PEERS_TWIN";

/// The twin at work on one race. It waits while others run.
struct Twin {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Twin {
    fn start() -> Option<Twin> {
        let mut child =
            Command::new(env::var_os(TWIN)?).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let (input, output) = (child.stdin.take(), child.stdout.take()?);
        Some(Twin { child, input, output: BufReader::new(output) })
    }

    /// What the twin answers to a line.
    fn ask(&mut self, line: &str) -> Option<String> {
        writeln!(self.input.as_mut()?, "{line}").ok()?;
        let mut answer = String::new();
        self.output.read_line(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        // It ends with its input.
        self.input = None;
        let _ = self.child.wait();
    }
}

struct Remote {
    twin: Rc<RefCell<Twin>>,
    number: usize,
    name: &'static str,
}

impl Race for Remote {
    fn name(&self) -> &'static str {
        self.name
    }

    fn lap(&mut self) -> Lap {
        let answer = self.twin.borrow_mut().ask(&self.number.to_string());
        answer.as_deref().and_then(parse_lap).unwrap_or_else(|| panic!("the twin of this program has ended"))
    }
}

/// The twin's racers in a race; none if there is no twin.
pub(crate) fn racers(section: &str, column: &Column) -> Vec<Box<dyn Race>> {
    let Some(mut twin) = Twin::start() else { return Vec::new() };
    let names = twin.ask(&race_line(section, column)).unwrap_or_default();
    let twin = Rc::new(RefCell::new(twin));
    let names = names.trim_end().split(BETWEEN).filter(|name| !name.is_empty());
    let racer = |(number, name): (usize, &str)| -> Box<dyn Race> {
        let name = Box::leak(name.to_string().into_boxed_str());
        Box::new(Remote { twin: Rc::clone(&twin), number, name })
    };
    names.enumerate().map(racer).collect()
}
