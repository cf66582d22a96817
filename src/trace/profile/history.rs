//! Live bytes by size class, over time.

#![forbid(unsafe_code)]

use crate::AllocError;
use crate::trace::store::Store;

/// Size classes of a timeline: up to 32 bytes, up to four times as much, and so on, and the rest.
pub(super) const CLASSES: usize = 8;

/// The largest size of the smallest class, in bytes.
const CLASS_MIN_LOG2: u32 = 5;

/// The class of a size.
pub(super) const fn class(size: usize) -> usize {
    if size <= 1 << CLASS_MIN_LOG2 {
        return 0;
    }
    let class = ((size - 1).ilog2() - CLASS_MIN_LOG2) as usize / 2 + 1;
    if class < CLASSES { class } else { CLASSES - 1 }
}

/// The largest size of a class; `None` of the last one.
pub(super) const fn class_max(class: usize) -> Option<usize> {
    if class + 1 < CLASSES { Some(1 << (CLASS_MIN_LOG2 as usize + 2 * class)) } else { None }
}

/// Live bytes by class.
pub(super) type Bytes = [u64; CLASSES];

/// Points that a history has at most; from then on each stands for twice the time.
const POINTS_MAX: usize = 512;

/// Live bytes by class over time. Each point is the moment of its stretch of time at which most bytes were live.
#[derive(Debug)]
pub(super) struct History {
    pub(super) points: Store<Bytes>,
    /// Time units that a point stands for.
    pub(super) step: u64,
    pub(super) live: Bytes,
}

impl History {
    pub(super) const fn new() -> Self {
        History { points: Store::new(), step: 1, live: [0; CLASSES] }
    }

    /// Notes that `bytes` of a class have come at `time`, or gone.
    pub(super) fn change(
        &mut self,
        time: u64,
        class: usize,
        bytes: u64,
        come: bool,
    ) -> Result<(), AllocError> {
        let outcome = self.reach(time);
        let live = &mut self.live[class];
        *live = if come { live.saturating_add(bytes) } else { live.saturating_sub(bytes) };
        let last = self.points.as_mut_slice().last_mut();
        if let Some(last) = last.filter(|last| sum(&self.live) > sum(last)) {
            *last = self.live;
        }
        outcome
    }

    /// Has the last point be that of `time`.
    pub(super) fn reach(&mut self, time: u64) -> Result<(), AllocError> {
        while time / self.step >= POINTS_MAX as u64 {
            self.halve();
        }
        let idx = (time / self.step) as usize;
        while self.points.len() <= idx {
            self.points.push(self.live)?;
        }
        Ok(())
    }

    /// Makes one point of two.
    fn halve(&mut self) {
        let len = self.points.len();
        let points = self.points.as_mut_slice();
        for idx in 0..len.div_ceil(2) {
            let (first, second) = (points[2 * idx], points[(2 * idx + 1).min(len - 1)]);
            points[idx] = if sum(&second) > sum(&first) { second } else { first };
        }
        self.points.truncate(len.div_ceil(2));
        self.step *= 2;
    }
}

pub(super) fn sum(bytes: &Bytes) -> u64 {
    bytes.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_a_class() {
        let classes = [0, 1, 32, 33, 128, 129, 512, 513, 131_072, 131_073, usize::MAX].map(class);
        assert_eq!(classes, [0, 0, 0, 1, 1, 2, 2, 3, 6, 7, 7]);
        for number in 0..CLASSES - 1 {
            let max = class_max(number).unwrap();
            assert_eq!((class(max), class(max + 1)), (number, number + 1));
        }
        assert_eq!(class_max(CLASSES - 1), None);
    }

    #[test]
    fn a_peak_is_kept_however_much_time_passes() {
        let mut history = History::new();
        history.change(0, 2, 100, true).unwrap();
        history.change(500, 3, 7000, true).unwrap();
        history.change(500, 3, 7000, false).unwrap();
        history.change(90_000, 2, 50, false).unwrap();
        history.reach(200_000).unwrap();
        assert!(history.points.len() <= POINTS_MAX);
        assert!(history.step * history.points.len() as u64 > 200_000);
        assert_eq!(history.points.as_slice().iter().map(sum).max(), Some(7100));
        assert_eq!(history.points.as_slice().last().map(sum), Some(50));
        assert_eq!(history.points.as_slice().iter().filter(|point| sum(point) == 7100).count(), 1);
    }
}
