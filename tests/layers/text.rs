//! Rust source as plain text: what is left of it without comments, strings, tests and macros, line for line.

use std::ops::Range;

/// The source with spaces for every comment, string and character literal. Lines stay where they are.
pub(crate) fn code(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_or_comment(bytes, at);
        match end {
            Some(end) => {
                blank(&mut out, at..end);
                at = end;
            }
            None => at += 1,
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The end of the comment or literal that starts at `at`, if one does.
fn literal_or_comment(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let in_word = at > 0 && is_word(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => Some(at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => Some(at + block_comment(rest)),
        [b'"', ..] => Some(at + quoted(rest, b'"')),
        [b'r', b'"' | b'#', ..] if !in_word => raw_string(rest).map(|len| at + len),
        // A character: one, or an escape, and then the quote. Otherwise it is a lifetime.
        [b'\'', b'\\', ..] => Some(at + quoted(rest, b'\'')),
        [b'\'', first, ..] => {
            let len = 1 + utf8_len(*first);
            (rest.get(len) == Some(&b'\'')).then_some(at + len + 1)
        }
        _ => None,
    }
}

fn utf8_len(first: u8) -> usize {
    match first {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|&&b| b == b'#').count();
    let start = 1 + hashes;
    if rest.get(start) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = &rest[start + 1..];
    let len = body.windows(close.len()).position(|window| window == close).unwrap_or(body.len());
    Some((start + 1 + len + close.len()).min(rest.len()))
}

/// `code` without its test items: whatever follows `#[cfg(test)]` or `#[cfg(all(test, ..))]`.
pub(crate) fn without_tests(code: &str) -> String {
    ["#[cfg(test)]", "#[cfg(all(test"].iter().fold(code.to_owned(), |code, start| without(&code, start))
}

/// `code` without macro definitions: their text belongs to where they are used.
pub(crate) fn without_macros(code: &str) -> String {
    without(code, "macro_rules!")
}

/// `code` without the items that begin with `start`, up to their closing brace or semicolon.
fn without(code: &str, start: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    for (at, _) in code.match_indices(start) {
        blank(&mut out, at..item_end(code, at));
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The end of the item that starts at `at`: its first block, or its semicolon if that comes first.
fn item_end(code: &str, at: usize) -> usize {
    match code[at..].find(['{', ';']) {
        Some(len) if code.as_bytes()[at + len] == b'{' => block_end(code, at + len),
        Some(len) => at + len + 1,
        None => code.len(),
    }
}

/// The end of the block whose brace stands at `open`.
pub(crate) fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// The line, counted from 1, on which the byte at `at` stands.
pub(crate) fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|&b| b == b'\n').count()
}

pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn blank(out: &mut [u8], range: Range<usize>) {
    for byte in &mut out[range] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

#[test]
fn comments_and_literals_vanish_and_lines_stay() {
    let source =
        "a /* b\n/* c */ */ d // e\n\"f\\\"{\" g r#\"h\"}\"# '{' '\\'' 'é' &'life x b\"y\" br\"z\" str";
    assert_eq!(
        code(source).split_whitespace().collect::<Vec<_>>(),
        ["a", "d", "g", "&'life", "x", "b", "br", "str"]
    );
    assert_eq!(code(source).lines().count(), 3);
    assert_eq!(code(source).len(), source.len());
}

#[test]
fn tests_and_macros_vanish() {
    let source = "a;\n#[cfg(test)]\nmod tests { fn f() {} }\nb; #[cfg(test)] mod tests; c; #[cfg(all(test, unix))] fn d() {} e";
    assert_eq!(without_tests(source).split_whitespace().collect::<Vec<_>>(), ["a;", "b;", "c;", "e"]);
    assert_eq!(
        without_macros("a macro_rules! m { () => { b } } c").split_whitespace().collect::<Vec<_>>(),
        ["a", "c"]
    );
}
