//! The allocator of every program that holds a zygote: the system's, and in a zygote whatever is freed is zeroed first.
//!
//! A worker is a copy of its zygote, whose heap has held the plans of every tenant: arguments, environments, paths. A
//! guest that breaks out of its engine reads the worker's memory, so nothing of others may be left there. Zeroing in the
//! allocator catches what no list of buffers does: what a decoder or a growing vector moved and left behind.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

static WIPING: AtomicBool = AtomicBool::new(false);

#[global_allocator]
static ALLOCATOR: Wiping = Wiping;

/// Whether this process zeroes what it frees: a zygote does from its start, a child until it turns to its own work.
pub(crate) fn wipe_what_is_freed(wiping: bool) {
    WIPING.store(wiping, Ordering::Relaxed);
}

struct Wiping;

// SAFETY: memory comes from and goes back to `System` with the layouts it was asked for; what is added writes only
// within an allocation that its owner has given up.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are `System`'s demands.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if WIPING.load(Ordering::Relaxed) {
            // SAFETY: the allocation is `layout.size()` bytes and nobody uses it any more. Not a plain fill: the
            // compiler would leave it out before a free.
            unsafe { libc::explicit_bzero(pointer.cast(), layout.size()) };
        }
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !WIPING.load(Ordering::Relaxed) {
            // SAFETY: as above.
            return unsafe { System.realloc(pointer, layout, size) };
        }
        // SAFETY: the caller promises that `size`, rounded up to the alignment, does not overflow.
        let fresh = unsafe { System.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !fresh.is_null() {
            // SAFETY: both are at least as long as the shorter of the two, and apart; then the old one is given up.
            unsafe {
                fresh.copy_from_nonoverlapping(pointer, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
        }
        fresh
    }
}
