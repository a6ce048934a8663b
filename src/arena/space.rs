//! The free blocks, known in ordinary memory only: each worker learns them anew when it opens.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::sys::Span;
use crate::sys::Word;

/// Hands out runs of free blocks and takes them back. All of them are zeros.
pub(crate) struct Space {
    free: Mutex<Free>,
    mark: Word,
}

impl Space {
    /// A space with nothing in it, above which nothing was used but what `mark` says.
    pub(crate) fn new(mark: Word) -> Self {
        Self { free: Mutex::default(), mark }
    }

    /// The smallest free run that has so many bytes, cut to size. Best fit keeps the long runs for
    /// the long values, and the mark low.
    pub(crate) fn take(&self, len: usize) -> Option<Span> {
        let mut free = self.free.lock();
        let span = free.take(len)?;
        let end = span.end() as u64;
        if end > self.mark.load() {
            // Before the run is: a reader of the memory looks no further than the mark.
            self.mark.store(end);
        }
        Some(span)
    }

    pub(crate) fn give(&self, span: Span) {
        self.free.lock().give(span);
    }

    /// The end of the highest run ever used.
    pub(crate) fn used(&self) -> u64 {
        self.mark.load()
    }

    /// How many bytes are free.
    pub(crate) fn free(&self) -> u64 {
        self.free.lock().total as u64
    }

    #[cfg(test)]
    pub(crate) fn new_journal(&self) -> Vec<crate::sys::Store> {
        self.mark.new_journal()
    }
}

/// Free runs by start and by length. No two of them touch.
#[derive(Default)]
struct Free {
    runs: BTreeMap<usize, Span>,
    sizes: BTreeSet<(usize, usize)>,
    total: usize,
}

impl Free {
    fn take(&mut self, len: usize) -> Option<Span> {
        let (_, start) = *self.sizes.range((len, 0)..).next()?;
        let mut span = self.remove(start)?;
        self.insert(span.split_off(len));
        Some(span)
    }

    fn give(&mut self, mut span: Span) {
        let before =
            self.runs.range(..span.start()).next_back().map(|(start, run)| (*start, run.end()));
        if let Some((start, end)) = before
            && end == span.start()
            && let Some(mut run) = self.remove(start)
        {
            span = match run.append(span) {
                Ok(()) => run,
                Err(span) => span,
            };
        }
        if let Some(run) = self.remove(span.end())
            && let Err(run) = span.append(run)
        {
            self.insert(run);
        }
        self.insert(span);
    }

    fn insert(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        self.total += span.len();
        self.sizes.insert((span.len(), span.start()));
        self.runs.insert(span.start(), span);
    }

    fn remove(&mut self, start: usize) -> Option<Span> {
        let span = self.runs.remove(&start)?;
        self.sizes.remove(&(span.len(), start));
        self.total -= span.len();
        Some(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A space of so many bytes, and the word of its mark before them.
    fn space(len: usize) -> Space {
        let memfd = crate::arena::store::create(len as u64 + 8).unwrap();
        let (mark, blocks) = Word::split(Span::map(memfd).unwrap()).unwrap();
        mark.store(8);
        let space = Space::new(mark);
        space.give(blocks);
        space
    }

    #[test]
    fn the_smallest_run_that_fits_is_taken() {
        let space = space(4096);
        let spans: Vec<_> = [1024, 256, 512, 256].map(|len| space.take(len).unwrap()).into();
        let starts: Vec<_> = spans.iter().map(Span::start).collect();
        let mut spans = spans.into_iter();
        space.give(spans.next().unwrap());
        let _kept = spans.next();
        space.give(spans.next().unwrap());

        let small = space.take(300).unwrap();

        assert_eq!(small.start(), starts[2]);
        assert_eq!(small.len(), 300);
    }

    #[test]
    fn what_is_given_back_joins_its_neighbours() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let space = space(768);
            let mut spans = [(); 3].map(|()| space.take(256));
            assert!(space.take(1).is_none());
            for which in order {
                space.give(spans[which].take().unwrap());
            }
            assert_eq!(space.free(), 768);
            assert_eq!(space.take(768).unwrap().len(), 768);
        }
    }

    #[test]
    fn the_mark_is_the_end_of_the_highest_run_ever_taken() {
        let space = space(1024);
        assert_eq!(space.used(), 8);
        let low = space.take(256).unwrap();
        let high = space.take(512).unwrap();
        assert_eq!(space.used(), 8 + 768);
        space.give(high);
        space.give(low);
        assert_eq!(space.used(), 8 + 768);
        let _low = space.take(256).unwrap();
        assert_eq!(space.used(), 8 + 768);
    }
}
