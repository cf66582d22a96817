//! Pictures of a heap: its region as a grid of cells, in a terminal or as an SVG.

#![forbid(unsafe_code)]

use core::fmt::{self, Write as _};

use super::{Chunk, ChunkKind};

/// What the bytes of one cell of a [`HeapMap`], or of all its cells together, are.
///
/// Bytes that no chunk speaks of (beyond the reach of the heap's sizing, say) count nowhere.
///
/// ```
/// use heapwright::heap::MapCell;
/// let cell = MapCell { used: 24, tables: 0, free: 8 };
/// assert_eq!(cell.used + cell.tables + cell.free, 32);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapCell {
    /// Bytes in live objects.
    pub used: usize,
    /// Bytes of the heap's own tables.
    pub tables: usize,
    /// Bytes that can be handed out.
    pub free: usize,
}

impl MapCell {
    /// Nothing at all.
    const EMPTY: Self = MapCell { used: 0, tables: 0, free: 0 };

    /// Counts `len` more bytes of `kind`.
    const fn add(&mut self, kind: ChunkKind, len: usize) {
        let sum = match kind {
            ChunkKind::Used => &mut self.used,
            ChunkKind::Table => &mut self.tables,
            ChunkKind::Free => &mut self.free,
        };
        *sum = sum.saturating_add(len);
    }

    /// What the terminal shows for this cell.
    fn look(self) -> Look {
        let objects = self.used.saturating_add(self.free);
        if self.tables > 0 && self.tables >= objects {
            return Look::Tables;
        }
        if objects == 0 {
            return Look::Outside;
        }
        if self.used == 0 {
            return Look::Free;
        }
        // 0 and 8 are kept for cells with no byte used and with no byte free.
        let eighths = if self.free == 0 { 8 } else { share(self.used, objects, 8).clamp(1, 7) };
        Look::Used(eighths as usize)
    }
}

/// A snapshot of where a heap is used and where it is free: `ROWS` rows of `WIDTH` cells, each for an equal stretch of the region.
///
/// Choose it to see how full and how scattered an arena is. It is made of [`Chunk`]s, costs three words per cell
/// and one walk over the heap, allocates nothing, and knows of each cell how many of its bytes are what.
///
/// - `Display` draws it with block characters under a line of figures. How high a cell stands is the share of it that
///   is in use: `·` means that no byte is, `█` that none is free. Rows are labelled with their offset from the region's start.
/// - [`svg`](HeapMap::svg) draws it as an image that tells of each cell, when pointed at, its bytes.
/// - [`cells`](HeapMap::cells) gives the numbers to a picture of your own.
///
/// ```
/// use heapwright::heap::{Chunk, ChunkKind, HeapMap};
///
/// let chunks = [
///     Chunk { offset: 0, len: 32, kind: ChunkKind::Table },
///     Chunk { offset: 32, len: 40, kind: ChunkKind::Used },
///     Chunk { offset: 72, len: 56, kind: ChunkKind::Free },
/// ];
/// let map = HeapMap::<8, 1>::new(128, chunks);
/// assert_eq!(
///     map.to_string(),
///     "128 bytes, 31.3 % used, 25.0 % tables, one cell = 16 bytes (█ used ▒ tables · free)\n\
///      0x00 ▒▒██▄···\n"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeapMap<const WIDTH: usize = 64, const ROWS: usize = 4> {
    /// Bytes of the region.
    len: usize,
    /// Bytes that one cell stands for, above zero; the last cell in use may stand for fewer.
    cell_len: usize,
    /// The first `len.div_ceil(cell_len)` in row order are in use, and that is no more than there are.
    cells: [[MapCell; WIDTH]; ROWS],
    /// Whether the terminal map is coloured.
    ansi_colours: bool,
}

impl<const WIDTH: usize, const ROWS: usize> HeapMap<WIDTH, ROWS> {
    /// A map of `chunks` in a region of `len` bytes.
    ///
    /// A cell stands for `len / (WIDTH * ROWS)` bytes, rounded up to 1, 2, 4 or a multiple of 8, so that it does not cut through
    /// granules; a small region therefore may need fewer cells, or rows, than there are. The chunks may come
    /// in any order; what lies beyond `len` is left out. O(chunks + cells).
    ///
    /// A map without cells does not compile.
    #[must_use]
    pub fn new(len: usize, chunks: impl IntoIterator<Item = Chunk>) -> Self {
        const { assert!(WIDTH > 0 && ROWS > 0, "a HeapMap needs a WIDTH and ROWS of at least 1") };
        let mut map = HeapMap {
            len,
            cell_len: cell_len(len, WIDTH * ROWS),
            cells: [[MapCell::EMPTY; WIDTH]; ROWS],
            ansi_colours: false,
        };
        for chunk in chunks {
            map.add(chunk);
        }
        map
    }

    /// A map of a heap, from a function that walks over its chunks; the region ends where they end.
    ///
    /// It walks twice, since a cell's size depends on where the end is. Costs as [`new`](HeapMap::new).
    ///
    /// ```
    /// # #[cfg(feature = "allocator-api2-04")] {
    /// use heapwright::arena::StaticArena;
    /// use heapwright::heap::HeapMap;
    /// use heapwright::lock::NoLock;
    /// use heapwright::sizing::Sizing4KiB;
    ///
    /// let arena = StaticArena::<4096, Sizing4KiB, NoLock>::new();
    /// let half = allocator_api2_04::boxed::Box::new_in([0u8; 2048], &arena);
    /// let map = HeapMap::<32, 2>::of(|| arena.chunks());
    /// assert_eq!(map.total().used, arena.usage().used);
    /// println!("{map}");
    /// # drop(half);
    /// # }
    /// ```
    #[must_use]
    pub fn of<I: IntoIterator<Item = Chunk>>(walk: impl Fn() -> I) -> Self {
        let ends = walk().into_iter().map(|chunk| chunk.offset.saturating_add(chunk.len));
        Self::new(ends.max().unwrap_or(0), walk())
    }

    /// The same map with colours (ANSI escape sequences) in its terminal form, or without, as it starts out.
    #[must_use]
    pub const fn ansi_colours(mut self, on: bool) -> Self {
        self.ansi_colours = on;
        self
    }

    /// The cells in address order, each for [`cell_len`](HeapMap::cell_len) bytes.
    #[must_use]
    pub fn cells(&self) -> &[MapCell] {
        &self.cells.as_flattened()[..self.len.div_ceil(self.cell_len)]
    }

    /// Bytes that one cell stands for; the last one may stand for fewer.
    #[must_use]
    pub const fn cell_len(&self) -> usize {
        self.cell_len
    }

    /// Bytes of the whole region.
    #[must_use]
    pub const fn region_len(&self) -> usize {
        self.len
    }

    /// The sum of all cells. O(cells).
    #[must_use]
    pub fn total(&self) -> MapCell {
        self.grid().total()
    }

    /// The map as an SVG image, to be written with `Display`.
    ///
    /// Blue is as strong as the cell is used, amber as it is taken by tables. At most 400 bytes per cell and 3 KiB
    /// besides. Any `title` will do: it is escaped.
    ///
    /// ```
    /// use heapwright::heap::{Chunk, ChunkKind, HeapMap};
    /// let used = Chunk { offset: 0, len: 100, kind: ChunkKind::Used };
    /// let map = HeapMap::<32, 8>::new(1024, [used]);
    /// let svg = map.svg("Vec<u8> & friends").to_string();
    /// assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    /// assert!(svg.contains("Vec&lt;u8&gt; &amp; friends"));
    /// ```
    #[must_use]
    pub fn svg<'a>(&'a self, title: &'a str) -> Svg<'a> {
        Svg { grid: self.grid(), title, left: 0, top: 0, width_min: 0 }
    }

    /// The part of the map that its pictures need, whatever its size.
    fn grid(&self) -> Grid<'_> {
        Grid { len: self.len, cell_len: self.cell_len, width: WIDTH, cells: self.cells() }
    }

    /// Counts a chunk into its cells.
    fn add(&mut self, chunk: Chunk) {
        let end = chunk.offset.saturating_add(chunk.len).min(self.len);
        let mut at = chunk.offset;
        while at < end {
            let index = at / self.cell_len;
            let next = index.saturating_add(1).saturating_mul(self.cell_len).min(end);
            self.cells[index / WIDTH][index % WIDTH].add(chunk.kind, next - at);
            at = next;
        }
    }
}

/// The terminal form.
impl<const WIDTH: usize, const ROWS: usize> fmt::Display for HeapMap<WIDTH, ROWS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.grid().write_terminal(f, self.ansi_colours)
    }
}

/// Bytes that a cell stands for, when `cells` of them cover `len` bytes: never zero.
const fn cell_len(len: usize, cells: usize) -> usize {
    match len.div_ceil(cells) {
        0 => 1,
        exact @ 1..=8 => exact.next_power_of_two(),
        // Without the rounding where it would overflow: such a region has no granules to speak of.
        exact => match exact.checked_next_multiple_of(8) {
            Some(rounded) => rounded,
            None => exact,
        },
    }
}

/// `part / whole` in `steps`, to the nearest; 0 if there is no whole.
const fn share(part: usize, whole: usize, steps: u128) -> u128 {
    if whole == 0 {
        return 0;
    }
    let whole = whole as u128;
    (part as u128 * steps + whole / 2) / whole
}

/// What the terminal shows for a cell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Tables,
    Used(usize),
    Free,
    Outside,
}

impl Look {
    const fn glyph(self) -> char {
        match self {
            Look::Tables => '▒',
            Look::Used(eighths) => ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'][eighths],
            Look::Free => '·',
            Look::Outside => ' ',
        }
    }

    const fn ansi_colour(self) -> &'static str {
        match self {
            Look::Tables => "\x1b[33m",
            Look::Used(_) => "\x1b[34m",
            Look::Free => "\x1b[90m",
            Look::Outside => ANSI_PLAIN,
        }
    }
}

/// The escape sequence that ends a colour.
const ANSI_PLAIN: &str = "\x1b[0m";

/// A map without its size in its type: what the pictures are drawn from, compiled once.
#[derive(Clone, Copy, Debug)]
struct Grid<'a> {
    len: usize,
    cell_len: usize,
    width: usize,
    cells: &'a [MapCell],
}

impl Grid<'_> {
    fn total(&self) -> MapCell {
        let mut total = MapCell::EMPTY;
        for cell in self.cells {
            total.add(ChunkKind::Used, cell.used);
            total.add(ChunkKind::Table, cell.tables);
            total.add(ChunkKind::Free, cell.free);
        }
        total
    }

    /// Digits of the largest row offset, in hexadecimal; at least two.
    fn offset_digits(&self) -> usize {
        let rows_before = self.cells.len().saturating_sub(1) / self.width;
        let offset_max = rows_before.saturating_mul(self.width).saturating_mul(self.cell_len);
        (offset_max.checked_ilog2().unwrap_or(0) as usize / 4 + 1).max(2)
    }

    fn write_terminal(&self, f: &mut fmt::Formatter<'_>, ansi_colours: bool) -> fmt::Result {
        let total = self.total();
        writeln!(
            f,
            "{}, {} used, {} tables, one cell = {} (█ used ▒ tables · free)",
            Bytes(self.len),
            Percent(total.used, self.len),
            Percent(total.tables, self.len),
            Exact(self.cell_len)
        )?;
        let digits = self.offset_digits();
        for (row, cells) in self.cells.chunks(self.width).enumerate() {
            write!(f, "0x{:0digits$x} ", row * self.width * self.cell_len)?;
            let mut colour = ANSI_PLAIN;
            for look in cells.iter().map(|cell| cell.look()) {
                if ansi_colours && look.ansi_colour() != colour {
                    colour = look.ansi_colour();
                    f.write_str(colour)?;
                }
                f.write_char(look.glyph())?;
            }
            f.write_str(if colour == ANSI_PLAIN { "\n" } else { "\x1b[0m\n" })?;
        }
        Ok(())
    }
}

/// A heap map as an SVG image: `Display` writes it. Made by [`HeapMap::svg`].
///
/// It follows the reader's light or dark mode. To put several into one image, give each its place with [`at`](Svg::at)
/// and write them one behind the other inside of an `<svg>` element that is as large as all of them.
///
/// ```
/// use heapwright::heap::HeapMap;
/// let (small, large) = (HeapMap::<16, 2>::new(512, []), HeapMap::<80, 2>::new(2048, []));
/// let images = [small.svg("small"), large.svg("large")];
/// let width = images[0].width().max(images[1].width());
/// let (mut height, mut body) = (0, String::new());
/// for svg in images {
///     body.push_str(&svg.at(0, height).width_min(width).to_string());
///     height += svg.height();
/// }
/// let image = format!(r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{body}</svg>"#);
/// assert_eq!(image.matches("</svg>").count(), 3);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Svg<'a> {
    grid: Grid<'a>,
    title: &'a str,
    left: usize,
    top: usize,
    width_min: usize,
}

/// Pixels from one cell to the next, and from one row to the next.
const CELL_WIDTH: usize = 11;
const ROW_HEIGHT: usize = 18;
/// Pixels between two cells.
const GAP: usize = 1;
/// Pixels around everything.
const MARGIN: usize = 16;
/// Pixels above the first row: a title and a line of figures.
const HEAD_HEIGHT: usize = 64;
/// Pixels below the last row: the legend.
const FOOT_HEIGHT: usize = 44;
/// Pixels that one character takes at most: of the title, and of the smaller text elsewhere.
const TITLE_CHARACTER_WIDTH: usize = 9;
const CHARACTER_WIDTH: usize = 7;
/// Pixels that the legend needs.
const LEGEND_WIDTH: usize = 620;

/// Colours for both modes. `u`: used, `t`: tables, `f`: free, `o`: what no chunk speaks of.
const STYLE: &str = "\
.heap-map{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}\
.heap-map .page{fill:#fff}.heap-map text{fill:#59636e}.heap-map .name{fill:#1f2328;font-size:15px;font-weight:600}\
.heap-map .f{fill:#e4e8ec}.heap-map .u{fill:#0860ca}.heap-map .t{fill:#d4860b}\
.heap-map .o{fill:none;stroke:#d1d9e0;stroke-dasharray:2}\
@media(prefers-color-scheme:dark){.heap-map .page{fill:#0d1117}.heap-map text{fill:#9198a1}\
.heap-map .name{fill:#f0f6fc}.heap-map .f{fill:#232932}.heap-map .u{fill:#58a6ff}.heap-map .t{fill:#e3a83b}\
.heap-map .o{stroke:#3d444d}}";

impl Svg<'_> {
    /// The same image, its left upper corner `left` and `top` pixels into the image that it becomes a part of.
    #[must_use]
    pub const fn at(mut self, left: usize, top: usize) -> Self {
        self.left = left;
        self.top = top;
        self
    }

    /// The same image, at least `width` pixels wide: as wide as others that it stands with.
    #[must_use]
    pub const fn width_min(mut self, width: usize) -> Self {
        self.width_min = width;
        self
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        let title = self.title.chars().count().saturating_mul(TITLE_CHARACTER_WIDTH);
        let map = self.map_left() - MARGIN + self.grid.width.saturating_mul(CELL_WIDTH);
        map.max(title).max(LEGEND_WIDTH).saturating_add(2 * MARGIN).max(self.width_min)
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        let rows = self.grid.cells.len().div_ceil(self.grid.width);
        HEAD_HEIGHT + rows.saturating_mul(ROW_HEIGHT) + FOOT_HEIGHT
    }

    /// Pixels from the left to the first cell of a row: room for the row's offset.
    fn map_left(&self) -> usize {
        MARGIN + (self.grid.offset_digits() + 3) * CHARACTER_WIDTH
    }

    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, top, width, height) = (self.left, self.top, self.width(), self.height());
        let title = Escaped(self.title);
        write!(
            f,
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="heap-map" role="img" x="{left}" y="{top}" "#
        )?;
        writeln!(f, r#"width="{width}" height="{height}" viewBox="0 0 {width} {height}">"#)?;
        writeln!(f, "<title>{title}</title>")?;
        writeln!(f, "<style>{STYLE}</style>")?;
        writeln!(f, r#"<rect class="page" width="{width}" height="{height}"/>"#)?;
        writeln!(f, r#"<text class="name" x="{MARGIN}" y="28">{title}</text>"#)?;
        let (len, cell_len, used) = (self.grid.len, self.grid.cell_len, self.grid.total().used);
        writeln!(
            f,
            r#"<text x="{MARGIN}" y="49">region of {}, {} used, one cell = {}</text>"#,
            Bytes(len),
            Percent(used, len),
            Exact(cell_len)
        )
    }

    fn write_rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Grid { len, cell_len, width, cells } = self.grid;
        let digits = self.grid.offset_digits();
        for (row, cells) in cells.chunks(width).enumerate() {
            let first = row * width * cell_len;
            let y = HEAD_HEIGHT + row * ROW_HEIGHT;
            writeln!(f, r#"<text x="{MARGIN}" y="{}">0x{first:0digits$x}</text>"#, y + 13)?;
            for (index, cell) in cells.iter().enumerate() {
                let offset = first + index * cell_len;
                let end = offset.saturating_add(cell_len).min(len);
                self.write_cell(f, *cell, (self.map_left() + index * CELL_WIDTH, y), (offset, end))?;
            }
        }
        Ok(())
    }

    /// One cell: its background, its shades, and the text that shows up when it is pointed at.
    fn write_cell(
        &self,
        f: &mut fmt::Formatter<'_>,
        cell: MapCell,
        (x, y): (usize, usize),
        (offset, end): (usize, usize),
    ) -> fmt::Result {
        let MapCell { used, tables, free } = cell;
        write!(f, "<g><title>0x{offset:x} to 0x{end:x}: {used} used, {tables} tables, {free} free</title>")?;
        let mut rect = |class: char, opacity: Option<Opacity>| {
            let (width, height) = (CELL_WIDTH - GAP, ROW_HEIGHT - GAP);
            write!(f, r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}""#)?;
            match opacity {
                Some(opacity) => write!(f, r#" fill-opacity="{opacity}"/>"#),
                None => f.write_str("/>"),
            }
        };
        rect(if cell == MapCell::EMPTY { 'o' } else { 'f' }, None)?;
        for (class, part) in [('u', used), ('t', tables)] {
            if part > 0 {
                rect(class, Some(Opacity(part, end - offset)))?;
            }
        }
        f.write_str("</g>\n")
    }

    fn write_legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MapCell { used, tables, free } = self.grid.total();
        let rest = self.grid.len.saturating_sub(used).saturating_sub(tables).saturating_sub(free);
        let top = self.height() - FOOT_HEIGHT + 12;
        let parts =
            [('u', "used", used), ('t', "tables", tables), ('f', "free", free), ('o', "out of reach", rest)];
        let mut x = MARGIN;
        for (class, name, len) in parts {
            // Most heaps reach all of their region: no word about it then.
            if class == 'o' && len == 0 {
                continue;
            }
            let size = CELL_WIDTH - GAP;
            writeln!(f, r#"<rect class="{class}" x="{x}" y="{top}" width="{size}" height="{size}"/>"#)?;
            writeln!(f, r#"<text x="{}" y="{}">{name} {}</text>"#, x + 16, top + 10, Bytes(len))?;
            x += LEGEND_WIDTH / parts.len();
        }
        Ok(())
    }
}

impl fmt::Display for Svg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        self.write_rows(f)?;
        self.write_legend(f)?;
        f.write_str("</svg>\n")
    }
}

/// A number of bytes for people: exact below 10 KiB, then to a tenth of the largest unit that fits.
pub(crate) struct Bytes(pub(crate) usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.0;
        let (shift, unit) = match len {
            0..0x2800 => return Exact(len).fmt(f),
            0x2800..0x10_0000 => (10, "KiB"),
            0x10_0000..0x4000_0000 => (20, "MiB"),
            _ => (30, "GiB"),
        };
        let tenths = share(len, 1 << shift, 10);
        match tenths % 10 {
            0 => write!(f, "{} {unit}", tenths / 10),
            tenth => write!(f, "{}.{tenth} {unit}", tenths / 10),
        }
    }
}

/// A number of bytes to the last one.
struct Exact(usize);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} byte{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// A part of a whole in percent, to a tenth; 0.0 only for nothing and 100.0 only for everything.
struct Percent(usize, usize);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Percent(part, whole) = *self;
        let tenths = match share(part, whole, 1000) {
            _ if part == 0 => 0,
            tenths if part >= whole => tenths,
            tenths => tenths.clamp(1, 999),
        };
        write!(f, "{}.{} %", tenths / 10, tenths % 10)
    }
}

/// A part of a whole as an opacity to a thousandth, never too faint to be seen.
struct Opacity(usize, usize);

impl fmt::Display for Opacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match share(self.0, self.1, 1000).max(60) {
            1000.. => f.write_str("1"),
            thousandths => write!(f, "0.{thousandths:03}"),
        }
    }
}

/// Text for the inside of an XML element: what means something there is escaped, what may not stand there is replaced.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                    f.write_char(char::REPLACEMENT_CHARACTER)?;
                }
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use quickcheck::quickcheck;
    use static_assertions::{assert_eq_size, assert_impl_all};

    use super::{Bytes, HeapMap, MapCell, Percent, STYLE, Svg};
    use crate::heap::{Chunk, ChunkKind};

    assert_eq_size!(MapCell, [usize; 3]);
    assert_eq_size!(HeapMap<16, 4>, [usize; 16 * 4 * 3 + 3]);
    assert_impl_all!(HeapMap: Send, Sync);
    assert_impl_all!(Svg<'static>: Send, Sync, Copy);

    const KINDS: [ChunkKind; 3] = [ChunkKind::Table, ChunkKind::Used, ChunkKind::Free];

    /// Chunks side by side, from lengths.
    fn side_by_side(lens: &[(usize, ChunkKind)]) -> Vec<Chunk> {
        let mut offset = 0;
        lens.iter()
            .map(|&(len, kind)| {
                offset += len;
                Chunk { offset: offset - len, len, kind }
            })
            .collect()
    }

    /// The cells of a terminal map, without the header and the offsets.
    fn rows(map: &impl ToString) -> Vec<String> {
        map.to_string().lines().skip(1).map(|row| row.split_once(' ').unwrap().1.to_string()).collect()
    }

    /// Fails unless every tag is closed in the right order, and all text and attributes are escaped.
    fn assert_well_formed(xml: &str) {
        let mut open = Vec::new();
        for piece in xml.split('<').skip(1) {
            let (tag, text) = piece.split_once('>').expect("a tag ends");
            let name = tag.split([' ', '/']).find(|part| !part.is_empty()).expect("a tag has a name");
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "</{name}> closes what was opened last");
            } else if !tag.ends_with('/') {
                open.push(name);
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes are balanced in {tag}");
            for entity in text.split('&').skip(1) {
                assert!(["amp;", "lt;", "gt;"].iter().any(|known| entity.starts_with(known)), "&{entity}");
            }
            assert!(!open.is_empty() || text.trim().is_empty(), "no text outside of the root");
        }
        assert_eq!(open, [""; 0]);
    }

    #[test]
    fn a_small_map_is_exact() {
        let chunks = side_by_side(&[
            (32, ChunkKind::Table),
            (16, ChunkKind::Used),
            (1, ChunkKind::Used),
            (15, ChunkKind::Free),
            (15, ChunkKind::Used),
            (33, ChunkKind::Free),
            (8, ChunkKind::Used),
            (8, ChunkKind::Free),
        ]);
        let map = HeapMap::<4, 2>::new(128, chunks);
        assert_eq!(map.cell_len(), 16);
        assert_eq!(
            map.to_string(),
            "128 bytes, 31.3 % used, 25.0 % tables, one cell = 16 bytes (█ used ▒ tables · free)\n\
             0x00 ▒▒█▁\n\
             0x40 ▇··▄\n"
        );
        assert_eq!(map.cells()[4], MapCell { used: 15, tables: 0, free: 1 });
    }

    #[test]
    fn a_cell_is_as_high_as_it_is_used() {
        let heights: String = (0..=16)
            .map(|used| {
                let chunks = side_by_side(&[(used, ChunkKind::Used), (16 - used, ChunkKind::Free)]);
                rows(&HeapMap::<1, 1>::new(16, chunks)).remove(0)
            })
            .collect();
        assert_eq!(heights, "·▁▁▂▂▃▃▄▄▅▅▆▆▇▇▇█");
    }

    #[test]
    fn a_cell_with_tables_shows_what_there_is_most_of() {
        let look = |tables, used, free| {
            let chunks =
                side_by_side(&[(tables, ChunkKind::Table), (used, ChunkKind::Used), (free, ChunkKind::Free)]);
            rows(&HeapMap::<1, 1>::new(8, chunks)).remove(0)
        };
        assert_eq!(look(4, 4, 0), "▒");
        assert_eq!(look(3, 5, 0), "█");
        assert_eq!(look(2, 3, 3), "▄");
        assert_eq!(look(1, 0, 7), "·");
        assert_eq!(look(1, 0, 0), "▒");
        assert_eq!(look(0, 0, 0), " ");
    }

    #[test]
    fn a_region_may_be_empty() {
        let map = HeapMap::<8, 2>::new(0, side_by_side(&[(8, ChunkKind::Used)]));
        assert_eq!(map.cells(), []);
        assert_eq!(
            map.to_string(),
            "0 bytes, 0.0 % used, 0.0 % tables, one cell = 1 byte (█ used ▒ tables · free)\n"
        );
        assert_well_formed(&map.svg("").to_string());
    }

    #[test]
    fn a_region_may_be_one_byte() {
        let map = HeapMap::<8, 2>::new(1, side_by_side(&[(1, ChunkKind::Used)]));
        assert_eq!(
            map.to_string(),
            "1 byte, 100.0 % used, 0.0 % tables, one cell = 1 byte (█ used ▒ tables · free)\n0x00 █\n"
        );
        assert_well_formed(&map.svg("one byte").to_string());
    }

    #[test]
    fn a_region_ends_where_its_chunks_end() {
        let chunks = side_by_side(&[(40, ChunkKind::Used), (61, ChunkKind::Free)]);
        assert_eq!(HeapMap::<8, 2>::of(|| chunks.iter().copied()), HeapMap::<8, 2>::new(101, chunks.clone()));
        assert_eq!(HeapMap::<8, 2>::of(|| []), HeapMap::<8, 2>::new(0, []));
    }

    #[test]
    fn full_and_free_regions_are_one_colour() {
        for (kind, glyph) in [(ChunkKind::Used, "█"), (ChunkKind::Free, "·"), (ChunkKind::Table, "▒")] {
            let map = HeapMap::<16, 4>::new(4096, side_by_side(&[(4096, kind)]));
            assert_eq!(rows(&map), [glyph.repeat(16).as_str(); 4]);
        }
    }

    #[test]
    fn a_region_that_is_no_multiple_ends_with_a_smaller_cell() {
        let map = HeapMap::<4, 2>::new(100, side_by_side(&[(100, ChunkKind::Used)]));
        assert_eq!(map.cell_len(), 16);
        assert_eq!(rows(&map), ["████", "███"]);
        assert_eq!(map.cells().last(), Some(&MapCell { used: 4, tables: 0, free: 0 }));
    }

    #[test]
    fn the_largest_region_there_could_be_is_drawn() {
        let half = 1 << (usize::BITS - 1);
        let chunks = [
            Chunk { offset: 0, len: half, kind: ChunkKind::Used },
            Chunk { offset: half, len: usize::MAX, kind: ChunkKind::Free },
        ];
        let map = HeapMap::<8, 1>::new(usize::MAX, chunks);
        assert_eq!(map.total(), MapCell { used: half, tables: 0, free: usize::MAX - half });
        assert_eq!(rows(&map), ["████····"]);
        assert_well_formed(&map.svg("everything").to_string());
    }

    #[test]
    fn colours_change_with_the_kind_and_end_with_the_row() {
        let chunks = side_by_side(&[(1, ChunkKind::Table), (2, ChunkKind::Used), (1, ChunkKind::Free)]);
        let map = HeapMap::<2, 2>::new(4, chunks).ansi_colours(true);
        assert_eq!(rows(&map), ["\x1b[33m▒\x1b[34m█\x1b[0m", "\x1b[34m█\x1b[90m·\x1b[0m"]);
        assert!(!map.ansi_colours(false).to_string().contains('\x1b'));
        // Said once for neighbours of one kind.
        let chunks = side_by_side(&[(3, ChunkKind::Used), (1, ChunkKind::Free)]);
        let map = HeapMap::<4, 1>::new(4, chunks).ansi_colours(true);
        assert_eq!(rows(&map), ["\x1b[34m███\x1b[90m·\x1b[0m"]);
    }

    #[test]
    fn figures_are_rounded_but_never_to_nothing_or_everything() {
        let shown = |part, whole| Percent(part, whole).to_string();
        assert_eq!(shown(0, 1 << 20), "0.0 %");
        assert_eq!(shown(1, 1 << 20), "0.1 %");
        assert_eq!(shown((1 << 20) - 1, 1 << 20), "99.9 %");
        assert_eq!(shown(1 << 20, 1 << 20), "100.0 %");
        assert_eq!(shown(1, 3), "33.3 %");
        let shown = |len| Bytes(len).to_string();
        assert_eq!(shown(1), "1 byte");
        assert_eq!(shown(10_239), "10239 bytes");
        assert_eq!(shown(10_240), "10 KiB");
        assert_eq!(shown(64 << 10), "64 KiB");
        assert_eq!(shown(12_700), "12.4 KiB");
        assert_eq!(shown(32 << 20), "32 MiB");
        assert_eq!(shown(3 << 29), "1.5 GiB");
    }

    #[test]
    fn an_svg_says_what_the_cells_say() {
        let chunks = side_by_side(&[(8, ChunkKind::Table), (12, ChunkKind::Used), (4, ChunkKind::Free)]);
        let svg = HeapMap::<4, 1>::new(32, chunks).svg("three kinds and a rest").to_string();
        assert_well_formed(&svg);
        assert!(svg.contains("<title>three kinds and a rest</title>"), "{svg}");
        assert!(svg.contains("<title>0x0 to 0x8: 0 used, 8 tables, 0 free</title>"), "{svg}");
        assert!(svg.contains("<title>0x10 to 0x18: 4 used, 0 tables, 4 free</title>"), "{svg}");
        assert_eq!(svg.matches(r#"fill-opacity="1"/>"#).count(), 2, "the tables and the full cell: {svg}");
        assert_eq!(svg.matches(r#"fill-opacity="0.500"/>"#).count(), 1, "the half-used cell: {svg}");
        assert!(svg.contains("used 12 bytes") && svg.contains("out of reach 8 bytes"), "{svg}");
    }

    #[test]
    fn titles_are_escaped() {
        let map = HeapMap::<4, 1>::new(64, []);
        let svg = map.svg("</title><a b='c' d=\"e\">&amp;\0\u{1b}\u{ffff}").to_string();
        assert_well_formed(&svg);
        assert!(
            svg.contains("&lt;/title&gt;&lt;a b='c' d=\"e\"&gt;&amp;amp;\u{fffd}\u{fffd}\u{fffd}</title>"),
            "{svg}"
        );
    }

    #[test]
    fn an_svg_stays_small_whatever_the_region() {
        for len in [64, 4 << 10, 32 << 20, usize::MAX] {
            // Three kinds in every cell, where cells are that large.
            let step = (len / (64 * 8) / 3).max(1);
            let chunks = (0..64 * 8 * 3).map(|index| Chunk {
                offset: index * step,
                len: step,
                kind: KINDS[index % 3],
            });
            let map = HeapMap::<64, 8>::new(len, chunks);
            let size = map.svg("busy").to_string().len();
            assert!(size <= 400 * map.cells().len() + (3 << 10), "{size} bytes for {len}");
        }
    }

    #[test]
    fn an_svg_moves_to_its_place_in_a_larger_one() {
        let map = HeapMap::<64, 4>::new(1 << 20, []);
        let svg = map.svg("one");
        assert_eq!(svg.at(0, 70).width(), svg.width());
        assert_eq!(svg.at(0, 70).height(), svg.height());
        let attributes = format!(r#"x="5" y="70" width="{}" height="{}""#, svg.width(), svg.height());
        assert!(svg.at(5, 70).to_string().contains(&attributes));
        assert_eq!(svg.width_min(2000).width(), 2000);
        assert_eq!(svg.width_min(20).width(), svg.width());
    }

    #[test]
    fn the_style_needs_no_escaping() {
        assert!(!STYLE.contains(['<', '>', '&']));
    }

    quickcheck! {
        /// Every byte of every chunk lies in exactly one cell, whatever the chunks are.
        fn cells_add_up_to_the_chunks(lens: Vec<(u16, u8)>, beyond: u8) -> bool {
            let lens: Vec<_> =
                lens.into_iter().map(|(len, kind)| (usize::from(len), KINDS[usize::from(kind) % 3])).collect();
            let sum = |wanted| lens.iter().filter(|(_, kind)| *kind == wanted).map(|(len, _)| len).sum::<usize>();
            let region = lens.iter().map(|(len, _)| len).sum::<usize>() + usize::from(beyond);
            let map = HeapMap::<7, 5>::new(region, side_by_side(&lens));
            let expected = MapCell {
                used: sum(ChunkKind::Used),
                tables: sum(ChunkKind::Table),
                free: sum(ChunkKind::Free),
            };
            let cell_sizes_hold = map.cells().iter().all(|c| c.used + c.tables + c.free <= map.cell_len());
            map.total() == expected && cell_sizes_hold && map.cells().len() <= 35
        }

        /// What lies beyond the region is left out, and nothing panics or overflows.
        fn any_chunk_is_clipped(offset: usize, len: usize, region: usize) -> bool {
            let chunk = Chunk { offset, len, kind: ChunkKind::Used };
            let map = HeapMap::<7, 5>::new(region, [chunk]);
            let inside = offset.saturating_add(len).min(region).saturating_sub(offset);
            assert_well_formed(&map.svg("any").to_string());
            map.total().used == inside && !map.to_string().is_empty()
        }
    }
}
