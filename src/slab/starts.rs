//! Where the objects of slabs begin: for heaps that check what comes back.

use super::shape::Shape;

/// Which addresses of an aligned slab are those of objects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starts {
    /// What the odd part of the stride gives 1 with, modulo 2³².
    inverse: u32,
    /// From the slab's start to object 0, if its color is 0.
    first: u32,
    /// How far each color shifts objects: the bits of an address, shifted down, that are it; 0: there is one color.
    color: u32,
    /// By how much.
    color_shift: u8,
    /// The stride's trailing zeros.
    shift: u8,
    /// For the caller's use.
    pub(crate) note: u16,
}

impl Starts {
    /// None.
    pub(crate) const NONE: Self =
        Starts { inverse: 0, first: 0, color: 0, color_shift: 0, shift: 0, note: 0 };

    /// Those of slabs of a shape, which is one for slabs that are aligned to their length; with a number for the caller's use.
    pub(crate) const fn of(shape: &Shape, note: u16) -> Self {
        let stride = shape.stride() as u32;
        Starts {
            inverse: inverse(stride >> stride.trailing_zeros()),
            first: shape.first as u32,
            color: (shape.colors - 1) * shape.color_step,
            // The bits above the slab's length, times a step that is no longer than the slab.
            color_shift: (shape.slab_size.trailing_zeros() - shape.color_step.trailing_zeros()) as u8,
            shift: stride.trailing_zeros() as u8,
            note,
        }
    }

    /// The number of the object that begins at the address, in a slab of so many bytes of that shape; if none does, more than any object has.
    #[inline(always)]
    pub(crate) const fn number(&self, address: usize, slab_size: usize) -> u32 {
        let offset = ((address & (slab_size - 1)) as u32).wrapping_sub(self.first);
        let color = address.wrapping_shr(self.color_shift as u32) as u32 & self.color;
        // Below the first object it has wrapped. The product is the quotient where the stride divides the offset, else more than any quotient, as is that of an offset that has wrapped. (T. Granlund and
        // P. Montgomery, *Division by Invariant Integers using Multiplication*, 1994; the rotation for even strides, H. Warren, *Hacker's Delight*, 10-17.)
        offset.wrapping_add(color).wrapping_mul(self.inverse).rotate_right(self.shift as u32)
    }
}

/// The number that an odd one gives 1 with, modulo 2³². (J.-M. Muller et al., *Handbook of Floating-Point Arithmetic*: Newton's steps, from five right bits.)
const fn inverse(odd: u32) -> u32 {
    let mut inverse = odd.wrapping_mul(3) ^ 2;
    let mut bits = 5;
    while bits < 32 {
        inverse = inverse.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::{AlignedSlabs, SlabSystem};
    use crate::source::StaticBuffer;
    use core::alloc::Layout;

    #[test]
    fn objects_begin_where_the_shape_says() {
        const SLAB: usize = 32 << 10;
        const RULES: &crate::slab::Rules = &<AlignedSlabs<&StaticBuffer<SLAB>, SLAB> as SlabSystem>::RULES;
        let mut colored = 0;
        for size in (8..=4096usize).step_by(8) {
            let align = 1usize << size.trailing_zeros();
            let layout = Layout::from_size_align(size, align.min(4096)).unwrap();
            let Ok(shape) = Shape::new(RULES, layout, false) else { continue };
            let starts = Starts::of(&shape, 0);
            colored += usize::from(shape.colors() > 1);
            for slab in [0, 1, 2, 3, 63, 64].map(|number| number * SLAB) {
                let first = shape.first(slab);
                let expected = |at: usize| {
                    let starts = at >= first && (at - first) % size == 0;
                    starts.then(|| (at - first) / size).filter(|&number| number < shape.capacity())
                };
                for at in 0..SLAB {
                    let number = Some(starts.number(slab + at, SLAB) as usize);
                    let number = number.filter(|&number| number < shape.capacity());
                    assert_eq!(number, expected(at), "{size} {slab} {at}");
                }
            }
        }
        assert!(colored > 0, "some shapes have colors");
    }
}
