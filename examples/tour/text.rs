//! Text: finding it, reading it, and cutting it into words.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Words of fewer letters are left out.
const LETTERS_MIN: usize = 3;

/// Words that say nothing about a text, be it English or Rust.
const STOP_WORDS: &[&str] = &[
    "all", "also", "and", "any", "are", "assert", "been", "but", "can", "const", "crate", "does", "each",
    "else", "every", "false", "for", "from", "had", "has", "have", "her", "his", "how", "impl", "into",
    "its", "let", "may", "mod", "more", "most", "must", "mut", "none", "not", "now", "one", "only", "other",
    "our", "out", "over", "pub", "ref", "return", "self", "she", "should", "some", "struct", "such", "super",
    "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "too", "true", "type",
    "use", "very", "was", "were", "what", "when", "where", "which", "who", "will", "with", "would", "you",
    "your",
];

/// One text.
pub(crate) struct Document {
    /// Its path as shown to the user.
    pub(crate) name: String,
    /// All of it.
    pub(crate) text: String,
}

/// All texts, and how many files were passed over.
pub(crate) struct Library {
    pub(crate) documents: Vec<Document>,
    /// Files that are not UTF-8 text.
    pub(crate) binary: usize,
    /// Files and directories that could not be read.
    pub(crate) unreadable: usize,
}

impl Library {
    /// Reads one file, or every text file of a directory and the directories in it.
    ///
    /// Hidden entries and directories marked as caches (by a `CACHEDIR.TAG`, as build directories are) are left out.
    pub(crate) fn read(path: &Path) -> Result<Library, String> {
        let metadata =
            fs::metadata(path).map_err(|error| format!("can't read {}: {error}", path.display()))?;
        let mut library = Library { documents: Vec::new(), binary: 0, unreadable: 0 };
        if metadata.is_dir() {
            let mut files = Vec::new();
            library.list(path, &mut files);
            library.read_files(&files, path);
            return Ok(library);
        }
        let text = read_text(path).map_err(|error| format!("can't read {}: {error}", path.display()))?;
        let text = text.ok_or_else(|| format!("{} is not UTF-8 text", path.display()))?;
        library.documents.push(Document { name: path.display().to_string(), text });
        Ok(library)
    }

    /// Reads the sources and the Markdown files of this project.
    pub(crate) fn read_project() -> Result<Library, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let entries =
            fs::read_dir(root).map_err(|error| format!("can't read {}: {error}", root.display()))?;
        let mut library = Library { documents: Vec::new(), binary: 0, unreadable: 0 };
        let mut files = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "md") {
                files.push((path, 0));
            }
        }
        library.list(&root.join("src"), &mut files);
        library.read_files(&files, root);
        Ok(library)
    }

    /// Bytes of all texts.
    pub(crate) fn bytes(&self) -> u64 {
        self.documents.iter().map(|document| document.text.len() as u64).sum()
    }

    /// Collects the files below a directory, in the order of their paths, each with its size in bytes.
    fn list(&mut self, root: &Path, files: &mut Vec<(PathBuf, u64)>) {
        let mut directories = vec![root.to_path_buf()];
        while let Some(directory) = directories.pop() {
            let Ok(entries) = fs::read_dir(&directory) else {
                self.unreadable += 1;
                continue;
            };
            for entry in entries.flatten() {
                // The type of the entry itself: a symbolic link is not followed, so there is no way round in circles.
                let Ok(kind) = entry.file_type() else {
                    self.unreadable += 1;
                    continue;
                };
                let path = entry.path();
                if entry.file_name().to_string_lossy().starts_with('.') {
                    continue;
                }
                if kind.is_dir() && !path.join("CACHEDIR.TAG").exists() {
                    directories.push(path);
                } else if kind.is_file() {
                    files.push((path, entry.metadata().map_or(0, |metadata| metadata.len())));
                }
            }
        }
        files.sort();
    }

    /// Reads files; those that are no text, or can't be read, are counted. Names are shown without `root`.
    fn read_files(&mut self, files: &[(PathBuf, u64)], root: &Path) {
        let progress = Progress::new("reading", files.iter().map(|(_, len)| len).sum());
        for (path, len) in files {
            match read_text(path) {
                Ok(Some(text)) => {
                    let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
                    self.documents.push(Document { name, text });
                }
                Ok(None) => self.binary += 1,
                Err(_) => self.unreadable += 1,
            }
            progress.advance(*len);
        }
    }
}

/// The text of a file; `None` if it is not text.
fn read_text(path: &Path) -> io::Result<Option<String>> {
    let bytes = fs::read(path)?;
    // A zero byte is valid UTF-8, and the surest sign of something that is not text.
    Ok(String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')))
}

/// Calls `visit` with every word of a text that is worth counting, in small letters, and its line, from 1 on.
pub(crate) fn each_word<E>(text: &str, mut visit: impl FnMut(u32, &str) -> Result<(), E>) -> Result<(), E> {
    let mut small = String::new();
    for (line, number) in text.lines().zip(1..) {
        for word in line.split(|character: char| !character.is_alphabetic()) {
            if word.chars().count() < LETTERS_MIN {
                continue;
            }
            small.clear();
            small.extend(word.chars().flat_map(char::to_lowercase));
            if !STOP_WORDS.contains(&small.as_str()) {
                visit(number, &small)?;
            }
        }
    }
    Ok(())
}

/// A bar on the terminal that shows up once the work has taken a second, and goes away with it.
pub(crate) struct Progress {
    bar: ProgressBar,
    start: Instant,
}

impl Progress {
    /// Work on `bytes` of text.
    pub(crate) fn new(what: &'static str, bytes: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden()).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg:9} {wide_bar} {bytes}/{total_bytes} {eta:>4}") {
            bar.set_style(style);
        }
        Progress { bar, start: Instant::now() }
    }

    /// Some of it is done.
    pub(crate) fn advance(&self, bytes: u64) {
        if self.bar.is_hidden() && self.start.elapsed() > Duration::from_secs(1) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
