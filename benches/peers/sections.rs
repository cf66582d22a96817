//! What both programs know to race.

use crate::race::Section;
use crate::{construct, pair, replace, sets, threads, walk};

pub(crate) const SECTIONS: [Section; 9] = [
    pair::SECTION,
    sets::SETS,
    replace::SECTION,
    sets::REFILL,
    walk::SECTION,
    construct::SECTION,
    threads::LOCAL,
    threads::EXCHANGE,
    threads::PRODUCER,
];
