//! How much fits: the payload when the first allocation fails, in pure growth.

use crate::memory::Region;
use crate::mix::{Align, FIXED_8, FIXED_24, MIXED, Mix, Rng, SMALL, Spread};
use crate::objects::Objects;
use crate::peers::{self, Heap, Ours, Peer, Spoon, Visit};
use crate::report::{Report, Table, print_table, progress};

pub(crate) const REGIONS: [Region; 3] = [Region::Kib4, Region::Kib128, Region::Mib16];

const MIXES: [Mix; 7] = [
    FIXED_8,
    FIXED_24,
    SMALL,
    MIXED,
    Mix::new("4..=255", 4, 255, Spread::Uniform, Align::Fixed(8)),
    Mix::new("log natural", 4, 255, Spread::Log, Align::Natural),
    Mix::new("log align 1", 4, 255, Spread::Log, Align::Fixed(1)),
];

pub(crate) fn run(report: &mut Report) {
    for region in REGIONS {
        progress(&format!("density, {}", region.name()));
        let mut header = vec![region.name()];
        header.extend(MIXES.iter().map(|mix| mix.name));
        header.extend(["B/object", "handle B", "24 B, all"]);
        let seeds = match region {
            Region::Kib4 => report.pick(1000, 50),
            Region::Kib128 => report.pick(40, 4),
            Region::Mib1 | Region::Mib16 => report.pick(3, 1),
        };
        let table = Table::new(
            format!("density: payload in % of a region of {}, at the first failure", region.name()),
            format!(
                "mean of {seeds} seeds; sizes in bytes; aligned to 8 unless the column says otherwise, 1..=64 to 1; B/object: bytes \
                 of the region\nbeyond the payload, per live object of 24 B; handle: bytes outside of the region; 24 B, all: the \
                 payload in % of region and handle\n"
            ),
            &header,
        );
        let mut density = Density { region, seeds, table, report };
        peers::visit_all(region, &mut density);
        print_table(&density.table);
    }
    print_tables_of(report);
}

struct Density<'r> {
    region: Region,
    seeds: usize,
    table: Table,
    report: &'r mut Report,
}

impl Visit for Density<'_> {
    fn visit<P: Peer>(&mut self) {
        if P::SPEED_ONLY {
            return;
        }
        let mut memory = self.region.memory();
        let len = self.region.len();
        let mut cells = Vec::new();
        let (mut extra, mut all) = (0.0, 0.0);
        let handle = size_of::<P::Heap<'_>>();
        for mix in &MIXES {
            let mut percent = 0.0;
            for seed in 0..self.seeds {
                let mut objects = Objects::new(P::make(memory.region(0, len)));
                objects.fill(mix, &mut Rng::new(seed as u64));
                percent += 100.0 * objects.payload() as f64 / len as f64 / self.seeds as f64;
                if mix.name == FIXED_24.name {
                    extra = (len - objects.payload()) as f64 / objects.len().max(1) as f64;
                    all = 100.0 * objects.payload() as f64 / (len + handle) as f64;
                }
            }
            self.report.keep(&["density", self.region.name(), mix.name, P::NAME], percent);
            cells.push(format!("{percent:.1}"));
        }
        cells.extend([format!("{extra:.2}"), handle.to_string(), format!("{all:.1}")]);
        self.table.row(P::NAME, cells);
    }
}

/// The arenas' own tables: what an empty one can't hand out.
fn print_tables_of(report: &mut Report) {
    use heapwright::lock::NoLock;
    use heapwright::sizing::{Bounded, Sizing4KiB, Sizing16MiB, Sizing128KiB};

    let mut table = Table::new(
        "tables: bytes that an empty arena can't hand out",
        "of each region, and in % of it\n",
        &["sizing", "1 KiB", "%", "4 KiB", "%", "64 KiB", "%", "128 KiB", "%", "1 MiB", "%", "16 MiB", "%"],
    );
    tables_row::<Ours<Sizing4KiB, NoLock, 0>>("4KiB", 12 << 10, &mut table, report);
    tables_row::<Ours<Bounded<Sizing4KiB>, NoLock, 1>>("4KiB bounded", 12 << 10, &mut table, report);
    tables_row::<Ours<Sizing128KiB, NoLock, 0>>("128KiB", 256 << 10, &mut table, report);
    tables_row::<Ours<Bounded<Sizing128KiB>, NoLock, 1>>("128KiB bounded", 256 << 10, &mut table, report);
    tables_row::<Ours<Sizing16MiB, NoLock, 0>>("16MiB", 32 << 20, &mut table, report);
    tables_row::<Ours<Bounded<Sizing16MiB>, NoLock, 1>>("16MiB bounded", 32 << 20, &mut table, report);
    print_table(&table);
}

fn tables_row<P: Peer>(name: &str, region_max: usize, table: &mut Table, report: &mut Report)
where
    for<'a> P::Heap<'a>: Heap + Spoon,
{
    let mut cells = Vec::new();
    let names = ["1 KiB", "4 KiB", "64 KiB", "128 KiB", "1 MiB", "16 MiB"];
    for (kib, region_name) in [1, 4, 64, 128, 1 << 10, 16 << 10].into_iter().zip(names) {
        let len: usize = kib << 10;
        if len > region_max {
            cells.extend(["-".into(), "-".into()]);
            continue;
        }
        let mut memory = crate::memory::Memory::new(len);
        let fill = P::make(memory.region(0, len)).fill();
        let bytes = fill.total - fill.free;
        report.keep(&["handed out", region_name, name], 100.0 - 100.0 * bytes as f64 / len as f64);
        cells.push(bytes.to_string());
        cells.push(format!("{:.2}", 100.0 * bytes as f64 / len as f64));
    }
    table.row(name, cells);
}
