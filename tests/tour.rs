//! The example `tour`, run as its users run it.

#![cfg(not(miri))]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't set itself up has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The example's executable, built once.
fn executable() -> &'static Path {
    static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();
    EXECUTABLE.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["build", "--example", "tour", "--message-format", "json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let messages = String::from_utf8(output.stdout).expect("cargo speaks UTF-8");
        let path = messages.lines().rev().find_map(|line| {
            let (_, path) = line.split_once("\"executable\":\"")?;
            path.split_once('"').map(|(path, _)| path.replace("\\\\", "\\"))
        });
        PathBuf::from(path.expect("cargo tells where the example is"))
    })
}

/// Runs the example.
fn tour(arguments: &[&str]) -> Output {
    Command::new(executable()).args(arguments).output().expect("the example runs")
}

/// Runs the example, which succeeds, and gives what it prints.
fn printed(arguments: &[&str]) -> String {
    let output = tour(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the example speaks UTF-8")
}

/// Runs the example, which fails, and gives its complaint.
fn complaint(arguments: &[&str]) -> String {
    let output = tour(arguments);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).expect("the example speaks UTF-8")
}

/// A directory of its own for one test, gone when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tour-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    /// Writes a file and gives its path.
    fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path.display().to_string()
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The first `count` of 17,576 different words, none of them a common one.
fn many_words(count: usize) -> String {
    let letters = || 'a'..='z';
    let words =
        letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| format!("{a}{b}{c}q "))));
    words.take(count).collect()
}

#[test]
fn the_project_itself_is_the_default() {
    let text = printed(&[]);
    assert!(text.starts_with("Files read: "), "{text}");
    for part in [
        "Most frequent:",
        "Nearest, the nearest first:",
        "From word to nearest word:",
        "static arena: StaticArena<65536, Sizing128KiB",
        "paged arena, with all links: Locked<SourceArena<Pages, Sizing16MiB>, SpinLock>",
        "paged arena, with the nearest links only:",
        "stack arena: Locked<Arena<",
        " tables = 65532 bytes, ",
        "\n  StaticArena of 64 KiB, 2172 bytes of it for tables (",
        "\n  └─ core: Arena in borrowed memory (",
        "\n     └─ sizing: Sizing4KiB, granules of 4 bytes with 1 bit each, ",
        "\n  ├─ objects: Node, ",
        "\n  │  └─ source: Counted, by blocks and bytes (",
        "\n  │        └─ source: Pages of the OS\n",
        "Near each other in the most of ",
        "cache in the paged arena, its slabs one behind the other: AlignedSlabs<&Locked<SourceArena<Pages, ",
        "cache over pages, its slabs one behind the other: AlignedSlabs<&mut Counted<Pages>, 4096",
        "  time of a round: ",
        "0x0000 ▒",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let of_the_paged_arena = text.matches("\n  └─ core: SourceArena, one block of the source (").count();
    assert_eq!(of_the_paged_arena, 1, "told once, however often the arena is drawn: {text}");
    assert!(!text.contains("heapwright::"), "types are shown without paths: {text}");
    assert!(!text.contains('\x1b'), "no colours but on a terminal");
}

/// The number behind `before` in a line of what the example prints.
fn number(line: &str, before: &str) -> u64 {
    let (_, rest) = line.split_once(before).unwrap_or_else(|| panic!("{before:?} in {line:?}"));
    let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().unwrap()
}

#[test]
fn nodes_are_made_once_and_all_memory_goes_back() {
    let text = printed(&[]);
    let caches: Vec<&str> = text.split("\n\n").filter(|part| part.starts_with("cache ")).collect();
    assert_eq!(caches.len(), 2, "{text}");
    let line = |cache: usize, start: &str| {
        let found = caches[cache].lines().find(|line| line.trim_start().starts_with(start));
        found.unwrap_or_else(|| panic!("{start:?} in {}", caches[cache]))
    };
    for cache in [0, 1] {
        let made = line(cache, "nodes made: ");
        let (first, nodes) = (number(made, "made: "), number(made, "for the "));
        let (slabs, reaped) = (line(cache, "slabs: "), line(cache, "reaped: "));
        // Once for each place at most. How many places the first round comes to use depends on the text.
        let all = first + number(made, "round, ");
        assert!(all <= number(slabs, "room for "), "{made}, {slabs}");
        assert!((50..=500).contains(&first) && nodes > 20 * all, "{made}");
        assert_eq!(number(slabs, "slabs: "), number(reaped, "reaped: "), "{slabs}, {reaped}");
        assert_eq!(number(reaped, "gone, "), 0, "{reaped}");
    }
    let used = line(0, "used in the paged arena: ");
    assert_eq!(number(used, "arena: "), number(used, "before, "), "{used}");
    let pages = line(1, "blocks of pages: ");
    assert!(number(pages, "pages: ") > 0 && number(pages, "system, ") > 0, "{pages}");
    assert_eq!((number(pages, "at most; "), number(pages, "left, ")), (0, 0), "{pages}");
}

#[test]
fn a_directory_is_read_and_what_is_not_text_is_counted() {
    let directory = Directory::new("directory");
    directory.file("tea.txt", "Pour the hot water slowly.\nHot WATER, black tea: water it is.\n");
    directory.file("deep/down/more.txt", "Black tea leaves.");
    directory.file("picture.bin", b"\x89PNG\0\0");
    directory.file("not-utf-8.txt", b"caf\xe9 water");
    directory.file(".hidden", "water water water");
    directory.file("built/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");
    directory.file("built/output.txt", "water water water");
    let text = printed(&[directory.path(), "--word", "Water", "--to", "leaves"]);
    assert!(text.starts_with("Files read: 2, 79 bytes, 12 words, 7 of them different"), "{text}");
    assert!(text.contains("(passed over: 2 that are not text, 0 that can't be read)"), "{text}");
    assert!(text.contains("       3 water\n"), "{text}");
    // Twice next to each other, once two words apart, twice four: (2 * 4 + 3 + 2 * 1) / (4 * √(3 * 2)).
    assert!(text.contains("  water: hot 1.33 "), "{text}");
    assert!(text.contains("water occurs 3 times:\n  tea.txt:1\n  tea.txt:2\n  tea.txt:2\n"), "{text}");
    assert!(
        text.contains("  water -> black -> leaves\n") || text.contains("  water -> tea -> leaves\n"),
        "{text}"
    );
}

#[test]
fn a_file_is_read() {
    let directory = Directory::new("file");
    let path = directory.file("one.txt", "alpha beta alpha beta");
    let text = printed(&[&path]);
    assert!(text.contains("Files read: 1, 21 bytes, 4 words, 2 of them different"), "{text}");
    // Three times next to each other and once three words apart: (3 * 4 + 2) / (4 * √(2 * 2)).
    assert!(text.contains("  alpha: beta 1.75\n"), "{text}");
    assert!(text.contains("in the most of 1 passages:\n       1 alpha beta\n\n"), "{text}");
    assert!(text.contains("nodes made: 2 for the 2 of the first round, 0 "), "{text}");
    assert!(text.contains("holds the nodes of passage 1 of 1\n"), "{text}");
}

#[test]
fn what_can_not_be_read_is_told() {
    let directory = Directory::new("unreadable");
    let missing = format!("{}/missing.txt", directory.path());
    let told = complaint(&[&missing]);
    assert!(told.starts_with("tour: can't read ") && told.contains("missing.txt"), "{told}");
    let told = complaint(&[&directory.file("binary", b"\0\xff")]);
    assert!(told.starts_with("tour: ") && told.contains("is not UTF-8 text"), "{told}");
    let told = complaint(&[&directory.file("empty.txt", "")]);
    assert!(told.contains("no words in the text (files read: 1;"), "{told}");
    let told = complaint(&[&directory.file("common.txt", "the and of is, I")]);
    assert!(told.contains("no words in the text"), "{told}");
    let told = complaint(&[&directory.file("some.txt", "real words here"), "--word", "unreal"]);
    assert!(told.contains("the word \"unreal\" does not occur"), "{told}");
}

#[test]
fn wrong_arguments_are_told() {
    assert_eq!(tour(&["--no-such-option"]).status.code(), Some(2));
    assert_eq!(tour(&["--paged-kib", "many"]).status.code(), Some(2));
    assert!(complaint(&["--paged-kib", "0"]).contains("can't get 0 KiB of pages"));
    assert!(complaint(&["--paged-kib", &usize::MAX.to_string()]).contains("KiB of pages"));
}

/// The answers in what the example prints: without the figures of the heaps and of which were full.
fn answers(printed: &str) -> Vec<&str> {
    let lines = printed.lines().skip_while(|line| !line.starts_with("Most frequent"));
    lines.take_while(|line| !line.starts_with("The heaps")).filter(|line| !line.starts_with('!')).collect()
}

#[test]
fn an_index_that_finds_no_room_goes_to_the_global_heap() {
    let directory = Directory::new("index");
    // More words than fit the static arena, and two of them further apart than a search in the stack arena gets.
    let path = directory.file("many.txt", many_words(17_000));
    let run = |paged_kib| printed(&[&path, "--word", "aaaq", "--to", "alzq", "--paged-kib", paged_kib]);
    let roomy = run("32768");
    assert!(roomy.contains("! The static arena is full: "), "{roomy}");
    assert!(roomy.contains("! The stack arena has no room for larger tables after 224 words"), "{roomy}");
    assert!(!roomy.contains("! The paged arena"), "{roomy}");
    assert!(answers(&roomy).iter().any(|line| line.starts_with("  aaaq -> ") && line.ends_with(" -> alzq")));

    let narrow = run("64");
    assert!(narrow.contains("! The paged arena has no room for the index"), "{narrow}");
    assert!(narrow.contains("! The paged arena has no room for the links"), "{narrow}");
    assert!(narrow.contains("paged arena, full: "), "{narrow}");
    assert_eq!(answers(&roomy), answers(&narrow));
}

#[test]
fn links_that_find_no_room_go_to_the_global_heap() {
    let directory = Directory::new("links");
    // 600 words in so irregular an order that each is linked with most others: some 2 MiB of links, 1 MiB of index.
    let words = many_words(600);
    let words: Vec<&str> = words.split_inclusive(' ').collect();
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        words[(state >> 16) as usize % words.len()]
    };
    let path = directory.file("dense.txt", (0..60_000).map(|_| next()).collect::<String>());
    let roomy = printed(&[&path, "--paged-kib", "32768"]);
    assert!(!roomy.contains("! The paged arena"), "{roomy}");

    let narrow = printed(&[&path, "--paged-kib", "2048"]);
    assert!(!narrow.contains("! The paged arena has no room for the index"), "{narrow}");
    assert!(narrow.contains("! The paged arena has no room for the links"), "{narrow}");
    assert_eq!(answers(&roomy), answers(&narrow));
}

#[test]
fn passages_that_find_no_room_have_their_nodes_over_pages() {
    let directory = Directory::new("passages");
    let path = directory.file("many.txt", many_words(600));
    let run = |paged_kib| printed(&[&path, "--paged-kib", paged_kib]);
    let (roomy, narrow) = (run("1024"), run("8"));
    assert!(!roomy.contains("! The paged arena"), "{roomy}");
    assert_eq!(roomy.matches("its slabs one behind the other").count(), 2, "{roomy}");

    assert!(narrow.contains("! The paged arena has no room for the nodes of the passages."), "{narrow}");
    assert_eq!(narrow.matches("its slabs one behind the other").count(), 1, "{narrow}");
    let made = narrow.lines().find(|line| line.contains("for the 600 of the first round, 0 ")).unwrap();
    assert!((256..=300).contains(&number(made, "nodes made: ")), "as many as a passage needs, or so: {made}");
    assert_eq!(answers(&roomy), answers(&narrow));
}

#[test]
fn pictures_are_written_to_one_file() {
    let directory = Directory::new("svg");
    let path = directory.file("words.txt", many_words(200));
    let image = format!("{}/heaps.svg", directory.path());
    let text = printed(&[&path, "--svg", &image]);
    assert!(text.contains(&format!("Pictures written to {image}")), "{text}");
    let svg = fs::read_to_string(&image).unwrap();
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" "), "{svg}");
    assert!(svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(svg.matches("<svg ").count(), 7, "six pictures in one");
    assert_eq!(svg.matches("<svg ").count(), svg.matches("</svg>").count());
    assert!(svg.contains("<title>stack arena: Locked&lt;Arena&lt;"), "{svg}");

    let nowhere = format!("{}/missing/heaps.svg", directory.path());
    assert!(complaint(&[&path, "--svg", &nowhere]).contains("can't write "));
}
