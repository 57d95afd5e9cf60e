//! A program of classic BPF, written from its end: jumps only go forward, so that whatever is jumped to is already there,
//! and what was written once is used again. Knows no system calls.

use std::collections::HashMap;

use crate::sys::Instruction;

pub(super) const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
pub(super) const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
pub(super) const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;

/// How far a branch reaches, less the jump that may have to come between.
const REACH: usize = 254;

/// An instruction, counted from the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place(usize);

#[derive(Debug)]
pub(super) struct Writer {
    /// The last one first.
    code: Vec<Instruction>,
    /// By what they do and where they go.
    written: HashMap<(u16, u32, Place, Place), Place>,
    longest: usize,
}

impl Writer {
    pub(super) fn new(longest: usize) -> Writer {
        Writer { code: Vec::new(), written: HashMap::new(), longest }
    }

    /// The program that begins at `first`; `None` when it is too long.
    pub(super) fn finish(mut self, first: Place) -> Option<Vec<Instruction>> {
        self.next_is(first);
        let fits = self.code.len() <= self.longest;
        fits.then(|| self.code.into_iter().rev().collect())
    }

    /// Ends with a value.
    pub(super) fn end(&mut self, value: u32) -> Place {
        let key = (RETURN, value, Place(0), Place(0));
        match self.written.get(&key) {
            // Farther away, a jump to it would cost as much.
            Some(place) if self.distance(*place) < REACH => *place,
            _ => self.write(key, say(RETURN, value)),
        }
    }

    /// Loads a word and goes on.
    pub(super) fn load(&mut self, offset: u32, next: Place) -> Place {
        self.change(LOAD, offset, next)
    }

    /// Changes the accumulator and goes on.
    pub(super) fn change(&mut self, code: u16, k: u32, next: Place) -> Place {
        let key = (code, k, next, next);
        if let Some(place) = self.written.get(&key) {
            return *place;
        }
        self.next_is(next);
        self.write(key, say(code, k))
    }

    /// Goes one of two ways.
    pub(super) fn branch(&mut self, code: u16, k: u32, yes: Place, no: Place) -> Place {
        let key = (code, k, yes, no);
        if yes == no {
            return yes;
        }
        if let Some(place) = self.written.get(&key) {
            return *place;
        }
        let (yes, no) = (self.near(yes), self.near(no));
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.write(key, Instruction { code, jt, jf, k })
    }

    /// Where to go instead of `place` if the word it begins by loading has just been loaded.
    pub(super) fn loaded(&self, offset: u32, place: Place) -> Place {
        let loads = self.code.get(place.0).is_some_and(|one| *one == say(LOAD, offset));
        if loads { Place(place.0 - 1) } else { place }
    }

    fn write(&mut self, key: (u16, u32, Place, Place), instruction: Instruction) -> Place {
        let place = Place(self.code.len());
        // What is too long is not written on; `finish` says so.
        if self.code.len() <= self.longest {
            self.code.push(instruction);
            self.written.insert(key, place);
        }
        place
    }

    /// How many instructions the next one written would have to pass. Past the longest program, places mean nothing.
    fn distance(&self, place: Place) -> usize {
        self.code.len().saturating_sub(place.0 + 1)
    }

    /// A place from which to go on to `place`, within a branch's reach.
    fn near(&mut self, place: Place) -> Place {
        if self.distance(place) <= REACH { place } else { self.jump(place) }
    }

    /// Has whatever is written next go on to `place`.
    fn next_is(&mut self, place: Place) {
        if self.distance(place) != 0 {
            self.jump(place);
        }
    }

    fn jump(&mut self, place: Place) -> Place {
        let distance = self.distance(place) as u32;
        self.write((JUMP, distance, place, place), say(JUMP, distance))
    }
}

fn say(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}
