//! The file format of DHAT, for its viewer.

#![forbid(unsafe_code)]

use core::fmt::{self, Write as _};
use std::collections::HashMap;
use std::io::{self, Write};
use std::string::String;
use std::vec::Vec;

use super::Profile;
use super::report::Record;
use super::sites::{Amount, BLOCK};
use crate::trace::untraced;

impl Profile {
    /// Writes the profile as JSON for DHAT's viewer: open valgrind's `dh_view.html` in a browser and load the file.
    ///
    /// The format is version 2 of DHAT's. Times are microseconds; blocks that live for less than 10 of them count as short-lived. Where blocks
    /// are, and how they are read and written, is known to valgrind only, so those columns are missing.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_dhat(&self, to: &mut dyn Write) -> io::Result<()> {
        untraced(|| {
            // Made in memory, as a writer may be slow with small pieces.
            let mut text = String::new();
            let _ = self.dhat(&mut text);
            to.write_all(text.as_bytes())
        })
    }

    fn dhat(&self, out: &mut String) -> fmt::Result {
        let command: Vec<_> = std::env::args_os().map(|part| part.to_string_lossy().into_owned()).collect();
        writeln!(out, r#"{{"dhatFileVersion":2,"mode":"rust-heap","verb":"Allocated""#)?;
        writeln!(out, r#","bklt":true,"bkacc":false"#)?;
        writeln!(out, r#","tu":"µs","Mtu":"s","tuth":10"#)?;
        writeln!(out, r#","cmd":{}"#, Quoted(&command.join(" ")))?;
        writeln!(out, r#","pid":{}"#, std::process::id())?;
        writeln!(out, r#","te":{},"tg":{}"#, self.end, self.peak_time)?;
        let mut table = FrameTable::default();
        table.number("[root]".into());
        out.push_str(",\"pps\":[");
        for (idx, record) in self.records.iter().filter(|record| record.tally.total.blocks > 0).enumerate() {
            out.push_str(if idx == 0 { "\n " } else { ",\n " });
            self.dhat_site(out, &mut table, record)?;
        }
        out.push_str("\n ]\n,\"ftbl\":[");
        for (idx, name) in table.names.iter().enumerate() {
            write!(out, "{}{}", if idx == 0 { "\n " } else { ",\n " }, Quoted(name))?;
        }
        out.push_str("\n ]\n}\n");
        Ok(())
    }

    fn dhat_site(&self, out: &mut String, table: &mut FrameTable, record: &Record) -> fmt::Result {
        let tally = &record.tally;
        out.push('{');
        let mut amount = |bytes: &str, blocks: &str, amount: Amount| {
            // A call site that is there at all has at least one block: the viewer divides by it.
            let count = (amount.blocks + BLOCK / 2) / BLOCK;
            let count = if amount.blocks > 0 { count.max(1) } else { 0 };
            write!(out, r#""{bytes}":{},"{blocks}":{count},"#, amount.bytes)
        };
        amount("tb", "tbk", tally.total)?;
        amount("mb", "mbk", tally.most)?;
        amount("gb", "gbk", tally.at_peak)?;
        amount("eb", "ebk", tally.live)?;
        write!(out, r#""tl":{},"fs":["#, tally.lives_until(self.end))?;
        let stack = self.symbols().stack(&self.frames[record.frames.clone()]);
        if stack.is_empty() {
            write!(out, "{}", table.number(std::format!("{}", self.sizes(record))))?;
        }
        for (idx, named) in stack.iter().enumerate() {
            let name = std::format!("{:#x}: {}", named.address, named.symbol);
            write!(out, "{}{}", if idx == 0 { "" } else { "," }, table.number(name))?;
        }
        out.push_str("]}");
        Ok(())
    }
}

/// Frames by number, each once.
#[derive(Default)]
struct FrameTable {
    numbers: HashMap<String, usize>,
    names: Vec<String>,
}

impl FrameTable {
    fn number(&mut self, name: String) -> usize {
        let next = self.names.len();
        let names = &mut self.names;
        *self.numbers.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            next
        })
    }
}

/// Text as a JSON string.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\0'..='\u{1f}' => write!(f, "\\u{:04x}", character as u32)?,
                other => f.write_char(other)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn text_is_quoted() {
        assert_eq!(Quoted("a\"b\\c\nd\u{7f}µ").to_string(), r#""a\"b\\c\u000ad"#.to_string() + "\u{7f}µ\"");
    }
}
