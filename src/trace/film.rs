//! Snapshots of a heap, one after the other.

#![forbid(unsafe_code)]

use core::fmt;
use std::io::{self, Write};
use std::string::String;
use std::time::{Duration, Instant};

use super::store::Store;
use super::untraced;
use crate::AllocError;
use crate::heap::{Escaped, HeapMap, MapCell};

/// Snapshots of a region, as a page for a browser: a heap map that a slider moves through time.
///
/// Choose it to see how an arena fills up, where holes open, and whether they close again. A snapshot is a [`HeapMap`], which is made of a walk
/// over the heap; a byte per cell is kept of it, in pages from the OS. There are at most `FRAMES`: when there are, every second one is forgotten,
/// and from then on only one in two (four, eight, ..) of those that come is kept. So a film can be taken without knowing how long it will be.
///
/// [`write_html`](HeapFilm::write_html) writes a page of its own, of `FRAMES * WIDTH * ROWS` bytes and 8 KiB, that needs nothing from elsewhere:
/// the slider (also by the arrow keys), a button that plays it, a curve of how much was used, and for each cell, when pointed at, where it is.
///
/// ```
/// use heapwright::arena::StaticArena;
/// use heapwright::heap::{HeapMap, SharedHeap};
/// use heapwright::lock::NoLock;
/// use heapwright::sizing::Sizing4KiB;
/// use heapwright::trace::HeapFilm;
/// use std::alloc::Layout;
///
/// let arena = StaticArena::<4096, Sizing4KiB, NoLock>::new();
/// let mut film = HeapFilm::<32, 8, 100>::new();
/// for size in 1..40 {
///     arena.try_alloc(Layout::array::<u8>(size)?)?;
///     film.take(&HeapMap::of(|| arena.chunks()));
/// }
/// let mut page = Vec::new();
/// film.write_html("forty strings", &mut page)?;
/// assert!(String::from_utf8(page)?.contains("forty strings"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct HeapFilm<const WIDTH: usize = 64, const ROWS: usize = 16, const FRAMES: usize = 240> {
    start: Option<Instant>,
    frames: Store<Frame>,
    /// The cells of all frames, those of one behind those of the other; as long as `cells` says.
    cells: Store<u8>,
    /// How many snapshots there were, and one in how many is kept.
    seen: usize,
    stride: usize,
    lost: usize,
}

/// What there is of a snapshot beside its cells.
#[derive(Clone, Copy)]
struct Frame {
    time: Duration,
    cell_count: usize,
    cell_len: usize,
    region_len: usize,
    total: MapCell,
}

impl<const WIDTH: usize, const ROWS: usize, const FRAMES: usize> HeapFilm<WIDTH, ROWS, FRAMES> {
    /// No snapshot so far.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(FRAMES >= 2, "a HeapFilm has at least 2 frames: take a HeapMap for one") };
        HeapFilm { start: None, frames: Store::new(), cells: Store::new(), seen: 0, stride: 1, lost: 0 }
    }

    /// Adds a snapshot, of this moment.
    pub fn take(&mut self, map: &HeapMap<WIDTH, ROWS>) {
        self.seen += 1;
        if (self.seen - 1) % self.stride != 0 {
            return;
        }
        if self.frames.len() == FRAMES {
            self.thin_out();
            if (self.seen - 1) % self.stride != 0 {
                return;
            }
        }
        let now = Instant::now();
        let start = *self.start.get_or_insert(now);
        let frame = Frame {
            time: now.saturating_duration_since(start),
            cell_count: map.cells().len(),
            cell_len: map.cell_len(),
            region_len: map.region_len(),
            total: map.total(),
        };
        self.lost += usize::from(self.add(frame, map).is_err());
    }

    /// How many snapshots are kept.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many snapshots found no room, since the OS had no more pages.
    #[must_use]
    pub const fn lost(&self) -> usize {
        self.lost
    }

    fn add(&mut self, frame: Frame, map: &HeapMap<WIDTH, ROWS>) -> Result<(), AllocError> {
        let before = self.cells.len();
        let added = map.cells().iter().try_for_each(|&cell| self.cells.push(look(cell)));
        // Each frame has the same number of cells, so that it is found by its number.
        let filled = (frame.cell_count..WIDTH * ROWS).try_for_each(|_| self.cells.push(OUTSIDE));
        let added = added.and(filled).and_then(|()| self.frames.push(frame));
        added.inspect_err(|_| self.cells.truncate(before))
    }

    /// Forgets every second frame.
    fn thin_out(&mut self) {
        let kept = self.frames.len().div_ceil(2);
        for idx in 1..kept {
            self.frames.as_mut_slice()[idx] = self.frames.as_slice()[2 * idx];
            let from = 2 * idx * WIDTH * ROWS;
            self.cells.as_mut_slice().copy_within(from..from + WIDTH * ROWS, idx * WIDTH * ROWS);
        }
        self.frames.truncate(kept);
        self.cells.truncate(kept * WIDTH * ROWS);
        self.stride *= 2;
    }

    /// Writes the page. Any `title` will do: it is escaped.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_html(&self, title: &str, to: &mut dyn Write) -> io::Result<()> {
        untraced(|| {
            let mut page = String::new();
            // Writing to a string does not fail.
            let _ = self.html(title, &mut page);
            to.write_all(page.as_bytes())
        })
    }

    fn html(&self, title: &str, out: &mut String) -> fmt::Result {
        let (before, rest) = PAGE.split_once("{frames}").unwrap_or((PAGE, ""));
        let (scripts, after) = rest.split_once("{width}").unwrap_or((rest, ""));
        for (number, part) in before.split("{title}").enumerate() {
            if number > 0 {
                fmt::Write::write_fmt(out, format_args!("{}", Escaped(title)))?;
            }
            out.push_str(part);
        }
        for (number, frame) in self.frames.as_slice().iter().enumerate() {
            let Frame { time, cell_len, region_len, total: MapCell { used, tables, free }, .. } = *frame;
            let time = time.as_micros();
            fmt::Write::write_fmt(
                out,
                format_args!("[{time},{cell_len},{region_len},{used},{tables},{free},\""),
            )?;
            let cells = &self.cells.as_slice()[number * WIDTH * ROWS..][..frame.cell_count];
            out.extend(cells.iter().map(|&cell| char::from(cell)));
            out.push_str("\"],\n");
        }
        out.push_str(scripts);
        fmt::Write::write_fmt(out, format_args!("{WIDTH}"))?;
        out.push_str(after);
        Ok(())
    }
}

/// The letter for what no chunk speaks of.
const OUTSIDE: u8 = b'o';

/// A cell as a letter: `a` for free to `i` for used, and the same in capitals for tables; `o` for what no chunk speaks of.
fn look(cell: MapCell) -> u8 {
    let MapCell { used, tables, free } = cell;
    let whole = used.saturating_add(tables).saturating_add(free);
    if whole == 0 {
        return OUTSIDE;
    }
    let (part, first) = if tables > used { (tables, b'A') } else { (used, b'a') };
    // Something is never shown as nothing, nor as everything.
    let eighths = (part as u128 * 8 + whole as u128 / 2) / whole as u128;
    let eighths = if part == 0 {
        0
    } else if part == whole {
        8
    } else {
        eighths.clamp(1, 7)
    };
    first + eighths as u8
}

/// The page, with places for the title, the frames and the width.
const PAGE: &str = include_str!("film.html");

impl<const WIDTH: usize, const ROWS: usize, const FRAMES: usize> Default for HeapFilm<WIDTH, ROWS, FRAMES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const WIDTH: usize, const ROWS: usize, const FRAMES: usize> fmt::Debug
    for HeapFilm<WIDTH, ROWS, FRAMES>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapFilm")
            .field("frames", &self.len())
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::heap::{Chunk, ChunkKind};

    #[test]
    fn a_cell_is_one_letter() {
        let cell = |used, tables, free| look(MapCell { used, tables, free });
        assert_eq!(cell(0, 0, 0), b'o');
        assert_eq!((cell(0, 0, 8), cell(1, 0, 1000), cell(4, 0, 4)), (b'a', b'b', b'e'));
        assert_eq!((cell(1000, 0, 1), cell(8, 0, 0), cell(0, 8, 0)), (b'h', b'i', b'I'));
        assert_eq!(cell(usize::MAX, 0, usize::MAX), b'i');
    }

    #[test]
    fn a_long_film_keeps_its_beginning_and_goes_through_to_its_end() {
        let mut film = HeapFilm::<4, 2, 8>::new();
        for step in 1..=100usize {
            let used = Chunk { offset: 0, len: step, kind: ChunkKind::Used };
            film.take(&HeapMap::new(100, [used]));
        }
        let used: Vec<_> = film.frames.as_slice().iter().map(|frame| frame.total.used).collect();
        assert_eq!(used, [1, 17, 33, 49, 65, 81, 97]);
        assert_eq!(film.cells.len(), 7 * 8);
        // Cells are of 16 bytes, so that there are 7; what is not used is nothing here.
        assert_eq!(&film.cells.as_slice()[..8], b"iooooooo");
        assert_eq!(&film.cells.as_slice()[8..16], b"iioooooo");
    }

    #[test]
    fn a_page_has_all_its_parts() {
        let mut film = HeapFilm::<4, 2, 8>::new();
        film.take(&HeapMap::new(64, [Chunk { offset: 0, len: 64, kind: ChunkKind::Used }]));
        let mut page = Vec::new();
        film.write_html("a <b> & c", &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains("<title>a &lt;b&gt; &amp; c</title>"));
        assert!(page.contains(",8,64,64,0,0,\"iiiiiiii\"]"), "{page}");
        assert!(!page.contains("{title}") && !page.contains("{width}") && !page.contains("{frames}"));
    }

    #[test]
    fn an_odd_number_of_frames_is_thinned_out_evenly() {
        let mut film = HeapFilm::<4, 2, 3>::new();
        for step in 1..=20usize {
            let used = Chunk { offset: 0, len: step, kind: ChunkKind::Used };
            film.take(&HeapMap::new(100, [used]));
            assert!((1..=3).contains(&film.len()));
        }
        // The fourth in a row, which finds no room, is not one of every second, nor the seventh of every fourth.
        let used: Vec<_> = film.frames.as_slice().iter().map(|frame| frame.total.used).collect();
        assert_eq!((used.as_slice(), film.lost()), (&[1, 9, 17][..], 0));
    }
}
