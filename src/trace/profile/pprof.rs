//! The file format of pprof: a protocol buffer.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::{self, Write};
use std::string::String;
use std::vec::Vec;

use super::report::Record;
use super::sites::{Amount, BLOCK};
use super::{Profile, Symbol};
use crate::trace::untraced;

/// What is told of each call site: a name and a unit.
const VALUES: [(&str, &str); 6] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("peak_objects", "count"),
    ("peak_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
];

/// The value that is shown first.
const SHOWN_FIRST: &str = "peak_space";

impl Profile {
    /// Writes the profile for pprof: `go tool pprof -http=: FILE`, or `pprof`, Speedscope, Grafana's Pyroscope and others that read the format.
    ///
    /// It is a protocol buffer as `profile.proto` has it, not compressed, which pprof reads as well. Values are the bytes and blocks that were
    /// allocated in all, that were live at the peak, and that are live.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_pprof(&self, to: &mut dyn Write) -> io::Result<()> {
        untraced(|| {
            let mut writer = Writer::default();
            self.pprof(&mut writer);
            to.write_all(&writer.finish())
        })
    }

    /// Field numbers here are those of the message `Profile`.
    fn pprof(&self, writer: &mut Writer) {
        writer.string("");
        for (name, unit) in VALUES {
            let value = writer.value_type(name, unit);
            writer.out.message(1, &value);
        }
        for record in self.records.iter().filter(|record| record.tally.total.blocks > 0) {
            let sample = self.sample(writer, record);
            writer.out.message(2, &sample);
        }
        // One mapping, that says that there is nothing left to be resolved.
        let mut mapping = Message::default();
        // Whatever its bytes are: `args` panics where they are no text.
        let program = std::env::args_os().next().unwrap_or_default();
        mapping.number(1, 1).number(5, writer.string(&program.to_string_lossy()));
        for has in 7..=10 {
            mapping.number(has, 1);
        }
        writer.out.message(3, &mapping);
        let period = writer.value_type("space", "bytes");
        let first = writer.string(SHOWN_FIRST);
        let duration = self.end.saturating_mul(1000);
        writer.out.number(10, duration).message(11, &period).number(12, self.mean).number(14, first);
        // 0, which says nothing, by a clock that stands before 1970.
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let start = u64::try_from(now.as_nanos()).unwrap_or(0).saturating_sub(duration);
        writer.out.number(9, start);
    }

    /// A `Sample`: locations, and the values.
    fn sample(&self, writer: &mut Writer, record: &Record) -> Message {
        let stack = self.symbols().stack(&self.frames[record.frames.clone()]);
        let mut locations = Vec::new();
        if stack.is_empty() {
            let name = std::format!("{}", self.sizes(record));
            locations.push(writer.location(0, &[&Symbol { name, file: None, line: None }]));
        }
        // Functions that were compiled into one another share an address, and so a location.
        for same in stack.chunk_by(|one, other| one.address == other.address) {
            let symbols: Vec<_> = same.iter().map(|named| named.symbol).collect();
            locations.push(writer.location(same[0].address, &symbols));
        }
        let tally = &record.tally;
        let pair = |amount: Amount| [(amount.blocks + BLOCK / 2) / BLOCK, amount.bytes];
        let mut sample = Message::default();
        sample.packed(1, &locations);
        sample.packed(2, [tally.total, tally.at_peak, tally.live].map(pair).as_flattened());
        sample
    }
}

/// A profile in the making, with what is told once and named by number.
#[derive(Default)]
struct Writer {
    out: Message,
    strings: HashMap<String, u64>,
    table: Message,
    functions: HashMap<(u64, u64), u64>,
    /// By address, and by the functions there: what is left out at the ends may be another part of them in another stack.
    locations: HashMap<(usize, Vec<(u64, u64)>), u64>,
}

impl Writer {
    /// The number of a string.
    fn string(&mut self, text: &str) -> u64 {
        if let Some(&number) = self.strings.get(text) {
            return number;
        }
        let number = self.strings.len() as u64;
        self.strings.insert(text.into(), number);
        self.table.bytes(6, text.as_bytes());
        number
    }

    fn value_type(&mut self, name: &str, unit: &str) -> Message {
        let mut value = Message::default();
        value.number(1, self.string(name)).number(2, self.string(unit));
        value
    }

    /// The number of a `Function`.
    fn function(&mut self, symbol: &Symbol) -> u64 {
        let name = self.string(&symbol.name);
        let file = self.string(symbol.file.as_deref().unwrap_or(""));
        let next = self.functions.len() as u64 + 1;
        let number = *self.functions.entry((name, file)).or_insert(next);
        if number == next {
            let mut function = Message::default();
            // No name for the system's use (3): pprof would take it that the name has C++ templates, and leave out what is in angle brackets.
            function.number(1, number).number(2, name).number(4, file);
            self.out.message(5, &function);
        }
        number
    }

    /// The number of a `Location`.
    fn location(&mut self, address: usize, symbols: &[&Symbol]) -> u64 {
        let lines: Vec<_> = symbols
            .iter()
            .map(|symbol| (self.function(symbol), u64::from(symbol.line.unwrap_or(0))))
            .collect();
        let next = self.locations.len() as u64 + 1;
        let number = *self.locations.entry((address, lines.clone())).or_insert(next);
        if number == next {
            let mut location = Message::default();
            // The address of the call, not of what it returns to.
            location.number(1, number).number(2, 1).number(3, address.saturating_sub(1) as u64);
            for (function, line) in lines {
                let mut message = Message::default();
                message.number(1, function).number(2, line);
                location.message(4, &message);
            }
            self.out.message(4, &location);
        }
        number
    }

    fn finish(self) -> Vec<u8> {
        let mut bytes = self.out.0;
        bytes.extend_from_slice(&self.table.0);
        bytes
    }
}

/// A message in the encoding of protocol buffers.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// Seven bits at a time, the lowest first; the highest bit says that there are more.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) -> &mut Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) -> &mut Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn message(&mut self, field: u64, message: &Message) -> &mut Self {
        self.bytes(field, &message.0)
    }

    fn packed(&mut self, field: u64, values: &[u64]) -> &mut Self {
        let mut packed = Message::default();
        values.iter().for_each(|value| packed.varint(*value));
        self.message(field, &packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_the_encoding_has_them() {
        let mut message = Message::default();
        message.number(1, 150).bytes(2, b"testing").packed(4, &[3, 270, 86_942]);
        let expected = b"\x08\x96\x01\x12\x07testing\x22\x06\x03\x8e\x02\x9e\xa7\x05";
        assert_eq!(message.0, expected);
        let mut largest = Message::default();
        largest.varint(u64::MAX);
        assert_eq!(largest.0.len(), 10);
    }
}
