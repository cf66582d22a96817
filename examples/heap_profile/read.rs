//! Which texts there are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A source file.
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) contents: String,
}

/// The source files at a path, in the order of their names, of `len_max` bytes at most in all.
pub(crate) fn texts(path: &Path, len_max: usize) -> io::Result<Vec<Text>> {
    let mut texts = Vec::new();
    let mut left = len_max;
    for path in files(path)? {
        // Files that are no text are none of ours.
        let Ok(contents) = fs::read_to_string(&path) else { continue };
        if contents.len() > left {
            break;
        }
        left -= contents.len();
        texts.push(Text { name: path.display().to_string(), contents });
    }
    if texts.is_empty() {
        return Err(io::Error::other(format!("no source file at {}", path.display())));
    }
    Ok(texts)
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    let mut open = vec![path.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
