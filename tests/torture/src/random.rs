//! The choices of a run: splitmix64 from a printed seed.

/// Names of independent streams of one seed.
#[derive(Clone, Copy)]
pub enum Stream {
    Crew = 1,
    Network = 2,
    Strikes = 3,
    Plan = 4,
    Mutations = 5,
    Disk = 6,
    Flips = 7,
}

/// A stream of choices.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The `number`-th stream of a kind: what one takes leaves the others as they are, so that a
    /// choice depends on the seed and on nothing that happened in the run.
    pub fn stream(seed: u64, stream: Stream, number: u64) -> Self {
        let mut rng = Self(seed ^ (stream as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93));
        let mixed = rng.next() ^ number.wrapping_mul(0xA076_1D64_78BD_642F);
        let mut rng = Self(mixed);
        rng.next();
        rng
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.index(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_repeats_and_does_not_depend_on_what_others_took() {
        let first: Vec<u64> = {
            let mut rng = Rng::stream(7, Stream::Strikes, 3);
            (0..5).map(|_| rng.next()).collect()
        };
        let mut other = Rng::stream(7, Stream::Strikes, 2);
        other.next();
        let mut again = Rng::stream(7, Stream::Strikes, 3);
        assert_eq!(first, (0..5).map(|_| again.next()).collect::<Vec<_>>());
        assert_ne!(first[0], Rng::stream(8, Stream::Strikes, 3).next());
        assert_ne!(first[0], Rng::stream(7, Stream::Crew, 3).next());
    }
}
